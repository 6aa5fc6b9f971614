//! Agent integrations: agents registered once and shared with workspaces.
//!
//! Preview: the endpoints come from a description of Portkey's backend that Portkey has not published as
//! documentation. Its lists of skills and workspaces say no more than that their items are texts, so other
//! forms pass, too.

use portkey_operation::{
    Effect, JsonMap, Open, Operation, Risk, Secret, Stability, TextOr, UpdateField, UpdateRules,
    delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::Owner;

/// Operations of the domain `agent-integrations`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListAgentIntegrations>("list-agent-integrations", "/agent-integrations")
        .with_stability(Stability::Preview)
        .with_search_terms(&["A2A", "registered bots", "assistants", "Agenten anzeigen"])
        .with_secret_fields(&["data[].configurations"]),
    post::<CreateAgentIntegration>("create-agent-integration", "/agent-integrations")
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "A2A",
            "onboard a bot",
            "connect assistant",
            "Agent anmelden",
        ]),
    get::<GetAgentIntegration>(
        "get-agent-integration",
        "/agent-integrations/{agent_integration_id}",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "bot details", "inspect assistant", "Agent ansehen"])
    .with_secret_fields(&["configurations"]),
    put::<UpdateAgentIntegration>(
        "update-agent-integration",
        "/agent-integrations/{agent_integration_id}",
    )
    .with_risks(&[
        risk(Risk::Privilege, "changes how callers sign in to the agent").if_given("auth_type"),
        risk(
            Risk::Secret,
            "may replace stored credentials and headers of an agent",
        )
        .if_given("configurations"),
    ])
    .with_update(
        UpdateRules::read_by("get-agent-integration")
            .with_fields(&[
                UpdateField::merged("configurations"),
                UpdateField::write_only("agent_card"),
            ])
            .with_addresses(&["url", "configurations", "agent_card"]),
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "edit bot", "new agent address", "Agent ändern"]),
    delete::<DeleteAgentIntegration>(
        "delete-agent-integration",
        "/agent-integrations/{agent_integration_id}",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "unregister bot", "drop assistant", "Agent entfernen"]),
    get::<ListSkills>(
        "list-agent-integration-skills",
        "/agent-integrations/{agent_integration_id}/skills",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "abilities", "what a bot offers", "Fähigkeiten"])
    .returns_untrusted_content(),
    put::<UpdateSkills>(
        "bulk-update-agent-integration-skills",
        "/agent-integrations/{agent_integration_id}/skills",
    )
    .with_risks(&[risk(
        Risk::Privilege,
        "changes which skills of the agent are open",
    )])
    .without_patch("Portkey has not documented what becomes of the entries that it does not name")
    .with_stability(Stability::Preview)
    .with_search_terms(&[
        "A2A",
        "allow abilities",
        "restrict a bot",
        "Fähigkeiten freigeben",
    ]),
    get::<ListWorkspaces>(
        "list-agent-integration-workspaces",
        "/agent-integrations/{agent_integration_id}/workspaces",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "teams with a bot", "shared with whom", "Freigaben"]),
    put::<UpdateWorkspaces>(
        "bulk-update-agent-integration-workspaces",
        "/agent-integrations/{agent_integration_id}/workspaces",
    )
    .with_risks(&[risk(
        Risk::Privilege,
        "changes which workspaces reach the agent",
    )])
    .without_patch("Portkey has not documented what becomes of the entries that it does not name")
    .with_stability(Stability::Preview)
    .with_search_terms(&["A2A", "share a bot", "open to team", "Agent freigeben"])
    .destructive(),
    post::<FetchAgentCard>("fetch-agent-card", "/agent-integrations/fetch-agent-card")
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "A2A",
            "discover a bot",
            "well-known",
            "Agentenkarte abrufen",
        ])
        .with_effect(Effect::Read)
        .open_world()
        .returns_untrusted_content(),
];

/// List agent integrations
///
/// Returns the agents that are registered, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListAgentIntegrations {
    /// Whose agents.
    #[serde(rename = "type")]
    pub owner: Option<Owner>,
    /// Only those this workspace can use; UUID or slug.
    pub workspace_id: Option<String>,
    /// Items per page.
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Part of the name.
    pub search: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
}

