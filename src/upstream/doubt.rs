//! Whether a request that came to nothing may have taken effect all the same.
//!
//! The one definition of that. Words, the outcome on record, limits and approvals all go by
//! [`SendError::may_have_taken_effect`] and [`Refusal::may_have_taken_effect`], which
//! `CallError::may_have_taken_effect` puts together.

use std::fmt;

use http::StatusCode;

use super::{Kind, Refusal, SendError};

impl SendError {
    /// Whether the request may have taken effect all the same: it was sent, and no usable answer came.
    pub const fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Interrupted(..) | Self::TimedOut { .. } | Self::TooLarge(..) => true,
            Self::NoKey(_)
            | Self::NoRegistry
            | Self::Setup(_)
            | Self::NotBuilt(..)
            | Self::Unreachable { .. } => false,
        }
    }

    /// Has it name the tool that shows whether the request took effect.
    #[must_use]
    pub fn with_look(mut self, tool: Option<&'static str>) -> Self {
        if let Self::Interrupted(.., doubt)
        | Self::TimedOut { doubt, .. }
        | Self::TooLarge(.., doubt) = &mut self
        {
            doubt.look = tool;
        }
        self
    }
}

impl Refusal {
    /// Whether the request may have taken effect all the same.
    pub fn may_have_taken_effect(&self) -> bool {
        // Without a route there is nobody who could have carried it out.
        self.is_doubtful || self.kind != Kind::NoSuchRoute && leaves_open(self.status)
    }
}

/// Whether an answer with this status leaves open what became of the request, if its body does not say that
/// it was a success.
pub(super) fn leaves_open(status: StatusCode) -> bool {
    match status {
        // "Send the same request there", so it was not carried out here (RFC 9110 §15.4.2, §15.4.8, §15.4.9).
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => false,
        // Gateways say so of an upstream that did not answer them in time.
        StatusCode::REQUEST_TIMEOUT => true,
        status => !status.is_client_error() || status.as_u16() == CLIENT_CLOSED_REQUEST,
    }
}

/// What nginx says where it gave a request up that it had passed on.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What a caller must know where it is unclear whether a request took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Whether the request was to change anything.
    pub writes: bool,
    /// The tool that shows whether it did, where there is one.
    pub look: Option<&'static str>,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { writes: false, .. } => f.write_str("The call can be made again"),
            Self { look: Some(tool), .. } => write!(
                f,
                "It may have taken effect all the same: look with `{tool}`, and make the call again only if it \
                 did not"
            ),
            Self { look: None, .. } => f.write_str(
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
        kind: Kind,
        may_have_taken_effect: bool,
    }

    fn case(status: u16, kind: Kind, may_have_taken_effect: bool) -> Case {
        Case {
            status,
            kind,
            may_have_taken_effect,
        }
    }

    #[test]
    fn status_and_body_tell_whether_a_refusal_leaves_open_what_happened() {
        for Case {
            status,
            kind,
            may_have_taken_effect,
        } in [
            case(400, Kind::Plain, false),
            case(400, Kind::NoSuchRoute, false),
            case(401, Kind::Plain, false),
            case(403, Kind::Stranger, false),
            case(409, Kind::Plain, false),
            case(413, Kind::Plain, false),
            case(429, Kind::Plain, false),
            case(408, Kind::Plain, true),
            case(499, Kind::Plain, true),
            case(500, Kind::Plain, true),
            case(502, Kind::Stranger, true),
            case(503, Kind::Plain, true),
            case(504, Kind::Plain, true),
            case(200, Kind::Stranger, true),
            case(200, Kind::InBody, true),
            case(301, Kind::Plain, false),
            case(302, Kind::Stranger, true),
            case(303, Kind::Plain, true),
            case(307, Kind::Stranger, false),
            case(308, Kind::Plain, false),
        ] {
            let refusal = Refusal {
                status: StatusCode::from_u16(status).unwrap_or_default(),
                code: None,
                message: String::new(),
                details: Vec::new(),
                more_details: 0,
                request_id: None,
                attempts: 1,
                is_doubtful: false,
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
