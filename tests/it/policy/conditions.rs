//! Conditions, caps and redactions.

use serde_json::json;

use super::*;

#[tokio::test]
async fn condition_operators_compare_as_documented() {
    let args = json!({
        "n": 5, "f": 2.5, "s": "main", "list": ["a", 1], "deep": { "er": true }, "nothing": null,
    });
    let cases = [
        ("args.n, op: eq, value: 5", true),
        ("args.n, op: eq, value: 5.0", true),
        ("args.n, op: eq, value: '5'", true),
        ("args.s, op: eq, value: main", true),
        ("args.s, op: eq, value: Main", false),
        ("args.deep.er, op: eq, value: true", true),
        ("args.s, op: neq, value: draft", true),
        ("args.n, op: neq, value: 5", false),
        ("args.n, op: in, value: [4, 5]", true),
        ("args.s, op: in, value: [draft]", false),
        ("args.s, op: not_in, value: [draft]", true),
        ("args.n, op: lt, value: 5", false),
        ("args.n, op: lte, value: 5", true),
        ("args.f, op: gt, value: 2", true),
        ("args.f, op: gte, value: 3", false),
        ("args.s, op: gte, value: 3", false),
        ("args.s, op: regex, value: '^ma'", true),
        ("args.n, op: regex, value: '5'", false),
        ("args.s, op: contains, value: ai", true),
        ("args.list, op: contains, value: 1", true),
        ("args.list, op: contains, value: b", false),
        ("args.n, op: exists, value: true", true),
        ("args.nothing, op: exists, value: true", false),
        ("args.nothing, op: exists, value: false", true),
        ("args.missing, op: exists, value: false", true),
        // An absent value satisfies no comparison, not even `neq`.
        ("args.missing, op: neq, value: 1", false),
        ("args.missing, op: not_in, value: [1]", false),
        ("args.missing, op: lte, value: 1", false),
        ("args.list.0, op: exists, value: true", false),
    ];
    for (condition, passes) in cases {
        let rule = format!("[{{ name: r, conditions: [{{ path: {condition} }}] }}]");
        let text = format!("version: '1'\ntools: {{ get-config: {{ rules: {rule} }} }}");
        let expected = if passes {
            "allow"
        } else {
            "deny r: the policy rule `r` denies"
        };
        assert_decisions(
            &text,
            &[DecisionCase {
                tool: "get-config",
                args: args.clone(),
                expected,
            }],
        )
        .await;
        // The hosted dialect gives the same decision, and the opposite.
        let require = format!("{{ require: [{{ path: {condition} }}] }}");
        let text = format!("version: '1'\ntools: {{ get-config: {require} }}");
        let expected = if passes { "allow" } else { "deny require" };
        assert_decisions(
            &text,
            &[DecisionCase {
                tool: "get-config",
                args: args.clone(),
                expected,
            }],
        )
        .await;
        let deny = text.replace("require", "deny_if");
        let expected = if passes { "deny deny_if" } else { "allow" };
        assert_decisions(
            &deny,
            &[DecisionCase {
                tool: "get-config",
                args: args.clone(),
                expected,
            }],
        )
        .await;
    }
}

#[tokio::test]
async fn call_is_denied_unless_all_conditions_are_satisfied() {
    let text = r#"
version: "1"
tools:
  create-api-key:
    rules:
      - name: both
        conditions:
          - { path: args.n, op: lte, value: 500 }
          - { path: args.s, op: in, value: [usd, eur] }
        on_deny: small ones only
      - { name: too, conditions: [{ path: args.t, op: exists, value: true }] }
"#;
    let args = |n: u32, s: &str, t: Option<u32>| json!({ "n": n, "s": s, "t": t });
    assert_decisions(text, &[DecisionCase { tool: "create-api-key", args: args(500, "usd", Some(1)), expected: "allow" },
DecisionCase { tool: "create-api-key", args: args(501, "usd", Some(1)), expected: "deny both: the policy rule `both` denies `create-api-key`: small ones only" },
DecisionCase { tool: "create-api-key", args: args(1, "gbp", Some(1)), expected: "deny both" },
DecisionCase { tool: "create-api-key", args: args(1, "eur", None), expected: "deny too: the policy rule `too` denies `create-api-key`: `args.t exists true` is not satisfied" },
DecisionCase { tool: "update-api-key", args: json!({}), expected: "allow" }])
    .await;
}

#[tokio::test]
async fn cap_limits_numbers_in_objects_and_lists() {
    let text = r#"
version: "1"
rules:
  - name: small
    match: { domains: [api-keys] }
    cap: { usage_limits.credit_limit: 100, "args.rate_limits[].value": 5 }
"#;
    let denied = "deny small: the policy rule `small` denies `create-api-key`: `usage_limits.credit_limit` may be at most 100";
    assert_decisions(text, &[DecisionCase { tool: "create-api-key", args: json!({}), expected: "allow" },
DecisionCase { tool: "create-api-key", args: json!({ "usage_limits": { "credit_limit": 100 } }), expected: "allow" },
DecisionCase { tool: "create-api-key", args: json!({ "usage_limits": null }), expected: "allow" },
DecisionCase { tool: "create-api-key", args: json!({ "usage_limits": { "credit_limit": 100.5 } }), expected: denied },
DecisionCase { tool: "create-api-key", args: json!({ "usage_limits": { "credit_limit": "1" } }), expected: denied },
DecisionCase { tool: "create-api-key", args: json!({ "rate_limits": [{ "value": 5 }, {}] }), expected: "allow" },
DecisionCase { tool: "update-api-key", args: json!({ "rate_limits": [{ "value": 5 }, { "value": 6 }] }), expected: "deny small: the policy rule `small` denies `update-api-key`: `args.rate_limits[].value`" }])
    .await;
}

#[tokio::test]
async fn redactions_of_all_matched_rules_are_applied() {
    let policy = parse_policy(
        r#"
version: "1"
rules:
  - { name: emails, redact: ["data[].email", owner.email] }
  - { name: names, action: allow, when: 'principal == "someone"', redact: ["data[].name"] }
  - { name: others, action: allow, when: 'principal == "else"', redact: [id] }
"#,
    );
    let store = Store::in_memory();
    let decision = evaluate(&[&policy], TEST_CALLER, &store, ("list-labels", &json!({}))).await;
    let mut answer = json!({
        "id": 1,
        "data": [{ "email": "a@example.com", "name": { "first": "A" } }, { "name": null }, 3],
        "owner": [{ "email": "b@example.com" }],
    });
    PolicyEvaluation::redact(&decision.redactions, &mut answer);
    let gone = "[redacted by policy]";
    let expected = json!({
        "id": 1,
        "data": [{ "email": gone, "name": gone }, { "name": gone }, 3],
        "owner": [{ "email": gone }],
    });
    assert_eq!(answer, expected);
}
