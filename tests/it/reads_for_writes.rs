//! Reads on behalf of a write: previews, dry runs and approval requests show a document only to
//! callers who may read it. They show it as a read does.

use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    auth::principal::{Principal, Scopes, ToolFilter, ToolSelection},
    pipeline::{CallError, Dispatcher, approval::ApprovalDefaults},
};
use portkey_policy::Policy;
use serde_json::{Value, json};

use crate::support::{
    approvals::dispatcher_with_approvals,
    upstream::{MockUpstream, http_response, json_response, operator},
};

/// A document with an invented secret, visible only to readers.
const STORED_DOCUMENT: &str = r#"{"gateway_saved_name":"g","is_active":true,"description":"stored-document",
    "name":"stored-document","config":{"note":"stored-document"},
    "servers_config":{"servers":[{"saved_name":"stored-document","api_key":{"value":"stored-secret-1"}}]}}"#;

fn parse_policy(text: &str) -> Policy {
    Policy::parse("test", &format!("version: '1'\n{text}"), &Catalog::full()).unwrap()
}

/// A reason why a caller can change a document and not read it.
struct UnreadableCase {
    what: &'static str,
    scopes: &'static [&'static str],
    policy: &'static str,
    excludes: bool,
    message: &'static str,
}

const ALL_SCOPES: &[&str] = &["portkey:read", "portkey:write", "portkey:delete"];

const UNREADABLE_CASES: [UnreadableCase; 5] = [
    UnreadableCase {
        what: "a token that writes",
        scopes: &["portkey:write"],
        policy: "default: allow",
        excludes: false,
        message: "needs the scope",
    },
    UnreadableCase {
        what: "a policy that hides",
        scopes: ALL_SCOPES,
        policy: "hide: [get-mcp-gateway, get-config]",
        excludes: false,
        message: "hidden by the policy",
    },
    UnreadableCase {
        what: "a policy that denies",
        scopes: ALL_SCOPES,
        policy: "rules: [{ name: closed, action: deny, match: { tools: [get-mcp-gateway, get-config] } }]",
        excludes: false,
        message: "`closed` denies",
    },
    UnreadableCase {
        what: "a policy that asks",
        scopes: ALL_SCOPES,
        policy: "rules: [{ name: asks, action: approve, match: { tools: [get-mcp-gateway, get-config] } }]",
        excludes: false,
        message: "needs the approval of a human",
    },
    UnreadableCase {
        what: "a server without the tool",
        scopes: ALL_SCOPES,
        policy: "default: allow",
        excludes: true,
        message: "is not on offer",
    },
];

impl UnreadableCase {
    fn dispatcher(&self, upstream: &MockUpstream, always: ApprovalDefaults) -> Dispatcher {
        let dispatcher = dispatcher_with_approvals(upstream, always)
            .with_policy(WatchedValue::fixed(parse_policy(self.policy)));
        let catalog = Catalog::full();
        let known = catalog.iter().map(|entry| entry.operation);
        let excluded =
            ToolSelection::from_patterns(["get-mcp-gateway", "get-config"], known).unwrap();
        let excluded = self.excludes.then_some(excluded);
        dispatcher.with_tool_filter(ToolFilter {
            excluded_tools: excluded,
            ..ToolFilter::default()
        })
    }

    fn caller(&self) -> Principal {
        Principal {
            scopes: Scopes::from_words(self.scopes.iter().copied()),
            ..operator()
        }
    }
}

async fn call(
    dispatcher: &Dispatcher,
    caller: &Principal,
    tool: &str,
    args: &Value,
) -> Result<Value, CallError> {
    dispatcher
        .call_as_local(caller, tool, args.as_object().unwrap().clone())
        .await
}

#[tokio::test]
async fn preview_hides_the_document_from_callers_without_read_access() {
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    for closed in &UNREADABLE_CASES {
        let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
        let dispatcher = closed.dispatcher(&upstream, ApprovalDefaults::default());
        let shown = call(&dispatcher, &closed.caller(), "modify-mcp-gateway", &args)
            .await
            .unwrap();
        let text = shown.to_string();
        let note = shown["note"].as_str().unwrap_or_default();
        assert!(!text.contains("stored-document"), "{}: {text}", closed.what);
        assert_eq!(
            (&shown["stored"], &shown["merged"]),
            (&Value::Null, &Value::Null)
        );
        assert!(
            note.contains("`get-mcp-gateway`"),
            "{}: {text}",
            closed.what
        );
        assert!(note.contains(closed.message), "{}: {text}", closed.what);
        assert_eq!(upstream.count(), 0, "{}", closed.what);
    }
}

#[tokio::test]
async fn preview_is_redacted_and_masked_like_a_read() {
    let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
    let redacting = "tools: { get_mcp_gateway: { rules: [{ name: r, redact: [description, \
                     'servers_config.servers[].saved_name'] }] } }";
    let dispatcher = dispatcher_with_approvals(&upstream, ApprovalDefaults::default())
        .with_policy(WatchedValue::fixed(parse_policy(redacting)));
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    let shown = call(&dispatcher, &operator(), "modify-mcp-gateway", &args)
        .await
        .unwrap();
    for document in [&shown["stored"], &shown["merged"]] {
        assert_eq!(document["description"], "[redacted by policy]", "{shown}");
        let server = &document["servers_config"]["servers"][0];
        assert_eq!(server["saved_name"], "[redacted by policy]", "{shown}");
        assert_eq!(
            server["api_key"]["value"], "[masked by portkey-mcp]",
            "{shown}"
        );
    }
    assert_eq!(
        (&shown["stored"]["is_active"], &shown["merged"]["is_active"]),
        (&json!(true), &json!(false))
    );
}

