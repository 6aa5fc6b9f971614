//! Refusals: every way the sandbox says no, and the body Portkey would say it with.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a call is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No key was sent.
    #[error("No API key: send it as {0}")]
    Unauthorised(&'static str),
    /// The key does not count here.
    #[error("{0}")]
    NotAuthorised(String),
    /// The request is not acceptable as it stands; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// The key may not do this, or the thing is gone: Portkey does not tell the two apart.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such item.
    #[error("No {object} is called `{handle}`")]
    Missing {
        /// What was looked for.
        object: &'static str,
        /// What it was looked for by.
        handle: String,
    },
    /// The live API's answer to an update of an item that it does not find.
    #[error("No update fields provided")]
    NothingToUpdate,
    /// Enkrypt AI has nothing of this kind by that name, version and project.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The public catalogue has no such model or provider.
    #[error("Model or provider not found")]
    NotInCatalogue,
    /// The item exists already, or others depend on it.
    #[error("{0}")]
    Conflict(String),
    /// The body is over the limit.
    #[error("The request body is too large")]
    TooLarge,
    /// No endpoint answers this method and path. The inference gateway behind the control plane
    /// gets such calls and misses its own headers.
    #[error("Either x-portkey-config or x-portkey-provider header is required")]
    NoSuchRoute,
    /// A fault from the fault list.
    #[error("The sandbox was asked to fail this request")]
    Fault(StatusCode),
}

impl Refusal {
    /// The text for a body field that is not as it should be.
    pub(crate) fn field(path: &str, why: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("`{path}` {why}"))
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorised(_) | Self::NotAuthorised(_) => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) | Self::NothingToUpdate | Self::NoSuchRoute => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Missing { .. } | Self::NotFound(_) | Self::NotInCatalogue => {
                StatusCode::NOT_FOUND
            }
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fault(status) => *status,
        }
    }

    /// The body it is answered with, or nothing where a proxy would answer in Portkey's place.
    pub(crate) fn body(&self) -> Option<Value> {
        let message = self.to_string();
        match (self, code(self.status())) {
            (Self::NotInCatalogue, _) => Some(json!({ "error": message })),
            (Self::NoSuchRoute, _) => Some(json!({ "status": "failure", "message": message })),
            (_, Some(code)) => {
                Some(json!({ "success": false, "data": { "message": message, "errorCode": code } }))
            }
            (_, None) => None,
        }
    }

    /// The body Enkrypt AI answers it with (enkrypt.md §4), or nothing where a proxy would answer instead.
    pub(crate) fn enkrypt_body(&self) -> Option<Value> {
        let status = self.status();
        code(status)?;
        let error = match status {
            StatusCode::NOT_FOUND => Some("Resource not found"),
            status => status.canonical_reason(),
        };
        Some(json!({ "code": status.as_u16(), "error": error, "message": self.to_string() }))
    }
}

/// Portkey's own code for a status, for those that have one.
fn code(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        400 => "AB01",
        401 => "AB05",
        402 => "AB09",
        403 => "AB03",
        404 => "AB08",
        409 => "AB07",
        429 => "AB06",
        500 => "AB04",
        _ => return None,
    })
}
