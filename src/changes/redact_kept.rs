//! Removes hidden values that a request sends again from what its caller gets: an answer or a dry run
//! may repeat the arguments, and so may an error.

use portkey_operation::InputError;
use serde_json::Value;

use super::{PATCH_ARGUMENT, PreparedChange};
use crate::{
    pipeline::{
        CallError,
        hidden_values::{redact_text, redact_value},
    },
    security::secrets::MASK,
};

impl PreparedChange<'_> {
    /// Returns the hidden texts that the call sends again.
    pub fn hidden_texts(&self) -> Vec<String> {
        self.computed.kept_texts.clone()
    }

    /// Removes the hidden values that the call sent from its result.
    pub fn redact(&self, result: &mut Result<Value, CallError>) {
        let texts = self.computed.kept_texts.as_slice();
        if texts.is_empty() {
            return;
        }
        match result {
            Ok(answer) => redact_value(texts, MASK, answer),
            Err(CallError::Upstream(_, refusal)) => {
                refusal.scrub(|text| redact_text(texts, MASK, text))
            }
            Err(error @ CallError::InvalidArguments(_)) => {
                let message = error.to_string();
                let redacted = redact_text(texts, MASK, &message);
                if redacted != message {
                    *error = InputError::new(PATCH_ARGUMENT, redacted).into();
                }
            }
            Err(_) => {}
        }
    }
}
