//! Rules that several people have to approve.

use std::sync::Arc;

use futures_util::future::join_all;
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    observability::request::RequestInfo,
    pipeline::{
        CallError, CallRecord, Dispatcher, ToolCall,
        approval::{
            ApprovalError, ApprovalMethod, ApprovalRequest, ApprovalResponse, Approvals,
            DecisionError, FormAction, FormResponse, Ticket,
        },
    },
    security::signed_state::Keyring,
};
use portkey_policy::Policy;
use portkey_store::Store;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{
    store::{StorePair, store_pairs},
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

const POLICY: &str = "
version: '1'
rules:
  - { name: two people, action: approve, approvers: 2, match: { effects: [delete] } }
  - { name: another one, action: approve, approvers: 1, match: { effects: [create] } }
";

const APPROVE: FormResponse = FormResponse {
    action: FormAction::Accept,
    approve: true,
    typed_name: None,
};
const DENY: FormResponse = FormResponse {
    action: FormAction::Decline,
    approve: false,
    typed_name: None,
};

fn replica(upstream: &MockUpstream, store: Store, keys: &Arc<WatchedValue<Keyring>>) -> Dispatcher {
    let catalog = portkey_api::catalog::Catalog::full();
    let policy = Policy::parse("p.yaml", POLICY, &catalog).unwrap();
    let approvals = Approvals::new(keys.clone(), store.clone(), Duration::from_secs(60));
    approvals.set_admin_url("http://127.0.0.1:1".to_owned());
    dispatcher(upstream)
        .with_policy(WatchedValue::fixed(policy))
        .with_store(store)
        .with_approvals(Arc::new(approvals))
}

async fn call(
    dispatcher: &Dispatcher,
    (tool, args): (&str, Value),
    answer: Option<ApprovalResponse>,
) -> Result<Value, CallError> {
    let principal = operator();
    let request_info = RequestInfo::local();
    let call = ToolCall {
        principal: &principal,
        request_info: &request_info,
        name: tool,
        args: args.as_object().unwrap().clone(),
        approval_response: answer,
    };
    dispatcher.call(call, &mut CallRecord::default()).await
}

fn delete() -> (&'static str, Value) {
    ("delete-label", json!({ "label_id": "a" }))
}

async fn request_approval(dispatcher: &Dispatcher, what: (&str, Value)) -> Box<ApprovalRequest> {
    match call(dispatcher, what, None).await {
        Err(CallError::ApprovalRequired(question)) => question,
        other => panic!("{other:?}"),
    }
}

async fn file_ticket(dispatcher: &Dispatcher) -> Ticket {
    let question = request_approval(dispatcher, delete()).await;
    let approvals = dispatcher.approvals().unwrap();
    approvals
        .create_ticket(&operator(), &question)
        .await
        .unwrap()
}

async fn decide(
    dispatcher: &Dispatcher,
    ticket: &Ticket,
    form: &FormResponse,
    by: &str,
) -> Result<Ticket, DecisionError> {
    let approvals = dispatcher.approvals().unwrap();
    approvals
        .decide(&ticket.id, &ticket.digest(), form, by)
        .await
}

async fn upstream() -> MockUpstream {
    MockUpstream::start(|_| json_response("{}")).await
}

fn writes(upstream: &MockUpstream) -> usize {
    let requests = upstream.requests();
    requests
        .iter()
        .filter(|request| request.method == "DELETE")
        .count()
}

#[tokio::test]
async fn call_is_sent_once_two_people_approved_it() {
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let upstream = upstream().await;
        let here = replica(&upstream, one, &keys);
        let there = replica(&upstream, other, &keys);
        let ticket = file_ticket(&here).await;
        assert_eq!(ticket.approval_count().as_deref(), Some("0 of 2"));
        assert!(ticket.text.contains("Approvers: 2 different people"));

        let first = decide(&here, &ticket, &APPROVE, "Ann").await.unwrap();
        assert!(first.is_pending(), "{kind}");
        let seen = there.approvals().unwrap().ticket(&ticket.id).await.unwrap();
        let seen = seen.unwrap();
        assert_eq!(seen.approval_count().as_deref(), Some("1 of 2"), "{kind}");
        assert_eq!(seen.to_public_json()["approved_by"], json!(["Ann"]));
        let waiting = call(&here, delete(), None).await;
        assert!(
            matches!(waiting, Err(CallError::ApprovalRequired(_))),
            "{kind}"
        );

        let again = decide(&there, &ticket, &APPROVE, " ann ").await;
        assert!(
            matches!(again, Err(DecisionError::AlreadyApproved(_))),
            "{kind}"
        );
        let asker = decide(&there, &ticket, &APPROVE, "Local").await;
        assert_eq!(asker.unwrap_err(), DecisionError::AskerCannotApprove);
        let nobody = decide(&there, &ticket, &APPROVE, " - ").await;
        assert_eq!(nobody.unwrap_err(), DecisionError::NameRequired);

        let second = decide(&there, &ticket, &APPROVE, "Bob").await.unwrap();
        assert_eq!(
            second.state.as_parts(),
            ("approved", Some("Ann, Bob")),
            "{kind}"
        );
        assert_eq!(writes(&upstream), 0, "{kind}");
        let outcomes = join_all((0..4).map(|n| {
            let replica = if n % 2 == 0 { &here } else { &there };
            call(
                replica,
                delete(),
                Some(ApprovalResponse::Ticket(ticket.id.clone())),
            )
        }))
        .await;
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            1,
            "{kind}"
        );
        assert_eq!(writes(&upstream), 1, "{kind}");
    }
}

