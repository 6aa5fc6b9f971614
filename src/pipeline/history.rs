//! The journal's entry of a write: the state before it, what is sent, and what came of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use portkey_journal::{
    ChangeDetail, ChangeHead, ChangeResult, JournalError, MAX_ANSWER_BYTES, MAX_DOCUMENT_BYTES,
    NewChange, PendingChange, json_bytes, truncate,
};
use portkey_operation::{CompiledOperation, Effect, InputError, JsonMap, Operation};
use serde_json::Value;

use super::{
    CallError, CallRecord, CallResult, Dispatcher, OperationCall,
    change_caller::{describe_caller, owner_of},
    dry_run, hidden_values,
    state_fields::to_arguments,
};
use crate::{
    auth::principal::KeyProver,
    observability::call_record::{OutcomeKind, PriorState},
    security::secrets::redact_arguments,
};

/// Age above which a state that was read to compute the call is read again: a human may have
/// approved the call meanwhile.
const MAX_STATE_AGE: Duration = Duration::from_secs(5);

/// Maximum number of names of changed fields in an entry.
const MAX_FIELDS: usize = 50;

/// Names under which answers have the id of what was created.
const ID_FIELDS: [&str; 2] = ["id", "slug"];

/// Names under which answers have the version that a write made, beside that of the update rules.
const VERSION_FIELDS: [&str; 3] = [
    "version_id",
    "prompt_version_id",
    "prompt_partial_version_id",
];

/// The place for the entry of a call. The steps share the call, so that it is filled behind a
/// reference.
#[derive(Debug, Default)]
pub(super) struct ChangeSlot(Mutex<Option<PendingChange>>);

impl ChangeSlot {
    fn set(&self, change: PendingChange) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }

    pub(super) fn take(&self) -> Option<PendingChange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Dispatcher {
    /// Returns the arguments of a write for the journal, before secrets are put into them. Returns
    /// `None` without a journal, and for reads.
    pub(super) fn journaled_arguments(
        &self,
        published: &CompiledOperation,
        args: &JsonMap,
    ) -> Option<JsonMap> {
        let is_journaled = self.journal.is_some() && published.operation().effect() != Effect::Read;
        is_journaled.then(|| redact_arguments(published, args.clone()))
    }

    /// Describes a write for the journal, and reads what it changes.
    pub(super) async fn describe_change(
        &self,
        call: OperationCall<'_>,
        mut args: JsonMap,
        record: &mut CallRecord,
    ) -> NewChange {
        let operation = call.entry.operation;
        // Values that the caller may not see are sent again, and would be shown with the change.
        hidden_values::hide_texts(&record.hidden_texts, &mut args);
        if let (Some(prior), Some(rules)) = (&record.prior_state, operation.update_rules()) {
            hidden_values::hide_redacted(rules, &prior.state, &mut args);
        }
        let (target, fields) = split_arguments(operation, &args);
        let mut change = NewChange {
            owner: owner_of(call.principal),
            // Nothing is sent to a registry whose address is unknown.
            upstream: self.upstream_of(operation).unwrap_or_default(),
            head: ChangeHead {
                caller: describe_caller(call.principal, call.request_info),
                operation: operation.name().to_owned(),
                effect: operation.effect().as_str().to_owned(),
                target,
                fields,
                read: None,
                is_untrusted: false,
            },
            detail: ChangeDetail::default(),
            undoes: record.undoes.clone(),
            is_forced: record.is_forced_undo,
        };
        match self.read_prior_state(call, &args, record).await {
            Ok(None) => {}
            Ok(Some(prior)) => {
                if let Some(rules) = operation.update_rules() {
                    let state = to_arguments(rules, &prior.state);
                    self.adopt_handles(call.principal, call.request_info, &[&state], &mut args)
                        .await;
                }
                change.head.read = Some(prior.read.to_owned());
                change.head.is_untrusted = prior.is_untrusted;
                change.detail.read_arguments = prior.read_arguments;
                match json_bytes(&prior.state) {
                    0..=MAX_DOCUMENT_BYTES => change.detail.before = Some(prior.state),
                    bytes => {
                        let why = format!("it has {bytes} bytes, more than the journal keeps");
                        change.detail.unknown_reason = Some(why);
                    }
                }
            }
            Err(error) => change.detail.unknown_reason = Some(truncate(&error.to_string())),
        }
        change.detail.arguments = Some(args).filter(|args| json_bytes(args) <= MAX_DOCUMENT_BYTES);
        change
    }

    /// Reads the state that a write changes, unless it was read for the call. Returns `None` for a
    /// write that creates something.
    async fn read_prior_state(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
        record: &mut CallRecord,
    ) -> Result<Option<PriorState>, CallError> {
        let is_recent = |prior: &PriorState| prior.read_at.elapsed() <= MAX_STATE_AGE;
        if let Some(prior) = record.prior_state.take()
            && is_recent(&prior)
        {
            return Ok(Some(*prior));
        }
        let operation = call.entry.operation;
        let rules = operation.update_rules();
        let read = match rules {
            Some(rules) => self.catalog.find(rules.read()).ok(),
            None => dry_run::find_read(&self.catalog, operation),
        };
        let Some(read) = read else {
            return Ok(None);
        };
        let mut read_arguments = dry_run::read_arguments(operation, read, args);
        for (name, value) in rules.into_iter().flat_map(|rules| rules.read_arguments()) {
            read_arguments.insert((*name).to_owned(), (*value).into());
        }
        let name = read.operation.name();
        let state = self
            .read_state(
                call.principal,
                call.request_info,
                name,
                read_arguments.clone(),
            )
            .await?;
        if state.clear.is_null() {
            // The read was only described, as a policy demands.
            return Ok(None);
        }
        Ok(Some(PriorState {
            read: name,
            read_arguments,
            state: state.shown,
            is_untrusted: state.is_untrusted,
            read_at: Instant::now(),
        }))
    }

    /// Stores the entry of a write that is sent next.
    ///
    /// # Errors
    /// Returns an error if the entry cannot be stored; nothing may be sent then.
    pub(super) async fn begin_change(
        &self,
        call: OperationCall<'_>,
        change: NewChange,
        record: &mut CallRecord,
    ) -> Result<(), CallError> {
        if let Some(journal) = &self.journal {
            // A key that has not been checked may be made up, and would fill the journal.
            self.prove(call.principal)
                .await
                .inspect_err(|_| record.set_denied_by("key"))?;
            let begun = journal.begin(change).await;
            let begun = begun.map_err(|unavailable| match unavailable.0 {
                JournalError::AlreadyUndone(_) => {
                    let message = format!(
                        "{}, and nothing was sent; `force: true` (in the shell `--force`) undoes it again",
                        unavailable.0
                    );
                    CallError::from(InputError::new("id", message))
                }
                _ => {
                    record.set_denied_by("journal");
                    unavailable.into()
                }
            })?;
            record.change_id = Some(begun.id().to_owned());
            call.change.set(begun);
        }
        Ok(())
    }
}

