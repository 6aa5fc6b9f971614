//! Approval requests: the text that a human reads before deciding about a call.

use std::fmt::{self, Write};

use portkey_operation::{CallRisk, Effect, JsonMap, Operation, field_path};
use serde_json::Value;

use super::{
    Approval, ApprovalError, ApprovalMethod, ApprovalRecord, ApprovalRequirement, Binding,
    CallDetails, FormResponse, escape::escape_untrusted,
};
use crate::{
    auth::principal::Principal,
    observability::request::RequestInfo,
    pipeline::{
        dry_run::{ChangePreview, FieldChange},
        usages::{DEFAULT_NAMED_USERS, Impact},
    },
    security::secrets::{BLANK, MASK, mask_text},
};

/// Maximum number of changes in the text.
const MAX_CHANGES: usize = 40;
/// Maximum length of one value, in characters.
const MAX_VALUE_CHARS: usize = 300;
/// Maximum length of all changes together, in bytes.
const MAX_CHANGES_BYTES: usize = 16 << 10;
/// Maximum number of lines of one change in the text.
const MAX_LINES: usize = 40;
/// Maximum number of warnings in the text.
const MAX_WARNINGS: usize = 10;
/// Maximum length of a rule's message, or of the list of secrets that a call sets, in characters.
const MAX_TEXT_CHARS: usize = 1_000;
/// Maximum length of a name to type, in characters; a longer one is not requested.
const MAX_NAME_CHARS: usize = 60;
/// Maximum length of an identifier to type, in characters, if the resource's name cannot be typed.
const MAX_ID_CHARS: usize = 200;

/// A call that waits for a human's decision.
pub struct ApprovalRequest {
    /// Name of the tool.
    pub tool: &'static str,
    /// The rule that requires approval.
    pub rule: String,
    /// Text for the human: a few plain lines, with untrusted content between backticks.
    pub text: String,
    /// Text that the human has to type to approve, if the rule requires it.
    pub confirm: Option<String>,
    /// Risks of the call.
    pub risks: Vec<CallRisk>,
    /// The request in parts, for pages that show them apart.
    pub details: CallDetails,
    /// Number of people who have to approve, if the rule says so. The caller's client is not asked.
    pub approvers: Option<u8>,
    /// What depends on the target, if the call deletes or restricts.
    pub impact: Option<Impact>,
    /// The requirement of the call; `None` for several calls at once.
    required: Option<ApprovalRequirement>,
    binding: Binding,
    args: JsonMap,
}

/// The parts that an approval request is built from.
#[derive(Debug)]
pub(crate) struct ApprovalSubject<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) title: &'a str,
    pub(crate) principal: &'a Principal,
    pub(crate) request_info: &'a RequestInfo,
    /// Path and query of the request, with secrets blanked.
    pub(crate) target: &'a str,
    /// Arguments with secrets blanked.
    pub(crate) masked_args: &'a JsonMap,
    pub(crate) preview: &'a ChangePreview,
    pub(crate) risks: &'a [CallRisk],
    /// Warnings about the arguments, as the caller gets them.
    pub(crate) warnings: &'a [String],
    pub(crate) required: ApprovalRequirement,
}

impl ApprovalRequest {
    /// Builds the request for a call with these arguments, from which the binding was computed.
    pub(crate) fn new(subject: ApprovalSubject<'_>, binding: Binding, args: JsonMap) -> Self {
        // A human must not have to type a key.
        let is_no_key = |text: &&str| mask_text(text) == *text;
        let name = subject
            .preview
            .display_name()
            .filter(|name| is_typeable(name, MAX_NAME_CHARS));
        let name = name.filter(is_no_key);
        let named = || {
            let last = subject.operation.placeholders().last();
            let id = last.and_then(|placeholder| args.get(placeholder)?.as_str());
            let id = id
                .filter(|id| is_typeable(id, MAX_ID_CHARS))
                .filter(is_no_key);
            id.unwrap_or(subject.operation.name()).to_owned()
        };
        let confirm = subject
            .required
            .confirm
            .then(|| name.map_or_else(named, str::to_owned));
        let mut secrets = Vec::new();
        collect_blanked(subject.masked_args, "", &mut secrets);
        let details = CallDetails::new(
            &subject,
            &describe_risks(subject.operation, subject.risks),
            &secrets,
        );
        // The names of clients and callers and the messages of policies are free text and may
        // contain a key.
        let text = mask_text(&render_text(&subject, confirm.as_deref())).into_owned();
        let tool = subject.operation.name();
        let approvers = subject.required.approvers;
        let rule = subject.required.rule.clone();
        let risks = subject.risks.to_vec();
        Self {
            tool,
            rule,
            text,
            confirm,
            approvers,
            details,
            risks,
            impact: subject.preview.impact.clone(),
            required: Some(subject.required),
            binding,
            args,
        }
    }

