//! Seeded policies and their groups.

use serde_json::{Value, json};

use super::{Step, post};
use crate::{
    call::id_of,
    domains::analytics::traffic::EVALUATION_BUDGET,
    store::{ORGANISATION, Shelf, Store},
};

/// Creates budgets, one of which is archived later.
pub(super) fn usage_limits() -> Vec<Step> {
    let budget = |name: &str, limit: u64| {
        json!({
            "name": name, "workspace_id": "ws-research", "type": "cost", "credit_limit": limit,
            "conditions": [{ "key": "workspace_id", "value": "ws-research" }],
            "group_by": [{ "key": "metadata.project" }],
        })
    };
    let mut projects = budget("Budget of each project", EVALUATION_BUDGET);
    if let Some(fields) = projects.as_object_mut() {
        fields.insert(
            "alert_threshold".to_owned(),
            json!(EVALUATION_BUDGET * 4 / 5),
        );
    }
    vec![
        post("/v1/policies/usage-limits", projects),
        post("/v1/policies/usage-limits", budget("Last year", 500)),
    ]
}

/// Creates rate limits.
pub(super) fn rate_limits() -> Vec<Step> {
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
pub(super) fn tell_projects_apart(store: &mut Store) {
    let policies = Shelf {
        kind: "usage-limits-policies",
        owner: ORGANISATION,
    };
    let policy = store
        .find(policies, "budget-of-each-project")
        .map(id_of)
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
            Shelf {
                kind: "usage-limits-entities",
                owner: &policy,
            },
            entity,
        );
    }
}