/// Stores the end of a write.
pub(super) async fn finish(
    change: PendingChange,
    outcome: OutcomeKind,
    result: &Result<CallResult, CallError>,
    record: &CallRecord,
) {
    let answer = match result {
        Ok(result) => result.journaled_answer(),
        Err(_) => None,
    };
    let error = match result {
        Ok(CallResult::Forwarded(response)) => response.error(),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let mut end = ChangeResult {
        status: record.status,
        error: error.map(|error| truncate(&error.to_string())),
        ..ChangeResult::default()
    };
    if let (Some(operation), Some(answer)) = (record.operation, &answer) {
        end.created = match operation.effect() {
            Effect::Create => find_ids(answer),
            Effect::Read | Effect::Update | Effect::Delete => BTreeMap::new(),
        };
        let version = operation
            .update_rules()
            .and_then(|rules| rules.version_field());
        end.version = version
            .into_iter()
            .chain(VERSION_FIELDS)
            .find_map(|name| resource(answer).get(name).or_else(|| answer.get(name)))
            .and_then(as_text);
    }
    // A secret that is shown once is shown to its caller only.
    let is_secret = record
        .operation
        .is_none_or(|operation| !operation.one_time_secrets().is_empty());
    let answer = answer.filter(|answer| !is_secret && json_bytes(answer) <= MAX_ANSWER_BYTES);
    change.finish(outcome.into(), end, answer).await;
}

/// Splits arguments into those that say which resource is meant, with their values, and the names of
/// those that change it.
fn split_arguments(
    operation: &Operation,
    args: &JsonMap,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut target = BTreeMap::new();
    let mut fields = Vec::new();
    for (name, value) in args {
        match (operation.is_change(name), as_text(value)) {
            (false, Some(text)) => _ = target.insert(name.clone(), truncate(&text)),
            (false, None) => {}
            (true, _) if fields.len() < MAX_FIELDS => fields.push(truncate(name)),
            (true, _) => {}
        }
    }
    (target, fields)
}

/// Returns the ids in the answer to a write that creates something.
fn find_ids(answer: &Value) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for fields in [Some(resource(answer)), Some(answer)].into_iter().flatten() {
        let fields = fields.as_object().into_iter().flatten();
        let named = fields.filter(|(name, _)| {
            ID_FIELDS.contains(&name.as_str()) || name.ends_with("_id") || name.ends_with("_slug")
        });
        for (name, value) in named {
            if let Some(text) = as_text(value) {
                ids.entry(name.clone()).or_insert_with(|| truncate(&text));
            }
        }
    }
    ids
}

/// Returns the resource in an answer, which is the whole answer or its `data`.
fn resource(answer: &Value) -> &Value {
    let data = answer.get("data").filter(|data| data.is_object());
    data.unwrap_or(answer)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
