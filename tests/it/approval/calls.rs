//! Calls that need approval, and the calls that an approval permits.

use std::sync::Arc;

use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    auth::principal::Principal,
    observability::request::RequestInfo,
    pipeline::{
        CallError, CallRecord, Dispatcher, ToolCall,
        approval::{
            ApprovalDefaults, ApprovalError, ApprovalMethod, ApprovalRecord, ApprovalRequest,
            ApprovalResponse, Approvals, DecisionError, FormAction, FormResponse, MAX_PAGE_TICKETS,
            MAX_TICKETS_OF_CALLER, MIN_ID_DIGITS, Ticket, TicketFilter,
        },
    },
    security::signed_state::Keyring,
    upstream::UpstreamClient,
};
use portkey_policy::DecisionKind;
use portkey_store::{Queue, Store};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{
    approvals::{dispatcher_with_approvals, dispatcher_with_store},
    process::run_cli,
    upstream::{MockUpstream, dispatcher, http_response, json_response, operator, settings},
};

async fn call(
    dispatcher: &Dispatcher,
    (tool, args): (&str, &Value),
    answer: Option<ApprovalResponse>,
) -> (Result<Value, CallError>, CallRecord) {
    let (principal, request_info, mut record) =
        (operator(), RequestInfo::local(), CallRecord::default());
    let args = args.as_object().unwrap().clone();
    let call = ToolCall {
        principal: &principal,
        request_info: &request_info,
        name: tool,
        args,
        approval_response: answer,
    };
    (dispatcher.call(call, &mut record).await, record)
}

async fn approval_request(
    dispatcher: &Dispatcher,
    tool: &str,
    args: &Value,
) -> Box<ApprovalRequest> {
    match call(dispatcher, (tool, args), None).await.0 {
        Err(CallError::ApprovalRequired(question)) => question,
        other => panic!("{tool}: {other:?}"),
    }
}

const APPROVE: FormResponse = FormResponse {
    action: FormAction::Accept,
    approve: true,
    typed_name: None,
};

