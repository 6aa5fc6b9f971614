//! Differences between a snapshot and what is there now.

use std::collections::BTreeMap;

use portkey_merge_patch::{Diff, ListRules};
use serde_json::Value;

use super::{Snapshot, SnapshotKind, SnapshotScope, kinds::kind_of_path, update_rules};
use crate::{
    changes::change_to_json,
    pipeline::{redacted_fields::find_redacted_fields, state_fields::is_same},
    workflows::arguments,
};

/// Differences between a snapshot and what is there now.
#[derive(Debug, Default)]
pub(in crate::workflows) struct Drift {
    /// Paths of what is there now and not in the snapshot.
    pub(in crate::workflows) added: Vec<String>,
    /// Paths of what is in the snapshot and gone.
    pub(in crate::workflows) removed: Vec<String>,
    pub(in crate::workflows) changed: Vec<ChangedDocument>,
    /// Paths of documents with values that a policy redacted, which were not compared.
    pub(in crate::workflows) partly_hidden: Vec<String>,
    /// Number of documents that are the same, as far as they can be seen.
    pub(in crate::workflows) unchanged: usize,
}

/// A document that differs.
#[derive(Debug)]
pub(in crate::workflows) struct ChangedDocument {
    pub(in crate::workflows) path: String,
    pub(in crate::workflows) kind: &'static SnapshotKind,
    /// From the snapshot to now.
    pub(in crate::workflows) diff: Diff,
}

/// Compares a snapshot with what is there now, within a scope. What was not seen is not compared.
pub(in crate::workflows) fn compare(
    old: &BTreeMap<String, Value>,
    now: &Snapshot,
    scope: &SnapshotScope,
) -> Drift {
    let mut drift = Drift::default();
    for (path, document) in old {
        let Some(kind) = kind_of_path(path).filter(|_| scope.covers(path) == Some(true)) else {
            continue;
        };
        match now.documents.get(path) {
            Some(current) => {
                let mut diff = difference(kind, document, &current.value);
                diff.changes.retain(|change| {
                    let field = change.path.first_field().unwrap_or_default();
                    !now.is_field_unseen(path, field)
                });
                if take_hidden(&mut diff) {
                    drift.partly_hidden.push(path.clone());
                }
                match diff.is_empty() {
                    true => drift.unchanged += 1,
                    false => drift.changed.push(ChangedDocument {
                        path: path.clone(),
                        kind,
                        diff,
                    }),
                }
            }
            None if now.is_unseen(path) => {}
            None => drift.removed.push(path.clone()),
        }
    }
    let added = now.documents.keys().filter(|path| !old.contains_key(*path));
    drift.added = added.cloned().collect();
    drift
}

/// Returns the differences between two documents.
fn difference(kind: &SnapshotKind, old: &Value, new: &Value) -> Diff {
    let (old, new) = &(
        without_idle_entries(kind, old, new),
        without_idle_entries(kind, new, old),
    );
    let rules = kind
        .update
        .and_then(|update| update_rules(update.operation));
    let lists = rules.map_or(ListRules::default(), |rules| rules.list_rules());
    let mut diff = Diff::between(old, new, lists);
    diff.changes
        .retain(|change| !is_same(change.old.as_ref(), change.new.as_ref()));
    diff
}

/// Returns a document without entries that are switched off and that the other document lacks, where both mean the
/// same.
fn without_idle_entries(kind: &SnapshotKind, document: &Value, other: &Value) -> Value {
    let mut document = document.clone();
    for entries in kind.entries.iter().filter(|one| one.is_off_by_default) {
        let key = |row: &Value| -> Vec<Value> {
            let part = |name: &&str| row.get(*name).cloned().unwrap_or_default();
            entries.keys.iter().map(part).collect()
        };
        let others = other.get(entries.field).and_then(Value::as_array);
        if let Some(Value::Array(rows)) = document.get_mut(entries.field) {
            rows.retain(|row| {
                row.get(entries.switch) != Some(&Value::Bool(false))
                    || others.is_some_and(|others| others.iter().any(|one| key(one) == key(row)))
            });
        }
    }
    document
}

/// Removes the changes to values that a policy redacted, which are no differences. Returns true if there are any.
fn take_hidden(diff: &mut Diff) -> bool {
    let count = diff.changes.len();
    let is_hidden = |value: &Value| !find_redacted_fields(value).is_empty();
    diff.changes
        .retain(|change| !change.new.as_ref().is_some_and(is_hidden));
    diff.changes.len() < count
}

impl Drift {
    pub(in crate::workflows) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Returns what changed, for an answer.
    pub(in crate::workflows) fn changed_to_json(&self) -> Value {
        let row = |document: &ChangedDocument| {
            let changes = document.diff.changes.iter().map(change_to_json);
            let omitted = match document.diff.omitted {
                0 => Value::Null,
                omitted => omitted.into(),
            };
            Value::Object(arguments([
                ("path", document.path.as_str().into()),
                ("changes", changes.collect()),
                ("more", omitted),
            ]))
        };
        self.changed.iter().map(row).collect()
    }
}