    /// Builds a request for several calls at once, which a tool of this server makes. The text says what
    /// they do; `binding` stands for exactly these calls. `decision` is the text to type and the number of
    /// people who have to approve, and `about` the risks of the calls and their parts.
    pub fn for_calls(
        tool: &'static str,
        rule: String,
        text: &str,
        (confirm, approvers): (Option<String>, Option<u8>),
        (risks, details): (Vec<CallRisk>, CallDetails),
        impact: Option<Impact>,
        binding: Binding,
    ) -> Self {
        Self {
            tool,
            rule,
            text: mask_text(text).into_owned(),
            confirm,
            risks,
            details,
            required: None,
            approvers,
            impact,
            binding,
            args: JsonMap::new(),
        }
    }

    /// Approves the call because a human has approved a request that showed it, or as many people as
    /// `approvers` says.
    pub(crate) fn approve_as_shown(
        &self,
        record: ApprovalRecord,
        approvers: Option<u8>,
    ) -> Approval {
        Approval {
            binding: self.binding,
            record,
            approvers,
        }
    }

    /// Returns the requirement of the call.
    pub(crate) const fn requirement(&self) -> Option<&ApprovalRequirement> {
        self.required.as_ref()
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
    pub fn resolve(
        &self,
        form: &FormResponse,
        method: ApprovalMethod,
        by: &str,
    ) -> Result<Approval, ApprovalError> {
        form.evaluate(self.confirm.as_deref())?;
        let approved = ApprovalRecord {
            method,
            by: by.to_owned(),
        };
        Ok(Approval {
            binding: self.binding,
            record: approved,
            approvers: None,
        })
    }
}

/// Omits the arguments, which may contain secrets.
impl fmt::Debug for ApprovalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}

fn is_typeable(name: &str, max_chars: usize) -> bool {
    name.chars().count() <= max_chars && escape_untrusted(name) == name && name.trim() == name
}

/// Renders the text. Writing to a string cannot fail, so the results of `write!` are ignored.
fn render_text(subject: &ApprovalSubject<'_>, confirm: Option<&str>) -> String {
    let operation = subject.operation;
    let mut text = format!(
        "Approve this call? {} ({}, {})\n",
        subject.title,
        operation.name(),
        operation.effect().as_str()
    );
    _ = write!(
        text,
        "\nTarget: {} `{}`",
        operation.method(),
        truncate(subject.target)
    );
    if let Some(name) = subject.preview.display_name() {
        _ = write!(text, ", named `{}`", truncate(name));
    }
    _ = write!(text, "\nRisk: {}", describe_risks(operation, subject.risks));
    _ = write!(text, "\nAsked by: `{}`", truncate(&subject.principal.name));
    if let Some(client) = &subject.request_info.client {
        _ = write!(
            text,
            ", with a client that calls itself `{}`",
            truncate(client)
        );
    }
    _ = write!(text, "\nRule: {}", truncate(&subject.required.rule));
    if let Some(words) = &subject.required.message {
        _ = write!(text, " ({})", truncate_to(words, MAX_TEXT_CHARS));
    }
    if let Some(count) = subject.required.approvers.filter(|count| *count > 1) {
        _ = write!(text, "\nApprovers: {count} different people");
    }
    let changes = &subject.preview.changes;
    if !changes.is_empty() && operation.effect() != Effect::Delete {
        text.push_str("\n\nChanges:");
        let start = text.len();
        let mut shown = 0;
        for change in changes.iter().take(MAX_CHANGES) {
            if text.len() - start > MAX_CHANGES_BYTES {
                break;
            }
            render_change(&mut text, change);
            shown += 1;
        }
        if let Some(more) = changes.len().checked_sub(shown).filter(|more| *more > 0) {
            _ = write!(text, "\n- and {more} more");
        }
    }
    if let Some(impact) = &subject.preview.impact {
        text.push_str("\n\nWhat depends on it:");
        for line in impact.to_lines(DEFAULT_NAMED_USERS) {
            _ = write!(text, "\n- `{}`", truncate(&line));
        }
    }
    let mut secrets = Vec::new();
    collect_blanked(subject.masked_args, "", &mut secrets);
    if !secrets.is_empty() {
        let secrets = truncate_to(&secrets.join(", "), MAX_TEXT_CHARS);
        _ = write!(text, "\n\nSecrets that it sets, not shown: `{secrets}`");
    }
    for warning in subject.warnings.iter().take(MAX_WARNINGS) {
        _ = write!(text, "\n\nWarning: {}", truncate(warning));
    }
    let more_warnings = subject.warnings.len().saturating_sub(MAX_WARNINGS);
    if more_warnings > 0 {
        _ = write!(text, "\n\nWarnings that are not shown: {more_warnings}");
    }
    if let Some(why) = &subject.preview.unknown_reason {
        _ = write!(
            text,
            "\n\nWhat is there now is not known: {}",
            truncate(why)
        );
    }
    if let Some(name) = confirm {
        _ = write!(text, "\n\nTo approve, type: `{}`", escape_untrusted(name));
    }
    text
}

