//! Integrations that a team is granted, with the models and limits that it needs.

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{LIMIT_FIELDS, Team, missing_fields, objects};
use crate::{
    pipeline::CallError,
    workflows::{Steps, arguments, plan_draft::PlanDraft, text},
};

/// Plans the integrations of the arguments. A team keeps those that the arguments do not name.
pub(super) async fn plan_integrations(
    args: &JsonMap,
    team: &Team,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    if objects(args, "integrations").next().is_none() {
        return Ok(());
    }
    let providers = team.read_list(steps, "list-all-providers").await?;
    for (i, integration) in objects(args, "integrations").enumerate() {
        let number = i + 1;
        plan_models(number, integration, steps, draft).await?;
        let slug = text(integration, "slug").unwrap_or_default();
        let read = arguments([("slug", slug.into())]);
        let access = steps.read("list-integration-workspaces", read).await?;
        let rows = access.get("workspaces").and_then(Value::as_array);
        let row = rows
            .into_iter()
            .flatten()
            .find(|row| team.is_named_by(row.get("id")));
        let is_enabled = |row: &Value| row.get("enabled") == Some(&Value::Bool(true));
        let wanted = LIMIT_FIELDS
            .into_iter()
            .filter_map(|field| Some((field, integration.get(field)?)));
        let at = format!("integrations[{i}].");
        let wanted = missing_fields(&at, wanted, row.unwrap_or(&Value::Null))?;
        let is_met = |row: &Value| is_enabled(row) && wanted.is_empty();
        let is_of_integration = |provider: &&Value| {
            provider
                .get("integration_id")
                .is_some_and(|other| other == slug)
        };
        let has_provider = providers.iter().any(|one| is_of_integration(&one));
        if !row.is_some_and(is_met) {
            // By the id that the list has, so that the entry is changed and not another one added.
            let id = row.and_then(|row| row.get("id")).cloned();
            let mut grant = arguments([("id", id.unwrap_or_else(|| team.id()))]);
            if !row.is_some_and(is_enabled) {
                // The grant makes the provider, so that no step of its own does.
                grant.insert("enabled".to_owned(), true.into());
                grant.insert("create_default_provider".to_owned(), (!has_provider).into());
                if !has_provider && let Some(provider) = text(integration, "provider_slug") {
                    grant.insert("default_provider_slug".to_owned(), provider.into());
                }
            }
            grant.extend(wanted);
            let patch = json!({ "workspaces": [grant] });
            let update = arguments([("slug", slug.into()), ("patch", patch)]);
            let tool = "bulk-update-integration-workspaces";
            draft.add(format!("access{number}"), tool, update);
        }
        if row.is_some_and(is_enabled) && !has_provider {
            let create = arguments([
                ("name", slug.into()),
                ("integration_id", slug.into()),
                ("workspace_id", team.id()),
                ("slug", text(integration, "provider_slug").into()),
            ]);
            draft.add(format!("provider{number}"), "create-provider", create);
        }
    }
    Ok(())
}

/// Plans the models that an integration has to offer.
async fn plan_models(
    number: usize,
    integration: &JsonMap,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    let Some(Value::Array(wanted)) = integration.get("models") else {
        return Ok(());
    };
    let slug = text(integration, "slug").unwrap_or_default();
    let read = arguments([("slug", slug.into())]);
    let offer = steps.read("list-integration-models", read).await?;
    let allows_all = offer.get("allow_all_models") == Some(&Value::Bool(true));
    let models = offer.get("models").and_then(Value::as_array);
    let is_offered = |name: &Value| {
        let known = models
            .into_iter()
            .flatten()
            .find(|model| model.get("slug") == Some(name));
        known.map_or(allows_all, |model| {
            model.get("enabled") == Some(&Value::Bool(true))
        })
    };
    let missing: Vec<_> = wanted.iter().filter(|name| !is_offered(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let switches: Vec<_> = missing
        .iter()
        .map(|name| json!({ "slug": name, "enabled": true }))
        .collect();
    let patch = json!({ "models": switches });
    let update = arguments([("slug", slug.into()), ("patch", patch)]);
    let tool = "bulk-update-integration-models";
    draft.add(format!("models{number}"), tool, update);
    draft.note(format!(
        "models belong to the integration: `models{number}` enables them for every workspace that has `{slug}`"
    ));
    Ok(())
}
