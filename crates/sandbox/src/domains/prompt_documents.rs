//! Validates the messages and parameters of a prompt's version.
//!
//! Unknown parameters are kept, because each model has its own.

use serde_json::Value;

use crate::{api_error::ApiError, store::Item};

/// Parameters with numeric values.
const NUMBERS: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "n",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
];

/// Parameters with boolean values.
const SWITCHES: &[&str] = &["stream", "logprobs", "parallel_tool_calls"];

/// Parameters, the check for their values, and the expected type for errors.
type TypeRule = (&'static [&'static str], fn(&Value) -> bool, &'static str);

/// Rejects a template or parameters that no model would accept. Absent fields are not checked.
pub(super) fn check(content: &Item) -> Result<(), ApiError> {
    if let Some(template) = content.get("string").and_then(Value::as_str) {
        check_template(template)?;
    }
    match content.get("parameters").and_then(Value::as_object) {
        Some(parameters) => check_parameters(parameters),
        None => Ok(()),
    }
}

/// Checks a template. A JSON list contains messages; any other template is the text of one message.
fn check_template(template: &str) -> Result<(), ApiError> {
    let Ok(messages) = serde_json::from_str::<Vec<Value>>(template) else {
        return Ok(());
    };
    for (index, message) in messages.iter().enumerate() {
        let path = format!("string[{index}]");
        if !message.is_object() {
            return Err(ApiError::invalid_field(
                &path,
                "must be a message, an object with a `role`",
            ));
        }
        if !message["role"].is_string() {
            return Err(ApiError::invalid_field(
                &format!("{path}.role"),
                "must be a text",
            ));
        }
    }
    Ok(())
}

fn check_parameters(parameters: &Item) -> Result<(), ApiError> {
    let rules: [TypeRule; 2] = [
        (NUMBERS, Value::is_number, "a number"),
        (SWITCHES, Value::is_boolean, "true or false"),
    ];
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_null()) {
        let rule = rules
            .iter()
            .find(|(names, ..)| names.contains(&name.as_str()));
        if let Some((_, fits, expected)) = rule
            && !fits(value)
        {
            let why = format!("must be {expected}");
            return Err(ApiError::invalid_field(&format!("parameters.{name}"), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

    use serde_json::json;

    use super::*;

    fn problem(content: Value) -> Option<String> {
        check(content.as_object().unwrap())
            .err()
            .map(|refusal| refusal.to_string())
    }

    #[test]
    fn messages_and_texts_are_accepted_as_templates() {
        for string in ["", "Hello {{name}}", "[draft] Hello", "{\"a\": 1}", "[]"] {
            assert_eq!(problem(json!({ "string": string })), None, "{string}");
        }
        let messages = r#"[{"role": "user", "content": [{"type": "text", "text": "{{a}}"}]}]"#;
        assert_eq!(problem(json!({ "string": messages })), None);
    }

    #[test]
    fn invalid_template_is_rejected_with_its_path() {
        for (string, place) in [
            (r#"["Hello"]"#, "`string[0]` must be a message"),
            (
                r#"[{"role": "user"}, {"content": "Hello"}]"#,
                "`string[1].role` must be a text",
            ),
        ] {
            let problem = problem(json!({ "string": string })).unwrap_or_default();
            assert!(problem.starts_with(place), "{string}: {problem}");
        }
    }

    #[test]
    fn known_parameters_are_type_checked_and_others_accepted() {
        let good = json!({ "temperature": 0.2, "max_tokens": null, "stream": true, "own": "x" });
        assert_eq!(problem(json!({ "parameters": good })), None);
        for (parameters, expected) in [
            (
                json!({ "temperature": "hot" }),
                "`parameters.temperature` must be a number",
            ),
            (
                json!({ "stream": "yes" }),
                "`parameters.stream` must be true or false",
            ),
        ] {
            assert_eq!(
                problem(json!({ "parameters": parameters })).as_deref(),
                Some(expected)
            );
        }
    }
}
