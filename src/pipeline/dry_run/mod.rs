//! Dry runs: what a write would send, what is there now, and what would change. Nothing here does I/O.

mod brief;
mod current;
mod diff;

use portkey_operation::{Effect, Operation, WireRequest};
use serde_json::{Map, Value, json};

pub use self::{
    brief::brief,
    current::{arguments, read_of, shows},
    diff::{Change, changes},
};

/// Bound on a text of the current state or of the request, in characters.
const LONGEST_TEXT: usize = 2_000;
/// Bound on a list of the current state or of the request, in items.
const LONGEST_LIST: usize = 50;

/// What a write would come to.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// What is there now, as the read of it answers; none where there is no read, or no answer.
    pub current: Option<Value>,
    /// What would be different.
    pub changes: Vec<Change>,
    /// Whether strangers wrote what is there now.
    pub untrusted: bool,
    /// Why the current state is not known.
    pub unknown: Option<String>,
}

impl Outlook {
    /// Whether an update is known to leave everything as it is.
    pub fn changes_nothing(&self, operation: &Operation) -> bool {
        operation.effects() == Effect::Update && self.current.is_some() && self.changes.is_empty()
    }

    /// What people call what is there.
    pub fn label(&self) -> Option<&str> {
        self.current.as_ref().and_then(diff::label)
    }
}

/// The answer to a call that is not carried out, as `{dry_run, request, current, changes, note}`. The
/// request has its secrets blanked already; long texts and lists are cut.
pub fn report(request: &WireRequest, url: &str, outlook: &Outlook) -> Value {
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
