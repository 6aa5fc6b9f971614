//! Computes the changes of a request body to the current state, field by field.

use portkey_operation::{Effect, Operation, field_path};
use serde_json::Value;

use super::brief;
use crate::security::secrets::{BLANK, MASK, is_masked, mask_text};

/// Maximum number of reported changes.
const MOST_CHANGES: usize = 100;
/// Maximum length of a text in a change, in characters.
const LONGEST_TEXT: usize = 300;
/// Maximum length of a field name in a path, in bytes. A path longer than this is not extended.
const LONGEST_PATH: usize = 200;
/// Maximum length of a list in a change, in items.
const LONGEST_LIST: usize = 20;

/// One field that the call would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Path of the field, such as `a.b[2]`; empty for the whole resource.
    pub path: String,
    /// Current value; `None` if the field is new or its value is unknown.
    pub from: Option<Value>,
    /// New value; `None` if the field would be removed.
    pub to: Option<Value>,
}

impl Change {
    /// Serializes the change as `{path, from, to}`, without absent values.
    pub fn to_json(&self) -> Value {
        let path = Some(Value::from(self.path.as_str()));
        let fields = [
            ("path", path),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
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
///   most such fields as a whole. A PATCH merges.
/// - A masked value in the current state counts as unchanged, because it cannot be compared.
/// - For a value blanked in `shown`, the path is reported without the values. All other values are
///   reported as in `shown`.
pub fn changes(
    operation: &Operation,
    body: Option<&Value>,
    shown: Option<&Value>,
    current: Option<&Value>,
) -> Vec<Change> {
    let mut diff = Diff {
        merges: operation.method() == http::Method::PATCH,
        found: Vec::new(),
    };
    match (operation.effect(), body) {
        (Effect::Delete, None) => {
            let from = current.map(|current| label(current).map_or(Value::Bool(true), Value::from));
            diff.push(Change {
                path: String::new(),
                from,
                to: None,
            });
        }
        (_, Some(Value::Object(fields))) => {
            let now = current.map(item);
            for (name, value) in fields {
                let shown = shown.and_then(|shown| shown.get(name));
                diff.compare(
                    &step("", name),
                    now.and_then(|now| now.get(name)),
                    value,
                    shown,
                );
            }
        }
        (_, Some(body)) => diff.compare("", current.map(item), body, shown),
        (_, None) => {}
    }
    diff.found
}

/// Returns the resource in a response, which is either the whole body or its `data` field.
fn item(answer: &Value) -> &Value {
    answer
        .get("data")
        .filter(|data| data.is_object())
        .unwrap_or(answer)
}

/// Returns a human-readable name for the resource in a response.
pub(super) fn label(answer: &Value) -> Option<&str> {
    let item = item(answer);
    let mut names = ["name", "slug", "title", "email", "id"].iter();
    names.find_map(|name| item.get(name)?.as_str())
}

fn short(value: &Value) -> Value {
    brief(value, LONGEST_TEXT, LONGEST_LIST)
}

struct Diff {
    merges: bool,
    found: Vec<Change>,
}

impl Diff {
    fn compare(&mut self, path: &str, from: Option<&Value>, to: &Value, shown: Option<&Value>) {
        // Further changes would not be reported.
        if self.found.len() >= MOST_CHANGES {
            return;
        }
        let shown = shown.filter(|shown| *shown != BLANK);
        match (from, to) {
            (Some(from), to) if from == to => {}
            (Some(Value::Object(from)), Value::Object(to)) => {
                for (name, value) in to {
                    let shown = shown.and_then(|shown| shown.get(name));
                    self.compare(&step(path, name), from.get(name), value, shown);
                }
                let left_out = from.iter().filter(|(name, _)| !to.contains_key(*name));
                for (name, gone) in left_out {
                    let is_known = gone
                        .as_str()
                        .is_none_or(|gone| gone == MASK || !is_masked(gone));
                    if is_known && !self.merges && !name.starts_with("masked_") {
                        self.remove(&step(path, name), gone, shown);
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
                    None if is_masked(text) => {}
                    None => self.add(path, from, shown),
                }
            }
            // A masked text cannot be compared.
            (Some(Value::String(from)), _) if is_masked(from) => {}
            (Some(from), _) if Some(from) == shown => {}
            (Some(Value::Array(from)), Value::Array(to)) if from.len() == to.len() => {
                for (i, (from, to)) in from.iter().zip(to).enumerate() {
                    let shown = shown.and_then(|shown| shown.get(i));
                    self.compare(&format!("{path}[{i}]"), Some(from), to, shown);
                }
            }
            (from, _) => self.add(path, from, shown),
        }
    }

    /// Adds a changed value; a secret's values are blanked.
    fn add(&mut self, path: &str, from: Option<&Value>, shown: Option<&Value>) {
        let show = |value: &Value| {
            if shown.is_none() {
                BLANK.into()
            } else {
                short(value)
            }
        };
        let to = Some(shown.map_or_else(|| BLANK.into(), short));
        self.push(Change {
            path: path.to_owned(),
            from: from.map(show),
            to,
        });
    }

    /// Adds a removed value; a secret's value is blanked.
    fn remove(&mut self, path: &str, gone: &Value, shown: Option<&Value>) {
        let from = if shown.is_none() {
            BLANK.into()
        } else {
            short(gone)
        };
        self.push(Change {
            path: path.to_owned(),
            from: Some(from),
            to: None,
        });
    }

    fn push(&mut self, change: Change) {
        if self.found.len() < MOST_CHANGES {
            self.found.push(change);
        }
    }
}

/// Returns the path of a child field. Names come from callers, too, and may contain a key, so they
/// are masked.
fn step(path: &str, name: &str) -> String {
    if path.len() > LONGEST_PATH {
        return path.to_owned();
    }
    let name = mask_text(name);
    let shown = name.floor_char_boundary(LONGEST_PATH);
    let name = match name.get(..shown) {
        Some(beginning) if shown < name.len() => format!("{beginning}…").into(),
        _ => name,
    };
    field_path(path, &name)
}
