//! Responses of upstreams, and the errors in them.
//!
//! Portkey's error bodies have nine shapes, and a success status may still carry a failure. All
//! shapes, Enkrypt AI's single one included, are parsed into one [`UpstreamError`].

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::{
    RetrySafety,
    details::{self, ErrorDetail},
};
use crate::{http_client::network_error, security::sanitize::first_chars};

/// A response as received, with any status.
#[derive(Clone, Debug)]
pub struct UpstreamResponse {
    status: StatusCode,
    body: Bytes,
    content_type: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: usize,
    /// True if an attempt before this response may have taken effect.
    has_uncertain_attempt: bool,
}

/// An error response of an upstream, whatever its shape was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// HTTP status; a success status if only the body reports the failure.
    pub status: StatusCode,
    /// Error code of Portkey, such as `AB03`, or of a provider.
    pub code: Option<String>,
    /// Message of the upstream, or ours if it sent none.
    pub message: String,
    /// Causes that the body lists beside the message.
    pub details: Vec<ErrorDetail>,
    /// Number of causes that were left out.
    pub more_details: u32,
    /// Id that the upstream's support can look up.
    pub request_id: Option<String>,
    /// Number of times the request was sent.
    pub attempts: usize,
    /// True if an attempt before the refused one may have taken effect.
    pub has_uncertain_attempt: bool,
    /// Kind of the error, as far as the body tells more than the status.
    pub kind: UpstreamErrorKind,
    /// The call that failed.
    pub call: Box<FailedCall>,
}

/// Properties of a failed call that tell causes apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedCall {
    /// Holder of the key that was sent.
    pub key_holder: KeyHolder,
    /// Names of all arguments and fields that the operation takes.
    pub argument_names: Vec<String>,
    /// True if the call named a workspace.
    pub has_workspace: bool,
    /// True if the call named an organisation.
    pub has_organisation: bool,
    /// Warnings about the arguments that the caller gets; one of them may be the cause.
    pub warnings: Vec<String>,
    /// Advice for the caller if the call may have taken effect despite the error.
    pub retry_safety: RetrySafety,
}

/// The holder of the key that a request was made with; only the holder can replace it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHolder {
    /// The local user who runs the process and makes the call.
    #[default]
    Local,
    /// The caller, who sent the key with the request.
    Request,
    /// The operator of the server, who is not the caller.
    Operator,
}

impl UpstreamError {
    /// Passes every text of the upstream through `scrub` and truncates the result. A code or an id
    /// that `scrub` would change is removed.
    pub fn scrub(&mut self, scrub: impl Fn(&str) -> String) {
        self.more_details =
            details::scrub_and_truncate(&mut self.message, &mut self.details, &scrub);
        let is_kept = |text: &String| scrub(text) == *text;
        self.code = self.code.take().filter(is_kept);
        self.request_id = self.request_id.take().filter(is_kept);
    }
}

/// The kind of an upstream error, beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The status tells the kind.
    ErrorStatus,
    /// The inference gateway responded: the control plane has no such path and passes it on.
    NoSuchRoute,
    /// The body is not an upstream's; a proxy or another server responded.
    UnrecognizedResponse,
    /// The status is a success, but the body reports a failure.
    FailureInBody,
}

/// Maximum length of the upstream's request id, in characters. The id is repeated to callers and in
/// logs.
const MAX_REQUEST_ID_CHARS: usize = 200;

fn truncate_id(id: &str) -> String {
    first_chars(id, MAX_REQUEST_ID_CHARS).to_owned()
}

