//! Files in the format of Intercept and of its hosted dialect.

use portkey_policy::DenialStage;
use serde_json::json;

use super::*;

/// As a generator writes such files, for another MCP server.
const FOREIGN_POLICY: &str = r#"
#  Policy: a payment server
version: "1"
description: "Policy for example/payments-mcp"
#  Set to "deny" to reject tool calls not listed below
default: "allow"
hide:
    - transfer_account
    - delete_workspace
tools:
    #  -- Read tools --
    list_payments:
        rules: []
    #  -- Write tools --
    create_payment:
        rules:
            - name: "largest payment"
              conditions:
                - path: "args.amount"
                  op: "lte"
                  value: 50000
              on_deny: "A payment is at most 500.00"
            - name: "daily total"
              conditions:
                - path: "state.create_payment.daily_total"
                  op: "lte"
                  value: 1000000
              state:
                counter: "daily_total"
                window: "day"
                increment_from: "args.amount"
    "*":
        rules:
            - name: "calls a minute"
              rate_limit: 60/minute
"#;

#[test]
fn policy_of_another_server_loads_with_warnings() {
    let policy = parse_policy(FOREIGN_POLICY);
    assert_eq!(policy.len(), 3);
    let warnings = policy.warnings().join("\n");
    for name in [
        "hide[0]: no tool of this server is called `transfer_account`",
        "`create_payment`",
    ] {
        assert!(warnings.contains(name), "{warnings}");
    }
    assert!(
        !warnings.contains("delete_workspace") && !warnings.contains('*'),
        "{warnings}"
    );
    let near = super::parse_policy("version: '1'\ntools: { create_api_kye: { rules: [] } }");
    assert!(
        near.warnings()[0].contains("did you mean `create-api-key`?"),
        "{:?}",
        near.warnings()
    );
}

/// The semantics of Intercept's own document, for the tools of this server.
const INTERCEPT_POLICY: &str = r#"
version: "1"
default: deny
hide: [delete_workspace]
tools:
  list_labels: { rules: [] }
  create_label:
    rules:
      - name: "hourly labels"
        rate_limit: 2/hour
        on_deny: "Two labels an hour"
      - { name: "named", conditions: [{ path: "args.name", op: "exists", value: true }] }
  create_api_key:
    rules:
      - name: "spend"
        conditions: [{ path: "state.create_api_key.spend", op: "lt", value: 10 }]
        state: { counter: spend, window: day, increment_from: "args.usage_limits.credit_limit" }
        on_deny: "Ten a day"
  update_api_key:
    rules:
      - name: "not after much spending"
        conditions: [{ path: "state.create_api_key.spend", op: "lt", value: 5 }]
  delete_label: { rules: [{ name: "never", action: "deny", on_deny: "No deletion" }] }
  "*":
    rules:
      - name: "overall"
        conditions: [{ path: "state._global.calls", op: "lte", value: 6 }]
        state: { counter: calls, window: minute }
"#;

async fn assert_decisions_in_order(text: &str, calls: &[DecisionCase<'_>]) {
    let policy = parse_policy(text);
    let store = Store::in_memory();
    for (index, call) in calls.iter().enumerate() {
        let DecisionCase {
            tool,
            args,
            expected,
        } = call;
        let decision =
            describe_decision(&evaluate(&[&policy], TEST_CALLER, &store, (tool, args)).await);
        assert!(
            decision.starts_with(expected),
            "call {index}, {tool} {args}: {decision}, not {expected}"
        );
    }
}

#[tokio::test]
async fn rate_limits_count_calls_and_wildcards_count_all() {
    let label = json!({ "name": "a" });
    let hourly = "deny hourly labels: the policy rule `hourly labels` limits this: Two labels an hour; try again in";
    assert_decisions_in_order(INTERCEPT_POLICY, &[DecisionCase { tool: "create-label", args: label.clone(), expected: "allow" },
// A call denied by another rule is not counted.
DecisionCase { tool: "create-label", args: json!({}), expected: "deny named" },
DecisionCase { tool: "create_label", args: label.clone(), expected: "allow" },
DecisionCase { tool: "create-label", args: label.clone(), expected: hourly },
DecisionCase { tool: "create-label", args: label, expected: hourly },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "delete-label", args: json!({}), expected: "deny never: the policy rule `never` denies `delete-label`: No deletion" },
DecisionCase { tool: "delete-workspace", args: json!({}), expected: "deny hidden" },
DecisionCase { tool: "get-config", args: json!({}), expected: "deny default" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "deny overall: the policy rule `overall` limits this: at most 6 per minute" }])
    .await;
}

