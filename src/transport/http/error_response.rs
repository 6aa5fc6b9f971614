//! Error responses as MCP clients expect them: JSON-RPC errors, which they can show to a human.

use std::{borrow::Cow, time::Duration};

use axum::{
    Extension,
    body::{Body, HttpBody, to_bytes},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::rest::{RestError, RestErrorCode};
use crate::{
    auth::{AuthRejection, principal::ProofError},
    mcp::reply::{MAX_ERROR_BYTES, truncate},
    observability::call_record::RejectionReason,
};

/// JSON-RPC's code for an invalid request.
const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC's code for invalid JSON.
const PARSE_ERROR: i32 = -32700;
/// First of the codes that servers are free to use.
const SERVER_ERROR: i32 = -32000;

/// Retry delay after the server could not determine who the caller is.
const RETRY_AFTER_AUTH_FAILURE: Duration = Duration::from_secs(5);

/// Maximum length of an error message, in bytes. It may repeat what a caller wrote.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// Maximum size of an error in plain text that is read, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Details of a rejected request for metrics and the log, attached to the response.
#[derive(Clone, Debug)]
pub(super) struct RejectionDetails {
    /// Reason, for metrics and the log.
    pub(super) reason: RejectionReason,
    /// Message to the client, followed by details for the log.
    pub(super) message: Cow<'static, str>,
}

/// A response to a request that is not served.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    code: i32,
    message: Cow<'static, str>,
    /// Details for the log only.
    detail: Option<String>,
    // Boxed, because these responses travel as errors, which are moved at every step.
    headers: Box<HeaderMap>,
}

impl ErrorResponse {
    /// Creates a response with this status and message.
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
                INVALID_REQUEST
            }
            _ => SERVER_ERROR,
        };
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
            headers: Box::default(),
        }
    }

    /// Sets the code of an invalid request, whatever the status.
    pub(super) fn with_invalid_request_code(self) -> Self {
        Self {
            code: INVALID_REQUEST,
            ..self
        }
    }

    /// Sets `Retry-After`, in whole seconds, rounded up.
    pub(super) fn with_retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers
            .insert(header::RETRY_AFTER, seconds.max(1).into());
        self
    }

    /// Creates the response in the shape of Portkey's errors, for clients of its API.
    pub(super) fn into_portkey_response(self) -> Response {
        let Self {
            status,
            message,
            detail,
            headers,
            ..
        } = self;
        let code = RestErrorCode::from_status(status);
        let error = RestError::new(status, code, &*message).with_headers(*headers);
        let message = match detail {
            Some(detail) => format!("{message}: {detail}").into(),
            None => message,
        };
        let reason = rejection_reason(status);
        let mut response = error.into_response();
        response
            .extensions_mut()
            .insert(RejectionDetails { reason, message });
        response
    }

    /// Creates the response to a request larger than the limit.
    pub(super) fn request_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is larger than --max-request-bytes allows",
        )
    }
}

impl From<AuthRejection> for ErrorResponse {
    fn from(denied: AuthRejection) -> Self {
        let mut error_response = Self::new(denied.status, denied.message);
        if matches!(
            denied.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            error_response = error_response.with_retry_after(RETRY_AFTER_AUTH_FAILURE);
        }
        error_response.detail = denied.log_detail;
        error_response.headers.extend(
            denied
                .challenge
                .map(|value| (header::WWW_AUTHENTICATE, value)),
        );
        error_response
    }
}

impl From<ProofError> for ErrorResponse {
    fn from(unproven: ProofError) -> Self {
        AuthRejection::from(unproven).into()
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(mut self) -> Response {
        let reason = rejection_reason(self.status);
        if self.message.len() > MAX_MESSAGE_BYTES {
            self.message = truncate(self.message.into_owned(), MAX_MESSAGE_BYTES).into();
        }
        let error = json!({ "code": self.code, "message": self.message });
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
        self.headers.remove(header::CONTENT_LENGTH);
        self.headers.remove(header::TRANSFER_ENCODING);
        self.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let message = match self.detail {
            Some(detail) => format!("{}: {detail}", self.message).into(),
            None => self.message,
        };
        // Attached so that metrics and the log recognize rejected requests.
        let details = Extension(RejectionDetails { reason, message });
        (self.status, *self.headers, details, body.to_string()).into_response()
    }
}

const fn rejection_reason(status: StatusCode) -> RejectionReason {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RejectionReason::Access,
        StatusCode::TOO_MANY_REQUESTS => RejectionReason::Limit,
        StatusCode::SERVICE_UNAVAILABLE => RejectionReason::Unavailable,
        StatusCode::INTERNAL_SERVER_ERROR => RejectionReason::Internal,
        StatusCode::PAYLOAD_TOO_LARGE => RejectionReason::Size,
        StatusCode::REQUEST_TIMEOUT => RejectionReason::Slow,
        _ => RejectionReason::Malformed,
    }
}

/// Converts the plain-text errors of the layers below into JSON-RPC errors.
pub(super) async fn convert_to_json_rpc(method: &Method, mut response: Response<Body>) -> Response {
    if *method == Method::DELETE && response.status() == StatusCode::ACCEPTED {
        // The session has ended, and some clients warn of anything but 200 and 204.
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| {
            kind.to_str()
                .is_ok_and(|kind| kind.starts_with("application/json"))
        });
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if is_json && response.body().size_hint().lower() <= MAX_ERROR_BYTES as u64 {
        return response;
    }
    if is_json {
        // rmcp's error messages may repeat any part of the request.
        let message = "the request is invalid, and repeats too much to be told in what";
        return ErrorResponse::new(status, message)
            .with_invalid_request_code()
            .into_response();
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let refusal = match status {
        // rmcp reports invalid JSON as an unsupported media type.
        StatusCode::UNSUPPORTED_MEDIA_TYPE if text.starts_with("fail to deserialize") => {
            ErrorResponse {
                code: PARSE_ERROR,
                ..ErrorResponse::new(StatusCode::BAD_REQUEST, "the body is no JSON-RPC message")
            }
        }
        StatusCode::BAD_REQUEST if text.ends_with("Session ID is required") => {
            ErrorResponse::new(status, missing_session_message(method))
        }
        _ => ErrorResponse::new(status, text.trim().to_owned()).with_invalid_request_code(),
    };
    ErrorResponse {
        headers: Box::new(parts.headers),
        ..refusal
    }
    .into_response()
}

/// Explains what to do about a request that names no session where one is required.
fn missing_session_message(method: &Method) -> &'static str {
    match *method {
        Method::GET => {
            "a stream belongs to a session, and the request names none in `Mcp-Session-Id`. This server \
             speaks streamable HTTP: a client that is set to the older transport, HTTP+SSE (`sse`), has to \
             be set to streamable HTTP (`http`), at the same address"
        }
        _ => {
            "the request names no session in `Mcp-Session-Id`. Begin one with `initialize`, and send the id \
             that its answer brings in this header. If the client does that, a proxy on the way removes the \
             header: have it let `Mcp-Session-Id` through, both ways"
        }
    }
}
