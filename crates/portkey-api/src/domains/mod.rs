//! The domains of the Portkey Admin API, and one for Enkrypt AI's MCP gateways.
//!
//! To add an endpoint, add an entry to the `OPERATIONS` table of its domain and a struct below it.
//! Write one call under `tests/data/calls`, run `UPDATE=1 cargo test --test it up_to_date`, and
//! commit what it wrote. See CONTRIBUTING.md and [`portkey_operation`].
//!
//! Names, hints, scopes and units come from Portkey's OpenAPI document, and from live answers where
//! the two differ. docs/portkey-api-notes.md lists these differences and their sources.

pub mod agent_integrations;
pub mod agent_servers;
pub mod analytics_graphs;
pub mod analytics_groups;
pub mod analytics_summary;
pub mod api_keys;
pub mod audit_logs;
pub mod collections;
pub mod configs;
pub mod deployments;
pub mod enkrypt_mcp_gateway;
pub mod feedback;
pub mod guardrails;
pub mod integrations;
pub mod labels;
pub mod log_exports;
pub mod logs;
pub mod mcp_integrations;
pub mod mcp_registry;
pub mod mcp_servers;
pub mod metadata_values;
pub mod model_pricing;
pub mod organisation_defaults;
pub mod plugins;
pub mod prompt_partials;
pub mod prompt_tools;
pub mod prompts;
pub mod providers;
pub mod rate_limits_policies;
pub mod scim;
pub mod secret_references;
pub mod shared;
pub mod usage_limits_policies;
pub mod user_invites;
pub mod users;
pub mod virtual_keys;
pub mod workspace_exclusions;
pub mod workspace_members;
pub mod workspaces;

use portkey_operation::Operation;

/// A domain of the API: a kind of resource with its operations.
#[derive(Debug)]
pub struct Domain {
    /// The name of the domain in listings and in `tool-schemas/`.
    pub name: &'static str,
    /// The purpose of the domain, in one line.
    pub about: &'static str,
    /// The groups to which the domain belongs, out of [`GROUPS`]; at least one.
    pub groups: &'static [&'static str],
    /// The operations of the domain.
    pub operations: &'static [Operation],
}

impl Domain {
    /// Iterates over the operations that the vendor stands by.
    pub fn stable_operations(&self) -> impl Iterator<Item = &'static Operation> + use<> {
        self.operations
            .iter()
            .filter(|operation| operation.is_stable())
    }
}

