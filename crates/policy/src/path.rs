//! Paths into arguments and responses, such as `usage_limits.credit_limit` or `data[].email`.

use portkey_operation::{JsonMap, MAX_VALUES, is_same_name, measure_json};
use serde_json::Value;

/// Replacement for a value that a policy redacts.
pub const REDACTED: &str = "[redacted by policy]";

/// Location of values: field names, and `[]` for every item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Each,
}

impl Path {
    /// Parses a path. Returns `None` if a name in the path is empty or contains a stray bracket.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name = part.trim_end_matches("[]");
            if name.is_empty() || name.contains(['[', ']']) {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            steps.extend(std::iter::repeat_n(
                Step::Each,
                (part.len() - name.len()) / 2,
            ));
        }
        Some(Self(steps))
    }

    /// Returns true if the path has no `[]`.
    pub(super) fn is_single(&self) -> bool {
        !self.0.contains(&Step::Each)
    }

    /// Returns the field names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Each => None,
        })
    }

    /// Visits every value of the arguments that the path leads to. Lists on the way are traversed
    /// with `[]` or without. Names match in any spelling, so that no value escapes the rule.
    ///
    /// A text on the way is parsed if it begins like JSON. If it cannot be parsed, the text itself
    /// is visited and the result is false. Another parser may accept what this one rejects, such as
    /// `1e999`.
    pub(super) fn arguments(&self, args: &JsonMap, visit: &mut dyn FnMut(&Value)) -> bool {
        let Some((Step::Name(first), rest)) = self.0.split_first() else {
            return true;
        };
        fields(args, first).fold(true, |is_read, value| each(value, rest, visit) & is_read)
    }

    /// Replaces the values of a response that the path leads to.
    pub fn redact(&self, answer: &mut Value) {
        _ = blank(answer, &self.0);
    }
}

/// Returns the values of an object whose names match in any spelling.
fn fields<'a>(map: &'a JsonMap, name: &'a str) -> impl Iterator<Item = &'a Value> {
    map.iter()
        .filter(move |(other, _)| is_same_name(other, name))
        .map(|(_, value)| value)
}

fn each(value: &Value, steps: &[Step], visit: &mut dyn FnMut(&Value)) -> bool {
    match (steps.split_first(), value) {
        (None, _) => {
            visit(value);
            true
        }
        (Some((Step::Name(name), rest)), Value::Object(map)) => {
            fields(map, name).fold(true, |is_read, inner| each(inner, rest, visit) & is_read)
        }
        (Some((Step::Each, rest)), Value::Array(items)) => items
            .iter()
            .fold(true, |is_read, item| each(item, rest, visit) & is_read),
        (Some(_), Value::String(text)) if is_structured(text) => match parse(text) {
            Some(inner) => each(&inner, steps, visit),
            None => {
                visit(value);
                false
            }
        },
        // An API that accepts one value or a list may receive either for the other.
        (Some((Step::Each, rest)), one) => each(one, rest, visit),
        (Some((Step::Name(_), _)), Value::Array(items)) => items
            .iter()
            .fold(true, |is_read, item| each(item, steps, visit) & is_read),
        _ => true,
    }
}

/// Returns true if a text begins like a JSON object or list.
fn is_structured(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Parses a text as JSON if it has at most [`MAX_VALUES`] values, the maximum for arguments.
fn parse(text: &str) -> Option<Value> {
    let (values, _) = measure_json(text.as_bytes(), MAX_VALUES);
    if values > MAX_VALUES {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Redacts the values at the path and returns true if there were any. Lists are traversed even if
/// the path names none, and so are JSON documents in texts.
fn blank(value: &mut Value, steps: &[Step]) -> bool {
    // Every value is visited, whatever was redacted before.
    let any = |blanked: bool, inner: &mut Value, rest: &[Step]| blank(inner, rest) | blanked;
    match (steps.split_first(), value) {
        (None, value) => {
            *value = Value::from(REDACTED);
            true
        }
        (Some((Step::Name(name), rest)), Value::Object(map)) => {
            let named = map
                .iter_mut()
                .filter(|(other, _)| is_same_name(other, name));
            named.fold(false, |blanked, (_, inner)| any(blanked, inner, rest))
        }
        (Some((Step::Each, rest)), Value::Array(items)) => items
            .iter_mut()
            .fold(false, |blanked, item| any(blanked, item, rest)),
        (Some(_), Value::String(text)) if is_structured(text) => {
            let Ok(mut inner) = serde_json::from_str::<Value>(text) else {
                return false;
            };
            let blanked = blank(&mut inner, steps);
            if blanked {
                *text = inner.to_string();
            }
            blanked
        }
        (Some((Step::Each, rest)), one @ Value::Object(_)) => blank(one, rest),
        (Some((Step::Name(_), _)), Value::Array(items)) => items
            .iter_mut()
            .fold(false, |blanked, item| any(blanked, item, steps)),
        _ => false,
    }
}
