//! MCP integrations: MCP servers registered behind the gateway.

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{
    ArgumentAlias, Effect, JsonMap, Nullable, Open, Operation, Risk, Secret, UpdateField,
    UpdateRules, alias, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{
    CapabilityPage, CapabilitySwitch, Owner, REPLACES_LISTS, SECRET_MAPPING_LISTS, SecretMapping,
    key_field,
};
/// Operations of the domain `mcp-integrations`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListMcpIntegrations>("list-mcp-integrations", "/mcp-integrations")
        .with_search_terms(&[
            "tool servers",
            "connectors",
            "registered",
            "MCP catalogue",
            "Konnektoren",
        ])
        .with_secret_fields(&["data[].configurations"])
        .scopes(&[
            "organisation_mcp_integrations.list",
            "workspace_mcp_integrations.list",
        ]),
    post::<CreateMcpIntegration>("create-mcp-integration", "/mcp-integrations")
        .with_risks(&[
            risk(Risk::Secret, "uses stored secrets for an MCP server").if_given("secret_mappings")
        ])
        .with_argument_aliases(INTEGRATION_ALIASES)
        .with_search_terms(&[
            "onboard server",
            "add connector",
            "connect tool server",
            "plug in",
            "Server hinzufügen",
        ])
        .scopes(&[
            "organisation_mcp_integrations.create",
            "workspace_mcp_integrations.create",
        ]),
    get::<GetMcpIntegration>(
        "get-mcp-integration",
        "/mcp-integrations/{mcp_integration_id}",
    )
    .with_search_terms(&["connector", "url and auth", "headers", "details", "inspect"])
    .with_secret_fields(&["configurations"])
    .scopes(READ_SCOPES),
    put::<UpdateMcpIntegration>(
        "update-mcp-integration",
        "/mcp-integrations/{mcp_integration_id}",
    )
    .with_risks(&[
        risk(Risk::Secret, "changes which stored secrets are used").if_given("secret_mappings"),
        risk(
            Risk::Secret,
            "may replace stored credentials and headers of an MCP server",
        )
        .if_given("configurations"),
        risk(
            Risk::Privilege,
            "changes how callers sign in to the MCP server",
        )
        .if_given("auth_type"),
    ])
    .with_update(
        UpdateRules::read_by("get-mcp-integration")
            .with_fields(&[UpdateField::merged("configurations")])
            .with_lists(SECRET_MAPPING_LISTS)
            .with_addresses(&["url", "configurations"]),
    )
    .with_argument_aliases(INTEGRATION_ALIASES)
    .with_search_terms(&[
        "connector",
        "change address",
        "switch to OAuth",
        "edit",
        "new token",
    ])
    .scopes(UPDATE_SCOPES),
    delete::<DeleteMcpIntegration>(
        "delete-mcp-integration",
        "/mcp-integrations/{mcp_integration_id}",
    )
    .with_search_terms(&["unregister", "connector", "disconnect", "drop", "entfernen"])
    .scopes(&[
        "organisation_mcp_integrations.delete",
        "workspace_mcp_integrations.delete",
    ]),
    get::<ListCapabilities>(
        "list-mcp-integration-capabilities",
        "/mcp-integrations/{mcp_integration_id}/capabilities",
    )
    .with_search_terms(&[
        "functions",
        "what can it do",
        "connector tools",
        "available actions",
        "Werkzeuge",
    ])
    .returns_untrusted_content()
    .scopes(READ_SCOPES),
    put::<UpdateCapabilities>(
        "bulk-update-mcp-integration-capabilities",
        "/mcp-integrations/{mcp_integration_id}/capabilities",
    )
    .with_risks(&[risk(Risk::Privilege, "opens tools of the MCP server")
        .if_value("capabilities[].enabled", &["true"])])
    .with_update(
        UpdateRules::read_by("list-mcp-integration-capabilities")
            .with_read_arguments(&[("page_size", "500")])
            .with_fields(&[UpdateField::merged_entries(
                "capabilities",
                "`enabled: false` withdraws one",
            )
            .read_as("data")
            .withdrawn_by("enabled")])
            .with_lists(&[KeyedList::new(
                "capabilities",
                &[EntryKey(&[key_field("type"), key_field("name")])],
            )]),
    )
    .with_search_terms(&[
        "turn off tool",
        "block dangerous tool",
        "allow tool",
        "for everybody",
        "Werkzeug sperren",
    ])
    .aliases(&["update-mcp-integration-capabilities"])
    .scopes(UPDATE_SCOPES),
    get::<GetMetadata>(
        "get-mcp-integration-metadata",
        "/mcp-integrations/{mcp_integration_id}/metadata",
    )
    .with_search_terms(&[
        "last refresh",
        "freshness",
        "protocol",
        "upstream info",
        "connector",
    ])
    .returns_untrusted_content()
    .scopes(READ_SCOPES),
    post::<SyncMcpIntegration>(
        "sync-mcp-integration",
        "/mcp-integrations/{mcp_integration_id}/sync",
    )
    .without_patch("it performs an action and changes no field")
    .with_search_terms(&[
        "refresh",
        "upload catalogue",
        "push definitions",
        "reload",
        "aktualisieren",
    ])
    .with_effect(Effect::Update),
    post::<TestMcpIntegration>(
        "test-mcp-integration",
        "/mcp-integrations/{mcp_integration_id}/test",
    )
    .with_search_terms(&[
        "ping",
        "reachable",
        "check connection",
        "health",
        "try",
        "Verbindung prüfen",
    ])
    .with_effect(Effect::Read)
    .open_world()
    .scopes(&["organisation_mcp_integrations.read"]),
    get::<ListWorkspaces>(
        "list-mcp-integration-workspaces",
        "/mcp-integrations/{mcp_integration_id}/workspaces",
    )
    .with_search_terms(&[
        "who has access",
        "teams",
        "shared with",
        "permissions",
        "Freigaben",
    ])
    .scopes(&["organisation_mcp_integrations.read"]),
    put::<UpdateWorkspaces>(
        "bulk-update-mcp-integration-workspaces",
        "/mcp-integrations/{mcp_integration_id}/workspaces",
    )
    .with_risks(&[risk(
        Risk::Privilege,
        "changes which workspaces reach the MCP integration",
    )])
    .with_update(
        UpdateRules::read_by("list-mcp-integration-workspaces")
            .with_fields(&[
                UpdateField::merged_entries(
                    "workspaces",
                    "`enabled: false` revokes the access of a workspace",
                )
                .withdrawn_by("enabled"),
                UpdateField::excluded("override_existing_workspace_access", REPLACES_LISTS),
            ])
            .with_lists(&[KeyedList::new(
                "workspaces",
                &[EntryKey(&[key_field("id")])],
            )]),
    )
    .with_search_terms(&["share with team", "allow", "deny", "open up", "freigeben"])
    .destructive()
    .aliases(&["update-mcp-integration-workspaces"])
    .scopes(&["organisation_mcp_integrations.update"]),
];

