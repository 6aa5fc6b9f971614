//! Visits the arguments of a call, coerces values and collects errors.

use serde_json::{Map, Number, Value};

use super::{
    super::{
        Findings, JsonMap,
        size_limits::{MAX_DEPTH, MAX_VALUES, measure_json},
        time::{self, ParsedTime, TimeRole},
        validation::ValidationOptions,
    },
    ArgumentPath, ArgumentSchema,
    names::{self, NormalizedName, did_you_mean},
};

/// The state of one visit to the arguments of a call.
pub(in super::super) struct ArgumentWalk<'a> {
    pub(in super::super) options: &'a ValidationOptions,
    pub(in super::super) null_policy: NullPolicy,
    pub(in super::super) findings: &'a mut Findings,
}

/// The treatment of `null` in a field that it does not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum NullPolicy {
    /// Omits the field. Strict clients write all fields.
    Omit,
    /// Omits the field and warns the caller.
    OmitWithWarning,
    /// Reports an error: the caller wants to clear a field that cannot be cleared.
    Reject,
}

/// The error about text with more JSON than is parsed.
pub(super) const TOO_MUCH_JSON_TEXT: &str =
    "holds too much JSON as text; write it as JSON, and make several calls of it";

impl ArgumentWalk<'_> {
    /// Returns true if a text may be parsed as JSON. Its content counts towards the same limits as
    /// plain JSON.
    pub(super) fn reserve_json_text(&mut self, text: &str) -> bool {
        if !looks_structured(text) {
            return true;
        }
        let (values, depth) = measure_json(text.as_bytes(), MAX_VALUES);
        depth <= MAX_DEPTH && self.findings.reserve_json_values(values)
    }

    /// Returns true if all texts in the value of a secret field may be parsed as JSON. Nested texts
    /// count, too.
    pub(super) fn reserve_nested_json(&mut self, value: &Value) -> bool {
        match value {
            Value::String(text) if looks_structured(text) => {
                let opens = |byte: &u8| matches!(byte, b',' | b'[' | b'{');
                let (_, depth) = measure_json(text.as_bytes(), usize::MAX);
                depth <= MAX_DEPTH
                    && self
                        .findings
                        .reserve_json_values(text.bytes().filter(opens).count())
            }
            Value::Array(items) => items.iter().all(|item| self.reserve_nested_json(item)),
            Value::Object(map) => map.values().all(|value| self.reserve_nested_json(value)),
            _ => true,
        }
    }
}

