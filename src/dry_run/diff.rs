//! What a body would change of what is there, field by field.

use serde_json::Value;

use super::brief;
use crate::operation::{Effect, Operation};

/// How many changes are told.
const MOST_CHANGES: usize = 100;
/// Bound on a text in a change, in characters.
const LONGEST_TEXT: usize = 300;
/// Bound on a list in a change, in items.
const LONGEST_LIST: usize = 20;
/// How secrets of arguments are blanked.
const BLANK: &str = "***";
/// What a masked text has in it.
const MASK: &str = "***";

/// One field that would be different.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where, as `a.b[2]`; empty for the whole.
    pub path: String,
    /// What is there; none if the field is new, or what is there is not known.
    pub from: Option<Value>,
    /// What would be there; none if the field would go.
    pub to: Option<Value>,
}

impl Change {
    /// As `{path, from, to}`, without what is not there.
    pub fn to_json(&self) -> Value {
        let path = Some(Value::from(self.path.as_str()));
        let fields = [("path", path), ("from", self.from.clone()), ("to", self.to.clone())];
        let present =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(present.collect())
    }
}

/// What the call would change. `body` is what is sent, `shown` the same with its secrets blanked, `current`
/// what is there. An update leaves alone what the body does not name. Inside of a field that it does name,
/// what is left out counts as removed, because most such fields are replaced whole (quirks.md §6); a PATCH
/// merges. What is masked in the current state counts as unchanged: nobody can tell. Of secrets it is told
/// where they change, not from what to what.
pub fn changes(
    operation: &Operation,
    body: Option<&Value>,
    shown: Option<&Value>,
    current: Option<&Value>,
) -> Vec<Change> {
    let mut diff = Diff { merges: operation.method() == http::Method::PATCH, found: Vec::new() };
    match (operation.effects(), body) {
        (Effect::Delete, None) => {
            let from = current.map(|current| label(current).map_or(Value::Bool(true), Value::from));
            diff.add("", from.as_ref(), None, false);
        }
        (_, Some(Value::Object(fields))) => {
            let now = current.map(item);
            for (name, value) in fields {
                let shown = shown.and_then(|shown| shown.get(name));
                diff.compare(name, now.and_then(|now| now.get(name)), value, shown);
            }
        }
        (_, Some(body)) => diff.compare("", current.map(item), body, shown),
        (_, None) => {}
    }
    diff.found
}

/// Answers hold what they are about as it is, or under `data` (quirks.md §4).
fn item(answer: &Value) -> &Value {
    answer.get("data").filter(|data| data.is_object()).unwrap_or(answer)
}

/// What people call what an answer is about.
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
        let shown = shown.filter(|shown| *shown != BLANK);
        match (from, to) {
            (Some(from), to) if from == to => {}
            (Some(Value::Object(from)), Value::Object(to)) => {
                for (name, value) in to {
                    let shown = shown.and_then(|shown| shown.get(name));
                    self.compare(&format!("{path}.{name}"), from.get(name), value, shown);
                }
                let left_out = from.iter().filter(|(name, _)| !to.contains_key(*name));
                for (name, gone) in left_out {
                    if !(self.merges || name.starts_with("masked_") || is_masked(gone)) {
                        self.add(&format!("{path}.{name}"), Some(gone), None, shown.is_none());
                    }
                }
            }
            // A config's document is written as an object and read as text.
            (Some(Value::String(text)), Value::Object(_)) => {
                match serde_json::from_str::<Value>(text).ok().filter(Value::is_object) {
                    Some(from) => self.compare(path, Some(&from), to, shown),
                    None if text.contains(MASK) => {}
                    None => self.add(path, from, Some(to), shown.is_none()),
                }
            }
            (Some(from), _) if is_masked(from) => {}
            (Some(Value::Array(from)), Value::Array(to)) if from.len() == to.len() => {
                for (i, (from, to)) in from.iter().zip(to).enumerate() {
                    let shown = shown.and_then(|shown| shown.get(i));
                    self.compare(&format!("{path}[{i}]"), Some(from), to, shown);
                }
            }
            (from, to) => self.add(path, from, Some(to), shown.is_none()),
        }
    }

    fn add(&mut self, path: &str, from: Option<&Value>, to: Option<&Value>, secret: bool) {
        if self.found.len() < MOST_CHANGES {
            let show = |value: &Value| if secret { BLANK.into() } else { short(value) };
            let (from, to) = (from.map(show), to.map(show));
            self.found.push(Change { path: path.to_owned(), from, to });
        }
    }
}

/// Portkey shows a secret as asterisks, with some of its characters, or as `masked_…` (secrets.md §2).
fn is_masked(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(MASK))
}
