//! Steps of `plan-changes` that restore a snapshot.

use std::collections::BTreeMap;

use portkey_operation::{FieldUpdate, JsonMap};
use serde_json::{Value, json};

use super::{
    Snapshot, argument_schemas,
    document::count_hidden,
    drift::{ChangedDocument, Drift},
    find_operation,
    kinds::{KINDS, SnapshotKind, kind_of_path},
};
use crate::{changes::plan::MAX_PLAN_STEPS, workflows::arguments};

/// Steps that restore a snapshot, and what they do not restore.
#[derive(Debug, Default)]
pub(in crate::workflows) struct RestorePlan {
    pub(in crate::workflows) steps: Vec<Value>,
    pub(in crate::workflows) not_restored: Vec<String>,
}

/// Computes the steps that restore a snapshot. What was added since is left alone.
pub(in crate::workflows) fn plan_restore(
    old: &BTreeMap<String, Value>,
    now: &Snapshot,
    drift: &Drift,
) -> RestorePlan {
    let mut plan = RestorePlan::default();
    // What others refer to is created first.
    for kind in KINDS {
        let removed = drift
            .removed
            .iter()
            .filter(|path| kind_of_path(path).is_some_and(|other| std::ptr::eq(other, kind)));
        for path in removed {
            if let Some(document) = old.get(path) {
                plan.create(kind, path, document);
            }
        }
    }
    for changed in &drift.changed {
        if let (Some(document), Some(current)) =
            (old.get(&changed.path), now.documents.get(&changed.path))
        {
            plan.update(changed, document, &current.value);
        }
    }
    for path in &drift.added {
        plan.not_restored
            .push(format!("{path}: was added, and is not deleted"));
    }
    plan
}

impl RestorePlan {
    fn add_step(&mut self, path: &str, tool: &str, arguments: JsonMap) {
        if self.steps.len() >= MAX_PLAN_STEPS {
            let what = format!(
                "{path}: a plan has at most {MAX_PLAN_STEPS} steps; apply it, and look for drift again"
            );
            self.not_restored.push(what);
            return;
        }
        let id = format!("restore{}", self.steps.len() + 1);
        self.steps
            .push(json!({ "id": id, "tool": tool, "arguments": arguments }));
    }

    /// Adds the step that changes a resource back.
    fn update(&mut self, changed: &ChangedDocument, old: &Value, now: &Value) {
        let path = &changed.path;
        let update = changed.kind.update;
        let known = update.and_then(|update| Some((update, argument_schemas(update.operation)?.0)));
        let operation = update.and_then(|update| find_operation(update.operation));
        let (Some((update, known)), Some(operation)) = (known, operation) else {
            self.not_restored
                .push(format!("{path}: no operation changes it"));
            return;
        };
        let mut fields: Vec<&str> = changed
            .diff
            .changes
            .iter()
            .filter_map(|change| change.path.first_field())
            .collect();
        fields.dedup();
        let mut patch = Vec::new();
        for field in fields {
            let rule = operation
                .update_rules()
                .map(|rules| rules.field_update(field));
            let is_known = known.contains_key(field) && operation.is_change(field);
            let reason = match (rule, old.get(field)) {
                (Some(FieldUpdate::WriteOnly | FieldUpdate::NotInPatch(_)) | None, _) => {
                    Some("no patch can change it")
                }
                _ if !is_known => Some("`update` does not take it"),
                (_, Some(value)) if count_hidden(value) > 0 => Some("it has a masked value"),
                _ => None,
            };
            if let Some(reason) = reason {
                let reason = reason.replace("`update`", &format!("`{}`", update.operation));
                self.not_restored
                    .push(format!("{path}: `{field}`: {reason}"));
                continue;
            }
            let pointer = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
            patch.push(match old.get(field) {
                Some(value) => {
                    json!({ "op": "add", "path": pointer, "value": without_references(value) })
                }
                None => json!({ "op": "remove", "path": pointer }),
            });
        }
        if patch.is_empty() {
            return;
        }
        let mut step = arguments([("patch", patch.into())]);
        if !update.argument.is_empty() {
            let handle = now.get(update.field).cloned().unwrap_or_default();
            step.insert(update.argument.to_owned(), handle);
        }
        if let Some(workspace) = workspace_of(path)
            && known.contains_key("workspace_id")
            && !operation.is_change("workspace_id")
        {
            step.entry("workspace_id")
                .or_insert_with(|| workspace.into());
        }
        if let Some(publish) = changed.kind.publish {
            let what = format!("{path}: the restored version has to be published with `{publish}`");
            self.not_restored.push(what);
        }
        self.add_step(path, update.operation, step);
    }

    /// Adds the step that creates a resource again.
    fn create(&mut self, kind: &SnapshotKind, path: &str, old: &Value) {
        let schemas = kind
            .create
            .and_then(|create| Some((create, argument_schemas(create)?)));
        let Some((create, (known, required))) = schemas else {
            self.not_restored.push(format!(
                "{path}: it is not created again, because nothing makes the same one"
            ));
            return;
        };
        let mut step = JsonMap::new();
        for (name, value) in old.as_object().into_iter().flatten() {
            if !known.contains_key(name) {
                continue;
            }
            match count_hidden(value) {
                0 => _ = step.insert(name.clone(), without_references(value)),
                _ => self
                    .not_restored
                    .push(format!("{path}: `{name}`: it has a masked value")),
            }
        }
        if let Some(workspace) = workspace_of(path)
            && known.contains_key("workspace_id")
        {
            step.insert("workspace_id".to_owned(), workspace.into());
        }
        let missing: Vec<_> = required
            .iter()
            .filter(|name| !step.contains_key(*name))
            .map(|name| format!("`{name}`"))
            .collect();
        if !missing.is_empty() {
            let what = format!(
                "{path}: `{create}` needs {}, which the snapshot does not have",
                missing.join(", ")
            );
            self.not_restored.push(what);
            return;
        }
        self.not_restored.push(format!(
            "{path}: it gets another id, and maybe another slug"
        ));
        self.add_step(path, create, step);
    }
}

/// Returns a value in which no text refers to a step of the plan.
fn without_references(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Array(items) => items.iter().map(without_references).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), without_references(value)));
            Value::Object(fields.collect())
        }
        value => value.clone(),
    }
}

/// Returns the slug of the workspace that the file at a path belongs to.
fn workspace_of(path: &str) -> Option<&str> {
    let (workspace, rest) = path.strip_prefix("workspaces/")?.split_once('/')?;
    // The workspace itself is in none.
    (rest.contains('/') && !workspace.contains('%')).then_some(workspace)
}
