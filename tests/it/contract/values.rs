//! Values of arguments that a successful call needs and the schema alone does not give.

use portkey_api::domains::guardrails::catalogue::CHECKS;
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{generate::Extent, preconditions::last_segment};
use crate::support::arguments::example_value;

/// The tool, or an empty name for any; the path of the argument, or its name alone; and the JSON
/// value for each set, in turn.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("", "credit_limit", &["100"]),
    ("", "alert_threshold", &["50"]),
    // The sandbox has traffic in this month.
    ("", "time_of_generation_min", &[r#""2025-12-01T00:00:00Z""#]),
    ("", "time_of_generation_max", &[r#""2026-01-01T00:00:00Z""#]),
    ("", "email", &[r#""someone@example.com""#]),
    ("", "alert_emails[]", &[r#""someone@example.com""#]),
    ("", "target_field", &[r#""key""#]),
    ("", "conditions[].key", &[r#""model""#]),
    ("", "group_by[].key", &[r#""api_key""#]),
    (
        "bulk-update-mcp-integration-capabilities",
        "capabilities[].name",
        CAPABILITIES,
    ),
    (
        "bulk-update-mcp-server-capabilities",
        "capabilities[].name",
        CAPABILITIES,
    ),
    (
        "create-api-key",
        "type",
        &[r#""organisation""#, r#""workspace""#, r#""workspace""#],
    ),
    (
        "create-api-key",
        "sub_type",
        &[r#""service""#, r#""service""#, r#""user""#],
    ),
    // Eleven values, so that each one meets every authentication type, of which there are two,
    // three or four.
    (
        "create-integration",
        "ai_provider_id",
        &[
            r#""openai""#,
            r#""azure-openai""#,
            r#""azure-ai""#,
            r#""bedrock""#,
            r#""sagemaker""#,
            r#""vertex-ai""#,
            r#""workers-ai""#,
            r#""huggingface""#,
            r#""cortex""#,
            r#""anthropic""#,
            r#""cohere""#,
        ],
    ),
    // Four values, so that each one meets each of three.
    (
        "create-secret-reference",
        "manager_type",
        &[
            r#""aws_sm""#,
            r#""hashicorp_vault""#,
            r#""azure_kv""#,
            r#""aws_sm""#,
        ],
    ),
    // Another workspace may not export every field.
    ("create-log-export", "workspace_id", &[r#""ws-shared""#]),
    (
        "create-config",
        "config",
        &[r#"{ "retry": { "attempts": 3 } }"#],
    ),
    (
        "update-config",
        "config",
        &[r#"{ "cache": { "mode": "simple" } }"#],
    ),
    // A guardrail of a workspace cannot be a default of the organisation.
    (
        "update-organisation-defaults",
        "input_guardrails[]",
        ORGANISATION_GUARDRAIL,
    ),
    (
        "update-organisation-defaults",
        "output_guardrails[]",
        ORGANISATION_GUARDRAIL,
    ),
    ("delete-workspace", "name", &[r#""sample-name-0""#]),
    ("create-virtual-key", "provider", &[r#""openai""#]),
    // No tool lists these resources.
    ("", "gateway", &[r#""support-tools""#]),
    ("", "gateway_version", &[r#""v1""#]),
    ("", "project", &[r#""default""#]),
    ("modify-mcp-gateway", "preview", &["false"]),
    (
        "modify-mcp-gateway",
        "servers_config.servers[]._delete",
        &["false"],
    ),
    ("get-mcp-registry-server", "server", &[r#""ticket_desk""#]),
    ("get-mcp-registry-server", "server_version", &[r#""v1""#]),
    ("get-mcp-registry-server", "registry", &[r#""default""#]),
    (
        "delete-mcp-server-connection",
        "mcp_server_id",
        CONNECTED_SERVER,
    ),
    (
        "delete-mcp-server-connection",
        "workspace_id",
        &[r#""ws-research""#],
    ),
    (
        "list-audit-logs",
        "start_time",
        &[r#""2026-01-01T00:00:00Z""#],
    ),
    (
        "list-audit-logs",
        "end_time",
        &[r#""2026-02-01T00:00:00Z""#],
    ),
    (
        "list-mcp-server-connections",
        "mcp_server_id",
        CONNECTED_SERVER,
    ),
    (
        "list-mcp-server-connections",
        "workspace_id",
        &[r#""ws-research""#],
    ),
    (
        "get-agent-server-card",
        "agent_server_id",
        &[r#""travel-desk""#],
    ),
    ("get-analytics-grouped-data", "columns", &[r#""cost""#]),
    ("get-general-model-config", "provider", &[r#""openai""#]),
    ("get-general-model-config", "model", &[r#""gpt-4o""#]),
    ("", "metadata_key", &[r#""team""#]),
    ("", "skills[]", &[r#""travel-desk""#]),
    (
        "bulk-update-agent-integration-workspaces",
        "workspaces[]",
        &[r#""ws-support-bot""#],
    ),
    // A user of the seed.
    (
        "bulk-update-agent-server-user-access",
        "user_access[]",
        &[r#""0a5d0000-0000-4000-8000-00000000ada1""#],
    ),
    (
        "fetch-agent-card",
        "endpoint",
        &[r#""https://example.com/a""#],
    ),
    ("get-model-pricing", "provider", &[r#""openai""#]),
    ("get-model-pricing", "model", &[r#""gpt-4o""#]),
    ("get-prompt", "version", &[r#""latest""#]),
    ("get-prompt-partial", "version", &[r#""latest""#]),
    ("insert-logs", "logs.response.status", &["200"]),
    ("list-provider-pricing", "provider", &[r#""openai""#]),
    ("list-registry-mcp-servers", "search", &[r#""issues""#]),
    (
        "list-registry-mcp-servers",
        "updated_since",
        &[r#""2025-06-01T00:00:00Z""#],
    ),
    (
        "list-usage-limits-policies",
        "workspace_id",
        &[r#""ws-research""#],
    ),
    ("get-rate-limits-policy", "status", &[r#""active""#]),
    ("get-usage-limits-policy", "status", &[r#""active""#]),
    // A group has one role in all workspaces. Each of the seeded groups has another role.
    (
        "create-scim-workspace-mapping",
        "role",
        &[
            r#""member""#,
            r#""admin""#,
            r#""manager""#,
            r#""manager""#,
            r#""member""#,
            r#""member""#,
        ],
    ),
    (
        "replace-guardrail-mcp-servers",
        "mcp_servers",
        &[r#"{ "support-issues": { "run_on": ["input", "output"] } }"#],
    ),
    (
        "sync-mcp-integration",
        "capabilities[]",
        &[r#"{ "type": "tool", "name": "find" }"#],
    ),
    (
        "sync-mcp-server-capabilities",
        "capabilities[]",
        &[r#"{ "type": "tool", "name": "find" }"#],
    ),
];

/// A tool, a prompt and a resource of the seeded issue tracker.
const CAPABILITIES: &[&str] = &[r#""create_issue""#, r#""triage""#, r#""board""#];
/// The only seeded guardrail of the organisation.
const ORGANISATION_GUARDRAIL: &[&str] = &[r#""guard_plain-language""#];
/// The only seeded MCP server with a connected user.
const CONNECTED_SERVER: &[&str] = &[r#""papers""#];

/// Additions to the required arguments that a rule over several arguments needs.
const REQUIRED_VALUES: &[(&str, &str, &str)] = &[(
    "create-secret-reference",
    "auth_config",
    r#"{ "aws_auth_type": "serviceRole" }"#,
)];

/// Returns the fixed value of an argument, if it has one.
pub(crate) fn known_value(tool: &str, at: &str, extent: Extent) -> Option<Value> {
    let set = extent.set();
    if at == "checks[]" {
        return Some(guardrail_check(set));
    }
    let least = REQUIRED_VALUES
        .iter()
        .find(|(t, a, _)| (*t, *a) == (tool, at) && extent == Extent::Required);
    if let Some((.., least)) = least {
        return Some(serde_json::from_str(least).unwrap());
    }
    let name = last_segment(at);
    let listed = |tool: &str, at: &str| VALUES.iter().find(|(t, a, _)| *t == tool && *a == at);
    if let Some((.., turns)) = listed(tool, at)
        .or_else(|| listed("", at))
        .or_else(|| listed("", name))
    {
        return Some(serde_json::from_str(turns[set % turns.len()]).unwrap());
    }
    // A filter of a query is JSON as text.
    if at == "metadata" && tool.starts_with("get-") {
        return Some(json!(r#"{"team":"research"}"#));
    }
    (name.contains("url") || name.ends_with("host")).then(|| json!("https://example.com/a"))
}

/// Returns a check of the kind that the set number selects, with all parameters of the catalogue.
fn guardrail_check(set: usize) -> Value {
    let kind = &CHECKS[set % CHECKS.len()];
    let parameters = kind.parameters.unwrap_or_default();
    let parameters: JsonMap = parameters
        .iter()
        .map(|p| (p.name.to_owned(), example_value(p.kind)))
        .collect();
    json!({ "id": kind.id, "parameters": parameters, "name": "Check", "is_enabled": set.is_multiple_of(2) })
}
