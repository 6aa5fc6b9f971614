//! Guardrails: checks on the traffic to and from models and MCP tools, and their consequences.

pub mod catalogue;
mod checks;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use checks::Check;

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{
    Findings, JsonMap, Open, Operation, Risk, TextOr, UpdateRules, delete, get, post, put, risk,
};

use super::shared::key_field;

/// Operations of the domain `guardrails`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListGuardrails>("list-guardrails", "/guardrails")
        .with_search_terms(&[
            "safety checks",
            "content filters",
            "moderation rules",
            "protections",
            "Schutzregeln",
        ])
        .scopes(&["guardrails.list", "organisation_guardrails.list"]),
    post::<CreateGuardrail>("create-guardrail", "/guardrails")
        .with_search_terms(&[
            "content filter",
            "PII",
            "moderation",
            "block jailbreak",
            "safety check",
            "Schutzregel",
        ])
        .with_rule(check_new_guardrail)
        .scopes(&["guardrails.create", "organisation_guardrails.create"]),
    get::<GetGuardrail>("get-guardrail", "/guardrails/{guardrail_id}")
        .with_search_terms(&[
            "safety check details",
            "content filter",
            "moderation",
            "inspect",
            "Schutzregel",
        ])
        .scopes(&["guardrails.read", "organisation_guardrails.read"])
        .with_secret_fields(&["checks[].parameters"]),
    put::<UpdateGuardrail>("update-guardrail", "/guardrails/{guardrail_id}").with_update(GUARDRAIL_UPDATE)
        .with_search_terms(&[
            "content filter",
            "safety check",
            "moderation",
            "tweak",
            "PII",
            "Schutzregel ändern",
        ])
        .destructive()
        .with_rule(checks::validate_checks)
        .scopes(&["guardrails.update", "organisation_guardrails.update"]),
    delete::<DeleteGuardrail>("delete-guardrail", "/guardrails/{guardrail_id}")
        .with_search_terms(&[
            "content filter",
            "safety check",
            "moderation",
            "PII",
            "lift protection",
            "Schutzregel löschen",
        ])
        .scopes(&["guardrails.delete", "organisation_guardrails.delete"]),
    get::<ListMcpServers>(
        "list-guardrail-mcp-servers",
        "/guardrails/{guardrail_id}/mcp-servers",
    )
    .with_search_terms(&[
        "tools guarded",
        "watched servers",
        "protected",
        "coverage",
        "überwachte Server",
    ])
    .scopes(&["guardrails.read"]),
    put::<ReplaceMcpServers>(
        "replace-guardrail-mcp-servers",
        "/guardrails/{guardrail_id}/mcp-servers",
    ).with_update(UpdateRules::read_by("list-guardrail-mcp-servers"))
    .with_search_terms(&[
        "swap",
        "overwrite set",
        "whole list",
        "protect only these",
        "reassign",
    ])
    .destructive()
    .scopes(&["guardrails.update"]),
    put::<SetMcpServer>(
        "set-guardrail-mcp-server",
        "/guardrails/{guardrail_id}/mcp-servers/{mcp_server_id}",
    )
        .with_risks(&[
            risk(Risk::Production, "changes which calls of tools the guardrail sees"),
        ]).without_patch("no operation reads a single mapping; `replace-guardrail-mcp-servers` takes one for all of them")
    .with_search_terms(&[
        "protect",
        "attach",
        "guard tool calls",
        "add one",
        "watch",
        "link",
    ])
    .aliases(&["upsert-guardrail-mcp-server"])
    // The API requires it. Nothing passes unseen if the caller does not say.
    .with_default_arguments(&[("run_on", r#"["input", "output"]"#)])
    .scopes(&["guardrails.update"]),
];

/// Update rules of the resource that `get-guardrail` returns.
const GUARDRAIL_UPDATE: UpdateRules = UpdateRules::read_by("get-guardrail")
    .with_lists(CHECK_LISTS)
    .with_version("version_id")
    .with_create_only(&["workspace_id", "organisation_id", "target"])
    .with_addresses(&["checks"]);

/// Checks are told apart by their id, unless a guardrail has the same check twice.
const CHECK_LISTS: &[KeyedList] = &[KeyedList::new("checks", &[EntryKey(&[key_field("id")])])];

/// List guardrails
///
/// Returns a workspace's guardrails or the organisation's, one page at a time, without their checks.
#[derive(Deserialize, JsonSchema)]
pub struct ListGuardrails {
    /// Workspace UUID; an Admin key gives this or organisation_id.
    pub workspace_id: Option<String>,
    /// Organisation UUID, for the organisation's own guardrails.
    pub organisation_id: Option<String>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Comma-separated UUIDs to look among.
    pub ids: Option<String>,
}

/// Create a guardrail
///
/// Stores checks and what follows from them; returns id, slug and version. It runs where a config or
/// a workspace names it.
#[derive(Deserialize, JsonSchema)]
pub struct CreateGuardrail {
    /// Name.
    ///
    /// Required: OpenAPI, and its examples all have it.
    pub name: String,
    /// What to look for; as `actions`, required unless the target is `mcp_tools`.
    #[schemars(length(min = 1))]
    pub checks: Option<Vec<Check>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub actions: Option<Actions>,
    /// Workspace UUID to keep it to; the organisation's own without.
    pub workspace_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Traffic it looks at; fixed.
    pub target: Option<Open<Target>>,
}

/// What traffic a guardrail looks at.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Target {
    Llm,
    McpTools,
}

/// deny (blocks on failure), async (does not hold the request up, so cannot block), sequential; on_success,
/// on_fail {feedback {value, weight (0 to 1), metadata (text)}}. Or onFail (block, log, warn), onSuccess,
/// message.
///
/// What follows when checks pass or fail. The documents, OpenAPI's examples and Terraform's provider use
/// three forms: the full object, words under camelCase names with a message, and words under snake_case
/// names. All of them are taken, and nothing is required.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Actions {
    pub deny: Option<bool>,
    #[serde(rename = "async")]
    pub asynchronous: Option<bool>,
    pub sequential: Option<bool>,
    pub on_success: Option<TextOr<Consequence>>,
    pub on_fail: Option<TextOr<Consequence>>,
    #[serde(rename = "onFail")]
    pub word_on_fail: Option<TextOr<Consequence>>,
    #[serde(rename = "onSuccess")]
    pub word_on_success: Option<TextOr<Consequence>>,
    pub message: Option<String>,
}

