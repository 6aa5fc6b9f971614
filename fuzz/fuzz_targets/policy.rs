//! Fuzzes policies: any text as a policy, evaluated for a call with any arguments. The evaluation
//! must not panic and must end in time. An additional rule that denies must not let more calls
//! pass.

#![no_main]

use std::{sync::LazyLock, time::SystemTime};

use libfuzzer_sys::fuzz_target;
use portkey_api::catalog::Catalog;
use portkey_mcp::observability::request::Transport;
use portkey_policy::{
    Decision, NO_CLAIMS, Policy, PolicyEvaluation, PolicyInput, PolicyTarget,
};
use portkey_store::Store;
use serde_json::Value;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

const TOOLS: [&str; 4] = [
    "get-config",
    "create-config",
    "update-config",
    "delete-config",
];

/// Splits the input. The first byte chooses the tool. The arguments come before a line of three
/// hyphens, the policy after that line.
fn parse_input(data: &[u8]) -> Option<(&'static str, Value, &str)> {
    let (choice, text) = data.split_first()?;
    let (args, policy) = std::str::from_utf8(text).ok()?.split_once("\n---\n")?;
    let tool = TOOLS.get(usize::from(*choice) % TOOLS.len())?;
    Some((tool, serde_json::from_str(args).ok()?, policy))
}

fn evaluate(policy: &Policy, tool: &str, args: &Value) -> Option<PolicyEvaluation> {
    let entry = CATALOG.find(tool).ok()?;
    let input = PolicyInput {
        target: PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        },
        claims: &NO_CLAIMS,
        source: None,
        called: None,
        unknown_fields: &[],
        args: args.as_object()?,
        principal: "someone",
        client: Some("fuzz"),
        transport: Transport::Http,
        session: None,
        time: SystemTime::UNIX_EPOCH,
        tainted: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    Some(runtime.block_on(policy.decide(&input, &Store::in_memory())))
}

const fn passes(evaluation: &PolicyEvaluation) -> bool {
    !matches!(evaluation.decision, Decision::Deny(_))
}

fuzz_target!(|data: &[u8]| {
    let Some((tool, args, text)) = parse_input(data) else {
        return;
    };
    let Ok(policy) = Policy::parse("fuzz", text, &CATALOG) else {
        return;
    };
    let Some(before) = evaluate(&policy, tool, &args) else {
        return;
    };
    let denying = format!(
        "{}\nall_tools: {{ limits: [{{ max: 0, window: day }}] }}",
        text.trim_end()
    );
    if let Ok(stricter) = Policy::parse("fuzz", &denying, &CATALOG) {
        let after = evaluate(&stricter, tool, &args);
        assert!(
            after.is_some_and(|after| !passes(&after)),
            "a limit of zero calls permitted a call"
        );
    }
    // A second evaluation gives the same decision, except for counted limits.
    let again = evaluate(&policy, tool, &args);
    assert_eq!(
        again.as_ref().map(passes),
        Some(passes(&before)),
        "two evaluations of one call differ"
    );
});
