//! Requests to the endpoint of an operation, which a client built itself. They take the steps of a
//! tool call. The query, the body and the answer travel as they came, except for secrets and
//! redactions.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use portkey_operation::{
    CompiledOperation, InputError, JsonMap, ReceivedArguments, UniqueJson, UnknownFields,
    UpstreamRequest,
};
use portkey_policy::{FieldPath, PolicyEvaluation};
use serde_json::Value;

use super::{CallError, CallRecord, CallResult, Dispatcher, ToolCall, response::RawResponse};
use crate::{
    auth::principal::Principal,
    observability::request::RequestInfo,
    pipeline::approval::ApprovalResponse,
    security::{
        sanitize,
        secrets::{self, CallSecrets, SecretDelivery},
    },
    upstream::UpstreamError,
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
    /// A request that the client built: its arguments are examined, and it is sent as it came.
    Request {
        request: ReceivedRequest,
        /// Names that the path has, too, with another value.
        shadowed: Vec<String>,
        unknown_fields: UnknownFields,
    },
}

impl CallForm {
    /// Returns the setting by which the request itself asks for a dry run.
    pub(super) fn dry_run_setting(&self) -> Option<Arc<str>> {
        match self {
            Self::Request { request, .. } if request.is_dry_run => Some(DRY_RUN_HEADER.into()),
            Self::Request { .. } | Self::Arguments | Self::State => None,
        }
    }

    /// Returns the parts of a request that an approval is bound to, beside its arguments.
    pub(super) fn bound_parts(&self) -> Option<[&[u8]; 2]> {
        match self {
            Self::Request { request, .. } => Some([request.query.as_bytes(), &request.body]),
            Self::Arguments | Self::State => None,
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

/// A response of the upstream that goes to the client as it came, except for secrets and
/// redactions.
#[derive(Debug)]
pub struct ForwardedResponse {
    /// Status of the upstream.
    pub status: StatusCode,
    /// Content type of the upstream.
    pub content_type: Option<String>,
    /// Time that the upstream asks to wait.
    pub retry_after: Option<Duration>,
    /// Id that the upstream gave the request.
    pub request_id: Option<String>,
    body: Bytes,
    /// The document that the client may see in place of the body.
    changed: Option<Value>,
    /// The error that the response reports.
    error: Option<CallError>,
}

impl ForwardedResponse {
    /// Returns the error that the response reports.
    pub(super) const fn error(&self) -> Option<&CallError> {
        self.error.as_ref()
    }

    /// Redacts values by the paths of policies. Returns true if there were any.
    pub(super) fn redact(&mut self, redactions: &[Arc<[FieldPath]>]) -> bool {
        if redactions.is_empty() {
            return false;
        }
        if let Some(document) = &mut self.changed {
            return PolicyEvaluation::redact(redactions, document);
        }
        // A body that is not JSON has no fields.
        let Ok(UniqueJson {
            value: mut document,
            ..
        }) = UniqueJson::parse(&self.body)
        else {
            return false;
        };
        sanitize::sanitize_value(&mut document);
        let before = document.clone();
        let is_redacted = PolicyEvaluation::redact(redactions, &mut document);
        self.changed = (document != before).then_some(document);
        is_redacted
    }

    /// Returns the body for the client: the upstream's bytes, unless a secret or a redaction
    /// changed them.
    pub fn into_body(self) -> Bytes {
        match self.changed {
            // The names of a `Value` are strings, so it always serializes.
            Some(document) => serde_json::to_vec(&document).unwrap_or_default().into(),
            None => self.body,
        }
    }
}

impl CallResult {
    fn into_received_answer(self) -> ReceivedAnswer {
        match self {
            Self::DryRun(report) => ReceivedAnswer::DryRun(report),
            Self::Forwarded(response) => ReceivedAnswer::Forwarded(response),
            // Neither a preview nor a state is served at an endpoint; this keeps the match complete.
            Self::Answered(value) => ReceivedAnswer::DryRun(value),
            Self::State(state) => ReceivedAnswer::DryRun(state.shown),
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
        outcome.map(CallResult::into_received_answer)
    }
}

/// A response to forward, with the error that it reports before that is explained.
pub(super) struct UnfinishedResponse {
    response: ForwardedResponse,
    pub(super) reported: Option<UpstreamError>,
}

impl UnfinishedResponse {
    /// Attaches the error that the response reports.
    pub(super) fn finish(self, error: Option<CallError>) -> ForwardedResponse {
        ForwardedResponse {
            error,
            ..self.response
        }
    }
}

impl RawResponse {
    /// Masks the response for the client, and keeps its bytes if nothing had to be masked.
    ///
    /// # Errors
    /// Returns an error if the response is declared as JSON and cannot be read, so that its secrets
    /// cannot be found.
    pub(super) fn forward(
        self,
        fetched: &CallSecrets,
    ) -> Result<UnfinishedResponse, UpstreamError> {
        let Self {
            response: answer,
            operation,
            delivery,
        } = self;
        let status = answer.status();
        let content_type = answer.content_type().map(str::to_owned);
        let mut response = ForwardedResponse {
            status,
            content_type,
            retry_after: answer.retry_after(),
            request_id: None,
            body: answer.body(),
            changed: None,
            error: None,
        };
        let plain = sanitize::as_clean_ascii(&response.body);
        let is_verbatim = |plain| {
            status.is_success()
                && !mentions_failure(plain)
                && secrets::is_shown_verbatim(operation, fetched, plain)
        };
        if plain.is_some_and(is_verbatim) {
            return Ok(UnfinishedResponse {
                response,
                reported: None,
            });
        }
        let Ok(parsed) = UniqueJson::parse(&response.body) else {
            let is_declared = response.content_type.as_deref().is_some_and(is_json_type);
            let is_empty = response.body.trim_ascii().is_empty();
            let reported = answer.into_reported_error(None);
            return match reported {
                Some(error) if is_declared && !is_empty => Err(error),
                reported => {
                    mask_text_body(&mut response.body, fetched);
                    Ok(UnfinishedResponse { response, reported })
                }
            };
        };
        let UniqueJson {
            value: mut document,
            repeated_name,
        } = parsed;
        // Sanitized before secrets are masked, because invisible characters could hide a key. They
        // are no secret themselves, so that alone changes nothing for the client.
        if plain.is_none() {
            sanitize::sanitize_value(&mut document);
        }
        let reported = answer.into_reported_error(Some(&document));
        // A copy of the document would take ten times the memory of the body.
        let hasher = RandomState::new();
        let before = hasher.hash_one(&document);
        let delivery = match reported {
            Some(_) => SecretDelivery::Nothing,
            None => delivery,
        };
        delivery.mask_and_deliver(operation, fetched, plain, &mut document);
        // Of a name that is there twice, only one value was masked.
        let is_changed = hasher.hash_one(&document) != before || repeated_name.is_some();
        response.changed = is_changed.then_some(document);
        Ok(UnfinishedResponse { response, reported })
    }
}

/// Returns true if a success may report a failure in its body, which is JSON.
fn mentions_failure(plain: &str) -> bool {
    [r#""error""#, r#""success""#]
        .iter()
        .any(|name| plain.contains(name))
}

/// Masks keys in a body that is not JSON.
fn mask_text_body(body: &mut Bytes, fetched: &CallSecrets) {
    let text = String::from_utf8_lossy(body);
    let masked = fetched.mask(&text);
    if masked != text {
        *body = masked.into();
    }
}

/// Returns true if a content type says that the content is JSON.
pub fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence
            .rsplit_once('+')
            .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
}