/// Returns true if a text begins like a JSON object or list.
fn looks_structured(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

impl ArgumentSchema {
    /// Coerces the arguments of a call and collects their errors.
    pub(in super::super) fn coerce_and_validate_arguments(
        &self,
        args: &mut JsonMap,
        walk: &mut ArgumentWalk<'_>,
    ) {
        if let Self::Object(structure) = self {
            structure.coerce_and_validate(args, ArgumentPath::Root, walk);
        }
    }

    pub(super) fn coerce_and_validate(
        &self,
        value: &mut Value,
        at: ArgumentPath<'_>,
        walk: &mut ArgumentWalk<'_>,
    ) {
        if let Value::String(text) = &*value
            && self.accepts_structures()
            && !walk.reserve_json_text(text)
        {
            walk.findings.add_error(at, TOO_MUCH_JSON_TEXT);
            return;
        }
        self.coerce_from_string(value);
        self.coerce_other_form(value);
        match (self, &mut *value) {
            (Self::Any, _) | (Self::Bool, Value::Bool(_)) => {}
            (Self::OneOrMany(one), Value::Array(list)) => {
                for (i, value) in list.iter_mut().enumerate() {
                    one.coerce_and_validate(value, ArgumentPath::Item(&at, i), walk);
                }
            }
            (Self::OneOrMany(one), other) if one.accepts_kind_of(other) => {
                one.coerce_and_validate(other, at, walk)
            }
            (Self::TextOr(_), Value::String(_)) => {}
            (Self::TextOr(other), value) if other.accepts_kind_of(value) => {
                other.coerce_and_validate(value, at, walk)
            }
            (Self::Object(structure), Value::Object(map)) => {
                structure.coerce_and_validate(map, at, walk)
            }
            (
                Self::Map {
                    values,
                    null_clears,
                },
                Value::Object(map),
            ) => {
                for (name, value) in map {
                    if !(value.is_null() && *null_clears) {
                        values.coerce_and_validate(value, ArgumentPath::Field(&at, name), walk);
                    }
                }
            }
            (Self::List { items, min, max }, Value::Array(list)) => {
                let count = list.len();
                if count < *min {
                    walk.findings
                        .add_error(at, format_args!("takes at least {min}, got {count}"));
                } else if count > *max {
                    walk.findings
                        .add_error(at, format_args!("takes at most {max}, got {count}"));
                }
                for (i, value) in list.iter_mut().enumerate() {
                    items.coerce_and_validate(value, ArgumentPath::Item(&at, i), walk);
                }
            }
            (Self::Enum { values, open }, Value::String(text)) => {
                validate_enum(values, *open, text, at, walk);
            }
            (Self::Text { min, max, slug }, Value::String(text)) => {
                let count = text.chars().count();
                if count < *min {
                    walk.findings.add_error(
                        at,
                        format_args!("takes a length of at least {min}, got {count}"),
                    );
                } else if count > *max {
                    walk.findings.add_error(
                        at,
                        format_args!("takes at most {max} characters, got {count}"),
                    );
                }
                if *slug && !is_slug(text) {
                    let shown = truncate_for_message(text);
                    walk.findings.add_error(
                        at,
                        format_args!(
                            "`{shown}` is no identifier; use letters, digits, `-` and `_` only"
                        ),
                    );
                }
            }
            (Self::Time(role), Value::String(text)) => validate_time(*role, text, at, walk),
            (Self::Integer { min, max }, Value::Number(number)) => match as_integer(number) {
                Some(n) if (*min..=*max).contains(&n) => {
                    if number.is_f64() {
                        *number = n.into();
                    }
                }
                Some(n) => walk
                    .findings
                    .add_error(at, describe_bounds(&n.into(), *min, *max)),
                None => walk
                    .findings
                    .add_error(at, format_args!("takes a whole number, got {number}")),
            },
            (Self::Number { min, max }, Value::Number(number)) => {
                if number.as_f64().is_none_or(|n| !(*min..=*max).contains(&n)) {
                    let bounds = match max.is_finite() {
                        true => format!("takes a number from {min} to {max}, got {number}"),
                        false => format!("takes a number of at least {min}, got {number}"),
                    };
                    walk.findings.add_error(at, bounds);
                }
            }
            // A number may count seconds or milliseconds, from any day.
            (Self::Time(role), Value::Number(number)) => walk.findings.add_error(
                at,
                format_args!("`{number}` is no time; it {}", time::expected_forms(*role)),
            ),
            (_, other) => {
                let kind = self.kind_name();
                let got = json_kind(other);
                walk.findings
                    .add_error(at, format_args!("takes {kind}, got {got}"));
            }
        }
    }

    /// Returns true if text may be parsed as a list or an object.
    pub(super) const fn accepts_structures(&self) -> bool {
        matches!(
            self,
            Self::Object(_)
                | Self::Map { .. }
                | Self::List { .. }
                | Self::OneOrMany(_)
                | Self::TextOr(_)
        )
    }

    /// Parses text in the place of another type. Text that does not fit stays for the type check to
    /// report.
    pub(super) fn coerce_from_string(&self, value: &mut Value) {
        let Value::String(text) = &*value else { return };
        let read = match self {
            Self::Object(_) | Self::Map { .. } => serde_json::from_str::<Map<String, Value>>(text)
                .ok()
                .map(Value::Object),
            Self::List { items, .. } => match serde_json::from_str::<Vec<Value>>(text) {
                Ok(list) => Some(Value::Array(list)),
                // Names may stand for a list of names, unless the text looks like JSON.
                Err(_) if matches!(**items, Self::Text { .. } | Self::Enum { .. }) => {
                    let is_name = !text.is_empty() && !looks_structured(text);
                    is_name.then(|| split_names(text))
                }
                Err(_) => None,
            },
            Self::OneOrMany(one) if matches!(**one, Self::Text { .. }) => {
                serde_json::from_str::<Vec<String>>(text)
                    .ok()
                    .map(|list| list.into())
            }
            Self::OneOrMany(one) => match serde_json::from_str::<Vec<Value>>(text) {
                Ok(list) => Some(Value::Array(list)),
                Err(_) => return one.coerce_from_string(value),
            },
            // Text that is not JSON is meant literally.
            Self::TextOr(other) => return other.coerce_from_string(value),
            Self::Integer { .. } => {
                let text = text.trim();
                let whole = text.parse::<i64>().ok();
                let float = || as_integer(&serde_json::from_str::<Number>(text).ok()?);
                whole.or_else(float).map(Value::from)
            }
            Self::Number { .. } => serde_json::from_str(text).ok().map(Value::Number),
            Self::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(Value::Bool(true)),
                "false" | "0" | "no" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Enum { .. } | Self::Text { .. } | Self::Time(_) | Self::Any => None,
        };
        if let Some(read) = read {
            *value = read;
        }
    }

    /// Converts a value to the one form that the API documents, where others are in use: 0 and 1 for
    /// true and false and the reverse, and a single object for a list of objects.
    fn coerce_other_form(&self, value: &mut Value) {
        let read = match (self, &*value) {
            (Self::Bool, Value::Number(number)) => match as_integer(number) {
                Some(0) => Value::Bool(false),
                Some(1) => Value::Bool(true),
                _ => return,
            },
            (Self::Integer { min: 0, max: 1 }, Value::Bool(given)) => u8::from(*given).into(),
            (Self::List { items, .. }, Value::Object(_))
                if matches!(**items, Self::Object(_) | Self::Map { .. }) =>
            {
                Value::Array(vec![value.take()])
            }
            _ => return,
        };
        *value = read;
    }

    /// Returns true if a value has the JSON type of the schema.
    fn accepts_kind_of(&self, value: &Value) -> bool {
        match self {
            Self::Object(_) | Self::Map { .. } => value.is_object(),
            Self::List { .. } => value.is_array(),
            Self::Enum { .. } | Self::Text { .. } | Self::Time(_) => value.is_string(),
            Self::OneOrMany(one) => value.is_array() || one.accepts_kind_of(value),
            Self::TextOr(other) => value.is_string() || other.accepts_kind_of(value),
            Self::Integer { .. } | Self::Number { .. } => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Any => true,
        }
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Self::Object(_) | Self::Map { .. } => "an object",
            Self::List { .. } => "a list",
            Self::Enum { .. } | Self::Text { .. } | Self::Time(_) => "text",
            Self::OneOrMany(one) if matches!(**one, Self::Text { .. }) => "text or a list of texts",
            Self::OneOrMany(_) => "an object or a list of objects",
            Self::TextOr(other) => match **other {
                Self::Integer { .. } | Self::Number { .. } => "text or a number",
                Self::List { .. } => "text or a list",
                _ => "text or an object",
            },
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::Bool => "true or false",
            Self::Any => "anything",
        }
    }
}

