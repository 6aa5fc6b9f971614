//! Uncertain writes: the error says how to check the effect, and never suggests a second write.

use std::time::Duration;

use portkey_mcp::{mcp::reply, pipeline::CallError, upstream::RetrySettings};
use serde_json::{Value, json};

use super::{call, create_arguments, dispatcher_with};
use crate::support::upstream::{MockUpstream, ResponseAction, http_response, operator};

/// An upstream behaviour that leaves the effect of a request unknown.
struct Case {
    name: &'static str,
    act: fn() -> ResponseAction,
}

const HTML: &str = "content-type: text/html\r\n";
const JSON: &str = "content-type: application/json\r\n";

fn ambiguous_responses() -> Vec<Case> {
    let case = |name, act| Case { name, act };
    vec![
        case("no answer in time", || ResponseAction::Hang),
        case("a connection that is lost", || ResponseAction::Drop),
        case("half an answer", || {
            ResponseAction::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":".to_vec())
        }),
        case("an answer that breaks in its compression", || {
            ResponseAction::Write(
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"
                    .to_vec(),
            )
        }),
        case("too large an answer, declared", || {
            ResponseAction::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n".to_vec())
        }),
        case("too large an answer", || {
            ResponseAction::Flood(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), 11)
        }),
        case("a success that is no JSON", || {
            http_response("200 OK", HTML, "<html></html>")
        }),
        case("a success that says it failed", || {
            http_response("200 OK", JSON, r#"{"success":false,"error":"half of it"}"#)
        }),
        case("an internal error", || {
            http_response("500 Internal Server Error", JSON, "{}")
        }),
        case("a gateway's page", || {
            http_response("502 Bad Gateway", HTML, "<html></html>")
        }),
        case("a gateway's timeout", || {
            http_response("504 Gateway Timeout", "", "")
        }),
        case("a request timeout", || {
            http_response("408 Request Timeout", JSON, "{}")
        }),
        case("a redirect to what came of it", || {
            http_response("303 See Other", "location: /x\r\n", "")
        }),
        case("a redirect with a page", || {
            http_response("302 Found", HTML, "<html></html>")
        }),
    ]
}

/// A write, and the tool that shows its effect.
struct WriteCall {
    tool: &'static str,
    arguments: Value,
    lookup_tool: &'static str,
}

fn write_calls() -> [WriteCall; 3] {
    let update = json!({ "slug": "x", "name": "n" });
    let new = create_arguments();
    let gone = json!({ "slug": "x" });
    [
        WriteCall {
            tool: "create-integration",
            arguments: new,
            lookup_tool: "list-all-integrations",
        },
        WriteCall {
            tool: "update-integration",
            arguments: update,
            lookup_tool: "get-integration",
        },
        WriteCall {
            tool: "delete-integration",
            arguments: gone,
            lookup_tool: "get-integration",
        },
    ]
}

/// Phrases that would make a model repeat the call.
const RETRY_PHRASES: [&str; 4] = [
    "then call again",
    "Call again",
    "can be made again",
    "Ask for less",
];

#[tokio::test]
async fn uncertain_write_says_so_and_names_the_lookup_tool() {
    for Case { name, act } in ambiguous_responses() {
        let upstream = MockUpstream::start(move |_| act()).await;
        let dispatcher = dispatcher_with(&upstream, |settings| {
            settings.timeout = Duration::from_millis(300);
            settings.retries = RetrySettings {
                max_retries: 0,
                ..settings.retries
            };
        });
        for WriteCall {
            tool,
            arguments,
            lookup_tool,
        } in write_calls()
        {
            let text = call(&dispatcher, tool, arguments).await.unwrap_err();
            let expected =
                format!("It may have taken effect all the same: look with `{lookup_tool}`");
            assert!(text.contains(&expected), "{tool}, {name}: {text}");
            for invitation in RETRY_PHRASES {
                assert!(!text.contains(invitation), "{tool}, {name}: {text}");
            }
        }
        let text = call(&dispatcher, "get-integration", json!({ "slug": "x" }))
            .await
            .unwrap_err();
        assert!(!text.contains("taken effect"), "a read, {name}: {text}");
    }
}

#[tokio::test]
async fn error_tells_if_the_call_may_have_taken_effect() {
    let refusals = [
        ("400 Bad Request", false),
        ("403 Forbidden", false),
        ("429 Too Many Requests", false),
        ("301 Moved Permanently", false),
        ("308 Permanent Redirect", false),
        ("503 Service Unavailable", true),
    ];
    for (status, expected) in refusals {
        let upstream = MockUpstream::start(move |_| http_response(status, "", "")).await;
        let dispatcher = dispatcher_with(&upstream, |_| {});
        let arguments = create_arguments().as_object().unwrap().clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "create-integration", arguments)
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.may_have_taken_effect(), expected, "{status}");
        let says_so = reply::error_message(&error).contains("may have taken effect");
        assert_eq!(says_so, expected, "{status}");
    }
}

/// The first attempt may have deleted the resource that the second one does not find.
#[tokio::test]
async fn error_after_a_lost_attempt_may_have_taken_effect() {
    let upstream = MockUpstream::start(|n| match n {
        0 => ResponseAction::Drop,
        _ => http_response(
            "404 Not Found",
            JSON,
            r#"{"data":{"message":"Gone","errorCode":"AB08"}}"#,
        ),
    })
    .await;
    let dispatcher = dispatcher_with(&upstream, |_| {});
    let text = call(&dispatcher, "delete-integration", json!({ "slug": "x" }))
        .await
        .unwrap_err();
    assert_eq!(upstream.count(), 2);
    assert!(text.contains("404 AB08: Gone"), "{text}");
    assert!(text.contains("look with `get-integration`"), "{text}");
}

/// A rejected attempt had no effect, however often it was repeated.
#[tokio::test]
async fn error_after_a_rate_limited_attempt_has_no_effect() {
    let upstream = MockUpstream::start(|n| match n {
        0 => http_response("429 Too Many Requests", "retry-after: 0\r\n", ""),
        _ => http_response("404 Not Found", JSON, "{}"),
    })
    .await;
    let dispatcher = dispatcher_with(&upstream, |_| {});
    let arguments = json!({ "slug": "x" }).as_object().unwrap().clone();
    let error = dispatcher
        .call_as_local(&operator(), "delete-integration", arguments)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Upstream(..)), "{error}");
    assert!(!error.may_have_taken_effect(), "{error}");
}