/// feedback.
///
/// What is recorded after a verdict.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Consequence {
    pub feedback: Option<VerdictFeedback>,
}

/// value, weight, metadata.
///
/// The feedback a verdict leaves on the request.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct VerdictFeedback {
    pub value: Option<f64>,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: Option<f64>,
    pub metadata: Option<String>,
}

/// Get a guardrail
///
/// Returns one guardrail: its checks and what follows from them. One that does not exist is answered as not
/// allowed (403). A check without `is_enabled` is on.
#[derive(Deserialize, JsonSchema)]
pub struct GetGuardrail {
    /// UUID or slug.
    pub guardrail_id: String,
}

/// Update a guardrail
///
/// Makes a new version that works at once. A list of checks takes the place of all stored ones,
/// and so do actions: read them first. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateGuardrail {
    /// UUID or slug.
    pub guardrail_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// All of them, as in `create-guardrail`.
    #[schemars(length(min = 1), extend("x-publish" = "omit-fields"))]
    pub checks: Option<Vec<Check>>,
    /// As in `create-guardrail`.
    pub actions: Option<Actions>,
}

/// Checks a new guardrail. What looks at tool calls may get its checks later; OpenAPI requires them
/// otherwise, and its examples all have them.
fn check_new_guardrail(args: &JsonMap, findings: &mut Findings) {
    let looks_at_tools = args
        .get("target")
        .is_some_and(|target| target == "mcp_tools");
    for name in ["checks", "actions"] {
        if !looks_at_tools && !args.contains_key(name) {
            findings.add_error(name, "is required");
        }
    }
    checks::validate_checks(args, findings);
}

/// Delete a guardrail
///
/// Removes the guardrail; configs that name it go on without it, unprotected. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteGuardrail {
    /// UUID or slug.
    pub guardrail_id: String,
}

/// List a guardrail's MCP servers
///
/// Returns the MCP servers whose tool calls the guardrail looks at, by id.
#[derive(Deserialize, JsonSchema)]
pub struct ListMcpServers {
    /// UUID or slug.
    pub guardrail_id: String,
}

/// Replace a guardrail's MCP servers
///
/// Maps the MCP servers given and unmaps all others; returns what changed. The guardrail's target must be `mcp_tools`.
#[derive(Deserialize, JsonSchema)]
pub struct ReplaceMcpServers {
    /// UUID or slug.
    pub guardrail_id: String,
    /// MCP server id to {run_on* (input, output), mcp_integration_capability_ids (only these; all when
    /// left out)}; `{}` unmaps all.
    ///
    /// Required: OpenAPI; it is all that the call takes.
    pub mcp_servers: BTreeMap<String, Mapping>,
}

/// run_on*, mcp_integration_capability_ids.
///
/// How a guardrail looks at one MCP server.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Mapping {
    /// What goes in, what comes out or both.
    ///
    /// Required: OpenAPI.
    pub run_on: Vec<Side>,
    pub mcp_integration_capability_ids: Option<Vec<String>>,
}

/// A side of a tool call.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Side {
    Input,
    Output,
}

/// Set a guardrail's MCP server
///
/// Maps one MCP server to the guardrail or changes its mapping; the others stay. The guardrail's
/// target must be `mcp_tools`.
#[derive(Deserialize, JsonSchema)]
pub struct SetMcpServer {
    /// UUID or slug.
    pub guardrail_id: String,
    /// MCP server UUID or slug.
    pub mcp_server_id: String,
    /// Whether to look at what goes in, what comes out or both (default).
    pub run_on: Option<Vec<Side>>,
    /// Only these capabilities; all when left out or empty.
    pub mcp_integration_capability_ids: Option<Vec<String>>,
}
