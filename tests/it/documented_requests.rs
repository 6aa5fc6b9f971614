//! Requests in the forms of Portkey's documents, of its Terraform provider and of its SDKs: none is
//! rejected, and each is sent as it was given.

use portkey_api::catalog::Catalog;
use serde_json::{Value, json};

/// A request in a documented form. The arguments are the fields of the body and
/// those of `path`, which are in the path or have another name in the body.
struct DocumentedRequest {
    what: &'static str,
    tool: &'static str,
    path: Value,
    line: &'static str,
    body: Value,
}

fn documented_requests() -> Vec<DocumentedRequest> {
    let scopes = json!(["logs.list"]);
    vec![
        DocumentedRequest {
            what: "Terraform's README: access keys without `aws_auth_type`",
            tool: "create-integration",
            path: json!({}),
            line: "POST /integrations",
            body: json!({ "name": "n", "ai_provider_id": "bedrock", "key": "k",
                "configurations": { "aws_access_key_id": "a", "aws_region": "eu-west-1" } }),
        },
        DocumentedRequest {
            what: "OpenAPI: an alert below 1, for a budget of 1 dollar",
            tool: "create-usage-limits-policy",
            path: json!({}),
            line: "POST /policies/usage-limits",
            body: json!({ "conditions": [{ "key": "api_key", "value": "*" }], "type": "cost",
                "credit_limit": 1.0, "alert_threshold": 0.8 }),
        },
        DocumentedRequest {
            what: "the same in an update",
            tool: "update-usage-limits-policy",
            path: json!({ "policy_usage_limits_id": "p" }),
            line: "PUT /policies/usage-limits/p",
            body: json!({ "alert_threshold": 0.5 }),
        },
        DocumentedRequest {
            what: "null in a rotation policy",
            tool: "update-api-key",
            path: json!({ "id": "k" }),
            line: "PUT /api-keys/k",
            body: json!({ "rotation_policy": { "rotation_period": "monthly",
                "key_transition_period_ms": null } }),
        },
        DocumentedRequest {
            what: "nulls that OpenAPI allows in a key",
            tool: "create-api-key",
            path: json!({ "type": "workspace", "sub_type": "service" }),
            line: "POST /api-keys/workspace/service",
            body: json!({ "name": "n", "scopes": scopes, "workspace_id": "w",
                "defaults": { "config_id": "pc-a", "allow_config_override": null } }),
        },
        DocumentedRequest {
            what: "nulls in a provider",
            tool: "update-provider",
            path: json!({ "slug": "p" }),
            line: "PUT /providers/p",
            body: json!({ "rate_limits": null, "tags": null }),
        },
        DocumentedRequest {
            what: "null in a new provider",
            tool: "create-provider",
            path: json!({}),
            line: "POST /providers",
            body: json!({ "name": "n", "integration_id": "i", "tags": null }),
        },
        DocumentedRequest {
            what: "null in an integration",
            tool: "update-integration",
            path: json!({ "slug": "i" }),
            line: "PUT /integrations/i",
            body: json!({ "tags": null }),
        },
        DocumentedRequest {
            what: "null in a new workspace",
            tool: "create-workspace",
            path: json!({}),
            line: "POST /admin/workspaces",
            body: json!({ "name": "n", "icon": null }),
        },
        DocumentedRequest {
            what: "null in a workspace",
            tool: "update-workspace",
            path: json!({ "workspace_id": "w" }),
            line: "PUT /admin/workspaces/w",
            body: json!({ "icon": null }),
        },
        DocumentedRequest {
            what: "null in a new MCP integration",
            tool: "create-mcp-integration",
            path: json!({}),
            line: "POST /mcp-integrations",
            body: json!({ "name": "n", "url": "https://h", "auth_type": "none",
                "transport": "http", "secret_mappings": null }),
        },
        DocumentedRequest {
            what: "null in an MCP integration",
            tool: "update-mcp-integration",
            path: json!({ "mcp_integration_id": "m" }),
            line: "PUT /mcp-integrations/m",
            body: json!({ "secret_mappings": null }),
        },
        DocumentedRequest {
            what: "the Python SDK: the name of the id",
            tool: "update-feedback",
            path: json!({ "feedback_id": "f" }),
            line: "PUT /feedback/f",
            body: json!({ "value": 1 }),
        },
        DocumentedRequest {
            what: "the Node SDK: the name of the id",
            tool: "update-feedback",
            path: json!({ "feedbackId": "f" }),
            line: "PUT /feedback/f",
            body: json!({ "value": 1 }),
        },
        DocumentedRequest {
            what: "Terraform's provider: the name of the slugs",
            tool: "bulk-delete-integration-models",
            path: json!({ "slug": "i", "models": ["a", "b"] }),
            line: "DELETE /integrations/i/models?slugs=a%2Cb",
            body: Value::Null,
        },
        DocumentedRequest {
            what: "the Python SDK: a plural in the middle",
            tool: "bulk-update-integration-workspaces",
            path: json!({ "slug": "i", "override_existing_workspaces_access": true }),
            line: "PUT /integrations/i/workspaces",
            body: json!({ "workspaces": [{ "id": "w", "enabled": true }],
                "override_existing_workspace_access": true }),
        },
        DocumentedRequest {
            what: "lists of the filters that take several values, as of `ai_model`",
            tool: "create-log-export",
            path: json!({}),
            line: "POST /logs/exports",
            body: json!({ "filters": { "ai_model": ["m"], "ai_org_model": ["o__m"],
                "virtual_keys": ["v"], "configs": ["c"], "trace_id": ["t"], "prompt_slug": "p,q" },
                "requested_data": ["id"] }),
        },
        DocumentedRequest {
            what: "a stream in the request that rendering returns",
            tool: "render-prompt",
            path: json!({ "prompt_id": "p" }),
            line: "POST /prompts/p/render",
            body: json!({ "variables": { "a": "b" }, "stream": true }),
        },
    ]
}

#[test]
fn documented_requests_are_sent_unchanged() {
    let catalog = Catalog::full();
    for request in documented_requests() {
        let DocumentedRequest {
            what, tool, line, ..
        } = request;
        let mut args = request.path.as_object().unwrap().clone();
        args.extend(request.body.as_object().cloned().unwrap_or_default());
        let compiled = catalog.find(tool).unwrap().compiled();
        let sent = compiled
            .validate_and_build_request(args)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(format!("{} {}", sent.method, sent.target), line, "{what}");
        assert_eq!(sent.body.unwrap_or_default(), request.body, "{what}");
    }
}
