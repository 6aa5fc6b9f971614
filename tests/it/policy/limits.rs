//! Limits: windows, scopes, rollback, and counters that survive a policy change.

use serde_json::json;

use super::*;

const LIST_LABELS: (&str, &Value) = ("list-labels", &Value::Null);

async fn evaluate_list_labels(
    policy: &Policy,
    caller: TestCaller<'_>,
    store: &Store,
) -> PolicyEvaluation {
    evaluate(&[policy], caller, store, (LIST_LABELS.0, &json!({}))).await
}

fn policy_with_limit(limit: &str) -> Policy {
    parse_policy(&format!(
        "version: '1'\nrules: [{{ name: few, limits: [{limit}] }}]"
    ))
}

#[tokio::test]
async fn every_window_kind_limits_calls() {
    for window in [
        "window: minute",
        "window: hour",
        "window: day",
        "window: week",
        "window: month",
        "window: 10m",
        "window: 90",
        "sliding: 10m",
        "sliding: 30",
        "bucket: 2h",
    ] {
        let policy = policy_with_limit(&format!("{{ max: 2, {window} }}"));
        let store = Store::in_memory();
        for expected in ["allow", "allow", "deny few", "deny few"] {
            let decision =
                describe_decision(&evaluate_list_labels(&policy, TEST_CALLER, &store).await);
            assert!(decision.starts_with(expected), "{window}: {decision}");
        }
    }
}

#[tokio::test]
async fn scope_determines_who_shares_a_counter() {
    let other = TestCaller {
        principal: "other",
        ..TEST_CALLER
    };
    let session = TestCaller {
        session: Some("s1"),
        ..TEST_CALLER
    };
    let next = TestCaller {
        session: Some("s2"),
        ..TEST_CALLER
    };
    let cases: &[(&str, &[(TestCaller<'_>, &str)])] = &[
        ("global", &[(TEST_CALLER, "allow"), (other, "deny")]),
        (
            "principal",
            &[(TEST_CALLER, "allow"), (other, "allow"), (session, "deny")],
        ),
        (
            "session",
            &[
                (session, "allow"),
                (next, "allow"),
                (session, "deny"),
                (TEST_CALLER, "allow"),
                (TEST_CALLER, "deny"),
            ],
        ),
    ];
    for (scope, calls) in cases {
        let policy = policy_with_limit(&format!("{{ max: 1, window: hour, scope: {scope} }}"));
        let store = Store::in_memory();
        for (caller, expected) in *calls {
            let decision = describe_decision(&evaluate_list_labels(&policy, *caller, &store).await);
            assert!(
                decision.starts_with(expected),
                "{scope}: {decision}, not {expected}"
            );
        }
    }
}

#[tokio::test]
async fn rolled_back_reservation_can_be_reserved_again() {
    let policy = policy_with_limit("{ max: 1, window: hour }");
    let store = Store::in_memory();
    for _ in 0..3 {
        let decision = evaluate_list_labels(&policy, TEST_CALLER, &store).await;
        assert_eq!(describe_decision(&decision), "allow");
        PolicyEvaluation::roll_back(decision.reservations, &store).await;
    }
    evaluate_list_labels(&policy, TEST_CALLER, &store).await;
    assert!(
        describe_decision(&evaluate_list_labels(&policy, TEST_CALLER, &store).await)
            .starts_with("deny few")
    );
}

#[tokio::test]
async fn call_denied_by_one_limit_is_not_counted_by_another() {
    let policy = parse_policy(
        "version: '1'\nrules:\n  - { name: many, limits: [{ counter: m, max: 2, window: hour }] }\n  \
         - { name: one, match: { tools: [get-config] }, rate_limit: 1/hour }",
    );
    let store = Store::in_memory();
    let config = ("get-config", &json!({}));
    for expected in ["allow", "deny one", "deny one"] {
        let decision = describe_decision(&evaluate(&[&policy], TEST_CALLER, &store, config).await);
        assert!(decision.starts_with(expected), "{decision}");
    }
    assert_eq!(
        describe_decision(&evaluate_list_labels(&policy, TEST_CALLER, &store).await),
        "allow"
    );
    assert!(
        describe_decision(&evaluate_list_labels(&policy, TEST_CALLER, &store).await)
            .starts_with("deny many")
    );
}

#[tokio::test]
async fn counters_survive_a_policy_change() {
    let store = Store::in_memory();
    let before = policy_with_limit("{ max: 1, window: hour }");
    let after = policy_with_limit("{ max: 2, window: hour }");
    assert_ne!(before.revision(), after.revision());
    for (policy, expected) in [
        (&before, "allow"),
        (&before, "deny"),
        (&after, "allow"),
        (&after, "deny"),
    ] {
        let decision = describe_decision(&evaluate_list_labels(policy, TEST_CALLER, &store).await);
        assert!(decision.starts_with(expected), "{decision}");
    }
}

#[tokio::test]
async fn expressions_read_counters() {
    let text = r#"
version: "1"
tools:
  list-labels: { limits: [{ counter: lists, max: 10, window: hour }] }
rules:
  - { name: after two, action: approve, match: { tools: [list-labels] }, when: 'counters.lists >= 2 && counters["lists"] < 9' }
"#;
    let policy = parse_policy(text);
    let store = Store::in_memory();
    for expected in ["allow", "allow", "approve after two"] {
        assert_eq!(
            describe_decision(&evaluate_list_labels(&policy, TEST_CALLER, &store).await),
            expected
        );
    }
}

#[tokio::test]
async fn unavailable_store_denies_limited_calls() {
    let url = "redis://127.0.0.1:1/0".to_owned().into();
    let store = Store::connect(Some(&url), b"", Duration::from_millis(50))
        .await
        .unwrap();
    for limit in [
        "limits: [{ max: 1, window: hour }]",
        "conditions: [{ path: state.x.y, op: eq, value: 0 }]",
    ] {
        let text = format!(
            "version: '1'\ntools: {{ x: {{ limits: [{{ counter: y, max: 9, window: day }}] }} }}\n\
             rules: [{{ name: few, {limit} }}]"
        );
        let verdict = describe_decision(
            &evaluate_list_labels(&parse_policy(&text), TEST_CALLER, &store).await,
        );
        assert!(
            verdict.starts_with("deny") && verdict.contains("cannot be counted just now"),
            "{verdict}"
        );
    }
    assert_eq!(
        describe_decision(
            &evaluate_list_labels(&parse_policy("version: '1'"), TEST_CALLER, &store).await
        ),
        "allow"
    );
    // A shadow rule has no effect here either.
    let text = "version: '1'\ntools: { create-label: { limits: [{ counter: y, max: 9, window: day }] } }\n\
                rules: [{ name: r, action: shadow, would: deny, when: counters.y == 0 }]";
    let decision = evaluate_list_labels(&parse_policy(text), TEST_CALLER, &store).await;
    assert_eq!(describe_decision(&decision), "allow");
    let [shadow] = &decision.shadows[..] else {
        panic!("{:?}", decision.shadows)
    };
    assert!(shadow.message.contains("cannot be read"), "{shadow:?}");
}
