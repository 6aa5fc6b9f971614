//! Calls that put another version of a resource in use: published, or under a label. What they change for
//! those who use it is the difference between the versions.

use portkey_api::catalog::CatalogEntry;
use portkey_merge_patch::Diff;
use portkey_operation::{FieldUpdate, JsonMap, Operation, UndoSemantics};
use serde_json::Value;

use super::{
    CallRecord, Dispatcher, ToolCall, dry_run,
    state_fields::{resource, to_arguments},
};
use crate::{auth::principal::Principal, observability::request::RequestInfo};

/// Field by which a listed version is found.
const VERSION_ID: &str = "id";

/// Returns the state of a resource with the names and in the form of the arguments of a call, so that both
/// can be compared.
pub(super) fn comparable_state(operation: &Operation, current: &Value) -> Value {
    let mut state = match operation.update_rules() {
        Some(rules) => Value::Object(to_arguments(rules, current)),
        None => resource(current).clone(),
    };
    if let (Some(UndoSemantics::Repeat(arguments)), Some(fields)) =
        (operation.undo_semantics(), state.as_object_mut())
    {
        for (argument, field) in arguments {
            if let Some(value) = fields.get(*field).cloned() {
                fields.insert((*argument).to_owned(), value);
            }
        }
    }
    state
}

impl Dispatcher {
    /// Compares the version that a call puts in use with the one that it replaces. `current` is the state
    /// that its read returns. Returns `None` for other calls, and if a version cannot be read.
    ///
    /// The reads are the caller's own.
    pub async fn compare_versions(
        &self,
        (principal, request_info): (&Principal, &RequestInfo),
        operation: &Operation,
        args: &JsonMap,
        current: &Value,
    ) -> Option<Diff> {
        let read = dry_run::find_read(&self.catalog, operation)?;
        let updated = self.find_versioned_update(operation)?;
        let mut read_args = dry_run::read_arguments(operation, read, args);
        let read_other = async |read_args: JsonMap| {
            self.read_quietly((principal, request_info), read, read_args)
                .await
        };
        let other;
        let (replaced, new) = if let Some(label) = operation.moved_label() {
            let wanted = args.get(label.argument).filter(|label| !label.is_null())?;
            let list = self.catalog.find(label.list).ok()?;
            let list_args = dry_run::read_arguments(operation, list, args);
            let listed = self
                .read_quietly((principal, request_info), list, list_args)
                .await?;
            let rows = listed.get("data").unwrap_or(&listed).as_array()?;
            let labelled = rows
                .iter()
                .find(|row| row.get(label.argument) == Some(wanted))?;
            read_args.insert(label.version.to_owned(), labelled.get(VERSION_ID)?.clone());
            other = read_other(read_args).await?;
            (&other, current)
        } else {
            let UndoSemantics::Repeat(arguments) = operation.undo_semantics()? else {
                return None;
            };
            for (argument, _) in arguments {
                read_args.insert((*argument).to_owned(), args.get(*argument)?.clone());
            }
            other = read_other(read_args).await?;
            (current, &other)
        };
        let fields = |state: &Value| content_of(updated, state);
        let rules = updated.operation.update_rules()?;
        let mut diff = Diff::between(&fields(replaced), &fields(new), rules.list_rules());
        diff.changes.retain(|change| change.old != change.new);
        Some(diff)
    }

    /// Finds the update that makes the versions of the resource which an operation is about.
    fn find_versioned_update(&self, operation: &Operation) -> Option<&CatalogEntry> {
        self.catalog.iter().find(|entry| {
            let update = entry.operation;
            let is_versioned = update
                .update_rules()
                .is_some_and(|rules| rules.version_field().is_some());
            let below = operation.path().strip_prefix(update.path());
            is_versioned
                && update.base() == operation.base()
                && below.is_some_and(|below| below.starts_with('/'))
        })
    }

    /// Reads something for a comparison. Returns `None` if that fails: the call goes on without it.
    async fn read_quietly(
        &self,
        (principal, request_info): (&Principal, &RequestInfo),
        read: &CatalogEntry,
        args: JsonMap,
    ) -> Option<Value> {
        let call = ToolCall {
            principal,
            request_info,
            name: read.operation.name(),
            args,
            approval_response: None,
        };
        let mut record = CallRecord::default();
        self.call_nested(call, &mut record).await.ok()
    }
}

/// Returns the fields of a version that an update of the resource can change.
fn content_of(updated: &CatalogEntry, state: &Value) -> Value {
    let operation = updated.operation;
    let Some(rules) = operation.update_rules() else {
        return Value::Null;
    };
    let properties = updated.compiled().full_schema().get("properties");
    let mut fields = to_arguments(rules, state);
    fields.retain(|name, value| {
        operation.is_change(name)
            && !value.is_null()
            && !matches!(rules.field_update(name), FieldUpdate::WriteOnly)
            && properties.is_some_and(|properties| properties.get(name).is_some())
    });
    Value::Object(fields)
}
