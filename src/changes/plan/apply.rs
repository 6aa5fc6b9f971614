//! Applies plans: exactly their steps, one by one, from the first that is not done.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use portkey_operation::{CallRisk, InputError, JsonMap};
use serde_json::{Value, json};

use super::{
    document::{ChangePlan, PlannedStep, StepState, digest_arguments, digest_state, unix_seconds},
    parse::PlanStep,
    planner::{NOTHING_TO_CHANGE, PlannedChanges, ShownStep, in_step, is_unchanged},
    probe::StepOutcome,
    progress::{PlanProgress, ProgressError, ProgressKeeper, StepProgress},
    references::{self, StepReference, StepValues},
};
use crate::{
    changes::{ChangeContext, PreparedChange},
    observability::call_record::OutcomeKind,
    pipeline::{
        CallError, CallRecord, PlanForm, ToolCall,
        approval::{
            ApprovalRecord, ApprovalRequest, ApprovalRequirement, ApprovalResponse, Binding,
            CallDetails, DetailChange, RiskLabel, describe_risks,
        },
        dry_run,
        usages::Impact,
    },
};

/// Name of the tool that applies plans.
const TOOL: &str = "apply-plan";
/// Minimum time after the timeout of a request for which it may still take effect.
const MIN_IN_FLIGHT: Duration = Duration::from_secs(5);
/// Text for a plan of which nothing is left to do.
pub const DONE_ALREADY: &str = "this plan is done already; nothing was sent";
/// Maximum length of a line of the text of an approval request, in characters.
const MAX_LINE_CHARS: usize = 1_000;
/// Maximum length of the text of an approval request, in bytes.
const MAX_TEXT_BYTES: usize = 32 << 10;
/// Maximum number of changes, and of other entries, in the parts of an approval request.
const MAX_DETAIL_CHANGES: usize = 60;
const MAX_DETAIL_ENTRIES: usize = 40;
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
    /// True if an earlier call has made all steps.
    pub is_done_already: bool,
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
            if self.is_done_already {
                fields.insert("note".to_owned(), DONE_ALREADY.into());
            }
            if let Some((step, reason, error)) = &self.stopped {
                let next = match reason {
                    StopReason::Drift => "make a new plan",
                    StopReason::Failed => {
                        "apply the plan again to go on from this step, or make a new one"
                    }
                    StopReason::InDoubt => {
                        "look whether the step took effect, and apply the plan again later; the step is not repeated unless its state shows that it was not done"
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

/// An approval of several steps at once.
struct JointApproval {
    record: ApprovalRecord,
    /// The requirements that it covers, by step, as they were when it was given.
    required: BTreeMap<String, ApprovalRequirement>,
    /// Number of people who have approved.
    approvers: Option<u8>,
}

impl JointApproval {
    /// Returns true if the approver was told that a step needs this approval.
    fn covers(&self, step: &str, required: &ApprovalRequirement) -> bool {
        self.required.get(step).is_some_and(|shown| {
            shown.rule == required.rule
                && shown.revision == required.revision
                && shown.confirm == required.confirm
                && shown.approvers == required.approvers
        })
    }
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
                StepProgress::Done { values, .. } => Some((id.clone(), values.clone())),
                StepProgress::Sent { .. } => None,
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
                    let StepReference { step, field } = reference;
                    let why = match self.progress.steps.get(step) {
                        Some(StepProgress::Done { missing, .. }) => missing.get(field),
                        _ => None,
                    };
                    let why = why.map_or("it is not known", String::as_str);
                    format!("`${{{step}.{field}}}` has no value: {why}")
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
            let Some(StepProgress::Sent { until }) = self.progress.steps.get(&step.id) else {
                continue;
            };
            let until = *until;
            let outcome = match self.resolve(step) {
                Ok(args) => self.probe(step, args).await,
                Err(error) => StepOutcome::Unclear(error.to_string()),
            };
            match outcome {
                StepOutcome::Done(state) => {
                    self.set_done(step, state.as_ref().unwrap_or(&Value::Null));
                }
                StepOutcome::NotDone if unix_seconds() <= until => {
                    let left = until.saturating_sub(unix_seconds()) + 1;
                    let why = format!(
                        "it was sent, its answer is not known, and it may still take effect; apply the plan again in {left} seconds"
                    );
                    return Ok(Some((step.id.clone(), StopReason::InDoubt, why)));
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
            // Nothing is there that a patch could have changed.
            Err(CallError::Upstream(_, refusal)) if refusal.is_definite() => {
                return StepOutcome::NotDone;
            }
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
    fn set_done(&mut self, step: &PlannedStep, answer: &Value) {
        let mut values = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for later in &self.plan.steps {
            // An invalid reference is an error of the step that has it.
            let found = references::find("", &later.args).unwrap_or_default();
            for reference in found.into_iter().filter(|found| found.step == step.id) {
                match references::value_in(answer, &reference.field) {
                    Ok(value) => _ = values.insert(reference.field, value),
                    Err(why) => _ = missing.insert(reference.field, why),
                }
            }
        }
        self.progress
            .steps
            .insert(step.id.clone(), StepProgress::Done { values, missing });
        if let StepState::Read { address, .. } = &step.state {
            self.touched.insert(address.clone());
        }
    }

    /// Validates and decides about all remaining steps, checks that the state is that of the plan, and
    /// requests the approval that they need. Returns the step and the difference if it is not.
    async fn authorize(
        &mut self,
        response: Option<ApprovalResponse>,
        record: &CallRecord,
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
            request_info,
        } = self.context;
        let approved = dispatcher
            .require_joint_approval(
                (principal, request_info),
                record.operation,
                &self.plan.id,
                request,
                response,
            )
            .await?;
        let required = changes
            .steps
            .into_iter()
            .filter_map(|step| Some((step.id, step.approval?)));
        Ok(Ok(Some(JointApproval {
            record: approved,
            required: required.collect(),
            approvers: joint_approvers(&rules),
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
        if let Some(count) = joint_approvers(rules).filter(|count| *count > 1) {
            text.push_str(&format!("Approvers: {count} different people\n"));
        }
        for (i, step) in changes.steps.iter().enumerate() {
            let mut part = "\n".to_owned();
            for line in approval_lines(step) {
                part.push_str(&line);
                part.push('\n');
            }
            if text.len() + part.len() > MAX_TEXT_BYTES {
                let left = changes.steps.len() - i;
                let ids: Vec<&str> = changes
                    .steps
                    .iter()
                    .skip(i)
                    .map(|step| step.id.as_str())
                    .collect();
                text.push_str(&format!(
                    "\nAnd {left} more steps that are not shown: {}. Deny the plan unless you know them from elsewhere.\n",
                    shorten(&escape(&ids.join(", ")))
                ));
                break;
            }
            text.push_str(&part);
        }
        text.push_str(
            "\n`${step.field}` is filled with what an earlier step of this plan answers.\n",
        );
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
        let details = self.details(changes, &rule);
        let mut risks: Vec<CallRisk> = Vec::new();
        for known in changes.steps.iter().flat_map(|step| &step.risks) {
            if !risks.iter().any(|other| other.risk == known.risk) {
                risks.push(*known);
            }
        }
        ApprovalRequest::for_calls(
            TOOL,
            rule,
            &text,
            (confirm, approvers),
            (risks, details),
            impact,
            binding,
        )
    }

    /// Describes the plan in parts, for the approval server and its notices.
    fn details(&self, changes: &PlannedChanges, rule: &str) -> CallDetails {
        let info = self.context.request_info;
        let mut details = CallDetails {
            title: format!("Apply a plan of {} steps", changes.steps.len()),
            effect: "update".to_owned(),
            method: "PLAN".to_owned(),
            target: self.plan.id.clone(),
            client: info
                .client
                .as_deref()
                .map(|client| shorten(&escape(client))),
            transport: info.transport.as_str().to_owned(),
            rule: shorten(&escape(rule)),
            ..CallDetails::default()
        };
        if changes.steps.iter().any(|step| step.effect == "delete") {
            details.effect = "delete".to_owned();
        }
        let mut sentences = Vec::new();
        for step in &changes.steps {
            let id = shorten(&escape(&step.id));
            sentences.push(format!(
                "{id}: {}",
                describe_risks(step.operation, &step.risks)
            ));
            details
                .risks
                .extend(step.risks.iter().map(|known| RiskLabel {
                    kind: known.risk.as_str().to_owned(),
                    text: format!("{id}: it {}.", known.statement),
                }));
            details.impact.extend(
                step.impact
                    .iter()
                    .map(|impact| format!("{id}: {}", escape(&impact.summary))),
            );
            let target = format!("{id}: {} ({})", step.tool, step.effect);
            let all = [DetailChange::from_values(
                &target,
                (None, Some(&Value::from(step.target.as_str()))),
                None,
            )];
            let own = step.changes.iter().map(|change| {
                let path = change
                    .get("path")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let values = (change.get("from"), change.get("to"));
                DetailChange::from_values(&format!("{id}: {path}"), values, None)
            });
            for change in all.into_iter().chain(own) {
                match details.changes.len() < MAX_DETAIL_CHANGES {
                    true => details.changes.push(change),
                    false => details.more_changes += 1,
                }
            }
            details.more_changes += step.more_changes;
            details.warnings.extend(
                step.notes
                    .iter()
                    .map(|note| format!("{id}: {}", shorten(&escape(note)))),
            );
        }
        details.risk = sentences.join(" ");
        for list in [&mut details.impact, &mut details.warnings] {
            if list.len() > MAX_DETAIL_ENTRIES {
                let more = list.len() - MAX_DETAIL_ENTRIES;
                list.truncate(MAX_DETAIL_ENTRIES);
                list.push(format!("and {more} more"));
            }
        }
        details
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

    /// Makes a step. The state is read again before it is sent, and it is sent once: a request without
    /// an answer may take effect after its state was read.
    async fn make_step(
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
                Some(named) if named.len() == *count => Ok(None),
                Some(named) => Err(format!(
                    "{} resources are named like the one to create, and {count} were when the plan was made",
                    named.len()
                )),
                None => Err("the list of what is there cannot be read any more".to_owned()),
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

/// Renders a step for its approver: the request, its risks, and what changes. No line is cut silently.
fn approval_lines(step: &ShownStep) -> Vec<String> {
    let mut lines = step.to_lines();
    let mut about = vec![
        format!("  target: {}", step.target),
        format!("  risk: {}", describe_risks(step.operation, &step.risks)),
    ];
    if let Some(count) = step
        .approval
        .as_ref()
        .and_then(|required| required.approvers)
    {
        about.push(format!("  approvers: {count}"));
    }
    lines.splice(1..1, about);
    lines.iter().map(|line| shorten(&escape(line))).collect()
}

/// Shortens a line, and says so.
fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => {
            let (start, rest) = line.split_at(end);
            format!("{start}… ({} more characters)", rest.chars().count())
        }
        None => line.to_owned(),
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
