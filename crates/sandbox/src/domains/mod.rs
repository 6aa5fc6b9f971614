//! Domains of the API: one module per domain, each a declaration with its special actions.
//!
//! A domain without special actions is a `static` [`Resource`] with its fields and views, a `DOMAIN`
//! that contains it, and an entry in [`ALL`]. Hooks and routes cover special behaviour.
//!
//! [`Resource`]: super::resource::Resource

pub(crate) mod access;
mod agent_cards;
mod agent_integrations;
mod agent_servers;
pub(crate) mod analytics;
pub(crate) mod api_keys;
pub(crate) mod audit_logs;
mod capabilities;
mod collections;
mod common_fields;
mod config_documents;
mod configs;
mod credentials;
mod deployments;
pub(crate) mod enkrypt_mcp_gateway;
mod feedback;
mod guardrails;
mod integrations;
mod labels;
mod log_exports;
mod logs;
mod mcp_integrations;
mod mcp_registry;
mod mcp_server_users;
pub(crate) mod mcp_servers;
mod model_pricing;
mod models;
mod organisation_defaults;
mod plugins;
mod policies;
mod prompt_documents;
mod prompt_partials;
mod prompt_runs;
mod prompt_tools;
mod prompts;
mod providers;
mod rate_limits_policies;
mod scim;
mod secret_references;
mod templates;
mod usage_limits_policies;
pub(crate) mod user_invites;
pub(crate) mod users;
mod versions;
mod virtual_keys;
mod workspace_exclusions;
mod workspace_members;
pub(crate) mod workspaces;

use super::route::Domain;

/// All domains that the sandbox implements.
pub(crate) const ALL: &[&Domain] = &[
    &agent_integrations::DOMAIN,
    &agent_servers::DOMAIN,
    &analytics::DOMAIN,
    &api_keys::DOMAIN,
    &audit_logs::DOMAIN,
    &collections::DOMAIN,
    &configs::DOMAIN,
    &deployments::DOMAIN,
    &enkrypt_mcp_gateway::DOMAIN,
    &feedback::DOMAIN,
    &guardrails::DOMAIN,
    &integrations::DOMAIN,
    &labels::DOMAIN,
    &log_exports::DOMAIN,
    &log_exports::FILES,
    &logs::DOMAIN,
    &mcp_integrations::DOMAIN,
    &mcp_registry::DOMAIN,
    &mcp_servers::DOMAIN,
    &model_pricing::DOMAIN,
    &organisation_defaults::DOMAIN,
    &plugins::DOMAIN,
    &prompt_partials::DOMAIN,
    &prompt_tools::DOMAIN,
    &prompts::DOMAIN,
    &providers::DOMAIN,
    &rate_limits_policies::DOMAIN,
    &scim::GROUPS,
    &scim::MAPPINGS,
    &secret_references::DOMAIN,
    &usage_limits_policies::DOMAIN,
    &user_invites::DOMAIN,
    &users::DOMAIN,
    &virtual_keys::DOMAIN,
    &workspace_exclusions::DOMAIN,
    &workspace_members::DOMAIN,
    &workspaces::DOMAIN,
];
