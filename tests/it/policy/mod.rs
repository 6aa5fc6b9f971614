//! Policies: the decisions of the language, and that they apply to every way to call a tool.

mod commands;
mod conditions;
mod enforcement;
mod expressions;
mod faults;
mod imports;
mod items;
mod limits;
mod listing;
mod order;
mod outside;
mod paths;
mod presets;
mod properties;
mod reach;
mod redacted_filters;
mod uncertain_outcomes;
mod verbs;

use std::time::{Duration, SystemTime};

use portkey_api::catalog::Catalog;
use portkey_mcp::observability::request::Transport;
use portkey_policy::{Decision, NO_CLAIMS, Policy, PolicyEvaluation, PolicyInput, PolicyTarget};
use portkey_store::Store;
use serde_json::Value;

/// Returns a Tuesday, 14:30 UTC.
fn tuesday_afternoon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_794_321_000)
}

fn parse_policy(text: &str) -> Policy {
    parse_named_policy("test.yaml", text)
}

fn parse_named_policy(name: &str, text: &str) -> Policy {
    Policy::parse(name, text, &Catalog::full()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The caller and its context; everything else is in the call.
#[derive(Clone, Copy)]
struct TestCaller<'a> {
    principal: &'a str,
    session: Option<&'a str>,
    transport: Transport,
    tainted: bool,
    /// Time after that Tuesday.
    later: Duration,
}

const TEST_CALLER: TestCaller<'static> = TestCaller {
    principal: "someone",
    session: None,
    transport: Transport::Http,
    tainted: false,
    later: Duration::ZERO,
};

async fn evaluate(
    policies: &[&Policy],
    caller: TestCaller<'_>,
    store: &Store,
    (tool, args): (&str, &Value),
) -> PolicyEvaluation {
    let catalog = Catalog::full();
    let entry = catalog.find(tool).unwrap();
    let facts = PolicyInput {
        target: PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        },
        claims: &NO_CLAIMS,
        source: None,
        called: None,
        unknown_fields: &[],
        args: args.as_object().unwrap(),
        principal: caller.principal,
        client: Some("test"),
        transport: caller.transport,
        session: caller.session,
        time: tuesday_afternoon() + caller.later,
        tainted: caller.tainted,
    };
    portkey_policy::decide(policies, &facts, store).await
}

/// Renders the decision as `allow`, `approve rule`, `dry_run rule`, or `deny rule: message`.
fn describe_decision(decision: &PolicyEvaluation) -> String {
    match &decision.decision {
        Decision::Allow => "allow".to_owned(),
        Decision::Approve(noted) => format!("approve {}", noted.rule.name),
        Decision::DryRun(noted) => format!("dry_run {}", noted.rule.name),
        Decision::Deny(denied) => format!("deny {}: {}", denied.rule.name, denied.message),
    }
}

/// A call, and the start of the decision about it.
struct DecisionCase<'a> {
    tool: &'a str,
    args: Value,
    expected: &'a str,
}

/// Checks the decisions of a policy.
async fn assert_decisions(text: &str, calls: &[DecisionCase<'_>]) {
    let policy = parse_policy(text);
    for DecisionCase {
        tool,
        args,
        expected,
    } in calls
    {
        let store = Store::in_memory();
        let decision =
            describe_decision(&evaluate(&[&policy], TEST_CALLER, &store, (tool, args)).await);
        assert!(
            decision.starts_with(expected),
            "{tool} {args}: {decision}, not {expected}\n{text}"
        );
    }
}
