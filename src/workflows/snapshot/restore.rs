//! Steps of `plan-changes` that restore a snapshot.

use std::collections::BTreeMap;

use portkey_operation::{FieldUpdate, JsonMap};
use serde_json::{Value, json};

use super::{
    Snapshot, argument_schemas,
    document::count_hidden,
    drift::{ChangedDocument, Drift},
    find_operation,
    kinds::{EntryUpdate, KINDS, SnapshotKind, kind_of_path},
};
use crate::{changes::plan::MAX_PLAN_STEPS, pipeline::state_fields::is_same, workflows::arguments};

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
    // What is created next may need the access that is given back here. What depends on others comes first, because
    // the state of an MCP server shows what its integration permits.
    for kind in KINDS.iter().rev() {
        for changed in &drift.changed {
            if std::ptr::eq(changed.kind, kind)
                && let (Some(document), Some(current)) =
                    (old.get(&changed.path), now.documents.get(&changed.path))
            {
                for entries in kind.entries {
                    if !now.is_field_unseen(&changed.path, entries.field) {
                        let handle = current.value.get(entries.update.field);
                        let handle = handle.cloned().unwrap_or_default();
                        plan.set_entries(entries, &changed.path, handle, document, &current.value);
                    }
                }
            }
        }
    }
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
    /// Adds a step, and returns its id unless the plan has no space for it.
    fn add_step(&mut self, path: &str, tool: &str, arguments: JsonMap) -> Option<String> {
        if self.steps.len() >= MAX_PLAN_STEPS {
            let what = format!(
                "{path}: a plan has at most {MAX_PLAN_STEPS} steps; apply it, and look for drift again"
            );
            self.not_restored.push(what);
            return None;
        }
        let id = format!("restore{}", self.steps.len() + 1);
        self.steps
            .push(json!({ "id": id, "tool": tool, "arguments": arguments }));
        Some(id)
    }

    /// Adds the step that brings entries from a state to that of the snapshot.
    fn set_entries(
        &mut self,
        entries: &EntryUpdate,
        path: &str,
        handle: Value,
        old: &Value,
        now: &Value,
    ) {
        let mut step = JsonMap::new();
        if !entries.update.argument.is_empty() {
            step.insert(entries.update.argument.to_owned(), handle);
        }
        let field = entries.field;
        if entries.keys.is_empty() {
            if !is_same(old.get(field), now.get(field)) {
                let whole = old.get(field).cloned().unwrap_or_else(|| json!({}));
                step.insert(entries.argument.to_owned(), without_references(&whole));
                self.add_step(path, entries.update.operation, step);
            }
            return;
        }
        let mut patch = JsonMap::new();
        let rows = self.entries_to_set(entries, path, old, now);
        if !rows.is_empty() {
            patch.insert(entries.argument.to_owned(), rows.into());
        }
        for (field, argument) in entries.beside {
            if is_same(old.get(*field), now.get(*field)) {
                continue;
            }
            match old.get(*field) {
                Some(value) if count_hidden(value) == 0 => {
                    patch.insert((*argument).to_owned(), without_references(value));
                }
                Some(_) => self.note(path, field, "it has a masked value"),
                None => _ = patch.insert((*argument).to_owned(), Value::Null),
            }
        }
        if !patch.is_empty() {
            step.insert("patch".to_owned(), patch.into());
            self.add_step(path, entries.update.operation, step);
        }
    }

    /// Returns the entries that differ, as they are in the snapshot.
    fn entries_to_set(
        &mut self,
        entries: &EntryUpdate,
        path: &str,
        old: &Value,
        now: &Value,
    ) -> Vec<Value> {
        let rows = |document: &'_ Value| {
            let rows = document.get(entries.field).and_then(Value::as_array);
            rows.cloned().unwrap_or_default()
        };
        let key = |row: &Value| -> Vec<Value> {
            let part = |name: &&str| row.get(*name).cloned().unwrap_or_default();
            entries.keys.iter().map(part).collect()
        };
        let named = |row: &Value| -> JsonMap {
            let names = entries.keys.iter().map(|name| (*name).to_owned());
            let parts = key(row).into_iter().map(|part| without_references(&part));
            names.zip(parts).collect()
        };
        let before = rows(old);
        let current = rows(now);
        let find =
            |rows: &[Value], row: &Value| rows.iter().find(|other| key(other) == key(row)).cloned();
        let mut wanted = Vec::new();
        for row in &before {
            let known = find(&current, row);
            let mut entry = named(row);
            for field in entries.sent {
                let stored = known.as_ref().and_then(|known| known.get(*field));
                if is_same(row.get(*field), stored) {
                    continue;
                }
                match row.get(*field) {
                    Some(value) if count_hidden(value) > 0 => {
                        self.note(path, entries.field, "it has a masked value");
                    }
                    Some(value) => _ = entry.insert((*field).to_owned(), without_references(value)),
                    None => _ = entry.insert((*field).to_owned(), Value::Null),
                }
            }
            if entry.len() == entries.keys.len() {
                continue;
            }
            let switch = row
                .get(entries.switch)
                .cloned()
                .unwrap_or(Value::Bool(true));
            entry.entry(entries.switch).or_insert(switch);
            if known.is_none() {
                let of_new = entries.of_new.iter();
                entry.extend(of_new.map(|(name, value)| ((*name).to_owned(), (*value).into())));
            }
            wanted.push(Value::Object(entry));
        }
        for row in &current {
            if find(&before, row).is_some() || row.get(entries.switch) == Some(&Value::Bool(false))
            {
                continue;
            }
            let name = key(row).iter().map(name_of).collect::<Vec<_>>().join(" ");
            if entries.is_off_by_default {
                let mut entry = named(row);
                entry.insert(entries.switch.to_owned(), false.into());
                wanted.push(Value::Object(entry));
            } else {
                let what = format!("`{name}` was added, and stays as it is");
                self.note(path, entries.field, &what);
            }
        }
        wanted
    }

    fn note(&mut self, path: &str, field: &str, what: &str) {
        let note = format!("{path}: `{field}`: {what}");
        if !self.not_restored.contains(&note) {
            self.not_restored.push(note);
        }
    }

    /// Adds the step that changes a resource back.
    fn update(&mut self, changed: &ChangedDocument, old: &Value, now: &Value) {
        let path = &changed.path;
        let has_own_step = |field: &str| {
            changed.kind.entries.iter().any(|entries| {
                let mut beside = entries.beside.iter();
                entries.field == field || beside.any(|(name, _)| *name == field)
            })
        };
        let mut fields: Vec<&str> = changed
            .diff
            .changes
            .iter()
            .filter_map(|change| change.path.first_field())
            .filter(|field| !has_own_step(field))
            .collect();
        fields.dedup();
        if fields.is_empty() {
            return;
        }
        let update = changed.kind.update;
        let known = update.and_then(|update| Some((update, argument_schemas(update.operation)?.0)));
        let operation = update.and_then(|update| find_operation(update.operation));
        let (Some((update, known)), Some(operation)) = (known, operation) else {
            self.not_restored
                .push(format!("{path}: no operation changes it"));
            return;
        };
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
        let Some(id) = self.add_step(path, create, step) else {
            return;
        };
        for entries in kind.entries {
            // Ids are new ones; slugs may be, too.
            let handle = format!("${{{id}.{}}}", entries.update.field).into();
            self.set_entries(entries, path, handle, old, &Value::Null);
        }
    }
}

/// Returns a value as a word of a sentence.
fn name_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
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
