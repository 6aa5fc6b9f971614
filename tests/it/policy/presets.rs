//! The preset policies, evaluated for every operation.

use std::{fs, path::Path};

use portkey_operation::{Effect, Operation};
use serde_json::json;

use super::*;

/// From that Tuesday to the following Sunday.
const TUESDAY_TO_SUNDAY: Duration = Duration::from_secs(5 * 86_400);

fn read_preset(name: &str) -> Policy {
    let text = fs::read_to_string(Path::new("policies").join(name)).unwrap();
    let policy = parse_named_policy(name, &text);
    assert_eq!(policy.warnings(), [] as [String; 0], "{name}");
    policy
}

/// Checks the decision of a policy for each operation, without arguments.
async fn assert_every_operation(
    name: &str,
    caller: TestCaller<'_>,
    expected: impl Fn(&str, &Operation) -> &'static str,
) {
    let policy = read_preset(name);
    for entry in Catalog::full().iter() {
        let operation = entry.operation;
        let store = Store::in_memory();
        let call = (operation.name(), &json!({}));
        let decision = evaluate(&[&policy], caller, &store, call).await;
        let word = match &decision.decision {
            Decision::Deny(denied) => denied.stage.as_str(),
            other => other.kind().as_str(),
        };
        assert_eq!(
            word,
            expected(entry.domain.name, operation),
            "{name}: {operation:?}: {}",
            describe_decision(&decision)
        );
    }
}

#[tokio::test]
async fn read_only_preset_permits_only_reads() {
    assert_every_operation(
        "read-only.yaml",
        TEST_CALLER,
        |_, operation| match operation.effect() {
            Effect::Read => "allow",
            _ => "default",
        },
    )
    .await;
}

#[tokio::test]
async fn careful_preset_requires_approval_for_risky_writes() {
    let people = [
        "api-keys",
        "virtual-keys",
        "secret-references",
        "users",
        "user-invites",
        "workspace-members",
    ];
    for tainted in [false, true] {
        assert_every_operation(
            "careful.yaml",
            TestCaller {
                tainted,
                ..TEST_CALLER
            },
            |domain, operation| match operation.effect() {
                _ if operation.name().contains("-scim-") => "hidden",
                Effect::Read => "allow",
                Effect::Delete => "approve",
                _ if tainted || people.contains(&domain) => "approve",
                _ => "allow",
            },
        )
        .await;
    }
}

#[tokio::test]
async fn ci_preset_permits_deployments_without_deletes() {
    let deployed = [
        "configs",
        "prompts",
        "prompt-partials",
        "guardrails",
        "labels",
        "collections",
    ];
    assert_every_operation(
        "ci.yaml",
        TEST_CALLER,
        |domain, operation| match operation.effect() {
            Effect::Read => "allow",
            Effect::Create | Effect::Update if deployed.contains(&domain) => "allow",
            _ => "default",
        },
    )
    .await;
}

#[tokio::test]
async fn keys_preset_requires_approval_for_credentials() {
    let asked = [
        "api-keys",
        "virtual-keys",
        "secret-references",
        "integrations",
        "mcp-integrations",
    ];
    assert_every_operation(
        "keys-need-approval.yaml",
        TEST_CALLER,
        |domain, operation| {
            match (operation.name(), operation.effect()) {
                // The call names no expiry of the key.
                ("create-api-key", _) => "deny",
                (_, Effect::Read) => "allow",
                _ if asked.contains(&domain) => "approve",
                _ => "allow",
            }
        },
    )
    .await;
    let policy = read_preset("keys-need-approval.yaml");
    let key = |kind: &str, limit: u32| json!({ "type": kind, "expires_at": "2027-01-31T00:00:00Z", "usage_limits": { "credit_limit": limit } });
    for (args, expected) in [
        (key("workspace", 500), "approve credentials need approval"),
        (key("workspace", 501), "deny new keys have a spending limit"),
        (key("organisation", 5), "deny no admin keys"),
    ] {
        let store = Store::in_memory();
        let decision = describe_decision(
            &evaluate(&[&policy], TEST_CALLER, &store, ("create-api-key", &args)).await,
        );
        assert!(decision.starts_with(expected), "{args}: {decision}");
    }
}

#[tokio::test]
async fn business_hours_preset_permits_changes_in_hours() {
    for later in [Duration::ZERO, TUESDAY_TO_SUNDAY] {
        let caller = TestCaller {
            later,
            ..TEST_CALLER
        };
        assert_every_operation("business-hours.yaml", caller, |_, operation| {
            match (operation.effect(), later.is_zero()) {
                (Effect::Read, _) | (Effect::Create | Effect::Update, true) => "allow",
                (Effect::Create | Effect::Update, false) => "dry_run",
                (Effect::Delete, true) => "approve",
                (Effect::Delete, false) => "deny",
            }
        })
        .await;
    }
}

#[test]
fn every_preset_file_is_tested() {
    let names = fs::read_dir("policies")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    let held = [
        "business-hours.yaml",
        "careful.yaml",
        "ci.yaml",
        "keys-need-approval.yaml",
        "read-only.yaml",
    ];
    assert_eq!(names, held);
}
