//! Steps of a plan that are done or were sent: their values, and what became of those without an answer.

use std::collections::BTreeMap;

use portkey_operation::{InputError, JsonMap};
use serde_json::{Value, json};

use super::{AppliedPlan, PlanRun, StopReason, plan_step, progress_failed};
use crate::{
    changes::{
        PreparedChange,
        plan::{
            document::{PlannedStep, StepState, unix_seconds},
            probe::StepOutcome,
            progress::{ProgressKeeper, StepProgress},
            references::{self, StepReference, StepValues},
        },
    },
    pipeline::CallError,
};

impl PlanRun<'_> {
    pub(super) fn is_done(&self, id: &str) -> bool {
        matches!(self.progress.steps.get(id), Some(StepProgress::Done { .. }))
    }

    /// Returns the values that later steps refer to.
    pub(super) fn values(&self) -> StepValues {
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
    pub(super) fn resolve(&self, step: &PlannedStep) -> Result<JsonMap, InputError> {
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
    pub(super) async fn settle_doubts(
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

    pub(super) async fn probe(&self, step: &PlannedStep, args: JsonMap) -> StepOutcome {
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
    pub(super) fn set_done(&mut self, step: &PlannedStep, answer: &Value) {
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

    /// Completes the end of a plan.
    pub(super) fn finish(
        &self,
        mut applied: AppliedPlan,
        answers: Vec<(String, Value)>,
    ) -> AppliedPlan {
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
