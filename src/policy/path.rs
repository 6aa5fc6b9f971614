//! Paths into arguments and answers, such as `usage_limits.credit_limit` or `data[].email`.

use serde_json::Value;

use portkey_mcp_operation::JsonMap;

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
            steps.extend(std::iter::repeat_n(Step::Each, (part.len() - name.len()) / 2));
        }
        Some(Self(steps))
    }

    /// Whether it leads to one place at most.
    pub(super) fn is_single(&self) -> bool {
        !self.0.contains(&Step::Each)
    }

    /// The value of an argument; nothing where it is absent, or a list is on the way.
    pub(super) fn argument<'a>(&self, args: &'a JsonMap) -> Option<&'a Value> {
        let (Step::Name(first), rest) = self.0.split_first()? else { return None };
        rest.iter().try_fold(args.get(first)?, |value, step| match step {
            Step::Name(name) => value.get(name),
            Step::Each => None,
        })
    }

    /// Every value of arguments that it leads to.
    pub(super) fn arguments<'a>(&self, args: &'a JsonMap, visit: &mut impl FnMut(&'a Value)) {
        let Some((Step::Name(first), rest)) = self.0.split_first() else { return };
        if let Some(value) = args.get(first) {
            each(value, rest, visit);
        }
    }

    /// Blanks what it leads to in an answer.
    pub fn redact(&self, answer: &mut Value) {
        blank(answer, &self.0);
    }
}

fn each<'a>(value: &'a Value, steps: &[Step], visit: &mut impl FnMut(&'a Value)) {
    match (steps.split_first(), value) {
        (None, _) => visit(value),
        (Some((Step::Name(name), rest)), Value::Object(map)) => {
            if let Some(inner) = map.get(name) {
                each(inner, rest, visit);
            }
        }
        (Some((Step::Each, rest)), Value::Array(items)) => {
            items.iter().for_each(|item| each(item, rest, visit));
        }
        // Where the API takes one or a list of them, either may stand for the other: nothing may slip by.
        (Some((Step::Each, rest)), one) => each(one, rest, visit),
        (Some((Step::Name(_), _)), Value::Array(items)) => {
            items.iter().for_each(|item| each(item, steps, visit));
        }
        _ => {}
    }
}

/// A list that stands where a path names none is gone through all the same: nothing may slip by.
fn blank(value: &mut Value, steps: &[Step]) {
    match (steps.split_first(), value) {
        (None, value) => *value = Value::from(REDACTED),
        (Some((Step::Name(name), rest)), Value::Object(map)) => {
            if let Some(inner) = map.get_mut(name) {
                blank(inner, rest);
            }
        }
        (Some((Step::Each, rest)), Value::Array(items)) => {
            items.iter_mut().for_each(|item| blank(item, rest));
        }
        (Some((Step::Each, rest)), one @ Value::Object(_)) => blank(one, rest),
        (Some((Step::Name(_), _)), Value::Array(items)) => {
            items.iter_mut().for_each(|item| blank(item, steps));
        }
        _ => {}
    }
}
