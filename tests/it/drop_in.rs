//! Calls as agents make them that come from other servers, and the whole request that comes of each.

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::surface::find_builtin;
use serde_json::{Value, json};

/// A call, with one case for each kind of other name.
struct Case {
    tool: &'static str,
    args: Value,
    /// Method, path and query.
    line: &'static str,
    body: Value,
}

fn cases() -> Vec<Case> {
    let none = Value::Null;
    vec![
        // The name of a tool, and `id` for what the path names.
        Case {
            tool: "archive_deployment",
            args: json!({ "id": "d" }),
            line: "DELETE /deployments/d",
            body: none.clone(),
        },
        Case {
            tool: "update_rate_limit",
            args: json!({ "id": "r", "value": 5 }),
            line: "PUT /policies/rate-limits/r",
            body: json!({ "value": 5 }),
        },
        // Another name of an argument of the path.
        Case {
            tool: "reset_usage_limit_entity",
            args: json!({ "limit_id": "l", "entity_id": "e" }),
            line: "PUT /policies/usage-limits/l/entities/e/reset",
            body: json!({}),
        },
        // One value in the place of a list.
        Case {
            tool: "delete_integration_model",
            args: json!({ "slug": "i", "model_slug": "m" }),
            line: "DELETE /integrations/i/models?slugs=m",
            body: none.clone(),
        },
        // Lists and objects in the place of text.
        Case {
            tool: "get_cost_analytics",
            args: json!({ "time_of_generation_min": "2026-01-01T00:00:00Z",
                "time_of_generation_max": "2026-01-02T00:00:00Z", "trace_ids": ["a", "b"],
                "metadata_filter": { "team": "x" } }),
            line: "GET /analytics/graphs/cost?time_of_generation_min=2026-01-01T00%3A00%3A00Z&time_of_generation_max=2026-01-02T00%3A00%3A00Z&trace_id=a%2Cb&metadata=%7B%22team%22%3A%22x%22%7D",
            body: none.clone(),
        },
        // Fields of an object.
        Case {
            tool: "create_api_key",
            args: json!({ "type": "workspace", "sub_type": "service", "name": "n", "scopes": [],
                "workspace_id": "w", "credit_limit": 5, "default_metadata": { "a": "b" } }),
            line: "POST /api-keys/workspace/service",
            body: json!({ "name": "n", "scopes": [], "workspace_id": "w",
                "usage_limits": { "credit_limit": 5, "type": "cost", "periodic_reset": "monthly" },
                "defaults": { "metadata": { "a": "b" } } }),
        },
        // Fields of the one item of a list, with defaults beside them.
        Case {
            tool: "update_virtual_key",
            args: json!({ "slug": "v", "rate_limit_rpm": 5 }),
            line: "PUT /virtual-keys/v",
            body: json!({ "rate_limits": [{ "value": 5, "type": "requests", "unit": "rpm" }] }),
        },
        // Fields of each item of a list.
        Case {
            tool: "update_integration_workspaces",
            args: json!({ "slug": "i", "workspaces": [
                { "id": "a", "enabled": true, "credit_limit": 5, "rate_limit_rpm": 7 },
                { "id": "b", "enabled": false }] }),
            line: "PUT /integrations/i/workspaces",
            body: json!({ "workspaces": [
                { "id": "a", "enabled": true,
                    "usage_limits": [{ "credit_limit": 5, "type": "cost", "periodic_reset": "monthly" }],
                    "rate_limits": [{ "value": 7, "type": "requests", "unit": "rpm" }] },
                { "id": "b", "enabled": false }] }),
        },
        // Parts of a document.
        Case {
            tool: "create_config",
            args: json!({ "name": "n", "cache_mode": "simple", "targets": [{ "provider": "p" }] }),
            line: "POST /configs",
            body: json!({ "name": "n", "config": { "cache": { "mode": "simple" },
                "targets": [{ "provider": "p" }] } }),
        },
        // An object whose fields are arguments.
        Case {
            tool: "render_prompt",
            args: json!({ "prompt_id": "p", "variables": {}, "hyperparameters": { "top_p": 1 } }),
            line: "POST /prompts/p/render",
            body: json!({ "variables": {}, "top_p": 1 }),
        },
        // A list in the place of JSON text.
        Case {
            tool: "update_prompt",
            args: json!({ "prompt_id": "p", "patch": true, "messages": [] }),
            line: "PUT /prompts/p",
            body: json!({ "patch": true, "string": "[]" }),
        },
        // The fields of a bare body.
        Case {
            tool: "insert_log",
            args: json!({ "request_url": "https://h/x", "request_body": {}, "response_body": {},
                "metadata_trace_id": "t", "metadata_span_name": "s" }),
            line: "POST /logs",
            body: json!({ "request": { "url": "https://h/x", "body": {} }, "response": { "body": {} },
                "metadata": { "traceId": "t", "spanName": "s" } }),
        },
        // A list as it is, where the documents show text.
        Case {
            tool: "create_log_export",
            args: json!({ "time_min": "2026-01-01T00:00:00Z", "ai_model": ["gpt-4o", "o3"],
                "requested_fields": ["id"] }),
            line: "POST /logs/exports",
            body: json!({ "filters": { "time_of_generation_min": "2026-01-01T00:00:00Z",
                "ai_model": ["gpt-4o", "o3"] }, "requested_data": ["id"] }),
        },
        // A name of the specification.
        Case {
            tool: "update_prompt_partial",
            args: json!({ "prompt_partial_id": "p", "string": "s", "description": "d" }),
            line: "PUT /prompts/partials/p",
            body: json!({ "string": "s", "version_description": "d" }),
        },
        // What the other server requires or adds.
        Case {
            tool: "upsert_guardrail_mcp_server",
            args: json!({ "guardrail_id": "g", "mcp_server_id": "m" }),
            line: "PUT /guardrails/g/mcp-servers/m",
            body: json!({ "run_on": ["input", "output"] }),
        },
        Case {
            tool: "list_audit_logs",
            args: json!({}),
            line: "GET /audit-logs",
            body: none,
        },
        // Without a page, Portkey ignores the size of one.
        Case {
            tool: "list_prompts",
            args: json!({ "page_size": 5 }),
            line: "GET /prompts?page_size=5&current_page=0",
            body: Value::Null,
        },
        // What the documents call invalid, and nobody has seen refused.
        Case {
            tool: "update_provider",
            args: json!({ "slug": "p", "credit_limit": 1, "alert_threshold": 1 }),
            line: "PUT /providers/p",
            body: json!({ "usage_limits": { "credit_limit": 1, "alert_threshold": 1, "type": "cost",
                "periodic_reset": "monthly" } }),
        },
        Case {
            tool: "create_workspace",
            args: json!({ "name": "n", "is_default": 1, "usage_limits": [{ "type": "cost",
                "credit_limit": 2, "periodic_reset": "monthly", "periodic_reset_days": 1 }] }),
            line: "POST /admin/workspaces",
            body: json!({ "name": "n", "defaults": { "is_default": 1 }, "usage_limits": [{ "type": "cost",
                "credit_limit": 2, "periodic_reset": "monthly", "periodic_reset_days": 1 }] }),
        },
        // The wrapper around the fields of a request.
        Case {
            tool: "update_label",
            args: json!({ "label_id": "l", "body": { "name": "n" } }),
            line: "PUT /labels/l",
            body: json!({ "name": "n" }),
        },
    ]
}

