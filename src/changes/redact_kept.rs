//! Removes hidden values that a request sends again from what its caller gets: an answer or a dry run
//! may repeat the arguments, and so may an error.

use portkey_operation::InputError;
use serde_json::Value;

use super::{PATCH_ARGUMENT, PreparedChange};
use crate::{pipeline::CallError, security::secrets::MASK};

/// Minimum length of a text that is looked for inside others, in bytes. A shorter one is recognized
/// where it is a value by itself.
const MIN_INSIDE_BYTES: usize = 8;

impl PreparedChange<'_> {
    /// Removes the hidden values that the call sent from its result.
    pub fn redact(&self, result: &mut Result<Value, CallError>) {
        let texts = self.computed.kept_texts.as_slice();
        if texts.is_empty() {
            return;
        }
        match result {
            Ok(answer) => redact_value(texts, answer),
            Err(CallError::Upstream(_, refusal)) => refusal.scrub(|text| redact_text(texts, text)),
            Err(error @ CallError::InvalidArguments(_)) => {
                let message = error.to_string();
                let redacted = redact_text(texts, &message);
                if redacted != message {
                    *error = InputError::new(PATCH_ARGUMENT, redacted).into();
                }
            }
            Err(_) => {}
        }
    }
}

fn redact_text(texts: &[String], text: &str) -> String {
    let mut redacted = text.to_owned();
    for hidden in texts {
        if text == hidden.as_str() {
            return MASK.to_owned();
        }
        if hidden.len() >= MIN_INSIDE_BYTES && redacted.contains(hidden.as_str()) {
            redacted = redacted.replace(hidden.as_str(), MASK);
        }
    }
    redacted
}

fn redact_value(texts: &[String], value: &mut Value) {
    match value {
        Value::String(text) => *text = redact_text(texts, text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(texts, item)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| redact_value(texts, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
