//! Applies plans: exactly their steps, one by one, from the first that is not done.

mod applied_plan;
mod approval_request;
mod authorize;
mod known_steps;
mod step;

use std::{collections::BTreeSet, future::Future};

use portkey_operation::InputError;
use serde_json::Value;

use super::{
    document::{ChangePlan, PlannedStep},
    parse::PlanStep,
    progress::{PlanProgress, ProgressError, ProgressKeeper},
};
use crate::{
    changes::ChangeContext,
    pipeline::{CallError, CallRecord, approval::ApprovalResponse},
};

pub use self::applied_plan::{AppliedPlan, DONE_ALREADY, StopReason};

/// Name of the tool that applies plans.
const TOOL: &str = "apply-plan";

/// Learns about the progress of a plan.
pub trait ApplyObserver: Sync {
    /// Is told before a step is made.
    fn begin_step(
        &self,
        done: usize,
        total: usize,
        step: &str,
        tool: &str,
    ) -> impl Future<Output = ()> + Send;
}

/// The end of one step.
enum StepEnd {
    Done(Value),
    Stopped(StopReason, String),
}

impl ChangeContext<'_> {
    /// Applies a plan from the first step that is not done. All remaining steps are validated and
    /// decided first; a human approves them together.
    ///
    /// # Errors
    /// Returns an error if nothing was sent by this call: the plan is invalid, a step is denied, an
    /// approval is missing, or the progress cannot be kept.
    pub async fn apply_plan(
        &self,
        plan: &ChangePlan,
        keeper: &impl ProgressKeeper,
        observer: &impl ApplyObserver,
        response: Option<ApprovalResponse>,
        record: &mut CallRecord,
    ) -> Result<AppliedPlan, CallError> {
        let apply = self.apply_held(plan, keeper, observer, response, record);
        tokio::select! {
            applied = apply => applied,
            // It never ends.
            () = keeper.hold() => Err(progress_failed(ProgressError::InUse)),
        }
    }

    async fn apply_held(
        &self,
        plan: &ChangePlan,
        keeper: &impl ProgressKeeper,
        observer: &impl ApplyObserver,
        response: Option<ApprovalResponse>,
        record: &mut CallRecord,
    ) -> Result<AppliedPlan, CallError> {
        if plan.is_known_form() {
            self.check_upstreams(plan)?;
        }
        keeper.take_again().await.map_err(progress_failed)?;
        let mut progress = keeper.load().await.map_err(progress_failed)?;
        if progress.steps.is_empty() {
            progress = PlanProgress::new(plan);
        }
        if !progress.is_of(plan) {
            return Err(progress_failed(ProgressError::OtherPlan));
        }
        let mut run = PlanRun {
            context: *self,
            plan,
            progress,
            touched: BTreeSet::new(),
        };
        let mut applied = AppliedPlan {
            id: plan.id.clone(),
            done: Vec::new(),
            not_done: Vec::new(),
            stopped: None,
            is_resumed: !run.progress.steps.is_empty(),
            is_done_already: plan.steps.iter().all(|step| run.is_done(&step.id)),
        };
        if applied.is_done_already {
            return Ok(run.finish(applied, Vec::new()));
        }
        if !plan.is_known_form() || plan.is_expired() {
            let what = "is of another version, or its time is over; make it again";
            return Err(InputError::new("plan", what).into());
        }
        if let Some(stopped) = run.settle_doubts(keeper).await? {
            applied.stopped = Some(stopped);
            return Ok(run.finish(applied, Vec::new()));
        }
        let approved = match run.authorize(response, record).await? {
            Ok(approved) => approved,
            Err((step, what)) => {
                applied.stopped = Some((step, StopReason::Drift, what));
                return Ok(run.finish(applied, Vec::new()));
            }
        };
        let mut answers = Vec::new();
        let total = plan.steps.len();
        for (i, step) in plan.steps.iter().enumerate() {
            if run.is_done(&step.id) {
                continue;
            }
            observer.begin_step(i, total, &step.id, &step.tool).await;
            let end = Box::pin(run.make_step(step, keeper, approved.as_ref(), record)).await;
            match end {
                StepEnd::Done(answer) => answers.push((step.id.clone(), answer)),
                StepEnd::Stopped(reason, error) => {
                    applied.stopped = Some((step.id.clone(), reason, error));
                    break;
                }
            }
        }
        Ok(run.finish(applied, answers))
    }
}

/// A plan that is being applied.
struct PlanRun<'a> {
    context: ChangeContext<'a>,
    plan: &'a ChangePlan,
    progress: PlanProgress,
    /// Addresses of resources that steps of this plan have changed.
    touched: BTreeSet<String>,
}

fn plan_step(step: &PlannedStep) -> PlanStep {
    PlanStep {
        id: step.id.clone(),
        tool: step.tool.clone(),
        arguments: step.args.clone(),
    }
}

fn progress_failed(error: ProgressError) -> CallError {
    InputError::new("plan", error).into()
}
