//! Handling of a tool call, from the MCP request to the tool result.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock},
    service::RequestContext,
};
use tracing::error;

use super::{
    Server,
    builtin::{BuiltinResult, ToolTarget},
    elicitation::{self, ElicitationOutcome},
    pages::OperationCall,
    request_info::request_info,
};
use crate::{
    auth::principal::Principal,
    mcp::{
        reply::{self, MAX_ERROR_BYTES},
        results::{RenderedResult, ResultContent, ResultFlags, annotate},
        surface,
    },
    observability::{call_record::OutcomeKind, observer::CallObserver},
    pipeline::{
        self, CallError,
        approval::{ApprovalError, ApprovalRequest, ApprovalResponse, take_ticket},
    },
    security::sanitize::first_chars,
    upstream::RetrySafety,
};

/// Maximum length of a tool name that a message repeats, in characters.
const MAX_TOOL_NAME_CHARS: usize = 100;

impl Server {
    /// Handles a tool call, including panics and cancellation.
    pub(super) async fn handle_tool_call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let _under_way = self.in_flight_calls.token();
        let name = truncate_name(&request.name);
        let principal = self.caller(&context)?;
        let mut observed = CallObserver::begin(&self.metrics, request_info(&context), principal);
        let span = observed.span();
        let call = span.instrument(self.run_tool_call(&context, principal, request, &mut observed));
        // rmcp drops a panic with its task, and the client would wait forever.
        let call = AssertUnwindSafe(call).catch_unwind();
        tokio::select! {
            outcome = call => match outcome {
                Ok(result) => result,
                Err(_) => {
                    observed.record_panic();
                    let id = &observed.request_info().id;
                    error!(tool = %name, request_id = id.as_str(), "call panicked");
                    let text = format!(
                        "an internal error ended `{name}`; whether it took effect is unknown. \
                         Please report it with the server's log (request id {id})"
                    );
                    Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into())
                }
            },
            // Dropping the call aborts its request to Portkey.
            () = context.ct.cancelled() => self.cancelled_result(principal, &observed),
        }
    }

    /// Returns the result of a call that the client cancelled or the shutdown aborted. A client
    /// that cancelled does not receive it.
    fn cancelled_result(
        &self,
        principal: &Principal,
        observed: &CallObserver<'_>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(write) = observed.sent_write() else {
            let message = "the call was cut off, because it was taken back or the server stops; it changed nothing";
            return Err(ErrorData::internal_error(message, None));
        };
        let doubt = RetrySafety {
            writes: true,
            verification_tool: self.dispatcher.find_verification_tool(principal, write),
        };
        let (name, upstream) = (write.name(), write.base().upstream());
        let text =
            format!("`{name}` was sent, and cut off before {upstream} had answered. {doubt}.");
        Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into())
    }

    async fn run_tool_call(
        &self,
        context: &RequestContext<RoleServer>,
        principal: &Principal,
        mut request: CallToolRequestParams,
        observed: &mut CallObserver<'_>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (request_info, record) = observed.request_and_record();
        let mut answer = elicitation::take_response(&mut request);
        let mut args = request.arguments.unwrap_or_default();
        let own = surface::find_builtin(&request.name);
        let (name, mut args) = match own {
            None => (&*request.name, args),
            Some(own) => {
                answer = answer.or_else(|| take_ticket(&mut args));
                match self
                    .resolve_builtin(own, principal, request_info, args, record)
                    .await
                {
                    Ok(ToolTarget::Operation(operation, args)) => (operation.name(), args),
                    Ok(ToolTarget::Completed(answer)) => {
                        return Ok(builtin_result(answer, self.results.content(), observed));
                    }
                    Err(error) => return Ok(self.reject_call(observed, error)),
                }
            }
        };
        let source = OperationCall {
            client: Some(context),
            principal,
            request_info,
            name,
        };
        let wanted = match self.take_list_request(&source, &mut args, record) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(self.reject_call(observed, error.into())),
        };
        let call = pipeline::ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: answer,
        };
        let mut outcome = self.dispatcher.call(call, record).await;
        if let Err(CallError::ApprovalRequired(question)) = outcome {
            outcome = match self.request_approval(context, principal, &question).await {
                // Repeated whatever the response was: the pipeline decides about it, and audits it.
                Ok(ElicitationOutcome::Resolved(said)) => {
                    let (args, answer) =
                        (question.into_args(), Some(ApprovalResponse::Resolved(said)));
                    let call = pipeline::ToolCall {
                        principal,
                        request_info,
                        name,
                        args,
                        approval_response: answer,
                    };
                    self.dispatcher.call(call, record).await
                }
                Ok(ElicitationOutcome::Pending(result)) => {
                    observed.record_result(
                        &Err::<(), _>(CallError::ApprovalRequired(question)),
                        CallError::outcome,
                    );
                    return Ok((*result).into());
                }
                Err(error) => Err(error),
            };
        }
        if let (Some(wanted), Ok(first)) = (&wanted, &mut outcome) {
            *first = self
                .collect_pages(&source, wanted, first.take(), record)
                .await;
        }
        if let Ok(answer) = &mut outcome {
            let (warnings, times) = (
                std::mem::take(&mut record.warnings),
                std::mem::take(&mut record.times),
            );
            *answer = annotate(answer.take(), warnings, times);
        }
        let operation = record.operation;
        let reveals = operation.is_none_or(|operation| !operation.one_time_secrets().is_empty());
        observed.record_result(&outcome, CallError::outcome);
        match outcome {
            Err(CallError::UnknownTool(unknown)) => {
                let unknown = self.with_suggestions(principal, name, unknown);
                Err(ErrorData::invalid_params(unknown.to_string(), None))
            }
            Err(error) => {
                let is_wrong = own.is_some() && matches!(error, CallError::InvalidArguments(_));
                let takes = is_wrong.then(|| self.schema_hint(name)).flatten();
                Ok(self.error_with_schema(&error, takes).into())
            }
            Ok(body) => {
                let untrusted = observed.is_untrusted();
                let origin = ResultFlags {
                    is_untrusted: untrusted,
                    returns_secret: reveals,
                };
                let may_keep = self.dispatcher.can_store_result(principal, operation);
                let shown = self
                    .results
                    .render_if(principal, body, origin, may_keep)
                    .await;
                Ok(reply::success_result(shown, self.results.content(), untrusted).into())
            }
        }
    }

    /// Builds an error result, and appends the operation's schema if it fits. Describing an
    /// operation before calling it is therefore optional.
    fn error_with_schema(&self, error: &CallError, takes: Option<String>) -> CallToolResult {
        let max = self.max_error_bytes();
        let mut result = reply::error_result(error, max);
        let Some(takes) = takes else { return result };
        let used: usize = result.content.iter().map(reply::block_json_size).sum();
        let takes = Some(takes).filter(|takes| reply::json_size(takes) + used <= max);
        let takes = takes.unwrap_or_else(|| "`describe-operation` says what it takes".to_owned());
        if reply::json_size(&takes) + used <= max {
            result.content.push(ContentBlock::text(takes));
        }
        result
    }

    /// Builds the result of a call that was rejected for its arguments.
    fn reject_call(&self, observed: &mut CallObserver<'_>, error: CallError) -> CallToolResponse {
        let result = reply::error_result(&error, self.max_error_bytes()).into();
        observed.record_result(&Err::<(), _>(error), CallError::outcome);
        result
    }

    /// Returns the maximum size of an error result: that of all errors, or that of results if it is
    /// lower.
    pub(super) fn max_error_bytes(&self) -> usize {
        self.results
            .max_bytes()
            .map_or(MAX_ERROR_BYTES, |most| most.min(MAX_ERROR_BYTES))
    }

    /// Requests approval from the human at the client.
    async fn request_approval(
        &self,
        context: &RequestContext<RoleServer>,
        principal: &Principal,
        question: &ApprovalRequest,
    ) -> Result<ElicitationOutcome, CallError> {
        let no_approver = || ApprovalError::NoApprover {
            tool: question.tool,
            rule: question.rule.clone(),
        };
        let approvals = self.dispatcher.approvals().ok_or_else(no_approver)?;
        elicitation::request_approval(approvals, context, principal, question).await
    }
}

/// Builds the result of a built-in tool, which is small or truncated already.
fn builtin_result(
    answer: BuiltinResult,
    content: ResultContent,
    observed: &mut CallObserver<'_>,
) -> CallToolResponse {
    let BuiltinResult {
        value,
        is_untrusted: untrusted,
    } = answer;
    let (_, record) = observed.request_and_record();
    (record.outcome, record.untrusted) = (OutcomeKind::Answered.into(), untrusted);
    let shown = RenderedResult {
        text: value.to_string(),
        structured: value,
    };
    reply::success_result(shown, content, untrusted).into()
}

/// Truncates a tool name that a caller may have made up.
fn truncate_name(name: &str) -> String {
    first_chars(name, MAX_TOOL_NAME_CHARS).to_owned()
}
