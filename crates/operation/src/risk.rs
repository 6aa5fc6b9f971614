//! Risks of a call that a human should know before approving it, declared on the row of the operation.
//!
//! Some follow from the declaration as a whole: a destructive operation deletes, and one that returns
//! a one-time secret reveals it. The others depend on the arguments, and a raised budget also on the
//! current state.

use serde_json::Value;

use super::{Effect, JsonMap, Operation};

/// A kind of harm that a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Removes or overwrites something that cannot be restored.
    Deletion,
    /// Changes who may do or reach something: roles, admin keys, scopes, access.
    Privilege,
    /// Creates or reveals a key.
    Secret,
    /// Raises or lifts a limit on spending or traffic.
    Budget,
    /// Changes what production requests get: labels and default versions.
    Production,
}

impl Risk {
    /// All risks.
    pub const ALL: [Self; 5] = [
        Self::Deletion,
        Self::Privilege,
        Self::Secret,
        Self::Budget,
        Self::Production,
    ];

    /// Returns the name of the risk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deletion => "deletion",
            Self::Privilege => "privilege",
            Self::Secret => "secret",
            Self::Budget => "budget",
            Self::Production => "production",
        }
    }
}

/// The condition under which a call has a declared risk.
#[derive(Clone, Copy, Debug)]
enum RiskCondition {
    Always,
    /// The argument at this path is given.
    Given(&'static str),
    /// The argument at this path has one of these values.
    Value(&'static str, &'static [&'static str]),
    /// The limits at this path are higher than the stored ones, or removed.
    Raised(&'static str),
}

/// A risk that calls of an operation have, under a condition.
#[derive(Clone, Copy, Debug)]
pub struct RiskRule {
    risk: Risk,
    statement: &'static str,
    condition: RiskCondition,
}

/// A risk of one call, with its statement for the human.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRisk {
    /// The kind of harm.
    pub risk: Risk,
    /// The consequence in words that complete "This call …", such as "gives full administration".
    pub statement: &'static str,
}

/// Declares a risk of every call. The statement completes "This call …".
pub const fn risk(risk: Risk, statement: &'static str) -> RiskRule {
    RiskRule {
        risk,
        statement,
        condition: RiskCondition::Always,
    }
}

impl RiskRule {
    /// Restricts the risk to calls that give the argument at a path such as `users[].role`.
    #[must_use]
    pub const fn if_given(mut self, path: &'static str) -> Self {
        self.condition = RiskCondition::Given(path);
        self
    }

    /// Restricts the risk to calls in which the argument at a path has one of these values.
    #[must_use]
    pub const fn if_value(mut self, path: &'static str, values: &'static [&'static str]) -> Self {
        self.condition = RiskCondition::Value(path, values);
        self
    }

    /// Restricts the risk to calls that raise the limits at a path, or remove them.
    ///
    /// The limits are a number, an object with `credit_limit` or `value`, or a list of such objects.
    #[must_use]
    pub const fn if_raised(mut self, path: &'static str) -> Self {
        self.condition = RiskCondition::Raised(path);
        self
    }

    /// Returns the kind of harm.
    pub const fn risk(&self) -> Risk {
        self.risk
    }

    /// Returns the path of the argument that the condition looks at, if there is one.
    pub const fn path(&self) -> Option<&'static str> {
        match self.condition {
            RiskCondition::Always => None,
            RiskCondition::Given(path)
            | RiskCondition::Value(path, _)
            | RiskCondition::Raised(path) => Some(path),
        }
    }

    fn applies(&self, args: &JsonMap, state: Option<&Value>) -> bool {
        let values = |path: &str| collect_values(args, path);
        match self.condition {
            RiskCondition::Always => true,
            RiskCondition::Given(path) => !values(path).is_empty(),
            RiskCondition::Value(path, wanted) => values(path)
                .into_iter()
                .any(|value| wanted.iter().any(|wanted| *wanted == scalar_text(value))),
            RiskCondition::Raised(path) => {
                let is_given = !values(path).is_empty();
                is_given && state.is_none_or(|state| is_raised_at(path, args, state))
            }
        }
    }
}

impl Operation {
    /// Returns the risks of a call with these arguments, at most one of each kind.
    ///
    /// `state` is the current state of the resource as its read returns it. Without one, a limit that
    /// is given counts as raised.
    pub fn risks(&self, args: &JsonMap, state: Option<&Value>) -> Vec<CallRisk> {
        let mut found: Vec<CallRisk> = Vec::new();
        let mut add = |risk, statement| {
            if !found.iter().any(|known| known.risk == risk) {
                found.push(CallRisk { risk, statement });
            }
        };
        for rule in self
            .risk_rules()
            .iter()
            .filter(|rule| rule.applies(args, state))
        {
            add(rule.risk, rule.statement);
        }
        if self.effect() == Effect::Delete {
            add(
                Risk::Deletion,
                "removes something for good, and what depends on it may stop working",
            );
        } else if self.hints().destructive {
            add(
                Risk::Deletion,
                "may overwrite or cut off something that cannot be restored",
            );
        }
        if self.returns_secrets_for(args) {
            add(Risk::Secret, "shows its caller a new secret");
        }
        if self
            .find_new_address(args, state.and_then(resource))
            .is_some()
        {
            add(
                Risk::Secret,
                "changes an address that stored keys and headers are sent to",
            );
        }
        found.sort_by_key(|known| known.risk);
        found
    }

    /// Returns the risks that its calls may have, each with the argument that it depends on.
    pub fn possible_risks(&self) -> Vec<(Risk, Option<&'static str>)> {
        let declared = self
            .risk_rules()
            .iter()
            .map(|rule| (rule.risk, rule.path()));
        let deletes = self.effect() == Effect::Delete || self.hints().destructive;
        let reveals = !self.one_time_secrets().is_empty() && self.effect() != Effect::Read;
        let derived = [
            (deletes, Risk::Deletion, None),
            (reveals, Risk::Secret, self.one_time_secrets_if),
        ];
        let derived = derived.into_iter().filter(|(holds, ..)| *holds);
        let addresses = self
            .update_rules()
            .into_iter()
            .flat_map(|rules| rules.addresses());
        let mut risks: Vec<_> = declared
            .chain(derived.map(|(_, risk, argument)| (risk, argument)))
            .chain(addresses.map(|argument| (Risk::Secret, Some(*argument))))
            .collect();
        risks.sort_unstable();
        risks.dedup();
        // A risk of every call says more than one of some calls.
        let always: Vec<Risk> = risks
            .iter()
            .filter(|(_, argument)| argument.is_none())
            .map(|(risk, _)| *risk)
            .collect();
        risks.retain(|(risk, argument)| argument.is_none() || !always.contains(risk));
        risks
    }

    /// Returns true if the risks of a call with these arguments depend on the current state.
    pub fn risks_depend_on_state(&self, args: &JsonMap) -> bool {
        let depends = self.risk_rules().iter().any(|rule| match rule.condition {
            RiskCondition::Raised(path) => !collect_values(args, path).is_empty(),
            _ => false,
        });
        depends || self.find_new_address(args, None).is_some()
    }
}

/// Returns the fields of the resource in an answer, which is the whole answer or its `data`.
fn resource(answer: &Value) -> Option<&JsonMap> {
    let data = answer.get("data").filter(|data| data.is_object());
    data.unwrap_or(answer).as_object()
}

/// Returns the text of a scalar, so that `1` and `"1"` are the same.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    }
}

/// A declared path: names, and whether each leads to the items of a list. Names of fields in
/// arguments are compared as a whole, and never split.
fn path_steps(path: &str) -> impl Iterator<Item = (&str, bool)> {
    path.split('.').map(|step| match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    })
}

/// Returns the values at a declared path.
fn collect_values<'a>(args: &'a JsonMap, path: &str) -> Vec<&'a Value> {
    let mut steps = path_steps(path);
    let Some((name, is_list)) = steps.next() else {
        return Vec::new();
    };
    let mut values: Vec<&Value> = args.get(name).into_iter().collect();
    if is_list {
        values = values.into_iter().flat_map(items).collect();
    }
    for (name, is_list) in steps {
        values = values
            .into_iter()
            .filter_map(|value| value.get(name))
            .collect();
        if is_list {
            values = values.into_iter().flat_map(items).collect();
        }
    }
    values
}

