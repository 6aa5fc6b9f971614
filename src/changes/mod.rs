//! Changes of resources: reads the current state, computes the smallest correct request from a
//! patch, and reports what the call changed.
//!
//! The request is made by the pipeline like any other call, so that policies, limits, approval, dry
//! runs and the audit log see the arguments that are sent. This module neither sends a write itself
//! nor knows an endpoint by name: the update rules of the operation's row say what to do.
//!
//! [`ChangeContext::prepare`] reads and computes, the caller makes the call with the arguments of
//! [`PreparedChange`], and [`ChangeContext::report`] reads back.

mod compute;
mod expect;
mod hidden;
mod kept_secrets;
mod list_forms;
mod patch_argument;
pub mod plan;
mod prune;
mod redact_kept;
mod report;
mod undo;

use std::time::{Duration, Instant};

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{InputError, JsonMap, UpdateRules};
use serde_json::Value;

use crate::{
    auth::principal::Principal,
    observability::{call_record::PriorState, request::RequestInfo},
    pipeline::{CallError, CallRecord, Dispatcher, ResourceState, ToolCall, dry_run},
};

pub use self::{
    compute::ComputedChange,
    patch_argument::{EXPECT_ARGUMENT, PATCH_ARGUMENT, PatchRequest, is_change, take_patch},
    report::change_to_json,
    undo::{CHANGE_ARGUMENT, FORCE_ARGUMENT, PreparedUndo, UndoCall, change_diff},
};

/// Delays before the state is read again, if a change is not visible yet. Some reads of Portkey are
/// eventually consistent.
const READ_AGAIN_DELAYS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];

/// The caller on whose behalf a change is made.
#[derive(Clone, Copy, Debug)]
pub struct ChangeContext<'a> {
    /// Makes the reads.
    pub dispatcher: &'a Dispatcher,
    /// The caller.
    pub principal: &'a Principal,
    /// The request that carries the call.
    pub request_info: &'a RequestInfo,
}

/// A change that was computed and not sent.
#[derive(Debug)]
pub struct PreparedChange<'a> {
    /// The operation that makes the change.
    pub entry: &'a CatalogEntry,
    /// State before the change.
    pub before: ResourceState,
    /// The change.
    pub computed: ComputedChange,
    rules: UpdateRules,
    read_args: JsonMap,
    /// Time at which the state was read.
    read_at: Instant,
}

impl PreparedChange<'_> {
    /// Returns the state before the change for the journal, which need not read it again.
    pub fn prior_state(&self) -> PriorState {
        PriorState {
            read: self.rules.read(),
            read_arguments: self.read_args.clone(),
            state: self.before.shown.clone(),
            is_untrusted: self.before.is_untrusted,
            read_at: self.read_at,
        }
    }

    /// Returns true if there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.computed.changes.is_empty()
    }

    /// Returns the arguments of the call that makes the change.
    pub fn arguments(&self) -> JsonMap {
        let mut args = self.computed.location.clone();
        args.extend(self.computed.changes.clone());
        args
    }
}

impl<'a> ChangeContext<'a> {
    /// Reads the current state of the resource that an update changes, by the arguments that locate
    /// it. The read is one of the caller's own: filters, scopes, policies and limits apply.
    ///
    /// # Errors
    /// Returns the error of the read. A read that is not open to the caller is an invalid patch,
    /// with what to do instead.
    pub async fn read_current(
        &self,
        entry: &CatalogEntry,
        rules: &UpdateRules,
        location: &JsonMap,
    ) -> Result<(ResourceState, JsonMap), CallError> {
        let read = self.dispatcher.catalog().find(rules.read())?;
        let mut args = dry_run::read_arguments(entry.operation, read, location);
        for (name, value) in rules.read_arguments() {
            args.insert((*name).to_owned(), (*value).into());
        }
        let state = self.read(rules.read(), args.clone()).await?;
        Ok((state, args))
    }

    async fn read(&self, read: &str, args: JsonMap) -> Result<ResourceState, CallError> {
        let state = self
            .dispatcher
            .read_state(self.principal, self.request_info, read, args)
            .await;
        match state {
            Ok(state) if state.clear.is_null() => Err(unreadable(read, "it was not sent").into()),
            Err(error) if error.is_denial() => Err(unreadable(read, &error.to_string()).into()),
            state => state,
        }
    }

    /// Reads the current state and computes the change. Nothing is sent.
    ///
    /// # Errors
    /// Returns an error if the state cannot be read, a guard does not hold, or the patch cannot be
    /// applied.
    pub async fn prepare(
        &self,
        entry: &'a CatalogEntry,
        request: PatchRequest,
    ) -> Result<PreparedChange<'a>, CallError> {
        let rules = request.rules;
        let (before, read_args) = self.read_current(entry, &rules, &request.location).await?;
        let mask = |document: &mut Value| self.dispatcher.mask_state(rules.read(), document);
        let computed = compute::compute(entry.compiled(), &rules, &before, request, &mask)?;
        Ok(PreparedChange {
            entry,
            before,
            computed,
            rules,
            read_args,
            read_at: Instant::now(),
        })
    }

    /// Makes a change at once: reads, computes, calls the pipeline, and reads back. A patch that
    /// changes nothing sends nothing.
    ///
    /// # Errors
    /// Returns the errors of [`Self::prepare`] and of the call.
    pub async fn apply(
        &self,
        entry: &'a CatalogEntry,
        request: PatchRequest,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        let change = self.prepare(entry, request).await?;
        if change.is_empty() {
            return Ok(nothing_to_change());
        }
        let call = ToolCall {
            principal: self.principal,
            request_info: self.request_info,
            name: entry.operation.name(),
            args: change.arguments(),
            approval_response: None,
        };
        record.prior_state = Some(Box::new(change.prior_state()));
        record.hidden_texts = change.hidden_texts();
        let mut answer = self.dispatcher.call(call, record).await;
        change.redact(&mut answer);
        let answer = answer?;
        match record.is_sent {
            true => Ok(self.report(&change, answer).await),
            // A dry run has sent nothing that could be read back.
            false => Ok(answer),
        }
    }

    /// Reads the state back after the change was sent, and reports what changed and what the
    /// upstream ignored. `answer` is the upstream's answer to the write.
    pub async fn report(&self, change: &PreparedChange<'_>, answer: Value) -> Value {
        let mut delays = READ_AGAIN_DELAYS.into_iter();
        loop {
            let after = self
                .read(change.rules.read(), change.read_args.clone())
                .await;
            let after = match after {
                Ok(after) => after,
                Err(error) => return report::without_state(answer, &error.to_string()),
            };
            let report = report::Report::new(change.entry, &change.rules, change, &after);
            match delays.next() {
                Some(delay) if report.has_ignored() => tokio::time::sleep(delay).await,
                _ => return report.into_answer(answer),
            }
        }
    }
}

/// Explains that the current state cannot be read by this caller.
fn unreadable(read: &str, reason: &str) -> InputError {
    let message = format!(
        "the current state is read with `{read}`, and that is not possible here: {reason}. Nothing was \
         sent; give the fields themselves instead of a patch"
    );
    InputError::new(PATCH_ARGUMENT, message)
}

/// Returns the answer to a patch that changes nothing. Nothing was sent.
pub fn nothing_to_change() -> Value {
    serde_json::json!({
        "changed": [],
        "ignored": [],
        "note": "Nothing to change: what is stored has these values already. Nothing was sent.",
    })
}
