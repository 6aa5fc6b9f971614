//! Which calls need approval, and what an approval opens.

use std::sync::Arc;

use portkey_mcp::{
    approval::{Always, Answer, Approvals, Denied, Form, How, Question, Reaction},
    dispatch::{Call, CallError, Dispatcher, Record},
    request::Arrival,
    seal::Keyring,
    store::Store,
    watch::Watched,
};
use serde_json::{Value, json};
use std::time::Duration;

use crate::{
    process::said,
    upstream::{Upstream, dispatcher, ok, operator},
};

pub(crate) fn guarded(upstream: &Upstream, always: Always) -> Dispatcher {
    let keys = Arc::new(Watched::fixed(Keyring::random().unwrap()));
    let approvals = Approvals::new(keys, Store::memory(), Duration::from_secs(60));
    dispatcher(upstream).approving(always).asking(Arc::new(approvals))
}

async fn call(
    dispatcher: &Dispatcher,
    (tool, args): (&str, &Value),
    answer: Option<Answer>,
) -> (Result<Value, CallError>, Record) {
    let (principal, arrival, mut record) = (operator(), Arrival::local(), Record::default());
    let args = args.as_object().unwrap().clone();
    let call = Call { principal: &principal, arrival: &arrival, name: tool, args, answer };
    (dispatcher.recorded(call, &mut record).await, record)
}

async fn question(dispatcher: &Dispatcher, tool: &str, args: &Value) -> Box<Question> {
    match call(dispatcher, (tool, args), None).await.0 {
        Err(CallError::Ask(question)) => question,
        other => panic!("{tool}: {other:?}"),
    }
}

const YES: Form = Form { reaction: Reaction::Accept, approve: true, typed: None };

