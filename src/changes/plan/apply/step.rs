//! One step of a plan: compared with the plan, recorded, sent once, and settled.

use std::time::Duration;

use portkey_operation::{InputError, JsonMap};
use serde_json::{Value, json};

use super::{PlanRun, StepEnd, StopReason, authorize::JointApproval, plan_step};
use crate::{
    changes::{
        ChangeContext, PreparedChange,
        plan::{
            document::{PlannedStep, StepState, digest_arguments, digest_state, unix_seconds},
            planner::{NOTHING_TO_CHANGE, in_step, is_unchanged},
            probe::StepOutcome,
            progress::{ProgressKeeper, StepProgress},
        },
    },
    observability::call_record::OutcomeKind,
    pipeline::{CallError, CallRecord, PlanForm, ToolCall, approval::ApprovalResponse, dry_run},
};

/// Minimum time after the timeout of a request for which it may still take effect.
const MIN_IN_FLIGHT: Duration = Duration::from_secs(5);
/// Maximum length of a text, and of a list, in the answers that a report repeats.
const MAX_ANSWER_CHARS: usize = 2_000;
const MAX_ANSWER_ITEMS: usize = 20;

impl PlanRun<'_> {
    /// Makes a step. The state is read again before it is sent, and it is sent once: a request without
    /// an answer may take effect after its state was read.
    pub(super) async fn make_step(
        &mut self,
        step: &PlannedStep,
        keeper: &impl ProgressKeeper,
        approved: Option<&JointApproval>,
        record: &mut CallRecord,
    ) -> StepEnd {
        let failed = |error: String| StepEnd::Stopped(StopReason::Failed, error);
        let context = self.context;
        let args = match self.resolve(step) {
            Ok(args) => args,
            Err(error) => return failed(error.to_string()),
        };
        let computed = match context.compute_step(&plan_step(step), args.clone()).await {
            Ok(computed) => computed,
            Err(error) => return failed(error.to_string()),
        };
        let is_no_op = computed
            .change
            .as_ref()
            .is_some_and(PreparedChange::is_empty);
        let unchanged = match self
            .drift(step, &computed.args, computed.entry, is_no_op)
            .await
        {
            Err(what) => return StepEnd::Stopped(StopReason::Drift, what),
            Ok(unchanged) => unchanged,
        };
        let unchanged = match &computed.change {
            Some(change) => is_no_op.then(|| change.before.shown.clone()),
            None => unchanged,
        };
        if let Some(state) = unchanged {
            self.set_done(step, &state);
            return match keeper.save(&self.progress).await {
                Ok(()) => StepEnd::Done(json!({ "note": NOTHING_TO_CHANGE })),
                Err(error) => failed(error.to_string()),
            };
        }
        let timeout = context.dispatcher.upstream_timeout();
        let in_flight = timeout + timeout.max(MIN_IN_FLIGHT);
        // A part of a second counts as a whole one.
        let until = unix_seconds() + in_flight.as_secs() + 1;
        self.progress
            .steps
            .insert(step.id.clone(), StepProgress::Sent { until });
        if let Err(error) = keeper.save(&self.progress).await {
            self.progress.steps.remove(&step.id);
            return failed(error.to_string());
        }
        let mut step_record = CallRecord::default();
        let mut result = self
            .call_step(step, &computed.args, approved, &mut step_record)
            .await;
        if step_record.is_sent {
            record.mark_write_sent();
        }
        record.operation = step_record.operation;
        record.status = step_record.status;
        if let Some(change) = &computed.change {
            change.redact(&mut result);
        }
        let is_sent = step_record.is_sent;
        let is_refused =
            matches!(&result, Err(CallError::Upstream(_, refusal)) if refusal.is_definite());
        match result {
            Ok(_) if step_record.outcome.kind == OutcomeKind::DryRun => {
                self.forget(step, keeper).await;
                failed(
                    "a setting or a policy wants a dry run of it, so that it was not sent"
                        .to_owned(),
                )
            }
            Ok(answer) => {
                let shown = match &computed.change {
                    Some(change) => context.report(change, answer.clone()).await,
                    None => answer.clone(),
                };
                self.end_done(step, &answer, shown, keeper).await
            }
            Err(error) if !is_sent || !error.may_have_taken_effect() => {
                self.forget(step, keeper).await;
                failed(error.to_string())
            }
            Err(error) => match self.probe(step, args).await {
                StepOutcome::Done(state) => {
                    let state = state.unwrap_or_default();
                    let shown = json!({ "note": "its answer was lost, and its state shows that it took effect",
                        "state": state });
                    self.end_done(step, &state, shown, keeper).await
                }
                // An earlier attempt had no answer, and the upstream has refused the last one.
                StepOutcome::NotDone if is_refused => {
                    self.forget(step, keeper).await;
                    failed(error.to_string())
                }
                StepOutcome::NotDone => StepEnd::Stopped(
                    StopReason::InDoubt,
                    format!(
                        "{error}; its state is that before it, and it may still take effect; apply the plan again later"
                    ),
                ),
                StepOutcome::Unclear(why) => {
                    StepEnd::Stopped(StopReason::InDoubt, format!("{error}; {why}"))
                }
            },
        }
    }

    async fn end_done(
        &mut self,
        step: &PlannedStep,
        answer: &Value,
        shown: Value,
        keeper: &impl ProgressKeeper,
    ) -> StepEnd {
        let shown = dry_run::truncate(&shown, MAX_ANSWER_CHARS, MAX_ANSWER_ITEMS);
        self.set_done(step, answer);
        // Without it the next call finds the step sent, and looks at its state.
        _ = keeper.save(&self.progress).await;
        StepEnd::Done(shown)
    }

    /// Forgets that a step was about to be sent, because it took no effect.
    async fn forget(&mut self, step: &PlannedStep, keeper: &impl ProgressKeeper) {
        self.progress.steps.remove(&step.id);
        // Without it the next call finds the step sent, and looks at its state.
        _ = keeper.save(&self.progress).await;
    }

    /// Compares the state with that of the plan, right before the step. Returns the state if it is known
    /// to have the values of the step already.
    ///
    /// # Errors
    /// Returns what has changed since the plan was made.
    async fn drift(
        &self,
        step: &PlannedStep,
        args: &JsonMap,
        entry: &portkey_api::catalog::CatalogEntry,
        is_no_op: bool,
    ) -> Result<Option<Value>, String> {
        let unreadable = || "the state on which the plan builds cannot be read any more".to_owned();
        let changed = || "the resource has changed since the plan was made".to_owned();
        if let Some(planned) = &step.sent
            && *planned != digest_arguments(entry.operation.name(), args)
            && !is_no_op
        {
            return Err("what would be sent is not what the plan has shown".to_owned());
        }
        match &step.state {
            StepState::Created | StepState::Unknown => Ok(None),
            StepState::Named { count } => match self.context.find_named(entry, args).await {
                Ok(Some(named)) if named.len() == *count => Ok(None),
                Ok(Some(named)) => Err(format!(
                    "{} resources are named like the one to create, and {count} were when the plan was made",
                    named.len()
                )),
                Ok(None) => Err("the list of what is there cannot be read any more".to_owned()),
                Err(error) => Err(format!(
                    "the list of what is there cannot be read now: {error}"
                )),
            },
            StepState::Read { address, digest } => {
                if self.touched.contains(address) {
                    return Ok(None);
                }
                let in_step = |error: CallError| in_step(&step.id, &error).to_string();
                if is_no_op {
                    let current = self.context.read_target(entry, args).await;
                    let current = current.map_err(in_step)?.ok_or_else(unreadable)?;
                    return match digest_state(&current) == *digest {
                        true => Ok(None),
                        false => Err(changed()),
                    };
                }
                let form = PlanForm {
                    reads_state: true,
                    looks_up_impact: false,
                    is_patch: false,
                };
                let planned = self.context.dispatcher.plan_call(
                    self.context.principal,
                    self.context.request_info,
                    entry.operation.name(),
                    args.clone(),
                    form,
                );
                let planned = planned.await.map_err(in_step)?;
                let is_unchanged = is_unchanged(entry, args, &planned.preview);
                match planned.preview.current {
                    Some(current) if digest_state(&current) == *digest => {
                        Ok(Some(current).filter(|_| is_unchanged))
                    }
                    Some(_) => Err(changed()),
                    None => Err(unreadable()),
                }
            }
        }
    }

    /// Calls the operation of a step. An approval of the whole plan covers the step if the approver has
    /// seen that exactly this step needs exactly this approval.
    async fn call_step(
        &self,
        step: &PlannedStep,
        args: &JsonMap,
        approved: Option<&JointApproval>,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        let ChangeContext {
            dispatcher,
            principal,
            request_info,
        } = self.context;
        let call = |approval_response| ToolCall {
            principal,
            request_info,
            name: &step.tool,
            args: args.clone(),
            approval_response,
        };
        let request = match dispatcher.call(call(None), record).await {
            Err(CallError::ApprovalRequired(request)) => request,
            result => return result,
        };
        let covering = approved.filter(|approved| {
            let required = request.requirement();
            required.is_some_and(|required| approved.covers(&step.id, required))
        });
        let Some(covering) = covering else {
            let what = "needs an approval that the plan did not when it was applied; apply it again, and a human is asked";
            return Err(InputError::new("", what).into());
        };
        let approval = request.approve_as_shown(covering.record.clone(), covering.approvers);
        let response = ApprovalResponse::Resolved(Ok(approval));
        dispatcher.call(call(Some(response)), record).await
    }
}