fn validate_enum(
    values: &[String],
    open: bool,
    text: &mut String,
    at: ArgumentPath<'_>,
    walk: &mut ArgumentWalk<'_>,
) {
    if values.contains(text) {
        return;
    }
    let known = || values.iter().map(String::as_str);
    let spelling = NormalizedName::new(text);
    let matching =
        spelling.and_then(|text| names::single_match(known().filter(|value| text.matches(value))));
    if let Some(value) = matching {
        value.clone_into(text);
        return;
    }
    if open {
        // Suggestions are computed only for values that are reported.
        if walk.findings.can_report_value() {
            let hint = did_you_mean(text, known());
            walk.findings
                .add_unknown_value(at, &truncate_for_message(text), &hint);
        }
        return;
    }
    if !walk.findings.can_report_error() {
        walk.findings.add_error(at, "no such value");
        return;
    }
    let hint = did_you_mean(text, known());
    let takes = match walk.findings.mark_listed(values) {
        true => format!("; it takes {}", quote_names(known())),
        false => String::new(),
    };
    walk.findings.add_error(
        at,
        format_args!(
            "no such value `{}`{hint}{takes}",
            truncate_for_message(text)
        ),
    );
}

fn validate_time(
    role: TimeRole,
    text: &mut String,
    at: ArgumentPath<'_>,
    walk: &mut ArgumentWalk<'_>,
) {
    let read = time::parse(text, role, &walk.options.clock);
    let is_past = |time: &ParsedTime| time.timestamp() < walk.options.clock.now().timestamp();
    if role == TimeRole::Point && read.as_ref().is_some_and(is_past) {
        walk.findings.warn(format_args!(
            "`{at}` lies in the past: `{}`",
            truncate_for_message(text)
        ));
    }
    match read {
        Some(ParsedTime::Absolute(_)) => {
            if text.trim().len() < text.len() {
                *text = text.trim().to_owned();
            }
        }
        Some(ParsedTime::Resolved(time)) => {
            *text = time::format_rfc3339(time);
            walk.findings.add_resolved_time(at, text);
        }
        None => walk.findings.add_error(
            at,
            format_args!(
                "`{}` is no time; it {}",
                truncate_for_message(text),
                time::expected_forms(role)
            ),
        ),
    }
}

/// Splits text into the names that commas or line breaks separate. Text with other white space is one
/// name, because it may be a sentence.
fn split_names(text: &str) -> Value {
    let names: Vec<&str> = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let are_names = !names.iter().any(|name| name.contains(char::is_whitespace));
    match are_names && names.len() > 1 {
        true => names.into(),
        false => Value::Array(vec![text.into()]),
    }
}

pub(super) fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(fits)
}

/// Reads a whole number, which clients may write as a float.
fn as_integer(number: &Number) -> Option<i64> {
    /// Beyond this value a float cannot distinguish neighbouring whole numbers.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number
            .as_f64()
            .filter(|n| n.fract() == 0.0 && n.abs() <= MAX_EXACT)?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it is whole and within bounds"
        )]
        Some(float as i64)
    })
}

fn describe_bounds(number: &Number, min: i64, max: i64) -> String {
    // The upper bound of a type is mentioned only if a value exceeds it.
    let is_low = number.as_i64().is_some_and(|n| n < min);
    if is_low && max >= u32::MAX.into() {
        format!("takes a whole number of at least {min}, got {number}")
    } else {
        format!("takes a whole number from {min} to {max}, got {number}")
    }
}

pub(super) fn quote_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Shortens a caller's text to the part that an error repeats.
pub(super) fn truncate_for_message(text: &str) -> String {
    let mut shortened: String = text.chars().take(60).collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
