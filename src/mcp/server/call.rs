//! Handling of a tool call, from the MCP request to the tool result.

use std::{borrow::Cow, panic::AssertUnwindSafe, pin::pin};

use futures_util::FutureExt;
use portkey_concurrency::box_future;
use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock},
    service::RequestContext,
};
use serde_json::Value;
use tracing::error;

use super::{
    Server,
    builtin::BuiltinResult,
    elicitation::{self, ElicitationApprover},
    request_info::{reads_structured_content, request_info},
    tool_call::{ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::Principal,
    mcp::{
        reply::{self, MAX_ERROR_BYTES, StructuredForm},
        results::{RenderedResult, ResultContent, ResultFlags, ShownResult},
        tool_names::spell_in_text,
    },
    observability::{
        call_record::{CallOutcome, CallRecord},
        observer::CallObserver,
    },
    pipeline::CallError,
    security::sanitize::first_chars,
    upstream::RetrySafety,
};

/// Maximum length of a tool name that a message repeats, in characters.
const MAX_TOOL_NAME_CHARS: usize = 100;

/// A tool call that has ended, as its client receives it and as it is logged.
struct EndedCall {
    response: Result<CallToolResponse, ErrorData>,
    outcome: CallOutcome,
}

/// Form of a result for its client.
#[derive(Clone, Copy)]
struct ResultForm {
    content: ResultContent,
    structured: StructuredForm,
}

impl ResultForm {
    /// Builds the result of a successful call.
    fn result(self, shown: ShownResult, is_untrusted: bool) -> CallToolResult {
        reply::shown_result(shown, self.content, is_untrusted, self.structured)
    }
}

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
        let ended = {
            // Pinned where it is: the wrappers around it would copy its kilobytes three times.
            let call = pin!(self.run_tool_call(&context, principal, request, &mut observed));
            // rmcp drops a panic with its task, and the client would wait forever.
            let call = AssertUnwindSafe(span.instrument(call)).catch_unwind();
            tokio::select! {
                ended = call => Some(ended),
                // Dropping the call aborts its request to Portkey.
                () = context.ct.cancelled() => None,
            }
        };
        let EndedCall { response, outcome } = match ended {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => {
                let id = &observed.request_info().id;
                error!(tool = %name, request_id = id.as_str(), "call panicked");
                let text = format!(
                    "an internal error ended `{name}`; whether it took effect is unknown. Please \
                     report it with the server's log (request id {id})"
                );
                EndedCall {
                    response: Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into()),
                    outcome: CallOutcome::panicked(observed.record().is_sent),
                }
            }
            // The observer logs the call as cancelled when it is dropped.
            None => return self.cancelled_result(principal, &observed),
        };
        observed.finish(outcome);
        response
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
        let name = write.name();
        let upstream = write.base().upstream();
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
    ) -> EndedCall {
        let (request_info, record) = observed.request_and_record();
        let approval_response = elicitation::take_response(&mut request);
        let args = request.arguments.unwrap_or_default();
        let flow = ToolCallFlow {
            server: self,
            client: Some(context),
            principal,
            request_info,
        };
        let approver = ElicitationApprover {
            approvals: self.dispatcher.approvals(),
            context,
            principal,
        };
        let result =
            Box::pin(flow.run(&request.name, args, approval_response, approver, record)).await;
        let outcome = match &result {
            Err(error)
            | Ok(ToolCallResult::Operation {
                result: Err(error), ..
            }) => error.outcome(record.is_sent),
            Ok(_) => record.outcome.clone(),
        };
        let response = match result {
            Ok(result) => {
                let form = ResultForm {
                    content: self.results.content_for(reads_structured_content(context)),
                    structured: StructuredForm::from_extensions(&context.extensions),
                };
                box_future(self.render_result(principal, result, form, record)).await
            }
            Err(error) => Ok(self.error_with_schema(&error, None).into()),
        };
        EndedCall { response, outcome }
    }

    /// Renders the result of a call: truncated if it is large, and an error within its own limit.
    async fn render_result(
        &self,
        principal: &Principal,
        result: ToolCallResult<'_>,
        form: ResultForm,
        record: &CallRecord,
    ) -> Result<CallToolResponse, ErrorData> {
        let (name, is_by_builtin, result) = match result {
            ToolCallResult::Builtin(result) => {
                return Ok(builtin_result(result, form));
            }
            ToolCallResult::Workflow(result) => {
                // Boxed: other calls need not reserve the space.
                let result = self.workflow_result(principal, result, form, record);
                return Ok(Box::pin(result).await);
            }
            ToolCallResult::InputRequired(request) => return Ok((*request).into()),
            ToolCallResult::Operation {
                name,
                is_by_builtin,
                result,
            } => (name, is_by_builtin, result),
        };
        match result {
            Err(CallError::UnknownTool(unknown)) => {
                let message = spell_in_text(self.tool_names(), &unknown.to_string()).into_owned();
                Err(ErrorData::invalid_params(message, None))
            }
            Err(error) => {
                let is_wrong = is_by_builtin && matches!(error, CallError::InvalidArguments(_));
                let takes = is_wrong.then(|| self.schema_hint(name)).flatten();
                Ok(self.error_with_schema(&error, takes).into())
            }
            Ok(body) => {
                let operation = record.operation;
                let is_untrusted = record.untrusted;
                let flags = ResultFlags {
                    is_untrusted,
                    returns_secret: operation
                        .is_none_or(|operation| !operation.one_time_secrets().is_empty()),
                };
                let may_keep = self.dispatcher.can_store_result(principal, operation);
                let shown = self
                    .results
                    .render_answer(principal, body, flags, may_keep)
                    .await;
                Ok(form.result(shown, is_untrusted).into())
            }
        }
    }

    /// Builds the result of a workflow: truncated if it is large, as a list of planned writes is.
    async fn workflow_result(
        &self,
        principal: &Principal,
        result: BuiltinResult,
        form: ResultForm,
        record: &CallRecord,
    ) -> CallToolResponse {
        let BuiltinResult {
            mut value,
            is_untrusted,
        } = result;
        let operation = record.operation;
        let image = take_image(&mut value);
        let flags = ResultFlags {
            is_untrusted,
            returns_secret: operation
                .is_some_and(|operation| !operation.one_time_secrets().is_empty()),
        };
        // Without steps, nothing shows that the caller's key exists.
        let may_keep = self.dispatcher.can_store_result(principal, None);
        let render = self.results.render_if(principal, value, flags, may_keep);
        let shown = render.await;
        let form = match image {
            // With an image, nothing writes the text in the place of structured content.
            Some(_) => ResultForm {
                structured: StructuredForm::Document,
                ..form
            },
            None => form,
        };
        let mut result = form.result(ShownResult::Document(shown), is_untrusted);
        result.content.extend(image);
        result.into()
    }

    /// Builds an error result, and appends the operation's schema if it fits. Describing an
    /// operation before calling it is therefore optional.
    fn error_with_schema(&self, error: &CallError, takes: Option<String>) -> CallToolResult {
        let mut result = self.build_error_result(error, takes);
        for block in &mut result.content {
            let spelled = block
                .as_text()
                .map(|text| spell_in_text(self.tool_names(), &text.text));
            if let Some(Cow::Owned(text)) = spelled {
                *block = ContentBlock::text(text);
            }
        }
        result
    }

    fn build_error_result(&self, error: &CallError, takes: Option<String>) -> CallToolResult {
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

    /// Returns the maximum size of an error result: that of all errors, or that of results if it is
    /// lower.
    pub(super) fn max_error_bytes(&self) -> usize {
        self.results
            .max_bytes()
            .map_or(MAX_ERROR_BYTES, |max| max.min(MAX_ERROR_BYTES))
    }
}

/// Takes the image out of the answer of a workflow. Its size and kind stay there.
fn take_image(value: &mut Value) -> Option<ContentBlock> {
    let chart = value.get_mut("chart")?.as_object_mut()?;
    let kind = chart.get("mime_type")?.as_str()?.to_owned();
    match chart.shift_remove("data")? {
        Value::String(data) => Some(ContentBlock::image(data, kind)),
        _ => None,
    }
}

/// Builds the result of a built-in tool, which is small or truncated already.
fn builtin_result(result: BuiltinResult, form: ResultForm) -> CallToolResponse {
    let BuiltinResult {
        value,
        is_untrusted,
    } = result;
    let shown = RenderedResult {
        text: value.to_string(),
        structured: value,
    };
    form.result(ShownResult::Document(shown), is_untrusted)
        .into()
}

/// Truncates a tool name that a caller may have made up.
fn truncate_name(name: &str) -> String {
    first_chars(name, MAX_TOOL_NAME_CHARS).to_owned()
}
