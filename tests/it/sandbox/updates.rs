//! Updates: an omitted field is kept, `null` clears some fields, a value sets a field, and the
//! response is short.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

#[tokio::test]
async fn update_keeps_clears_or_sets_each_field() {
    let portkey = Portkey::start().await;
    let mapping = json!({ "target_field": "key", "secret_reference_id": "support-mailbox",
        "secret_key": null, "value_format": null });
    let pricing = json!({ "multiplier": { "default": 0.9 } });
    let integration = "/integrations/anthropic";
    let server = "/mcp-integrations/issue-tracker";
    let provider = "/providers/gemini?workspace_id=ws-research";
    // Each row continues from the previous one.
    for (path, change, field, expected) in [
        (
            integration,
            json!({ "name": "Claude" }),
            "name",
            json!("Claude"),
        ),
        (integration, json!({}), "name", json!("Claude")),
        (integration, json!({}), "pricing_adjustments", pricing),
        (
            integration,
            json!({ "pricing_adjustments": null }),
            "pricing_adjustments",
            Value::Null,
        ),
        (
            integration,
            json!({ "secret_mappings": [mapping] }),
            "secret_mappings",
            json!([mapping]),
        ),
        (
            integration,
            json!({ "description": "" }),
            "secret_mappings",
            json!([mapping]),
        ),
        (integration, json!({}), "description", json!("")),
        (
            integration,
            json!({ "secret_mappings": [] }),
            "secret_mappings",
            json!([]),
        ),
        (
            integration,
            json!({ "ai_provider_id": "openai" }),
            "ai_provider_id",
            json!("anthropic"),
        ),
        (
            server,
            json!({}),
            "description",
            json!("Finds and files issues"),
        ),
        (
            server,
            json!({ "description": null }),
            "description",
            Value::Null,
        ),
        (
            server,
            json!({ "description": "Again" }),
            "description",
            json!("Again"),
        ),
        (
            server,
            json!({ "secret_mappings": [mapping] }),
            "secret_mappings",
            json!([mapping]),
        ),
        (
            server,
            json!({ "secret_mappings": [] }),
            "secret_mappings",
            json!([]),
        ),
        (
            provider,
            json!({ "note": "New" }),
            "expires_at",
            json!("2026-12-31T00:00:00.000Z"),
        ),
        (
            provider,
            json!({ "expires_at": null }),
            "expires_at",
            Value::Null,
        ),
        (provider, json!({}), "note", json!("New")),
    ] {
        let answer = portkey.put(path, change.clone()).await;
        let expected_answer: &[&str] = if path == provider {
            &["id", "slug"]
        } else {
            &[]
        };
        let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(names, expected_answer, "{path} {change}");
        assert_eq!(portkey.get(path).await[field], expected, "{path} {change}");
    }
}

#[tokio::test]
async fn update_without_a_body_is_rejected() {
    let portkey = Portkey::start().await;
    for path in [
        "/admin/users/0a5d0000-0000-4000-8000-00000000ada2",
        "/admin/workspaces/ws-research",
        "/admin/workspaces/ws-research/users/0a5d0000-0000-4000-8000-00000000ada2",
        "/collections/co-customers",
        "/configs/pc-support-fallback",
        "/guardrails/guard_tool-calls",
        "/guardrails/guard_tool-calls/mcp-servers",
        "/integrations/anthropic",
        "/integrations/anthropic/models",
        "/integrations/anthropic/workspaces",
        "/mcp-integrations/issue-tracker",
        "/mcp-integrations/issue-tracker/capabilities",
        "/mcp-integrations/issue-tracker/workspaces",
        "/mcp-servers/issues",
        "/mcp-servers/issues/user-access",
        "/prompts/pp-refund-reply",
        "/prompts/pp-refund-reply/makeDefault",
        "/prompts/partials/pp-house-style",
        "/providers/gemini?workspace_id=ws-research",
        "/secret-references/support-mailbox",
        "/virtual-keys/cohere-trial",
        "/workspace-exclusions/input-guardrails",
    ] {
        let (status, code, message) = portkey.refusal(Method::PUT, path, Value::Null).await;
        assert_eq!((status, code.as_str()), (400, "AB01"), "{path}");
        assert_eq!(message, "The request has no body", "{path}");
    }
}

#[tokio::test]
async fn configurations_are_merged_and_validated_as_a_whole() {
    let portkey = Portkey::start().await;
    let change = json!({ "configurations": { "aws_region": "us-east-1" } });
    portkey.put("/integrations/bedrock-research", change).await;
    let settings = &portkey.get("/integrations/bedrock-research").await["configurations"];
    assert_eq!(settings["aws_region"], "us-east-1");
    assert_eq!(settings["aws_auth_type"], "assumedRole");
    assert!(settings["masked_aws_external_id"].is_string());
}

#[tokio::test]
async fn time_advances_only_with_writes() {
    let portkey = Portkey::start().await;
    let first = portkey.get("/integrations/anthropic").await["last_updated_at"].clone();
    portkey
        .put("/integrations/anthropic", json!({ "name": "B" }))
        .await;
    let second = portkey.get("/integrations/anthropic").await["last_updated_at"].clone();
    portkey.get("/integrations").await;
    portkey
        .put("/integrations/anthropic", json!({ "name": "C" }))
        .await;
    let third = portkey.get("/integrations/anthropic").await["last_updated_at"].clone();
    let seconds = |time: &Value| time.as_str().unwrap()[17..19].parse::<u32>().unwrap();
    assert!(first.as_str() < second.as_str());
    assert_eq!((seconds(&second) + 1) % 60, seconds(&third));
}
