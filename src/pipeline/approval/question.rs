//! Approval requests: the text that a human reads before deciding about a call.

use std::fmt::{self, Write};

use portkey_operation::{Effect, JsonMap, Operation, field_path};
use serde_json::Value;

use super::{ApprovalMethod, Approved, Binding, Denied, Form, Grant, Required, plain};
use crate::{
    auth::principal::Principal,
    observability::request::Arrival,
    pipeline::dry_run::{Change, Outlook},
    security::secrets::{BLANK, MASK, mask_text},
};

/// Maximum number of changes in the text.
const MOST_CHANGES: usize = 40;
/// Maximum length of one value, in characters.
const LONGEST_VALUE: usize = 300;
/// Maximum length of all changes together, in bytes.
const MAX_CHANGES_BYTES: usize = 16 << 10;
/// Maximum number of warnings in the text.
const MAX_WARNINGS: usize = 10;
/// Maximum length of a rule's message, or of the list of secrets that a call sets, in characters.
const LONGEST_TEXT: usize = 1_000;
/// Maximum length of a name to type, in characters; a longer one is not requested.
const LONGEST_NAME: usize = 60;
/// Maximum length of an identifier to type, in characters, if the resource's name cannot be typed.
const MAX_ID_CHARS: usize = 200;

/// A call that waits for a human's decision.
pub struct Question {
    /// Name of the tool.
    pub tool: &'static str,
    /// The rule that requires approval.
    pub rule: String,
    /// Text for the human: a few plain lines, with untrusted content between backticks.
    pub text: String,
    /// Text that the human has to type to approve, if the rule requires it.
    pub confirm: Option<String>,
    binding: Binding,
    args: JsonMap,
}

/// The parts that an approval request is built from.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) title: &'a str,
    pub(crate) principal: &'a Principal,
    pub(crate) arrival: &'a Arrival,
    /// Path and query of the request, with secrets blanked.
    pub(crate) target: &'a str,
    /// Arguments with secrets blanked.
    pub(crate) shown: &'a JsonMap,
    pub(crate) outlook: &'a Outlook,
    /// Warnings about the arguments, as the caller gets them.
    pub(crate) warnings: &'a [String],
    pub(crate) required: Required,
}

impl Question {
    /// Builds the request for a call with these arguments, from which the binding was computed.
    pub(crate) fn new(about: About<'_>, binding: Binding, args: JsonMap) -> Self {
        // A human must not have to type a key.
        let is_no_key = |text: &&str| mask_text(text) == *text;
        let name = about
            .outlook
            .label()
            .filter(|name| is_typeable(name, LONGEST_NAME));
        let name = name.filter(is_no_key);
        let named = || {
            let last = about.operation.placeholders().last();
            let id = last.and_then(|placeholder| args.get(placeholder)?.as_str());
            let id = id
                .filter(|id| is_typeable(id, MAX_ID_CHARS))
                .filter(is_no_key);
            id.unwrap_or(about.operation.name()).to_owned()
        };
        let confirm = about
            .required
            .confirm
            .then(|| name.map_or_else(named, str::to_owned));
        // The names of clients and callers and the messages of policies are free text and may
        // contain a key.
        let text = mask_text(&text(&about, confirm.as_deref())).into_owned();
        let (tool, rule) = (about.operation.name(), about.required.rule);
        Self {
            tool,
            rule,
            text,
            confirm,
            binding,
            args,
        }
    }

    /// Returns the binding that an approval of the call must have.
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Returns the arguments, with which the call can be repeated.
    pub fn into_args(self) -> JsonMap {
        self.args
    }

    /// Turns a completed form into an approval.
    ///
    /// # Errors
    /// Returns an error if the form does not approve the call.
    pub fn answered(&self, form: &Form, method: ApprovalMethod, by: &str) -> Result<Grant, Denied> {
        form.judge(self.confirm.as_deref())?;
        let approved = Approved {
            method,
            by: by.to_owned(),
        };
        Ok(Grant {
            binding: self.binding,
            approved,
        })
    }
}

/// Omits the arguments, which may contain secrets.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}

fn is_typeable(name: &str, max_chars: usize) -> bool {
    name.chars().count() <= max_chars && plain(name) == name && name.trim() == name
}

