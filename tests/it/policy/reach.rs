//! Rules about the order of calls, their time, their number and their source, in the pipeline.

use std::sync::Arc;

use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    observability::{call_record::OutcomeKind, request::RequestInfo},
    pipeline::{CallError, CallRecord, Dispatcher, ToolCall},
};
use portkey_policy::DenialStage;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::support::{
    requests::{call_request, send_request},
    server::serve_sandbox,
    store::{StorePair, store_pairs},
    upstream::{MockUpstream, ResponseAction, dispatcher, http_response, json_response, operator},
};

fn request_info(session: Option<&str>, source: Option<&str>) -> RequestInfo {
    RequestInfo {
        session: session.map(Into::into),
        source: source.map(|source| source.parse().unwrap()),
        ..RequestInfo::local()
    }
}

async fn call(
    dispatcher: &Dispatcher,
    request_info: &RequestInfo,
    (tool, args): (&str, Value),
) -> (Result<Value, CallError>, CallRecord) {
    let principal = operator();
    let mut record = CallRecord::default();
    let call = ToolCall {
        principal: &principal,
        request_info,
        name: tool,
        args: args.as_object().unwrap().clone(),
        approval_response: None,
    };
    (dispatcher.call(call, &mut record).await, record)
}

fn with_policy(upstream: &MockUpstream, text: &str) -> Dispatcher {
    dispatcher(upstream).with_policy(WatchedValue::fixed(parse_policy(text)))
}

const ORDER: &str = "
version: '1'
default: deny
rules:
  - { name: reads, action: allow, match: { effects: [read] } }
  - { name: after a look, action: allow, match: { tools: [delete-label] }, after: list-labels }
  - { name: no users after logs, action: deny, match: { tools: [list-users] }, after: list-configs }
";

#[tokio::test]
async fn only_a_successful_call_of_the_session_counts_for_the_order() {
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let upstream = MockUpstream::start_by(|request, before| match before {
            0 => http_response("403 Forbidden", "", "{}"),
            _ if request.method == "GET" => json_response(r#"{"data":[],"total":0}"#),
            _ => json_response("{}"),
        })
        .await;
        let here = with_policy(&upstream, ORDER).with_store(one);
        let there = with_policy(&upstream, ORDER).with_store(other);
        let session = request_info(Some("s"), None);
        let delete = || ("delete-label", json!({ "label_id": "a" }));
        let list = || ("list-labels", json!({}));
        assert!(call(&here, &session, list()).await.0.is_err(), "{kind}");
        assert!(call(&here, &session, delete()).await.0.is_err(), "{kind}");
        assert!(call(&here, &session, list()).await.0.is_ok(), "{kind}");
        assert!(call(&there, &session, delete()).await.0.is_ok(), "{kind}");
        for other in [Some("t"), None] {
            let (outcome, _) = call(&here, &request_info(other, None), delete()).await;
            let denied = matches!(outcome, Err(CallError::PolicyDenied(_)));
            assert!(denied, "{kind} {other:?}");
        }
    }
}

#[tokio::test]
async fn order_that_is_unknown_denies_what_a_rule_would_stop() {
    let upstream = MockUpstream::start(|_| json_response(r#"{"data":[],"total":0}"#)).await;
    let dispatcher = with_policy(&upstream, ORDER);
    let users = || ("list-users", json!({}));
    let session = request_info(Some("s"), None);
    assert!(call(&dispatcher, &session, users()).await.0.is_ok());
    let (outcome, _) = call(&dispatcher, &request_info(None, None), users()).await;
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.contains("no users after logs") && error.contains("not known"),
        "{error}"
    );
    let configs = ("list-configs", json!({}));
    assert!(call(&dispatcher, &session, configs).await.0.is_ok());
    assert!(call(&dispatcher, &session, users()).await.0.is_err());
}

#[tokio::test]
async fn timeout_of_a_rule_leaves_a_write_in_doubt() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let text = "
version: '1'
rules:
  - { name: slow, match: { domains: [labels] }, timeout: 1 }
  - { name: counted, match: { effects: [create] }, rate_limit: 1/hour }
";
    let dispatcher = with_policy(&upstream, text);
    let info = request_info(None, None);
    let create = || ("create-label", json!({ "name": "a" }));
    let (outcome, record) = call(&dispatcher, &info, create()).await;
    let error = outcome.unwrap_err();
    assert!(error.may_have_taken_effect());
    let message = error.to_string();
    assert!(message.contains("did not answer within 1 s"), "{message}");
    assert!(message.contains("list-labels"), "{message}");
    assert_eq!(record.outcome.kind, OutcomeKind::Unknown);
    let (outcome, _) = call(&dispatcher, &info, create()).await;
    let denied = matches!(outcome, Err(CallError::PolicyDenied(_)));
    assert!(denied, "it stays counted");
    let (outcome, record) = call(&dispatcher, &info, ("list-labels", json!({}))).await;
    assert!(outcome.is_err());
    assert_ne!(record.outcome.kind, OutcomeKind::Unknown);
}

