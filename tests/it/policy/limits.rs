//! Limits: windows, scopes, giving back, and counters that outlive the policy's version.

use serde_json::json;

use super::*;

const LABELS: (&str, &Value) = ("list-labels", &Value::Null);

async fn made(policy: &Policy, caller: Caller<'_>, store: &Store) -> PolicyEvaluation {
    decided(&[policy], caller, store, (LABELS.0, &json!({}))).await
}

fn limited(limit: &str) -> Policy {
    policy(&format!(
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
        let (policy, store) = (
            limited(&format!("{{ max: 2, {window} }}")),
            Store::in_memory(),
        );
        for expected in ["allow", "allow", "deny few", "deny few"] {
            let told = told(&made(&policy, SOMEONE, &store).await);
            assert!(told.starts_with(expected), "{window}: {told}");
        }
    }
}

#[tokio::test]
async fn scope_determines_who_shares_a_counter() {
    let other = Caller {
        principal: "other",
        ..SOMEONE
    };
    let session = Caller {
        session: Some("s1"),
        ..SOMEONE
    };
    let next = Caller {
        session: Some("s2"),
        ..SOMEONE
    };
    let cases: &[(&str, &[(Caller<'_>, &str)])] = &[
        ("global", &[(SOMEONE, "allow"), (other, "deny")]),
        (
            "principal",
            &[(SOMEONE, "allow"), (other, "allow"), (session, "deny")],
        ),
        (
            "session",
            &[
                (session, "allow"),
                (next, "allow"),
                (session, "deny"),
                (SOMEONE, "allow"),
                (SOMEONE, "deny"),
            ],
        ),
    ];
    for (scope, calls) in cases {
        let policy = limited(&format!("{{ max: 1, window: hour, scope: {scope} }}"));
        let store = Store::in_memory();
        for (caller, expected) in *calls {
            let told = told(&made(&policy, *caller, &store).await);
            assert!(
                told.starts_with(expected),
                "{scope}: {told}, not {expected}"
            );
        }
    }
}

#[tokio::test]
async fn rolled_back_reservation_can_be_reserved_again() {
    let (policy, store) = (limited("{ max: 1, window: hour }"), Store::in_memory());
    for _ in 0..3 {
        let decision = made(&policy, SOMEONE, &store).await;
        assert_eq!(told(&decision), "allow");
        PolicyEvaluation::roll_back(decision.reservations, &store).await;
    }
    made(&policy, SOMEONE, &store).await;
    assert!(told(&made(&policy, SOMEONE, &store).await).starts_with("deny few"));
}

#[tokio::test]
async fn call_denied_by_one_limit_is_not_counted_by_another() {
    let policy = policy(
        "version: '1'\nrules:\n  - { name: many, limits: [{ counter: m, max: 2, window: hour }] }\n  \
         - { name: one, match: { tools: [get-config] }, rate_limit: 1/hour }",
    );
    let store = Store::in_memory();
    let config = ("get-config", &json!({}));
    for expected in ["allow", "deny one", "deny one"] {
        let told = told(&decided(&[&policy], SOMEONE, &store, config).await);
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(told(&made(&policy, SOMEONE, &store).await), "allow");
    assert!(told(&made(&policy, SOMEONE, &store).await).starts_with("deny many"));
}

#[tokio::test]
async fn counters_survive_a_policy_change() {
    let store = Store::in_memory();
    let (before, after) = (
        limited("{ max: 1, window: hour }"),
        limited("{ max: 2, window: hour }"),
    );
    assert_ne!(before.revision(), after.revision());
    for (policy, expected) in [
        (&before, "allow"),
        (&before, "deny"),
        (&after, "allow"),
        (&after, "deny"),
    ] {
        let told = told(&made(policy, SOMEONE, &store).await);
        assert!(told.starts_with(expected), "{told}");
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
    let (policy, store) = (policy(text), Store::in_memory());
    for expected in ["allow", "allow", "approve after two"] {
        assert_eq!(told(&made(&policy, SOMEONE, &store).await), expected);
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
        let told = told(&made(&policy(&text), SOMEONE, &store).await);
        assert!(
            told.starts_with("deny") && told.contains("cannot be counted just now"),
            "{told}"
        );
    }
    assert_eq!(
        told(&made(&policy("version: '1'"), SOMEONE, &store).await),
        "allow"
    );
    // A rule that only tells has no say here either.
    let text = "version: '1'\ntools: { create-label: { limits: [{ counter: y, max: 9, window: day }] } }\n\
                rules: [{ name: r, action: shadow, would: deny, when: counters.y == 0 }]";
    let decision = made(&policy(text), SOMEONE, &store).await;
    assert_eq!(told(&decision), "allow");
    let [shadow] = &decision.shadows[..] else {
        panic!("{:?}", decision.shadows)
    };
    assert!(shadow.message.contains("cannot be read"), "{shadow:?}");
}
