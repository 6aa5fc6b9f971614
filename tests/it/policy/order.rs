//! The fixed order of evaluation: hidden, default, deny, limits, approve, dry_run, allow.

use serde_json::json;

use super::*;

#[tokio::test]
async fn rules_match_names_globs_domains_and_effects() {
    let text = r#"
version: "1"
tools:
  delete_integration: { rules: [{ name: by name, action: deny, on_deny: not this one }] }
  "delete-*": { rules: [{ name: by glob, action: deny }] }
  "*": { rules: [{ name: of all, action: deny, when: 'domain == "labels"' }] }
rules:
  - { name: by domain, action: approve, match: { domains: [api-keys], effects: [create, update] } }
  - { name: by effect, action: dry_run, match: { effects: [update], tools: ["update-*"] } }
"#;
    assert_decisions(text, &[DecisionCase { tool: "delete-integration", args: json!({}), expected: "deny by name: the policy rule `by name` denies `delete-integration`: not this one" },
DecisionCase { tool: "delete-workspace", args: json!({}), expected: "deny by glob: the policy rule `by glob` denies" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "deny of all" },
DecisionCase { tool: "create-api-key", args: json!({}), expected: "approve by domain" },
DecisionCase { tool: "update-api-key", args: json!({}), expected: "approve by domain" },
DecisionCase { tool: "update-integration", args: json!({}), expected: "dry_run by effect" },
DecisionCase { tool: "get-api-key", args: json!({}), expected: "allow" },
DecisionCase { tool: "list-all-integrations", args: json!({}), expected: "allow" }])
    .await;
}