#[tokio::test]
async fn calls_beyond_the_concurrency_are_denied_at_once() {
    let answers = Arc::new(Semaphore::new(0));
    let later = answers.clone();
    let upstream = MockUpstream::start(move |_| {
        ResponseAction::Later(later.clone(), r#"{"data":[],"total":0}"#)
    })
    .await;
    let text = "
version: '1'
rules:
  - { name: one at a time, match: { tools: [list-labels] }, concurrency: 1 }
  - { name: two of a caller, match: { domains: [labels] }, concurrency: { max: 2, scope: principal } }
";
    let dispatcher = Arc::new(with_policy(&upstream, text));
    let first = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move {
            let info = request_info(None, None);
            call(&dispatcher, &info, ("list-labels", json!({}))).await.0
        })
    };
    upstream.wait_for_requests(1).await;
    let info = request_info(None, None);
    let (outcome, record) = call(&dispatcher, &info, ("list-labels", json!({}))).await;
    let Err(CallError::PolicyDenied(denial)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(denial.stage, DenialStage::Limits);
    assert!(denial.message.contains("at most 1 at the same time"));
    assert!(denial.retry_after.is_some());
    assert_eq!(record.rule.as_deref(), Some("one at a time"));
    assert_eq!(upstream.count(), 1);
    answers.add_permits(2);
    assert!(first.await.unwrap().is_ok());
    let (outcome, _) = call(&dispatcher, &info, ("list-labels", json!({}))).await;
    assert!(outcome.is_ok(), "the slot is free again: {outcome:?}");
}

#[tokio::test]
async fn aborted_call_frees_its_slot() {
    let upstream = MockUpstream::start(|before| match before {
        0 => ResponseAction::Hang,
        _ => json_response(r#"{"data":[],"total":0}"#),
    })
    .await;
    let text = "version: '1'\nrules: [{ name: one, concurrency: 1 }]\n";
    let dispatcher = Arc::new(with_policy(&upstream, text));
    let first = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move {
            let info = request_info(None, None);
            call(&dispatcher, &info, ("list-labels", json!({}))).await.0
        })
    };
    upstream.wait_for_requests(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let info = request_info(None, None);
    let (outcome, _) = call(&dispatcher, &info, ("list-labels", json!({}))).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn source_is_the_address_after_trusted_proxies() {
    let text = "
version: '1'
default: deny
rules: [{ name: office, action: allow, source: 203.0.113.0/24 }]
";
    let file = crate::support::policy::PolicyFile::with(text);
    let trusting = serve_sandbox(&["--policy", file.path(), "--trusted-proxies", "127.0.0.1"]);
    let direct = serve_sandbox(&["--policy", file.path()]);
    let list = |server, from: &str| {
        call_request(server, "list-labels", json!({})).header("x-forwarded-for", from)
    };
    let is_error = async |request| {
        let (_, answer) = send_request(request).await;
        answer["result"]["isError"] == true
    };
    assert!(!is_error(list(&trusting, "203.0.113.9")).await);
    assert!(is_error(list(&trusting, "198.51.100.1")).await);
    assert!(is_error(list(&trusting, "203.0.113.9, 198.51.100.1")).await);
    assert!(is_error(list(&direct, "203.0.113.9")).await);
}
