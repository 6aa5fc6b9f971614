//! Dry runs: the request that a write would send, the current state, and the changes. Performs no
//! I/O.

mod current_state;
mod diff;
mod truncation;

use portkey_operation::{Effect, Operation, UpstreamRequest};
use serde_json::{Map, Value, json};

use super::usages::{DEFAULT_NAMED_USERS, Impact};

pub use self::{
    current_state::{find_read, find_verification_read, read_arguments},
    diff::{Changes, FieldChange, compute_changes, display_name},
    truncation::truncate,
};

/// Maximum length of a text in the current state or the request, in characters.
const MAX_TEXT_CHARS: usize = 2_000;
/// Maximum length of a list in the current state or the request, in items.
const MAX_LIST_ITEMS: usize = 50;

/// Note on a write of which nothing can be compared.
pub const HIDDEN_CHANGES: &str =
    "what may change is a secret, whose current value cannot be read or compared";

/// The changes that a write would make.
#[derive(Clone, Debug, Default)]
pub struct ChangePreview {
    /// Current state as its read returns it; `None` if there is no read, or it failed.
    pub current: Option<Value>,
    /// Fields that would change.
    pub changes: Vec<FieldChange>,
    /// True if values may change that are masked in the current state, and so cannot be compared.
    pub has_hidden: bool,
    /// True if the current state is untrusted content.
    pub is_untrusted: bool,
    /// Reason why the current state is unknown.
    pub unknown_reason: Option<String>,
    /// True if its read failed and may succeed later. No plan is built on that.
    pub may_be_known_later: bool,
    /// What depends on the target, if the write deletes or restricts.
    pub impact: Option<Impact>,
}

impl ChangePreview {
    /// Returns true if the operation is an update that is known to change nothing.
    pub fn is_no_op(&self, operation: &Operation) -> bool {
        operation.effect() == Effect::Update
            && self.current.is_some()
            && self.changes.is_empty()
            && !self.has_hidden
    }

    /// Returns true if all that may change is masked in the current state.
    pub fn is_all_hidden(&self) -> bool {
        self.changes.is_empty() && self.has_hidden
    }

    /// Returns a human-readable name of the resource.
    pub fn display_name(&self) -> Option<&str> {
        self.current.as_ref().and_then(diff::display_name)
    }
}

/// Builds the result of a dry run: `{dry_run, request, current, changes, note}`, and
/// `impact` for a write that deletes or restricts.
///
/// The secrets in the request must already be blanked; long texts and lists are truncated here.
pub fn report(request: &UpstreamRequest, url: &str, preview: &ChangePreview) -> Value {
    let short = |value: &Value| truncate(value, MAX_TEXT_CHARS, MAX_LIST_ITEMS);
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
    let changes: Vec<Value> = preview.changes.iter().map(FieldChange::to_json).collect();
    let mut note = "Nothing was sent and nothing has changed: this is a dry run.".to_owned();
    if let Some(why) = &preview.unknown_reason {
        note = format!("{note} The current state is not known: {why}.");
    }
    if preview.is_all_hidden() {
        note = format!("{note} However, {HIDDEN_CHANGES}.");
    }
    let mut report = json!({
        "dry_run": true,
        "request": sent,
        "current": preview.current.as_ref().map(short),
        "changes": changes,
        "note": note,
    });
    if let (Some(impact), Some(fields)) = (&preview.impact, report.as_object_mut()) {
        fields.insert("impact".to_owned(), impact.to_json(DEFAULT_NAMED_USERS));
    }
    report
}