#[tokio::test]
async fn stricter_action_wins_in_any_rule_order() {
    #[derive(Clone, Copy)]
    struct Rule {
        expected: &'static str,
        text: &'static str,
        rank: usize,
    }

    let rules = [
        Rule {
            expected: "allow",
            text: "{ name: a, action: allow }",
            rank: 0,
        },
        Rule {
            expected: "dry_run",
            text: "{ name: b, action: dry_run }",
            rank: 1,
        },
        Rule {
            expected: "approve",
            text: "{ name: c, action: approve }",
            rank: 2,
        },
        Rule {
            expected: "deny",
            text: "{ name: d, rate_limit: { max: 0, window: 60 } }",
            rank: 3,
        },
        Rule {
            expected: "deny",
            text: "{ name: e, action: deny }",
            rank: 4,
        },
    ];
    for Rule {
        text: first, rank, ..
    } in rules
    {
        for Rule {
            text: second,
            rank: other,
            ..
        } in rules
        {
            let text = format!("version: '1'\nrules: [{first}, {second}]")
                .replace(if rank == other { second } else { "\0" }, first);
            let text = match rank == other {
                true => format!("version: '1'\nrules: [{first}]"),
                false => text,
            };
            let expected = rules[rank.max(other)].expected;
            assert_decisions(
                &text,
                &[DecisionCase {
                    tool: "list-labels",
                    args: json!({}),
                    expected,
                }],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn default_deny_permits_only_listed_tools() {
    let text = r#"
version: "1"
default: deny
hide: ["*-workspace"]
tools:
  list_labels: { rules: [] }
  get-integration:
  "list-all-api*": {}
  delete-label: { rules: [{ name: never, action: deny }] }
  get-workspace: {}
  "*": { rules: [{ name: anyone, action: allow }, { name: not strangers, action: deny, when: 'client == "stranger"' }] }
rules:
  - { name: reads of configs, action: allow, match: { domains: [configs], effects: [read] }, when: '!tainted' }
  - { name: ask for configs, action: approve, match: { domains: [configs], effects: [create] } }
  - { name: watched, action: shadow, would: allow, match: { domains: [labels] } }
"#;
    let closed = "deny default: the policy of this server does not permit";
    assert_decisions(
        text,
        &[
            DecisionCase {
                tool: "list-labels",
                args: json!({}),
                expected: "allow",
            },
            DecisionCase {
                tool: "get-integration",
                args: json!({}),
                expected: "allow",
            },
            DecisionCase {
                tool: "list-all-api-keys",
                args: json!({}),
                expected: "allow",
            },
            DecisionCase {
                tool: "delete-label",
                args: json!({}),
                expected: "deny never",
            },
            DecisionCase {
                tool: "create-label",
                args: json!({}),
                expected: closed,
            },
            DecisionCase {
                tool: "get-workspace",
                args: json!({}),
                expected: "deny hidden: `get-workspace` is hidden by the policy",
            },
            DecisionCase {
                tool: "list-all-workspaces",
                args: json!({}),
                expected: closed,
            },
            DecisionCase {
                tool: "list-configs",
                args: json!({}),
                expected: "allow",
            },
            DecisionCase {
                tool: "create-config",
                args: json!({}),
                expected: "approve ask for configs",
            },
            DecisionCase {
                tool: "delete-config",
                args: json!({}),
                expected: closed,
            },
        ],
    )
    .await;
    let policy = parse_policy(text);
    let tainted = TestCaller {
        tainted: true,
        ..TEST_CALLER
    };
    let store = Store::in_memory();
    let decision = describe_decision(
        &evaluate(&[&policy], tainted, &store, ("list-configs", &json!({}))).await,
    );
    assert!(decision.starts_with(closed), "{decision}");
}

#[tokio::test]
async fn stricter_of_two_policies_wins() {
    let open = parse_policy("version: '1'");
    let asks = parse_named_policy(
        "asks.yaml",
        "version: '1'\nrules: [{ name: ask, action: approve }]",
    );
    let shut = parse_named_policy(
        "shut.yaml",
        "version: '1'\ndefault: deny\ntools: { get-config: {} }",
    );
    let hides = parse_named_policy("hides.yaml", "version: '1'\nhide: [get-config]");
    let cases: &[(&[&Policy], &str)] = &[
        (&[&open, &open], "allow"),
        (&[&open, &asks], "approve ask"),
        (&[&asks, &shut], "approve ask"),
        (&[&shut, &hides], "deny hidden"),
        (&[&hides, &open], "deny hidden"),
        (&[], "allow"),
    ];
    for (policies, expected) in cases {
        let store = Store::in_memory();
        let verdict = describe_decision(
            &evaluate(policies, TEST_CALLER, &store, ("get-config", &json!({}))).await,
        );
        assert!(verdict.starts_with(expected), "{policies:?}: {verdict}");
    }
    let store = Store::in_memory();
    let decision = evaluate(
        &[&open, &shut],
        TEST_CALLER,
        &store,
        ("list-labels", &json!({})),
    )
    .await;
    let Decision::Deny(denied) = decision.decision else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (&*denied.rule.policy, &*denied.rule.name),
        ("shut.yaml", "default")
    );
}

#[tokio::test]
async fn shadow_rules_report_without_effect() {
    let policy = parse_policy(
        r#"
version: "1"
tools:
  create-api-key:
    rules:
      - { name: would ask, action: shadow, would: approve }
      - { name: would deny, action: shadow, on_deny: too dear, cap: { usage_limits.credit_limit: 10 } }
      - { name: would not, action: shadow, when: 'tool == "other"' }
      - { name: broken, action: shadow, when: 'args.missing == 1' }
      - { name: few, action: shadow, rate_limit: 1/hour }
"#,
    );
    let store = Store::in_memory();
    let args = json!({ "usage_limits": { "credit_limit": 11 } });
    let mut seen = Vec::new();
    for _ in 0..2 {
        let decision = evaluate(&[&policy], TEST_CALLER, &store, ("create-api-key", &args)).await;
        assert_eq!(describe_decision(&decision), "allow");
        let names = decision
            .shadows
            .iter()
            .map(|noted| (noted.rule.name.to_string(), noted.action.as_str()));
        seen.push(names.collect::<Vec<_>>());
    }
    let named = |names: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        names
            .iter()
            .map(|(name, verb)| ((*name).to_owned(), *verb))
            .collect()
    };
    let first = [
        ("would ask", "approve"),
        ("would deny", "evaluate"),
        ("broken", "deny"),
    ];
    assert_eq!(seen[0], named(&first));
    assert_eq!(
        seen[1],
        named(&[&first[..], &[("few", "evaluate")]].concat())
    );
}
