//! Computes the changes of a request body to the current state, field by field.

use portkey_merge_patch::{Change, ListRules, MatchedEntry, diff_lines, render_messages};
use portkey_operation::{Effect, FieldUpdate, Operation, UpdateRules, field_path};
use serde_json::Value;

use super::truncation::truncate;
use crate::security::{
    sanitize::first_chars,
    secrets::{BLANK, MASK, is_masked, mask_text},
};

/// Maximum number of reported changes.
const MAX_CHANGES: usize = 100;
/// Maximum length of a text in a change, in characters.
const MAX_TEXT_CHARS: usize = 300;
/// Maximum length of a field name in a path, in bytes. A path longer than this is not extended.
const MAX_PATH_BYTES: usize = 200;
/// Maximum length of the lines of a change, in characters.
const MAX_LINES_CHARS: usize = 4_000;
/// Maximum length of a list in a change, in items.
const MAX_LIST_ITEMS: usize = 20;

/// One field that the call would change.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Path of the field, such as `a.b[2]`; empty for the whole resource.
    pub path: String,
    /// Current value; `None` if the field is new or its value is unknown.
    pub from: Option<Value>,
    /// New value; `None` if the field would be removed.
    pub to: Option<Value>,
    /// The lines that differ, if both values are texts of several lines.
    pub lines: Option<String>,
}

impl FieldChange {
    /// Describes a difference of two states. Both are as their reader sees them.
    pub fn between_states(change: &Change) -> Self {
        Self {
            path: mask_text(&change.path.to_string()).into_owned(),
            from: change.old.as_ref().map(shorten),
            to: change.new.as_ref().map(shorten),
            lines: change.line_diff().as_deref().map(shorten_lines),
        }
    }

    /// Serializes the change as `{path, from, to, diff}`, without absent values.
    pub fn to_json(&self) -> Value {
        let path = Some(Value::from(self.path.as_str()));
        let fields = [
            ("path", path),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("diff", self.lines.as_deref().map(Value::from)),
        ];
        let present = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(present.collect())
    }
}

/// Computes the changes of a call. `body` is sent, `shown` is the body with secrets blanked,
/// `current` is the current state.
///
/// - Fields that an update does not name stay unchanged.
/// - Within a field that is named, omitted subfields count as removed, because the API replaces
///   most such fields as a whole. A PATCH merges, and so do fields and entries that the update rules
///   say so of.
/// - A masked value in the current state cannot be compared. It is no change, but the result says that
///   there is one.
/// - For a value blanked in `shown`, the path is reported without the values. All other values are
///   reported as in `shown`.
pub fn compute_changes(
    operation: &Operation,
    body: Option<&Value>,
    shown: Option<&Value>,
    current: Option<&Value>,
) -> Changes {
    let rules = operation.update_rules();
    let mut diff = DiffBuilder {
        lists: rules.map(UpdateRules::list_rules).unwrap_or_default(),
        merges: operation.method() == http::Method::PATCH,
        changes: Changes::default(),
    };
    match (operation.effect(), body) {
        (Effect::Delete, None) => {
            let from =
                current.map(|current| display_name(current).map_or(Value::Bool(true), Value::from));
            diff.push(FieldChange {
                path: String::new(),
                from,
                to: None,
                lines: None,
            });
        }
        (_, Some(Value::Object(fields))) => {
            let now = current.map(unwrap_data);
            for (name, value) in fields {
                let shown = shown.and_then(|shown| shown.get(name));
                let path = FieldPosition {
                    shown: child_path("", name),
                    rule: name.clone(),
                };
                let update = rules.map_or(FieldUpdate::Replace, |rules| rules.field_update(name));
                diff.compare_field(
                    update,
                    &path,
                    now.and_then(|now| now.get(name)),
                    value,
                    shown,
                );
            }
        }
        (_, Some(body)) => {
            let whole = FieldPosition::default();
            diff.compare(&whole, current.map(unwrap_data), body, shown);
        }
        (_, None) => {}
    }
    diff.changes
}

