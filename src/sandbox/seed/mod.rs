//! The organisation a sandbox begins with, set up by the calls an administrator would make.

mod enkrypt;
mod gateway;
mod keys;
mod people;
mod policies;
mod prompting;

use http::Method;
use serde_json::{Value, json};

use super::{
    call::{Call, id_of},
    domains::{self, users},
    refusal::Refusal,
    route::Routes,
    store::{ORGANISATION, Shelf, Store},
};

/// A store with the organisation in it.
pub(crate) fn organisation(routes: &Routes) -> Result<Store, Refusal> {
    let mut store = Store::default();
    store.is_seeding = true;
    users::settle(&mut store);
    let rooms = [
        workspaces(),
        keys::secret_references(),
        integrations(),
        access(),
        providers(),
        mcp_integrations(),
        people::steps(),
        prompting::steps(),
        keys::api_keys(),
        keys::virtual_keys(),
        policies::usage_limits(),
        policies::rate_limits(),
        observability(),
        gateway::mcp_servers(),
        gateway::guardrails(),
        gateway::deployments(),
    ];
    for (method, path, body) in rooms.into_iter().flatten() {
        let (action, path) = routes.find(&method, path).ok_or(Refusal::NoSuchRoute)?;
        let body = body.as_object().cloned().unwrap_or_default();
        action.run(&mut store, &Call { path, body, ..Call::default() })?;
        store.clock.tick();
    }
    settle(&mut store);
    policies::spend(&mut store);
    enkrypt::settle(&mut store);
    store.is_seeding = false;
    Ok(store)
}

/// What time brings about and no call can: a sign-in, a default, an archived item, a spent budget.
fn settle(store: &mut Store) {
    domains::mcp_servers::sign_in(store, "papers", &[users::ADMIN, users::RESEARCH_LEAD]);
    let research = domains::workspaces::resolve(store, "ws-research").map(id_of);
    let research = research.unwrap_or_default();
    for (kind, owner, handle, field, value) in [
        ("deployments", ORGANISATION, "eu-production", "connection_status", json!("healthy")),
        ("workspaces", ORGANISATION, domains::workspaces::DEFAULT, "is_default", json!(true)),
        ("integrations", ORGANISATION, "openai-legacy", "status", json!("archived")),
        ("providers", &research, "claude-trials", "status", json!("exhausted")),
        ("api-keys", ORGANISATION, "evaluation-runs", "status", json!("exhausted")),
        ("usage-limits-policies", ORGANISATION, "last-year", "status", json!("archived")),
        ("virtual-keys", ORGANISATION, "cohere-trial", "status", json!("exhausted")),
    ] {
        if let Some(item) = store.find_mut(Shelf { kind, owner }, handle) {
            item.insert(field.to_owned(), value);
        }
    }
    domains::user_invites::settle(store);
}