/// Returns the items of a list. A single value stands for a list of one.
fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// Names of the fields that tell the items of a list apart.
const IDENTITY_FIELDS: &[&str] = &["id", "slug", "type", "unit"];
/// Names of the fields of a limit that hold its height.
const HEIGHT_FIELDS: &[&str] = &["credit_limit", "value"];
/// Names of the fields that say what a limit counts, and over which time.
const MEASURE_FIELDS: &[&str] = &["type", "unit", "periodic_reset", "periodic_reset_days"];

/// Name of the field of a limit that says when it starts anew.
const RESET_FIELD: &str = "next_usage_reset_at";

/// Returns true if the limits at a path of the arguments are higher than those of the state.
fn is_raised_at(path: &str, args: &JsonMap, state: &Value) -> bool {
    let state = state
        .get("data")
        .filter(|data| data.is_object())
        .unwrap_or(state);
    split_step(path).is_some_and(|((name, is_list), rest)| {
        let new = args.get(name);
        new.is_some_and(|new| is_raised_below(is_list, rest, new, state.get(name)))
    })
}

/// Splits the first step off a declared path; `None` at its end.
fn split_step(path: &str) -> Option<((&str, bool), &str)> {
    let step = path_steps(path).next().filter(|_| !path.is_empty())?;
    Some((step, path.split_once('.').map_or("", |(_, rest)| rest)))
}

