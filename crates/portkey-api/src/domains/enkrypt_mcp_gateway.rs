//! Enkrypt AI's MCP gateways: the MCP servers behind them, and the guardrails around their tools.
//!
//! This API belongs to another company than Portkey, and has a host and a key of its own. See
//! "Enkrypt AI" in docs/portkey-api-notes.md. Endpoints that are known by name only are left out:
//! creating, listing and removing gateways, and writing to the registry.

use portkey_operation::{ApiBase, Findings, JsonMap, Nullable, Operation, Secret, get, patch};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `enkrypt-mcp-gateway`.
pub const OPERATIONS: &[Operation] = &[
    get::<NamedGateway>("get-mcp-gateway", STORED_GATEWAY_PATH).with_search_terms(&["tools behind Enkrypt", "saved definition", "show", "is it enabled"])
        .with_base(ApiBase::Enkrypt)
        .with_header_arguments(GATEWAY_HEADERS)
        .with_docs(
            "Get an Enkrypt AI MCP gateway",
            "Returns one MCP gateway of Enkrypt AI as it is stored: its servers, its guardrails \
             policies and whether it is active.",
        )
        .aliases(&["get-gateway"])
        .with_secret_fields(&["servers_config"]),
    get::<NamedGateway>("get-mcp-gateway-config", "/mcp-gateway/get-gateway-config").with_search_terms(&["effective configuration", "running state", "resolved settings", "Enkrypt runtime"])
        .with_base(ApiBase::Enkrypt)
        .with_header_arguments(GATEWAY_HEADERS)
        .with_docs(
            "Get what an Enkrypt AI MCP gateway runs on",
            "Returns one MCP gateway of Enkrypt AI as it runs: each server with its command, tools and \
             the policies that apply. Has credentials in clear text.",
        )
        .aliases(&["get-gateway-config"])
        .returns_untrusted_content()
        .with_secret_fields(&["common_overrides", "expanded_servers[]", "expanded_servers[].mcp_config.config.env.*"])
        .with_sensitive_fields(&["common_overrides", "expanded_servers", "request_context"]),
    get::<GetRegistryServer>("get-mcp-registry-server", "/mcp-registry/get-server").with_search_terms(&["Enkrypt catalogue", "look up", "registry entry", "find"])
        .with_base(ApiBase::Enkrypt)
        .with_header_arguments(&[
            ("server", "x-enkrypt-mcp-registry-server"),
            ("server_version", "x-enkrypt-mcp-registry-server-version"),
            ("registry", "x-enkrypt-mcp-registry"),
            ("project", PROJECT_HEADER),
        ])
        .returns_untrusted_content()
        .with_secret_fields(&["mcp_config", "mcp_config.config.env.*"])
        .with_sensitive_fields(&["mcp_config"]),
    patch::<ModifyMcpGateway>("modify-mcp-gateway", "/mcp-gateway/modify-gateway").without_patch("its arguments are a merge patch already, and `preview: true` shows the outcome").without_undo("call it with the old values, which `get-change` shows").with_search_terms(&["turn off", "turn on", "switch", "disable", "add server to Enkrypt", "edit"])
        .with_base(ApiBase::Enkrypt)
        .with_header_arguments(GATEWAY_HEADERS)
        .with_rule(require_change)
        .with_preview(STORED_GATEWAY_PATH, portkey_merge_patch::gateway::merge)
        .with_secret_fields(&["servers_config"])
        .destructive()
        .aliases(&["modify-gateway"]),
];

/// The path that returns a gateway as it is stored.
const STORED_GATEWAY_PATH: &str = "/mcp-gateway/get-gateway";
const PROJECT_HEADER: &str = "x-enkrypt-project";
/// Headers that name a gateway. Its path does not.
const GATEWAY_HEADERS: &[(&str, &str)] = &[
    ("gateway", "x-enkrypt-mcp-gateway"),
    ("gateway_version", "x-enkrypt-mcp-gateway-version"),
    ("project", PROJECT_HEADER),
];

