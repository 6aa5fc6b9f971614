//! Applies plans: exactly their steps, one by one, from the first that is not done.

use std::{collections::BTreeSet, future::Future};

use portkey_operation::{InputError, JsonMap};
use serde_json::{Value, json};

use super::{
    document::{ChangePlan, PlannedStep, StepState, digest_arguments, digest_state},
    parse::PlanStep,
    planner::{PlannedChanges, in_step},
    probe::StepOutcome,
    progress::{PlanProgress, ProgressError, ProgressKeeper, StepProgress},
    references::{self, StepValues},
};
use crate::{
    changes::{ChangeContext, PreparedChange},
    observability::call_record::OutcomeKind,
    pipeline::{
        CallError, CallRecord, PlanForm, ToolCall,
        approval::{
            ApprovalRecord, ApprovalRequest, ApprovalRequirement, ApprovalResponse, Binding,
        },
        dry_run,
        usages::Impact,
    },
};

/// Name of the tool that applies plans.
const TOOL: &str = "apply-plan";
/// Maximum number of times that a step is sent in one call, if its state proves that it was not done.
const MAX_ATTEMPTS: usize = 3;
/// Maximum length of the text of an approval request, in bytes.
const MAX_TEXT_BYTES: usize = 32 << 10;
/// Maximum length of a text, and of a list, in the answers that a report repeats.
const MAX_ANSWER_CHARS: usize = 2_000;
const MAX_ANSWER_ITEMS: usize = 20;
/// Length of the part of a plan's id that an approver types.
const TYPED_DIGITS: usize = 8;

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

/// Reason why a plan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The state is not that on which the plan builds.
    Drift,
    /// A step failed, and took no effect.
    Failed,
    /// A step was sent, and nothing tells whether it took effect.
    InDoubt,
}

impl StopReason {
    /// Returns the value in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
        }
    }
}

/// The end of a plan.
#[derive(Debug)]
pub struct AppliedPlan {
    /// Id of the plan.
    pub id: String,
    /// Steps that are done, with what this call knows of them.
    pub done: Vec<Value>,
    /// Ids of steps that are not done.
    pub not_done: Vec<String>,
    /// The step at which the plan stopped, the reason and the error.
    pub stopped: Option<(String, StopReason, String)>,
    /// True if an earlier call had begun.
    pub is_resumed: bool,
}

impl AppliedPlan {
    /// Returns true if all steps are done.
    pub const fn is_complete(&self) -> bool {
        self.stopped.is_none()
    }

    /// Serializes the end.
    pub fn to_json(&self) -> Value {
        let status = match self.is_complete() {
            true => "applied",
            false => "stopped",
        };
        let mut value = json!({ "status": status, "done": self.done, "not_done": self.not_done });
        if let Some(fields) = value.as_object_mut() {
            if self.is_resumed {
                fields.insert("resumed".to_owned(), true.into());
            }
            if let Some((step, reason, error)) = &self.stopped {
                let next = match reason {
                    StopReason::Drift => "make a new plan",
                    StopReason::Failed => {
                        "apply the plan again to go on from this step, or make a new one"
                    }
                    StopReason::InDoubt => {
                        "look whether the step took effect; it is not repeated unless its state proves that it was not done"
                    }
                };
                let stopped = json!({ "step": step, "reason": reason.as_str(), "error": error, "next": next });
                fields.insert("stopped".to_owned(), stopped);
            }
        }
        value
    }
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
        if !plan.is_known_form() || plan.is_expired() {
            let what = "is of another version, or its time is over; make it again";
            return Err(InputError::new("plan", what).into());
        }
        let mut run = PlanRun {
            context: *self,
            plan,
            progress: keeper.load().await.map_err(progress_failed)?,
            touched: BTreeSet::new(),
        };
        let mut applied = AppliedPlan {
            id: plan.id.clone(),
            done: Vec::new(),
            not_done: Vec::new(),
            stopped: None,
            is_resumed: !run.progress.steps.is_empty(),
        };
        if let Some(stopped) = run.settle_doubts(keeper).await? {
            applied.stopped = Some(stopped);
            return Ok(run.finish(applied, Vec::new()));
        }
        let approved = match run.authorize(response).await? {
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

/// An approval of several steps at once.
struct JointApproval {
    record: ApprovalRecord,
    /// Rules that it covers, as they were when it was given.
    rules: Vec<ApprovalRequirement>,
}

/// Returns the number of people who have to approve a plan: the highest of its rules.
fn joint_approvers(rules: &[ApprovalRequirement]) -> Option<u8> {
    rules.iter().filter_map(|required| required.approvers).max()
}

/// A plan that is being applied.
struct PlanRun<'a> {
    context: ChangeContext<'a>,
    plan: &'a ChangePlan,
    progress: PlanProgress,
    /// Addresses of resources that steps of this plan have changed.
    touched: BTreeSet<String>,
}

impl PlanRun<'_> {
    fn is_done(&self, id: &str) -> bool {
        matches!(self.progress.steps.get(id), Some(StepProgress::Done { .. }))
    }

