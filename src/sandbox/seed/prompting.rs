//! How the seeded organisation talks to its models: its configs.

use serde_json::json;

use super::{Step, post, put};

/// The calls that set it up.
pub(super) fn steps() -> Vec<Step> {
    configs()
}

fn configs() -> Vec<Step> {
    vec![
        post(
            "/v1/configs",
            json!({
                "name": "Support Fallback", "workspace_id": "ws-support-bot", "isDefault": 1,
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