/// The name of a gateway, which is all that a read of it takes.
#[derive(Deserialize, JsonSchema)]
pub struct NamedGateway {
    /// Its saved_name.
    ///
    /// Required: Enkrypt AI's API names a gateway by this header alone.
    #[schemars(length(max = 32))]
    pub gateway: String,
    /// Part of the name: `v1` when left out, and then no other version is found.
    pub gateway_version: Option<String>,
    /// The key's when left out.
    pub project: Option<String>,
}

/// Get a server of Enkrypt AI's MCP registry
///
/// Returns one MCP server that gateways of Enkrypt AI (not of Portkey) can use: its command, tools and
/// policies. Has credentials in clear text.
#[derive(Deserialize, JsonSchema)]
pub struct GetRegistryServer {
    /// Its saved_name.
    ///
    /// Required: Enkrypt AI's API names a server by this header alone.
    pub server: String,
    /// Part of the name: `v1` when left out.
    pub server_version: Option<String>,
    /// `default` when left out.
    pub registry: Option<String>,
    /// The key's when left out.
    pub project: Option<String>,
}

/// Change an Enkrypt AI MCP gateway
///
/// Merges what is given into one MCP gateway of Enkrypt AI and returns the outcome. What is left out
/// stays; null deletes, at any depth. Servers are matched by saved_name and server_version: new ones are
/// added, unnamed ones stay, `_delete` takes one off. A policy needs enabled, guardrail_name
/// and block at once: one left out may be lost; block is replaced whole, additional_config merges by
/// key. Preview first: nothing guards against other writers. A running gateway follows in 10 minutes.
#[derive(Deserialize, JsonSchema)]
pub struct ModifyMcpGateway {
    /// Its saved_name.
    ///
    /// Required: Enkrypt AI's API names a gateway by this header alone.
    #[schemars(length(max = 32))]
    pub gateway: String,
    /// Part of the name: `v1` when left out, and then no other version is found.
    pub gateway_version: Option<String>,
    /// The key's when left out.
    pub project: Option<String>,
    /// Servers and policies.
    pub servers_config: Nullable<ServersConfig>,
    /// False stops the gateway.
    pub is_active: Option<bool>,
    /// Whether it is a sample.
    pub is_sample: Option<bool>,
    /// True changes nothing and returns the gateway as stored and as merged.
    pub preview: Option<bool>,
}

/// The part of a gateway that says what is behind it.
#[derive(Deserialize, JsonSchema)]
pub struct ServersConfig {
    /// Policies that win over those of every server.
    pub common_overrides: Nullable<CommonOverrides>,
    /// Those to add, change or take off.
    pub servers: Nullable<Vec<Server>>,
}

/// Policies for all servers.
#[derive(Deserialize, JsonSchema)]
pub struct CommonOverrides {
    /// For what tools are called with.
    pub input_guardrails_config: Nullable<Policy>,
    /// For what tools answer.
    pub output_guardrails_config: Nullable<Policy>,
    /// For how tools describe themselves.
    pub server_tools_guardrails_config: Nullable<Policy>,
}

/// input_guardrails_config and output_guardrails_config as in common_overrides.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Server {
    /// Which.
    ///
    /// Required: Enkrypt AI's API matches servers by it.
    pub saved_name: String,
    pub server_version: Option<String>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub input_guardrails_config: Nullable<Policy>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub output_guardrails_config: Nullable<Policy>,
    #[serde(rename = "_delete")]
    pub delete: Option<bool>,
}

/// A guardrail and the detectors that block.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Policy {
    pub enabled: Nullable<bool>,
    pub guardrail_name: Nullable<String>,
    pub additional_config: Nullable<Secret<JsonMap>>,
    pub block: Nullable<Vec<String>>,
}

/// Rejects a call that names no change: it would come back as if it had worked.
///
/// Without `preview`, the general check of updates finds this already.
fn require_change(args: &JsonMap, findings: &mut Findings) {
    let fields = ["servers_config", "is_active", "is_sample"];
    if args.contains_key("preview") && !fields.iter().any(|field| args.contains_key(*field)) {
        findings.add_error("", "nothing to change is given: takes at least one of `servers_config`, `is_active`, `is_sample`");
    }
}