/// Settings that other servers take by themselves, and names in the documents.
const INTEGRATION_ALIASES: &[ArgumentAlias] = &[
    alias("custom_headers", "configurations.custom_headers"),
    // So in Portkey's document on secret references.
    alias("server_url", "url"),
];

const READ_SCOPES: &[&str] = &[
    "organisation_mcp_integrations.read",
    "workspace_mcp_integrations.read",
];
const UPDATE_SCOPES: &[&str] = &[
    "organisation_mcp_integrations.update",
    "workspace_mcp_integrations.update",
];

/// List MCP integrations
///
/// Returns the MCP integrations the key can see, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListMcpIntegrations {
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Whose integrations.
    #[serde(rename = "type")]
    pub owner: Option<Owner>,
    /// Workspace UUID or slug.
    pub workspace_id: Option<String>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Part of the name, in any case.
    pub search: Option<String>,
}

/// Create an MCP integration
///
/// Registers an MCP server behind the gateway, for the organisation or for one workspace, and returns
/// its id and slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreateMcpIntegration {
    /// Name.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    pub name: String,
    /// URL of the MCP server.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    pub url: String,
    /// How the gateway signs in.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    pub auth_type: Open<AuthType>,
    /// Its MCP transport.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    pub transport: Open<Transport>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Workspace UUID to keep it to.
    pub workspace_id: Option<String>,
    /// Default: made from the name.
    #[schemars(regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
    /// What it is for.
    pub description: Nullable<String>,
    /// custom_headers {} sent upstream, passthrough_header {} of the caller, OAuth client settings.
    pub configurations: Option<Secret<JsonMap>>,
    /// From secret references.
    pub secret_mappings: Nullable<Vec<SecretMapping>>,
}

/// Get an MCP integration
///
/// Returns one MCP integration with its settings, secrets hidden.
#[derive(Deserialize, JsonSchema)]
pub struct GetMcpIntegration {
    /// UUID or slug.
    pub mcp_integration_id: String,
}