#[tokio::test]
async fn amounts_are_summed_and_limited() {
    let spend = |amount: f64| json!({ "usage_limits": { "credit_limit": amount } });
    assert_decisions_in_order(
        INTERCEPT_POLICY,
        &[
            DecisionCase {
                tool: "create-api-key",
                args: spend(4.0),
                expected: "allow",
            },
            DecisionCase {
                tool: "update-api-key",
                args: json!({}),
                expected: "allow",
            },
            // Less than ten leaves nine.
            DecisionCase {
                tool: "create-api-key",
                args: spend(6.0),
                expected: "deny spend: the policy rule `spend` limits this: Ten a day",
            },
            DecisionCase {
                tool: "create-api-key",
                args: spend(5.0),
                expected: "allow",
            },
            DecisionCase {
                tool: "create-api-key",
                args: spend(0.0),
                expected: "allow",
            },
            DecisionCase {
                tool: "update-api-key",
                args: json!({}),
                expected: "deny not after much spending",
            },
            DecisionCase {
                tool: "create-api-key",
                args: json!({}),
                expected: "deny spend",
            },
            DecisionCase {
                tool: "create-api-key",
                args: spend(-4.0),
                expected: "deny spend",
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn hosted_dialect_is_parsed_as_json() {
    let text = r#"{
      "version": "1", "default": "deny", "hide": ["delete_label"],
      "all_tools": { "limits": [{ "counter": "calls", "window": "minute", "max": 3, "scope": "grant" }] },
      "tools": {
        "list_labels": {},
        "create_label": {
          "require": [{ "path": "args.name", "op": "regex", "value": "^team-" }],
          "deny_if": [{ "path": "args.workspace_id", "op": "eq", "value": "production", "reason": "not there" }],
          "limits": [{ "counter": "labels", "window": "hour", "max": 1, "scope": "session" }]
        }
      }
    }"#;
    let good = json!({ "name": "team-a", "workspace_id": "staging" });
    assert_decisions_in_order(text, &[DecisionCase { tool: "create-label", args: json!({ "name": "a" }), expected: "deny require" },
DecisionCase { tool: "create-label", args: json!({ "name": "team-a", "workspace_id": "production" }), expected: "deny deny_if: the policy rule `deny_if` denies `create-label`: not there" },
DecisionCase { tool: "create-label", args: good.clone(), expected: "allow" },
DecisionCase { tool: "create-label", args: good, expected: "deny labels" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "delete-label", args: json!({}), expected: "deny hidden" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "allow" },
DecisionCase { tool: "list-labels", args: json!({}), expected: "deny calls" }])
    .await;
}

#[tokio::test]
async fn rate_limit_object_and_deny_reason_are_accepted() {
    let text = r#"
version: "1"
tools:
  list_labels: { rules: [{ name: slow, rate_limit: { max: 1, window: 60 } }] }
  delete_label: { rules: [{ name: never, action: deny, reason: keep them }] }
"#;
    assert_decisions_in_order(
        text,
        &[
            DecisionCase {
                tool: "list-labels",
                args: json!({}),
                expected: "allow",
            },
            DecisionCase {
                tool: "list-labels",
                args: json!({}),
                expected: "deny slow: the policy rule `slow` limits this: at most 1 per minute",
            },
            DecisionCase {
                tool: "delete-label",
                args: json!({}),
                expected: "deny never: the policy rule `never` denies `delete-label`: keep them",
            },
        ],
    )
    .await;
    let policy = parse_policy(text);
    let store = Store::in_memory();
    let call = ("list-labels", &json!({}));
    evaluate(&[&policy], TEST_CALLER, &store, call).await;
    let Decision::Deny(denied) = evaluate(&[&policy], TEST_CALLER, &store, call)
        .await
        .decision
    else {
        panic!("it was allowed");
    };
    assert_eq!(denied.stage, DenialStage::Limits);
    let wait = denied.retry_after.unwrap();
    assert!(
        !wait.is_zero() && wait <= Duration::from_secs(60),
        "{denied:?}"
    );
}
