//! Outside decision points: what they are asked, and that only a clear permission counts.

use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    http_client::decision_point::DecisionClient,
    pipeline::{CallError, Dispatcher},
};
use portkey_policy::DenialStage;
use serde_json::json;

use super::*;
use crate::support::{
    requests::client_builder,
    upstream::{MockUpstream, ResponseAction, dispatcher, http_response, json_response, operator},
};

/// Returns a dispatcher whose writes of labels are decided at this server.
fn with_decision_point(upstream: &MockUpstream, point: &str, more: &str) -> Dispatcher {
    let text = format!(
        "version: '1'\nrules:\n  - {{ name: outside, match: {{ effects: [create] }}, decide: {{ url: '{point}', {more} }} }}\n\
         \x20 - {{ name: counted, match: {{ effects: [create] }}, rate_limit: 1/hour }}\n"
    );
    dispatcher(upstream)
        .with_policy(WatchedValue::fixed(parse_policy(&text)))
        .with_decision_client(DecisionClient::new(client_builder(), client_builder()))
}

async fn create(dispatcher: &Dispatcher, tool: &str, args: &Value) -> Result<Value, CallError> {
    let args = args.as_object().unwrap().clone();
    dispatcher.call_as_local(&operator(), tool, args).await
}

#[tokio::test]
async fn authzen_decision_point_is_asked_without_secrets() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point =
        MockUpstream::start(|_| json_response(r#"{"decision":true,"context":{"reason":"ok"}}"#))
            .await;
    let url = format!("{}/access/v1/evaluation", point.base_url);
    let dispatcher = with_decision_point(&upstream, &url, "api: authzen");
    let args =
        json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-planted-0123456789abcdef" });
    let outcome = create(&dispatcher, "create-integration", &args).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let asked = point.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].target.as_str()),
        ("POST", "/v1/access/v1/evaluation")
    );
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    assert!(asked[0].header("x-request-id").is_some());
    assert!(asked[0].header("authorization").is_none());
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(body["subject"]["type"], "caller");
    assert_eq!(body["subject"]["id"], "local");
    assert_eq!(body["action"]["name"], "create-integration");
    assert_eq!(body["action"]["properties"]["effect"], "create");
    assert_eq!(body["resource"]["type"], "integrations");
    let sent = &body["resource"]["properties"]["arguments"];
    assert_eq!(sent["name"], "n");
    assert_eq!(body["context"]["rule"], "outside");
    assert!(!body.to_string().contains("sk-planted"), "{body}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn opa_decision_point_is_asked_for_a_boolean() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point = MockUpstream::start(|before| match before {
        0 => json_response(r#"{"result":true}"#),
        1 => json_response(r#"{"result":false}"#),
        2 => json_response(r#"{"result":{"allow":true}}"#),
        _ => json_response("{}"),
    })
    .await;
    let url = format!("{}/data/portkey/allow", point.base_url);
    let policy = format!(
        "version: '1'\nrules: [{{ name: outside, decide: {{ url: '{url}', api: opa, token_env: CARGO_PKG_NAME }} }}]\n"
    );
    let dispatcher = dispatcher(&upstream)
        .with_policy(WatchedValue::fixed(parse_policy(&policy)))
        .with_decision_client(DecisionClient::new(client_builder(), client_builder()));
    let args = json!({ "name": "a" });
    assert!(create(&dispatcher, "create-label", &args).await.is_ok());
    for answer in ["false", "an object", "undefined"] {
        let outcome = create(&dispatcher, "create-label", &args).await;
        let Err(CallError::PolicyDenied(denial)) = outcome else {
            panic!("{answer}: {outcome:?}");
        };
        assert_eq!(denial.stage, DenialStage::Outside, "{answer}");
    }
    let asked = point.requests();
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(body["input"]["action"]["name"], "create-label");
    let token = format!("Bearer {}", env!("CARGO_PKG_NAME"));
    assert_eq!(asked[0].header("authorization"), Some(&*token));
    assert_eq!(upstream.count(), 1, "what is denied is not sent");
}

struct FaultCase {
    what: &'static str,
    act: fn() -> ResponseAction,
}

const FAULTS: [FaultCase; 9] = [
    FaultCase {
        what: "500",
        act: || http_response("500 Internal Server Error", "", r#"{"decision":true}"#),
    },
    FaultCase {
        what: "201",
        act: || http_response("201 Created", "", r#"{"decision":true}"#),
    },
    FaultCase {
        what: "redirect",
        act: || {
            http_response(
                "307 Temporary Redirect",
                "location: http://127.0.0.1:1/\r\n",
                "",
            )
        },
    },
    FaultCase {
        what: "malformed",
        act: || json_response(r#"{"decision":true"#),
    },
    FaultCase {
        what: "a text",
        act: || json_response(r#"{"decision":"true"}"#),
    },
    FaultCase {
        what: "no decision",
        act: || json_response(r#"{"result":true}"#),
    },
    FaultCase {
        what: "huge",
        act: || {
            let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"decision\":true,\"x\":\"";
            ResponseAction::Flood(head.to_vec(), 1)
        },
    },
    FaultCase {
        what: "no answer",
        act: || ResponseAction::Hang,
    },
    FaultCase {
        what: "closed",
        act: || ResponseAction::Drop,
    },
];

#[tokio::test]
async fn decision_point_without_a_clear_answer_denies_and_counts_nothing() {
    for FaultCase { what, act } in FAULTS {
        let upstream = MockUpstream::start(|_| json_response("{}")).await;
        let point = MockUpstream::start(move |before| match before {
            0 => act(),
            _ => json_response(r#"{"decision":true}"#),
        })
        .await;
        let dispatcher = with_decision_point(&upstream, &point.base_url, "timeout: 1s");
        let args = json!({ "name": "a" });
        let outcome = create(&dispatcher, "create-label", &args).await;
        let Err(CallError::PolicyDenied(denial)) = outcome else {
            panic!("{what}: {outcome:?}");
        };
        assert_eq!(denial.stage, DenialStage::Outside, "{what}");
        assert!(denial.message.contains("gave no decision"), "{what}");
        assert_eq!((upstream.count(), point.count()), (0, 1), "{what}");
        let outcome = create(&dispatcher, "create-label", &args).await;
        assert!(outcome.is_ok(), "{what}: nothing was counted: {outcome:?}");
    }
}

#[tokio::test]
async fn local_rules_are_evaluated_before_a_decision_point_is_asked() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point = MockUpstream::start(|_| json_response(r#"{"decision":true}"#)).await;
    let text = format!(
        "version: '1'\nrules:\n  - {{ name: outside, decide: '{}' }}\n  - {{ name: never, action: deny, match: {{ tools: [create-label] }} }}\n",
        point.base_url
    );
    let dispatcher = dispatcher(&upstream)
        .with_policy(WatchedValue::fixed(parse_policy(&text)))
        .with_decision_client(DecisionClient::new(client_builder(), client_builder()));
    let args = json!({ "name": "a" });
    assert!(create(&dispatcher, "create-label", &args).await.is_err());
    assert_eq!(point.count(), 0);
}

#[tokio::test]
async fn unreachable_decision_point_and_missing_token_deny() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point = MockUpstream::start(|_| json_response(r#"{"decision":true}"#)).await;
    for (url, more) in [
        ("http://127.0.0.1:1/", "timeout: 1s"),
        (&*point.base_url, "token_env: PORTKEY_MCP_TEST_NOT_SET"),
    ] {
        let dispatcher = with_decision_point(&upstream, url, more);
        let outcome = create(&dispatcher, "create-label", &json!({ "name": "a" })).await;
        assert!(matches!(outcome, Err(CallError::PolicyDenied(_))), "{url}");
    }
    assert_eq!((upstream.count(), point.count()), (0, 0));
}

/// Nobody waits for a service that keeps failing.
#[tokio::test]
async fn decision_point_that_keeps_failing_is_not_asked_for_a_while() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point = MockUpstream::start(|_| http_response("503 Service Unavailable", "", "{}")).await;
    let dispatcher = with_decision_point(&upstream, &point.base_url, "timeout: 1s");
    for _ in 0..8 {
        let outcome = create(&dispatcher, "create-label", &json!({ "name": "a" })).await;
        let Err(CallError::PolicyDenied(denial)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(denial.stage, DenialStage::Outside);
    }
    assert_eq!((upstream.count(), point.count()), (0, 5));
}

/// Callers cannot close a decision point to others by questions that it refuses.
#[tokio::test]
async fn decision_point_that_refuses_questions_is_asked_again() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let point = MockUpstream::start(|_| http_response("400 Bad Request", "", "{}")).await;
    let dispatcher = with_decision_point(&upstream, &point.base_url, "timeout: 1s");
    for _ in 0..8 {
        _ = create(&dispatcher, "create-label", &json!({ "name": "a" })).await;
    }
    assert_eq!((upstream.count(), point.count()), (0, 8));
}
