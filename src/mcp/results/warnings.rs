//! Adds this server's warnings to a result.

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::DATA_KEY;
/// Key of the warnings in a result.
pub const WARNINGS_KEY: &str = "warnings";
/// Key of the warnings if the upstream has a field `warnings` that is no list of texts.
const OWN_WARNINGS_KEY: &str = "portkey_mcp_warnings";

/// Key of the times that relative times were resolved to.
const RESOLVED_TIMES_KEY: &str = "resolved_times";

/// Adds warnings to a result, as a list of texts under `warnings`, in front of the other fields.
///
/// - Without warnings the result is not changed.
/// - An existing list of texts is extended: earlier warnings and those of an upstream stay. A text
///   is listed once.
/// - An upstream's `warnings` of any other form stays, and ours are put under
///   `portkey_mcp_warnings`.
/// - A result that is no object is put under `data`, as lists are.
pub fn add_warnings(answer: Value, warnings: Vec<String>) -> Value {
    if warnings.is_empty() {
        return answer;
    }
    let mut answer = match answer {
        Value::Object(map) => map,
        other => JsonMap::from_iter([(DATA_KEY.to_owned(), other)]),
    };
    let name = match answer.get(WARNINGS_KEY) {
        Some(theirs) if !is_list_of_texts(theirs) => OWN_WARNINGS_KEY,
        _ => WARNINGS_KEY,
    };
    let mut all = match answer.shift_remove(name) {
        Some(Value::Array(earlier)) => earlier,
        _ => Vec::new(),
    };
    for warning in warnings {
        let warning = Value::from(warning);
        if !all.contains(&warning) {
            all.push(warning);
        }
    }
    answer.shift_insert(0, name.to_owned(), json!(all));
    Value::Object(answer)
}

/// Adds the notes about a call to its result: warnings about its arguments, and under
/// `resolved_times` the times that were not given as RFC 3339.
pub fn annotate(answer: Value, warnings: Vec<String>, times: Vec<(String, String)>) -> Value {
    let answer = add_warnings(answer, warnings);
    if times.is_empty() {
        return answer;
    }
    let mut answer = match answer {
        Value::Object(map) => map,
        other => JsonMap::from_iter([(DATA_KEY.to_owned(), other)]),
    };
    let times: JsonMap = times
        .into_iter()
        .map(|(at, time)| (at, time.into()))
        .collect();
    answer.entry(RESOLVED_TIMES_KEY).or_insert(times.into());
    Value::Object(answer)
}

fn is_list_of_texts(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| list.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::add_warnings;

    struct Case {
        what: &'static str,
        answer: Value,
        becomes: Value,
    }

    #[test]
    fn warnings_are_added_without_replacing_upstream_fields() {
        let cases = [
            Case {
                what: "an object gets them in front",
                answer: json!({"id": "a"}),
                becomes: json!({"warnings": ["one", "two"], "id": "a"}),
            },
            Case {
                what: "a list is wrapped as lists are",
                answer: json!([1]),
                becomes: json!({"warnings": ["one", "two"], "data": [1]}),
            },
            Case {
                what: "another value stands under data",
                answer: json!("ok"),
                becomes: json!({"warnings": ["one", "two"], "data": "ok"}),
            },
            Case {
                what: "earlier ones stay, each once",
                answer: json!({"id": "a", "warnings": ["zero", "one"]}),
                becomes: json!({"warnings": ["zero", "one", "two"], "id": "a"}),
            },
            Case {
                what: "a field of the upstream's stays",
                answer: json!({"warnings": [{"code": 1}]}),
                becomes: json!({
                    "portkey_mcp_warnings": ["one", "two"],
                    "warnings": [{"code": 1}],
                }),
            },
            Case {
                what: "ours are continued beside it",
                answer: json!({"portkey_mcp_warnings": ["zero"], "warnings": 3}),
                becomes: json!({
                    "portkey_mcp_warnings": ["zero", "one", "two"],
                    "warnings": 3,
                }),
            },
        ];
        for case in cases {
            let got = add_warnings(case.answer, vec!["one".to_owned(), "two".to_owned()]);
            assert_eq!(got.to_string(), case.becomes.to_string(), "{}", case.what);
        }
    }

    #[test]
    fn result_without_warnings_is_unchanged() {
        for answer in [json!([1]), json!(null), json!({"warnings": 3})] {
            assert_eq!(add_warnings(answer.clone(), Vec::new()), answer);
        }
    }
}