#[tokio::test]
async fn denial_by_one_ends_it() {
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    let upstream = upstream().await;
    let dispatcher = replica(&upstream, Store::in_memory(), &keys);
    let ticket = file_ticket(&dispatcher).await;
    decide(&dispatcher, &ticket, &APPROVE, "Ann").await.unwrap();
    let denied = decide(&dispatcher, &ticket, &DENY, "Bob").await.unwrap();
    assert_eq!(denied.state.as_parts(), ("denied", Some("Bob")));
    let late = decide(&dispatcher, &ticket, &APPROVE, "Cem").await;
    assert_eq!(late.unwrap_err(), DecisionError::AlreadyDecided);
    let outcome = call(&dispatcher, delete(), None).await;
    let declined = matches!(
        outcome,
        Err(CallError::ApprovalDenied(ApprovalError::Declined))
    );
    assert!(declined, "{outcome:?}");
    assert_eq!(writes(&upstream), 0);
}

#[tokio::test]
async fn approvals_at_once_are_all_kept_and_decide_once() {
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    for StorePair {
        kind, one, other, ..
    } in store_pairs().await
    {
        let upstream = upstream().await;
        let here = replica(&upstream, one, &keys);
        let there = replica(&upstream, other, &keys);
        let ticket = file_ticket(&here).await;
        let decisions = join_all([(&here, "Ann"), (&there, "Bob")].map(|(replica, by)| {
            let ticket = &ticket;
            async move { decide(replica, ticket, &APPROVE, by).await }
        }))
        .await;
        assert!(decisions.iter().all(Result::is_ok), "{kind}: {decisions:?}");
        let seen = here.approvals().unwrap().ticket(&ticket.id).await.unwrap();
        assert_eq!(seen.unwrap().state.as_parts().0, "approved", "{kind}");
        assert!(call(&there, delete(), None).await.is_ok(), "{kind}");
        assert_eq!(writes(&upstream), 1, "{kind}");
    }
}

#[tokio::test]
async fn form_of_the_caller_is_no_approval() {
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    let upstream = upstream().await;
    let dispatcher = replica(&upstream, Store::in_memory(), &keys);
    for what in [delete(), ("create-label", json!({ "name": "a" }))] {
        let question = request_approval(&dispatcher, what.clone()).await;
        assert!(question.approvers.is_some());
        let approval = question
            .resolve(&APPROVE, ApprovalMethod::Form, "local")
            .unwrap();
        let approvals = dispatcher.approvals().unwrap();
        let state = approvals
            .sign_request(&operator(), &question)
            .await
            .unwrap();
        for response in [
            ApprovalResponse::Resolved(Ok(approval)),
            ApprovalResponse::Signed {
                state,
                form: APPROVE,
            },
        ] {
            let outcome = call(&dispatcher, what.clone(), Some(response)).await;
            let invalid = matches!(
                outcome,
                Err(CallError::ApprovalDenied(ApprovalError::InvalidResponse))
            );
            assert!(invalid, "{outcome:?}");
        }
    }
    let sent = upstream.requests();
    assert!(sent.iter().all(|request| request.method == "GET"));
}
