//! Undoes changes of the journal: an update by the patch that restores its fields, a creation by a
//! deletion, and a deletion by a creation.
//!
//! Only computes, and reads what is there now. The call that undoes a change is made like any other.

mod containers;
mod restore;
mod sibling;

use portkey_api::catalog::CatalogEntry;
use portkey_journal::{Change, ChangeOutcome};
use portkey_merge_patch::{Diff, DocumentPath, PathStep};
use portkey_operation::{Effect, InputError, JsonMap, UndoSemantics, UpdateRules, UpdateSemantics};
use serde_json::Value;

use super::{ChangeContext, ComputedChange, PreparedChange, compute};
use crate::pipeline::{
    CallError, ResourceState, dry_run,
    state_fields::{is_same, resource, to_arguments},
};

use self::{
    containers::Remains,
    restore::UpdateUndo,
    sibling::{find_create, find_delete},
};

/// Argument that names the change.
pub const CHANGE_ARGUMENT: &str = "id";
/// Argument that undoes a change of a resource that has changed since.
pub const FORCE_ARGUMENT: &str = "force";

/// Maximum number of fields that an error or an answer lists.
const MAX_LISTED: usize = 20;

/// The call that undoes a change, and what it cannot restore.
#[derive(Debug)]
pub struct PreparedUndo<'a> {
    /// The call.
    pub call: UndoCall<'a>,
    /// Paths of values that are not restored.
    pub not_restored: Vec<String>,
    /// Remarks for the caller.
    pub notes: Vec<&'static str>,
    /// Remark for the caller if the upstream finds the request invalid.
    pub if_rejected: Option<String>,
}

/// The call that undoes a change.
#[derive(Debug)]
pub enum UndoCall<'a> {
    /// An update, computed by the engine of patches.
    Patch(Box<PreparedChange<'a>>),
    /// Another call.
    Call {
        /// The operation.
        entry: &'a CatalogEntry,
        /// Arguments of the operation.
        args: JsonMap,
    },
}

impl<'a> UndoCall<'a> {
    /// Returns the operation and the arguments of the call.
    pub fn entry_and_arguments(&self) -> (&'a CatalogEntry, JsonMap) {
        match self {
            Self::Patch(prepared) => (prepared.entry, prepared.arguments()),
            Self::Call { entry, args } => (entry, args.clone()),
        }
    }
}