#[tokio::test]
async fn approval_requirement_depends_on_the_effect() {
    struct Setting {
        writes: bool,
        deletes: bool,
        asked: bool,
    }

    struct Case {
        tool: &'static str,
        args: Value,
        by_writes: bool,
        by_deletes: bool,
    }

    let upstream = MockUpstream::start(|_| json_response(r#"{"name":"N"}"#)).await;
    let cases = [
        Case {
            tool: "get-integration",
            args: json!({ "slug": "s" }),
            by_writes: false,
            by_deletes: false,
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "openai" }),
            by_writes: true,
            by_deletes: false,
        },
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "name": "n" }),
            by_writes: true,
            by_deletes: false,
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "name": "n" }),
            by_writes: true,
            by_deletes: true,
        },
        Case {
            tool: "delete-integration",
            args: json!({ "slug": "s" }),
            by_writes: true,
            by_deletes: true,
        },
        Case {
            tool: "modify-mcp-gateway",
            args: json!({ "gateway": "g", "is_active": true }),
            by_writes: true,
            by_deletes: true,
        },
        Case {
            tool: "modify-mcp-gateway",
            args: json!({ "gateway": "g", "is_active": true, "preview": true }),
            by_writes: false,
            by_deletes: false,
        },
    ];
    for Case {
        tool,
        args,
        by_writes,
        by_deletes,
    } in cases
    {
        for Setting {
            writes,
            deletes,
            asked,
        } in [
            Setting {
                writes: false,
                deletes: false,
                asked: false,
            },
            Setting {
                writes: true,
                deletes: false,
                asked: by_writes,
            },
            Setting {
                writes: false,
                deletes: true,
                asked: by_deletes,
            },
            Setting {
                writes: true,
                deletes: true,
                asked: by_writes || by_deletes,
            },
        ] {
            let dispatcher = dispatcher_with_approvals(
                &upstream,
                ApprovalDefaults {
                    writes,
                    deletes,
                    confirm: false,
                    ..ApprovalDefaults::default()
                },
            );
            let before = upstream.count();
            let (outcome, _) = call(&dispatcher, (tool, &args), None).await;
            let was_asked = matches!(outcome, Err(CallError::ApprovalRequired(_)));
            assert_eq!(
                was_asked, asked,
                "{tool} {args} {writes} {deletes}: {outcome:?}"
            );
            if asked {
                let sent = upstream.requests_after(before);
                assert!(
                    sent.iter().all(|request| request.method == "GET"),
                    "{tool}: {sent:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn approval_permits_only_the_approved_call() {
    let upstream = MockUpstream::start(|_| json_response(r#"{"name":"N"}"#)).await;
    let dispatcher = dispatcher_with_approvals(
        &upstream,
        ApprovalDefaults {
            deletes: true,
            ..ApprovalDefaults::default()
        },
    );
    let tool = "delete-integration";
    let args = json!({ "slug": "s" });
    let grant = async |args: &Value| {
        let question = approval_request(&dispatcher, tool, args).await;
        Some(ApprovalResponse::Resolved(question.resolve(
            &APPROVE,
            ApprovalMethod::Terminal,
            "someone",
        )))
    };
    let (outcome, record) = call(&dispatcher, (tool, &args), grant(&args).await).await;
    assert!(outcome.is_ok());
    let approved = record.approval.unwrap();
    let expected = ApprovalRecord {
        method: ApprovalMethod::Terminal,
        by: "someone".to_owned(),
    };
    assert_eq!(approved, expected);
    for other in [
        ("delete-integration", json!({ "slug": "t" })),
        ("delete-provider", args.clone()),
    ] {
        let sent = upstream.count();
        let (outcome, record) = call(&dispatcher, (other.0, &other.1), grant(&args).await).await;
        assert!(
            matches!(
                outcome,
                Err(CallError::ApprovalDenied(ApprovalError::InvalidResponse))
            ),
            "{other:?}: {outcome:?}"
        );
        assert_eq!(record.approval, None);
        let sent = upstream.requests_after(sent);
        assert!(
            sent.iter().all(|request| request.method == "GET"),
            "{sent:?}"
        );
    }
}

/// The limit keeps an agent from flooding a human with requests.
#[tokio::test]
async fn tickets_of_one_caller_are_bounded() {
    let upstream = MockUpstream::start(|_| json_response(r#"{"name":"N"}"#)).await;
    let dispatcher = dispatcher_with_approvals(
        &upstream,
        ApprovalDefaults {
            deletes: true,
            ..ApprovalDefaults::default()
        },
    );
    let approvals = dispatcher.approvals().unwrap();
    approvals.set_admin_url("http://127.0.0.1:1".to_owned());
    let mut outcomes = Vec::new();
    for i in 0..70 {
        let args = json!({ "slug": format!("s{i}") });
        let question = approval_request(&dispatcher, "delete-integration", &args).await;
        outcomes.push(
            approvals
                .create_ticket(&operator(), &question)
                .await
                .map(drop),
        );
    }
    let (filed, refused) = outcomes.split_at(MAX_TICKETS_OF_CALLER);
    assert_eq!(filed, vec![Ok(()); MAX_TICKETS_OF_CALLER]);
    assert_eq!(
        refused,
        vec![Err(ApprovalError::TooManyPending); 70 - MAX_TICKETS_OF_CALLER]
    );
    let page = approvals
        .list_tickets(&TicketFilter::default(), None, MAX_PAGE_TICKETS)
        .await
        .unwrap();
    assert_eq!(page.tickets.len(), MAX_TICKETS_OF_CALLER);
    // Another caller can still file a ticket.
    let args = json!({ "slug": "of bob" });
    let of_bob = approval_request(&dispatcher, "delete-integration", &args).await;
    let bob = Principal {
        name: "bob".into(),
        ..operator()
    };
    assert!(approvals.create_ticket(&bob, &of_bob).await.is_ok());
    // A call with a pending ticket files no second one.
    let args = json!({ "slug": "s0" });
    let again = approval_request(&dispatcher, "delete-integration", &args).await;
    assert!(approvals.create_ticket(&operator(), &again).await.is_ok());
}

/// A dry run sends nothing, so it needs no approval.
#[tokio::test]
async fn dry_run_needs_no_approval() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        writes: true,
        deletes: true,
        confirm: true,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher_with_approvals(&upstream, always).with_dry_run(true);
    let args = json!({ "slug": "s" });
    let (outcome, record) = call(&dispatcher, ("delete-integration", &args), None).await;
    assert!(
        outcome.unwrap()["dry_run"] == true
            && record.decision == DecisionKind::DryRun
            && record.approval.is_none()
    );
}

/// If the name cannot be typed or is ambiguous to the eye, the identifier has to be typed instead.
#[tokio::test]
async fn untypable_target_name_is_replaced_by_the_identifier() {
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
        let upstream = MockUpstream::start(move |_| json_response(stored)).await;
        let always = ApprovalDefaults {
            deletes: true,
            confirm: true,
            ..ApprovalDefaults::default()
        };
        let args = json!({ "slug": "s" });
        let asked = approval_request(
            &dispatcher_with_approvals(&upstream, always),
            "delete-integration",
            &args,
        )
        .await;
        assert_eq!(asked.confirm.as_deref(), Some(name), "{stored}");
        let typed = FormResponse {
            typed_name: Some(name.to_owned()),
            ..APPROVE
        };
        assert!(asked.resolve(&APPROVE, ApprovalMethod::Form, "x").is_err());
        assert!(asked.resolve(&typed, ApprovalMethod::Form, "x").is_ok());
    }
}

#[tokio::test]
async fn call_without_an_approver_is_denied() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        deletes: true,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher(&upstream).with_approval_defaults(always);
    let (outcome, _) = call(
        &dispatcher,
        ("delete-label", &json!({ "label_id": "l" })),
        None,
    )
    .await;
    assert!(
        matches!(
            outcome,
            Err(CallError::ApprovalDenied(ApprovalError::NoApprover { .. }))
        ),
        "{outcome:?}"
    );
    // A call from the shell, without a terminal.
    let (done, _, log) = run_cli(&[
        "call",
        "delete-integration",
        "slug=s",
        "--sandbox",
        "--approve-deletes",
    ]);
    assert!(
        !done && log.contains("needs the approval of a human"),
        "{log}"
    );
}

/// Files a ticket for a deletion of each slug.
async fn file_tickets(dispatcher: &Dispatcher, slugs: &[&str]) -> Vec<Ticket> {
    let approvals = dispatcher.approvals().unwrap();
    approvals.set_admin_url("http://127.0.0.1:1".to_owned());
    let mut tickets = Vec::new();
    for slug in slugs {
        let asked =
            approval_request(dispatcher, "delete-integration", &json!({ "slug": slug })).await;
        tickets.push(approvals.create_ticket(&operator(), &asked).await.unwrap());
    }
    tickets
}

/// A caller can neither choose nor predict the id of a ticket.
#[tokio::test]
async fn same_call_at_two_servers_gets_different_ticket_ids() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        deletes: true,
        ..ApprovalDefaults::default()
    };
    let mut names = Vec::new();
    for _ in 0..2 {
        let dispatcher = dispatcher_with_approvals(&upstream, always);
        names.push(file_tickets(&dispatcher, &["s"]).await.remove(0).id);
    }
    assert_ne!(
        names[0][..MIN_ID_DIGITS],
        names[1][..MIN_ID_DIGITS],
        "{names:?}"
    );
}

#[tokio::test]
async fn ticket_id_prefix_is_accepted_only_while_unambiguous() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        deletes: true,
        ..ApprovalDefaults::default()
    };
    let store = Store::in_memory();
    let dispatcher = dispatcher_with_store(&upstream, always, store.clone());
    let ticket = file_tickets(&dispatcher, &["s"]).await.remove(0);
    let approvals = dispatcher.approvals().unwrap();
    let find = async |start: &str| approvals.find_ticket(start).await.map(|ticket| ticket.id);
    let short = &ticket.id[..MIN_ID_DIGITS];
    let shorter = &ticket.id[..MIN_ID_DIGITS - 1];
    assert_eq!(find(short).await, Ok(ticket.id.clone()));
    assert_eq!(
        find(&short.to_ascii_uppercase()).await,
        Ok(ticket.id.clone())
    );
    for few in ["", shorter] {
        assert_eq!(find(few).await, Err(DecisionError::IdTooShort), "{few}");
    }
    for none in ["zzzzzz", "../../x", &format!("{}0", ticket.id)] {
        assert_eq!(
            find(none).await,
            Err(DecisionError::UnknownTicket),
            "{none}"
        );
    }
    // A ticket with the same prefix existed a moment ago and is gone.
    let hour = Duration::from_secs(3600);
    let queue = Queue {
        name: "approval",
        max_per_owner: 9,
        max: 9,
        remember_for: hour,
    };
    let last = if ticket.id.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{last}", &ticket.id[..ticket.id.len() - 1]);
    store
        .enqueue(&queue, &other, "mallory", "{}".into(), hour)
        .await
        .unwrap();
    store.dequeue(&queue, &other).await.unwrap();
    assert_eq!(find(short).await, Err(DecisionError::AmbiguousId));
    assert_eq!(find(&ticket.id).await, Ok(ticket.id.clone()));
    assert_eq!(find(&other).await, Err(DecisionError::UnknownTicket));
}

