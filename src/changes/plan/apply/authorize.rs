//! Decides about all remaining steps of a plan, and requests the approval that they need together.

use std::collections::BTreeMap;

use super::{PlanRun, plan_step};
use crate::{
    changes::{
        ChangeContext,
        plan::{
            document::{PlannedStep, StepState},
            parse::PlanStep,
            shown::PlannedChanges,
        },
    },
    pipeline::{
        CallError, CallRecord,
        approval::{ApprovalRecord, ApprovalRequirement, ApprovalResponse},
    },
};

/// An approval of several steps at once.
pub(super) struct JointApproval {
    pub(super) record: ApprovalRecord,
    /// The requirements that it covers, by step, as they were when it was given.
    required: BTreeMap<String, ApprovalRequirement>,
    /// Number of people who have approved.
    pub(super) approvers: Option<u8>,
}

impl JointApproval {
    /// Returns true if the approver was told that a step needs this approval.
    pub(super) fn covers(&self, step: &str, required: &ApprovalRequirement) -> bool {
        self.required.get(step).is_some_and(|shown| {
            shown.rule == required.rule
                && shown.revision == required.revision
                && shown.confirm == required.confirm
                && shown.approvers == required.approvers
        })
    }
}

/// Returns the number of people who have to approve a plan: the highest of its rules.
pub(super) fn joint_approvers(rules: &[ApprovalRequirement]) -> Option<u8> {
    rules.iter().filter_map(|required| required.approvers).max()
}

impl PlanRun<'_> {
    /// Validates and decides about all remaining steps, checks that the state is that of the plan, and
    /// requests the approval that they need. Returns the step and the difference if it is not.
    pub(super) async fn authorize(
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
            // The caller could not read it then, so that the plan has shown nothing of it.
            (StepState::Unknown, _) => {
                return Some(
                    "the state could not be read when the plan was made, and can be read now; make the plan again"
                        .to_owned(),
                );
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
}
