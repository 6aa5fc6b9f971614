//! Agent servers: agent integrations as one workspace uses them, with their self-descriptions.
//!
//! All but the card are preview operations, as in the domain `agent-integrations`.

use portkey_operation::{
    Effect, JsonMap, Operation, Risk, Stability, TextOr, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::mcp_servers::DefaultAccess;

/// Operations of the domain `agent-servers`.
pub const OPERATIONS: &[Operation] = &[
    get::<GetCard>(
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
    .scopes(&["agent_servers.read"]),
    get::<ListAgentServers>("list-agent-servers", "/agent-servers")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "bots of a team", "assistants", "Agenten eines Teams"]),
    post::<CreateAgentServer>("create-agent-server", "/agent-servers")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "give team a bot", "provision", "Agent bereitstellen"]),
    put::<UpdateAgentServer>("update-agent-server", "/agent-servers/{agent_server_id}")
        .without_patch("no operation reads a single agent server")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "rename a bot", "retitle", "umbenennen"]),
    delete::<DeleteAgentServer>("delete-agent-server", "/agent-servers/{agent_server_id}")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "take a bot away", "unregister", "Agent löschen"]),
    get::<ListSkills>(
        "list-agent-server-skills",
        "/agent-servers/{agent_server_id}/skills",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "abilities", "what a bot does", "Fähigkeiten"])
    .returns_untrusted_content(),
    put::<UpdateSkills>(
        "bulk-update-agent-server-skills",
        "/agent-servers/{agent_server_id}/skills",
    )
    .with_risks(&[risk(
        Risk::Privilege,
        "changes which skills of the agent are open",
    )])
    .without_patch("Portkey has not documented what becomes of the entries that it does not name")
    .with_stability(Stability::Preview)
    .with_search_terms(&[
        "A2A",
        "limit abilities",
        "restrict a bot",
        "Fähigkeiten sperren",
    ]),
    post::<TestAgentServer>("test-agent-server", "/agent-servers/{agent_server_id}/test")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "ping", "reachable", "health check"])
        .with_effect(Effect::Read)
        .open_world(),
    get::<ListUserAccess>(
        "list-agent-server-user-access",
        "/agent-servers/{agent_server_id}/user-access",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "allowed people", "ACL", "Berechtigungen"])
    .with_sensitive_fields(&["data[].user_id", "data[].first_name", "data[].last_name"]),
    put::<UpdateUserAccess>(
        "bulk-update-agent-server-user-access",
        "/agent-servers/{agent_server_id}/user-access",
    )
    .with_risks(&[risk(Risk::Privilege, "changes who may use the agent")])
    .without_patch("Portkey has not documented what becomes of the entries that it does not name")
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "block person", "permit", "Person sperren"]),
];

/// Get an agent server's card
///
/// Returns the agent card of the agent behind it: its name, URL and skills. Cards over 1 MB are
/// refused.
#[derive(Deserialize, JsonSchema)]
pub struct GetCard {
    /// UUID or slug.
    pub agent_server_id: String,
}

/// List agent servers
///
/// Returns a workspace's agent servers, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListAgentServers {
    /// Only this workspace's; UUID or slug.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
    /// Comma-separated UUIDs to look among.
    pub id: Option<String>,
    /// Part of the name.
    #[schemars(length(max = 255))]
    pub search: Option<String>,
}

/// Create an agent server
///
/// Lends an agent integration that is open to the workspace; returns id and slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreateAgentServer {
    /// Name.
    ///
    /// Required: the description of the backend.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Agent integration UUID or slug.
    ///
    /// Required: the description of the backend.
    pub agent_integration_id: String,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// What it is for.
    #[schemars(length(max = 500))]
    pub description: Option<String>,
    /// Default: made from the name.
    #[schemars(length(min = 3, max = 50), regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
}

/// Update an agent server
///
/// Changes name or description and keeps what is left out.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateAgentServer {
    /// UUID or slug.
    pub agent_server_id: String,
    /// Name.
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// What it is for.
    #[schemars(length(max = 500))]
    pub description: Option<String>,
}

/// Delete an agent server
///
/// Removes the agent server; clients of it are cut off. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteAgentServer {
    /// UUID or slug.
    pub agent_server_id: String,
}

/// List an agent server's skills
///
/// Returns the skills of the agent behind it, and whether each may be used here.
#[derive(Deserialize, JsonSchema)]
pub struct ListSkills {
    /// UUID or slug.
    pub agent_server_id: String,
}

/// Update agent server skills
///
/// Says which skills of the agent may be used through this server.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateSkills {
    /// UUID or slug.
    pub agent_server_id: String,
    /// Ids of the skills.
    ///
    /// Required: the description of the backend.
    pub skills: Vec<TextOr<JsonMap>>,
}

/// Test an agent server
///
/// Makes Portkey contact the agent, and returns whether it answered.
#[derive(Deserialize, JsonSchema)]
pub struct TestAgentServer {
    /// UUID or slug.
    pub agent_server_id: String,
}

/// List an agent server's user access
///
/// Returns the users of the organisation, and who may use the agent server.
#[derive(Deserialize, JsonSchema)]
pub struct ListUserAccess {
    /// UUID or slug.
    pub agent_server_id: String,
}

/// Update agent server user access
///
/// Allows or denies users, and sets what holds of the others.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-at-least-one" = ["user_access", "default_user_access"]))]
pub struct UpdateUserAccess {
    /// UUID or slug.
    pub agent_server_id: String,
    /// User UUIDs to allow.
    pub user_access: Option<Vec<TextOr<JsonMap>>>,
    /// What holds of everyone else.
    pub default_user_access: Option<DefaultAccess>,
}
