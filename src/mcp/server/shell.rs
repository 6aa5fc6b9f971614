//! Calls from the command line. They differ from MCP calls in the approver and in that results are
//! never truncated.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{
    Server,
    tool_call::{Approver, ApproverResponse, ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::Principal,
    mcp::surface::{self, BuiltinAction},
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
        let flow = ToolCallFlow {
            server: self,
            client: None,
            principal,
            request_info: &RequestInfo::local(),
        };
        let approver = TerminalApprover(ask);
        let record = &mut CallRecord::default();
        match flow.run(name, args, None, approver, record).await? {
            ToolCallResult::Builtin(answer) | ToolCallResult::Workflow(answer) => Ok(answer.value),
            ToolCallResult::Operation { result, .. } => result,
            // No client is asked, and the approver waits for the decision.
            ToolCallResult::InputRequired(_) => Err(ApprovalError::TimedOut.into()),
        }
    }
}
