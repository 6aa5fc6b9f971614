//! Reports of unknown arguments and of times: in results, dry runs, approval requests, the audit
//! log, and policies.

use std::fs;

use portkey_file_watch::WatchedValue;
use portkey_mcp::pipeline::CallError;
use portkey_policy::Policy;
use serde_json::{Value, json};

use crate::support::{
    audit::read_entries,
    process::run_cli,
    upstream::{MockUpstream, dispatcher, http_response, json_response, operator},
};

const UNKNOWN_WARNING: &str = "`colour` is not known to this version and was passed on unchecked";

#[test]
fn shell_result_reports_unknown_arguments_and_resolved_times() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let log = log.to_str().unwrap();
    let call = |more: &[&str]| {
        let (ok, out, err) =
            run_cli(&[&["call"], more, &["--sandbox", "--audit-log", log]].concat());
        assert!(ok, "{more:?}: {err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let result = call(&["list-all-integrations", "colour=red", "page_size=1"]);
    assert_eq!(result["warnings"], json!([UNKNOWN_WARNING]), "{result}");
    let dry = call(&["create-workspace", "name=n", "colour=red", "--dry-run"]);
    assert_eq!(
        (&dry["warnings"], &dry["dry_run"]),
        (&json!([UNKNOWN_WARNING]), &json!(true)),
        "{dry}"
    );
    let audited: Vec<_> = read_entries(log)
        .iter()
        .map(|line| line["unknown_fields"].clone())
        .collect();
    assert_eq!(audited, [json!(["colour"]), json!(["colour"])]);
    let result = call(&["list-users", "page_size=2"]);
    assert_eq!(
        result["next"],
        json!({ "pageSize": 2, "currentPage": 1 }),
        "{result}"
    );
    let range = [
        "time_of_generation_min=2026-01",
        "time_of_generation_max=2026-01-31",
    ];
    let result = call(&[&["get-cost-graph", "workspace_slug=ws-shared"], &range[..]].concat());
    let times = json!({
        "time_of_generation_min": "2026-01-01T00:00:00Z",
        "time_of_generation_max": "2026-01-31T23:59:59.999Z",
    });
    assert_eq!(result["resolved_times"], times, "{result}");
}

#[test]
fn unknown_fields_option_allows_or_rejects_unknown_arguments() {
    let call = |how: &str| {
        run_cli(&[
            "call",
            "list-all-integrations",
            "colour=red",
            "--sandbox",
            "--unknown-fields",
            how,
        ])
    };
    let (ok, out, _) = call("allow");
    assert!(ok && !out.contains("warnings"), "{out}");
    let (ok, _, err) = call("deny");
    assert!(
        !ok && err.contains("`colour`: no such argument; it takes"),
        "{err}"
    );
    let zone = ["--timezone", "Mars/Olympus"];
    let (ok, _, err) =
        run_cli(&[&["call", "list-all-integrations", "--sandbox"], &zone[..]].concat());
    assert!(
        !ok && err.contains("there is no time zone `Mars/Olympus`"),
        "{err}"
    );
}

/// The upstream may have rejected the call because of them.
#[tokio::test]
async fn upstream_error_names_unknown_arguments() {
    let body = r#"{"success":false,"data":{"message":"Invalid request","errorCode":"AB01"}}"#;
    let upstream = MockUpstream::start(move |_| http_response("400 Bad Request", "", body)).await;
    let args = json!({ "name": "n", "colour": 1 })
        .as_object()
        .unwrap()
        .clone();
    let outcome = dispatcher(&upstream)
        .call_as_local(&operator(), "create-label", args)
        .await;
    let text = portkey_mcp::mcp::reply::error_message(&outcome.unwrap_err());
    assert!(
        text.ends_with(&format!("Warning: {UNKNOWN_WARNING}")),
        "{text}"
    );
}

struct UnknownArgumentCase {
    rule: &'static str,
    passes: bool,
}

/// An unknown argument could do what the rule prevents.
#[tokio::test]
async fn rule_that_reads_arguments_denies_unknown_arguments() {
    let cases = [
        UnknownArgumentCase {
            rule: "cap: { usage_limits.credit_limit: 5 }",
            passes: false,
        },
        UnknownArgumentCase {
            rule: "cap: { usage_limits.credit_limit: 5 }, unknown: allow",
            passes: true,
        },
        UnknownArgumentCase {
            rule: "conditions: [{ path: args.name, op: eq, value: n }]",
            passes: false,
        },
        UnknownArgumentCase {
            rule: r#"action: approve, when: 'args.name == "z"'"#,
            passes: false,
        },
        UnknownArgumentCase {
            rule: r#"action: deny, when: 'args.name == "z"', unknown: allow"#,
            passes: true,
        },
        UnknownArgumentCase {
            rule: "redact: ['data[].email']",
            passes: false,
        },
        UnknownArgumentCase {
            rule: "rate_limit: 5/minute",
            passes: true,
        },
        UnknownArgumentCase {
            rule: r#"action: deny, when: 'principal == "z"'"#,
            passes: true,
        },
        UnknownArgumentCase {
            rule: "action: deny, when: 'size(unknown_fields) > 1'",
            passes: true,
        },
        UnknownArgumentCase {
            rule: r#"action: deny, when: '"colour" in unknown_fields'"#,
            passes: false,
        },
        UnknownArgumentCase {
            rule: "action: shadow, cap: { usage_limits.credit_limit: 5 }",
            passes: true,
        },
    ];
    for UnknownArgumentCase { rule, passes } in cases {
        let text = format!(
            "version: \"1\"\ntools:\n  create-label:\n    rules: [{{ name: guard, {rule} }}]\n"
        );
        let catalog = portkey_api::catalog::Catalog::full();
        let policy = Policy::parse("policy.yaml", &text, &catalog).unwrap();
        let upstream = MockUpstream::start(|_| json_response("{}")).await;
        let dispatcher = dispatcher(&upstream).with_policy(WatchedValue::fixed(policy));
        let args = json!({ "name": "n", "colour": 1 })
            .as_object()
            .unwrap()
            .clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "create-label", args)
            .await;
        match (&outcome, passes) {
            (Ok(_), true) => assert_eq!(upstream.requests().len(), 1, "{rule}"),
            (Err(CallError::PolicyDenied(denied)), false) => {
                let text = denied.to_string();
                let is_told =
                    text.contains("`colour` is not a known argument") || rule.contains(" in ");
                assert!(is_told && text.contains("`guard`"), "{rule}: {text}");
                assert_eq!(upstream.requests().len(), 0, "{rule}");
            }
            _ => panic!("{rule}: {outcome:?}"),
        }
        // Without the unknown argument, the rule does not apply or is satisfied.
        let known = json!({ "name": "n" }).as_object().unwrap().clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "create-label", known)
            .await;
        assert!(outcome.is_ok(), "{rule}: {outcome:?}");
    }
}

