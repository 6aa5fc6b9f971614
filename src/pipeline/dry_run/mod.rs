//! Dry runs: the request that a write would send, the current state, and the changes. Performs no
//! I/O.

mod brief;
mod current;
mod diff;

use portkey_operation::{Effect, Operation, UpstreamRequest};
use serde_json::{Map, Value, json};

pub use self::{
    brief::brief,
    current::{arguments, read_of, shows},
    diff::{Change, changes},
};

/// Maximum length of a text in the current state or the request, in characters.
const LONGEST_TEXT: usize = 2_000;
/// Maximum length of a list in the current state or the request, in items.
const LONGEST_LIST: usize = 50;

/// The changes that a write would make.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Current state as its read returns it; `None` if there is no read, or it failed.
    pub current: Option<Value>,
    /// Fields that would change.
    pub changes: Vec<Change>,
    /// True if the current state is untrusted content.
    pub untrusted: bool,
    /// Reason why the current state is unknown.
    pub unknown: Option<String>,
}

impl Outlook {
    /// Returns true if the operation is an update that is known to change nothing.
    pub fn changes_nothing(&self, operation: &Operation) -> bool {
        operation.effect() == Effect::Update && self.current.is_some() && self.changes.is_empty()
    }

    /// Returns a human-readable name of the resource.
    pub fn label(&self) -> Option<&str> {
        self.current.as_ref().and_then(diff::label)
    }
}

/// Builds the result of a dry run: `{dry_run, request, current, changes, note}`.
///
/// The secrets in the request must already be blanked; long texts and lists are truncated here.
pub fn report(request: &UpstreamRequest, url: &str, outlook: &Outlook) -> Value {
    let short = |value: &Value| brief(value, LONGEST_TEXT, LONGEST_LIST);
    let mut sent = Map::new();
    sent.insert("method".to_owned(), request.method.as_str().into());
    sent.insert("url".to_owned(), url.into());
    if !request.headers.is_empty() {
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = request.headers.iter();
        let headers: Map<_, Value> = headers
            .map(|(name, value)| (name.to_string(), text(value).into()))
            .collect();
        sent.insert("headers".to_owned(), headers.into());
    }
    if let Some(body) = &request.body {
        sent.insert("body".to_owned(), short(body));
    }
    let changes: Vec<Value> = outlook.changes.iter().map(Change::to_json).collect();
    let mut note = "Nothing was sent and nothing has changed: this is a dry run.".to_owned();
    if let Some(why) = &outlook.unknown {
        note = format!("{note} The current state is not known: {why}.");
    }
    json!({
        "dry_run": true,
        "request": sent,
        "current": outlook.current.as_ref().map(short),
        "changes": changes,
        "note": note,
    })
}