impl UpstreamResponse {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let id = ["x-portkey-request-id", "x-portkey-trace-id", "x-request-id"];
        Self {
            status,
            body,
            content_type: text(header::CONTENT_TYPE.as_str()).map(truncate_id),
            request_id: id.iter().find_map(|name| text(name)).map(truncate_id),
            retry_after: text(header::RETRY_AFTER.as_str()).and_then(parse_retry_after),
            attempts: 1,
            has_uncertain_attempt: false,
        }
    }

    /// Sets the number of attempts. `is_doubtful` is true if one of them may have taken effect.
    pub(super) fn with_attempts(mut self, attempts: usize, is_doubtful: bool) -> Self {
        self.attempts = attempts;
        self.has_uncertain_attempt = is_doubtful;
        self
    }

    /// Returns the time that the upstream asks to wait before the next request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the content type, if there is one.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Returns the id that the upstream gave the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the number of times the request was sent.
    pub fn attempts(&self) -> usize {
        self.attempts
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the length of the body.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Returns the body as received.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Returns the JSON of a success. An empty body, `null` and a 204 become an empty object.
    ///
    /// # Errors
    /// Returns the upstream's error if the status or the body reports a failure.
    pub fn into_result(self) -> Result<Value, UpstreamError> {
        let body = self.body.clone();
        // UTF-8 is validated once for the whole body, not for each text in it.
        self.into_result_of(str::from_utf8(&body).ok())
    }

    /// Returns the JSON of a success as [`Self::into_result`] does, given the body as a text if it
    /// is valid UTF-8.
    pub(crate) fn into_result_of(self, text: Option<&str>) -> Result<Value, UpstreamError> {
        let body = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        match (self.status.is_success(), body) {
            (true, Some(Value::Null)) => Ok(Value::Object(Map::new())),
            (true, None) if self.body.trim_ascii().is_empty() => Ok(Value::Object(Map::new())),
            (true, Some(body)) if reports_failure(&body) => {
                Err(self.into_error(&body, UpstreamErrorKind::FailureInBody))
            }
            (true, Some(body)) => Ok(body),
            (_, None) => Err(self.into_non_json_error()),
            (false, Some(body)) => {
                let kind = error_kind(self.status, &body);
                Err(self.into_error(&body, kind))
            }
        }
    }

    /// Returns the error that the response reports, given its body as JSON if it is JSON.
    pub(crate) fn into_reported_error(self, body: Option<&Value>) -> Option<UpstreamError> {
        match (self.status.is_success(), body) {
            (true, Some(body)) if reports_failure(body) => {
                Some(self.into_error(body, UpstreamErrorKind::FailureInBody))
            }
            (true, Some(_)) => None,
            (true, None) if self.body.trim_ascii().is_empty() => None,
            (_, None) => Some(self.into_non_json_error()),
            (false, Some(body)) => {
                let kind = error_kind(self.status, body);
                Some(self.into_error(body, kind))
            }
        }
    }

    /// Parses an error body of any shape.
    fn into_error(self, body: &Value, kind: UpstreamErrorKind) -> UpstreamError {
        let inner = [body.get("error"), body.get("data")].into_iter().flatten();
        let inner = inner
            .into_iter()
            .find(|value| value.is_object())
            .unwrap_or(body);
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let code = [
            inner.get("errorCode"),
            inner.get("code"),
            body.get("errorCode"),
        ];
        let texts = details::read_texts(body, inner, kind == UpstreamErrorKind::ErrorStatus);
        let message = texts.message.unwrap_or_else(|| match kind {
            UpstreamErrorKind::FailureInBody => {
                "the answer says that it failed, and not why".to_owned()
            }
            _ => status_text(self.status),
        });
        UpstreamError {
            status: self.status,
            code: code.into_iter().find_map(text).filter(|code| is_code(code)),
            message,
            details: texts.details,
            more_details: 0,
            request_id: text(body.get("request_id"))
                .map(|id| truncate_id(&id))
                .or(self.request_id),
            attempts: self.attempts,
            has_uncertain_attempt: self.has_uncertain_attempt,
            kind,
            call: Box::default(),
        }
    }

    fn into_non_json_error(self) -> UpstreamError {
        let length = self.body.len();
        let what = self.content_type.as_deref().unwrap_or("no content type");
        let (message, kind) = match length {
            0 => (status_text(self.status), UpstreamErrorKind::ErrorStatus),
            _ if network_error::is_plain_http_answer(self.status, &self.body) => (
                network_error::PLAIN_HTTP_ON_TLS_PORT.to_owned(),
                UpstreamErrorKind::UnrecognizedResponse,
            ),
            _ => (
                format!("{length} bytes that are no JSON ({what})"),
                UpstreamErrorKind::UnrecognizedResponse,
            ),
        };
        UpstreamError {
            status: self.status,
            code: None,
            message,
            details: Vec::new(),
            more_details: 0,
            request_id: self.request_id,
            attempts: self.attempts,
            has_uncertain_attempt: self.has_uncertain_attempt,
            kind,
            call: Box::default(),
        }
    }
}

/// Parses `Retry-After`: seconds, or a date. A date in the past means no delay.
fn parse_retry_after(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(value.trim()).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

/// Returns true if a success is a failure according to its body: `success: false`, or an `error`
/// object.
fn reports_failure(body: &Value) -> bool {
    body.get("success") == Some(&Value::Bool(false))
        || body.get("error").is_some_and(Value::is_object)
}

/// Returns the kind of an error whose status reports it.
fn error_kind(status: StatusCode, body: &Value) -> UpstreamErrorKind {
    if is_unknown_route(status, body) {
        UpstreamErrorKind::NoSuchRoute
    } else {
        UpstreamErrorKind::ErrorStatus
    }
}

/// Returns true if the inference gateway responded for lack of a route. The gateway then asks for
/// one of its own headers.
fn is_unknown_route(status: StatusCode, body: &Value) -> bool {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    status == StatusCode::BAD_REQUEST
        && text("status") == "failure"
        && text("message").contains("x-portkey-")
}

/// Returns true if the text has the form of an error code. Codes are logged, so free text of an
/// upstream must not pass for one.
fn is_code(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 32 && text.bytes().all(fits)
}

fn status_text(status: StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("no reason given")
        .to_owned()
}
