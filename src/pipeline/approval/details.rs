//! The parts of an approval request, for pages that show them apart: what the call does, what it
//! changes, who asks, and which rule requires the decision.

use portkey_operation::{CallRisk, Effect, Risk};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{escape_untrusted, request::ApprovalSubject};
use crate::{
    observability::audit::session_label,
    pipeline::dry_run::FieldChange,
    security::secrets::{BLANK, MASK, mask_text},
};

/// Maximum number of changes.
const MAX_CHANGES: usize = 60;
/// Maximum size of all changes together, in bytes.
const MAX_CHANGES_BYTES: usize = 24 << 10;
/// Maximum length of one value, in characters.
const MAX_VALUE_CHARS: usize = 300;
/// Maximum length of a message or of the lines of a changed text, in characters.
const MAX_TEXT_CHARS: usize = 4_000;
/// Maximum number of users of each kind that depend on the target.
const MAX_NAMED_USERS: usize = 5;
/// Maximum number of entries that the subject of a call names of each list.
const MAX_NAMED_ITEMS: usize = 3;
/// Fields by which the entries of a list are told apart, the most telling first.
const IDENTITY_FIELDS: &[&str] = &[
    "slug",
    "id",
    "workspace_id",
    "user_id",
    "email",
    "name",
    "type",
];
/// Maximum number of entries in each other list.
const MAX_ENTRIES: usize = 20;

/// A waiting call in parts. All texts are masked, escaped and bounded.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct CallDetails {
    /// Title of the tool.
    pub title: String,
    /// Effect of the call: `create`, `update` or `delete`.
    pub effect: String,
    /// HTTP method of the request.
    pub method: String,
    /// Path and query of the request.
    pub target: String,
    /// Name of the stored target, if it has one.
    pub name: Option<String>,
    /// Subject of the call, if the end of its path does not name it: the resource, and the entries of the
    /// lists that it gives.
    pub subject: Option<String>,
    /// Risk of the operation in a sentence.
    pub risk: String,
    /// Risks of this call by name.
    pub risks: Vec<RiskLabel>,
    /// What depends on the target.
    pub impact: Vec<String>,
    /// Fields that change.
    pub changes: Vec<DetailChange>,
    /// Number of changes that are not listed.
    pub more_changes: usize,
    /// Paths of secrets that the call sets.
    pub secrets: Vec<String>,
    /// Warnings about the arguments.
    pub warnings: Vec<String>,
    /// Reason why the current state is unknown.
    pub unknown_reason: Option<String>,
    /// Name and version that the client gives for itself.
    pub client: Option<String>,
    /// Transport of the call.
    pub transport: String,
    /// Session of the call, as the audit log names it.
    pub session: Option<String>,
    /// Address that the call came from.
    pub address: Option<String>,
    /// The rule that requires the decision.
    pub rule: String,
    /// Message of the rule.
    pub message: Option<String>,
}

/// A risk of a call, by name and in words.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct RiskLabel {
    /// Name, such as `privilege`.
    pub kind: String,
    /// Description for the human.
    pub text: String,
}

/// A field that changes, as it is shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct DetailChange {
    /// Path of the field; empty for the whole resource.
    pub path: String,
    /// Current value, if it is known.
    pub from: Option<String>,
    /// New value; `None` if the field is removed.
    pub to: Option<String>,
    /// The lines of a long text that differ.
    pub lines: Option<String>,
    /// True if the values are secret, so that none is shown.
    pub is_secret: bool,
}

impl CallDetails {
    /// Describes a call. `secrets` are the paths of the secrets that it sets.
    pub(super) fn new(subject: &ApprovalSubject<'_>, risk: &str, secrets: &[String]) -> Self {
        let operation = subject.operation;
        let info = subject.request_info;
        let all = match operation.effect() {
            Effect::Delete => &[][..],
            _ => &subject.preview.changes,
        };
        let mut changes = Vec::new();
        let mut bytes = 0;
        for change in all.iter().take(MAX_CHANGES) {
            let change = DetailChange::new(change);
            bytes += change.bytes();
            if bytes > MAX_CHANGES_BYTES {
                break;
            }
            changes.push(change);
        }
        let more_changes = all.len() - changes.len();
        let entries = |texts: &[String]| -> Vec<String> {
            texts
                .iter()
                .take(MAX_ENTRIES)
                .map(|text| format_text(text))
                .collect()
        };
        Self {
            title: format_text(subject.title),
            effect: operation.effect().as_str().to_owned(),
            method: operation.method().to_string(),
            target: format_text(subject.target),
            name: subject.preview.display_name().map(format_text),
            subject: describe_subject(subject),
            risk: risk.to_owned(),
            risks: subject
                .risks
                .iter()
                .map(|known| RiskLabel::new(known, operation.effect()))
                .collect(),
            impact: match &subject.preview.impact {
                Some(impact) => entries(&impact.to_lines(MAX_NAMED_USERS)),
                None => Vec::new(),
            },
            changes,
            more_changes,
            secrets: entries(secrets),
            warnings: entries(subject.warnings),
            unknown_reason: subject.preview.unknown_reason.as_deref().map(format_text),
            client: info.client.as_deref().map(format_text),
            transport: info.transport.as_str().to_owned(),
            session: session_label(info),
            address: info.source.map(|address| address.to_string()),
            rule: format_text(&subject.required.rule),
            message: subject.required.message.as_deref().map(format_message),
        }
    }
}