#[test]
fn unknown_in_a_rule_that_reads_no_arguments_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let text = "version: \"1\"\nrules: [{ name: r, action: deny, unknown: allow }]\n";
    fs::write(&file, text).unwrap();
    let (ok, out, err) = run_cli(&["policy", "check", file.to_str().unwrap()]);
    assert!(
        !ok && format!("{out}{err}").contains("`unknown` goes with a rule"),
        "{out}{err}"
    );
}

struct CapCase {
    tool: &'static str,
    args: Value,
    passes: bool,
}

/// A cap applies to an object and to a list of objects, with both spellings of its path.
#[tokio::test]
async fn cap_applies_to_an_object_and_to_a_list() {
    let limit = |value: u64| json!({ "type": "requests", "unit": "rpm", "value": value });
    let provider = |limits: Value| json!({ "slug": "p", "rate_limits": limits });
    let key = |limits: Value| json!({ "id": "7d0f3c52-6a1b-4e0f-9b8e-2c4d5e6f7a80", "rate_limits": limits });
    let cases = [
        CapCase {
            tool: "update-provider",
            args: provider(limit(9)),
            passes: true,
        },
        CapCase {
            tool: "update-provider",
            args: provider(limit(11)),
            passes: false,
        },
        CapCase {
            tool: "update-provider",
            args: provider(json!([limit(9)])),
            passes: true,
        },
        CapCase {
            tool: "update-provider",
            args: provider(json!([limit(9), limit(11)])),
            passes: false,
        },
        CapCase {
            tool: "update-provider",
            args: provider(json!([limit(11)]).to_string().into()),
            passes: false,
        },
        CapCase {
            tool: "update-api-key",
            args: key(json!([limit(9)])),
            passes: true,
        },
        CapCase {
            tool: "update-api-key",
            args: key(json!([limit(11)])),
            passes: false,
        },
    ];
    for path in ["rate_limits.value", "rate_limits[].value"] {
        for CapCase { tool, args, passes } in &cases {
            let text = format!(
                "version: \"1\"\ntools:\n  {tool}:\n    rules: [{{ name: small, cap: {{ \"{path}\": 10 }} }}]\n"
            );
            let catalog = portkey_api::catalog::Catalog::full();
            let policy = Policy::parse("policy.yaml", &text, &catalog).unwrap();
            let upstream = MockUpstream::start(|_| json_response("{}")).await;
            let dispatcher = dispatcher(&upstream).with_policy(WatchedValue::fixed(policy));
            let args = args.as_object().unwrap().clone();
            let outcome = dispatcher
                .call_as_local(&operator(), tool, args.clone())
                .await;
            assert_eq!(
                outcome.is_ok(),
                *passes,
                "{path} {tool} {args:?}: {outcome:?}"
            );
            assert_eq!(
                upstream.requests().len(),
                usize::from(*passes),
                "{path} {tool}"
            );
        }
    }
}

