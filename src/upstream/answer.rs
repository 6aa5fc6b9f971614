//! What an upstream answered, and whether that was a success.
//!
//! Errors come in nine body shapes (errors.md §1), and a success status may still carry a failure
//! (errors.md §5). All of them are read into one [`Refusal`]; Enkrypt AI's one shape (enkrypt.md §4) is
//! among them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::{
    Doubt,
    details::{self, Detail},
};
use crate::security::sanitize::first_chars;

/// An answer, good or bad, as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    body: Bytes,
    content_type: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: usize,
    /// Whether an attempt before this answer may have taken effect.
    is_doubtful: bool,
}

/// An upstream's no, in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status; a success where only the body says that it failed.
    pub status: StatusCode,
    /// Portkey's code, such as `AB03`, or a provider's.
    pub code: Option<String>,
    /// The upstream's own words, or ours where it had none.
    pub message: String,
    /// The causes that it names below the message.
    pub details: Vec<Detail>,
    /// How many more of these there are.
    pub more_details: u32,
    /// What to quote to the upstream's support.
    pub request_id: Option<String>,
    /// How often it was sent.
    pub attempts: usize,
    /// Whether an attempt before the one that was refused may have taken effect.
    pub is_doubtful: bool,
    /// What kind of no it is, where the body and not the status tells.
    pub kind: Kind,
    /// The call that was refused.
    pub call: Box<RefusedCall>,
}

/// What is known of a refused call that tells causes apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedCall {
    /// Whose key was sent.
    pub key: KeyHolder,
    /// The names of all arguments and fields that the operation takes.
    pub names: Vec<String>,
    /// Whether the call named a workspace.
    pub has_workspace: bool,
    /// Whether the call named an organisation.
    pub has_organisation: bool,
    /// What the caller is told about the arguments, which may be the cause.
    pub warnings: Vec<String>,
    /// What the caller must know where the call may have taken effect all the same.
    pub doubt: Doubt,
}

/// Who holds the key that a request was made with, and so can replace it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHolder {
    /// Whoever runs the process makes the call.
    #[default]
    Local,
    /// The request brought it.
    Request,
    /// The operator of the server, who is not the caller.
    Operator,
}

impl Refusal {
    /// Shows `scrub` every text of the upstream's and bounds what is left. A code or an id in which it finds
    /// something is none.
    pub fn scrub(&mut self, scrub: impl Fn(&str) -> String) {
        self.more_details = details::bound(&mut self.message, &mut self.details, &scrub);
        let is_kept = |text: &String| scrub(text) == *text;
        self.code = self.code.take().filter(is_kept);
        self.request_id = self.request_id.take().filter(is_kept);
    }
}

/// A kind of refusal that the status does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As the status says.
    Plain,
    /// The inference gateway answered: the control plane knows no such path (quirks.md §1.8).
    NoSuchRoute,
    /// Not the upstream, to judge by the body: a proxy, or another server.
    Stranger,
    /// The status says success and the body says failure.
    InBody,
}

/// Bound on what an upstream calls a request, in characters: it is repeated to callers and in logs.
const MAX_REQUEST_ID_CHARS: usize = 200;

fn short_id(id: &str) -> String {
    first_chars(id, MAX_REQUEST_ID_CHARS).to_owned()
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let id = ["x-portkey-request-id", "x-portkey-trace-id", "x-request-id"];
        Self {
            status,
            body,
            content_type: text(header::CONTENT_TYPE.as_str()).map(short_id),
            request_id: id.iter().find_map(|name| text(name)).map(short_id),
            retry_after: text(header::RETRY_AFTER.as_str()).and_then(pause),
            attempts: 1,
            is_doubtful: false,
        }
    }

    /// The same, which came after so many attempts, one of which may have taken effect if `is_doubtful`.
    pub(super) fn after(mut self, attempts: usize, is_doubtful: bool) -> Self {
        self.attempts = attempts;
        self.is_doubtful = is_doubtful;
        self
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the upstream calls the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How often the request was sent.
    pub fn attempts(&self) -> usize {
        self.attempts
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The size of the body.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The body as it came.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The JSON of a success; an empty body, a `null` and a 204 are an empty object.
    ///
    /// # Errors
    /// Status or body say that it failed.
    pub fn outcome(self) -> Result<Value, Refusal> {
        // Once for all of it, and not for each text in it.
        let text = str::from_utf8(&self.body).ok();
        let body = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        match (self.status.is_success(), body) {
            (true, Some(Value::Null)) => Ok(Value::Object(Map::new())),
            (true, None) if self.body.trim_ascii().is_empty() => Ok(Value::Object(Map::new())),
            (true, Some(body)) if says_failed(&body) => Err(self.refusal(&body, Kind::InBody)),
            (true, Some(body)) => Ok(body),
            (_, None) => Err(self.not_json()),
            (false, Some(body)) => {
                let kind = if is_stray(self.status, &body) {
                    Kind::NoSuchRoute
                } else {
                    Kind::Plain
                };
                Err(self.refusal(&body, kind))
            }
        }
    }

    /// Reads any of the body shapes.
    fn refusal(self, body: &Value, kind: Kind) -> Refusal {
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
        let texts = details::read(body, inner, kind == Kind::Plain);
        let message = texts.message.unwrap_or_else(|| match kind {
            Kind::InBody => "the answer says that it failed, and not why".to_owned(),
            _ => silent(self.status),
        });
        Refusal {
            status: self.status,
            code: code.into_iter().find_map(text).filter(|code| is_code(code)),
            message,
            details: texts.details,
            more_details: 0,
            request_id: text(body.get("request_id"))
                .map(|id| short_id(&id))
                .or(self.request_id),
            attempts: self.attempts,
            is_doubtful: self.is_doubtful,
            kind,
            call: Box::default(),
        }
    }

    fn not_json(self) -> Refusal {
        let length = self.body.len();
        let what = self.content_type.as_deref().unwrap_or("no content type");
        let (message, kind) = match length {
            0 => (silent(self.status), Kind::Plain),
            _ => (
                format!("{length} bytes that are no JSON ({what})"),
                Kind::Stranger,
            ),
        };
        Refusal {
            status: self.status,
            code: None,
            message,
            details: Vec::new(),
            more_details: 0,
            request_id: self.request_id,
            attempts: self.attempts,
            is_doubtful: self.is_doubtful,
            kind,
            call: Box::default(),
        }
    }
}

/// What `Retry-After` asks for: seconds, or a date; one that has passed asks for no pause.
fn pause(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(value.trim()).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

/// A success that is really a failure: `success: false`, or an `error` object (errors.md §5).
fn says_failed(body: &Value) -> bool {
    body.get("success") == Some(&Value::Bool(false))
        || body.get("error").is_some_and(Value::is_object)
}

/// Whether the inference gateway answered for want of a route: it then asks for one of its own headers.
fn is_stray(status: StatusCode, body: &Value) -> bool {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    status == StatusCode::BAD_REQUEST
        && text("status") == "failure"
        && text("message").contains("x-portkey-")
}

/// Whether a text can be a code. It is logged, so it must not be whatever an upstream likes to put there.
fn is_code(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 32 && text.bytes().all(fits)
}

fn silent(status: StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("no reason given")
        .to_owned()
}