/// All domains.
pub const DOMAINS: &[Domain] = &[
    domain(
        "agent-integrations",
        "Agents registered behind the gateway.",
        &["mcp"],
        agent_integrations::OPERATIONS,
    ),
    domain(
        "agent-servers",
        "Agents behind the gateway, as they describe themselves.",
        &["mcp"],
        agent_servers::OPERATIONS,
    ),
    domain(
        "analytics-graphs",
        "Requests, cost, tokens, latency and errors over time.",
        &["analytics"],
        analytics_graphs::OPERATIONS,
    ),
    domain(
        "analytics-groups",
        "Requests and cost per model, user, provider, workspace or metadata.",
        &["analytics"],
        analytics_groups::OPERATIONS,
    ),
    domain(
        "analytics-summary",
        "Figures of a whole period.",
        &["analytics"],
        analytics_summary::OPERATIONS,
    ),
    domain(
        "api-keys",
        "The keys that call Portkey: scopes, limits, rotation.",
        &["core", "keys"],
        api_keys::OPERATIONS,
    ),
    domain(
        "audit-logs",
        "Who changed what in the organisation.",
        &["governance"],
        audit_logs::OPERATIONS,
    ),
    domain(
        "collections",
        "Folders for a workspace's prompts.",
        &["prompts"],
        collections::OPERATIONS,
    ),
    domain(
        "configs",
        "How the gateway routes, retries and caches, in versions.",
        &["core", "gateway"],
        configs::OPERATIONS,
    ),
    domain(
        "deployments",
        "Gateways that run outside Portkey, and their credentials.",
        &["gateway"],
        deployments::OPERATIONS,
    ),
    domain(
        "enkrypt-mcp-gateway",
        "MCP gateways of Enkrypt AI; off unless an Enkrypt key is set or the sandbox runs.",
        &["mcp"],
        enkrypt_mcp_gateway::OPERATIONS,
    ),
    domain(
        "feedback",
        "Scores given to logged requests.",
        &["logs"],
        feedback::OPERATIONS,
    ),
    domain(
        "guardrails",
        "Checks on what goes to models and tools and comes back.",
        &["gateway", "governance"],
        guardrails::OPERATIONS,
    ),
    domain(
        "integrations",
        "AI-provider credentials, their models and who may use them.",
        &["core", "integrations"],
        integrations::OPERATIONS,
    ),
    domain(
        "labels",
        "Names such as `production` for prompt versions.",
        &["prompts"],
        labels::OPERATIONS,
    ),
    domain(
        "log-exports",
        "Jobs that write logs to a file.",
        &["logs"],
        log_exports::OPERATIONS,
    ),
    domain(
        "logs",
        "Requests to models and their answers.",
        &["logs"],
        logs::OPERATIONS,
    ),
    domain(
        "mcp-integrations",
        "MCP servers registered behind the gateway.",
        &["mcp"],
        mcp_integrations::OPERATIONS,
    ),
    domain(
        "mcp-registry",
        "MCP servers in the format of the public MCP Registry.",
        &["mcp"],
        mcp_registry::OPERATIONS,
    ),
    domain(
        "mcp-servers",
        "An MCP integration lent to one workspace, its tools and its users.",
        &["mcp"],
        mcp_servers::OPERATIONS,
    ),
    domain(
        "metadata-values",
        "What requests carried under a metadata key.",
        &["analytics", "logs"],
        metadata_values::OPERATIONS,
    ),
    domain(
        "model-pricing",
        "Public list prices and abilities of models; no key needed.",
        &["integrations"],
        model_pricing::OPERATIONS,
    ),
    domain(
        "organisation-defaults",
        "The guardrails of every workspace.",
        &["governance"],
        organisation_defaults::OPERATIONS,
    ),
    domain(
        "plugins",
        "Credentials of the partners that run guardrail checks.",
        &["gateway", "governance"],
        plugins::OPERATIONS,
    ),
    domain(
        "prompt-partials",
        "Texts that prompts share, in versions.",
        &["prompts"],
        prompt_partials::OPERATIONS,
    ),
    domain(
        "prompt-tools",
        "Function definitions that prompts offer to models, in versions.",
        &["prompts"],
        prompt_tools::OPERATIONS,
    ),
    domain(
        "prompts",
        "Templates in versions; published, rendered, run.",
        &["core", "prompts"],
        prompts::OPERATIONS,
    ),
    domain(
        "providers",
        "An integration lent to one workspace, with its limits.",
        &["core", "integrations"],
        providers::OPERATIONS,
    ),
    domain(
        "rate-limits-policies",
        "Rates that groups of requests may not exceed.",
        &["limits", "governance"],
        rate_limits_policies::OPERATIONS,
    ),
    domain(
        "scim",
        "Groups of an identity provider and the workspaces they get into.",
        &["people"],
        scim::OPERATIONS,
    ),
    domain(
        "secret-references",
        "Where in a secret manager Portkey finds a credential.",
        &["integrations", "keys"],
        secret_references::OPERATIONS,
    ),
    domain(
        "usage-limits-policies",
        "Budgets that groups of requests may not exceed, and what they have used.",
        &["limits", "governance"],
        usage_limits_policies::OPERATIONS,
    ),
    domain(
        "user-invites",
        "People asked to join the organisation.",
        &["people"],
        user_invites::OPERATIONS,
    ),
    domain(
        "users",
        "The people of the organisation and their roles.",
        &["people"],
        users::OPERATIONS,
    ),
    domain(
        "virtual-keys",
        "One provider credential for one workspace; superseded by integrations and providers.",
        &["integrations", "keys"],
        virtual_keys::OPERATIONS,
    ),
    domain(
        "workspace-exclusions",
        "Workspaces the organisation's guardrails leave alone.",
        &["governance"],
        workspace_exclusions::OPERATIONS,
    ),
    domain(
        "workspace-members",
        "Who is in a workspace, and with which role.",
        &["people"],
        workspace_members::OPERATIONS,
    ),
    domain(
        "workspaces",
        "The teams of the organisation, their limits and defaults.",
        &["core", "people"],
        workspaces::OPERATIONS,
    ),
];

/// The names of the groups of domains, by the responsibilities of people.
///
/// Each row of [`DOMAINS`] says to which groups its domain belongs. Tool filters mean the group if a
/// domain has the same name. Scopes name domains only.
pub const GROUPS: &[&str] = &[
    "core",
    "integrations",
    "mcp",
    "prompts",
    "gateway",
    "keys",
    "people",
    "limits",
    "analytics",
    "logs",
    "governance",
];

const fn domain(
    name: &'static str,
    about: &'static str,
    groups: &'static [&'static str],
    operations: &'static [Operation],
) -> Domain {
    Domain {
        name,
        about,
        groups,
        operations,
    }
}
