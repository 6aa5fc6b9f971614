//! Conditions on arguments and counters: `path`, `op` and `value`, compared as PolicyLayer
//! Intercept compares them.

use portkey_operation::JsonMap;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{CallerClaims, path::FieldPath};

/// Maximum size of a compiled regular expression, in bytes.
const MAX_COMPILED_REGEX_BYTES: usize = 1 << 18;
/// Maximum length of a text that a regular expression is matched against, in bytes.
const MAX_MATCHED_BYTES: usize = 1 << 18;
/// Maximum length of the source of a regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1_000;

/// A comparison of an argument or a counter with a constant.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) operand: Operand,
    comparison: Comparison,
    /// Path as written in the file.
    pub(super) path: String,
    /// Condition as written in the file, for explanations.
    pub(super) text: String,
}

/// Left side of a comparison.
#[derive(Debug)]
pub(super) enum Operand {
    Argument(FieldPath),
    /// Index into the policy's table of counters.
    Counter(usize),
    /// Path of a claim of the caller's token.
    Claim(String),
}

#[derive(Debug)]
enum Comparison {
    Eq(Value),
    NotEq(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    LessThan(f64),
    AtMost(f64),
    GreaterThan(f64),
    AtLeast(f64),
    Regex(Regex),
    Contains(Value),
    Exists(bool),
}

impl Condition {
    /// Parses a comparison.
    ///
    /// # Errors
    /// Returns an error if the operator does not exist or does not accept the value.
    pub(super) fn parse(
        operand: Operand,
        path: &str,
        op: &str,
        value: &Value,
    ) -> Result<Self, String> {
        let number = || {
            value
                .as_f64()
                .ok_or_else(|| format!("operator `{op}` takes a number"))
        };
        let list = || {
            let items = value.as_array().cloned();
            items.ok_or_else(|| format!("operator `{op}` takes a list"))
        };
        let comparison = match op {
            "eq" => Comparison::Eq(value.clone()),
            "neq" => Comparison::NotEq(value.clone()),
            "in" => Comparison::In(list()?),
            "not_in" => Comparison::NotIn(list()?),
            "lt" => Comparison::LessThan(number()?),
            "lte" => Comparison::AtMost(number()?),
            "gt" => Comparison::GreaterThan(number()?),
            "gte" => Comparison::AtLeast(number()?),
            "regex" => {
                let pattern = value.as_str().ok_or("operator `regex` takes a text")?;
                Comparison::Regex(compile_regex(pattern)?)
            }
            "contains" => Comparison::Contains(value.clone()),
            "exists" => Comparison::Exists(
                value
                    .as_bool()
                    .ok_or("operator `exists` takes true or false")?,
            ),
            other => {
                return Err(format!(
                    "there is no operator `{other}`; there are eq, neq, in, not_in, lt, lte, gt, gte, \
                     regex, contains and exists"
                ));
            }
        };
        let text = format!("{path} {op} {value}");
        Ok(Self {
            operand,
            comparison,
            path: path.to_owned(),
            text,
        })
    }

    /// Returns the largest integer that passes, if the comparison has an upper bound.
    pub(super) fn upper_bound(&self) -> Option<u64> {
        let clamp = |bound: f64| {
            // The cast saturates. A bound below zero becomes zero.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let bound = bound.max(0.0) as u64;
            bound
        };
        match self.comparison {
            Comparison::LessThan(limit) => Some(clamp((limit - 1.0).ceil())),
            Comparison::AtMost(max) => Some(clamp(max.floor())),
            _ => None,
        }
    }