/// Compares what a step of a path leads to.
fn is_raised_below(is_list: bool, rest: &str, new: &Value, old: Option<&Value>) -> bool {
    if is_list {
        let old = old.map(items).unwrap_or_default();
        return items(new).iter().any(|new| {
            let old = old.iter().find(|old| is_same_item(old, new));
            is_raised_below(false, rest, new, old)
        });
    }
    match split_step(rest) {
        None => is_raised(new, old),
        Some(((name, is_list), rest)) => new.get(name).is_some_and(|new| {
            let old = old.and_then(|old| old.get(name));
            is_raised_below(is_list, rest, new, old)
        }),
    }
}

/// Returns true if two items of a list are about the same thing. A field that one of them lacks does
/// not count, but one has to be equal.
fn is_same_item(old: &Value, new: &Value) -> bool {
    let mut same = IDENTITY_FIELDS
        .iter()
        .filter_map(|name| Some(scalar_text(old.get(name)?) == scalar_text(new.get(name)?)))
        .peekable();
    same.peek().is_some() && same.all(|is_same| is_same)
}

/// Returns true if `new` allows more than `old`. Whatever cannot be compared counts as more.
fn is_raised(new: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old.filter(|old| !is_no_limit(old)) else {
        return false;
    };
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let is_other = |name: &&str| {
                old.get(*name).is_some_and(|old| {
                    !old.is_null() && new.get(*name).is_some_and(|new| new != old)
                })
            };
            let is_higher = |name: &&str| {
                old.get(*name)
                    .is_some_and(|old| is_raised(new.get(*name).unwrap_or(&Value::Null), Some(old)))
            };
            let is_reset = new
                .get(RESET_FIELD)
                .is_some_and(|new| !new.is_null() && old.get(RESET_FIELD) != Some(new));
            is_reset
                || is_renewed_more_often(old, new)
                || MEASURE_FIELDS.iter().any(is_other)
                || HEIGHT_FIELDS.iter().any(is_higher)
        }
        (Value::Array(old), new) => old.iter().filter(|old| !is_no_limit(old)).any(|old| {
            let new = items(new).iter().find(|new| is_same_item(old, new));
            new.is_none_or(|new| is_raised(new, Some(old)))
        }),
        (old, Value::Array(new)) => !matches!(&new[..], [new] if !is_raised(new, Some(old))),
        (old, new) => match (number(old), number(new)) {
            (Some(old), Some(new)) => new > old,
            _ => true,
        },
    }
}

/// Returns true if a limit starts anew after a shorter time than before, or did not before. A time that is not known
/// counts as shorter.
fn is_renewed_more_often(old: &JsonMap, new: &JsonMap) -> bool {
    let days = |limit: &JsonMap| {
        let period = limit
            .get("periodic_reset")
            .filter(|period| !period.is_null());
        let days = limit.get("periodic_reset_days").and_then(number);
        match period.map(scalar_text).as_deref() {
            Some("monthly") => Some(30.0),
            Some("weekly") => Some(7.0),
            Some(_) => Some(0.0),
            None => days,
        }
    };
    match (days(old), days(new)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    }
}

