//! Calls from the command line. They differ from MCP calls in the approver and in that results are
//! never truncated.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{Server, builtin::ToolTarget, pages::OperationCall};
use crate::{
    auth::principal::Principal,
    mcp::{
        results::annotate,
        surface::{self, BuiltinAction},
    },
    observability::request::RequestInfo,
    pipeline::{
        CallError, CallRecord, Dispatcher, ToolCall,
        approval::{ApprovalError, ApprovalRequest, ApprovalResponse, take_ticket},
    },
};

/// Error text for `read-result`, which has no use in the shell: results come whole there.
const READ_RESULT_HINT: &str = "is good at the server that gave it, and ends with it. From the shell make the call \
    itself: it answers whole, whatever --max-result-bytes says";

impl Server {
    /// Returns the dispatcher that makes calls.
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
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
        mut args: JsonMap,
        ask: impl AsyncFnOnce(&ApprovalRequest) -> Result<Option<ApprovalResponse>, ApprovalError>,
    ) -> Result<Value, CallError> {
        let (request_info, record) = (&RequestInfo::local(), &mut CallRecord::default());
        let mut answer = None;
        let (name, mut args) = match surface::find_builtin(name) {
            None => (name, args),
            Some(own) if own.action == BuiltinAction::ReadResult => {
                return Err(InputError::new("handle", READ_RESULT_HINT).into());
            }
            Some(own) => {
                answer = take_ticket(&mut args);
                match self
                    .resolve_builtin(own, principal, request_info, args, record)
                    .await?
                {
                    ToolTarget::Completed(answer) => return Ok(answer.value),
                    ToolTarget::Operation(operation, args) => (operation.name(), args),
                }
            }
        };
        let source = OperationCall {
            client: None,
            principal,
            request_info,
            name,
        };
        let wanted = self.take_list_request(&source, &mut args, record)?;
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: answer,
        };
        let first = match self.dispatcher.call(call, record).await {
            Err(CallError::ApprovalRequired(question)) => {
                let (answer, args) = (ask(&question).await?, question.into_args());
                let call = ToolCall {
                    principal,
                    request_info,
                    name,
                    args,
                    approval_response: answer,
                };
                match self.dispatcher.call(call, record).await {
                    // A second request for approval means that the ticket has expired.
                    Err(CallError::ApprovalRequired(_)) => {
                        return Err(ApprovalError::TimedOut.into());
                    }
                    outcome => outcome?,
                }
            }
            Err(CallError::UnknownTool(unknown)) => {
                return Err(self.with_suggestions(principal, name, unknown).into());
            }
            outcome => outcome?,
        };
        let answer = match wanted {
            Some(wanted) => self.collect_pages(&source, &wanted, first, record).await,
            None => first,
        };
        let (warnings, times) = (
            std::mem::take(&mut record.warnings),
            std::mem::take(&mut record.times),
        );
        Ok(annotate(answer, warnings, times))
    }
}