    /// Evaluates the condition. An absent argument satisfies no comparison but `exists: false`. If
    /// a path leads to several values, as in a list, all of them have to pass, or only one if `any`
    /// is set.
    ///
    /// If `any` is set, an absent claim also satisfies `neq` and `not_in`: a rule that stops calls
    /// has to stop those of callers without the claim.
    ///
    /// # Errors
    /// Returns an error if the condition cannot be evaluated. The message contains no value of an
    /// argument.
    pub(super) fn is_satisfied(
        &self,
        (args, claims): (&JsonMap, &CallerClaims),
        any: bool,
        counted: impl Fn(usize) -> u64,
    ) -> Result<bool, &'static str> {
        let path = match &self.operand {
            Operand::Claim(path) => {
                let found = claims.find(path);
                let found = found.map_err(|_| "the claims of the caller's token are too large")?;
                let found = found.filter(|value| !value.is_null());
                return match (found, &self.comparison) {
                    (found, Comparison::Exists(wanted)) => Ok(found.is_some() == *wanted),
                    (Some(value), comparison) => comparison.matches(value),
                    (None, Comparison::NotEq(_) | Comparison::NotIn(_)) => Ok(any),
                    (None, _) => Ok(false),
                };
            }
            Operand::Counter(counter) => {
                return self.comparison.matches(&Value::from(counted(*counter)));
            }
            Operand::Argument(path) => path,
        };
        let mut passed = false;
        let mut failed = false;
        let mut exists = false;
        let mut broken = None;
        let is_read = path.visit_arguments(args, &mut |value| {
            exists |= !value.is_null();
            match self.comparison.matches(value) {
                Ok(true) => passed = true,
                Ok(false) => failed = true,
                Err(why) => broken = Some(why),
            }
        });
        if !is_read {
            return Err("an argument begins like JSON and cannot be read");
        }
        match (&self.comparison, broken) {
            (Comparison::Exists(wanted), _) => Ok(exists == *wanted),
            (_, Some(why)) => Err(why),
            _ => Ok(passed && (any || !failed)),
        }
    }
}

impl Comparison {
    fn matches(&self, actual: &Value) -> Result<bool, &'static str> {
        let number = |test: fn(&f64, &f64) -> bool, bound: &f64| {
            actual.as_f64().is_some_and(|actual| test(&actual, bound))
        };
        Ok(match self {
            Self::Eq(value) => is_equal(actual, value),
            Self::NotEq(value) => !is_equal(actual, value),
            Self::In(values) => values.iter().any(|value| is_equal(actual, value)),
            Self::NotIn(values) => !values.iter().any(|value| is_equal(actual, value)),
            Self::LessThan(bound) => number(f64::lt, bound),
            Self::AtMost(bound) => number(f64::le, bound),
            Self::GreaterThan(bound) => number(f64::gt, bound),
            Self::AtLeast(bound) => number(f64::ge, bound),
            Self::Regex(regex) => match actual.as_str() {
                Some(text) if text.len() > MAX_MATCHED_BYTES => {
                    return Err("an argument is too long for a regular expression");
                }
                text => text.is_some_and(|text| regex.is_match(text)),
            },
            Self::Contains(part) => match actual {
                Value::String(text) => part.as_str().is_some_and(|part| text.contains(part)),
                Value::Array(items) => items.iter().any(|item| is_equal(item, part)),
                _ => false,
            },
            Self::Exists(wanted) => actual.is_null() != *wanted,
        })
    }
}

/// Compares numbers by value and other scalars by their text: `true` equals `"true"`.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq() || a.eq(&b),
        _ => match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => a == b,
            (Some(text), None) => scalar_text(b).is_some_and(|written| written == text),
            (None, Some(text)) => scalar_text(a).is_some_and(|written| written == text),
            (None, None) => a == b,
        },
    }
}

/// Returns the JSON text of a scalar; `None` for lists and objects.
fn scalar_text(value: &Value) -> Option<String> {
    (!value.is_array() && !value.is_object()).then(|| value.to_string())
}

/// Compiles a regular expression within the limits on memory and nesting.
pub(super) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(format!(
            "the regular expression is longer than {MAX_REGEX_BYTES} bytes"
        ));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_REGEX_BYTES)
        .dfa_size_limit(MAX_COMPILED_REGEX_BYTES)
        .nest_limit(50)
        .build();
    built.map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim();
        format!(
            "the regular expression is invalid: {}",
            last.trim_start_matches("error: ")
        )
    })
}
