//! Runs workflows: makes their steps, one call of the pipeline each.

use futures_util::{StreamExt, stream::FuturesUnordered};
use portkey_operation::{Effect, InputError, JsonMap, ValidatedArguments};
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    builtin::BuiltinResult,
    tool_call::{Approver, CalledOperation, Recheck, ToolCallFlow, ToolCallResult},
};
use crate::{
    changes::plan,
    mcp::results::annotate,
    observability::call_record::OutcomeKind,
    pipeline::{Answer, CallError, CallRecord, LOG_READS, StepFailure, approval::ApprovalResponse},
    workflows::{HISTORY_TOOL, PLAN_TOOL, Step, StepAnswer, Workflow},
};

/// What the steps of a workflow have in common.
struct WorkflowProgress {
    /// Number of steps so far.
    steps: usize,
    /// Operations that wrote, in their order.
    done: Vec<&'static str>,
    /// True if a step was only described.
    has_dry_run: bool,
    /// Response of a human to the write that comes next.
    approval_response: Option<ApprovalResponse>,
}

impl ToolCallFlow<'_> {
    /// Runs a workflow.
    ///
    /// A client that asks its user repeats the whole call. The steps that are done are then not
    /// repeated, because a workflow writes only what is missing, and the response belongs to the first
    /// write.
    ///
    /// # Errors
    /// Returns the error of the step that failed.
    pub(super) async fn run_workflow<'n>(
        &self,
        workflow: &'static Workflow,
        args: ValidatedArguments,
        approval_response: Option<ApprovalResponse>,
        approver: impl Approver,
        record: &mut CallRecord,
    ) -> Result<ToolCallResult<'n>, CallError> {
        record.warnings = args.warnings;
        let needs = workflow.needs.iter().copied().chain(LOG_READS);
        let redacted = needs.filter(|name| self.can_redact(name)).collect();
        let clock = self.server.dispatcher().clock();
        let (mut run, mut steps) = workflow.start(args.args, clock, redacted);
        let mut progress = WorkflowProgress {
            steps: 0,
            done: Vec::new(),
            has_dry_run: false,
            approval_response,
        };
        let mut reads = FuturesUnordered::new();
        let result = loop {
            let step = tokio::select! {
                biased;
                result = &mut run => break result,
                Some(()) = reads.next() => continue,
                Some(step) = steps.recv() => step,
            };
            if let Some(client) = self.client {
                notify_step(client, progress.steps, step.operation).await;
            }
            let Step {
                operation,
                args,
                rows,
                reply,
            } = step;
            progress.steps += 1;
            if progress.steps > workflow.max_steps {
                let max = workflow.max_steps;
                let what = format!("takes more than {max} steps, which is not allowed");
                break Err(InputError::new("", what).into());
            }
            if workflow.reads_quietly && !self.writes(operation) {
                reads.push(self.read_quietly(operation, args, reply));
                continue;
            }
            if operation == PLAN_TOOL {
                let mut step_record = StepRecord::new(record);
                let planned = self.plan_step(args, &mut step_record.inner).await;
                step_record.finish();
                // The workflow waits for the answer.
                _ = reply.send(planned.map(StepAnswer::Answered));
                continue;
            }
            if operation == HISTORY_TOOL {
                let listed = self.server.list_changes_for_step(self.principal, &args);
                let listed = Box::pin(listed).await.map_err(CallError::from);
                // The workflow waits for the answer.
                _ = reply.send(listed.map(StepAnswer::Answered));
                continue;
            }
            let mut step_record = StepRecord::new(record);
            let response = match self.writes(operation) {
                true => progress.approval_response.take(),
                false => None,
            };
            let inner = &mut step_record.inner;
            let called = match &rows {
                None => {
                    let recheck = Recheck::Nothing;
                    self.call_with_approval(operation, args, response, &approver, recheck, inner)
                        .await
                }
                Some(rows) => {
                    let call = self.pipeline_call(operation, args, response);
                    Box::pin(self.read_rows_with_approval(call, rows, &approver, inner)).await
                }
            };
            let answer = match called {
                CalledOperation::InputRequired(request) => {
                    step_record.finish();
                    record.operation = Some(&workflow.operation);
                    record.outcome = OutcomeKind::Asked.into();
                    return Ok(ToolCallResult::InputRequired(request));
                }
                CalledOperation::Ended(result) => result.map(Answer::into_document),
            };
            let is_dry_run = inner.outcome.kind == OutcomeKind::DryRun;
            let is_redacted = inner.is_redacted;
            progress.has_dry_run |= is_dry_run;
            if answer.is_ok() && inner.is_sent {
                progress.done.push(operation);
            }
            step_record.finish();
            // The workflow waits for the answer.
            _ = reply.send(answer.map(|answer| match (is_dry_run, is_redacted) {
                (true, _) => StepAnswer::DryRun(answer),
                (false, true) => StepAnswer::Redacted(answer),
                (false, false) => StepAnswer::Answered(answer),
            }));
        };
        // The steps have set it to theirs.
        record.operation = Some(&workflow.operation);
        let outcome = match progress.has_dry_run {
            true => OutcomeKind::DryRun,
            false => OutcomeKind::Answered,
        };
        let value = result.map_err(|error| progress.wrap_error(error))?;
        record.outcome = outcome.into();
        let warnings = std::mem::take(&mut record.warnings);
        Ok(ToolCallResult::Workflow(BuiltinResult {
            value: annotate(value, warnings, Vec::new()),
            is_untrusted: record.untrusted,
        }))
    }

    /// Plans the changes that a workflow proposes. Nothing is sent but reads.
    async fn plan_step(
        &self,
        mut args: JsonMap,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        let steps = plan::parse_value(args.remove("steps").unwrap_or_default())?;
        let planned = Box::pin(self.plan_changes(steps, record)).await?;
        Ok(planned.value)
    }

    /// Makes a step that reads, without an approver and without taint. The workflow bounds how many it
    /// takes at a time.
    async fn read_quietly(
        &self,
        operation: &'static str,
        args: JsonMap,
        reply: oneshot::Sender<Result<StepAnswer, CallError>>,
    ) {
        let read =
            self.server
                .dispatcher()
                .read_step(self.principal, self.request_info, operation, args);
        let answer = read.await.map(|step| match step.outcome {
            OutcomeKind::DryRun => StepAnswer::DryRun(step.value),
            _ if step.is_redacted => StepAnswer::Redacted(step.value),
            _ => StepAnswer::Answered(step.value),
        });
        // The workflow waits for the answer.
        _ = reply.send(answer);
    }

    fn can_redact(&self, operation: &str) -> bool {
        let dispatcher = self.server.dispatcher();
        let entry = dispatcher.catalog().find(operation);
        entry.is_ok_and(|entry| dispatcher.can_redact(self.principal, entry.operation))
    }

    fn writes(&self, operation: &str) -> bool {
        let entry = self.server.dispatcher().catalog().find(operation);
        entry.is_ok_and(|entry| entry.operation.effect() != Effect::Read)
    }
}

