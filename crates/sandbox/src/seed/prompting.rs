//! Seeded configs and prompts, with their collections, labels and partials.

use serde_json::json;

use super::{SeedStep, post, put};

/// Creates configs, collections, labels and prompts.
pub(super) fn steps() -> Vec<SeedStep> {
    [configs(), collections_and_labels(), prompts()]
        .into_iter()
        .flatten()
        .collect()
}

fn configs() -> Vec<SeedStep> {
    vec![
        post(
            "/v1/configs",
            json!({
                "name": "Support Fallback", "workspace_id": "ws-support-bot",
                "config": { "strategy": { "mode": "fallback" },
                    "targets": [{ "provider": "@openai-production" }, { "provider": "@anthropic" }] },
            }),
        ),
        put(
            "/v1/configs/pc-support-fallback",
            json!({ "config": { "strategy": { "mode": "fallback" },
                "targets": [{ "provider": "@openai-production" }, { "provider": "@anthropic" }],
                "retry": { "attempts": 3, "on_status_codes": [429, 503] } } }),
        ),
        post(
            "/v1/configs",
            json!({
                "name": "Cached Answers", "workspace_id": "ws-support-bot",
                "config": { "cache": { "mode": "simple", "max_age": 3600 },
                    "targets": [{ "provider": "@anthropic" }] },
            }),
        ),
        post(
            "/v1/configs",
            json!({
                "name": "Trial Split", "workspace_id": "ws-research",
                "config": { "strategy": { "mode": "loadbalance" }, "targets": [
                    { "provider": "@claude-trials", "weight": 0.8 },
                    { "provider": "@gemini", "weight": 0.2 },
                ] },
            }),
        ),
    ]
}

fn collections_and_labels() -> Vec<SeedStep> {
    vec![
        post(
            "/v1/collections",
            json!({ "name": "Customers", "workspace_id": "ws-support-bot" }),
        ),
        post(
            "/v1/collections",
            json!({
                "name": "Replies", "workspace_id": "ws-support-bot",
                "parent_collection_id": "co-customers",
            }),
        ),
        post(
            "/v1/labels",
            json!({ "name": "production", "description": "What customers meet",
                "color_code": "#0a7d33" }),
        ),
        post(
            "/v1/labels",
            json!({ "name": "staging", "description": "About to be met",
                "color_code": "#f2a900" }),
        ),
        post(
            "/v1/labels",
            json!({ "name": "night-shift", "workspace_id": "ws-support-bot" }),
        ),
    ]
}

fn prompts() -> Vec<SeedStep> {
    const MESSAGES: &str = r#"[
        {"role": "system", "content": "{{>pp-house-style}}"},
        {"role": "user", "content": "{{customer}} asks for the money back for order {{order}}."}
    ]"#;
    vec![
        post(
            "/v1/prompts/partials",
            json!({
                "name": "House Style", "workspace_id": "ws-support-bot",
                "string": "Answer kindly, in plain words and in three sentences at most.",
                "version_description": "Agreed with the support team",
            }),
        ),
        post(
            "/v1/prompts",
            json!({
                "name": "Refund Reply", "collection_id": "co-replies", "string": MESSAGES,
                "parameters": { "temperature": 0.2, "max_tokens": 400 },
                "virtual_key": "openai-production", "model": "gpt-4o",
                "version_description": "First draft",
            }),
        ),
    ]
}
