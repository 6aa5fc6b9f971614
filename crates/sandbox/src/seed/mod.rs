//! Seeds the organisation of a sandbox with the calls an administrator would make.

mod enkrypt;
mod gateway;
mod keys;
mod mcp;
mod people;
mod policies;
mod prompting;

use http::Method;
use serde_json::{Value, json};

use super::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    clock::{Clock, PinnedTime, SECONDS_PER_DAY, format_timestamp},
    domains::{
        self,
        analytics::traffic::{
            EVALUATION_AGE_DAYS, EVALUATION_BUDGET_USD, RESET_AGE_DAYS, RESET_PERIOD_DAYS, Traffic,
            WORKSPACE_BUDGET_USD,
        },
        users,
    },
    route::Routes,
    store::{CollectionKey, ORGANISATION, Store},
};

/// Age of the organisation in days when the sandbox starts.
const FOUNDED_DAYS_AGO: u64 = 130;

/// Age of the latest requests and jobs in seconds when the sandbox starts.
const LATEST_AGE_SECONDS: u64 = 2 * 3600;

/// Creates a store with the seeded organisation. Its history covers the months before the pinned
/// time, or before today. Two sandboxes of one day are seeded alike, so that a plan made by one
/// process can be applied by the next.
pub(crate) fn seed_store(routes: &Routes, pinned: Option<PinnedTime>) -> Result<Store, ApiError> {
    let mut store = Store::default();
    store.is_seeding = true;
    let clock = Clock::new(pinned);
    let now = clock.unix_seconds();
    let seeded_at = pinned.map_or_else(|| begin_of_day(now), PinnedTime::unix_seconds);
    let in_a_year = format_timestamp(seeded_at + 364 * SECONDS_PER_DAY);
    let month = (
        format_timestamp(seeded_at - 30 * SECONDS_PER_DAY),
        format_timestamp(seeded_at),
    );
    store.clock = Clock::from_unix_seconds(seeded_at - FOUNDED_DAYS_AGO * SECONDS_PER_DAY);
    users::insert_people(&mut store);
    // Age of each step in days, and its calls.
    let steps_by_age = [
        (FOUNDED_DAYS_AGO, workspaces()),
        (129, keys::secret_references()),
        (128, integrations()),
        (128, access()),
        (127, providers(&in_a_year)),
        (120, mcp::integrations()),
        (126, people::steps()),
        (115, prompting::steps()),
        (120, keys::api_keys(&in_a_year)),
        (125, keys::virtual_keys()),
        (60, policies::usage_limits()),
        (60, policies::rate_limits()),
        (0, observability(&month)),
        (80, gateway::mcp_servers()),
        (70, gateway::guardrails()),
        (110, gateway::deployments()),
        (40, gateway::agents()),
    ];
    for (age, steps) in steps_by_age {
        let begin = seeded_at - age * SECONDS_PER_DAY - LATEST_AGE_SECONDS;
        store.clock = Clock::from_unix_seconds(begin);
        for (method, path, body) in steps {
            let (action, path) = routes.find(&method, path).ok_or(ApiError::NoSuchRoute)?;
            let body = body.as_object().cloned().unwrap_or_default();
            action.run(
                &mut store,
                &ApiCall {
                    path,
                    body,
                    ..ApiCall::default()
                },
            )?;
            store.clock.tick();
        }
    }
    store.clock = Clock::from_unix_seconds(seeded_at);
    let key = |slug: &str| {
        let keys = CollectionKey {
            kind: "api-keys",
            owner: ORGANISATION,
        };
        store.find(keys, slug).map(item_id).unwrap_or_default()
    };
    store.traffic = Traffic::new(now, key);
    apply_history(&mut store);
    policies::insert_project_entities(&mut store);
    enkrypt::seed_gateways(&mut store);
    store.clock = clock;
    store.is_seeding = false;
    Ok(store)
}

/// Returns the begin of the day, in UTC, of a time in seconds since 1970.
const fn begin_of_day(seconds: u64) -> u64 {
    seconds - seconds % SECONDS_PER_DAY
}

