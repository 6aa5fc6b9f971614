//! Reports what a change has changed, and what the upstream ignored.

use portkey_api::catalog::CatalogEntry;
use portkey_merge_patch::{Change, Diff, DocumentPath, render_messages};
use portkey_operation::{FieldUpdate, JsonMap, UpdateRules};
use serde_json::{Value, json};

use super::PreparedChange;
use crate::{
    pipeline::{
        ResourceState,
        state_fields::{is_same, resource, to_arguments},
    },
    security::secrets::{BLANK, redact_arguments},
};

/// Maximum number of changes that an answer lists.
const MAX_LISTED_CHANGES: usize = 100;

/// The outcome of a change, by comparison of the states before and after it.
pub(super) struct Report {
    changed: Diff,
    ignored: Vec<Value>,
    unverified: Vec<String>,
    version: Option<Value>,
}

impl Report {
    pub(super) fn new(
        entry: &CatalogEntry,
        rules: &UpdateRules,
        change: &PreparedChange<'_>,
        after: &ResourceState,
    ) -> Self {
        let published = entry.compiled();
        let operation = published.operation();
        let is_field = |name: &str| {
            let properties = published.full_schema().get("properties");
            operation.is_change(name)
                && (properties.is_some_and(|properties| properties.get(name).is_some())
                    || change.computed.changes.contains_key(name))
        };
        let fields = |answer: &Value| {
            let mut fields = to_arguments(rules, answer);
            fields.retain(|name, _| is_field(name));
            Value::Object(fields)
        };
        let before_clear = fields(&change.before.clear);
        let after_clear = fields(&after.clear);
        let changed = Diff::between(
            &fields(&change.before.shown),
            &fields(&after.shown),
            rules.list_rules(),
        );
        let mut args = change.computed.location.clone();
        args.extend(change.computed.wanted.clone());
        let redacted = Value::Object(redact_arguments(published, args));
        let wanted = Value::Object(change.computed.wanted.clone());
        let outcomes = WantedChanges {
            rules,
            before: &before_clear,
            after: &after_clear,
            wanted: &wanted,
            redacted: &redacted,
        };
        let mut report = Self {
            changed,
            ignored: Vec::new(),
            unverified: Vec::new(),
            version: rules
                .version_field()
                .and_then(|field| resource(&after.shown).get(field))
                .filter(|version| !version.is_null())
                .cloned(),
        };
        for change in &change.computed.diff.changes {
            match outcomes.outcome(change) {
                WantedOutcome::Visible => {}
                WantedOutcome::Unverified => report.unverified.push(change.path.to_string()),
                WantedOutcome::Ignored => {
                    let value = outcomes.shown_value(&change.path);
                    report
                        .ignored
                        .push(json!({ "path": change.path.to_string(), "value": value }));
                }
            }
        }
        report
    }

    /// Returns true if a change is not visible.
    pub(super) fn has_ignored(&self) -> bool {
        !self.ignored.is_empty()
    }

    /// Returns the answer for the caller.
    pub(super) fn into_answer(self, answer: Value) -> Value {
        let listed = self.changed.changes.iter().take(MAX_LISTED_CHANGES);
        let changed: Vec<Value> = listed.map(change_to_json).collect();
        let omitted = self.changed.changes.len() - changed.len() + self.changed.omitted;
        let mut fields = JsonMap::new();
        fields.insert("changed".to_owned(), changed.into());
        if omitted > 0 {
            fields.insert("changes_omitted".to_owned(), omitted.into());
        }
        fields.insert("ignored".to_owned(), self.ignored.into());
        if !self.unverified.is_empty() {
            fields.insert("sent_but_not_readable".to_owned(), self.unverified.into());
        }
        if let Some(version) = self.version {
            fields.insert("version".to_owned(), version);
        }
        insert_answer(&mut fields, answer);
        Value::Object(fields)
    }
}

/// Returns the answer for a change that was sent, whose outcome cannot be read.
pub(super) fn without_state(answer: Value, reason: &str) -> Value {
    let note = format!("Sent and accepted, but the outcome could not be read back: {reason}");
    let mut fields = JsonMap::new();
    fields.insert("changed".to_owned(), Value::Null);
    fields.insert("note".to_owned(), note.into());
    insert_answer(&mut fields, answer);
    Value::Object(fields)
}

/// Adds what the upstream answered, if it says anything.
fn insert_answer(fields: &mut JsonMap, answer: Value) {
    let is_empty = match &answer {
        Value::Null => true,
        Value::Object(answer) => answer.iter().all(|(name, _)| name == "success"),
        _ => false,
    };
    if !is_empty {
        fields.insert("answer".to_owned(), answer);
    }
}

/// Serializes a change as `{path, old, new}`, and a long text as its lines that differ.
pub fn change_to_json(change: &Change) -> Value {
    let mut fields = JsonMap::new();
    fields.insert("path".to_owned(), change.path.to_string().into());
    if let Some(lines) = change.line_diff() {
        fields.insert("diff".to_owned(), lines.into());
        return Value::Object(fields);
    }
    for (name, value) in [("old", &change.old), ("new", &change.new)] {
        let rendered = value
            .as_ref()
            .and_then(Value::as_str)
            .and_then(render_messages);
        let shown = rendered.map(Value::from).or_else(|| value.clone());
        fields.insert(name.to_owned(), shown.unwrap_or_default());
    }
    Value::Object(fields)
}

enum WantedOutcome {
    /// The value is there, or another one that the upstream made of it.
    Visible,
    /// The value is as before.
    Ignored,
    /// The value cannot be read back.
    Unverified,
}

struct WantedChanges<'a> {
    rules: &'a UpdateRules,
    before: &'a Value,
    after: &'a Value,
    wanted: &'a Value,
    redacted: &'a Value,
}

impl WantedChanges<'_> {
    fn outcome(&self, change: &Change) -> WantedOutcome {
        let name = change.path.first_field().unwrap_or_default();
        let is_secret = self.is_secret(&change.path);
        if self.rules.field_update(name) == FieldUpdate::WriteOnly || is_secret {
            return WantedOutcome::Unverified;
        }
        let wanted = change.path.find(self.wanted);
        let before = change.path.find(self.before);
        let after = change.path.find(self.after);
        if is_same(wanted, after) {
            return WantedOutcome::Visible;
        }
        // An entry that is listed under another id, or on another page, is not found.
        let is_entry_field = matches!(self.rules.field_update(name), FieldUpdate::MergeEntries(_));
        match (is_same(before, after), is_entry_field && after.is_none()) {
            (true, true) => WantedOutcome::Unverified,
            (true, false) => WantedOutcome::Ignored,
            (false, _) => WantedOutcome::Visible,
        }
    }

    /// Returns true if a path leads to a secret, or below one.
    fn is_secret(&self, path: &DocumentPath) -> bool {
        let mut steps = Vec::new();
        path.steps().iter().any(|step| {
            steps.push(step.clone());
            let path: DocumentPath = steps.iter().cloned().collect();
            path.find(self.redacted)
                .is_some_and(|value| *value == BLANK)
        })
    }

    /// Returns the value that was sent, without secrets.
    fn shown_value(&self, path: &DocumentPath) -> Value {
        path.find(self.redacted).cloned().unwrap_or_default()
    }
}
