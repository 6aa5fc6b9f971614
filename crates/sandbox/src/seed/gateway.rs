//! Seeded data around the gateway: MCP servers, guardrails and deployments.

use serde_json::json;

use super::{ORGANISATION, SeedStep, post, put};

/// Creates MCP servers from integrations in workspaces.
pub(super) fn mcp_servers() -> Vec<SeedStep> {
    let server = |name: &str, slug: &str, from: &str, workspace: &str, description: &str| {
        let body = json!({ "name": name, "slug": slug, "mcp_integration_id": from,
            "workspace_id": workspace, "description": description });
        post("/v1/mcp-servers", body)
    };
    vec![
        server(
            "Issues",
            "issues",
            "issue-tracker",
            "ws-shared",
            "Finds and files issues",
        ),
        server(
            "Support Issues",
            "support-issues",
            "issue-tracker",
            "ws-support-bot",
            "Only reads",
        ),
        put(
            "/v1/mcp-servers/support-issues/capabilities",
            json!({ "capabilities": [
                { "type": "tool", "name": "create_issue", "enabled": false },
                { "type": "tool", "name": "update_issue", "enabled": false },
                { "type": "tool", "name": "assign_issue", "enabled": false },
            ] }),
        ),
        server(
            "Research Papers",
            "papers",
            "documents",
            "ws-research",
            "What was read so far",
        ),
        put(
            "/v1/mcp-servers/papers/user-access",
            json!({ "default_user_access": "deny" }),
        ),
    ]
}

/// Creates one guardrail each for a workspace, the organisation and tool calls, and the
/// organisation's defaults.
pub(super) fn guardrails() -> Vec<SeedStep> {
    let follow = |deny: bool| {
        let feedback =
            |value: i8| json!({ "feedback": { "value": value, "weight": 1, "metadata": "" } });
        json!({ "deny": deny, "async": false, "on_success": feedback(5), "on_fail": feedback(-5) })
    };
    vec![
        post(
            "/v1/guardrails",
            json!({
                "name": "Personal data", "slug": "guard_personal-data",
                "workspace_id": "ws-support-bot", "actions": follow(true),
                "checks": [
                    { "id": "portkey.pii", "parameters": { "redact": true,
                        "categories": ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"] } },
                    { "id": "default.wordCount", "name": "Short answers", "is_enabled": false,
                        "parameters": { "maxWords": 300 } },
                ],
            }),
        ),
        post(
            "/v1/guardrails",
            json!({
                "name": "Plain language", "slug": "guard_plain-language",
                "organisation_id": ORGANISATION, "actions": follow(false),
                "checks": [{ "id": "portkey.gibberish" }],
            }),
        ),
        post(
            "/v1/guardrails",
            json!({
                "name": "Tool calls", "slug": "guard_tool-calls", "target": "mcp_tools",
                "workspace_id": "ws-support-bot", "actions": follow(true),
                "checks": [{ "id": "default.contains", "parameters": {
                    "words": ["password"], "operator": "none" } }],
            }),
        ),
        put(
            "/v1/guardrails/guard_tool-calls/mcp-servers/support-issues",
            json!({ "run_on": ["input", "output"] }),
        ),
        put(
            "/v2/admin/organisation/defaults",
            json!({ "input_guardrails": ["guard_plain-language"], "output_guardrails": [] }),
        ),
        put(
            "/v1/workspace-exclusions/input-guardrails",
            json!({ "workspaces": [{ "workspace_id": "ws-research", "excluded": true }] }),
        ),
    ]
}

/// Creates one deployment in use and one on trial.
pub(super) fn deployments() -> Vec<SeedStep> {
    vec![
        post(
            "/v2/deployments",
            json!({
                "name": "EU production", "slug": "eu-production", "type": "production",
                "is_default": true, "tags": { "region": "eu" },
                "auth_settings": { "gateway_base_url": "https://gateway.example.com/v1",
                    "workspaces_allowed": ["ws-shared", "ws-support-bot"],
                    "jwt_subs_allowed": ["gateway-eu"] },
            }),
        ),
        post(
            "/v2/deployments",
            json!({ "name": "Trial", "slug": "trial", "type": "non_production" }),
        ),
    ]
}

/// Registers two agents, and lends each to a workspace.
pub(super) fn agents() -> Vec<SeedStep> {
    const AGENTS: [(&str, &str, &str, &str); 2] = [
        (
            "travel-desk",
            "Travel Desk",
            "ws-support-bot",
            "Books trips",
        ),
        (
            "archivist",
            "Archivist",
            "ws-research",
            "Finds old documents",
        ),
    ];
    let steps = AGENTS.iter().flat_map(|(slug, name, workspace, description)| {
        let integration = json!({ "name": name, "slug": slug, "description": description, "auth_type": "none",
            "url": format!("https://agents.example.com/{slug}") });
        let grant = match *slug {
            "travel-desk" => "/v1/agent-integrations/travel-desk/workspaces",
            _ => "/v1/agent-integrations/archivist/workspaces",
        };
        let server = json!({ "name": name, "slug": slug, "agent_integration_id": slug,
            "workspace_id": workspace, "description": description });
        [
            post("/v1/agent-integrations", integration),
            put(grant, json!({ "workspaces": [workspace] })),
            post("/v1/agent-servers", server),
        ]
    });
    steps.collect()
}
