//! The Portkey Admin API, one room per domain.
//!
//! To add an endpoint: find its room, add a row to the room's table and a struct below it, run
//! `UPDATE=1 cargo test`, and commit the schema and the call it wrote. See [`crate::operation`].
//!
//! The facts behind names, hints, scopes and units come from Portkey's OpenAPI document and from
//! what its live API was seen to do where the two differ.

pub mod agent_servers;
pub mod deployments;
pub mod guardrails;
pub mod integrations;
pub mod mcp_integrations;
pub mod mcp_registry;
pub mod mcp_servers;
pub mod model_pricing;
pub mod providers;
pub mod shared;

use crate::operation::Operation;

/// A domain of the Admin API.
#[derive(Debug)]
pub struct Domain {
    /// Its name, as listings and `tool-schemas/` have it.
    pub name: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// Its operations.
    pub operations: &'static [Operation],
}

/// Every room of the house.
pub const DOMAINS: &[Domain] = &[
    domain(
        "agent-servers",
        "Agents behind the gateway, as they describe themselves.",
        agent_servers::OPERATIONS,
    ),
    domain(
        "deployments",
        "Gateways that run outside Portkey, and their credentials.",
        deployments::OPERATIONS,
    ),
    domain(
        "guardrails",
        "Checks on what goes to models and tools and comes back.",
        guardrails::OPERATIONS,
    ),
    domain(
        "integrations",
        "AI-provider credentials, their models and who may use them.",
        integrations::OPERATIONS,
    ),
    domain(
        "mcp-integrations",
        "MCP servers registered behind the gateway.",
        mcp_integrations::OPERATIONS,
    ),
    domain(
        "mcp-registry",
        "MCP servers in the format of the public MCP Registry.",
        mcp_registry::OPERATIONS,
    ),
    domain(
        "mcp-servers",
        "An MCP integration lent to one workspace, its tools and its users.",
        mcp_servers::OPERATIONS,
    ),
    domain(
        "model-pricing",
        "Public list prices and abilities of models; no key needed.",
        model_pricing::OPERATIONS,
    ),
    domain(
        "providers",
        "An integration lent to one workspace, with its limits.",
        providers::OPERATIONS,
    ),
];

const fn domain(
    name: &'static str,
    about: &'static str,
    operations: &'static [Operation],
) -> Domain {
    Domain { name, about, operations }
}
