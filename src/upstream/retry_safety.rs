//! Decides whether a failed request may have taken effect.
//!
//! This is the only definition. Error messages, recorded outcomes, limits and approvals all use
//! [`SendError::may_have_taken_effect`] and [`UpstreamError::may_have_taken_effect`], which
//! `CallError::may_have_taken_effect` combines.

use std::fmt;

use http::StatusCode;

use super::{SendError, UpstreamError, UpstreamErrorKind};

impl SendError {
    /// Returns true if the request was sent and no complete response came.
    pub const fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Interrupted(..) | Self::TimedOut { .. } | Self::TooLarge(..) => true,
            Self::MissingKey(_)
            | Self::NoRegistry
            | Self::Setup(_)
            | Self::InvalidRequest(..)
            | Self::Unreachable { .. }
            | Self::File(_) => false,
        }
    }

    /// Sets the tool with which the caller can verify that the request took effect.
    #[must_use]
    pub fn with_verification_tool(mut self, tool: Option<&'static str>) -> Self {
        if let Self::Interrupted(.., doubt)
        | Self::TimedOut { doubt, .. }
        | Self::TooLarge(.., doubt) = &mut self
        {
            doubt.verification_tool = tool;
        }
        self
    }
}

impl UpstreamError {
    /// Returns true if this attempt or an earlier one may have taken effect.
    pub fn may_have_taken_effect(&self) -> bool {
        // Without a route, nothing could have carried out the request.
        self.has_uncertain_attempt
            || self.kind != UpstreamErrorKind::NoSuchRoute && is_outcome_unknown(self.status)
    }

    /// Returns true if the response says that the upstream has not done what this attempt asked for,
    /// and will not do it later: that the request is invalid, forbidden, or about nothing that is
    /// there. A missing key or too many requests say nothing about the resource.
    pub fn is_definite(&self) -> bool {
        let says_nothing = matches!(self.status.as_u16(), 401 | 425 | 429);
        self.status.is_client_error() && !says_nothing && !is_outcome_unknown(self.status)
    }
}

/// Returns true if a response with this status leaves it unknown whether the request took effect.
/// Applies only if the body reports no success.
pub(super) fn is_outcome_unknown(status: StatusCode) -> bool {
    match status {
        // "Send the same request there", so it was not carried out here (RFC 9110 §15.4.2, §15.4.8,
        // §15.4.9).
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => false,
        // Gateways send 408 for an upstream that did not respond in time.
        StatusCode::REQUEST_TIMEOUT => true,
        status => !status.is_client_error() || status.as_u16() == CLIENT_CLOSED_REQUEST,
    }
}

/// The status that nginx uses when it gives up a request that it has already forwarded.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Advice on repeating a request of which it is unknown whether it took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetrySafety {
    /// True if the request writes.
    pub writes: bool,
    /// The tool that shows whether the write took effect, if there is one.
    pub verification_tool: Option<&'static str>,
}

impl fmt::Display for RetrySafety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { writes: false, .. } => f.write_str("The call can be made again"),
            Self { verification_tool: Some(tool), .. } => write!(
                f,
                "It may have taken effect all the same: look with `{tool}`, and make the call again only if it \
                 did not"
            ),
            Self { verification_tool: None, .. } => f.write_str(
                "It may have taken effect all the same: look whether it did, and make the call again only if \
                 it did not",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        status: u16,
        kind: UpstreamErrorKind,
        may_have_taken_effect: bool,
    }

    fn case(status: u16, kind: UpstreamErrorKind, may_have_taken_effect: bool) -> Case {
        Case {
            status,
            kind,
            may_have_taken_effect,
        }
    }

    #[test]
    fn status_and_kind_decide_whether_outcome_is_unknown() {
        for Case {
            status,
            kind,
            may_have_taken_effect,
        } in [
            case(400, UpstreamErrorKind::ErrorStatus, false),
            case(400, UpstreamErrorKind::NoSuchRoute, false),
            case(401, UpstreamErrorKind::ErrorStatus, false),
            case(403, UpstreamErrorKind::UnrecognizedResponse, false),
            case(409, UpstreamErrorKind::ErrorStatus, false),
            case(413, UpstreamErrorKind::ErrorStatus, false),
            case(429, UpstreamErrorKind::ErrorStatus, false),
            case(408, UpstreamErrorKind::ErrorStatus, true),
            case(499, UpstreamErrorKind::ErrorStatus, true),
            case(500, UpstreamErrorKind::ErrorStatus, true),
            case(502, UpstreamErrorKind::UnrecognizedResponse, true),
            case(503, UpstreamErrorKind::ErrorStatus, true),
            case(504, UpstreamErrorKind::ErrorStatus, true),
            case(200, UpstreamErrorKind::UnrecognizedResponse, true),
            case(200, UpstreamErrorKind::FailureInBody, true),
            case(301, UpstreamErrorKind::ErrorStatus, false),
            case(302, UpstreamErrorKind::UnrecognizedResponse, true),
            case(303, UpstreamErrorKind::ErrorStatus, true),
            case(307, UpstreamErrorKind::UnrecognizedResponse, false),
            case(308, UpstreamErrorKind::ErrorStatus, false),
        ] {
            let refusal = UpstreamError {
                status: StatusCode::from_u16(status).unwrap_or_default(),
                code: None,
                message: String::new(),
                details: Vec::new(),
                more_details: 0,
                request_id: None,
                attempts: 1,
                has_uncertain_attempt: false,
                kind,
                call: Box::default(),
            };
            assert_eq!(
                refusal.may_have_taken_effect(),
                may_have_taken_effect,
                "{status} {kind:?}"
            );
        }
    }
}