/// Create an agent integration
///
/// Registers an agent by its URL; returns id and slug. Next open it to workspaces with
/// `bulk-update-agent-integration-workspaces`.
#[derive(Deserialize, JsonSchema)]
pub struct CreateAgentIntegration {
    /// Name.
    ///
    /// Required: the description of the backend.
    pub name: String,
    /// URL of the agent.
    ///
    /// Required: the description of the backend.
    pub url: String,
    /// How the gateway signs in.
    ///
    /// Required: the description of the backend.
    pub auth_type: Open<AgentAuth>,
    /// Default: made from the name.
    #[schemars(regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Headers and other settings of the sign-in.
    pub configurations: Option<Secret<JsonMap>>,
    /// Its card, as `fetch-agent-card` returns it.
    pub agent_card: Option<JsonMap>,
    /// Workspace to keep it to.
    pub workspace_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
}

/// How the gateway authenticates to an agent.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AgentAuth {
    OauthAuto,
    OauthClientCredentials,
    Headers,
    None,
}

/// Get an agent integration
///
/// Returns one agent with its settings, secrets hidden.
#[derive(Deserialize, JsonSchema)]
pub struct GetAgentIntegration {
    /// UUID or slug.
    pub agent_integration_id: String,
}

/// Update an agent integration
///
/// Changes the fields given and keeps the rest. Never resend a masked value.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateAgentIntegration {
    /// UUID or slug.
    pub agent_integration_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Headers and other settings of the sign-in.
    pub configurations: Option<Secret<JsonMap>>,
    /// URL of the agent.
    pub url: Option<String>,
    /// How the gateway signs in.
    pub auth_type: Option<Open<AgentAuth>>,
    /// Its card, as text or as an object.
    pub agent_card: Option<TextOr<JsonMap>>,
}

/// Delete an agent integration
///
/// Removes the agent; agent servers made from it stop working. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteAgentIntegration {
    /// UUID or slug.
    pub agent_integration_id: String,
}

/// List an agent integration's skills
///
/// Returns the skills of the agent's card, and whether each may be used.
#[derive(Deserialize, JsonSchema)]
pub struct ListSkills {
    /// UUID or slug.
    pub agent_integration_id: String,
}

/// Update agent integration skills
///
/// Says which skills of the agent may be used.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateSkills {
    /// UUID or slug.
    pub agent_integration_id: String,
    /// Ids of the skills.
    ///
    /// Required: the description of the backend.
    pub skills: Vec<TextOr<JsonMap>>,
}

/// List an agent integration's workspaces
///
/// Returns the workspaces that may use the agent.
#[derive(Deserialize, JsonSchema)]
pub struct ListWorkspaces {
    /// UUID or slug.
    pub agent_integration_id: String,
}

/// Update agent integration workspaces
///
/// Opens the agent to the workspaces named, or to all.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateWorkspaces {
    /// UUID or slug.
    pub agent_integration_id: String,
    /// Workspace UUIDs or slugs.
    ///
    /// Required: the description of the backend.
    pub workspaces: Vec<TextOr<JsonMap>>,
    /// All workspaces, present and future.
    pub global_workspace_access: Option<GlobalAccess>,
    /// True replaces the whole list.
    pub override_existing_workspace_access: Option<bool>,
}

/// Access of all workspaces.
#[derive(Deserialize, JsonSchema)]
pub struct GlobalAccess {
    /// True grants, false revokes.
    pub enabled: Option<bool>,
}

/// Fetch an agent's card
///
/// Reads the card that an agent publishes at its address, before it is registered.
#[derive(Deserialize, JsonSchema)]
pub struct FetchAgentCard {
    /// URL of the agent.
    ///
    /// Required: the description of the backend.
    pub endpoint: String,
    /// Organisation UUID.
    ///
    /// Required: the description of the backend.
    pub organisation_id: String,
    /// How to sign in.
    #[serde(rename = "authType")]
    pub auth_type: Option<Open<AgentAuth>>,
    /// Token to sign in with.
    #[serde(rename = "authToken")]
    pub auth_token: Option<Secret>,
    /// Header that carries the token.
    #[serde(rename = "authHeader")]
    pub auth_header: Option<String>,
}
