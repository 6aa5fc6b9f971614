//! MCP servers: an MCP integration in one workspace, with its capabilities and users.

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{
    ArgumentAlias, Effect, JsonMap, Nullable, OneOrMany, Operation, Risk, UpdateField, UpdateRules,
    alias, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{CapabilityPage, CapabilitySwitch, key_field};
/// Operations of the domain `mcp-servers`.
///
/// Operations that read or write a user's OAuth tokens are left out on purpose: no agent should
/// hold them.
pub const OPERATIONS: &[Operation] = &[
    get::<ListMcpServers>("list-mcp-servers", "/mcp-servers")
        .with_search_terms(&[
            "connectors",
            "tool servers",
            "endpoints",
            "my servers",
            "Server anzeigen",
        ])
        .scopes(&["mcp_servers.list"]),
    post::<CreateMcpServer>("create-mcp-server", "/mcp-servers")
        .with_search_terms(&[
            "provision",
            "give team a connector",
            "expose",
            "make available",
            "Server bereitstellen",
        ])
        .scopes(&["mcp_servers.create"]),
    get::<GetMcpServer>("get-mcp-server", "/mcp-servers/{mcp_server_id}")
        .with_search_terms(&["endpoint", "connector", "address", "details", "inspect"])
        .scopes(READ_SCOPES)
        .with_secret_fields(&["mcp_integration_details.configurations"]),
    put::<UpdateMcpServer>("update-mcp-server", "/mcp-servers/{mcp_server_id}")
        .with_update(UpdateRules::read_by("get-mcp-server"))
        .with_search_terms(&["rename", "edit", "retitle", "umbenennen"])
        .scopes(UPDATE_SCOPES),
    delete::<DeleteMcpServer>("delete-mcp-server", "/mcp-servers/{mcp_server_id}")
        .with_search_terms(&[
            "connector",
            "unregister",
            "take away",
            "drop",
            "Server löschen",
        ])
        .scopes(&["mcp_servers.delete"]),
    get::<ListCapabilities>(
        "list-mcp-server-capabilities",
        "/mcp-servers/{mcp_server_id}/capabilities",
    )
    .with_search_terms(&["functions", "switched on", "available actions", "Werkzeuge"])
    .returns_untrusted_content()
    .scopes(READ_SCOPES),
    put::<UpdateCapabilities>(
        "bulk-update-mcp-server-capabilities",
        "/mcp-servers/{mcp_server_id}/capabilities",
    )
    .with_risks(&[risk(Risk::Privilege, "opens tools of the MCP server")
        .if_value("capabilities[].enabled", &["true"])])
    .with_update(
        UpdateRules::read_by("list-mcp-server-capabilities")
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
        "deactivate",
        "block function",
        "switch on",
        "Werkzeug abschalten",
    ])
    .aliases(&["update-mcp-server-capabilities"])
    .scopes(UPDATE_SCOPES),
    post::<SyncCapabilities>(
        "sync-mcp-server-capabilities",
        "/mcp-servers/{mcp_server_id}/capabilities/sync",
    )
    .without_patch("it performs an action and changes no field")
    .with_search_terms(&[
        "refresh tools",
        "reload",
        "push definitions",
        "update tool list",
        "aktualisieren",
    ])
    .with_effect(Effect::Update),
    get::<ListConnections>(
        "list-mcp-server-connections",
        "/mcp-servers/{mcp_server_id}/connections",
    )
    .with_search_terms(&[
        "who is logged in",
        "OAuth sessions",
        "authorised accounts",
        "logins",
        "angemeldet",
    ])
    .scopes(READ_SCOPES)
    .with_sensitive_fields(&["data[].user_id"]),
    delete::<DeleteConnection>(
        "delete-mcp-server-connection",
        "/mcp-servers/{mcp_server_id}/connections",
    )
    .with_search_terms(&[
        "log out",
        "sign out",
        "forget OAuth token",
        "disconnect user",
        "revoke session",
        "abmelden",
    ])
    .aliases(&["disconnect-mcp-server-connection"])
    .scopes(UPDATE_SCOPES),
    get::<GetMetadata>(
        "get-mcp-server-metadata",
        "/mcp-servers/{mcp_server_id}/metadata",
    )
    .with_search_terms(&["software version", "protocol", "freshness", "about"])
    .returns_untrusted_content()
    .scopes(READ_SCOPES),
    post::<SyncMetadata>(
        "sync-mcp-server-metadata",
        "/mcp-servers/{mcp_server_id}/metadata/sync",
    )
    .without_patch("it performs an action and changes no field")
    .with_search_terms(&["write info", "refresh", "push", "publish details"])
    .with_effect(Effect::Update),
    post::<TestMcpServer>("test-mcp-server", "/mcp-servers/{mcp_server_id}/test")
        .with_search_terms(&[
            "ping",
            "reachable",
            "respond",
            "alive",
            "health check",
            "Verbindung prüfen",
        ])
        .with_effect(Effect::Read)
        .open_world()
        .scopes(READ_SCOPES),
    get::<ListUserAccess>(
        "list-mcp-server-user-access",
        "/mcp-servers/{mcp_server_id}/user-access",
    )
    .with_search_terms(&[
        "who may use",
        "permissions",
        "allowed people",
        "ACL",
        "Berechtigungen",
    ])
    .scopes(READ_SCOPES)
    .with_sensitive_fields(&["data[].user_id", "data[].first_name", "data[].last_name"]),
    put::<UpdateUserAccess>(
        "bulk-update-mcp-server-user-access",
        "/mcp-servers/{mcp_server_id}/user-access",
    )
    .with_risks(&[risk(Risk::Privilege, "changes who may use the MCP server")])
    .with_update(
        UpdateRules::read_by("list-mcp-server-user-access")
            .with_read_arguments(&[("page_size", "500")])
            .with_fields(&[UpdateField::merged_entries(
                "user_access",
                "`enabled: false` denies a user",
            )
            .read_as("data")
            .withdrawn_by("enabled")])
            .with_lists(&[KeyedList::new(
                "user_access",
                &[EntryKey(&[key_field("user_id")])],
            )]),
    )
    .with_argument_aliases(ACCESS_ALIASES)
    .with_search_terms(&["ban", "block person", "permit", "revoke", "ACL", "sperren"])
    .aliases(&["update-mcp-server-user-access"])
    .scopes(UPDATE_SCOPES),
];

