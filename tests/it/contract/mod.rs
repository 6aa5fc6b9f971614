//! The contract of every tool, checked against the sandbox without a line of test code per tool.
//!
//! **Walk.** Each domain has one test, which is named after it: `contract::integrations`. It starts a sandbox and a
//! proxy of its own ([`fixture`]), and calls each tool of the domain several times ([`walk`]): with the required
//! arguments, with all arguments in as many sets as it takes to use every enum value and every exclusive field, and
//! with `null` in all fields that can be cleared. A tool that changes something starts with a fresh sandbox.
//!
//! **Arguments.** [`generate`] makes them from the schema: texts are unique per field, so that a mix-up is noticed.
//! Where the schema does not suffice, a table says so. [`values`] has the values that a rule or the API accepts.
//! [`preconditions`] has what a value refers to (an item that another tool lists or creates), what must be called
//! before, and what the API requires although the schema does not. An argument that the validation refuses is left
//! out of that call, and must be accepted in another.
//!
//! **Comparisons.**
//!
//! - The arguments have the same meaning in every schema profile ([`profiles`]).
//! - One request is sent, to the documented method and path, with each argument once, unchanged, in the part of the
//!   request where the API expects it ([`wire`]).
//! - The sandbox answers with success. Some call returns an item, and no item has a field that is named like a secret
//!   and is not declared as one ([`secrets`]).
//! - The answer has the recorded shape ([`answers`]).
//! - Every field and enum value of the schema was part of a call that succeeded.
//!
//! [`validation`] checks the opposite for all tools at once: invalid arguments are not sent.
//!
//! **Skipped comparisons.** The records of the API are not part of this repository. Without them answers have nothing
//! to be compared with, and arguments travel where the calls under `tests/data/calls` have them. The last lines of
//! the run then say `skipped for want of records of the API`. Single comparisons that are skipped are printed with
//! their reasons: `cargo test --test it contract:: -- --nocapture` shows lines that begin with `not compared: `.
//! `EXCEPTIONS` and `SKIPPED_PARTS` list intended differences and untried parts; a row that is not needed is a fault.
//! A field that is `null` in an answer is not compared.

mod answers;
mod fixture;
pub(crate) mod generate;
mod patches;
mod preconditions;
mod profiles;
mod secrets;
mod validation;
pub(crate) mod values;
mod walk;
mod wire;

use std::{fs, path::Path};

use portkey_api::domains::DOMAINS;

use crate::{records, support::generated::check_generated_file};

/// Expands to one test for each domain.
macro_rules! domain_tests {
    ($($domain:ident)*) => {
        $(
            #[tokio::test]
            async fn $domain() {
                walk::check_domain(stringify!($domain)).await;
            }
        )*
    };
}

// `UPDATE=1` writes this list.
domain_tests! {
    agent_integrations
    agent_servers
    analytics_graphs
    analytics_groups
    analytics_summary
    api_keys
    audit_logs
    collections
    configs
    deployments
    enkrypt_mcp_gateway
    feedback
    guardrails
    integrations
    labels
    log_exports
    logs
    mcp_integrations
    mcp_registry
    mcp_servers
    metadata_values
    model_pricing
    organisation_defaults
    plugins
    prompt_partials
    prompt_tools
    prompts
    providers
    rate_limits_policies
    scim
    secret_references
    usage_limits_policies
    user_invites
    users
    virtual_keys
    workspace_exclusions
    workspace_members
    workspaces
}

#[test]
fn domain_tests_are_up_to_date() {
    const BEGIN: &str = "\ndomain_tests! {\n";
    let path = Path::new("tests/it/contract/mod.rs");
    let source = fs::read_to_string(path).unwrap();
    let (before, rest) = source.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once("}\n").unwrap();
    let names = DOMAINS.iter().map(|domain| domain.name.replace('-', "_"));
    let list: String = names.map(|name| format!("    {name}\n")).collect();
    check_generated_file(path, &format!("{before}{BEGIN}{list}}}\n{after}"));
}

/// Without records the test is reported as skipped at the end of the run.
#[test]
fn every_tool_has_a_record() {
    if records::are_missing() {
        return;
    }
    let mut unrecorded = Vec::new();
    for domain in DOMAINS {
        let records = records::read_records(domain.name).unwrap();
        let has_record = |tool: &str| records.iter().any(|record| record["id"] == tool);
        // The records have what Portkey documents; preview operations come from elsewhere.
        let tools = domain.stable_operations().map(|operation| operation.name());
        unrecorded.extend(tools.filter(|tool| !has_record(tool)));
    }
    assert!(
        unrecorded.is_empty(),
        "answers that are not compared: {unrecorded:?}"
    );
}
