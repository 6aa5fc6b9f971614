//! What a caller gets to see: an answer or an error as a tool result.

mod explain;

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Value, json};

use crate::dispatch::CallError;

/// Says in the `_meta` of a result that it has text which strangers wrote, and of a tool that its results
/// do.
const UNTRUSTED: &str = "portkey-mcp/untrusted";

/// What stands in the `_meta` of an untrusted result.
pub fn untrusted() -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert(UNTRUSTED.to_owned(), true.into());
    meta
}

/// The result of a tool call: Portkey's JSON, structured and as compact text, or an error in words.
/// `has_strangers_text` marks it as untrusted.
pub fn result(outcome: Result<Value, CallError>, has_strangers_text: bool) -> CallToolResult {
    match outcome {
        Ok(body) => {
            // Half the time of `to_string`; a `Value` always has a JSON form.
            let text = serde_json::to_string(&body).unwrap_or_default();
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            // Clients up to 2025-11-25 take an object only.
            let structured = if body.is_object() { body } else { json!({ "data": body }) };
            result.structured_content = Some(structured);
            result.meta = has_strangers_text.then(untrusted);
            result
        }
        // No structured content here: clients check it against the schema of a success.
        Err(error) => CallToolResult::error(vec![ContentBlock::text(words(&error))]),
    }
}

/// An error in words for whoever made the call.
pub fn words(error: &CallError) -> String {
    match error {
        CallError::Refused(operation, refusal) => explain::refusal(operation, refusal),
        other => other.to_string(),
    }
}