#[tokio::test]
async fn decision_with_another_digest_is_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        deletes: true,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher_with_approvals(&upstream, always);
    let both = file_tickets(&dispatcher, &["s", "t"]).await;
    let approvals = dispatcher.approvals().unwrap();
    for digest in ["", &both[1].digest(), &both[0].digest()[1..]] {
        let decided = approvals
            .decide(&both[0].id, digest, &APPROVE, "dana")
            .await
            .map(drop);
        assert_eq!(decided, Err(DecisionError::DigestMismatch), "{digest}");
    }
    let decided = approvals
        .decide(&both[0].id, &both[0].digest(), &APPROVE, "dana")
        .await;
    assert_eq!(decided.map(|ticket| ticket.id), Ok(both[0].id.clone()));
}

#[tokio::test]
async fn tickets_are_listed_in_pages_oldest_first() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        writes: true,
        deletes: true,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher_with_approvals(&upstream, always);
    let filed = file_tickets(&dispatcher, &["a", "b", "c", "d", "e"]).await;
    let approvals = dispatcher.approvals().unwrap();
    let args = json!({ "name": "l" });
    let asked = approval_request(&dispatcher, "create-label", &args).await;
    let bob = Principal {
        name: "bob".into(),
        ..operator()
    };
    let of_bob = approvals.create_ticket(&bob, &asked).await.unwrap();
    approvals
        .decide(&filed[1].id, &filed[1].digest(), &APPROVE, "dana")
        .await
        .unwrap();

    let mut ids: Vec<_> = filed.iter().map(|ticket| ticket.id.clone()).collect();
    ids.push(of_bob.id.clone());
    let mut after = None;
    let mut listed = Vec::new();
    let mut pages = Vec::new();
    loop {
        let page = approvals
            .list_tickets(&TicketFilter::default(), after.as_deref(), 4)
            .await
            .unwrap();
        pages.push(page.tickets.len());
        listed.extend(page.tickets.into_iter().map(|ticket| ticket.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((listed, pages), (ids.clone(), vec![4, 2]));

    struct Case {
        filter: TicketFilter,
        found: Vec<String>,
    }
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        Case {
            filter: TicketFilter {
                caller: text("bob"),
                ..TicketFilter::default()
            },
            found: vec![of_bob.id.clone()],
        },
        Case {
            filter: TicketFilter {
                tool: text("create-label"),
                ..TicketFilter::default()
            },
            found: vec![of_bob.id.clone()],
        },
        Case {
            filter: TicketFilter {
                state: text("approved"),
                ..TicketFilter::default()
            },
            found: vec![ids[1].clone()],
        },
        Case {
            filter: TicketFilter {
                caller: text("bob"),
                state: text("denied"),
                ..TicketFilter::default()
            },
            found: Vec::new(),
        },
    ];
    for Case { filter, found } in cases {
        let page = approvals
            .list_tickets(&filter, None, MAX_PAGE_TICKETS)
            .await
            .unwrap();
        let listed: Vec<_> = page.tickets.into_iter().map(|ticket| ticket.id).collect();
        assert_eq!(listed, found, "{filter:?}");
    }
    let unknown = approvals
        .list_tickets(&TicketFilter::default(), Some("0"), 4)
        .await;
    assert_eq!(unknown.map(drop), Err(DecisionError::UnknownTicket));
}

/// The request stays small for a change of any size, and says how much it omits.
#[tokio::test]
async fn approval_request_for_a_large_change_is_bounded() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let always = ApprovalDefaults {
        writes: true,
        confirm: true,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher_with_approvals(&upstream, always);
    let wide = "\u{1F980}".repeat(500);
    let config: serde_json::Map<_, _> = (0..60)
        .map(|at| (format!("{wide}{at}"), json!(wide)))
        .collect();
    let args = json!({ "slug": "s", "config": config });
    let asked = approval_request(&dispatcher, "update-config", &args).await;
    assert!(asked.text.len() < 48 << 10, "{}", asked.text.len());
    assert!(asked.text.contains(" more"), "{}", asked.text);
}

/// The approval covered one write, and that write may have happened.
#[tokio::test]
async fn approval_is_consumed_by_a_write_that_may_have_taken_effect() {
    let upstream = MockUpstream::start(|_| http_response("504 Gateway Timeout", "", "")).await;
    let mut settings = settings(&upstream.base_url);
    settings.retries.max_retries = 0;
    let always = ApprovalDefaults {
        writes: true,
        ..ApprovalDefaults::default()
    };
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    let approvals = Approvals::new(keys, Store::in_memory(), Duration::from_secs(60));
    approvals.set_admin_url("http://127.0.0.1:1".to_owned());
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings));
    let dispatcher = dispatcher
        .with_approval_defaults(always)
        .with_approvals(Arc::new(approvals));
    let approvals = dispatcher.approvals().unwrap();
    let args = json!({ "name": "l" });
    let asked = approval_request(&dispatcher, "create-label", &args).await;
    let ticket = approvals.create_ticket(&operator(), &asked).await.unwrap();
    approvals
        .decide(&ticket.id, &ticket.digest(), &APPROVE, "dana")
        .await
        .unwrap();
    let sent = upstream.count();
    let (outcome, _) = call(&dispatcher, ("create-label", &args), None).await;
    assert!(
        matches!(outcome, Err(CallError::Upstream(..))),
        "{outcome:?}"
    );
    assert_eq!(upstream.requests_after(sent).len(), 1);
    for answer in [None, Some(ApprovalResponse::Ticket(ticket.id))] {
        let (outcome, _) = call(&dispatcher, ("create-label", &args), answer).await;
        let is_refused = matches!(
            outcome,
            Err(CallError::ApprovalRequired(_)
                | CallError::ApprovalDenied(ApprovalError::InvalidResponse))
        );
        assert!(is_refused, "{outcome:?}");
    }
    let posts = upstream
        .requests_after(sent)
        .iter()
        .filter(|one| one.method == "POST")
        .count();
    assert_eq!(posts, 1);
}
