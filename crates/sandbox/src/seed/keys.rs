//! Seeded keys and secret references.

use serde_json::json;

use super::{SeedStep, post};
use crate::domains::analytics::traffic::EVALUATION_BUDGET_USD;

/// Creates API keys: one of the organisation, four that are or were in use, and one that is unused.
pub(super) fn api_keys(in_a_year: &str) -> Vec<SeedStep> {
    vec![
        post(
            "/v1/api-keys/organisation/service",
            json!({
                "name": "Platform automation", "description": "Infrastructure as code",
                "scopes": ["workspaces.list", "workspaces.read", "organisation_integrations.list"],
                "alert_emails": ["platform-team@example.com"],
                "rotation_policy": { "rotation_period": "monthly",
                    "key_transition_period_ms": 86_400_000 },
            }),
        ),
        post(
            "/v1/api-keys/workspace/service",
            json!({
                "name": "Support bot production", "workspace_id": "ws-support-bot",
                "scopes": ["completions.write", "logs.write"],
                "rate_limits": [{ "type": "requests", "unit": "rps", "value": 20 }],
                "defaults": { "metadata": { "stage": "production" },
                    "allow_config_override": false },
            }),
        ),
        post(
            "/v1/api-keys/workspace/service",
            json!({
                "name": "Evaluation runs", "workspace_id": "ws-research",
                "scopes": ["completions.write"], "expires_at": in_a_year,
                "usage_limits": { "type": "cost", "credit_limit": EVALUATION_BUDGET_USD,
                    "alert_threshold": EVALUATION_BUDGET_USD * 4 / 5 },
            }),
        ),
        post(
            "/v1/api-keys/workspace/service",
            json!({
                "name": "Research notebooks", "workspace_id": "ws-research",
                "scopes": ["completions.write"],
            }),
        ),
        post(
            "/v1/api-keys/workspace/service",
            json!({
                "name": "Shared assistants", "workspace_id": "ws-shared",
                "scopes": ["completions.write"],
            }),
        ),
        post(
            "/v1/api-keys/workspace/service",
            json!({
                "name": "Support bot staging", "workspace_id": "ws-support-bot",
                "description": "Not used yet", "scopes": ["completions.write"],
            }),
        ),
    ]
}

/// Creates secret references, the first of which the Vertex integration uses.
pub(super) fn secret_references() -> Vec<SeedStep> {
    vec![
        post(
            "/v1/secret-references",
            json!({
                "name": "Vertex service account", "slug": "vertex-service-account",
                "description": "For the Vertex AI integration", "manager_type": "aws_sm",
                "auth_config": { "aws_auth_type": "assumedRole", "aws_region": "eu-central-1",
                    "aws_role_arn": "arn:aws:iam::000000000000:role/portkey-secrets",
                    "aws_external_id": "sandbox-external-id-0007" },
                "secret_path": "ai/vertex/service-account", "tags": { "team": "platform" },
            }),
        ),
        post(
            "/v1/secret-references",
            json!({
                "name": "Research providers", "manager_type": "hashicorp_vault",
                "auth_config": { "vault_auth_type": "token", "vault_token": "hvs.sandbox-0008",
                    "vault_addr": "https://vault.example.com", "vault_namespace": "research" },
                "secret_path": "kv/data/providers", "secret_key": "cohere",
                "allowed_workspaces": ["ws-research"], "tags": { "team": "research" },
            }),
        ),
        post(
            "/v1/secret-references",
            json!({
                "name": "Support mailbox", "manager_type": "azure_kv",
                "auth_config": { "azure_auth_mode": "managed",
                    "azure_vault_url": "https://example-support.vault.azure.net" },
                "secret_path": "mailbox-token", "description": "Not used yet",
            }),
        ),
    ]
}

/// Creates virtual keys, the predecessors of integrations.
pub(super) fn virtual_keys() -> Vec<SeedStep> {
    vec![
        post(
            "/v1/virtual-keys",
            json!({
                "name": "OpenAI before integrations", "provider": "openai",
                "key": "sk-sandbox-openai-0009", "workspace_id": "ws-shared",
                "note": "Move to OpenAI Production",
            }),
        ),
        post(
            "/v1/virtual-keys",
            json!({
                "name": "Cohere trial", "provider": "cohere", "workspace_id": "ws-support-bot",
                "key": "sandbox-cohere-0010",
                "usage_limits": { "type": "cost", "credit_limit": 20, "alert_threshold": 15 },
                "rate_limits": { "type": "requests", "unit": "rpm", "value": 30 },
            }),
        ),
    ]
}
