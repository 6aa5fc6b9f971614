//! Errors of the sandbox and their response bodies in the format of each API.

use http::StatusCode;
use serde_json::{Value, json};

/// Message for an endpoint that the sandbox lacks.
const NO_SUCH_ENDPOINT: &str =
    "no such endpoint in the sandbox: add a route in crates/sandbox/src/domains/<domain>.rs";

/// Error of an API call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request has no key.
    #[error("No API key: send it as {0}")]
    MissingKey(&'static str),
    /// The key is invalid.
    #[error("{0}")]
    RejectedKey(String),
    /// The request is invalid; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// The key lacks access, or the item is gone. Portkey does not distinguish these cases.
    #[error("{0}")]
    Forbidden(String),
    /// The item does not exist.
    #[error("No {object} is called `{handle}`")]
    NotFound {
        /// Type of the item.
        object: &'static str,
        /// Handle that was looked up.
        handle: String,
    },
    /// Response of the live API to an update of a missing item.
    #[error("No update fields provided")]
    NothingToUpdate,
    /// Enkrypt AI has no document of this kind with the given name, version and project.
    #[error("{0} not found")]
    EnkryptNotFound(&'static str),
    /// The public catalogue does not contain the model or provider.
    #[error("Model or provider not found")]
    NotInCatalogue,
    /// The item exists already, or other items depend on it.
    #[error("{0}")]
    Conflict(String),
    /// The body exceeds the size limit.
    #[error("The request body is too large")]
    BodyTooLarge,
    /// No route of the sandbox has this method and path.
    ///
    /// In Portkey's API, such calls reach the inference gateway, which requires its own headers.
    /// That answer would mislead a contributor whose new operation has no route here yet.
    #[error("{}", NO_SUCH_ENDPOINT)]
    NoSuchRoute,
    /// No route of the sandbox has this method and path of Enkrypt AI's API.
    #[error("{}", NO_SUCH_ENDPOINT)]
    NoSuchEnkryptRoute,
    /// An injected fault.
    #[error("The sandbox was asked to fail this request")]
    InjectedFault(StatusCode),
}

impl ApiError {
    /// Builds the error for an invalid field of the body.
    pub(crate) fn invalid_field(path: &str, why: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("`{path}` {why}"))
    }

    /// Returns the status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::MissingKey(_) | Self::RejectedKey(_) => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) | Self::NothingToUpdate | Self::NoSuchRoute => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. }
            | Self::EnkryptNotFound(_)
            | Self::NoSuchEnkryptRoute
            | Self::NotInCatalogue => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InjectedFault(status) => *status,
        }
    }

    /// Returns the response body in Portkey's format, or `None` if a proxy would respond instead.
    pub(crate) fn portkey_body(&self) -> Option<Value> {
        let message = self.to_string();
        match (self, error_code(self.status())) {
            (Self::NotInCatalogue, _) => Some(json!({ "error": message })),
            (Self::BodyTooLarge, _) => {
                Some(json!({ "success": false, "data": { "message": message } }))
            }
            (Self::NoSuchRoute, _) => Some(json!({ "status": "failure", "message": message })),
            (_, Some(code)) => {
                Some(json!({ "success": false, "data": { "message": message, "errorCode": code } }))
            }
            (_, None) => None,
        }
    }

    /// Returns the response body in Enkrypt AI's format, `{code, error, message}`, or `None` if a
    /// proxy would respond instead.
    pub(crate) fn enkrypt_body(&self) -> Option<Value> {
        let status = self.status();
        if !matches!(self, Self::BodyTooLarge) {
            error_code(status)?;
        }
        let error = match status {
            StatusCode::NOT_FOUND => Some("Resource not found"),
            status => status.canonical_reason(),
        };
        Some(json!({ "code": status.as_u16(), "error": error, "message": self.to_string() }))
    }
}

/// Returns Portkey's error code for a status, if it has one.
fn error_code(status: StatusCode) -> Option<&'static str> {
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
