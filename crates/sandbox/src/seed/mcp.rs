//! Seeded MCP integrations and their capabilities.

use serde_json::{Value, json};

use super::{SeedStep, post, put};

/// Registers the MCP servers and their capabilities.
pub(super) fn integrations() -> Vec<SeedStep> {
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
    let tools = TOOLS
        .iter()
        .map(|(name, description)| capability("tool", name, description));
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