/// Returns the resource in a response, which is either the whole body or its `data` field.
fn unwrap_data(answer: &Value) -> &Value {
    answer
        .get("data")
        .filter(|data| data.is_object())
        .unwrap_or(answer)
}

/// Returns a human-readable name for the resource in a response.
pub fn display_name(answer: &Value) -> Option<&str> {
    let item = unwrap_data(answer);
    let mut names = ["name", "slug", "title", "email", "id"].iter();
    names.find_map(|name| item.get(name)?.as_str())
}

fn shorten(value: &Value) -> Value {
    let rendered = value.as_str().and_then(render_messages).map(Value::from);
    truncate(
        rendered.as_ref().unwrap_or(value),
        MAX_TEXT_CHARS,
        MAX_LIST_ITEMS,
    )
}

fn shorten_lines(lines: &str) -> String {
    let start = first_chars(lines, MAX_LINES_CHARS);
    match lines.len() - start.len() {
        0 => lines.to_owned(),
        more => format!("{start}… ({more} more bytes)"),
    }
}

/// The changes of a call.
#[derive(Debug, Default)]
pub struct Changes {
    /// Fields that would change.
    pub fields: Vec<FieldChange>,
    /// True if the call gives a value for one that is masked in the current state.
    pub has_hidden: bool,
}

struct DiffBuilder {
    /// Lists whose entries are compared by their key.
    lists: ListRules,
    merges: bool,
    changes: Changes,
}

impl DiffBuilder {
    /// Compares a field of the body by what the update does with it: parts that stay are no removals.
    fn compare_field(
        &mut self,
        update: FieldUpdate,
        path: &FieldPosition,
        from: Option<&Value>,
        to: &Value,
        shown: Option<&Value>,
    ) {
        match (update, from, to) {
            (FieldUpdate::Merge, Some(Value::Object(from)), Value::Object(to)) => {
                for (name, value) in to {
                    let shown = shown.and_then(|shown| shown.get(name));
                    self.compare(&path.field(name), from.get(name), value, shown);
                }
            }
            (FieldUpdate::MergeEntries(_), Some(Value::Array(old)), Value::Array(new)) => {
                match self.lists.match_by_key(&path.rule, old, new) {
                    Some(mut entries) => {
                        entries.retain(|entry| entry.new.is_some());
                        self.compare_entries(path, &entries, (old, new), shown);
                    }
                    None => self.compare(path, from, to, shown),
                }
            }
            _ => self.compare(path, from, to, shown),
        }
    }

    fn compare(
        &mut self,
        path: &FieldPosition,
        from: Option<&Value>,
        to: &Value,
        shown: Option<&Value>,
    ) {
        // Further changes would not be reported.
        if self.changes.fields.len() >= MAX_CHANGES {
            return;
        }
        let shown = shown.filter(|shown| *shown != BLANK);
        match (from, to) {
            (Some(from), to) if from == to => {}
            (Some(Value::Object(from)), Value::Object(to)) => {
                for (name, value) in to {
                    let shown = shown.and_then(|shown| shown.get(name));
                    self.compare(&path.field(name), from.get(name), value, shown);
                }
                let left_out = from
                    .iter()
                    .filter(|(name, gone)| !to.contains_key(*name) && !gone.is_null());
                for (name, gone) in left_out {
                    let is_known = gone
                        .as_str()
                        .is_none_or(|gone| gone == MASK || !is_masked(gone));
                    if is_known && !self.merges && !name.starts_with("masked_") {
                        self.push_removal(&path.field(name).shown, gone, shown);
                    }
                }
            }
            // A config's document is written as an object and returned as text.
            (Some(Value::String(text)), Value::Object(_)) => {
                match serde_json::from_str::<Value>(text)
                    .ok()
                    .filter(Value::is_object)
                {
                    Some(from) => self.compare(path, Some(&from), to, shown),
                    None if is_masked(text) => self.changes.has_hidden = true,
                    None => self.push_value(&path.shown, from, shown),
                }
            }
            // A masked text cannot be compared.
            (Some(Value::String(from)), _) if is_masked(from) => self.changes.has_hidden = true,
            (Some(from), _) if Some(from) == shown => {}
            (Some(whole @ Value::Array(from)), Value::Array(to)) => {
                match self.lists.match_entries(&path.rule, from, to) {
                    Some(entries) => self.compare_entries(path, &entries, (from, to), shown),
                    None if from.len() == to.len() => {
                        for (i, (from, to)) in from.iter().zip(to).enumerate() {
                            let shown = shown.and_then(|shown| shown.get(i));
                            self.compare(&path.item(&i.to_string()), Some(from), to, shown);
                        }
                    }
                    None => self.push_value(&path.shown, Some(whole), shown),
                }
            }
            (from, _) => self.push_value(&path.shown, from, shown),
        }
    }

