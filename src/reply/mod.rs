//! What a caller gets to see: an answer or an error as a tool result.

mod explain;

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};

use crate::{
    dispatch::CallError,
    results::{Content, Shown},
};

/// Says in the `_meta` of a result that it has text which strangers wrote, and of a tool that its results
/// do.
const UNTRUSTED: &str = "portkey-mcp/untrusted";

/// What stands in the `_meta` of an untrusted result.
pub fn untrusted() -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert(UNTRUSTED.to_owned(), true.into());
    meta
}

/// The result of a tool call: an answer as it is shown, in what the operator has it carry.
/// `has_strangers_text` marks it as untrusted.
pub fn answer(shown: Shown, content: Content, has_strangers_text: bool) -> CallToolResult {
    let mut result = CallToolResult::success(Vec::new());
    if content != Content::Structured {
        result.content.push(ContentBlock::text(shown.text));
    }
    if content != Content::Text {
        result.structured_content = Some(shown.structured);
    }
    result.meta = has_strangers_text.then(untrusted);
    result
}

/// The result of a tool call that came to nothing. It has no structured content: clients check that
/// against the schema of a success.
pub fn error(error: &CallError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(words(error))])
}

/// An error in words for whoever made the call.
pub fn words(error: &CallError) -> String {
    match error {
        CallError::Refused(operation, refusal) => explain::refusal(operation, refusal),
        other => other.to_string(),
    }
}
