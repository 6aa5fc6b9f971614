//! Calls from the console of the approval server. A call that needs approval waits with a ticket,
//! as it would for any other caller, and goes on once somebody has decided.

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{
    Server,
    tool_call::{Approver, ApproverResponse, ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::Principal,
    mcp::results::ToolAnswer,
    observability::request::RequestInfo,
    pipeline::{
        CallError, CallRecord,
        approval::{ApprovalError, ApprovalRequest, Approvals},
    },
};

/// Creates a ticket, announces it, and waits until it is decided.
struct TicketApprover<'a, F> {
    approvals: Option<&'a Approvals>,
    principal: &'a Principal,
    announce: F,
}

impl<F: Fn(&str) + Sync> Approver for TicketApprover<'_, F> {
    async fn request_approval(
        &self,
        request: &ApprovalRequest,
    ) -> Result<ApproverResponse, CallError> {
        let approvals = self.approvals.ok_or_else(|| ApprovalError::NoApprover {
            tool: request.tool,
            rule: request.rule.clone(),
        })?;
        let ticket = approvals.create_ticket(self.principal, request).await?;
        (self.announce)(&ticket.id);
        approvals.wait_for_decision(&ticket.id).await;
        Ok(ApproverResponse::Decided(None))
    }
}

impl Server {
    /// Calls a tool on behalf of a person at the console, as this principal. `announce` gets the id
    /// of the ticket if the call waits for approval.
    ///
    /// # Errors
    /// Returns the [`CallError`] of the call.
    pub(crate) async fn call_from_console(
        &self,
        principal: &Principal,
        person: &str,
        name: &str,
        args: JsonMap,
        announce: impl Fn(&str) + Sync,
    ) -> Result<Value, CallError> {
        let request_info = RequestInfo {
            client: Some(format!("console, {person}").into()),
            ..RequestInfo::local()
        };
        let flow = ToolCallFlow {
            server: self,
            client: None,
            principal,
            request_info: &request_info,
        };
        let approver = TicketApprover {
            approvals: self.dispatcher.approvals(),
            principal,
            announce,
        };
        let record = &mut CallRecord::default();
        match flow.run(name, args, None, approver, record).await? {
            ToolCallResult::Builtin(answer) | ToolCallResult::Workflow(answer) => Ok(answer.value),
            ToolCallResult::Operation { result, .. } => result.map(ToolAnswer::into_document),
            // No client is asked, and the approver waits for the decision.
            ToolCallResult::InputRequired(_) => Err(ApprovalError::TimedOut.into()),
        }
    }
}
