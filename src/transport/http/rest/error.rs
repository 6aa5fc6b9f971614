//! Error responses of the REST face, in the shape of Portkey's own, with codes of this server.

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use portkey_operation::Effect;
use portkey_policy::DenialStage;
use serde_json::{Map, Value, json};

use super::super::accept::JSON;
use crate::{
    auth::principal::ProofError,
    pipeline::{
        CallError,
        approval::{ApprovalError, PendingApproval},
    },
    security::{
        sanitize::first_chars,
        secrets::{SecretError, mask_text},
    },
    upstream::{RetrySafety, SendError},
};

/// Header that names the ticket of a request that waits for approval, in both directions.
pub(in super::super) const TICKET_HEADER: HeaderName =
    HeaderName::from_static("x-portkey-mcp-approval-ticket");

/// Maximum length of a message, in characters. It may repeat what a caller wrote.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// Time after which a request that met a temporary fault may be repeated.
const RETRY_AFTER_FAULT: Duration = Duration::from_secs(5);

/// The codes of this server's own errors. Portkey's own begin with `AB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RestErrorCode {
    ApprovalDenied,
    ApprovalRequired,
    Internal,
    InvalidArguments,
    InvalidRequest,
    LimitReached,
    MethodNotAllowed,
    NoSuchOperation,
    NotPermitted,
    PolicyDenied,
    RequestTimeout,
    RequestTooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    UpstreamUnavailable,
}

impl RestErrorCode {
    /// All codes.
    pub(super) const ALL: [Self; 16] = [
        Self::ApprovalDenied,
        Self::ApprovalRequired,
        Self::Internal,
        Self::InvalidArguments,
        Self::InvalidRequest,
        Self::LimitReached,
        Self::MethodNotAllowed,
        Self::NoSuchOperation,
        Self::NotPermitted,
        Self::PolicyDenied,
        Self::RequestTimeout,
        Self::RequestTooLarge,
        Self::Unauthenticated,
        Self::Unavailable,
        Self::UnsupportedMediaType,
        Self::UpstreamUnavailable,
    ];

    /// Returns the value in error bodies.
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalDenied => "approval_denied",
            Self::ApprovalRequired => "approval_required",
            Self::Internal => "internal",
            Self::InvalidArguments => "invalid_arguments",
            Self::InvalidRequest => "invalid_request",
            Self::LimitReached => "limit_reached",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoSuchOperation => "no_such_operation",
            Self::NotPermitted => "not_permitted",
            Self::PolicyDenied => "policy_denied",
            Self::RequestTimeout => "request_timeout",
            Self::RequestTooLarge => "request_too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpstreamUnavailable => "upstream_unavailable",
        }
    }

    /// Returns the code of a request that was rejected with this status.
    pub(in super::super) const fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::NotPermitted,
            StatusCode::NOT_FOUND => Self::NoSuchOperation,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::RequestTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::TOO_MANY_REQUESTS => Self::LimitReached,
            StatusCode::INTERNAL_SERVER_ERROR => Self::Internal,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            _ => Self::InvalidRequest,
        }
    }
}

/// An error response of this server.
#[derive(Debug)]
pub(in super::super) struct RestError {
    status: StatusCode,
    code: RestErrorCode,
    message: String,
    /// Further fields of the body.
    details: Map<String, Value>,
    // Boxed, because errors are moved at every step.
    headers: Box<HeaderMap>,
}

impl RestError {
    pub(in super::super) fn new(
        status: StatusCode,
        code: RestErrorCode,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            headers: Box::default(),
        }
    }

    /// Adds headers.
    pub(in super::super) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    fn with_retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers
            .insert(header::RETRY_AFTER, seconds.max(1).into());
        self
    }

    /// Creates the response to a request that waits for the approval of a human.
    pub(super) fn pending(pending: &PendingApproval) -> Self {
        let PendingApproval { tool, id, seconds } = pending;
        let message = format!(
            "`{tool}` needs the approval of a human, and nothing was sent. Its ticket is {id}, which the \
             operator of this server can decide. Once it is approved, send the same request again within \
             {seconds} s, with the header X-Portkey-MCP-Approval-Ticket: {id}"
        );
        let mut error = Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            RestErrorCode::ApprovalRequired,
            message,
        );
        error
            .details
            .insert("ticket".to_owned(), id.as_str().into());
        error
            .details
            .insert("expires_in_seconds".to_owned(), (*seconds).into());
        // Ids are hexadecimal digits.
        if let Ok(id) = HeaderValue::from_str(id) {
            error.headers.insert(TICKET_HEADER, id);
        }
        error
    }
}

