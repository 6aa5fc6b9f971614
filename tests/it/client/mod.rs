//! The client for Portkey: the requests it sends and the errors it reports.

mod doubt;
mod refusals;
mod repetition;

use std::time::Duration;

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::Principal,
    mcp::reply,
    pipeline::{CallError, Dispatcher},
    upstream::{UpstreamClient, UpstreamSettings},
};
use serde_json::{Value, json};

use crate::upstream::{
    KEY, MockUpstream, ResponseAction, dispatcher, http_response, json_response, operator, settings,
};

async fn call(dispatcher: &Dispatcher, tool: &str, args: Value) -> Result<Value, String> {
    call_as(&operator(), dispatcher, tool, args).await
}

async fn call_as(
    principal: &Principal,
    dispatcher: &Dispatcher,
    tool: &str,
    args: Value,
) -> Result<Value, String> {
    let outcome = dispatcher
        .call_as_local(principal, tool, args.as_object().unwrap().clone())
        .await;
    outcome.map_err(|error| {
        let text = reply::error_message(&error);
        assert!(
            !text.contains(KEY) && !format!("{error:?}").contains(KEY),
            "the key shows: {text}"
        );
        text
    })
}

fn dispatcher_with(
    upstream: &MockUpstream,
    change: impl FnOnce(&mut UpstreamSettings),
) -> Dispatcher {
    let mut settings = settings(&upstream.base_url);
    change(&mut settings);
    Dispatcher::new(Catalog::full(), UpstreamClient::new(settings))
}

fn create_arguments() -> Value {
    json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-planted" })
}

#[tokio::test]
async fn request_carries_the_key_and_no_authorization_header() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    call(
        &dispatcher(&upstream),
        "create-integration",
        create_arguments(),
    )
    .await
    .unwrap();
    let seen = &upstream.requests()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/v1/integrations")
    );
    assert!(
        seen.head.contains(&format!("x-portkey-api-key: {KEY}")),
        "{}",
        seen.head
    );
    assert!(seen.head.contains("accept-encoding: gzip"), "{}", seen.head);
    assert!(
        !seen.head.to_lowercase().contains("authorization"),
        "{}",
        seen.head
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        create_arguments()
    );
}

#[tokio::test]
async fn success_bodies_of_every_form_are_returned() {
    let cases = [
        (json_response(r#"{"a":1}"#), json!({ "a": 1 })),
        (json_response("[1]"), json!([1])),
        (json_response("null"), json!({})),
        (json_response(""), json!({})),
        (json_response(" \n"), json!({})),
        (
            json_response(r#"{"success":true,"data":{}}"#),
            json!({ "success": true, "data": {} }),
        ),
        (
            json_response(r#"{"error":null,"id":"x"}"#),
            json!({ "error": null, "id": "x" }),
        ),
        (http_response("204 No Content", "", ""), json!({})),
    ];
    for (i, (act, expected)) in cases.into_iter().enumerate() {
        let act = std::sync::Mutex::new(Some(act));
        let upstream = MockUpstream::start(move |_| act.lock().unwrap().take().unwrap()).await;
        let got = call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" }),
        )
        .await;
        assert_eq!(got, Ok(expected), "case {i}");
    }
}

/// Every error body of docs/portkey-api-notes.md#error-bodies, and the required parts of its
/// report.
#[tokio::test]
async fn upstream_errors_are_reported_with_cause_and_advice() {
    let json = "content-type: application/json\r\n";
    let id = "content-type: application/json\r\nx-portkey-request-id: req-7\r\n";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "403 Forbidden",
            id,
            r#"{"success":false,"data":{"message":"No","errorCode":"AB03"}}"#,
            &[
                "403 AB03: No (request id req-7)",
                "five things",
                "`organisation_integrations.read` or `workspace_integrations.read`",
                "below Enterprise",
            ],
        ),
        (
            "401 Unauthorized",
            json,
            r#"{"success":false,"data":{"message":"Unauthorised Request"}}"#,
            &["401: Unauthorised Request", "PORTKEY_API_KEY"],
        ),
        (
            "403 Forbidden",
            json,
            r#"{"status_code":403,"success":false,"error":{"message":"Closed","slug":"forbidden","code":"FORBIDDEN"}}"#,
            &["403 FORBIDDEN: Closed"],
        ),
        (
            "404 Not Found",
            json,
            r#"{"errorCode":"AB08","message":"Resource not found"}"#,
            &["404 AB08: Resource not found", "List the resources"],
        ),
        (
            "400 Bad Request",
            json,
            r#"{"error":{"type":"x","message":"Bad body","param":null,"code":null}}"#,
            &["400: Bad body", "does not say which argument"],
        ),
        (
            "404 Not Found",
            json,
            r#"{"error":"Model or provider not found"}"#,
            &["404: Model or provider not found"],
        ),
        (
            "400 Bad Request",
            json,
            r#"{"status":"failure","message":"Either x-portkey-config or x-portkey-provider header is required"}"#,
            &["400: Either", "no such endpoint", "--base-url"],
        ),
        (
            "403 Forbidden",
            json,
            r#"{"message":"Forbidden","code":"FORBIDDEN"}"#,
            &["403 FORBIDDEN: Forbidden"],
        ),
        (
            "402 Payment Required",
            json,
            r#"{"data":{"message":"Over","errorCode":"AB09"}}"#,
            &["402 AB09: Over", "subscription"],
        ),
        (
            "409 Conflict",
            json,
            r#"{"data":{"message":"Exists","errorCode":"AB07"}}"#,
            &["409 AB07: Exists", "another slug"],
        ),
        (
            "412 Precondition Failed",
            json,
            "{}",
            &["412: Precondition Failed", "budget"],
        ),
        (
            "500 Internal Server Error",
            json,
            r#"{"request_id":"r9","message":"Oops"}"#,
            &["500: Oops (request id r9)", "Call again"],
        ),
        (
            "500 Internal Server Error",
            "",
            "",
            &["500: Internal Server Error"],
        ),
        ("404 Not Found", json, "null", &["404: Not Found"]),
        (
            "403 Forbidden",
            "content-type: text/html\r\n",
            "<html>blocked</html>",
            &["403: 20 bytes that are no JSON (text/html)", "proxy"],
        ),
        (
            "200 OK",
            "content-type: text/html\r\n",
            "<html></html>",
            &["200: 13 bytes that are no JSON (text/html)", "proxy"],
        ),
        (
            "302 Found",
            "location: http://127.0.0.1:1/elsewhere\r\n",
            "",
            &["302", "Redirects are not followed"],
        ),
        (
            "200 OK",
            json,
            r#"{"success":false,"error":"connection refused"}"#,
            &["200: connection refused", "carried out"],
        ),
        (
            "200 OK",
            json,
            r#"{"error":{"message":"upstream down","code":"X1"}}"#,
            &["200 X1: upstream down"],
        ),
        (
            "418 I'm a teapot",
            json,
            "[]",
            &["418: I'm a teapot", "hardly help"],
        ),
    ];
    for (status, headers, body, expected) in cases {
        let upstream = MockUpstream::start(|_| http_response(status, headers, body)).await;
        let text = call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" }),
        )
        .await
        .unwrap_err();
        for part in *expected {
            assert!(
                text.contains(part),
                "{status} {body}: missing {part:?} in {text}"
            );
        }
        assert_eq!(upstream.requests().len(), 1, "{status} was sent again");
    }
}

