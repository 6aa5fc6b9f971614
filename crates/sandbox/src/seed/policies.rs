//! Seeded policies and their groups.

use serde_json::{Value, json};

use super::{SeedStep, post};
use crate::{
    call::item_id,
    domains::analytics::traffic::EVALUATION_BUDGET_USD,
    store::{CollectionKey, ORGANISATION, Store},
};

/// Creates budgets, one of which is archived later.
pub(super) fn usage_limits() -> Vec<SeedStep> {
    let budget = |name: &str, limit: u64| {
        json!({
            "name": name, "workspace_id": "ws-research", "type": "cost", "credit_limit": limit,
            "conditions": [{ "key": "workspace_id", "value": "ws-research" }],
            "group_by": [{ "key": "metadata.project" }],
        })
    };
    let mut projects = budget("Budget of each project", EVALUATION_BUDGET_USD);
    if let Some(fields) = projects.as_object_mut() {
        fields.insert(
            "alert_threshold".to_owned(),
            json!(EVALUATION_BUDGET_USD * 4 / 5),
        );
    }
    vec![
        post("/v1/policies/usage-limits", projects),
        post("/v1/policies/usage-limits", budget("Last year", 500)),
    ]
}

/// Creates rate limits.
pub(super) fn rate_limits() -> Vec<SeedStep> {
    vec![post(
        "/v1/policies/rate-limits",
        json!({
            "name": "Fair share", "workspace_id": "ws-support-bot", "type": "requests",
            "unit": "rpm", "value": 120, "group_by": [{ "key": "api_key" }],
            "conditions": [{ "key": "model", "value": "gpt-4o*" }],
        }),
    )]
}

/// Inserts a group for each project of a budget, which no call of this API can do.
pub(super) fn insert_project_entities(store: &mut Store) {
    let policies = CollectionKey {
        kind: "usage-limits-policies",
        owner: ORGANISATION,
    };
    let policy = store
        .find(policies, "budget-of-each-project")
        .map(item_id)
        .unwrap_or_default();
    for project in ["summaries", "translation", "evaluation"] {
        let entity = [
            ("id", Value::from(store.next_id())),
            ("value_key", format!("metadata.project:{project}").into()),
        ];
        let entity = entity
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
        store.insert(
            CollectionKey {
                kind: "usage-limits-entities",
                owner: &policy,
            },
            entity,
        );
    }
}