/// Describes what a call is about that changes entries of a resource, such as
/// `openai-production, 4 workspaces: ws-a, ws-b, ws-c, …`. Returns `None` where the path ends in a resource.
fn describe_subject(subject: &ApprovalSubject<'_>) -> Option<String> {
    let operation = subject.operation;
    if operation.path().ends_with('}') {
        return None;
    }
    let args = subject.masked_args;
    let is_place = |name: &str| operation.placeholders().any(|place| place == name);
    let ids = operation
        .placeholders()
        .filter_map(|name| args.get(name)?.as_str().map(str::to_owned));
    let mut parts: Vec<String> = match subject.preview.display_name() {
        Some(name) => vec![name.to_owned()],
        None => ids.collect(),
    };
    let is_creation = operation.effect() == Effect::Create && parts.is_empty();
    let lists = args
        .iter()
        .filter(|(name, _)| !is_creation && !is_place(name))
        .filter_map(|(name, value)| Some((name, value.as_array()?)));
    parts.extend(lists.filter_map(|(name, items)| describe_items(name, items)));
    (!parts.is_empty()).then(|| format_text(&parts.join(", ")))
}

/// Counts the entries of a list and names the first ones. Returns `None` if they have no identity.
fn describe_items(name: &str, items: &[Value]) -> Option<String> {
    let identity = |item: &Value| {
        let named = || {
            IDENTITY_FIELDS
                .iter()
                .find_map(|field| item.get(*field)?.as_str())
        };
        item.as_str().or_else(named).map(str::to_owned)
    };
    let mut names: Vec<String> = items
        .iter()
        .take(MAX_NAMED_ITEMS)
        .map_while(identity)
        .collect();
    if names.is_empty() {
        return None;
    }
    if items.len() > names.len() {
        names.push("…".to_owned());
    }
    let names = names.join(", ");
    Some(match items.len() {
        1 => format!("{name}: {names}"),
        count => format!("{count} {name}: {names}"),
    })
}

impl RiskLabel {
    fn new(known: &CallRisk, effect: Effect) -> Self {
        let kind = match (known.risk, effect) {
            (Risk::Deletion, Effect::Create | Effect::Update) => "overwrite",
            (risk, _) => risk.as_str(),
        };
        Self {
            kind: kind.to_owned(),
            text: format!("It {}.", known.statement),
        }
    }

    /// Returns the risk in a word that people use for it.
    pub fn word(&self) -> &str {
        match self.kind.as_str() {
            "secret" => "keys",
            "budget" => "money",
            kind => kind,
        }
    }
}

impl DetailChange {
    fn new(change: &FieldChange) -> Self {
        let values = (change.from.as_ref(), change.to.as_ref());
        Self::from_values(&change.path, values, change.lines.as_deref())
    }

    /// Describes a change from an old to a new value. `lines` are those of a long text that differ.
    pub(crate) fn from_values(
        path: &str,
        (from, to): (Option<&Value>, Option<&Value>),
        lines: Option<&str>,
    ) -> Self {
        let is_blank = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str);
            text.is_some_and(|text| text == BLANK || text == MASK)
        };
        Self {
            path: format_text(path),
            from: from.map(format_value),
            to: to.map(format_value),
            lines: lines.map(format_lines),
            is_secret: is_blank(to) || (to.is_none() && is_blank(from)),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.from, &self.to, &self.lines];
        let values = texts.into_iter().flatten().map(String::len);
        self.path.len() + values.sum::<usize>()
    }
}

/// Returns a value without the quotation marks of a text.
fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => format_text(text),
        value => format_text(&value.to_string()),
    }
}

/// Returns a text on one line.
fn format_text(text: &str) -> String {
    truncate(escape_untrusted(&mask_text(text)), MAX_VALUE_CHARS)
}

/// Returns a message on one line.
fn format_message(text: &str) -> String {
    truncate(escape_untrusted(&mask_text(text)), MAX_TEXT_CHARS)
}

/// Returns a text that keeps its line breaks.
fn format_lines(text: &str) -> String {
    let masked = mask_text(text);
    let lines: Vec<_> = masked.lines().map(escape_untrusted).collect();
    truncate(lines.join("\n"), MAX_TEXT_CHARS)
}

fn truncate(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => {
            let (start, rest) = text.split_at(end);
            format!("{start}… ({} more characters)", rest.chars().count())
        }
        None => text,
    }
}
