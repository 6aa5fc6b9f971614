//! The client for Portkey: the requests it sends and the errors it reports.

mod error_responses;
mod retries;
mod uncertain_outcomes;

use std::time::Duration;

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::Principal,
    mcp::reply,
    pipeline::{CallError, Dispatcher},
    upstream::{UpstreamClient, UpstreamSettings},
};
use serde_json::{Value, json};

use crate::support::upstream::{
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
    struct Case<'a> {
        status: &'static str,
        headers: &'a str,
        body: &'static str,
        expected: &'a [&'a str],
    }

    let json = "content-type: application/json\r\n";
    let id = "content-type: application/json\r\nx-portkey-request-id: req-7\r\n";
    let cases: &[Case<'_>] = &[
        Case {
            status: "403 Forbidden",
            headers: id,
            body: r#"{"success":false,"data":{"message":"No","errorCode":"AB03"}}"#,
            expected: &[
                "403 AB03: No (request id req-7)",
                "five things",
                "`organisation_integrations.read` or `workspace_integrations.read`",
                "below Enterprise",
            ],
        },
        Case {
            status: "401 Unauthorized",
            headers: json,
            body: r#"{"success":false,"data":{"message":"Unauthorised Request"}}"#,
            expected: &["401: Unauthorised Request", "PORTKEY_API_KEY"],
        },
        Case {
            status: "403 Forbidden",
            headers: json,
            body: r#"{"status_code":403,"success":false,"error":{"message":"Closed","slug":"forbidden","code":"FORBIDDEN"}}"#,
            expected: &["403 FORBIDDEN: Closed"],
        },
        Case {
            status: "404 Not Found",
            headers: json,
            body: r#"{"errorCode":"AB08","message":"Resource not found"}"#,
            expected: &["404 AB08: Resource not found", "List the resources"],
        },
        Case {
            status: "400 Bad Request",
            headers: json,
            body: r#"{"error":{"type":"x","message":"Bad body","param":null,"code":null}}"#,
            expected: &["400: Bad body", "does not say which argument"],
        },
        Case {
            status: "404 Not Found",
            headers: json,
            body: r#"{"error":"Model or provider not found"}"#,
            expected: &["404: Model or provider not found"],
        },
        Case {
            status: "400 Bad Request",
            headers: json,
            body: r#"{"status":"failure","message":"Either x-portkey-config or x-portkey-provider header is required"}"#,
            expected: &["400: Either", "no such endpoint", "--base-url"],
        },
        Case {
            status: "403 Forbidden",
            headers: json,
            body: r#"{"message":"Forbidden","code":"FORBIDDEN"}"#,
            expected: &["403 FORBIDDEN: Forbidden"],
        },
        Case {
            status: "402 Payment Required",
            headers: json,
            body: r#"{"data":{"message":"Over","errorCode":"AB09"}}"#,
            expected: &["402 AB09: Over", "subscription"],
        },
        Case {
            status: "409 Conflict",
            headers: json,
            body: r#"{"data":{"message":"Exists","errorCode":"AB07"}}"#,
            expected: &["409 AB07: Exists", "another slug"],
        },
        Case {
            status: "412 Precondition Failed",
            headers: json,
            body: "{}",
            expected: &["412: Precondition Failed", "budget"],
        },
        Case {
            status: "500 Internal Server Error",
            headers: json,
            body: r#"{"request_id":"r9","message":"Oops"}"#,
            expected: &["500: Oops (request id r9)", "Call again"],
        },
        Case {
            status: "500 Internal Server Error",
            headers: "",
            body: "",
            expected: &["500: Internal Server Error"],
        },
        Case {
            status: "404 Not Found",
            headers: json,
            body: "null",
            expected: &["404: Not Found"],
        },
        Case {
            status: "403 Forbidden",
            headers: "content-type: text/html\r\n",
            body: "<html>blocked</html>",
            expected: &["403: 20 bytes that are no JSON (text/html)", "proxy"],
        },
        Case {
            status: "200 OK",
            headers: "content-type: text/html\r\n",
            body: "<html></html>",
            expected: &["200: 13 bytes that are no JSON (text/html)", "proxy"],
        },
        Case {
            status: "302 Found",
            headers: "location: http://127.0.0.1:1/elsewhere\r\n",
            body: "",
            expected: &["302", "Redirects are not followed"],
        },
        Case {
            status: "200 OK",
            headers: json,
            body: r#"{"success":false,"error":"connection refused"}"#,
            expected: &["200: connection refused", "carried out"],
        },
        Case {
            status: "200 OK",
            headers: json,
            body: r#"{"error":{"message":"upstream down","code":"X1"}}"#,
            expected: &["200 X1: upstream down"],
        },
        Case {
            status: "418 I'm a teapot",
            headers: json,
            body: "[]",
            expected: &["418: I'm a teapot", "hardly help"],
        },
    ];
    for Case {
        status,
        headers,
        body,
        expected,
    } in cases
    {
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
async fn missing_key_sends_nothing_and_names_the_remedies() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let mut keyless = operator();
    keyless.credentials.portkey = None;
    let dispatcher = dispatcher(&upstream);
    let text = call_as(&keyless, &dispatcher, "list-all-integrations", json!({})).await;
    let text = text.unwrap_err();
    assert!(
        ["`portkey-mcp login`", "PORTKEY_API_KEY", "--sandbox"]
            .iter()
            .all(|remedy| text.contains(remedy)),
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
        () = upstream.wait_for_requests(1) => {}
    }
    upstream.disconnects.acquire().await.unwrap().forget();
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