#[test]
fn calls_of_other_servers_send_the_same_request() {
    let catalog = Catalog::full();
    for Case {
        tool,
        args,
        line,
        body,
    } in cases()
    {
        let compiled = catalog.find(tool).unwrap().compiled();
        let request = compiled
            .validate_and_build_request(args.as_object().unwrap().clone())
            .unwrap_or_else(|error| panic!("{tool} {args}: {error}"));
        let sent = format!("{} {}", request.method, request.target);
        assert_eq!(sent, line, "{tool} {args}");
        assert_eq!(request.body.unwrap_or_default(), body, "{tool} {args}");
    }
}

/// Names of other servers' tools that are no spelling of one of ours.
const OTHER_NAMES: &[&str] = &[
    "archive_deployment",
    "create_prompt_label",
    "delete_integration_model",
    "disconnect_mcp_server_connection",
    "get_analytics_group_metadata",
    "get_cache_hit_rate",
    "get_user_stats",
    "insert_log",
    "list_partial_versions",
    "migrate_prompt",
    "promote_prompt",
    "publish_partial",
    "publish_prompt",
    "register_deployment",
    "run_prompt_completion",
    "update_mcp_server_user_access",
    "upsert_guardrail_mcp_server",
    "validate_completion_metadata",
];

#[test]
fn names_of_other_servers_reach_a_tool() {
    let catalog = Catalog::full();
    for name in OTHER_NAMES {
        let is_known = catalog.find(name).is_ok() || find_builtin(name).is_some();
        assert!(is_known, "{name}");
    }
    let distinct: BTreeSet<_> = OTHER_NAMES.iter().collect();
    assert_eq!(distinct.len(), OTHER_NAMES.len());
}