    /// Compares the entries of a list that are told apart by a key.
    fn compare_entries(
        &mut self,
        path: &FieldPosition,
        entries: &[MatchedEntry],
        (from, to): (&[Value], &[Value]),
        shown: Option<&Value>,
    ) {
        for entry in entries {
            let path = path.item(&mask_text(&entry.key));
            let old = entry.old.and_then(|index| from.get(index));
            let new = entry.new.and_then(|index| to.get(index));
            let shown_entry = entry.new.and_then(|index| shown?.get(index));
            match (old, new) {
                (old, Some(new)) => self.compare(&path, old, new, shown_entry),
                (Some(gone), None) => self.push_removal(&path.shown, gone, shown),
                (None, None) => {}
            }
        }
    }

    /// Adds a changed value; a secret's values are blanked.
    fn push_value(&mut self, path: &str, from: Option<&Value>, shown: Option<&Value>) {
        let show = |value: &Value| {
            if shown.is_none() {
                BLANK.into()
            } else {
                shorten(value)
            }
        };
        let to = Some(shown.map_or_else(|| BLANK.into(), shorten));
        let lines = match (from, shown) {
            (Some(Value::String(from)), Some(Value::String(to))) => diff_lines(from, to),
            _ => None,
        };
        self.push(FieldChange {
            path: path.to_owned(),
            from: from.map(show),
            to,
            lines: lines.map(|lines| shorten_lines(&lines)),
        });
    }

    /// Adds a removed value; a secret's value is blanked.
    fn push_removal(&mut self, path: &str, gone: &Value, shown: Option<&Value>) {
        let from = if shown.is_none() {
            BLANK.into()
        } else {
            shorten(gone)
        };
        self.push(FieldChange {
            path: path.to_owned(),
            from: Some(from),
            to: None,
            lines: None,
        });
    }

    fn push(&mut self, change: FieldChange) {
        if self.changes.fields.len() < MAX_CHANGES {
            self.changes.fields.push(change);
        }
    }
}

/// The position of a value: as it is shown, and as list rules name it.
#[derive(Default)]
struct FieldPosition {
    shown: String,
    rule: String,
}

impl FieldPosition {
    fn field(&self, name: &str) -> Self {
        Self {
            shown: child_path(&self.shown, name),
            rule: match self.rule.len() {
                0 => name.to_owned(),
                // No rule is longer.
                MAX_PATH_BYTES.. => self.rule.clone(),
                _ => format!("{}.{name}", self.rule),
            },
        }
    }

    fn item(&self, key: &str) -> Self {
        let shown = match self.shown.len() {
            MAX_PATH_BYTES.. => self.shown.clone(),
            _ => format!("{}[{}]", self.shown, first_chars(key, MAX_PATH_BYTES)),
        };
        Self {
            shown,
            rule: format!("{}[]", self.rule),
        }
    }
}

/// Returns the path of a child field. Names come from callers, too, and may contain a key, so they
/// are masked.
fn child_path(path: &str, name: &str) -> String {
    if path.len() > MAX_PATH_BYTES {
        return path.to_owned();
    }
    let name = mask_text(name);
    let shown = name.floor_char_boundary(MAX_PATH_BYTES);
    let name = match name.get(..shown) {
        Some(beginning) if shown < name.len() => format!("{beginning}…").into(),
        _ => name,
    };
    field_path(path, &name)
}
