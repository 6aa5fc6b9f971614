//! Agent servers: agents behind the gateway, with their self-descriptions.

use portkey_operation::{Operation, get};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `agent-servers`.
pub const OPERATIONS: &[Operation] = &[get::<GetCard>(
    "get-agent-server-card",
    "/agent-servers/{agent_server_id}/agent-card",
)
.with_search_terms(&[
    "A2A",
    "agent capabilities",
    "agent profile",
    "what an agent can do",
    "Agentenkarte",
    "discovery document",
])
.scopes(&["agent_servers.read"])];

/// Get an agent server's card
///
/// Returns the agent card of the agent behind it: its name, URL and skills. Cards over 1 MB are
/// refused.
#[derive(Deserialize, JsonSchema)]
pub struct GetCard {
    /// UUID or slug.
    pub agent_server_id: String,
}
