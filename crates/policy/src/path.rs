//! Paths into arguments and answers, such as `usage_limits.credit_limit` or `data[].email`.

use portkey_operation::{JsonMap, MAX_VALUES, is_same_name, measure};
use serde_json::Value;

/// What stands in the place of a value that a policy keeps from the caller.
pub const REDACTED: &str = "[redacted by policy]";

/// Where a value stands: names, and `[]` for each item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Each,
}

impl Path {
    /// Reads a path; nothing where a name in it is empty.
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

    /// Whether it has no `[]`.
    pub(super) fn is_single(&self) -> bool {
        !self.0.contains(&Step::Each)
    }

    /// The names in it, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Each => None,
        })
    }

    /// Every value of arguments that it leads to. A list on the way is gone through, with `[]` or without, and
    /// a name in another spelling leads on like the one that is written: nothing may slip by. Where a text
    /// stands on the way that begins like JSON and cannot be read, the text is the value, and the result is false:
    /// another reader may take what this one does not, such as `1e999`.
    pub(super) fn arguments(&self, args: &JsonMap, visit: &mut dyn FnMut(&Value)) -> bool {
        let Some((Step::Name(first), rest)) = self.0.split_first() else {
            return true;
        };
        fields(args, first).fold(true, |is_read, value| each(value, rest, visit) & is_read)
    }

    /// Blanks what it leads to in an answer.
    pub fn redact(&self, answer: &mut Value) {
        _ = blank(answer, &self.0);
    }
}

/// The values of an object that a name means.
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
        // Where the API takes one or a list of them, either may stand for the other.
        (Some((Step::Each, rest)), one) => each(one, rest, visit),
        (Some((Step::Name(_), _)), Value::Array(items)) => items
            .iter()
            .fold(true, |is_read, item| each(item, steps, visit) & is_read),
        _ => true,
    }
}

/// Whether a text begins as JSON does that holds anything.
fn is_structured(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// A text as the JSON that it is, if it holds no more than arguments may.
fn parse(text: &str) -> Option<Value> {
    let (values, _) = measure(text.as_bytes(), MAX_VALUES);
    if values > MAX_VALUES {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Whether anything was blanked. A list that stands where a path names none is gone through all the same, and so
/// is a document that is answered as text.
fn blank(value: &mut Value, steps: &[Step]) -> bool {
    // Each is looked at, whatever was found before.
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