impl<'a> ChangeContext<'a> {
    /// Computes the call that undoes a change. Nothing is sent.
    ///
    /// # Errors
    /// Returns an error if the change cannot be undone, or the resource has changed since and `force`
    /// is false.
    pub async fn prepare_undo(
        &self,
        change: &Change,
        force: bool,
    ) -> Result<PreparedUndo<'a>, CallError> {
        check_outcome(change, force)?;
        let entry = self.dispatcher.catalog().find(&change.head.operation)?;
        let upstream = self.dispatcher.upstream_of(entry.operation);
        check_upstream(change, upstream.as_deref(), force)?;
        if let Some(UndoSemantics::Impossible(reason)) = entry.operation.undo_semantics() {
            return Err(impossible(change, reason).into());
        }
        match entry.operation.effect() {
            Effect::Update => self.undo_update(entry, change, force).await,
            Effect::Create => self.undo_create(entry, change, force).await,
            Effect::Delete => self.undo_delete(entry, change, force).await,
            Effect::Read => Err(impossible(change, "it changes nothing").into()),
        }
    }

    async fn undo_update(
        &self,
        entry: &'a CatalogEntry,
        change: &Change,
        force: bool,
    ) -> Result<PreparedUndo<'a>, CallError> {
        let rules = match (
            entry.operation.undo_semantics(),
            entry.operation.update_semantics(),
        ) {
            (Some(UndoSemantics::Repeat(arguments)), _) => {
                return self.repeat(entry, change, arguments, force).await;
            }
            (_, Some(UpdateSemantics::Fields(rules))) => *rules,
            (_, Some(UpdateSemantics::NoPatch(reason))) => {
                return Err(impossible(change, reason).into());
            }
            (_, None) => return Err(impossible(change, "it changes no field").into()),
        };
        let before = prior_state(change)?;
        let args = sent_arguments(change)?;
        let is_change = |name: &str| entry.operation.is_change(name);
        let (location, mut sent): (JsonMap, JsonMap) = args
            .clone()
            .into_iter()
            .partition(|(name, _)| !is_change(name));
        let (current, read_args) = self.read_current(entry, &rules, &location).await?;
        let mut before = to_arguments(&rules, before);
        let now = to_arguments(&rules, &current.shown);
        self.adopt_handles(&[&before, &now], &mut sent).await;
        restore::add_withdrawn_entries(&rules, &sent, &now, &mut before);
        let undo = UpdateUndo {
            rules: &rules,
            before: Value::Object(before),
            sent: &sent,
            current: Value::Object(now),
            is_current: is_version(change, &rules, &current),
        };
        let restored = undo
            .compute(force)
            .map_err(|moved| moved_on(change, &moved))?;
        if restored.diff.is_empty() && !restored.not_restored.is_empty() {
            let what = list(&restored.not_restored);
            let why = format!(
                "the journal does not keep what is secret, and that is all it changed: {what}"
            );
            return Err(impossible(change, &why).into());
        }
        let mut not_restored = restored.not_restored;
        let mask = |document: &mut Value| self.dispatcher.mask_state(rules.read(), document);
        let request = super::PatchRequest {
            patch: portkey_merge_patch::Patch::Differences(restored.diff),
            expect: None,
            location,
            rules,
        };
        let mut computed: ComputedChange =
            compute::compute(entry.compiled(), &rules, &current, request, &mask)?;
        let cannot_clear = remove_what_cannot_be_cleared(entry, &mut computed);
        if !cannot_clear.is_empty() && computed.changes.is_empty() {
            let why = format!(
                "{} had no value before, and Portkey takes no `null` there; `{}` can change the value, and \
                 nothing removes it",
                list(&cannot_clear),
                entry.operation.name()
            );
            return Err(impossible(change, &why).into());
        }
        not_restored.extend(cannot_clear);
        Ok(PreparedUndo {
            call: UndoCall::Patch(Box::new(PreparedChange {
                entry,
                before: current,
                computed,
                rules,
                read_args,
                read_at: std::time::Instant::now(),
            })),
            not_restored,
            if_rejected: None,
            notes: Vec::new(),
        })
    }

    /// Undoes a call by another one with arguments from the state before.
    async fn repeat(
        &self,
        entry: &'a CatalogEntry,
        change: &Change,
        arguments: &[(&str, &str)],
        force: bool,
    ) -> Result<PreparedUndo<'a>, CallError> {
        let before = resource(prior_state(change)?);
        let sent = sent_arguments(change)?;
        let current = self.read_again(change).await?;
        let mut args = sent.clone();
        for (name, field) in arguments {
            let old = before.get(field).filter(|value| !value.is_null());
            let Some(old) = old else {
                let why = format!("the state before it has no `{field}`");
                return Err(impossible(change, &why).into());
            };
            let now = resource(&current.shown).get(field);
            if !force && !is_same(now, sent.get(*name)) {
                return Err(moved_on(change, &[(*field).to_owned()]).into());
            }
            args.insert((*name).to_owned(), old.clone());
        }
        Ok(PreparedUndo {
            call: UndoCall::Call { entry, args },
            not_restored: Vec::new(),
            if_rejected: None,
            notes: Vec::new(),
        })
    }

    /// Deletes what a call created.
    async fn undo_create(
        &self,
        entry: &'a CatalogEntry,
        change: &Change,
        force: bool,
    ) -> Result<PreparedUndo<'a>, CallError> {
        let catalog = self.dispatcher.catalog();
        let Some(delete) = find_delete(catalog, entry.operation) else {
            return Err(impossible(change, "no operation takes it back").into());
        };
        let sent_entry = match entry.operation.undo_semantics() {
            Some(UndoSemantics::DeleteEntry(sent)) => Some(sent),
            _ => None,
        };
        let Some(args) = sibling::delete_arguments(delete, change, sent_entry) else {
            let why = match sent_entry {
                Some(sent) => format!(
                    "it had several `{}`; call `{}` for each",
                    sent.list,
                    delete.operation.name()
                ),
                None => "the answer did not name the id of what it made".to_owned(),
            };
            return Err(impossible(change, &why).into());
        };
        if !force && let Some(read) = dry_run::find_read(catalog, delete.operation) {
            let read_args = dry_run::read_arguments(delete.operation, read, &args);
            let current = self.read(read.operation.name(), read_args).await?;
            let mut sent = sent_arguments(change)?.clone();
            sent.retain(|name, _| entry.operation.is_change(name));
            let rules = sibling::find_update_rules(catalog, delete.operation);
            let fields = match rules {
                Some(rules) => to_arguments(rules, &current.shown),
                None => resource(&current.shown)
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
            };
            self.adopt_handles(&[&fields], &mut sent).await;
            let mut moved = restore::differing_fields(&sent, &fields);
            moved.extend(containers::changed_marks(change, rules, &current.shown));
            if !moved.is_empty() {
                return Err(moved_on(change, &moved).into());
            }
        }
        if !force {
            self.check_unused(delete, change, &args).await?;
        }
        Ok(PreparedUndo {
            call: UndoCall::Call {
                entry: delete,
                args,
            },
            not_restored: Vec::new(),
            if_rejected: None,
            notes: Vec::new(),
        })
    }

    /// Creates again what a call deleted.
    async fn undo_delete(
        &self,
        entry: &'a CatalogEntry,
        change: &Change,
        force: bool,
    ) -> Result<PreparedUndo<'a>, CallError> {
        let catalog = self.dispatcher.catalog();
        let Some(create) = find_create(catalog, entry.operation) else {
            return Err(impossible(change, "no operation makes it again").into());
        };
        let before = prior_state(change)?;
        if !force {
            let why = match self.find_remains(change).await? {
                Remains::Nothing => None,
                Remains::Archived => Some(format!(
                    "Portkey has archived it, and no call brings it back; `{}` makes another",
                    create.operation.name()
                )),
                Remains::Whole => Some(
                    "it is there: somebody made it again, or the deletion did not take effect"
                        .to_owned(),
                ),
            };
            if let Some(why) = why {
                return Err(impossible(change, &why).into());
            }
        }
        let rules = sibling::find_update_rules(catalog, entry.operation);
        let fields = match rules {
            Some(rules) => to_arguments(rules, before),
            None => resource(before).as_object().cloned().unwrap_or_default(),
        };
        let (args, not_restored) = sibling::create_arguments(create, change, fields);
        let missing = sibling::missing_arguments(create, &args);
        if !missing.is_empty() {
            let why = format!(
                "the journal does not keep {}, which are secret or unknown; `{}` makes it again with them",
                list(&missing),
                create.operation.name()
            );
            return Err(impossible(change, &why).into());
        }
        let secrets = format!(
            "The journal does not keep secrets; `{}` makes it again with them",
            create.operation.name()
        );
        if let Err(error) = create.compiled().validate_with_defaults(args.clone()) {
            let why = format!("what the journal has of it is not enough: {error}. {secrets}");
            return Err(impossible(change, &why).into());
        }
        Ok(PreparedUndo {
            call: UndoCall::Call {
                entry: create,
                args,
            },
            if_rejected: Some(secrets),
            not_restored,
            notes: vec![
                "It is made anew: ids, keys and the time of its creation are others, and what it contained or \
                 what named its old id is not restored.",
            ],
        })
    }

    async fn adopt_handles(&self, states: &[&JsonMap], sent: &mut JsonMap) {
        self.dispatcher
            .adopt_handles(self.principal, self.request_info, states, sent)
            .await;
    }

    async fn read_again(&self, change: &Change) -> Result<ResourceState, CallError> {
        let read = change.head.read.as_deref();
        let args = change.detail.as_ref().map(|detail| &detail.read_arguments);
        match (read, args) {
            (Some(read), Some(args)) => self.read(read, args.clone()).await,
            _ => Err(impossible(change, "nothing reads what it changed").into()),
        }
    }
}

