//! Updates with a patch: what is done before and after the call of the pipeline.

use portkey_operation::JsonMap;
use serde_json::Value;

use super::tool_call::ToolCallFlow;
use crate::{
    changes::{self, ChangeContext, PreparedChange},
    observability::call_record::{CallRecord, OutcomeKind},
    pipeline::CallError,
};

impl<'s> ToolCallFlow<'s> {
    pub(super) fn change_context(&self) -> ChangeContext<'s> {
        ChangeContext {
            dispatcher: self.server.dispatcher(),
            principal: self.principal,
            request_info: self.request_info,
        }
    }

    /// Computes the change of a call with a patch, and replaces the patch by the arguments that make
    /// the change. Returns `None` for a call without one.
    pub(super) async fn prepare_change(
        &self,
        name: &str,
        args: &mut JsonMap,
        record: &mut CallRecord,
    ) -> Result<Option<Box<PreparedChange<'s>>>, CallError> {
        let dispatcher = self.server.dispatcher();
        // An operation that the caller may not call is rejected later, with its original arguments.
        let entry = dispatcher.catalog().find(name).ok();
        let Some(entry) = entry.filter(|entry| dispatcher.is_authorized(self.principal, entry))
        else {
            return Ok(None);
        };
        let received = args.clone();
        let prepared = match changes::take_patch(entry.compiled(), args) {
            Ok(None) => return Ok(None),
            Ok(Some(request)) => self.change_context().prepare(entry, request).await,
            Err(error) => Err(error.into()),
        };
        let change = prepared.inspect_err(|_| {
            record.operation = Some(entry.operation);
            dispatcher.record_rejected_call(self.principal, self.request_info, &received, record);
        })?;
        record.prior_state = Some(Box::new(change.prior_state()));
        record.hidden_texts = change.hidden_texts();
        *args = match change.is_empty() {
            true => {
                record.operation = Some(entry.operation);
                received
            }
            false => change.arguments(),
        };
        Ok(Some(Box::new(change)))
    }

    /// Answers a patch that changes nothing, and records the call.
    pub(super) async fn finish_without_change(
        &self,
        change: &PreparedChange<'_>,
        args: &JsonMap,
        record: &mut CallRecord,
    ) -> Value {
        let dispatcher = self.server.dispatcher();
        dispatcher.record_unsent_call(self.principal, self.request_info, args, record);
        record.outcome = OutcomeKind::Answered.into();
        self.taint_caller(change, record).await;
        changes::nothing_to_change()
    }

    /// Reads the state back after a change was sent, and answers what received of it.
    pub(super) async fn report_change(
        &self,
        change: &PreparedChange<'_>,
        answer: Value,
        record: &mut CallRecord,
    ) -> Value {
        let report = self.change_context().report(change, answer).await;
        self.taint_caller(change, record).await;
        report
    }

    /// Marks the caller that learns about the state, if it is untrusted content.
    async fn taint_caller(&self, change: &PreparedChange<'_>, record: &mut CallRecord) {
        if change.before.is_untrusted {
            record.untrusted = true;
            let dispatcher = self.server.dispatcher();
            dispatcher
                .mark_taint(self.principal, self.request_info)
                .await;
        }
    }
}