    /// Returns the values that later steps refer to.
    fn values(&self) -> StepValues {
        let done = self
            .progress
            .steps
            .iter()
            .filter_map(|(id, step)| match step {
                StepProgress::Done { values } => Some((id.clone(), values.clone())),
                StepProgress::Sent => None,
            });
        done.collect()
    }

    /// Returns the arguments of a step with the values that it refers to.
    fn resolve(&self, step: &PlannedStep) -> Result<JsonMap, InputError> {
        let values = self.values();
        references::replace(&step.args, &|reference| {
            let fields = values.get(&reference.step);
            fields
                .and_then(|fields| fields.get(&reference.field).cloned())
                .ok_or_else(|| {
                    format!("`${{{}.{}}}` has no value", reference.step, reference.field)
                })
        })
    }

    /// Finds out about steps that were sent by a call that did not learn their answer.
    async fn settle_doubts(
        &mut self,
        keeper: &impl ProgressKeeper,
    ) -> Result<Option<(String, StopReason, String)>, CallError> {
        let plan = self.plan;
        for step in &plan.steps {
            if self.progress.steps.get(&step.id) != Some(&StepProgress::Sent) {
                continue;
            }
            let outcome = match self.resolve(step) {
                Ok(args) => self.probe(step, args).await,
                Err(error) => StepOutcome::Unclear(error.to_string()),
            };
            match outcome {
                StepOutcome::Done(state) => {
                    if let Err(error) = self.set_done(step, state.as_ref().unwrap_or(&Value::Null))
                    {
                        return Ok(Some((step.id.clone(), StopReason::InDoubt, error)));
                    }
                }
                StepOutcome::NotDone => {
                    self.progress.steps.remove(&step.id);
                }
                StepOutcome::Unclear(why) => {
                    return Ok(Some((step.id.clone(), StopReason::InDoubt, why)));
                }
            }
            keeper.save(&self.progress).await.map_err(progress_failed)?;
        }
        Ok(None)
    }

    async fn probe(&self, step: &PlannedStep, args: JsonMap) -> StepOutcome {
        let context = self.context;
        let computed = match context.compute_step(&plan_step(step), args).await {
            Ok(computed) => computed,
            Err(error) => return StepOutcome::Unclear(error.to_string()),
        };
        if computed
            .change
            .as_ref()
            .is_some_and(PreparedChange::is_empty)
        {
            let state = computed.change.map(|change| change.before.shown);
            return StepOutcome::Done(state);
        }
        context
            .probe(computed.entry, &computed.args, &step.state)
            .await
    }

    /// Records that a step is done, with the fields that later steps refer to.
    fn set_done(&mut self, step: &PlannedStep, answer: &Value) -> Result<(), String> {
        let mut values = std::collections::BTreeMap::new();
        for later in &self.plan.steps {
            let found = references::find("", &later.args).map_err(|error| error.to_string())?;
            for reference in found.into_iter().filter(|found| found.step == step.id) {
                let value = references::value_in(answer, &reference.field).map_err(|what| {
                    format!(
                        "the step is done, and step `{}` needs what it does not tell: {what}",
                        later.id
                    )
                })?;
                values.insert(reference.field, value);
            }
        }
        self.progress
            .steps
            .insert(step.id.clone(), StepProgress::Done { values });
        if let StepState::Read { address, .. } = &step.state {
            self.touched.insert(address.clone());
        }
        Ok(())
    }

    /// Validates and decides about all remaining steps, checks that the state is that of the plan, and
    /// requests the approval that they need. Returns the step and the difference if it is not.
    async fn authorize(
        &mut self,
        response: Option<ApprovalResponse>,
    ) -> Result<Result<Option<JointApproval>, (String, String)>, CallError> {
        for step in &self.plan.steps {
            if self.is_done(&step.id)
                && let StepState::Read { address, .. } = &step.state
            {
                self.touched.insert(address.clone());
            }
        }
        let remaining: Vec<&PlannedStep> = self
            .plan
            .steps
            .iter()
            .filter(|step| !self.is_done(&step.id))
            .collect();
        let steps: Vec<PlanStep> = remaining.iter().map(|step| plan_step(step)).collect();
        let (now, shown, is_untrusted) = self.context.survey(&steps, &self.values()).await?;
        for (planned, now) in remaining.iter().zip(&now) {
            if let Some(what) = self.difference(planned, now) {
                return Ok(Err((planned.id.clone(), what)));
            }
        }
        let changes = PlannedChanges {
            plan: self.plan.clone(),
            steps: shown,
            is_untrusted,
        };
        let rules: Vec<ApprovalRequirement> =
            changes.approval_rules().into_iter().cloned().collect();
        if rules.is_empty() {
            return Ok(Ok(None));
        }
        let request = self.approval_request(&changes, &rules);
        let ChangeContext {
            dispatcher,
            principal,
            ..
        } = self.context;
        let approved = dispatcher
            .require_joint_approval(principal, request, response)
            .await?;
        Ok(Ok(Some(JointApproval {
            record: approved,
            rules,
        })))
    }

