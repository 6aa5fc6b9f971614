//! What is said of unknown arguments and of times: in answers, dry runs, questions, audits, and under policies.

use std::fs;

use portkey_mcp::{dispatch::CallError, policy::Policy, watch::Watched};
use serde_json::{Value, json};

use crate::{
    audit::lines,
    process::said,
    upstream::{Upstream, answer, dispatcher, ok, operator},
};

const UNKNOWN: &str = "`colour` is not known to this version and was passed on unchecked";

#[test]
fn shell_answers_say_what_was_passed_on_and_which_times_were_meant() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let log = log.to_str().unwrap();
    let call = |more: &[&str]| {
        let (ok, out, err) = said(&[&["call"], more, &["--sandbox", "--audit-log", log]].concat());
        assert!(ok, "{more:?}: {err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let told = call(&["list-all-integrations", "colour=red", "page_size=1"]);
    assert_eq!(told["warnings"], json!([UNKNOWN]), "{told}");
    let dry = call(&["create-workspace", "name=n", "colour=red", "--dry-run"]);
    assert_eq!((&dry["warnings"], &dry["dry_run"]), (&json!([UNKNOWN]), &json!(true)), "{dry}");
    let audited: Vec<_> = lines(log).iter().map(|line| line["unknown_fields"].clone()).collect();
    assert_eq!(audited, [json!(["colour"]), json!(["colour"])]);
    let range = ["time_of_generation_min=2026-01", "time_of_generation_max=2026-01-31"];
    let told = call(&[&["get-cost-graph", "workspace_slug=ws-shared"], &range[..]].concat());
    let times = json!({
        "time_of_generation_min": "2026-01-01T00:00:00Z",
        "time_of_generation_max": "2026-01-31T23:59:59.999Z",
    });
    assert_eq!(told["resolved_times"], times, "{told}");
}

#[test]
fn operators_choose_what_becomes_of_unknown_arguments() {
    let call = |how: &str| {
        said(&["call", "list-all-integrations", "colour=red", "--sandbox", "--unknown-fields", how])
    };
    let (ok, out, _) = call("allow");
    assert!(ok && !out.contains("warnings"), "{out}");
    let (ok, _, err) = call("deny");
    assert!(!ok && err.contains("`colour`: no such argument; it takes"), "{err}");
    let zone = ["--timezone", "Mars/Olympus"];
    let (ok, _, err) = said(&[&["call", "list-all-integrations", "--sandbox"], &zone[..]].concat());
    assert!(!ok && err.contains("there is no time zone `Mars/Olympus`"), "{err}");
}

/// The upstream may have refused the call because of them.
#[tokio::test]
async fn refusals_of_the_upstream_name_unknown_arguments() {
    let body = r#"{"success":false,"data":{"message":"Invalid request","errorCode":"AB01"}}"#;
    let upstream = Upstream::start(move |_| answer("400 Bad Request", "", body)).await;
    let args = json!({ "name": "n", "colour": 1 }).as_object().unwrap().clone();
    let outcome = dispatcher(&upstream).call(&operator(), "create-label", args).await;
    let text = portkey_mcp::reply::words(&outcome.unwrap_err());
    assert!(text.ends_with(&format!("Warning: {UNKNOWN}")), "{text}");
}

struct Guarded {
    rule: &'static str,
    passes: bool,
}

/// What nobody knows could do what a rule is there to prevent.
#[tokio::test]
async fn rules_that_look_at_arguments_deny_unknown_ones() {
    let cases = [
        Guarded { rule: "cap: { usage_limits.credit_limit: 5 }", passes: false },
        Guarded { rule: "cap: { usage_limits.credit_limit: 5 }, unknown: allow", passes: true },
        Guarded { rule: "conditions: [{ path: args.name, op: eq, value: n }]", passes: false },
        Guarded { rule: r#"action: approve, when: 'args.name == "z"'"#, passes: false },
        Guarded { rule: r#"action: deny, when: 'args.name == "z"', unknown: allow"#, passes: true },
        Guarded { rule: "redact: ['data[].email']", passes: false },
        Guarded { rule: "rate_limit: 5/minute", passes: true },
        Guarded { rule: r#"action: deny, when: 'principal == "z"'"#, passes: true },
        Guarded { rule: "action: deny, when: 'size(unknown_fields) > 1'", passes: true },
        Guarded { rule: r#"action: deny, when: '"colour" in unknown_fields'"#, passes: false },
        Guarded { rule: "action: shadow, cap: { usage_limits.credit_limit: 5 }", passes: true },
    ];
    for Guarded { rule, passes } in cases {
        let text = format!(
            "version: \"1\"\ntools:\n  create-label:\n    rules: [{{ name: guard, {rule} }}]\n"
        );
        let catalog = portkey_mcp::catalog::Catalog::full();
        let policy = Policy::parse("policy.yaml", &text, &catalog).unwrap();
        let upstream = Upstream::start(|_| ok("{}")).await;
        let dispatcher = dispatcher(&upstream).under(Watched::fixed(policy));
        let args = json!({ "name": "n", "colour": 1 }).as_object().unwrap().clone();
        let outcome = dispatcher.call(&operator(), "create-label", args).await;
        match (&outcome, passes) {
            (Ok(_), true) => assert_eq!(upstream.requests().len(), 1, "{rule}"),
            (Err(CallError::Forbidden(denied)), false) => {
                let text = denied.to_string();
                let is_told =
                    text.contains("`colour` is none that is known") || rule.contains(" in ");
                assert!(is_told && text.contains("`guard`"), "{rule}: {text}");
                assert_eq!(upstream.requests().len(), 0, "{rule}");
            }
            _ => panic!("{rule}: {outcome:?}"),
        }
        // Without it the call is none of the rule's business, or within it.
        let known = json!({ "name": "n" }).as_object().unwrap().clone();
        let outcome = dispatcher.call(&operator(), "create-label", known).await;
        assert!(outcome.is_ok(), "{rule}: {outcome:?}");
    }
}

#[test]
fn rule_that_looks_at_no_arguments_takes_no_word_on_unknown_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let text = "version: \"1\"\nrules: [{ name: r, action: deny, unknown: allow }]\n";
    fs::write(&file, text).unwrap();
    let (ok, out, err) = said(&["policy", "check", file.to_str().unwrap()]);
    assert!(!ok && format!("{out}{err}").contains("`unknown` goes with a rule"), "{out}{err}");
}