/// Renders the text. Writing to a string cannot fail, so the results of `write!` are ignored.
fn text(about: &About<'_>, confirm: Option<&str>) -> String {
    let operation = about.operation;
    let mut text = format!(
        "Approve this call? {} ({}, {})\n",
        about.title,
        operation.name(),
        operation.effect().as_str()
    );
    _ = write!(
        text,
        "\nTarget: {} `{}`",
        operation.method(),
        cut(about.target)
    );
    if let Some(name) = about.outlook.label() {
        _ = write!(text, ", named `{}`", cut(name));
    }
    _ = write!(text, "\nRisk: {}", risk(operation));
    _ = write!(text, "\nAsked by: `{}`", cut(&about.principal.name));
    if let Some(client) = &about.arrival.client {
        _ = write!(text, ", with a client that calls itself `{}`", cut(client));
    }
    _ = write!(text, "\nRule: {}", cut(&about.required.rule));
    if let Some(words) = &about.required.words {
        _ = write!(text, " ({})", shortened(words, LONGEST_TEXT));
    }
    let changes = &about.outlook.changes;
    if !changes.is_empty() && operation.effect() != Effect::Delete {
        text.push_str("\n\nChanges:");
        let (start, mut shown) = (text.len(), 0);
        for change in changes.iter().take(MOST_CHANGES) {
            if text.len() - start > MAX_CHANGES_BYTES {
                break;
            }
            line(&mut text, change);
            shown += 1;
        }
        if let Some(more) = changes.len().checked_sub(shown).filter(|more| *more > 0) {
            _ = write!(text, "\n- and {more} more");
        }
    }
    let mut secrets = Vec::new();
    blanked(about.shown, "", &mut secrets);
    if !secrets.is_empty() {
        let secrets = shortened(&secrets.join(", "), LONGEST_TEXT);
        _ = write!(text, "\n\nSecrets that it sets, not shown: `{secrets}`");
    }
    for warning in about.warnings.iter().take(MAX_WARNINGS) {
        _ = write!(text, "\n\nWarning: {}", cut(warning));
    }
    let more_warnings = about.warnings.len().saturating_sub(MAX_WARNINGS);
    if more_warnings > 0 {
        _ = write!(text, "\n\nWarnings that are not shown: {more_warnings}");
    }
    if let Some(why) = &about.outlook.unknown {
        _ = write!(text, "\n\nWhat is there now is not known: {}", cut(why));
    }
    if let Some(name) = confirm {
        _ = write!(text, "\n\nTo approve, type: `{}`", plain(name));
    }
    text
}

fn line(text: &mut String, change: &Change) {
    let value = |value: &Value| cut(&value.to_string());
    let path = if change.path.is_empty() {
        "all of it"
    } else {
        &change.path
    };
    _ = write!(text, "\n- `{}`: ", cut(path));
    _ = match (&change.from, &change.to) {
        (Some(from), Some(to)) => write!(text, "`{}` becomes `{}`", value(from), value(to)),
        (None, Some(to)) => write!(text, "set to `{}`", value(to)),
        (Some(from), None) => write!(text, "`{}` is removed", value(from)),
        (None, None) => write!(text, "removed"),
    };
}

/// Describes the risk of an operation, as far as its declaration tells.
fn risk(operation: &Operation) -> String {
    let hints = operation.hints();
    let mut risk = match operation.effect() {
        Effect::Delete => "it removes something for good, and what depends on it may stop working.",
        _ if hints.destructive => {
            "it may overwrite or cut off something that cannot be had back, or stop what uses it."
        }
        Effect::Update => "it changes something that may be in use.",
        Effect::Create | Effect::Read => "it adds something that was not there before.",
    }
    .to_owned();
    if !operation.one_time_secrets().is_empty() {
        risk.push_str(" Its answer shows the caller a secret.");
    }
    if hints.open_world {
        risk.push_str(" It makes the service reach out to another system.");
    }
    risk
}

/// Collects the paths of blanked values.
fn blanked(map: &JsonMap, at: &str, found: &mut Vec<String>) {
    for (name, value) in map {
        let path = match at {
            // The path is truncated when displayed anyway, and each field below would copy it.
            at if at.len() > LONGEST_TEXT => at.to_owned(),
            at => field_path(at, &cut(name)),
        };
        blanked_in(value, path, found);
    }
}

fn blanked_in(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text == BLANK || text.contains(MASK) => found.push(path),
        Value::Object(map) => blanked(map, &path, found),
        Value::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                blanked_in(item, format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn cut(text: &str) -> String {
    shortened(text, LONGEST_VALUE)
}

fn shortened(text: &str, longest: usize) -> String {
    let shown = plain(text);
    match shown.char_indices().nth(longest) {
        Some((end, _)) => {
            let (start, rest) = shown.split_at(end);
            format!("{start}… ({} more characters)", rest.chars().count())
        }
        None => shown,
    }
}
