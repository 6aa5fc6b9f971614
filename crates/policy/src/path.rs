//! Paths into arguments and responses, such as `usage_limits.credit_limit` or `data[].email`.

use portkey_operation::{JsonMap, MAX_VALUES, is_same_name, measure_json};
use serde_json::Value;

/// Replacement for a value that a policy redacts.
pub const REDACTED: &str = "[redacted by policy]";

/// Names of what an answer has its items in. What hides it hides the items.
const CONTAINERS: &[&str] = &["data", "rows", "records", "logs", "items"];

/// Location of values: field names, and `[]` for every item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<PathSegment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathSegment {
    Name(String),
    EachItem,
}

impl FieldPath {
    /// Parses a path. Returns `None` if a name in the path is empty or contains a stray bracket.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name = part.trim_end_matches("[]");
            if name.is_empty() || name.contains(['[', ']']) {
                return None;
            }
            steps.push(PathSegment::Name(name.to_owned()));
            steps.extend(std::iter::repeat_n(
                PathSegment::EachItem,
                (part.len() - name.len()) / 2,
            ));
        }
        Some(Self(steps))
    }

    /// Returns true if the path has no `[]`.
    pub(super) fn has_no_lists(&self) -> bool {
        !self.0.contains(&PathSegment::EachItem)
    }

    /// Returns the field names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            PathSegment::Name(name) => Some(name.as_str()),
            PathSegment::EachItem => None,
        })
    }

    /// Visits every value of the arguments that the path leads to. Lists on the way are traversed
    /// with `[]` or without. Names match in any spelling, so that no value escapes the rule.
    ///
    /// A text on the way is parsed if it begins like JSON. If it cannot be parsed, the text itself
    /// is visited and the result is false. Another parser may accept what this one rejects, such as
    /// `1e999`.
    pub(super) fn visit_arguments(&self, args: &JsonMap, visit: &mut dyn FnMut(&Value)) -> bool {
        let Some((PathSegment::Name(first), rest)) = self.0.split_first() else {
            return true;
        };
        matching_fields(args, first).fold(true, |is_read, value| {
            visit_values(value, rest, visit) & is_read
        })
    }

    /// Returns true if values of a field of this name are hidden by a redaction of the path: it has the name
    /// on the way or at its end, or ends before the items.
    pub fn hides_field(&self, field: &str) -> bool {
        let is_container = |name: &str| CONTAINERS.contains(&name);
        self.names().any(|name| is_same_name(name, field))
            || self.names().last().is_some_and(is_container)
    }

    /// Replaces the values of a response that the path leads to. Returns true if there were any.
    pub fn redact(&self, answer: &mut Value) -> bool {
        redact_value(answer, &self.0)
    }
}

/// Returns the values of an object whose names match in any spelling.
fn matching_fields<'a>(map: &'a JsonMap, name: &'a str) -> impl Iterator<Item = &'a Value> {
    map.iter()
        .filter(move |(other, _)| is_same_name(other, name))
        .map(|(_, value)| value)
}

fn visit_values(value: &Value, steps: &[PathSegment], visit: &mut dyn FnMut(&Value)) -> bool {
    match (steps.split_first(), value) {
        (None, _) => {
            visit(value);
            true
        }
        (Some((PathSegment::Name(name), rest)), Value::Object(map)) => matching_fields(map, name)
            .fold(true, |is_read, inner| {
                visit_values(inner, rest, visit) & is_read
            }),
        (Some((PathSegment::EachItem, rest)), Value::Array(items)) => {
            items.iter().fold(true, |is_read, item| {
                visit_values(item, rest, visit) & is_read
            })
        }
        (Some(_), Value::String(text)) if looks_like_json(text) => match parse_bounded_json(text) {
            Some(inner) => visit_values(&inner, steps, visit),
            None => {
                visit(value);
                false
            }
        },
        // An API that accepts one value or a list may receive either for the other.
        (Some((PathSegment::EachItem, rest)), one) => visit_values(one, rest, visit),
        (Some((PathSegment::Name(_), _)), Value::Array(items)) => {
            items.iter().fold(true, |is_read, item| {
                visit_values(item, steps, visit) & is_read
            })
        }
        _ => true,
    }
}

/// Returns true if a text begins like a JSON object or list.
fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Parses a text as JSON if it has at most [`MAX_VALUES`] values, the maximum for arguments.
fn parse_bounded_json(text: &str) -> Option<Value> {
    let (values, _) = measure_json(text.as_bytes(), MAX_VALUES);
    if values > MAX_VALUES {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Redacts the values at the path and returns true if there were any. Lists are traversed even if
/// the path names none, and so are JSON documents in texts.
fn redact_value(value: &mut Value, steps: &[PathSegment]) -> bool {
    // Every value is visited, whatever was redacted before.
    let redact_next = |blanked: bool, inner: &mut Value, rest: &[PathSegment]| {
        redact_value(inner, rest) | blanked
    };
    match (steps.split_first(), value) {
        (None, value) => {
            *value = Value::from(REDACTED);
            true
        }
        (Some((PathSegment::Name(name), rest)), Value::Object(map)) => {
            let named = map
                .iter_mut()
                .filter(|(other, _)| is_same_name(other, name));
            named.fold(false, |blanked, (_, inner)| {
                redact_next(blanked, inner, rest)
            })
        }
        (Some((PathSegment::EachItem, rest)), Value::Array(items)) => items
            .iter_mut()
            .fold(false, |blanked, item| redact_next(blanked, item, rest)),
        (Some(_), Value::String(text)) if looks_like_json(text) => {
            let Ok(mut inner) = serde_json::from_str::<Value>(text) else {
                return false;
            };
            let blanked = redact_value(&mut inner, steps);
            if blanked {
                *text = inner.to_string();
            }
            blanked
        }
        (Some((PathSegment::EachItem, rest)), one @ Value::Object(_)) => redact_value(one, rest),
        (Some((PathSegment::Name(_), _)), Value::Array(items)) => items
            .iter_mut()
            .fold(false, |blanked, item| redact_next(blanked, item, steps)),
        _ => false,
    }
}