/// Returns true if a stored value limits nothing.
fn is_no_limit(stored: &Value) -> bool {
    match stored {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Case {
        name: &'static str,
        path: &'static str,
        args: Value,
        state: Value,
        is_raised: bool,
    }

    #[test]
    fn limits_are_compared_with_the_stored_ones() {
        let case = |name, path, args, state, is_raised| Case {
            name,
            path,
            args,
            state,
            is_raised,
        };
        let limits =
            |credit: u32| json!({"usage_limits": {"type": "cost", "credit_limit": credit}});
        let rates = |value: u32, unit: &str| json!({"rate_limits": [{"type": "requests", "unit": unit, "value": value}]});
        let grants = |id: &str, credit: u32| json!({"workspaces": [{"id": id, "usage_limits": [{"type": "cost", "credit_limit": credit}]}]});
        let usage = "usage_limits";
        let rate = "rate_limits";
        let grant = "workspaces[].usage_limits";
        let cases = [
            case("a higher number", usage, limits(9), limits(5), true),
            case("a lower number", usage, limits(4), limits(5), false),
            case(
                "a first reset",
                usage,
                json!({"usage_limits": {"credit_limit": 5, "periodic_reset": "monthly"}}),
                limits(5),
                true,
            ),
            case(
                "a shorter period",
                usage,
                json!({"usage_limits": {"credit_limit": 5, "periodic_reset": "weekly"}}),
                json!({"usage_limits": {"credit_limit": 5, "periodic_reset_days": 30}}),
                true,
            ),
            case(
                "a longer period",
                usage,
                json!({"usage_limits": {"credit_limit": 5, "periodic_reset_days": 30}}),
                json!({"usage_limits": {"credit_limit": 5, "periodic_reset": "weekly"}}),
                false,
            ),
            case(
                "no reset any more",
                usage,
                limits(5),
                json!({"usage_limits": {"type": "cost", "credit_limit": 5, "periodic_reset": "weekly"}}),
                false,
            ),
            case("the same", usage, limits(5), limits(5), false),
            case(
                "a first limit",
                usage,
                limits(5),
                json!({"usage_limits": null}),
                false,
            ),
            case("none before", usage, limits(5), json!({}), false),
            case(
                "a removed limit",
                usage,
                json!({"usage_limits": null}),
                limits(5),
                true,
            ),
            case(
                "nothing given",
                usage,
                json!({"name": "x"}),
                limits(5),
                false,
            ),
            case(
                "a list where one was",
                usage,
                json!({"usage_limits": [{"type": "cost", "credit_limit": 9}]}),
                limits(5),
                true,
            ),
            case(
                "inside data",
                usage,
                limits(9),
                json!({"data": limits(5)}),
                true,
            ),
            case(
                "an earlier start of the next period",
                usage,
                json!({"usage_limits": {"credit_limit": 5, "next_usage_reset_at": "2026-01-01T00:00:00Z"}}),
                limits(5),
                true,
            ),
            case(
                "a number as text",
                usage,
                json!({"usage_limits": {"credit_limit": "9"}}),
                limits(5),
                true,
            ),
            case(
                "no number",
                usage,
                json!({"usage_limits": {"credit_limit": true}}),
                limits(5),
                true,
            ),
            case(
                "a higher rate",
                rate,
                rates(9, "rpm"),
                rates(5, "rpm"),
                true,
            ),
            case("another unit", rate, rates(5, "rps"), rates(5, "rpm"), true),
            case(
                "no rates left",
                rate,
                json!({"rate_limits": []}),
                rates(5, "rpm"),
                true,
            ),
            case(
                "a lower rate",
                rate,
                rates(4, "rpm"),
                rates(5, "rpm"),
                false,
            ),
            case(
                "a raised grant",
                grant,
                grants("a", 9),
                grants("a", 5),
                true,
            ),
            case(
                "another grant",
                grant,
                grants("b", 9),
                grants("a", 5),
                false,
            ),
            case(
                "a lower grant",
                grant,
                grants("a", 4),
                grants("a", 5),
                false,
            ),
            case(
                "one flat number",
                "credit_limit",
                json!({"credit_limit": 9}),
                json!({"credit_limit": 5}),
                true,
            ),
        ];
        for case in cases {
            let args = case.args.as_object().unwrap();
            let rule = risk(Risk::Budget, "raises").if_raised(case.path);
            assert_eq!(
                rule.applies(args, Some(&case.state)),
                case.is_raised,
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn an_unknown_state_counts_as_lower() {
        let rule = risk(Risk::Budget, "raises").if_raised("usage_limits");
        let args = json!({"usage_limits": {"credit_limit": 1}});
        assert!(rule.applies(args.as_object().unwrap(), None));
        assert!(!rule.applies(&JsonMap::new(), None));
    }

    #[test]
    fn values_are_found_in_lists_and_by_whole_names() {
        let rule = risk(Risk::Privilege, "gives").if_value("users[].role", &["admin"]);
        let applies = |args: Value| rule.applies(args.as_object().unwrap(), None);
        assert!(applies(
            json!({"users": [{"role": "member"}, {"role": "Admin"}]})
        ));
        assert!(applies(json!({"users": {"role": "admin"}})));
        assert!(!applies(json!({"users": [{"role": "member"}]})));
        assert!(!applies(json!({"users[].role": "admin"})));
    }
}
