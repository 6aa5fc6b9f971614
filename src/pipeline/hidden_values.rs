//! Hidden values that a request sends again: the marker of redacted values stands in their place
//! wherever they would be shown or kept.

use portkey_operation::{JsonMap, UpdateRules};
use portkey_policy::REDACTED;
use serde_json::Value;

use super::state_fields::to_arguments;

/// Minimum length of a text that is looked for inside others, in bytes. A shorter one is recognized
/// where it is a value by itself.
const MIN_INSIDE_BYTES: usize = 8;

/// Puts the marker of redacted values in the place of hidden texts.
pub(super) fn hide_texts(texts: &[String], args: &mut JsonMap) {
    if texts.is_empty() {
        return;
    }
    args.values_mut()
        .for_each(|value| redact_value(texts, REDACTED, value));
}

/// Puts the marker of redacted values in the place of arguments that the state before hides, of
/// whatever type they are.
pub(super) fn hide_redacted(rules: &UpdateRules, before: &Value, args: &mut JsonMap) {
    let before = to_arguments(rules, before);
    for (name, value) in args {
        if let Some(before) = before.get(name) {
            hide_where_hidden(before, value);
        }
    }
}

fn hide_where_hidden(before: &Value, value: &mut Value) {
    match (before, value) {
        (Value::String(text), value) if text.contains(REDACTED) => *value = REDACTED.into(),
        (Value::Object(before), Value::Object(fields)) => {
            for (name, before) in before {
                if let Some(value) = fields.get_mut(name) {
                    hide_where_hidden(before, value);
                }
            }
        }
        // A patch moves items: what one item of the list hides is hidden in all.
        (Value::Array(before), Value::Array(items)) => {
            for before in before.iter().filter(|before| has_redacted(before)) {
                for item in items.iter_mut() {
                    hide_where_hidden(before, item);
                }
            }
        }
        _ => {}
    }
}

fn has_redacted(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(REDACTED),
        Value::Array(items) => items.iter().any(has_redacted),
        Value::Object(fields) => fields.values().any(has_redacted),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Puts a mark in the place of hidden texts, also within longer ones.
pub(crate) fn redact_text(texts: &[String], mark: &str, text: &str) -> String {
    let mut redacted = text.to_owned();
    for hidden in texts {
        if text == hidden.as_str() {
            return mark.to_owned();
        }
        if hidden.len() >= MIN_INSIDE_BYTES && redacted.contains(hidden.as_str()) {
            redacted = redacted.replace(hidden.as_str(), mark);
        }
    }
    redacted
}

/// Puts a mark in the place of hidden texts in a value.
pub(crate) fn redact_value(texts: &[String], mark: &str, value: &mut Value) {
    match value {
        Value::String(text) => *text = redact_text(texts, mark, text),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| redact_value(texts, mark, item)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| redact_value(texts, mark, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
