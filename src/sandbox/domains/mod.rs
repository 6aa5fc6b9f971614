//! What there is to administer: one room per domain, each a declaration with its special actions.
//!
//! A domain that only creates, lists, reads, updates and deletes is a `static` [`Resource`] that
//! names its fields and what is shown of them, a `DOMAIN` that holds it, and a line in [`ALL`].
//! Hooks and routes are for what is special.
//!
//! [`Resource`]: super::resource::Resource

mod access;
mod api_keys;
mod capabilities;
mod credentials;
mod integrations;
mod mcp_integrations;
mod models;
mod parts;
mod policies;
mod providers;
mod rate_limits_policies;
mod secret_references;
mod usage_limits_policies;
mod virtual_keys;
pub(crate) mod workspaces;

use super::route::Domain;

/// Every domain the sandbox answers for.
pub(crate) const ALL: &[&Domain] = &[
    &api_keys::DOMAIN,
    &integrations::DOMAIN,
    &mcp_integrations::DOMAIN,
    &providers::DOMAIN,
    &rate_limits_policies::DOMAIN,
    &secret_references::DOMAIN,
    &usage_limits_policies::DOMAIN,
    &virtual_keys::DOMAIN,
    &workspaces::DOMAIN,
];