/// Removes the fields that an update cannot set to `null`, and returns their names.
fn remove_what_cannot_be_cleared(
    entry: &CatalogEntry,
    computed: &mut ComputedChange,
) -> Vec<String> {
    let cleared: Vec<String> = computed
        .changes
        .iter()
        .filter(|(name, value)| value.is_null() && !entry.compiled().takes_null(name))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &cleared {
        computed.changes.shift_remove(name);
    }
    computed.diff.changes.retain(|change| {
        let name = change.path.first_field().unwrap_or_default();
        !cleared.iter().any(|cleared| cleared == name)
    });
    cleared
}

/// Rejects changes of another upstream: what has the same id there is something else. The upstream of
/// an entry of an older version is not known.
fn check_upstream(change: &Change, upstream: Option<&str>, force: bool) -> Result<(), InputError> {
    let why = match change.upstream.as_deref() {
        made_at if made_at.is_some() && made_at == upstream => return Ok(()),
        Some(made_at) => format!(
            "it was made at {made_at}, and this server calls {}; undo it with a server that calls the former",
            upstream.unwrap_or("another address")
        ),
        None if force => return Ok(()),
        None => format!(
            "it was made by a version that did not keep the address of Portkey. If it was this one, give \
             `{FORCE_ARGUMENT}: true` (in the shell `--force`)"
        ),
    };
    Err(impossible(change, &why))
}

/// Rejects changes that changed nothing, or are undone already.
fn check_outcome(change: &Change, force: bool) -> Result<(), InputError> {
    match change.outcome {
        ChangeOutcome::Rejected | ChangeOutcome::Failed => {
            Err(impossible(change, "it changed nothing"))
        }
        ChangeOutcome::Pending | ChangeOutcome::Done | ChangeOutcome::InDoubt => {
            match change.undone_by.as_deref().filter(|_| !force) {
                Some(by) => {
                    let why =
                        format!("`{by}` has undone it already; give that id to redo the change");
                    Err(impossible(change, &why))
                }
                None => Ok(()),
            }
        }
    }
}