/// Update an MCP integration
///
/// Changes the fields given and keeps the rest. Settings read back are masked: do not resend them.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateMcpIntegration {
    /// UUID or slug.
    pub mcp_integration_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// What it is for.
    pub description: Nullable<String>,
    /// custom_headers {} sent upstream, passthrough_header {} of the caller, OAuth client settings.
    pub configurations: Option<Secret<JsonMap>>,
    /// URL of the MCP server.
    pub url: Option<String>,
    /// How the gateway signs in.
    pub auth_type: Option<Open<AuthType>>,
    /// Its MCP transport.
    pub transport: Option<Open<Transport>>,
    /// As in `create-mcp-integration`; `[]` removes all.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub secret_mappings: Nullable<Vec<SecretMapping>>,
}

/// How the gateway authenticates to an MCP server.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AuthType {
    OauthAuto,
    OauthClientCredentials,
    Headers,
    None,
}

/// The MCP transport of a server.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Transport {
    Http,
    Sse,
    Interactive,
}

/// Delete an MCP integration
///
/// Removes the integration; MCP servers made from it stop working. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteMcpIntegration {
    /// UUID or slug.
    pub mcp_integration_id: String,
}

/// List an MCP integration's capabilities
///
/// Returns the tools, prompts and resources the server offers and whether each is enabled.
#[derive(Deserialize, JsonSchema)]
pub struct ListCapabilities {
    /// UUID or slug.
    pub mcp_integration_id: String,
    /// Which of them.
    #[serde(flatten)]
    pub page: CapabilityPage,
}

/// Update MCP integration capabilities
///
/// Enables or disables the capabilities named and leaves the others as they are.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateCapabilities {
    /// UUID or slug.
    pub mcp_integration_id: String,
    /// What to change.
    ///
    /// Required: OpenAPI; it is all that the call takes.
    #[schemars(length(min = 1))]
    pub capabilities: Vec<CapabilitySwitch>,
}

/// Get MCP integration metadata
///
/// Returns the server's name and versions, and when and how its catalogue was last synced.
#[derive(Deserialize, JsonSchema)]
pub struct GetMetadata {
    /// UUID or slug.
    pub mcp_integration_id: String,
}

/// Sync an MCP integration
///
/// Overwrites the stored catalogue with the server information and capabilities given. Meant for
/// gateways; to look at a server use `test-mcp-integration`.
#[derive(Deserialize, JsonSchema)]
pub struct SyncMcpIntegration {
    /// UUID or slug.
    pub mcp_integration_id: String,
    /// Server name, version and protocol version.
    pub server_info: Option<JsonMap>,
    /// Its tools, prompts and resources.
    pub capabilities: Option<Vec<JsonMap>>,
}

/// Test an MCP integration
///
/// Lets Portkey connect to the server now and returns status and time taken; a failed connection is
/// an error with its cause.
#[derive(Deserialize, JsonSchema)]
pub struct TestMcpIntegration {
    /// UUID or slug.
    pub mcp_integration_id: String,
}

/// List an MCP integration's workspaces
///
/// Returns the workspaces that may use the integration, and the access new workspaces get.
#[derive(Deserialize, JsonSchema)]
pub struct ListWorkspaces {
    /// UUID or slug.
    pub mcp_integration_id: String,
    /// Any value: answer `data` and `total`, not `workspaces`.
    pub version: Option<String>,
}

/// Update MCP integration workspaces
///
/// Grants or revokes access for the workspaces named; the others keep theirs.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateWorkspaces {
    /// UUID or slug.
    pub mcp_integration_id: String,
    /// Access by workspace.
    ///
    /// Required: OpenAPI, which takes an empty list.
    pub workspaces: Vec<WorkspaceSwitch>,
    /// Access of all workspaces, present and future.
    pub global_workspace_access: Nullable<GlobalSwitch>,
    /// True replaces the whole list.
    pub override_existing_workspace_access: Option<bool>,
}

/// One workspace's access.
#[derive(Deserialize, JsonSchema)]
pub struct WorkspaceSwitch {
    /// Workspace UUID or slug.
    ///
    /// Required: OpenAPI.
    pub id: String,
    /// True grants, false revokes.
    ///
    /// Required: OpenAPI; it is what changes.
    pub enabled: bool,
}

/// Everyone's access.
#[derive(Deserialize, JsonSchema)]
pub struct GlobalSwitch {
    /// Whether all workspaces have access.
    pub enabled: Option<bool>,
}
