//! The impact of a write that deletes or restricts, looked up before it is sent.

use std::time::Duration;

use portkey_api::references::{Restriction, row_of};
use portkey_operation::{JsonMap, Operation};
use serde_json::Value;

use super::{Impact, ReadAnswer, ReadFailure, UsageBounds, UsageQuery, UsageReads, find_usages};
use crate::{
    auth::principal::Principal,
    observability::{call_record::OutcomeKind, request::RequestInfo},
    pipeline::{CallError, CallRecord, Dispatcher, ToolCall},
};

/// Bounds of the reads before a write.
pub const IMPACT_BOUNDS: UsageBounds = UsageBounds {
    max_calls: 60,
    concurrency: 4,
    timeout: Duration::from_secs(5),
};

/// Reads of a caller that taint nobody.
#[derive(Clone, Copy, Debug)]
pub struct QuietReads<'a> {
    /// Makes the reads.
    pub dispatcher: &'a Dispatcher,
    /// The caller.
    pub principal: &'a Principal,
    /// The request for which they are made.
    pub request_info: &'a RequestInfo,
}

impl UsageReads for QuietReads<'_> {
    async fn read(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<ReadAnswer, ReadFailure> {
        let read = self
            .dispatcher
            .read_step(self.principal, self.request_info, operation, args);
        let QuietAnswer {
            value,
            outcome,
            is_redacted,
        } = read.await?;
        match outcome {
            OutcomeKind::DryRun => Err(ReadFailure::DryRun),
            _ => Ok(ReadAnswer { value, is_redacted }),
        }
    }
}

/// The answer of a read that taints nobody.
#[derive(Debug)]
pub struct QuietAnswer {
    /// The answer, as the caller may see it, or the report of a dry run.
    pub value: Value,
    /// Outcome of the call.
    pub outcome: OutcomeKind,
    /// True if a policy redacted values.
    pub is_redacted: bool,
}

impl Dispatcher {
    /// Calls an operation that reads for this server's own question. Filters, scopes, policies, limits
    /// and the audit log see the read, and nobody is tainted: the content is not passed on.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read_step(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<QuietAnswer, CallError> {
        let mut record = CallRecord::default();
        let call = ToolCall {
            principal,
            request_info,
            name: operation,
            args,
            approval_response: None,
        };
        let value = self.call_nested(call, &mut record).await?;
        Ok(QuietAnswer {
            value,
            outcome: record.outcome.kind,
            is_redacted: record.is_redacted,
        })
    }

    /// Looks up what depends on the target of a write. Returns `None` for a write that takes nothing
    /// away from anybody.
    ///
    /// The reads are the caller's. The write never waits longer than the bounds, and a lookup that fails
    /// says so.
    pub async fn look_up_impact(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        operation: &Operation,
        args: &JsonMap,
    ) -> Option<Impact> {
        let restriction = Restriction::of_call(operation.name(), args)?;
        let kind = row_of(restriction.kind)?;
        let Some(target) = args.get(restriction.argument).and_then(Value::as_str) else {
            return Some(Impact::unknown("the call names no target".to_owned()));
        };
        let workspace = args.get("workspace_id").and_then(Value::as_str);
        let workspace = workspace.filter(|_| restriction.argument != "workspace_id");
        let query = UsageQuery {
            kind,
            target: target.to_owned(),
            workspace: workspace.map(str::to_owned),
            bounds: IMPACT_BOUNDS,
        };
        let reads = QuietReads {
            dispatcher: self,
            principal,
            request_info,
        };
        Some(match find_usages(&reads, &query).await {
            Ok(report) => report.impact,
            Err(error) => Impact::unknown(error.to_string()),
        })
    }
}
