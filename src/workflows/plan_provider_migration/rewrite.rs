//! Configs and prompts that name a virtual key.

use std::collections::BTreeMap;

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use crate::{
    pipeline::{
        CallError,
        redacted_fields::{find_redacted_fields, name_fields},
    },
    workflows::{StepAnswer, Steps, arguments, list::List, plan_draft::PlanDraft},
};

/// A virtual key and the provider that replaces it.
pub(super) struct Renaming {
    pub(super) from: String,
    pub(super) to: String,
}

/// Returns the provider for a reference to a virtual key.
fn find<'a>(renamings: &'a [Renaming], value: Option<&Value>) -> Option<&'a str> {
    let name = value?.as_str()?;
    let name = name.strip_prefix('@').unwrap_or(name);
    let renaming = renamings.iter().find(|renaming| renaming.from == name)?;
    Some(&renaming.to)
}

/// Collects the operations of a JSON patch that rewrite a document.
fn collect_changes(at: &str, value: &Value, renamings: &[Renaming], changes: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(to) = find(renamings, fields.get("virtual_key")) {
                changes.push(json!({ "op": "remove", "path": format!("{at}/virtual_key") }));
                let provider = format!("@{to}");
                changes.push(
                    json!({ "op": "add", "path": format!("{at}/provider"), "value": provider }),
                );
            } else if let Some(Value::String(provider)) = fields.get("provider")
                && provider.starts_with('@')
                && let Some(to) = find(renamings, fields.get("provider"))
                && *provider != format!("@{to}")
            {
                let path = format!("{at}/provider");
                changes.push(json!({ "op": "replace", "path": path, "value": format!("@{to}") }));
            }
            for (name, inner) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect_changes(&format!("{at}/{name}"), inner, renamings, changes);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect_changes(&format!("{at}/{i}"), item, renamings, changes);
            }
        }
        _ => {}
    }
}

/// Returns the document of a config, which answers hold as text or as an object.
fn document_of(answer: &Value) -> Value {
    let config = answer.get("data").filter(|data| data.is_object());
    let document = config.unwrap_or(answer).get("config");
    match document {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(document) => document.clone(),
        None => Value::Null,
    }
}

/// Plans the configs that name one of the virtual keys.
pub(super) async fn plan_configs(
    renamings: &[Renaming],
    here: &JsonMap,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    let list = List::read_pages(steps, "list-all-configs", here.clone()).await?;
    list.require_complete("another config")?;
    let mut patches = BTreeMap::new();
    for slug in list.items.iter().filter_map(|config| config.get("slug")) {
        let read = arguments([("slug", slug.clone())]);
        let answer = match steps.call("get-config", read).await? {
            StepAnswer::Answered(answer) => answer,
            // A patch keeps what is redacted. What it names cannot be seen.
            StepAnswer::Redacted(answer) => {
                let fields = name_fields(&find_redacted_fields(&answer));
                draft.note(format!(
                    "config {slug}: a policy redacts {fields}, and a virtual key that is named there stays"
                ));
                answer
            }
            StepAnswer::DryRun(_) => {
                draft.note(format!(
                    "config {slug} was not read: a policy wants a dry run"
                ));
                continue;
            }
        };
        let mut changes = Vec::new();
        collect_changes("/config", &document_of(&answer), renamings, &mut changes);
        if !changes.is_empty() {
            patches.insert(slug.as_str().unwrap_or_default().to_owned(), changes);
        }
    }
    for (i, (slug, changes)) in patches.into_iter().enumerate() {
        let update = arguments([("slug", slug.into()), ("patch", changes.into())]);
        draft.add(format!("config{}", i + 1), "update-config", update);
    }
    Ok(())
}

/// Plans the prompts that name one of the virtual keys.
pub(super) async fn plan_prompts(
    renamings: &[Renaming],
    here: &JsonMap,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    let list = List::read_pages(steps, "list-prompts", here.clone()).await?;
    list.require_complete("another prompt")?;
    let mut count = 0;
    for id in list.items.iter().filter_map(|prompt| prompt.get("id")) {
        let prompt = steps
            .read("get-prompt", arguments([("prompt_id", id.clone())]))
            .await?;
        let Some(to) = find(renamings, prompt.get("virtual_key")) else {
            continue;
        };
        if prompt.get("virtual_key").is_some_and(|now| now == to) {
            continue;
        }
        count += 1;
        let update = arguments([
            ("prompt_id", id.clone()),
            ("patch", json!({ "virtual_key": to })),
        ]);
        draft.add(format!("prompt{count}"), "update-prompt", update);
    }
    if count > 0 {
        draft.note(
            "a changed prompt is a new version, which serves nobody until it is published: `promote-prompt` with \
             `publish`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_at_any_depth_are_rewritten() {
        let renamings = [Renaming {
            from: "old".to_owned(),
            to: "new".to_owned(),
        }];
        let document = json!({ "virtual_key": "old", "targets": [
            { "provider": "@old" }, { "provider": "old" },
            { "a/b": { "virtual_key": "other", "targets": [{ "virtual_key": "@old" }] } } ] });
        let mut changes = Vec::new();
        collect_changes("/config", &document, &renamings, &mut changes);
        let paths: Vec<_> = changes.iter().map(|change| &change["path"]).collect();
        assert_eq!(
            paths,
            [
                "/config/virtual_key",
                "/config/provider",
                "/config/targets/0/provider",
                "/config/targets/2/a~1b/targets/0/virtual_key",
                "/config/targets/2/a~1b/targets/0/provider",
            ]
        );
    }
}
