//! Calls from the command line. They differ from MCP calls in the approver and in that results are
//! never truncated.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{
    Server,
    plan::PlanEnd,
    tool_call::{Approver, ApproverResponse, ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::Principal,
    changes::plan::{AppliedPlan, ChangePlan, PlannedChanges, ProgressKeeper, StepInput},
    mcp::{
        results::ToolAnswer,
        surface::{self, BuiltinAction},
    },
    observability::request::RequestInfo,
    pipeline::{
        CallError, CallRecord,
        approval::{ApprovalError, ApprovalRequest, ApprovalResponse},
    },
};

/// Error text for `read-result`, which has no use in the shell: results come whole there.
const READ_RESULT_HINT: &str = "is good at the server that gave it, and ends with it. From the shell make the call \
    itself: it answers whole, whatever --max-result-bytes says";

/// Requests approval from the user at the terminal, or waits for a ticket to be decided.
struct TerminalApprover<F>(F);

impl<F> Approver for TerminalApprover<F>
where
    F: AsyncFn(&ApprovalRequest) -> Result<Option<ApprovalResponse>, ApprovalError>,
{
    async fn request_approval(
        &self,
        request: &ApprovalRequest,
    ) -> Result<ApproverResponse, CallError> {
        Ok(ApproverResponse::Decided((self.0)(request).await?))
    }
}

impl Server {
    /// Plans changes as the user who runs the process. Nothing is sent but reads.
    ///
    /// # Errors
    /// Returns the [`CallError`] of the step that is invalid or not permitted.
    pub(crate) async fn plan_from_shell(
        &self,
        principal: &Principal,
        steps: Vec<StepInput>,
    ) -> Result<PlannedChanges, CallError> {
        let request_info = RequestInfo::local();
        let flow = self.shell_flow(principal, &request_info);
        flow.compute_plan(steps, &mut CallRecord::default()).await
    }

    /// Applies a plan as the user who runs the process.
    ///
    /// # Errors
    /// Returns the [`CallError`] of a plan of which this call has sent nothing.
    pub(crate) async fn apply_from_shell(
        &self,
        principal: &Principal,
        plan: &ChangePlan,
        progress: &impl ProgressKeeper,
        ask: impl AsyncFn(&ApprovalRequest) -> Result<Option<ApprovalResponse>, ApprovalError>,
    ) -> Result<AppliedPlan, CallError> {
        if plan.caller != *principal.name {
            return Err(InputError::new("plan", "was made for another caller").into());
        }
        let request_info = RequestInfo::local();
        let flow = self.shell_flow(principal, &request_info);
        let approver = TerminalApprover(ask);
        let record = &mut CallRecord::default();
        let end = flow.apply_with(plan, progress, None, &approver, record);
        match end.await? {
            PlanEnd::Applied(applied) => Ok(applied),
            // No client is asked, and the approver waits for the decision.
            PlanEnd::InputRequired(_) => Err(ApprovalError::TimedOut.into()),
        }
    }

    fn shell_flow<'a>(
        &'a self,
        principal: &'a Principal,
        request_info: &'a RequestInfo,
    ) -> ToolCallFlow<'a> {
        ToolCallFlow {
            server: self,
            client: None,
            principal,
            request_info,
        }
    }

    /// Calls an operation or a built-in tool as the user who runs the process.
    ///
    /// `ask` requests approval from a human. If it returns `None`, a ticket was decided elsewhere.
    ///
    /// # Errors
    /// Returns the [`CallError`] of the call.
    pub(crate) async fn call_from_shell(
        &self,
        principal: &Principal,
        name: &str,
        args: JsonMap,
        ask: impl AsyncFn(&ApprovalRequest) -> Result<Option<ApprovalResponse>, ApprovalError>,
    ) -> Result<Value, CallError> {
        let is_read_result = |tool: &surface::BuiltinTool| tool.action == BuiltinAction::ReadResult;
        if surface::find_builtin(name).is_some_and(is_read_result) {
            return Err(InputError::new("handle", READ_RESULT_HINT).into());
        }
        let request_info = RequestInfo::local();
        let flow = self.shell_flow(principal, &request_info);
        let approver = TerminalApprover(ask);
        let record = &mut CallRecord::default();
        match flow.run(name, args, None, approver, record).await? {
            ToolCallResult::Builtin(answer) | ToolCallResult::Workflow(answer) => Ok(answer.value),
            ToolCallResult::Operation { result, .. } => result.map(ToolAnswer::into_document),
            // No client is asked, and the approver waits for the decision.
            ToolCallResult::InputRequired(_) => Err(ApprovalError::TimedOut.into()),
        }
    }
}