/// Fields of nested documents can be unknown as well.
#[tokio::test]
async fn unknown_document_fields_are_rejected_if_configured() {
    let check = json!({ "id": "default.regexMatch", "parameters": { "rule": "x", "zzz": 1 } });
    let calls = [
        (
            "create-guardrail",
            json!({ "name": "g", "checks": [check], "actions": {} }),
        ),
        (
            "create-config",
            json!({ "name": "c", "config": { "budget": 1 } }),
        ),
    ];
    for (tool, args) in calls {
        let denied = super::validate_with(super::UnknownFields::Deny, tool, &args).unwrap_err();
        assert!(denied.contains("is not known"), "{tool}: {denied}");
        let passed = super::validate(tool, &args).unwrap();
        assert_eq!(
            (passed.unknown.len(), passed.warnings.len()),
            (1, 1),
            "{tool}"
        );
    }
    // Rules see all of them, and a long document is not rejected.
    let target = json!({ "provider": "@openai", "zone": 1 });
    let config = json!({ "strategy": { "mode": "loadbalance" }, "targets": vec![target; 150] });
    let args = json!({ "name": "c", "config": config });
    let passed = super::validate("create-config", &args).unwrap();
    assert_eq!((passed.unknown.len(), passed.warnings.len()), (150, 20));
}

/// Undeclared fields are redacted if their names suggest a secret.
#[test]
fn unknown_fields_with_secret_names_are_redacted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let names = [
        "openai_key",
        "DB_PASS",
        "api_keys",
        "basic_auth",
        "pin",
        "dsn",
        "vendorTokens",
    ];
    for name in names {
        let args = json!({ "slug": "openai-production", "name": "N", name: "plain-words",
            "nested": { name: ["plain-words"] }, "foo_headers": { "X-V": "plain-words" } });
        let (ok, out, err) = run_cli(&[
            "call",
            "update-integration",
            &args.to_string(),
            "--sandbox",
            "--dry-run",
            "--audit-log",
            log.to_str().unwrap(),
        ]);
        let audited = fs::read_to_string(&log).unwrap();
        assert!(ok && !out.contains("plain-words"), "{name}: {out}{err}");
        assert!(!audited.contains("plain-words"), "{name}: {audited}");
    }
}
