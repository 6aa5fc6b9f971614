//! Resources about traffic: configs, prompts, guardrails, policies and MCP integrations.

use super::{
    Go::{self, Any, Bool, Float, Int, List, Object, Struct, Text, Time},
    NO_RESOURCE, Resource,
};

const CONDITION: Go = Struct(&[("key", Text), ("value", Text)]);

const GROUP: Go = Struct(&[("key", Text)]);

const CAPABILITY: &[(&str, Go)] = &[("name", Text), ("type", Text), ("enabled", Bool)];

/// The resources of traffic.
pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        name: "config",
        list: "/configs?workspace_id=ws-support-bot",
        handle: "slug",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("config", Any),
            ("workspace_id", Text),
            ("organisation_id", Text),
            ("is_default", Int),
            ("status", Text),
            ("owner_id", Text),
            ("updated_by", Text),
            ("format", Text),
            ("type", Text),
            ("version_id", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "slug", "name", "config", "workspace_id", "status", "version_id"],
        create: Some((
            "/configs",
            r#"{ "name": "Terraform", "workspace_id": "ws-support-bot", "isDefault": 1,
                "config": { "retry": { "attempts": 3 } } }"#,
        )),
        created: &["id", "slug", "version_id"],
        update: Some(r#"{ "config": { "cache": { "mode": "simple" } } }"#),
        updated: &["version_id"],
        ..NO_RESOURCE
    },
    Resource {
        name: "prompt",
        list: "/prompts?workspace_id=ws-support-bot",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("collection_id", Text),
            ("string", Text),
            ("parameters", Object),
            ("model", Text),
            ("virtual_key", Text),
            ("functions", List(&Any)),
            ("tools", List(&Any)),
            ("tool_choice", Any),
            ("template_metadata", Object),
            ("is_raw_template", Int),
            ("prompt_version", Int),
            ("prompt_version_id", Text),
            ("prompt_version_status", Text),
            ("prompt_version_description", Text),
            ("status", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "slug", "name", "collection_id", "string", "prompt_version_id", "status"],
        create: Some((
            "/prompts",
            r#"{ "name": "Terraform", "collection_id": "co-replies", "string": "Hello",
                "parameters": null, "virtual_key": "anthropic" }"#,
        )),
        created: &["id", "slug", "version_id"],
        update: Some(
            r#"{ "string": "Hi", "parameters": null, "model": "m", "virtual_key": "anthropic" }"#,
        ),
        updated: &["id", "slug", "prompt_version_id"],
        ..NO_RESOURCE
    },
    Resource {
        name: "prompt versions",
        list: "/prompts/pp-refund-reply/versions",
        handle: "",
        item: &[("id", Text), ("prompt_version", Int)],
        ..NO_RESOURCE
    },
    Resource {
        name: "prompt partial",
        list: "/prompts/partials?workspace_id=ws-support-bot",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("string", Text),
            ("status", Text),
            ("version", Int),
            ("prompt_partial_version_id", Text),
            ("prompt_partial_version_status", Text),
            ("version_description", Text),
            ("collection_id", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "slug", "name", "string", "version", "prompt_partial_version_id"],
        create: Some((
            "/prompts/partials",
            r#"{ "name": "Terraform", "string": "S", "workspace_id": "ws-support-bot" }"#,
        )),
        created: &["id", "slug", "version_id"],
        update: Some(r#"{ "string": "T" }"#),
        updated: &["prompt_partial_version_id"],
        ..NO_RESOURCE
    },
    Resource {
        name: "prompt partial versions",
        list: "/prompts/partials/pp-house-style/versions",
        handle: "",
        item: &[("prompt_partial_version_id", Text), ("version", Int)],
        ..NO_RESOURCE
    },
    Resource {
        name: "guardrail",
        list: "/guardrails",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("organisation_id", Text),
            ("workspace_id", Text),
            (
                "checks",
                List(&Struct(&[("id", Text), ("is_enabled", Bool), ("parameters", Object)])),
            ),
            ("actions", Object),
            ("status", Text),
            ("version_id", Text),
            ("owner_id", Text),
            ("updated_by", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "slug", "name", "checks", "actions", "status", "version_id"],
        create: Some((
            "/guardrails",
            r#"{ "name": "Terraform", "workspace_id": "ws-shared",
                "checks": [{ "id": "default.wordCount", "parameters": { "maxWords": 9 } }],
                "actions": { "onFail": "block", "message": "m" } }"#,
        )),
        created: &["id", "slug", "version_id"],
        update: Some(r#"{ "name": "Renamed" }"#),
        ..NO_RESOURCE
    },
    Resource {
        name: "usage limits policy",
        list: "/policies/usage-limits?workspace_id=ws-research",
        item: &[
            ("id", Text),
            ("name", Text),
            ("conditions", List(&CONDITION)),
            ("group_by", List(&GROUP)),
            ("type", Text),
            ("credit_limit", Float),
            ("alert_threshold", Float),
            ("periodic_reset", Text),
            ("status", Text),
            ("workspace_id", Text),
            ("organisation_id", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "type", "credit_limit", "status", "workspace_id", "created_at"],
        create: Some((
            "/policies/usage-limits",
            r#"{ "name": "Terraform", "workspace_id": "ws-research", "type": "cost",
                "credit_limit": 10.5, "conditions": [{ "key": "model", "value": "*" }],
                "group_by": [{ "key": "api_key" }] }"#,
        )),
        update: Some(r#"{ "credit_limit": 20.0, "status": "active" }"#),
        ..NO_RESOURCE
    },
    Resource {
        name: "rate limits policy",
        list: "/policies/rate-limits?workspace_id=ws-support-bot",
        item: &[
            ("id", Text),
            ("name", Text),
            ("conditions", List(&CONDITION)),
            ("group_by", List(&GROUP)),
            ("type", Text),
            ("unit", Text),
            ("value", Float),
            ("status", Text),
            ("workspace_id", Text),
            ("organisation_id", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "type", "unit", "value", "status", "workspace_id", "created_at"],
        create: Some((
            "/policies/rate-limits",
            r#"{ "name": "Terraform", "workspace_id": "ws-support-bot", "type": "requests",
                "unit": "rpm", "value": 5, "conditions": [{ "key": "model", "value": "*" }],
                "group_by": [{ "key": "api_key" }] }"#,
        )),
        update: Some(r#"{ "unit": "rpd", "status": "active" }"#),
        ..NO_RESOURCE
    },
    Resource {
        name: "collection",
        list: "/collections?workspace_id=ws-support-bot",
        item: &[
            ("id", Text),
            ("name", Text),
            ("workspace_id", Text),
            ("slug", Text),
            ("parent_collection_id", Text),
            ("is_default", Int),
            ("status", Text),
            ("created_at", Text),
            ("last_updated_at", Text),
        ],
        state: &["id", "name", "workspace_id", "slug", "is_default", "status", "created_at"],
        create: Some((
            "/collections",
            r#"{ "name": "Terraform", "workspace_id": "ws-support-bot" }"#,
        )),
        created: &["id", "slug"],
        update: Some(r#"{ "name": "Renamed" }"#),
        ..NO_RESOURCE
    },
    Resource {
        name: "MCP integration",
        list: "/mcp-integrations",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("description", Text),
            ("url", Text),
            ("auth_type", Text),
            ("transport", Text),
            ("configurations", Any),
            ("workspace_id", Text),
            ("type", Text),
            ("status", Text),
            ("owner_id", Text),
            ("created_at", Text),
            ("last_updated_at", Text),
            ("global_workspace_access", Any),
        ],
        state: &["id", "slug", "name", "url", "auth_type", "transport", "type", "status"],
        create: Some((
            "/mcp-integrations",
            r#"{ "name": "Terraform", "url": "https://mcp.example.com/mcp",
                "auth_type": "headers", "transport": "http",
                "configurations": { "token": "t" } }"#,
        )),
        created: &["id", "slug"],
        update: Some(r#"{ "description": "d" }"#),
        ..NO_RESOURCE
    },
    Resource {
        name: "MCP integration capabilities",
        list: "/mcp-integrations/issue-tracker/capabilities",
        handle: "",
        item: CAPABILITY,
        ..NO_RESOURCE
    },
    Resource {
        name: "MCP integration workspaces",
        list: "/mcp-integrations/issue-tracker/workspaces",
        rows: "workspaces",
        handle: "",
        item: &[("id", Text), ("enabled", Bool)],
        ..NO_RESOURCE
    },
];
