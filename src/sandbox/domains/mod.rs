//! What there is to administer: one room per domain, each a declaration with its special actions.
//!
//! A domain that only creates, lists, reads, updates and deletes is a `static` [`Resource`] that
//! names its fields and what is shown of them, a `DOMAIN` that holds it, and a line in [`ALL`].
//! Hooks and routes are for what is special.
//!
//! [`Resource`]: super::resource::Resource

mod access;
mod agent_servers;
mod capabilities;
mod credentials;
mod deployments;
mod guardrails;
mod integrations;
mod mcp_integrations;
mod mcp_registry;
mod mcp_server_users;
pub(crate) mod mcp_servers;
mod model_pricing;
mod models;
mod parts;
mod providers;
pub(crate) mod workspaces;

use super::route::Domain;

/// Every domain the sandbox answers for.
pub(crate) const ALL: &[&Domain] = &[
    &agent_servers::DOMAIN,
    &deployments::DOMAIN,
    &guardrails::DOMAIN,
    &integrations::DOMAIN,
    &mcp_integrations::DOMAIN,
    &mcp_registry::DOMAIN,
    &mcp_servers::DOMAIN,
    &model_pricing::DOMAIN,
    &providers::DOMAIN,
    &workspaces::DOMAIN,
];
