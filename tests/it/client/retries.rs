//! Retries of requests.

use std::time::Duration;

use portkey_api::catalog::Catalog;
use portkey_mcp::{pipeline::Dispatcher, upstream::UpstreamClient};
use serde_json::json;

use super::{call, create_arguments, dispatcher_with};
use crate::support::upstream::{
    MockUpstream, ResponseAction, dispatcher, http_response, json_response, settings,
};

#[tokio::test]
async fn idempotent_requests_are_retried() {
    for status in [
        "429 Too Many Requests",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        let upstream = MockUpstream::start(move |n| {
            if n < 2 {
                http_response(status, "", "")
            } else {
                json_response(r#"{"n":3}"#)
            }
        })
        .await;
        for (tool, args) in [
            ("get-integration", json!({ "slug": "x" })),
            ("update-integration", json!({ "slug": "x", "name": "n" })),
        ] {
            let before = upstream.requests().len();
            let got = call(&dispatcher(&upstream), tool, args).await;
            assert_eq!(got, Ok(json!({ "n": 3 })), "{tool} after {status}");
            assert_eq!(
                upstream.requests().len() - before,
                if before == 0 { 3 } else { 1 },
                "{tool} after {status}"
            );
        }
        let bodies: Vec<_> = upstream
            .requests()
            .into_iter()
            .map(|seen| seen.body)
            .collect();
        assert_eq!(bodies.last().unwrap(), br#"{"name":"n"}"#);
    }
}

#[tokio::test]
async fn retries_are_limited_and_reported() {
    let upstream =
        MockUpstream::start(|_| http_response("503 Service Unavailable", "", "{}")).await;
    let text = call(
        &dispatcher(&upstream),
        "get-integration",
        json!({ "slug": "x" }),
    )
    .await
    .unwrap_err();
    assert!(
        text.contains("503") && text.contains("after 4 attempts"),
        "{text}"
    );
    assert_eq!(upstream.requests().len(), 4);
    let none = dispatcher_with(&upstream, |settings| settings.retries.max_retries = 0);
    call(&none, "get-integration", json!({ "slug": "x" }))
        .await
        .unwrap_err();
    assert_eq!(upstream.requests().len(), 5);
}

#[tokio::test]
async fn sent_post_is_never_retried() {
    for script in [
        || http_response("503 Service Unavailable", "", ""),
        || http_response("429 Too Many Requests", "retry-after: 0\r\n", ""),
        || ResponseAction::Drop,
    ] {
        let upstream = MockUpstream::start(move |_| script()).await;
        for (tool, args) in [
            ("create-integration", create_arguments()),
            ("sync-mcp-integration", json!({ "mcp_integration_id": "m" })),
        ] {
            let before = upstream.requests().len();
            call(&dispatcher(&upstream), tool, args).await.unwrap_err();
            assert_eq!(upstream.requests().len() - before, 1, "{tool}");
        }
    }
}

#[tokio::test]
async fn read_is_retried_after_a_lost_connection() {
    let upstream = MockUpstream::start(|n| {
        if n == 0 {
            ResponseAction::Drop
        } else {
            json_response("{}")
        }
    })
    .await;
    assert_eq!(
        call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" })
        )
        .await,
        Ok(json!({}))
    );
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_cap() {
    let asks = |seconds: &'static str| {
        move |n| {
            if n == 0 {
                http_response("429 Too Many Requests", seconds, "")
            } else {
                json_response("{}")
            }
        }
    };
    // Our own delay of a millisecond would fit into the call. The requested second does not.
    let upstream = MockUpstream::start(asks("retry-after: 1\r\n")).await;
    let brief = dispatcher_with(&upstream, |settings| {
        settings.timeout = Duration::from_millis(900)
    });
    let text = call(&brief, "get-integration", json!({ "slug": "x" }))
        .await
        .unwrap_err();
    assert!(text.contains("429"), "{text}");
    assert_eq!(upstream.requests().len(), 1);
    let upstream = MockUpstream::start(asks("retry-after: 1\r\n")).await;
    assert_eq!(
        call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" })
        )
        .await,
        Ok(json!({}))
    );
    let upstream =
        MockUpstream::start(asks("retry-after: Fri, 01 Jan 2100 00:00:00 GMT\r\n")).await;
    call(
        &dispatcher(&upstream),
        "get-integration",
        json!({ "slug": "x" }),
    )
    .await
    .unwrap_err();
    assert_eq!(upstream.requests().len(), 1);
    let upstream =
        MockUpstream::start(asks("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n")).await;
    assert_eq!(
        call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" })
        )
        .await,
        Ok(json!({}))
    );
    let upstream = MockUpstream::start(asks("retry-after: 3600\r\n")).await;
    let text = call(
        &dispatcher(&upstream),
        "get-integration",
        json!({ "slug": "x" }),
    )
    .await
    .unwrap_err();
    assert!(text.contains("429"), "{text}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn refused_connection_reports_that_nothing_was_sent() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings(&address)));
    for (tool, args) in [
        ("get-integration", json!({ "slug": "x" })),
        ("create-integration", create_arguments()),
    ] {
        let text = call(&dispatcher, tool, args).await.unwrap_err();
        assert!(
            text.contains("could not be reached, nothing was sent") && text.contains("refused"),
            "{text}"
        );
    }
}

/// The first attempt arrived, and then nothing listened any more.
#[tokio::test]
async fn request_sent_once_is_not_reported_as_unsent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        stream.readable().await.unwrap();
    });
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings(&address)));
    let text = call(&dispatcher, "get-integration", json!({ "slug": "x" }))
        .await
        .unwrap_err();
    assert!(
        text.contains("refused") && !text.contains("nothing was sent"),
        "{text}"
    );
}