fn render_change(text: &mut String, change: &FieldChange) {
    let value = |value: &Value| truncate(&value.to_string());
    let path = if change.path.is_empty() {
        "all of it"
    } else {
        &change.path
    };
    _ = write!(text, "\n- `{}`: ", truncate(path));
    // A text that gets its first line break here is shown as it is.
    let is_of_lines = |value: &Value| value.as_str().is_some_and(|text| text.contains('\n'));
    if let Some(lines) = &change.lines
        && change.from.as_ref().is_some_and(is_of_lines)
    {
        text.push_str("these lines change");
        for line in lines.lines().take(MAX_LINES) {
            _ = write!(text, "\n  `{}`", truncate(line));
        }
        if let Some(more) = lines
            .lines()
            .count()
            .checked_sub(MAX_LINES)
            .filter(|more| *more > 0)
        {
            _ = write!(text, "\n  and {more} more lines");
        }
        return;
    }
    _ = match (&change.from, &change.to) {
        (Some(from), Some(to)) => write!(text, "`{}` becomes `{}`", value(from), value(to)),
        (None, Some(to)) => write!(text, "set to `{}`", value(to)),
        (Some(from), None) => write!(text, "`{}` is removed", value(from)),
        (None, None) => write!(text, "removed"),
    };
}

/// Describes the risks of a call, one statement after the other.
pub(crate) fn describe_risks(operation: &Operation, risks: &[CallRisk]) -> String {
    let mut statements: Vec<_> = risks
        .iter()
        .map(|known| format!("it {} ({}).", known.statement, known.risk.as_str()))
        .collect();
    if statements.is_empty() {
        let statement = match operation.effect() {
            Effect::Create | Effect::Read => "it adds something that was not there before.",
            Effect::Update | Effect::Delete => "it changes something that may be in use.",
        };
        statements.push(statement.to_owned());
    }
    if operation.hints().open_world {
        statements.push("it makes the service reach out to another system.".to_owned());
    }
    statements.join(" Also, ")
}

/// Collects the paths of blanked values.
fn collect_blanked(map: &JsonMap, at: &str, found: &mut Vec<String>) {
    for (name, value) in map {
        let path = match at {
            // The path is truncated when displayed anyway, and each field below would copy it.
            at if at.len() > MAX_TEXT_CHARS => at.to_owned(),
            at => field_path(at, &truncate(name)),
        };
        collect_blanked_in(value, path, found);
    }
}

fn collect_blanked_in(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text == BLANK || text.contains(MASK) => found.push(path),
        Value::Object(map) => collect_blanked(map, &path, found),
        Value::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                collect_blanked_in(item, format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn truncate(text: &str) -> String {
    truncate_to(text, MAX_VALUE_CHARS)
}

fn truncate_to(text: &str, longest: usize) -> String {
    let shown = escape_untrusted(text);
    match shown.char_indices().nth(longest) {
        Some((end, _)) => {
            let (start, rest) = shown.split_at(end);
            format!("{start}… ({} more characters)", rest.chars().count())
        }
        None => shown,
    }
}
