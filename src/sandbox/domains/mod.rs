//! What there is to administer: one room per domain, each a declaration with its special actions.
//!
//! A domain that only creates, lists, reads, updates and deletes is a `static` [`Resource`] that
//! names its fields and what is shown of them, a `DOMAIN` that holds it, and a line in [`ALL`].
//! Hooks and routes are for what is special.
//!
//! [`Resource`]: super::resource::Resource

mod access;
mod analytics;
pub(crate) mod audit_logs;
mod capabilities;
mod credentials;
mod feedback;
mod integrations;
mod log_exports;
mod logs;
mod mcp_integrations;
mod models;
mod parts;
mod providers;
pub(crate) mod workspaces;

use super::route::Domain;

/// Every domain the sandbox answers for.
pub(crate) const ALL: &[&Domain] = &[
    &analytics::DOMAIN,
    &audit_logs::DOMAIN,
    &feedback::DOMAIN,
    &integrations::DOMAIN,
    &log_exports::DOMAIN,
    &logs::DOMAIN,
    &mcp_integrations::DOMAIN,
    &providers::DOMAIN,
    &workspaces::DOMAIN,
];