impl WorkflowProgress {
    /// Adds to an error what was done before.
    fn wrap_error(self, error: CallError) -> CallError {
        match self.done.is_empty() {
            true => error,
            false => CallError::StepFailed(Box::new(StepFailure {
                done: self.done,
                error,
            })),
        }
    }
}

/// The record of a step, merged into that of the workflow when the step ends.
struct StepRecord<'a> {
    outer: &'a mut CallRecord,
    inner: CallRecord,
}

impl<'a> StepRecord<'a> {
    fn new(outer: &'a mut CallRecord) -> Self {
        Self {
            outer,
            inner: CallRecord::default(),
        }
    }

    /// Merges the record of a step that has ended.
    fn finish(self) {}
}

impl Drop for StepRecord<'_> {
    /// Merges also the record of a step that was cancelled, which may have been sent.
    fn drop(&mut self) {
        let Self { outer, inner } = self;
        if inner.is_sent {
            outer.operation = inner.operation;
            outer.mark_write_sent();
        }
        outer.status = inner.status;
        outer.untrusted |= inner.untrusted;
        outer.warnings.append(&mut inner.warnings);
        if inner.rule.is_some() {
            outer.decision = inner.decision;
            outer.rule = inner.rule.take();
        }
        outer.shadow_matches.append(&mut inner.shadow_matches);
    }
}

/// Notifies the client of a step, if it asked for progress.
async fn notify_step(client: &RequestContext<RoleServer>, steps: usize, operation: &str) {
    let Some(token) = client.meta.get_progress_token() else {
        return;
    };
    let note = ProgressNotificationParam::new(token, steps as f64).with_message(operation);
    // A client that misses the notification still gets the result.
    _ = client.peer.notify_progress(note).await;
}
