//! Requests to the endpoint of an operation, which a client built itself. They take the steps of a
//! tool call. The query, the body and the answer travel as they came, except for secrets and
//! redactions.

use std::sync::Arc;

use bytes::Bytes;
use portkey_operation::{
    CompiledOperation, InputError, JsonMap, ReceivedArguments, UnknownFields, UpstreamRequest,
};
use serde_json::Value;

use super::{
    CallError, CallRecord, CallResult, Dispatcher, ToolCall, forwarded::ForwardedResponse,
    rows::RowQuery,
};
use crate::{
    auth::principal::Principal, observability::request::RequestInfo,
    pipeline::approval::ApprovalResponse,
};

/// Name by which records show that a request asked for a dry run.
const DRY_RUN_HEADER: &str = "X-Portkey-MCP-Dry-Run";

/// A request to the endpoint of an operation, as a client sent it.
#[derive(Clone, Debug, Default)]
pub struct ReceivedRequest {
    /// Values of the path's placeholders, decoded, in their order.
    pub path_values: Vec<String>,
    /// The query, encoded; empty if there is none.
    pub query: String,
    /// The body; empty if there is none.
    pub body: Bytes,
    /// True if the request is to be described and not sent.
    pub is_dry_run: bool,
}

/// A call by a request to the endpoint of an operation.
#[derive(Debug)]
pub struct ReceivedCall<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// Request id, transport and client of the request.
    pub request_info: &'a RequestInfo,
    /// Name of the operation.
    pub name: &'a str,
    /// The request.
    pub request: ReceivedRequest,
    /// The ticket that the request names.
    pub approval_response: Option<ApprovalResponse>,
    /// Treatment of fields that this version does not know.
    pub unknown_fields: UnknownFields,
}

/// The answer to a received request.
#[derive(Debug)]
pub enum ReceivedAnswer {
    /// The request is described and was not sent.
    DryRun(Value),
    /// The upstream answered, with any status.
    Forwarded(Box<ForwardedResponse>),
}

/// How the arguments of a call are validated, and how its request is built.
#[derive(Debug)]
pub(super) enum CallForm {
    /// Arguments of a tool: they are validated and converted, and the request is built from them.
    Arguments,
    /// Arguments of a read whose answer this server needs itself, beside what the caller may see.
    State,
    /// Arguments of a tool, of which only is decided and described what they would do.
    Plan(PlanForm),
    /// Arguments of a read whose answer is the signed address of a file. The rows of that file are
    /// read, and the address goes to nobody.
    Rows(Arc<RowQuery>),
    /// A request that the client built: its arguments are examined, and it is sent as it came.
    Request {
        request: ReceivedRequest,
        /// Names that the path has, too, with another value.
        shadowed: Vec<String>,
        unknown_fields: UnknownFields,
    },
}

/// What is read for a call that is planned.
#[derive(Clone, Copy, Debug)]
pub struct PlanForm {
    /// True if the current state is read.
    pub reads_state: bool,
    /// True if what depends on the target is looked up.
    pub looks_up_impact: bool,
    /// True if the arguments were computed from the current state and a patch.
    pub is_patch: bool,
}

impl CallForm {
    /// Returns true if the call is the plan of a patch.
    pub(super) const fn is_patch(&self) -> bool {
        matches!(self, Self::Plan(form) if form.is_patch)
    }

    /// Returns the setting by which the request itself asks for a dry run.
    pub(super) fn dry_run_setting(&self) -> Option<Arc<str>> {
        match self {
            Self::Request { request, .. } if request.is_dry_run => Some(DRY_RUN_HEADER.into()),
            Self::Request { .. }
            | Self::Arguments
            | Self::State
            | Self::Plan(_)
            | Self::Rows(_) => None,
        }
    }

    /// Returns false if the current state is not to be read.
    pub(super) const fn reads_state(&self) -> bool {
        match self {
            Self::Plan(form) => form.reads_state,
            Self::Arguments | Self::State | Self::Rows(_) | Self::Request { .. } => true,
        }
    }

    /// Returns false if what depends on the target is not to be looked up.
    pub(super) const fn looks_up_impact(&self) -> bool {
        match self {
            Self::Plan(form) => form.reads_state && form.looks_up_impact,
            Self::Arguments | Self::State | Self::Rows(_) | Self::Request { .. } => true,
        }
    }

    /// Returns the parts of a request that an approval is bound to, beside its arguments.
    pub(super) fn bound_parts(&self) -> Option<[&[u8]; 2]> {
        match self {
            Self::Request { request, .. } => Some([request.query.as_bytes(), &request.body]),
            Self::Arguments | Self::State | Self::Plan(_) | Self::Rows(_) => None,
        }
    }
}

impl ReceivedRequest {
    /// Builds the upstream request. The body changes only if a secret was put into the arguments
    /// after they were `examined`.
    pub(super) fn build(
        &self,
        published: &CompiledOperation,
        examined: &JsonMap,
        args: &JsonMap,
    ) -> Result<(UpstreamRequest, Option<Bytes>), InputError> {
        let request = published.build_received_request(&self.path_values, &self.query)?;
        let body = match examined == args {
            true => self.body.clone(),
            false => published
                .replace_received_fields(&self.body, examined, args)?
                .into(),
        };
        Ok((request, Some(body).filter(|body| !body.is_empty())))
    }
}

impl CallResult {
    fn into_received_answer(self) -> ReceivedAnswer {
        match self {
            Self::DryRun(report) => ReceivedAnswer::DryRun(report),
            Self::Forwarded(response) => ReceivedAnswer::Forwarded(response),
            // Neither a preview nor a state is served at an endpoint; this keeps the match complete.
            Self::Answered(answer) => ReceivedAnswer::DryRun(answer.into_document()),
            Self::State(state) => ReceivedAnswer::DryRun(state.shown),
            Self::Planned(planned) => ReceivedAnswer::DryRun(planned.report),
        }
    }
}

impl Dispatcher {
    /// Makes a call by a request that the client built, and writes everything found out about it
    /// to `record`. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`]. An error response of the upstream is an answer.
    pub async fn call_received(
        &self,
        call: ReceivedCall<'_>,
        record: &mut CallRecord,
    ) -> Result<ReceivedAnswer, CallError> {
        let ReceivedCall {
            principal,
            request_info,
            name,
            request,
            approval_response,
            unknown_fields,
        } = call;
        let received = self.find(name, record).and_then(|entry| {
            let published = entry.compiled();
            let ReceivedRequest {
                path_values,
                query,
                body,
                ..
            } = &request;
            Ok(published.read_received_arguments(path_values, query, body)?)
        });
        let ReceivedArguments { args, shadowed } = match received {
            Ok(received) => received,
            Err(error) => {
                self.record_rejected_call(principal, request_info, &JsonMap::new(), record);
                return Err(error);
            }
        };
        let form = CallForm::Request {
            request,
            shadowed,
            unknown_fields,
        };
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response,
        };
        let outcome = self.execute(call, &form, record).await;
        if record.untrusted {
            self.taint.mark(principal, request_info).await;
        }
        if let Ok(CallResult::Forwarded(response)) = &outcome
            && response.error().is_none()
        {
            self.record_ordered_call(principal, request_info, record)
                .await;
        }
        outcome.map(CallResult::into_received_answer)
    }
}
