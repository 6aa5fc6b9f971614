//! Which rows of a file are wanted, and what of each.

use jiff::Timestamp;
use portkey_operation::JsonMap;
use serde_json::Value;

/// Length of the text before and after a match that is shown, in characters.
const EXCERPT_CHARS: usize = 60;

/// A selection of rows.
#[derive(Clone, Debug, Default)]
pub struct RowQuery {
    /// Conditions, all of which a row fulfils.
    pub conditions: Vec<RowCondition>,
    /// Text that is somewhere in the fields of a row, in any case. Names of the fields do not count.
    pub contains: Option<String>,
    /// Fields to return, with dots into objects. All but [`Self::omitted`] when empty.
    pub fields: Vec<String>,
    /// Fields that are returned only if they are named.
    pub omitted: &'static [&'static str],
    /// Number of matching rows to pass over.
    pub offset: u64,
    /// Maximum number of rows to return.
    pub limit: usize,
}

/// A condition on a field.
#[derive(Clone, Debug)]
pub struct RowCondition {
    /// Names of the field; the first that a row has counts.
    pub names: &'static [&'static str],
    /// The condition on its value.
    pub test: RowTest,
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum RowTest {
    /// Is one of these texts, in any case. An `x` in a text of digits stands for any digit.
    OneOf(Vec<String>),
    /// Is a number of at least this.
    AtLeast(f64),
    /// Is a number of at most this.
    AtMost(f64),
    /// Is no time before this one.
    NotBefore(Timestamp),
    /// Is an object with these fields.
    Has(JsonMap),
}

impl RowCondition {
    /// Returns whether a row fulfils the condition; `None` if it does not have the field.
    pub(super) fn matches(&self, row: &Value) -> Option<bool> {
        let value = self.names.iter().find_map(|name| row.get(name))?;
        if value.is_null() {
            return Some(false);
        }
        Some(match &self.test {
            RowTest::OneOf(wanted) => {
                let text = text_of(value);
                wanted.iter().any(|wanted| is_like(wanted, &text))
            }
            RowTest::AtLeast(min) => number_of(value).is_some_and(|number| number >= *min),
            RowTest::AtMost(max) => number_of(value).is_some_and(|number| number <= *max),
            // A time in another form says nothing.
            RowTest::NotBefore(first) => value
                .as_str()
                .and_then(|text| text.parse::<Timestamp>().ok())
                .is_none_or(|time| time >= *first),
            RowTest::Has(wanted) => has_fields(value, wanted),
        })
    }
}

fn has_fields(value: &Value, wanted: &JsonMap) -> bool {
    let parsed: Option<Value> = value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    let value = parsed.as_ref().unwrap_or(value);
    wanted.iter().all(|(name, wanted)| {
        value
            .get(name)
            .is_some_and(|value| text_of(value) == text_of(wanted))
    })
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

/// Returns true if a text is the wanted one, or has a digit for each `x` in it, as `503` for `5xx`.
fn is_like(wanted: &str, text: &str) -> bool {
    if wanted.eq_ignore_ascii_case(text) {
        return true;
    }
    let is_pattern = wanted.starts_with(|c: char| c.is_ascii_digit())
        && wanted
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'x' | 'X'));
    is_pattern
        && wanted.len() == text.len()
        && wanted
            .bytes()
            .zip(text.bytes())
            .all(|(wanted, byte)| match wanted {
                b'x' | b'X' => byte.is_ascii_digit(),
                wanted => wanted == byte,
            })
}

/// Returns the value at a path with dots. A field whose name has the dots counts first.
pub(super) fn value_at<'v>(row: &'v Value, path: &str) -> Option<&'v Value> {
    if let Some(value) = row.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    let inner = match row {
        Value::Array(items) => items.get(first.parse::<usize>().ok()?)?,
        row => row.get(first)?,
    };
    value_at(inner, rest)
}

/// Finds a text in the fields of a row: in their values, and in the names within them. `wanted` is in
/// lower case. Returns the text around the first match.
pub(super) fn find_text(row: &Value, wanted: &str) -> Option<String> {
    match row {
        // Every row has the same fields: their own names would match in all of them.
        Value::Object(fields) => fields.values().find_map(|value| find_in(value, wanted)),
        other => find_in(other, wanted),
    }
}

fn find_in(value: &Value, wanted: &str) -> Option<String> {
    match value {
        Value::String(text) => excerpt(text, wanted),
        Value::Number(number) => excerpt(&number.to_string(), wanted),
        Value::Array(items) => items.iter().find_map(|item| find_in(item, wanted)),
        Value::Object(map) => map
            .iter()
            .find_map(|(name, value)| excerpt(name, wanted).or_else(|| find_in(value, wanted))),
        Value::Null | Value::Bool(_) => None,
    }
}

fn excerpt(text: &str, wanted: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let at = lower.find(wanted)?;
    // Counted in characters: letters may take other numbers of bytes in lower case.
    let first = lower.get(..at)?.chars().count();
    let length = wanted.chars().count();
    let begin = first.saturating_sub(EXCERPT_CHARS);
    let count = first - begin + length + EXCERPT_CHARS;
    let shown: String = text.chars().skip(begin).take(count).collect();
    let before = if begin > 0 { "…" } else { "" };
    let after = match text.chars().nth(begin + count) {
        Some(_) => "…",
        None => "",
    };
    Some(format!("{before}{shown}{after}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Case {
        wanted: &'static str,
        text: &'static str,
        is_like: bool,
    }

    #[test]
    fn classes_of_status_codes_match() {
        let cases = [
            Case {
                wanted: "5xx",
                text: "503",
                is_like: true,
            },
            Case {
                wanted: "5xx",
                text: "429",
                is_like: false,
            },
            Case {
                wanted: "5xx",
                text: "5030",
                is_like: false,
            },
            Case {
                wanted: "429",
                text: "429",
                is_like: true,
            },
            Case {
                wanted: "GPT-4o",
                text: "gpt-4o",
                is_like: true,
            },
            Case {
                wanted: "gpt-4x",
                text: "gpt-4o",
                is_like: false,
            },
        ];
        for case in cases {
            assert_eq!(
                is_like(case.wanted, case.text),
                case.is_like,
                "{}",
                case.text
            );
        }
    }

    #[test]
    fn names_of_the_own_fields_of_a_row_are_no_text_of_it() {
        let row =
            json!({ "cost": 1.5, "created_at": "2026-12-01", "metadata": { "team": "cost" } });
        assert_eq!(find_text(&row, "created"), None);
        assert_eq!(find_text(&row, "team").as_deref(), Some("team"));
        assert_eq!(find_text(&row, "cost").as_deref(), Some("cost"));
        assert_eq!(find_text(&json!({ "cost": 1.5 }), "cost"), None);
    }

    #[test]
    fn text_is_found_with_what_surrounds_it() {
        let long = format!("{} Überweisung failed {}", "a".repeat(200), "b".repeat(200));
        let row = json!({ "response": { "choices": [{ "text": long }] } });
        let found = find_text(&row, "überweisung").unwrap_or_default();
        assert!(found.contains("Überweisung failed"), "{found}");
        assert!(found.chars().count() < 140, "{found}");
        assert_eq!(find_text(&row, "refund"), None);
        assert_eq!(
            value_at(&row, "response.choices.0.text").map(|value| value == &json!(long)),
            Some(true)
        );
    }
}