fn prior_state(change: &Change) -> Result<&Value, InputError> {
    let detail = change.detail.as_ref();
    detail
        .and_then(|detail| detail.before.as_ref())
        .ok_or_else(|| {
            let reason = detail.and_then(|detail| detail.unknown_reason.as_deref());
            let reason = reason.unwrap_or("nothing reads it");
            impossible(
                change,
                &format!("the state before it is not known ({reason})"),
            )
        })
}

fn sent_arguments(change: &Change) -> Result<&JsonMap, InputError> {
    let detail = change.detail.as_ref();
    detail
        .and_then(|detail| detail.arguments.as_ref())
        .ok_or_else(|| impossible(change, "its arguments were too large to be kept"))
}

/// Returns true if the resource has the version that the change made.
fn is_version(change: &Change, rules: &UpdateRules, current: &ResourceState) -> bool {
    let now = rules
        .version_field()
        .and_then(|field| resource(&current.shown).get(field));
    match (now, &change.result.version) {
        (Some(Value::String(now)), Some(made)) => now == made,
        (Some(Value::Number(now)), Some(made)) => now.to_string() == *made,
        _ => false,
    }
}

/// Returns the differences between the states around a change, as far as they are known.
pub fn change_diff(change: &Change, catalog: &portkey_api::catalog::Catalog) -> Diff {
    let (Some(detail), Ok(entry)) = (&change.detail, catalog.find(&change.head.operation)) else {
        return Diff::default();
    };
    let (Some(before), Some(args)) = (&detail.before, &detail.arguments) else {
        return Diff::default();
    };
    let Some(rules) = entry.operation.update_rules() else {
        return repeated_diff(entry, before, args);
    };
    let sent: JsonMap = args
        .clone()
        .into_iter()
        .filter(|(name, _)| entry.operation.is_change(name))
        .collect();
    let undo = UpdateUndo {
        rules,
        before: Value::Object(to_arguments(rules, before)),
        sent: &sent,
        current: Value::Null,
        is_current: false,
    };
    undo.made_changes().invert()
}

/// Returns the differences that a call made whose undo repeats it with the values of before.
fn repeated_diff(entry: &CatalogEntry, before: &Value, args: &JsonMap) -> Diff {
    let Some(UndoSemantics::Repeat(arguments)) = entry.operation.undo_semantics() else {
        return Diff::default();
    };
    let change = |(argument, field): &(&'static str, &'static str)| portkey_merge_patch::Change {
        path: DocumentPath::from_iter([PathStep::Field((*argument).to_owned())]),
        old: resource(before).get(*field).cloned(),
        new: args.get(*argument).cloned(),
    };
    let changes = arguments.iter().map(change);
    Diff {
        changes: changes.filter(|change| change.old != change.new).collect(),
        omitted: 0,
    }
}

impl ChangeContext<'_> {
    /// Returns the differences that a change made, as far as they are known. If it put another version in
    /// use, that version is read and compared with the one before.
    pub async fn made_differences(&self, change: &Change) -> Diff {
        let catalog = self.dispatcher.catalog();
        let mut diff = change_diff(change, catalog);
        let (Some(detail), Ok(entry)) = (&change.detail, catalog.find(&change.head.operation))
        else {
            return diff;
        };
        let operation = entry.operation;
        let is_repeated = matches!(operation.undo_semantics(), Some(UndoSemantics::Repeat(_)));
        let is_here =
            change.upstream.is_some() && change.upstream == self.dispatcher.upstream_of(operation);
        if let (Some(before), Some(args)) = (&detail.before, &detail.arguments)
            && is_repeated
            && is_here
            && !diff.is_empty()
        {
            let caller = (self.principal, self.request_info);
            let versions = self
                .dispatcher
                .compare_versions(caller, operation, args, before);
            diff.changes
                .extend(Box::pin(versions).await.unwrap_or_default().changes);
        }
        diff
    }
}

fn impossible(change: &Change, reason: &str) -> InputError {
    let message = format!("`{}` cannot be undone: {reason}", change.head.operation);
    InputError::new(CHANGE_ARGUMENT, message)
}

fn moved_on(change: &Change, fields: &[String]) -> InputError {
    let message = format!(
        "the resource has changed since `{}`, and nothing was sent: {} {} other values now. Look at it, and \
         give `{FORCE_ARGUMENT}: true` (in the shell `--force`) to undo it anyway",
        change.head.operation,
        list(fields),
        match fields.len() {
            1 => "has",
            _ => "have",
        }
    );
    InputError::new(CHANGE_ARGUMENT, message)
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(MAX_LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
