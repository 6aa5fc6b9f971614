//! Responses of the upstream that go to the client as they came, except for secrets and redactions.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use portkey_operation::{Operation, UniqueJson};
use portkey_policy::{FieldPath, PolicyEvaluation};
use serde_json::Value;

use super::{CallError, document_lines::edit_documents, response::RawResponse};
use crate::{
    security::{
        sanitize,
        secrets::{self, CallSecrets, SecretDelivery},
    },
    upstream::{UpstreamError, UpstreamErrorKind, UpstreamResponse},
};

/// Reason why an answer is withheld that a policy redacts.
const UNREDACTABLE: &str = "a policy redacts answers of this operation, and this one is neither JSON \
    nor events or lines of JSON, so it is withheld; ask for an answer in JSON, without `stream`";

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

    /// Returns the document that the client sees, if it is one.
    pub(super) fn document(&self) -> Option<Value> {
        match &self.changed {
            Some(document) => Some(document.clone()),
            None => serde_json::from_slice(without_mark_bytes(&self.body)).ok(),
        }
    }

    /// Redacts values by the paths of policies, in the documents of a stream as well. Returns true if
    /// there were any.
    ///
    /// # Errors
    /// Returns an error if the body cannot be read, so that the values cannot be found.
    pub(super) fn redact(
        &mut self,
        operation: &'static Operation,
        redactions: &[Arc<[FieldPath]>],
    ) -> Result<bool, CallError> {
        if redactions.is_empty() {
            return Ok(false);
        }
        let is_redacted = Cell::new(false);
        let redact = |document: &mut Value| {
            is_redacted.set(PolicyEvaluation::redact(redactions, document) || is_redacted.get());
        };
        if let Some(document) = &mut self.changed {
            redact(document);
            return Ok(is_redacted.get());
        }
        if self.body.trim_ascii().is_empty() {
            return Ok(false);
        }
        let Ok(text) = str::from_utf8(&self.body) else {
            return Err(self.withhold(operation));
        };
        if let Ok(changed) = edit_document(without_mark(text), redact) {
            self.changed = changed;
            return Ok(is_redacted.get());
        }
        let lines = edit_documents(text, |json| edit_document_text(json, redact));
        if !lines.is_complete {
            return Err(self.withhold(operation));
        }
        if let Some(changed) = lines.changed {
            self.body = changed.into();
        }
        Ok(is_redacted.get())
    }

    /// Returns the error in place of an answer that cannot be redacted.
    fn withhold(&mut self, operation: &'static Operation) -> CallError {
        match self.error.take() {
            Some(CallError::Upstream(operation, mut error)) => {
                UNREDACTABLE.clone_into(&mut error.message);
                CallError::Upstream(operation, error)
            }
            _ => {
                let error = UpstreamError {
                    status: self.status,
                    code: None,
                    message: UNREDACTABLE.to_owned(),
                    details: Vec::new(),
                    more_details: 0,
                    request_id: self.request_id.clone(),
                    attempts: 1,
                    has_uncertain_attempt: false,
                    kind: UpstreamErrorKind::UnrecognizedResponse,
                    call: Box::default(),
                };
                CallError::Upstream(operation, error.into())
            }
        }
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
    /// Returns an error if the response is declared as JSON or has fields, and cannot be read, so
    /// that its secrets cannot be found.
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
        let Ok(parsed) = UniqueJson::parse(without_mark_bytes(&response.body)) else {
            return response.into_unfinished_lines(answer, operation, fetched);
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

impl ForwardedResponse {
    /// Masks a body that is not one document: the documents in it, and keys elsewhere.
    fn into_unfinished_lines(
        mut self,
        answer: UpstreamResponse,
        operation: &'static Operation,
        fetched: &CallSecrets,
    ) -> Result<UnfinishedResponse, UpstreamError> {
        let is_declared = self.content_type.as_deref().is_some_and(is_json_type);
        let is_success = self.status.is_success();
        let reported = answer.into_reported_error(None);
        if self.body.trim_ascii().is_empty() {
            return Ok(UnfinishedResponse {
                response: self,
                reported,
            });
        }
        let text = String::from_utf8_lossy(&self.body);
        let lines = edit_documents(&text, |json| mask_document_text(json, operation, fetched));
        let has_hidden_fields = is_success && lines.has_unread_fields;
        let reported = match reported {
            Some(error) if is_declared || has_hidden_fields => return Err(error),
            // A stream is an answer like another one.
            _ if is_success && lines.is_complete => None,
            reported => reported,
        };
        let edited = lines.changed.as_deref().unwrap_or(&text);
        let masked = fetched.mask(edited);
        if masked != text {
            self.body = masked.into();
        }
        Ok(UnfinishedResponse {
            response: self,
            reported,
        })
    }
}

/// Masks a document within a body. Returns its new text, or `None` if nothing had to be masked.
fn mask_document_text(
    json: &str,
    operation: &'static Operation,
    fetched: &CallSecrets,
) -> Result<Option<String>, serde_json::Error> {
    let plain = sanitize::as_clean_ascii(json.as_bytes());
    if plain.is_some_and(|plain| secrets::is_shown_verbatim(operation, fetched, plain)) {
        return Ok(None);
    }
    // A secret that is returned once is in an answer that is one document.
    edit_document_text(json, |document| {
        SecretDelivery::Nothing.mask_and_deliver(operation, fetched, plain, document);
    })
}

/// Edits a document. Returns its new text, or `None` if nothing changed.
fn edit_document_text(
    json: &str,
    edit: impl FnOnce(&mut Value),
) -> Result<Option<String>, serde_json::Error> {
    let changed = edit_document(json, edit)?;
    Ok(changed.map(|document| document.to_string()))
}

/// Edits a document. Returns it, or `None` if nothing changed.
fn edit_document(
    json: &str,
    edit: impl FnOnce(&mut Value),
) -> Result<Option<Value>, serde_json::Error> {
    let UniqueJson {
        mut value,
        repeated_name,
    } = UniqueJson::parse(json.as_bytes())?;
    sanitize::sanitize_value(&mut value);
    let hasher = RandomState::new();
    let before = hasher.hash_one(&value);
    edit(&mut value);
    // Of a name that is there twice, only one value was edited.
    let is_changed = hasher.hash_one(&value) != before || repeated_name.is_some();
    Ok(is_changed.then_some(value))
}

/// Returns a text without the byte order mark that some servers write before JSON.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns a body without a byte order mark.
fn without_mark_bytes(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Returns true if a content type says that the content is JSON.
pub fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence
            .rsplit_once('+')
            .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
}