/// A read limit applies to previews, and its denial shows no document.
#[tokio::test]
async fn preview_counts_against_the_read_limit() {
    let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
    let limited = "tools: { get_mcp_gateway: { rules: [{ name: few, rate_limit: 1/hour }] } }";
    let dispatcher = dispatcher_with_approvals(&upstream, ApprovalDefaults::default())
        .with_policy(WatchedValue::fixed(parse_policy(limited)));
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    let first = call(&dispatcher, &operator(), "modify-mcp-gateway", &args)
        .await
        .unwrap();
    let second = call(&dispatcher, &operator(), "modify-mcp-gateway", &args)
        .await
        .unwrap();
    assert!(
        first["stored"].is_object() && second["stored"].is_null(),
        "{second}"
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn preview_neither_resolves_references_nor_shows_secrets() {
    let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
    let dispatcher = dispatcher_with_approvals(&upstream, ApprovalDefaults::default());
    let policies = json!({ "input_guardrails_config": {
        "enabled": true, "guardrail_name": "G", "block": [],
        "additional_config": { "api_key": "$env:HOME", "token": "a-text-of-the-caller" },
    } });
    let args = json!({ "gateway": "g", "preview": true,
        "servers_config": { "common_overrides": policies } });
    let shown = call(&dispatcher, &operator(), "modify-mcp-gateway", &args)
        .await
        .unwrap();
    let more = &shown["merged"]["servers_config"]["common_overrides"]["input_guardrails_config"]["additional_config"];
    assert_eq!(
        more,
        &json!({ "api_key": "$env:HOME", "token": "***" }),
        "{shown}"
    );
}

#[tokio::test]
async fn dry_run_and_approval_request_hide_an_unreadable_document() {
    struct Case {
        tool: &'static str,
        args: Value,
        read: &'static str,
    }

    let writes = [
        Case {
            tool: "modify-mcp-gateway",
            args: json!({ "gateway": "g", "is_active": false }),
            read: "get-mcp-gateway",
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "name": "new-name" }),
            read: "get-config",
        },
    ];
    for closed in &UNREADABLE_CASES {
        for Case { tool, args, read } in &writes {
            let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
            let always = ApprovalDefaults {
                writes: true,
                deletes: true,
                confirm: true,
                ..ApprovalDefaults::default()
            };
            let dispatcher = closed.dispatcher(&upstream, always);
            let asked = call(&dispatcher, &closed.caller(), tool, args).await;
            let Err(CallError::ApprovalRequired(question)) = asked else {
                panic!("{}: {asked:?}", closed.what)
            };
            let dry = closed
                .dispatcher(&upstream, ApprovalDefaults::default())
                .with_dry_run(true);
            let result = call(&dry, &closed.caller(), tool, args).await.unwrap();
            assert_eq!(result["current"], Value::Null, "{}: {result}", closed.what);
            for text in [&question.text, result["note"].as_str().unwrap()] {
                assert!(
                    text.contains(read) && text.contains("not known"),
                    "{}: {text}",
                    closed.what
                );
            }
            let all = format!("{result} {} {:?}", question.text, question.confirm);
            assert!(!all.contains("stored-document"), "{}: {all}", closed.what);
            assert_eq!(upstream.count(), 0, "{}", closed.what);
        }
    }
}

#[tokio::test]
async fn dry_run_and_approval_request_are_redacted_like_a_read() {
    let upstream = MockUpstream::start(|_| json_response(STORED_DOCUMENT)).await;
    let redacting = "tools: { get_config: { rules: [{ name: r, redact: [name, config, \
                     description, servers_config] }] } }";
    let always = ApprovalDefaults {
        writes: true,
        deletes: true,
        confirm: false,
        ..ApprovalDefaults::default()
    };
    let dispatcher = dispatcher_with_approvals(&upstream, always)
        .with_policy(WatchedValue::fixed(parse_policy(redacting)));
    let args = json!({ "slug": "s", "name": "new-name", "config": { "note": "new-note" } });
    let asked = call(&dispatcher, &operator(), "update-config", &args).await;
    let Err(CallError::ApprovalRequired(question)) = asked else {
        panic!("{asked:?}")
    };
    let dry = dispatcher_with_approvals(&upstream, ApprovalDefaults::default())
        .with_policy(WatchedValue::fixed(parse_policy(redacting)));
    let result = call(&dry.with_dry_run(true), &operator(), "update-config", &args)
        .await
        .unwrap();
    let all = format!("{result} {}", question.text);
    assert!(!all.contains("stored-document"), "{all}");
    assert!(
        question.text.contains("[redacted by policy]") && all.contains("new-note"),
        "{all}"
    );
}

/// A missing document stays an error.
#[tokio::test]
async fn preview_of_a_missing_document_is_an_error() {
    let missing = r#"{"code":404,"error":"Resource not found","message":"MCP gateway not found"}"#;
    let upstream = MockUpstream::start(move |_| http_response("404 Not Found", "", missing)).await;
    let dispatcher = dispatcher_with_approvals(&upstream, ApprovalDefaults::default());
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    let outcome = call(&dispatcher, &operator(), "modify-mcp-gateway", &args).await;
    assert!(
        matches!(outcome, Err(CallError::Upstream(..))),
        "{outcome:?}"
    );
}
