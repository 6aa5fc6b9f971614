//! MCP registry: a workspace's MCP servers, in the format of the public MCP Registry.

use portkey_operation::{ApiBase, Operation, StartTime, get};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `mcp-registry`.
pub const OPERATIONS: &[Operation] = &[get::<ListServers>("list-registry-mcp-servers", "/servers")
    .with_search_terms(&[
        "discovery",
        "server.json",
        "directory",
        "catalogue for clients",
        "publish",
        "discover",
    ])
    .with_base(ApiBase::Registry)
    .returns_untrusted_content()
    .scopes(&["mcp_servers.list"])];

/// List MCP servers in registry format
///
/// Returns what the public MCP Registry would of a workspace's MCP servers, for clients that read it
/// (beta); to manage them use `list-mcp-servers`.
#[derive(Deserialize, JsonSchema)]
pub struct ListServers {
    /// Items per page; default 50.
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<u32>,
    /// `metadata.nextCursor` of the page before.
    pub cursor: Option<String>,
    /// Part of the name.
    pub search: Option<String>,
    /// Only those changed since; RFC 3339.
    pub updated_since: Option<StartTime>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}