#[tokio::test]
async fn slow_upstream_times_out() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let hasty = dispatcher_with(&upstream, |settings| {
        settings.timeout = Duration::from_millis(200)
    });
    let text = call(&hasty, "get-integration", json!({ "slug": "x" }))
        .await
        .unwrap_err();
    assert!(
        text.contains("did not answer within 0.2 s") && text.contains("can be made again"),
        "{text}"
    );
    let text = call(&hasty, "create-integration", create_arguments())
        .await
        .unwrap_err();
    assert!(text.contains("may have taken effect"), "{text}");
}

#[tokio::test]
async fn incomplete_response_is_reported() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n".to_vec();
    let garbage = b"SSH-2.0-OpenSSH_9.2\r\n".to_vec();
    for bytes in [short, chunked, garbage] {
        let upstream = MockUpstream::start(move |_| ResponseAction::Write(bytes.clone())).await;
        let text = call(
            &dispatcher(&upstream),
            "create-integration",
            create_arguments(),
        )
        .await
        .unwrap_err();
        assert!(
            text.contains("broke before its answer was complete"),
            "{text}"
        );
        assert!(text.contains("may have taken effect"), "{text}");
    }
}

#[tokio::test]
async fn oversized_response_is_rejected() {
    let declared = b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n".to_vec();
    let endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    for head in [declared, endless] {
        let upstream = MockUpstream::start(move |_| ResponseAction::Flood(head.clone(), 50)).await;
        let text = call(
            &dispatcher(&upstream),
            "get-integration",
            json!({ "slug": "x" }),
        )
        .await
        .unwrap_err();
        assert!(
            text.contains("larger than 10485760 bytes") && text.contains("page_size"),
            "{text}"
        );
        assert_eq!(
            upstream.requests().len(),
            1,
            "too large an answer was asked for again"
        );
    }
}

#[tokio::test]
async fn missing_key_sends_nothing_and_names_both_remedies() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let mut keyless = operator();
    keyless.credentials.portkey = None;
    let dispatcher = dispatcher(&upstream);
    let text = call_as(&keyless, &dispatcher, "list-all-integrations", json!({})).await;
    let text = text.unwrap_err();
    assert!(
        text.contains("PORTKEY_API_KEY") && text.contains("--sandbox"),
        "{text}"
    );
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn dropped_call_aborts_its_request() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let dispatcher = dispatcher(&upstream);
    let operator = operator();
    tokio::select! {
        outcome = dispatcher.call_as_local(&operator, "list-all-integrations", serde_json::Map::new()) => panic!("{outcome:?}"),
        () = upstream.asked(1) => {}
    }
    upstream.hung_up.acquire().await.unwrap().forget();
}

#[test]
fn upstream_error_keeps_its_status() {
    fn assert_typed(error: &CallError) -> Option<u16> {
        match error {
            CallError::Upstream(_, refusal) => Some(refusal.status.as_u16()),
            _ => None,
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let upstream = MockUpstream::start(|_| http_response("409 Conflict", "", "{}")).await;
        let error = dispatcher(&upstream)
            .call_as_local(&operator(), "list-all-integrations", serde_json::Map::new())
            .await;
        assert_eq!(assert_typed(&error.unwrap_err()), Some(409));
    });
}

/// The HTTP client cannot send such a request and would report a lost connection.
#[tokio::test]
async fn argument_too_long_for_the_url_is_named() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    for (bytes, is_sent) in [(30_000, true), (65_000, false), (200_000, false)] {
        let arguments = json!({ "search": "x".repeat(bytes), "page_size": 5 });
        let outcome = call(&dispatcher(&upstream), "list-labels", arguments).await;
        assert_eq!(outcome.is_ok(), is_sent, "{bytes}: {outcome:?}");
        if let Err(text) = outcome {
            assert!(
                text.contains("`search`") && text.contains("64000 fit"),
                "{text}"
            );
            assert!(text.len() < 1000 && !text.contains("connection"), "{text}");
        }
    }
    assert_eq!(upstream.count(), 1);
}
