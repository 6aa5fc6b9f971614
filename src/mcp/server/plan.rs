//! Plans of changes: what the tools `plan-changes` and `apply-plan` do with the caller's client.

use portkey_operation::InputError;
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use serde_json::json;

use super::{
    Server,
    builtin::BuiltinResult,
    tool_call::{Approver, ApproverResponse, ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::KeyProver,
    changes::plan::{
        AppliedPlan, ApplyObserver, ChangePlan, MAX_TOKEN_BYTES, PLAN_TTL, PlanStore,
        PlannedChanges, ProgressKeeper, StepInput, StoreProgress,
    },
    mcp::surface,
    observability::call_record::OutcomeKind,
    pipeline::{
        CallError, CallRecord,
        approval::{ApprovalError, ApprovalResponse},
    },
};

/// Notifies a client of the steps of a plan, if it asked for progress.
struct ClientObserver<'a>(Option<&'a RequestContext<RoleServer>>);

impl ApplyObserver for ClientObserver<'_> {
    async fn begin_step(&self, done: usize, total: usize, step: &str, tool: &str) {
        let Some(client) = self.0 else { return };
        let Some(token) = client.meta.get_progress_token() else {
            return;
        };
        let note = ProgressNotificationParam::new(token, done as f64)
            .with_total(total as f64)
            .with_message(format!("{step}: {tool}"));
        // A client that misses the notification still gets the result.
        _ = client.peer.notify_progress(note).await;
    }
}

/// The end of a call that applies a plan.
pub(super) enum PlanEnd {
    /// The plan ended.
    Applied(AppliedPlan),
    /// The client has to ask a human, and repeats the call.
    InputRequired(Box<rmcp::model::InputRequiredResult>),
}

impl Server {
    /// Returns what signs and keeps plans.
    pub(super) fn plan_store(&self) -> Result<PlanStore, InputError> {
        let approvals = self.dispatcher.approvals();
        let approvals = approvals
            .ok_or_else(|| InputError::new("", "this server has no keys to sign a plan with"))?;
        Ok(PlanStore::new(
            approvals.shared_keys(),
            approvals.store().store().clone(),
        ))
    }
}

impl ToolCallFlow<'_> {
    /// Plans changes, and returns what would change with a plan that the caller can apply.
    pub(super) async fn plan_changes(
        &self,
        steps: Vec<StepInput>,
        record: &mut CallRecord,
    ) -> Result<BuiltinResult, CallError> {
        let planned = self.compute_plan(steps, record).await?;
        // Nothing is kept for a key that may be made up.
        self.server.dispatcher().prove(self.principal).await?;
        let store = self.server.plan_store()?;
        let plan = store.issue(self.principal, &planned.plan).await?;
        let mut value = json!({
            "plan": plan,
            "valid_for_seconds": PLAN_TTL.as_secs(),
            "steps": planned.to_json(),
            "note": "Nothing was sent. `apply-plan` makes exactly these steps, if nothing has changed by then.",
        });
        if let (Some(impact), Some(fields)) = (planned.impact_summary(), value.as_object_mut()) {
            fields.insert("impact".to_owned(), impact.into());
        }
        debug_assert!(plan.len() <= MAX_TOKEN_BYTES, "longer plans are kept");
        Ok(BuiltinResult {
            value,
            is_untrusted: planned.is_untrusted,
        })
    }

    /// Computes a plan, and marks the caller if it shows untrusted content.
    pub(super) async fn compute_plan(
        &self,
        steps: Vec<StepInput>,
        record: &mut CallRecord,
    ) -> Result<PlannedChanges, CallError> {
        let planned = Box::pin(self.change_context().plan(steps)).await?;
        record.operation = surface::find_builtin("plan-changes").map(|tool| tool.operation);
        record.outcome = OutcomeKind::Answered.into();
        record.untrusted = planned.is_untrusted;
        if planned.is_untrusted {
            let dispatcher = self.server.dispatcher();
            dispatcher
                .mark_taint(self.principal, self.request_info)
                .await;
        }
        Ok(planned)
    }

    /// Applies a plan whose progress is kept in the server's store.
    pub(super) async fn apply_plan<'n>(
        &self,
        plan: &ChangePlan,
        approval_response: Option<ApprovalResponse>,
        approver: impl Approver,
        record: &mut CallRecord,
    ) -> Result<ToolCallResult<'n>, CallError> {
        self.server.dispatcher().prove(self.principal).await?;
        let store = self.server.plan_store()?;
        let keeper = StoreProgress::take(&store, self.principal, plan)
            .await
            .map_err(|error| InputError::new("plan", error))?;
        let end = self
            .apply_with(plan, &keeper, approval_response, &approver, record)
            .await;
        keeper.release().await;
        Ok(match end? {
            PlanEnd::InputRequired(request) => ToolCallResult::InputRequired(request),
            PlanEnd::Applied(applied) => ToolCallResult::Workflow(BuiltinResult {
                value: applied.to_json(),
                is_untrusted: false,
            }),
        })
    }

    /// Applies a plan, and requests approval if its steps need it.
    pub(super) async fn apply_with(
        &self,
        plan: &ChangePlan,
        keeper: &impl ProgressKeeper,
        mut approval_response: Option<ApprovalResponse>,
        approver: &impl Approver,
        record: &mut CallRecord,
    ) -> Result<PlanEnd, CallError> {
        let tool = surface::find_builtin("apply-plan").map(|tool| tool.operation);
        let context = self.change_context();
        let observer = ClientObserver(self.client);
        let mut has_asked = false;
        loop {
            record.operation = tool;
            let apply =
                context.apply_plan(plan, keeper, &observer, approval_response.take(), record);
            let applied = Box::pin(apply).await;
            record.operation = tool;
            let request = match applied {
                Ok(applied) => {
                    record.outcome = OutcomeKind::Answered.into();
                    return Ok(PlanEnd::Applied(applied));
                }
                // A second request for approval means that the first one has expired.
                Err(CallError::ApprovalRequired(_)) if has_asked => {
                    return Err(ApprovalError::TimedOut.into());
                }
                Err(CallError::ApprovalRequired(request)) => request,
                Err(error) => return Err(error),
            };
            has_asked = true;
            match approver.request_approval(&request).await? {
                ApproverResponse::Decided(response) => approval_response = response,
                ApproverResponse::InputRequired(request) => {
                    record.outcome = OutcomeKind::Asked.into();
                    return Ok(PlanEnd::InputRequired(request));
                }
            }
        }
    }
}