/// A call the set-up makes.
type Step = (Method, &'static str, Value);

fn post(path: &'static str, body: Value) -> Step {
    (Method::POST, path, body)
}

fn put(path: &'static str, body: Value) -> Step {
    (Method::PUT, path, body)
}

fn workspaces() -> Vec<Step> {
    vec![
        post(
            "/v1/admin/workspaces",
            json!({
                "name": "Shared", "description": "Where everyone starts",
                "defaults": { "metadata": { "cost_centre": "1000" } },
            }),
        ),
        post(
            "/v1/admin/workspaces",
            json!({
                "name": "Research", "icon": "🔬", "description": "Models on trial",
                "defaults": { "metadata": { "cost_centre": "2100", "stage": "experiment" } },
                "usage_limits": [{ "type": "cost", "credit_limit": 500, "alert_threshold": 400,
                    "periodic_reset": "monthly" }],
            }),
        ),
        post(
            "/v1/admin/workspaces",
            json!({
                "name": "Support Bot", "icon": "🤖", "description": "The assistant customers meet",
                "defaults": { "metadata": { "cost_centre": "3400", "stage": "production" } },
                "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 600 }],
            }),
        ),
    ]
}

fn integrations() -> Vec<Step> {
    vec![
        post(
            "/v1/integrations",
            json!({
                "name": "OpenAI Production", "slug": "openai-production",
                "allow_all_models": true, "ai_provider_id": "openai", "key": "sk-sandbox-openai-0001",
                "description": "Shared by all teams",
                "configurations": { "openai_organization": "org-example" },
                "tags": { "team": "platform", "stage": "production" },
            }),
        ),
        post(
            "/v1/integrations",
            json!({
                "name": "Anthropic", "slug": "anthropic", "allow_all_models": true, "ai_provider_id": "anthropic",
                "key": "sk-ant-sandbox-0002", "description": "Shared by all teams",
                "tags": { "team": "platform" },
                "pricing_adjustments": { "multiplier": { "default": 0.9 } },
            }),
        ),
        post(
            "/v1/integrations",
            json!({
                "name": "Azure EU", "slug": "azure-eu", "allow_all_models": true, "ai_provider_id": "azure-openai",
                "description": "For data that stays in Europe",
                "configurations": {
                    "azure_auth_mode": "entra", "azure_resource_name": "example-eu",
                    "azure_entra_tenant_id": "tenant-example",
                    "azure_entra_client_id": "client-example",
                    "azure_entra_client_secret": "sandbox-entra-secret-0003",
                    "azure_deployment_config": [{ "azure_api_version": "2024-10-21",
                        "azure_deployment_name": "gpt-4o-eu", "azure_model_slug": "gpt-4o",
                        "is_default": true }],
                },
            }),
        ),
        post(
            "/v1/integrations",
            json!({
                "name": "Bedrock Research", "slug": "bedrock-research",
                "allow_all_models": true, "ai_provider_id": "bedrock", "workspace_id": "ws-research",
                "configurations": {
                    "aws_auth_type": "assumedRole", "aws_region": "eu-central-1",
                    "aws_role_arn": "arn:aws:iam::000000000000:role/portkey-sandbox",
                    "aws_external_id": "sandbox-external-id-0004",
                },
            }),
        ),
        post(
            "/v1/integrations",
            json!({
                "name": "Vertex AI", "slug": "vertex-ai", "allow_all_models": true, "ai_provider_id": "vertex-ai",
                "configurations": { "vertex_auth_type": "serviceAccount",
                    "vertex_region": "europe-west4", "vertex_project_id": "example-project" },
                "secret_mappings": [{
                    "target_field": "configurations.vertex_service_account_json",
                    "secret_reference_id": "vertex-service-account", "value_format": "json" }],
            }),
        ),
        post(
            "/v1/integrations",
            json!({
                "name": "OpenAI Legacy", "slug": "openai-legacy", "allow_all_models": true, "ai_provider_id": "openai",
                "key": "sk-sandbox-openai-0006", "description": "Replaced by OpenAI Production",
            }),
        ),
    ]
}

fn access() -> Vec<Step> {
    vec![
        put(
            "/v1/integrations/openai-production/models",
            json!({
                "allow_all_models": false,
                "models": [
                    { "slug": "o3-mini", "enabled": false },
                    { "slug": "support-classifier", "enabled": true, "is_custom": true,
                        "is_finetune": true, "base_model_slug": "gpt-4o-mini",
                        "pricing_config": { "type": "static", "pay_as_you_go": {
                            "request_token": { "price": 0.00003 },
                            "response_token": { "price": 0.00012 } } } },
                ],
            }),
        ),
        put(
            "/v1/integrations/openai-production/workspaces",
            json!({ "workspaces": [
                { "id": "ws-shared", "enabled": true },
                { "id": "ws-research", "enabled": true, "usage_limits": [{ "type": "cost",
                    "credit_limit": 200, "alert_threshold": 150, "periodic_reset": "monthly" }] },
                { "id": "ws-support-bot", "enabled": true,
                    "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 300 }] },
            ] }),
        ),
        put(
            "/v1/integrations/anthropic/workspaces",
            json!({
                "global_workspace_access": { "enabled": true },
                "workspaces": [{ "id": "ws-support-bot", "enabled": true }],
            }),
        ),
        put(
            "/v1/integrations/azure-eu/workspaces",
            json!({ "workspaces": [
                { "id": "ws-shared", "enabled": false },
                { "id": "ws-support-bot", "enabled": true, "default_provider_slug": "azure" },
            ] }),
        ),
        put(
            "/v1/integrations/vertex-ai/workspaces",
            json!({ "create_default_provider": false,
                "workspaces": [{ "id": "ws-research", "enabled": true }] }),
        ),
    ]
}

fn providers() -> Vec<Step> {
    vec![
        post(
            "/v1/providers",
            json!({
                "name": "Claude for trials", "slug": "claude-trials",
                "integration_id": "anthropic", "workspace_id": "ws-research",
                "note": "Ask platform-team@example.com for more budget",
                "usage_limits": { "type": "cost", "credit_limit": 50, "alert_threshold": 40 },
                "tags": { "stage": "experiment" },
            }),
        ),
        post(
            "/v1/providers",
            json!({
                "name": "Gemini", "slug": "gemini", "integration_id": "vertex-ai",
                "workspace_id": "ws-research", "expires_at": "2026-12-31T23:59:59Z",
                "rate_limits": { "type": "tokens", "unit": "rpm", "value": 100_000 },
            }),
        ),
    ]
}

fn mcp_integrations() -> Vec<Step> {
    vec![
        post(
            "/v1/mcp-integrations",
            json!({
                "name": "Issue Tracker", "slug": "issue-tracker", "auth_type": "headers",
                "url": "https://mcp.example.com/issues", "transport": "http",
                "description": "Finds and files issues",
                "configurations": {
                    "custom_headers": { "authorization": "Bearer sandbox-issues-token" } },
            }),
        ),
        post("/v1/mcp-integrations/issue-tracker/sync", issue_tracker()),
        put(
            "/v1/mcp-integrations/issue-tracker/capabilities",
            json!({ "capabilities": [{ "type": "tool", "name": "close_issue", "enabled": false }] }),
        ),
        put(
            "/v1/mcp-integrations/issue-tracker/workspaces",
            json!({ "workspaces": [
                { "id": "ws-shared", "enabled": true },
                { "id": "ws-support-bot", "enabled": true },
            ] }),
        ),
        post(
            "/v1/mcp-integrations",
            json!({
                "name": "Documents", "slug": "documents", "auth_type": "oauth_auto",
                "url": "https://documents.example.com/mcp", "transport": "http",
                "workspace_id": "ws-research",
            }),
        ),
        post(
            "/v1/mcp-integrations/documents/sync",
            json!({
                "server_info": { "name": "documents", "version": "0.9.1",
                    "protocolVersion": "2025-06-18" },
                "capabilities": [
                    capability("tool", "read_document", "Reads a document"),
                    capability("prompt", "summarise", "Summarises a document"),
                    { "type": "resource_template", "name": "document", "mime_type": "text/markdown",
                        "uri_template": "documents://{folder}/{name}" },
                ],
            }),
        ),
        post(
            "/v1/mcp-integrations",
            json!({
                "name": "Old Wiki", "slug": "old-wiki", "auth_type": "none",
                "url": "https://wiki.example.invalid/sse", "transport": "sse",
                "description": "Its host is gone",
            }),
        ),
        post(
            "/v1/mcp-integrations/old-wiki/sync",
            json!({ "capabilities": [
                capability("tool", "search_pages", "Searches the wiki"),
                capability("tool", "read_page", "Reads a page"),
                capability("prompt", "explain_page", "Explains a page"),
            ] }),
        ),
    ]
}

fn observability() -> Vec<Step> {
    let log = json!({
        "request": { "url": "https://api.openai.com/v1/chat/completions",
            "body": { "model": "gpt-4o-mini",
                "messages": [{ "role": "user", "content": "Where is my parcel?" }] } },
        "response": { "status": 200, "response_time": 640, "body": {
            "choices": [{ "message": { "role": "assistant", "content": "On its way." } }],
            "usage": { "prompt_tokens": 42, "completion_tokens": 12 } } },
        "metadata": { "trace_id": "parcel-1", "_user": "support-bot@example.com" },
    });
    vec![
        post("/v1/logs", log),
        post("/v1/feedback", json!({ "trace_id": "parcel-1", "value": 8 })),
        post(
            "/v1/logs/exports",
            json!({
                "workspace_id": "ws-research", "requested_data": ["id", "ai_model", "cost"],
                "filters": { "time_of_generation_min": "2025-12-01T00:00:00Z",
                    "time_of_generation_max": "2025-12-31T23:59:59Z" },
            }),
        ),
    ]
}

fn issue_tracker() -> Value {
    const TOOLS: [(&str, &str); 8] = [
        ("search_issues", "Searches issues"),
        ("get_issue", "Reads an issue"),
        ("create_issue", "Files an issue"),
        ("update_issue", "Changes an issue"),
        ("close_issue", "Closes an issue"),
        ("add_comment", "Comments on an issue"),
        ("list_labels", "Lists labels"),
        ("assign_issue", "Gives an issue to someone"),
    ];
    let tools = TOOLS.iter().map(|(name, description)| capability("tool", name, description));
    let others = [
        capability("prompt", "triage", "Sorts a new issue"),
        capability("prompt", "release_notes", "Drafts release notes"),
        json!({ "type": "resource", "name": "board", "uri": "issues://board",
            "mime_type": "application/json", "size": 2048 }),
        json!({ "type": "resource_template", "name": "issue", "uri_template": "issues://{id}" }),
    ];
    json!({
        "server_info": { "name": "issue-tracker", "version": "2.4.0",
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {}, "prompts": {}, "resources": {} } },
        "capabilities": tools.chain(others).collect::<Vec<_>>(),
    })
}

fn capability(kind: &str, name: &str, description: &str) -> Value {
    let schema = (kind == "tool").then(|| json!({ "type": "object", "properties": {} }));
    json!({ "type": kind, "name": name, "description": description, "input_schema": schema })
}