#[tokio::test]
async fn what_needs_approval_is_a_matter_of_effect() {
    let upstream = Upstream::start(|_| ok(r#"{"name":"N"}"#)).await;
    let cases = [
        ("get-integration", json!({ "slug": "s" }), false, false),
        ("create-integration", json!({ "name": "n", "ai_provider_id": "openai" }), true, false),
        ("update-integration", json!({ "slug": "s", "name": "n" }), true, false),
        ("update-config", json!({ "slug": "s", "name": "n" }), true, true),
        ("delete-integration", json!({ "slug": "s" }), true, true),
        ("modify-mcp-gateway", json!({ "gateway": "g", "is_active": true }), true, true),
        (
            "modify-mcp-gateway",
            json!({ "gateway": "g", "is_active": true, "preview": true }),
            false,
            false,
        ),
    ];
    for (tool, args, by_writes, by_deletes) in cases {
        for (writes, deletes, asked) in [
            (false, false, false),
            (true, false, by_writes),
            (false, true, by_deletes),
            (true, true, by_writes || by_deletes),
        ] {
            let dispatcher = guarded(&upstream, Always { writes, deletes, confirm: false });
            let before = upstream.count();
            let (outcome, _) = call(&dispatcher, (tool, &args), None).await;
            let was_asked = matches!(outcome, Err(CallError::Ask(_)));
            assert_eq!(was_asked, asked, "{tool} {args} {writes} {deletes}: {outcome:?}");
            if asked {
                let sent = upstream.requests_after(before);
                assert!(sent.iter().all(|request| request.method == "GET"), "{tool}: {sent:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_yes_opens_the_call_it_was_said_to() {
    let upstream = Upstream::start(|_| ok(r#"{"name":"N"}"#)).await;
    let dispatcher = guarded(&upstream, Always { deletes: true, ..Always::default() });
    let (tool, args) = ("delete-integration", json!({ "slug": "s" }));
    let grant = async |args: &Value| {
        let question = question(&dispatcher, tool, args).await;
        Some(Answer::Given(question.answered(&YES, How::Terminal, "someone")))
    };
    let (outcome, record) = call(&dispatcher, (tool, &args), grant(&args).await).await;
    assert!(outcome.is_ok());
    let approved = record.approval.unwrap();
    assert_eq!(&*approved, "terminal by someone");
    for other in [("delete-integration", json!({ "slug": "t" })), ("delete-provider", args.clone())]
    {
        let sent = upstream.count();
        let (outcome, record) = call(&dispatcher, (other.0, &other.1), grant(&args).await).await;
        assert!(matches!(outcome, Err(CallError::Denied(Denied::Void))), "{other:?}: {outcome:?}");
        assert_eq!(record.approval, None);
        let sent = upstream.requests_after(sent);
        assert!(sent.iter().all(|request| request.method == "GET"), "{sent:?}");
    }
}

/// An agent cannot bury a human in questions.
#[tokio::test]
async fn tickets_of_one_caller_are_bounded() {
    let upstream = Upstream::start(|_| ok(r#"{"name":"N"}"#)).await;
    let dispatcher = guarded(&upstream, Always { deletes: true, ..Always::default() });
    let approvals = dispatcher.approvals().unwrap();
    approvals.open_desk("http://127.0.0.1:1".to_owned());
    let mut outcomes = Vec::new();
    for i in 0..70 {
        let args = json!({ "slug": format!("s{i}") });
        let question = question(&dispatcher, "delete-integration", &args).await;
        outcomes.push(approvals.file(&operator(), &question).await.map(drop));
    }
    assert_eq!(outcomes[..60], vec![Ok(()); 60]);
    assert_eq!(outcomes[69], Err(Denied::TooMany));
    assert_eq!(approvals.tickets().await.unwrap().len(), 60);
    // One that waits already is no further one.
    let args = json!({ "slug": "s0" });
    let again = question(&dispatcher, "delete-integration", &args).await;
    assert!(approvals.file(&operator(), &again).await.is_ok());
}

/// A dry run sends nothing, so there is nothing to approve.
#[tokio::test]
async fn a_dry_run_asks_nobody() {
    let upstream = Upstream::start(|_| ok("{}")).await;
    let always = Always { writes: true, deletes: true, confirm: true };
    let dispatcher = guarded(&upstream, always).dry_run(true);
    let args = json!({ "slug": "s" });
    let (outcome, record) = call(&dispatcher, ("delete-integration", &args), None).await;
    assert!(
        outcome.unwrap()["dry_run"] == true
            && record.decision == "dry-run"
            && record.approval.is_none()
    );
}

/// A name that cannot be typed, or reads as something else, is not asked for: the identifier is.
#[tokio::test]
async fn the_name_to_type_is_one_that_can_be_typed() {
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(200));
    for (stored, name) in [
        (r#"{"name":"Team A"}"#, "Team A"),
        (r#"{"data":{"name":"Team B"}}"#, "Team B"),
        (r#"{"name":"a\u202eb"}"#, "ab"),
        (r#"{"name":" a"}"#, "s"),
        (&long, "s"),
        ("{}", "s"),
    ] {
        let stored: &'static str = stored.to_owned().leak();
        let upstream = Upstream::start(move |_| ok(stored)).await;
        let always = Always { deletes: true, confirm: true, ..Always::default() };
        let args = json!({ "slug": "s" });
        let asked = question(&guarded(&upstream, always), "delete-integration", &args).await;
        assert_eq!(asked.confirm.as_deref(), Some(name), "{stored}");
        let typed = Form { typed: Some(name.to_owned()), ..YES };
        assert!(asked.answered(&YES, How::Form, "x").is_err());
        assert!(asked.answered(&typed, How::Form, "x").is_ok());
    }
}

#[tokio::test]
async fn without_anybody_to_ask_it_is_denied() {
    let upstream = Upstream::start(|_| ok("{}")).await;
    let always = Always { deletes: true, ..Always::default() };
    let dispatcher = dispatcher(&upstream).approving(always);
    let (outcome, _) = call(&dispatcher, ("delete-label", &json!({ "label_id": "l" })), None).await;
    assert!(matches!(outcome, Err(CallError::Denied(Denied::Nobody { .. }))), "{outcome:?}");
    // From the shell, without a terminal.
    let (done, _, log) =
        said(&["call", "delete-integration", "slug=s", "--sandbox", "--approve-deletes"]);
    assert!(!done && log.contains("needs the approval of a human"), "{log}");
}