impl From<&CallError> for RestError {
    fn from(error: &CallError) -> Self {
        use RestErrorCode as Code;
        let message = match error {
            CallError::Upstream(operation, refusal)
                if operation.effect() != Effect::Read && refusal.may_have_taken_effect() =>
            {
                let advice = RetrySafety {
                    writes: true,
                    ..refusal.call.retry_safety
                };
                format!(
                    "`{}` was answered with {}: {}. {advice}",
                    operation.name(),
                    refusal.status.as_u16(),
                    refusal.message,
                )
            }
            error => error.to_string(),
        };
        let (status, code) = match error {
            CallError::UnknownTool(_) => (StatusCode::NOT_FOUND, Code::NoSuchOperation),
            CallError::AccessDenied(_) => (StatusCode::FORBIDDEN, Code::NotPermitted),
            CallError::UnprovenKey(error) => return Self::from_proof_error(*error, message),
            CallError::PolicyDenied(denial) => match (denial.stage, denial.retry_after) {
                (DenialStage::Limits, Some(wait)) => {
                    return Self::new(StatusCode::TOO_MANY_REQUESTS, Code::LimitReached, message)
                        .with_retry_after(wait);
                }
                _ => (StatusCode::FORBIDDEN, Code::PolicyDenied),
            },
            CallError::InvalidArguments(_) => (StatusCode::BAD_REQUEST, Code::InvalidArguments),
            CallError::ApprovalRequired(_) => {
                (StatusCode::PRECONDITION_REQUIRED, Code::ApprovalRequired)
            }
            CallError::ApprovalPending(pending) => return Self::pending(pending),
            CallError::ApprovalDenied(error) => approval_status(error),
            CallError::AuditUnavailable(_) | CallError::JournalUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            CallError::Secret(error) => match error {
                SecretError::Denied { .. } => (StatusCode::FORBIDDEN, Code::NotPermitted),
                SecretError::NoFile { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
                SecretError::Masked(_)
                | SecretError::Placeholder(_)
                | SecretError::Reference { .. } => {
                    (StatusCode::BAD_REQUEST, Code::InvalidArguments)
                }
            },
            CallError::Send(error) => match error {
                SendError::MissingKey(_) => (StatusCode::FORBIDDEN, Code::NotPermitted),
                SendError::TimedOut { .. } => {
                    (StatusCode::GATEWAY_TIMEOUT, Code::UpstreamUnavailable)
                }
                SendError::NoRegistry
                | SendError::Setup(_)
                | SendError::InvalidRequest(..)
                | SendError::Unreachable { .. }
                | SendError::Interrupted(..)
                | SendError::TooLarge(..)
                | SendError::File(_) => (StatusCode::BAD_GATEWAY, Code::UpstreamUnavailable),
            },
            CallError::Upstream(..) => (StatusCode::BAD_GATEWAY, Code::UpstreamUnavailable),
            // Requests are single calls; this keeps the match complete.
            CallError::StepFailed(failure) => return Self::from(&failure.error),
        };
        let error = Self::new(status, code, message);
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                error.with_retry_after(RETRY_AFTER_FAULT)
            }
            _ => error,
        }
    }
}

impl RestError {
    fn from_proof_error(error: ProofError, message: String) -> Self {
        let (status, code) = match error {
            ProofError::Rejected => {
                return Self::new(
                    StatusCode::UNAUTHORIZED,
                    RestErrorCode::Unauthenticated,
                    message,
                );
            }
            ProofError::Unknown => (StatusCode::SERVICE_UNAVAILABLE, RestErrorCode::Unavailable),
            ProofError::TooManyKeys => (StatusCode::TOO_MANY_REQUESTS, RestErrorCode::LimitReached),
        };
        Self::new(status, code, message).with_retry_after(RETRY_AFTER_FAULT)
    }
}

fn approval_status(error: &ApprovalError) -> (StatusCode, RestErrorCode) {
    match error {
        ApprovalError::NoApprover { .. } => {
            (StatusCode::FORBIDDEN, RestErrorCode::ApprovalRequired)
        }
        ApprovalError::TooManyPending | ApprovalError::QueueFull => {
            (StatusCode::TOO_MANY_REQUESTS, RestErrorCode::LimitReached)
        }
        ApprovalError::StoreFailed(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, RestErrorCode::Unavailable)
        }
        ApprovalError::Declined
        | ApprovalError::Cancelled
        | ApprovalError::TimedOut
        | ApprovalError::WrongName(_)
        | ApprovalError::InvalidResponse
        | ApprovalError::RequestFailed(_) => (StatusCode::FORBIDDEN, RestErrorCode::ApprovalDenied),
    }
}

impl IntoResponse for RestError {
    fn into_response(mut self) -> Response {
        let message = match mask_text(&self.message) {
            Cow::Borrowed(_) => self.message,
            Cow::Owned(masked) => masked,
        };
        let code = self.code.as_str();
        let mut data = Map::new();
        data.insert(
            "message".to_owned(),
            first_chars(&message, MAX_MESSAGE_CHARS).into(),
        );
        // Portkey's bodies have either name.
        data.insert("errorCode".to_owned(), code.into());
        data.insert("code".to_owned(), code.into());
        data.append(&mut self.details);
        let body = json!({ "success": false, "data": data });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(*self.headers);
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        headers.insert(header::CONTENT_TYPE, JSON);
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn document_lists_every_code() {
        let document = include_str!("../../../../docs/rest.md");
        let rows = document
            .lines()
            .skip_while(|line| !line.starts_with("| Code |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let documented: BTreeSet<_> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
        let mut codes: BTreeSet<_> = RestErrorCode::ALL.map(RestErrorCode::as_str).into();
        // The code of a dry run, which is no error.
        codes.insert(super::super::DRY_RUN_CODE);
        assert_eq!(documented, codes);
    }
}
