//! Snapshots: the settings of an organisation as documents, one for each resource.
//!
//! Reads through the steps of a workflow. Knows neither files nor the protocol.

mod document;
mod drift;
mod kinds;
mod reader;
mod restore;
mod terraform;

use std::collections::BTreeMap;

use portkey_api::catalog::Catalog;
use portkey_operation::{CompiledOperation, InputError, JsonMap, Operation, UpdateRules};
use serde_json::Value;

use self::{
    document::path_segment,
    kinds::{find_kind, kind_of_path},
};
use super::arguments;

pub(crate) use self::document::to_yaml;
pub(super) use self::{
    document::{count_hidden, parse_yaml},
    drift::compare,
    kinds::{KINDS, SnapshotKind, not_covered},
    reader::take_snapshot,
    restore::plan_restore,
    terraform::{TerraformExport, to_terraform},
};

/// Maximum number of calls of a snapshot.
pub(super) const MAX_CALLS: usize = 2_000;

/// Kinds and workspaces that a snapshot covers.
#[derive(Debug)]
pub(super) struct SnapshotScope {
    pub(super) kinds: Vec<&'static SnapshotKind>,
    /// Ids or slugs; empty for all, and for what belongs to none.
    pub(super) workspaces: Vec<String>,
}

impl SnapshotScope {
    /// Reads the arguments `kinds` and `workspaces`. Kinds that are about people have to be named.
    ///
    /// # Errors
    /// Returns an error for an unknown kind.
    pub(super) fn from_arguments(args: &JsonMap) -> Result<Self, InputError> {
        let texts = |name: &str| {
            let list = args.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        for name in texts("kinds") {
            if find_kind(name).is_none() {
                let known: Vec<_> = KINDS
                    .iter()
                    .map(|kind| format!("`{}`", kind.name))
                    .collect();
                let what = format!("`{name}` is no kind; it takes {}", known.join(", "));
                return Err(InputError::new("kinds", what));
            }
        }
        let is_all = texts("kinds").next().is_none();
        let is_chosen = |kind: &&SnapshotKind| match is_all {
            true => !kind.is_personal,
            false => texts("kinds").any(|name| name == kind.name),
        };
        Ok(Self {
            kinds: KINDS.iter().filter(is_chosen).collect(),
            workspaces: texts("workspaces").map(str::to_owned).collect(),
        })
    }

    /// Covers only the kinds of some files.
    pub(super) fn with_kinds_of<'p>(self, paths: impl Iterator<Item = &'p String>) -> Self {
        let present: Vec<&SnapshotKind> = paths.filter_map(|path| kind_of_path(path)).collect();
        let is_present =
            |kind: &&SnapshotKind| present.iter().any(|found| std::ptr::eq(*found, *kind));
        Self {
            kinds: KINDS.iter().filter(is_present).collect(),
            ..self
        }
    }

    /// Returns true if the file at a path belongs to the scope; `None` if it is no file of a snapshot.
    pub(super) fn covers(&self, path: &str) -> Option<bool> {
        let kind = kind_of_path(path)?;
        let workspace = path
            .strip_prefix("workspaces/")
            .and_then(|rest| rest.split('/').next());
        let is_in_workspace = match workspace {
            _ if self.workspaces.is_empty() => true,
            Some(folder) => self
                .workspaces
                .iter()
                .any(|name| path_segment(name) == folder),
            None => false,
        };
        Some(is_in_workspace && self.kinds.iter().any(|chosen| std::ptr::eq(*chosen, kind)))
    }
}

/// The documents of an organisation.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// By path.
    pub(super) documents: BTreeMap<String, SnapshotDocument>,
    pub(super) unseen: Vec<Unseen>,
    /// Ids of the workspaces, by the names of their folders.
    workspace_ids: BTreeMap<String, String>,
    /// Operations of which a policy redacts values.
    pub(super) redacted: Vec<&'static str>,
    /// Number of calls.
    pub(super) calls: usize,
}

/// A resource as a document.
#[derive(Debug)]
pub(super) struct SnapshotDocument {
    pub(super) kind: &'static SnapshotKind,
    pub(super) value: Value,
}

/// A part of the organisation that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Unseen {
    /// Path of a file, of a folder with a `/` at its end, or of a file, `#` and a field of its document.
    pub(super) path: String,
    pub(super) reason: String,
}

impl Snapshot {
    /// Returns true if a path could not be read.
    pub(super) fn is_unseen(&self, path: &str) -> bool {
        self.unseen
            .iter()
            .any(|unseen| match unseen.path.ends_with('/') {
                true => path.starts_with(&unseen.path),
                false => path == unseen.path,
            })
    }

    /// Returns true if a field of a document could not be read.
    pub(super) fn is_field_unseen(&self, path: &str, field: &str) -> bool {
        self.is_unseen(&field_path(path, field))
    }

    /// Returns the number of documents by kind.
    pub(super) fn counts(&self) -> JsonMap {
        let mut counts = JsonMap::new();
        for kind in KINDS {
            let count = self
                .documents
                .values()
                .filter(|document| std::ptr::eq(document.kind, kind))
                .count();
            if count > 0 {
                counts.insert(kind.name.to_owned(), count.into());
            }
        }
        counts
    }
}

/// Returns the path of a field of a document. No path of a file has this character.
fn field_path(path: &str, field: &str) -> String {
    format!("{path}#{field}")
}

/// Returns what was not seen, for an answer.
pub(super) fn unseen_to_json(unseen: &[Unseen]) -> Value {
    let row = |unseen: &Unseen| {
        Value::Object(arguments([
            ("path", unseen.path.as_str().into()),
            ("reason", unseen.reason.as_str().into()),
        ]))
    };
    unseen.iter().map(row).collect()
}

/// Returns the declaration of an operation.
fn find_operation(name: &str) -> Option<&'static Operation> {
    Catalog::operations().find(|operation| operation.name() == name)
}

/// Returns the update rules of an operation.
fn update_rules(name: &str) -> Option<&'static UpdateRules> {
    find_operation(name)?.update_rules()
}

/// Returns the schemas of the arguments of an operation, and the names of those that it needs.
fn argument_schemas(name: &str) -> Option<(JsonMap, Vec<String>)> {
    let compiled = CompiledOperation::new(find_operation(name)?.clone());
    let schema = compiled.full_schema();
    let properties = schema.get("properties")?.as_object()?.clone();
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten();
    let required = required.filter_map(|name| name.as_str().map(str::to_owned));
    Some((properties, required.collect()))
}