/// Names in other servers.
const ACCESS_ALIASES: &[ArgumentAlias] = &[alias("users", "user_access")];

const READ_SCOPES: &[&str] = &["mcp_servers.read"];
const UPDATE_SCOPES: &[&str] = &["mcp_servers.update"];

/// List MCP servers
///
/// Returns a workspace's MCP servers, one page at a time, with the gateway URL clients connect to.
#[derive(Deserialize, JsonSchema)]
pub struct ListMcpServers {
    /// Only this workspace's; UUID or slug.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
    /// Comma-separated UUIDs to look among.
    pub id: Option<String>,
    /// Part of the name.
    #[schemars(length(max = 255))]
    pub search: Option<String>,
}

/// Create an MCP server
///
/// Lends an MCP integration that is open to the workspace; returns id and slug. Every user may use it
/// until told otherwise.
#[derive(Deserialize, JsonSchema)]
pub struct CreateMcpServer {
    /// Name.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// MCP integration UUID or slug.
    ///
    /// Required: OpenAPI, whose minimal example has it.
    pub mcp_integration_id: String,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// What it is for.
    #[schemars(length(max = 500))]
    pub description: Nullable<String>,
    /// Unique in the organisation. Default: made from the name.
    #[schemars(length(min = 3, max = 50), regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
}

/// Get an MCP server
///
/// Returns one MCP server with the integration behind it, whose secrets are hidden.
#[derive(Deserialize, JsonSchema)]
pub struct GetMcpServer {
    /// UUID or slug.
    pub mcp_server_id: String,
}

/// Update an MCP server
///
/// Changes name or description and keeps what is left out; everything else is fixed.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateMcpServer {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Name.
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// What it is for.
    #[schemars(length(max = 500))]
    pub description: Nullable<String>,
}

