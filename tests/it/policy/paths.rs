//! Paths of rules: the values they select in arguments and responses, and the warnings about paths
//! without a match.

use std::fs;

use serde_json::json;

use super::*;
use crate::support::process::run_cli;

struct PathCase {
    what: &'static str,
    rule: &'static str,
    args: Value,
    passes: bool,
}

/// A rule finds a value in every form that the API accepts.
#[tokio::test]
async fn rules_find_values_in_lists_other_spellings_and_text() {
    const CAP: &str = "cap: { config.request_timeout: 10 }";
    const DEMAND: &str = "conditions: [{ path: args.rate_limits.value, op: lte, value: 10 }]";
    const DENY: &str =
        "action: approve, conditions: [{ path: args.rate_limits.value, op: gt, value: 10 }]";
    const COUNT: &str = "limits: [{ max: 5, window: day, increment_from: args.rate_limits.value }]";
    const ALLOWED: &str =
        "conditions: [{ path: args.config.provider, op: in, value: ['@openai'] }]";
    let cases = [
        PathCase {
            what: "the name as it is written",
            rule: CAP,
            args: json!({ "config": { "request_timeout": 11 } }),
            passes: false,
        },
        PathCase {
            what: "camel case",
            rule: CAP,
            args: json!({ "config": { "requestTimeout": 11 } }),
            passes: false,
        },
        PathCase {
            what: "both, of which one is within",
            rule: CAP,
            args: json!({ "config": { "request_timeout": 9, "requestTimeout": 11 } }),
            passes: false,
        },
        // JavaScript accepts the number, and Rust does not.
        PathCase {
            what: "a text that another reader may take for JSON",
            rule: DENY,
            args: json!({ "rate_limits": r#"[{"value": 11, "n": 1e999}]"# }),
            passes: false,
        },
        PathCase {
            what: "a text with half of a surrogate pair",
            rule: DENY,
            args: json!({ "rate_limits": r#"[{"value": 11, "n": "\ud800"}]"# }),
            passes: false,
        },
        PathCase {
            what: "such a text where there is a bound",
            rule: CAP,
            args: json!({ "config": r#"{"request_timeout": 9, "n": 1e999}"# }),
            passes: false,
        },
        PathCase {
            what: "such a text where an amount is counted",
            rule: COUNT,
            args: json!({ "rate_limits": r#"[{"value": 1, "n": 1e999}]"# }),
            passes: false,
        },
        PathCase {
            what: "an amount that is counted in a text",
            rule: COUNT,
            args: json!({ "rate_limits": r#"[{"value": 1}]"# }),
            passes: true,
        },
        PathCase {
            what: "both within",
            rule: CAP,
            args: json!({ "config": { "request_timeout": 9, "Request-Timeout": 10 } }),
            passes: true,
        },
        PathCase {
            what: "a document as text",
            rule: CAP,
            args: json!({ "config": r#" {"request_timeout":11}"# }),
            passes: false,
        },
        PathCase {
            what: "a document as text that is within",
            rule: CAP,
            args: json!({ "config": r#"{"request_timeout":9}"# }),
            passes: true,
        },
        PathCase {
            what: "a text that only begins as a document",
            rule: CAP,
            args: json!({ "config": r#"{"request_timeout":11,}"# }),
            passes: false,
        },
        PathCase {
            what: "another text",
            rule: CAP,
            args: json!({ "config": "pc-1" }),
            passes: true,
        },
        PathCase {
            what: "a name that only looks like the path",
            rule: CAP,
            args: json!({ "config": { "request": { "timeout": 11 } }, "config.request_timeout": 11 }),
            passes: true,
        },
        PathCase {
            what: "a demand on a list",
            rule: DEMAND,
            args: json!({ "rate_limits": [{ "value": 9 }, { "value": 11 }] }),
            passes: false,
        },
        PathCase {
            what: "a demand on a list that is within",
            rule: DEMAND,
            args: json!({ "rate_limits": [{ "value": 9 }, { "value": 10 }] }),
            passes: true,
        },
        PathCase {
            what: "a demand on an empty list",
            rule: DEMAND,
            args: json!({ "rate_limits": [] }),
            passes: false,
        },
        PathCase {
            what: "what is to be approved in a list",
            rule: DENY,
            args: json!({ "rate_limits": [{ "value": 9 }, { "value": 11 }] }),
            passes: false,
        },
        PathCase {
            what: "nothing to be approved in a list",
            rule: DENY,
            args: json!({ "rate_limits": [{ "value": 9 }] }),
            passes: true,
        },
        PathCase {
            what: "a provider in two spellings",
            rule: ALLOWED,
            args: json!({ "config": { "provider": "@openai", "Provider": "@other" } }),
            passes: false,
        },
    ];
    for PathCase {
        what,
        rule,
        args,
        passes,
    } in cases
    {
        let text = format!(
            "version: '1'\ntools: {{ create-config: {{ rules: [{{ name: r, {rule} }}] }} }}"
        );
        let decision = evaluate(
            &[&parse_policy(&text)],
            TEST_CALLER,
            &Store::in_memory(),
            ("create-config", &args),
        )
        .await;
        assert_eq!(
            describe_decision(&decision) == "allow",
            passes,
            "{what}: {}",
            describe_decision(&decision)
        );
    }
}

#[tokio::test]
async fn amounts_in_a_list_are_summed() {
    let text = r#"
version: "1"
tools:
  update-api-key:
    limits: [{ name: spend, counter: spend, max: 10, window: day, increment_from: args.rate_limits.value }]
"#;
    let limits = |values: &[i32]| json!({ "rate_limits": values.iter().map(|value| json!({ "value": value })).collect::<Vec<_>>() });
    assert_decisions(
        text,
        &[
            DecisionCase {
                tool: "update-api-key",
                args: limits(&[4, 6]),
                expected: "allow",
            },
            DecisionCase {
                tool: "update-api-key",
                args: limits(&[5, 6]),
                expected: "deny",
            },
            DecisionCase {
                tool: "update-api-key",
                args: limits(&[5, -6]),
                expected: "deny",
            },
            DecisionCase {
                tool: "update-api-key",
                args: limits(&[]),
                expected: "deny",
            },
            DecisionCase {
                tool: "update-api-key",
                args: json!({ "rate_limits": { "value": 10 } }),
                expected: "allow",
            },
        ],
    )
    .await;
}

/// Responses are redacted in any spelling, and inside documents that are encoded as text.
#[tokio::test]
async fn redactions_apply_to_other_spellings_and_text() {
    let policy = parse_policy("version: '1'\nrules: [{ name: r, redact: [config.api_key] }]\n");
    let gone = "[redacted by policy]";
    let cases = [
        (
            json!({ "config": { "apiKey": "k", "a": 1 } }),
            json!({ "config": { "apiKey": gone, "a": 1 } }),
        ),
        (
            json!({ "config": r#"{"api_key":"k","a":[1]}"# }),
            json!({ "config": format!(r#"{{"api_key":"{gone}","a":[1]}}"#) }),
        ),
        (
            json!({ "config": r#"[{"api_key": "k"}, {"b": 1.50}]"# }),
            json!({ "config": format!(r#"[{{"api_key":"{gone}"}},{{"b":1.5}}]"#) }),
        ),
        // A text without a match stays unchanged.
        (
            json!({ "config": r#"{ "b": 1.50 }"# }),
            json!({ "config": r#"{ "b": 1.50 }"# }),
        ),
        (
            json!({ "config": "{ no JSON" }),
            json!({ "config": "{ no JSON" }),
        ),
        (
            json!({ "config.api_key": "k" }),
            json!({ "config.api_key": "k" }),
        ),
    ];
    for (mut answer, expected) in cases {
        let store = Store::in_memory();
        let decision = evaluate(&[&policy], TEST_CALLER, &store, ("get-config", &json!({}))).await;
        PolicyEvaluation::redact(&decision.redactions, &mut answer);
        assert_eq!(answer, expected);
    }
}

/// A match that would take too long is not attempted: the call is denied.
#[tokio::test]
async fn text_too_long_for_a_pattern_is_denied() {
    let long = "x".repeat((1 << 18) + 1);
    for action in ["evaluate", "approve", "allow"] {
        let text = format!(
            "version: '1'\ntools: {{ create-label: {{ rules: [{{ name: r, action: {action}, \
             conditions: [{{ path: args.name, op: regex, value: '^x' }}] }}] }} }}"
        );
        assert_decisions(
            &text,
            &[DecisionCase {
                tool: "create-label",
                args: json!({ "name": long }),
                expected: "deny r",
            }],
        )
        .await;
    }
}

struct PathWarningCase {
    rule: &'static str,
    /// End of the warning, if there is one.
    says: Option<&'static str>,
}

#[test]
fn unmatched_paths_are_reported_with_a_suggestion() {
    let cases = [
        PathWarningCase {
            rule: "cap: { rate_limits.value: 1 }",
            says: None,
        },
        PathWarningCase {
            rule: "cap: { 'rate_limits[].value': 1 }",
            says: None,
        },
        PathWarningCase {
            rule: "cap: { rateLimits.value: 1 }",
            says: None,
        },
        PathWarningCase {
            rule: "cap: { usage_limits.credit_limit: 1 }",
            says: None,
        },
        PathWarningCase {
            rule: "cap: { rate_limit.value: 1 }",
            says: Some("did you mean `rate_limits`?"),
        },
        PathWarningCase {
            rule: "cap: { rate_limits.vlaue: 1 }",
            says: Some("did you mean `value`?"),
        },
        PathWarningCase {
            rule: "cap: { credit_limit: 1 }",
            says: Some(
                "`credit_limit` is another name of `usage_limits.credit_limit`; write that one",
            ),
        },
        PathWarningCase {
            rule: "cap: { name.first: 1 }",
            says: Some("that the rule is about"),
        },
        // An object without declared fields may have any.
        PathWarningCase {
            rule: "cap: { defaults.metadata.whatever: 1 }",
            says: None,
        },
        PathWarningCase {
            rule: "conditions: [{ path: args.nmae, op: eq, value: a }]",
            says: Some("did you mean `name`?"),
        },
        PathWarningCase {
            rule: "limits: [{ max: 1, window: day, increment_from: args.usage_limits.credit_limt }]",
            says: Some("did you mean `credit_limit`?"),
        },
        PathWarningCase {
            rule: "action: deny, when: 'has(args.usage_limits) && args.usage_limits.credit_limits > 1'",
            says: Some("did you mean `credit_limit`?"),
        },
        PathWarningCase {
            rule: "action: deny, when: 'args.usageLimits.credit_limit > 1'",
            says: Some("did you mean `usage_limits`?"),
        },
        PathWarningCase {
            rule: "action: deny, when: 'args[\"usage_limits\"].credit_limit > 1 || args.scopes.exists(s, s == \"a\")'",
            says: None,
        },
        PathWarningCase {
            rule: "redact: ['data[].emial']",
            says: Some("did you mean `email`?"),
        },
        PathWarningCase {
            rule: "redact: ['data[].email', owner.email, whatever]",
            says: None,
        },
    ];
    for PathWarningCase { rule, says } in cases {
        let text = format!(
            "version: '1'\nrules:\n  - {{ name: r, match: {{ tools: [create-api-key, update-api-key] }}, {rule} }}\n"
        );
        let policy = parse_policy(&text);
        match (policy.warnings(), says) {
            ([], None) => {}
            ([warning], Some(says)) => {
                assert!(
                    warning.starts_with("line 3: rules[0]: "),
                    "{rule}: {warning}"
                );
                assert!(warning.ends_with(says), "{rule}: {warning}");
            }
            (warnings, _) => panic!("{rule}: {warnings:?}"),
        }
    }
}

/// A path is valid for a rule of several tools if one of them has it.
#[test]
fn path_of_any_matched_tool_is_valid() {
    for (tools, right) in [
        ("[create-label, create-api-key]", true),
        ("['create-*']", true),
        ("[create-label]", false),
        ("[no-such-tool]", true),
        // The former takes any further argument.
        ("[create-prompt-completion, create-label]", false),
        ("[create-prompt-completion]", true),
    ] {
        let text = format!(
            "version: '1'\nrules: [{{ name: r, match: {{ tools: {tools} }}, cap: {{ usage_limits.credit_limit: 1 }} }}]"
        );
        let policy = parse_policy(&text);
        let dead = policy
            .warnings()
            .iter()
            .filter(|text| text.contains("leads to nothing"))
            .count();
        assert_eq!(dead == 0, right, "{tools}: {:?}", policy.warnings());
    }
}

#[test]
fn strict_check_fails_for_an_unmatched_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let text = "version: '1'\ntools:\n  create-api-key:\n    rules: [{ name: r, cap: { usage_limit.credit_limit: 1 } }]\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let what = "line 4: tools.create-api-key.rules[0]: cap: `usage_limit.credit_limit` leads to nothing in the \
                arguments of the tools that the rule is about, did you mean `usage_limits`?\n";
    let (is_ok, out, _) = run_cli(&["policy", "check", file]);
    assert!(
        is_ok && out.starts_with(&format!("warning: {what}")),
        "{out}"
    );
    let (is_ok, out, _) = run_cli(&["policy", "check", file, "--strict"]);
    assert!(
        !is_ok && out.starts_with(&format!("error: {what}")),
        "{out}"
    );
    let (is_ok, _, log) = run_cli(&["call", "list-labels", "--sandbox", "--policy", file]);
    assert!(is_ok && log.contains("leads to nothing"), "{log}");
}

/// Only some of many warnings are shown.
#[test]
fn report_of_unmatched_paths_is_bounded() {
    let caps: Vec<_> = (0..200).map(|i| format!("zz{i}: 1")).collect();
    let text = format!(
        "version: '1'\ntools: {{ create-label: {{ rules: [{{ name: r, cap: {{ {} }} }}] }} }}",
        caps.join(", ")
    );
    let policy = parse_policy(&text);
    assert_eq!(policy.warnings().len(), 21);
    assert_eq!(
        policy.warnings().last().unwrap(),
        "and more paths that lead to nothing"
    );
}

/// Rules may name arguments as callers of other servers do; policies see the canonical form.
#[tokio::test]
async fn rules_understand_other_names_of_arguments() {
    let text = r#"
version: "1"
tools:
  update-mcp-server:
    rules: [{ name: mine, conditions: [{ path: args.id, op: eq, value: mine }] }]
  delete-mcp-server:
    rules: [{ name: not that, action: deny, when: args.id == "that" }]
  create-provider:
    rules: [{ name: small, cap: { credit_limit: 100 } }]
  add-workspace-member:
    rules: [{ name: no admins, action: deny, when: args.role == "admin" }]
  bulk-update-integration-workspaces:
    rules: [{ name: small shares, cap: { "workspaces[].credit_limit": 10 } }]
"#;
    let shares = |limits: [u32; 2]| {
        let workspace = |limit: u32| json!({ "id": "w", "enabled": true, "usage_limits": [{ "credit_limit": limit }] });
        json!({ "slug": "i", "workspaces": limits.map(workspace) })
    };
    let user = |role: &str| json!({ "workspace_id": "w", "users": [{ "id": "u", "role": role }] });
    let provider = |limit: u32| json!({ "name": "n", "usage_limits": { "credit_limit": limit } });
    assert_decisions(
        text,
        &[
            DecisionCase {
                tool: "update-mcp-server",
                args: json!({ "mcp_server_id": "mine", "name": "n" }),
                expected: "allow",
            },
            DecisionCase {
                tool: "update-mcp-server",
                args: json!({ "mcp_server_id": "yours", "name": "n" }),
                expected: "deny mine",
            },
            DecisionCase {
                tool: "delete-mcp-server",
                args: json!({ "mcp_server_id": "this" }),
                expected: "allow",
            },
            DecisionCase {
                tool: "delete-mcp-server",
                args: json!({ "mcp_server_id": "that" }),
                expected: "deny not that",
            },
            DecisionCase {
                tool: "create-provider",
                args: provider(100),
                expected: "allow",
            },
            DecisionCase {
                tool: "create-provider",
                args: provider(101),
                expected: "deny small",
            },
            DecisionCase {
                tool: "add-workspace-member",
                args: user("member"),
                expected: "allow",
            },
            DecisionCase {
                tool: "add-workspace-member",
                args: user("admin"),
                expected: "deny no admins",
            },
            DecisionCase {
                tool: "bulk-update-integration-workspaces",
                args: shares([1, 10]),
                expected: "allow",
            },
            DecisionCase {
                tool: "bulk-update-integration-workspaces",
                args: shares([1, 11]),
                expected: "deny small shares",
            },
        ],
    )
    .await;
    let policy = parse_policy(text);
    let warnings = policy.warnings().join("\n");
    for expected in [
        "`id` is another name of `mcp_server_id`; write that one",
        "`credit_limit` is another name of `usage_limits.credit_limit`",
        "`role` is another name of `users[].role`",
        "`workspaces[].credit_limit` is another name of `workspaces[].usage_limits[].credit_limit`",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
}