/// Applies changes that happen over time and that no call can make, such as a sign-in, a default,
/// an archived item or a spent budget.
fn apply_history(store: &mut Store) {
    domains::mcp_servers::sign_in(store, "papers", &[users::ADMIN_ID, users::RESEARCH_LEAD_ID]);
    let research = domains::workspaces::resolve(store, "ws-research").map(item_id);
    let research = research.unwrap_or_default();
    let days_ago = |days: u64| format_timestamp(store.traffic.midnight_days_ago(days));
    let last_reset = days_ago(RESET_AGE_DAYS);
    let evaluation = days_ago(EVALUATION_AGE_DAYS);
    let next_reset = format_timestamp(
        store.traffic.midnight_days_ago(RESET_AGE_DAYS) + RESET_PERIOD_DAYS * SECONDS_PER_DAY,
    );
    let budget = json!([{ "type": "cost", "credit_limit": WORKSPACE_BUDGET_USD,
        "alert_threshold": WORKSPACE_BUDGET_USD * 4 / 5, "periodic_reset": null,
        "periodic_reset_days": RESET_PERIOD_DAYS, "next_usage_reset_at": next_reset }]);
    for (kind, owner, handle, field, value) in [
        (
            "deployments",
            ORGANISATION,
            "eu-production",
            "connection_status",
            json!("healthy"),
        ),
        (
            "workspaces",
            ORGANISATION,
            domains::workspaces::DEFAULT_SLUG,
            "is_default",
            json!(true),
        ),
        (
            "workspaces",
            ORGANISATION,
            "ws-research",
            "usage_limits",
            budget,
        ),
        (
            "workspaces",
            ORGANISATION,
            "ws-research",
            "last_reset_at",
            json!(last_reset),
        ),
        (
            "integrations",
            ORGANISATION,
            "openai-legacy",
            "status",
            json!("archived"),
        ),
        (
            "providers",
            &research,
            "claude-trials",
            "status",
            json!("exhausted"),
        ),
        (
            "providers",
            &research,
            "claude-trials",
            "created_at",
            json!(evaluation),
        ),
        (
            "api-keys",
            ORGANISATION,
            "evaluation-runs",
            "status",
            json!("exhausted"),
        ),
        (
            "api-keys",
            ORGANISATION,
            "evaluation-runs",
            "created_at",
            json!(evaluation),
        ),
        (
            "api-keys",
            ORGANISATION,
            "evaluation-runs",
            "last_updated_at",
            json!(evaluation),
        ),
        (
            "usage-limits-policies",
            ORGANISATION,
            "last-year",
            "status",
            json!("archived"),
        ),
        (
            "usage-limits-policies",
            ORGANISATION,
            "budget-of-each-project",
            "created_at",
            json!(evaluation),
        ),
        (
            "usage-limits-policies",
            ORGANISATION,
            "budget-of-each-project",
            "last_updated_at",
            json!(evaluation),
        ),
        (
            "virtual-keys",
            ORGANISATION,
            "cohere-trial",
            "status",
            json!("exhausted"),
        ),
    ] {
        if let Some(item) = store.find_mut(CollectionKey { kind, owner }, handle) {
            item.insert(field.to_owned(), value);
        }
    }
    domains::user_invites::apply_history(store);
    domains::audit_logs::apply_history(store);
}

/// A call that seeds data.
type SeedStep = (Method, &'static str, Value);

fn post(path: &'static str, body: Value) -> SeedStep {
    (Method::POST, path, body)
}

fn put(path: &'static str, body: Value) -> SeedStep {
    (Method::PUT, path, body)
}

fn workspaces() -> Vec<SeedStep> {
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

fn integrations() -> Vec<SeedStep> {
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

fn access() -> Vec<SeedStep> {
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

fn providers(in_a_year: &str) -> Vec<SeedStep> {
    vec![
        post(
            "/v1/providers",
            json!({
                "name": "Claude for trials", "slug": "claude-trials",
                "integration_id": "anthropic", "workspace_id": "ws-research",
                "note": "Ask platform-team@example.com for more budget",
                "usage_limits": { "type": "cost", "credit_limit": EVALUATION_BUDGET_USD,
                    "alert_threshold": EVALUATION_BUDGET_USD * 4 / 5 },
                "tags": { "stage": "experiment" },
            }),
        ),
        post(
            "/v1/providers",
            json!({
                "name": "Gemini", "slug": "gemini", "integration_id": "vertex-ai",
                "workspace_id": "ws-research", "expires_at": in_a_year,
                "rate_limits": { "type": "tokens", "unit": "rpm", "value": 100_000 },
            }),
        ),
    ]
}

fn observability((from, until): &(String, String)) -> Vec<SeedStep> {
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
        post(
            "/v1/feedback",
            json!({ "trace_id": "parcel-1", "value": 8 }),
        ),
        post(
            "/v1/logs/exports",
            json!({
                "workspace_id": "ws-research", "requested_data": ["id", "ai_model", "cost"],
                "filters": { "time_of_generation_min": from, "time_of_generation_max": until },
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::text;

    /// No date of the seed tells the second at which the sandbox was started.
    #[test]
    fn seed_without_pinned_clock_begins_at_midnight() {
        let store = seed_store(&Routes::new(domains::ALL), None).unwrap();
        let workspaces = CollectionKey {
            kind: "workspaces",
            owner: ORGANISATION,
        };
        for workspace in store.all(workspaces) {
            let created_at = text(workspace, "created_at");
            assert!(created_at.contains("T22:00:"), "{created_at}");
        }
        assert_ne!(store.all(workspaces).count(), 0);
    }
}