/// Delete an MCP server
///
/// Removes the server with its switches and its users' connections; clients of it are cut off. This
/// cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteMcpServer {
    /// UUID or slug.
    pub mcp_server_id: String,
}

/// List an MCP server's capabilities
///
/// Returns its tools, prompts and resources, whether each is enabled here, and whether the
/// integration allows it (`integration_enabled`).
#[derive(Deserialize, JsonSchema)]
pub struct ListCapabilities {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Which of them.
    #[serde(flatten)]
    pub page: CapabilityPage,
}

/// Update MCP server capabilities
///
/// Enables or disables the capabilities named, for this server only, and leaves the others as they
/// are.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateCapabilities {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// What to change.
    ///
    /// Required: OpenAPI; it is all that the call takes.
    #[schemars(length(min = 1))]
    pub capabilities: Vec<CapabilitySwitch>,
}

/// Sync MCP server capabilities
///
/// Overwrites the server's stored catalogue with the capabilities given. Meant for gateways; to look
/// at a server use `test-mcp-server`.
#[derive(Deserialize, JsonSchema)]
pub struct SyncCapabilities {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Tools, prompts and resources, as the server lists them.
    pub capabilities: Option<Vec<JsonMap>>,
}

/// List an MCP server's connections
///
/// Returns which users have signed in to the server behind it, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListConnections {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Only this user.
    pub user_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 500))]
    pub page_size: Option<u32>,
}

/// Delete an MCP server connection
///
/// Drops one user's stored sign-in to the server; the user must sign in again.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteConnection {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// User UUID; a service key must give it, a user key means its own user.
    pub user_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}

/// Get MCP server metadata
///
/// Returns the upstream's name and versions, and when and how they were last synced.
#[derive(Deserialize, JsonSchema)]
pub struct GetMetadata {
    /// UUID or slug.
    pub mcp_server_id: String,
}

/// Sync MCP server metadata
///
/// Overwrites what is stored about the upstream with the fields given. Meant for gateways.
#[derive(Deserialize, JsonSchema)]
pub struct SyncMetadata {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Name the upstream reports.
    pub server_name: Option<String>,
    /// Its version.
    pub server_version: Option<String>,
    /// MCP protocol version.
    pub protocol_version: Option<String>,
    /// Display title.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Its website.
    pub website_url: Option<String>,
    /// Icons, as the upstream reports them.
    pub icons: Option<OneOrMany<JsonMap>>,
    /// MCP capabilities object of its handshake.
    pub capability_flags: Option<JsonMap>,
    /// Its instructions for models.
    pub instructions: Option<String>,
}

/// Test an MCP server
///
/// Lets Portkey connect to the upstream now and returns status and time taken; a failed connection is
/// an error with its cause.
#[derive(Deserialize, JsonSchema)]
pub struct TestMcpServer {
    /// UUID or slug.
    pub mcp_server_id: String,
}

/// List an MCP server's user access
///
/// Returns the workspace's users, whether each may use the server, and the default for those without
/// an override.
#[derive(Deserialize, JsonSchema)]
pub struct ListUserAccess {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// One-based page, unlike `current_page` elsewhere.
    #[schemars(range(min = 1))]
    pub page: Option<u32>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 500))]
    pub page_size: Option<u32>,
    /// Part of a user's name.
    pub search: Option<String>,
}

/// Update MCP server user access
///
/// Allows or denies the users named and leaves the others as they are. A default of `deny` cuts off
/// everyone without a setting of their own.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-at-least-one" = ["user_access", "default_user_access"]))]
pub struct UpdateUserAccess {
    /// UUID or slug.
    pub mcp_server_id: String,
    /// Users to change.
    pub user_access: Option<Vec<UserSwitch>>,
    /// For users without a setting of their own.
    pub default_user_access: Option<DefaultAccess>,
}

/// One user's access.
#[derive(Deserialize, JsonSchema)]
pub struct UserSwitch {
    /// User UUID.
    ///
    /// Required: OpenAPI.
    pub user_id: String,
    /// True allows, false denies.
    ///
    /// Required: OpenAPI; it is what changes.
    pub enabled: bool,
}

/// Access of users without a setting of their own.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum DefaultAccess {
    Allow,
    Deny,
}