    /// Builds the request for the approval of all steps that are not done.
    fn approval_request(
        &self,
        changes: &PlannedChanges,
        rules: &[ApprovalRequirement],
    ) -> ApprovalRequest {
        let plan = self.plan;
        let names: Vec<&str> = rules
            .iter()
            .map(|required| required.rule.as_str())
            .collect();
        let confirm = rules.iter().any(|required| required.confirm);
        let confirm = confirm.then(|| plan.id.chars().take(TYPED_DIGITS).collect::<String>());
        let mut text = format!(
            "Approve this plan of {} steps? ({TOOL} {})\n\nAsked by: `{}`\nRules: {}\n",
            changes.steps.len(),
            plan.id.get(..TYPED_DIGITS).unwrap_or_default(),
            escape(&self.context.principal.name),
            escape(&names.join(", ")),
        );
        for message in rules
            .iter()
            .filter_map(|required| required.message.as_ref())
        {
            text.push_str(&format!("Rule's message: {}\n", escape(message)));
        }
        for step in &changes.steps {
            text.push('\n');
            for line in step.to_lines() {
                text.push_str(&escape(&line));
                text.push('\n');
            }
        }
        text.push_str(
            "\n`${step.field}` is filled with what an earlier step of this plan answers.\n",
        );
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
            text.push_str("…\nThe plan is longer than what is shown. Deny it unless you know it from elsewhere.\n");
        }
        if let Some(name) = &confirm {
            text.push_str(&format!("\nTo approve, type: `{name}`"));
        }
        let impact = changes.impact_summary().map(|summary| Impact {
            summary,
            ..Impact::default()
        });
        let digest = plan.digest();
        let mut parts: Vec<&[u8]> = vec![digest.as_bytes()];
        parts.extend(changes.steps.iter().map(|step| step.id.as_bytes()));
        for required in rules {
            parts.extend([required.rule.as_bytes(), required.revision.as_bytes()]);
        }
        let binding = Binding::of_parts(&self.context.principal.name, parts);
        let approvers = joint_approvers(rules);
        let rule = names.join(", ");
        ApprovalRequest::for_calls(TOOL, rule, &text, confirm, approvers, impact, binding)
    }

    /// Returns the difference between the state of a plan and that of now.
    fn difference(&self, planned: &PlannedStep, now: &PlannedStep) -> Option<String> {
        if let StepState::Read { address, .. } = &planned.state
            && self.touched.contains(address)
        {
            return None;
        }
        match (&planned.state, &now.state) {
            (before, now) if before == now => {}
            // It exists by now.
            (StepState::Created, _) => {}
            (StepState::Read { .. }, StepState::Read { .. }) => {
                return Some("the resource has changed since the plan was made".to_owned());
            }
            (StepState::Named { count: before }, StepState::Named { count: now }) => {
                return Some(format!(
                    "{now} resources are named like the one to create, and {before} were when the plan was made"
                ));
            }
            _ => {
                return Some(
                    "the state on which the plan builds cannot be read any more".to_owned(),
                );
            }
        }
        match (&planned.sent, &now.sent) {
            (Some(planned), Some(now)) if planned != now => {
                Some("what would be sent is not what the plan has shown".to_owned())
            }
            _ => None,
        }
    }

    /// Makes a step. The state is read again before it is sent.
    async fn make_step(
        &mut self,
        step: &PlannedStep,
        keeper: &impl ProgressKeeper,
        approved: Option<&JointApproval>,
        record: &mut CallRecord,
    ) -> StepEnd {
        for _ in 0..MAX_ATTEMPTS {
            let end = self.try_step(step, keeper, approved, record).await;
            if let Some(end) = end {
                return end;
            }
        }
        let what = "its answer was lost each time, and its state proves that it was not done";
        StepEnd::Stopped(StopReason::Failed, what.to_owned())
    }

    /// Tries a step once. Returns `None` if it was sent and its state proves that it was not done.
    async fn try_step(
        &mut self,
        step: &PlannedStep,
        keeper: &impl ProgressKeeper,
        approved: Option<&JointApproval>,
        record: &mut CallRecord,
    ) -> Option<StepEnd> {
        let failed = |error: String| Some(StepEnd::Stopped(StopReason::Failed, error));
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
        if let Some(what) = self
            .drift(step, &computed.args, computed.entry, is_no_op)
            .await
        {
            return Some(StepEnd::Stopped(StopReason::Drift, what));
        }
        if is_no_op {
            let state = computed
                .change
                .map(|change| change.before.shown)
                .unwrap_or_default();
            if let Err(error) = self.set_done(step, &state) {
                return failed(error);
            }
            return match keeper.save(&self.progress).await {
                Ok(()) => Some(StepEnd::Done(json!({ "note": "nothing to change" }))),
                Err(error) => failed(error.to_string()),
            };
        }
        self.progress
            .steps
            .insert(step.id.clone(), StepProgress::Sent);
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
                Some(self.end_done(step, &answer, shown, keeper).await)
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
                    Some(self.end_done(step, &state, shown, keeper).await)
                }
                StepOutcome::NotDone => {
                    self.forget(step, keeper).await;
                    None
                }
                StepOutcome::Unclear(why) => Some(StepEnd::Stopped(
                    StopReason::InDoubt,
                    format!("{error}; {why}"),
                )),
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
        if let Err(what) = self.set_done(step, answer) {
            return StepEnd::Stopped(StopReason::InDoubt, what);
        }
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

    /// Returns what has changed since the plan was made, read right before the step.
    async fn drift(
        &self,
        step: &PlannedStep,
        args: &JsonMap,
        entry: &portkey_api::catalog::CatalogEntry,
        is_no_op: bool,
    ) -> Option<String> {
        if let Some(planned) = &step.sent
            && *planned != digest_arguments(entry.operation.name(), args)
            && !is_no_op
        {
            return Some("what would be sent is not what the plan has shown".to_owned());
        }
        match &step.state {
            StepState::Created | StepState::Unknown => None,
            StepState::Named { count } => match self.context.find_named(entry, args).await {
                Some(named) if named.len() == *count => None,
                Some(named) => Some(format!(
                    "{} resources are named like the one to create, and {count} were when the plan was made",
                    named.len()
                )),
                None => Some("the list of what is there cannot be read any more".to_owned()),
            },
            StepState::Read { address, digest } => {
                if self.touched.contains(address) {
                    return None;
                }
                let form = PlanForm {
                    reads_state: true,
                    looks_up_impact: false,
                };
                let planned = self.context.dispatcher.plan_call(
                    self.context.principal,
                    self.context.request_info,
                    entry.operation.name(),
                    args.clone(),
                    form,
                );
                match planned.await {
                    Ok(planned) => match planned.preview.current {
                        Some(current) if digest_state(&current) == *digest => None,
                        Some(_) => {
                            Some("the resource has changed since the plan was made".to_owned())
                        }
                        None => Some(
                            "the state on which the plan builds cannot be read any more".to_owned(),
                        ),
                    },
                    Err(error) => Some(in_step(&step.id, &error).to_string()),
                }
            }
        }
    }

    /// Calls the operation of a step. An approval of the whole plan covers the step if the rule that
    /// demands one is among those that the approver has seen.
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
            let is_known = |required: &ApprovalRequirement| required.rule == request.rule;
            approved.rules.iter().any(is_known)
        });
        let Some(covering) = covering else {
            let what = "needs an approval that the plan did not when it was applied; apply it again, and a human is asked";
            return Err(InputError::new("", what).into());
        };
        let approvers = joint_approvers(&covering.rules);
        let approval = request.approve_as_shown(covering.record.clone(), approvers);
        let response = ApprovalResponse::Resolved(Ok(approval));
        dispatcher.call(call(Some(response)), record).await
    }

    /// Completes the end of a plan.
    fn finish(&self, mut applied: AppliedPlan, answers: Vec<(String, Value)>) -> AppliedPlan {
        for step in &self.plan.steps {
            if !self.is_done(&step.id) {
                applied.not_done.push(step.id.clone());
                continue;
            }
            let mut done = json!({ "id": step.id, "tool": step.tool });
            let answer = answers.iter().find(|(id, _)| *id == step.id);
            if let (Some((_, answer)), Some(fields)) = (answer, done.as_object_mut()) {
                fields.insert("answer".to_owned(), answer.clone());
            }
            applied.done.push(done);
        }
        applied
    }
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

fn escape(text: &str) -> String {
    crate::pipeline::approval::escape_untrusted(text)
}
