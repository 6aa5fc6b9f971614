//! What a caller gets to see: an answer or an error as a tool result.

mod explain;

use rmcp::model::{CallToolResult, ContentBlock, MetaObject, RequestId};

use crate::{
    dispatch::CallError,
    results::{Content, DATA, Shown},
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

/// The message that brings a result to whoever made the request `id`. An [`answer`] has its JSON in its text,
/// and there it is taken from: to write all of it a second time would be most of the work.
///
/// # Errors
/// None that is known of: all of it has a JSON form.
pub fn message(id: &RequestId, mut result: CallToolResult) -> serde_json::Result<Vec<u8>> {
    let structured = result.structured_content.take();
    let text = match result.content.as_slice() {
        [only] => only.as_text().map(|text| &*text.text).filter(|_| structured.is_some()),
        _ => None,
    };
    let mut message = Vec::with_capacity(256 + 3 * text.map_or(0, str::len));
    message.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    serde_json::to_writer(&mut message, id)?;
    message.extend_from_slice(br#","result":"#);
    let Some(text) = text else {
        result.structured_content = structured;
        serde_json::to_writer(&mut message, &result)?;
        message.push(b'}');
        return Ok(message);
    };
    message.extend_from_slice(br#"{"structuredContent":"#);
    let begin = message.len();
    match text.starts_with('{') {
        true => message.extend_from_slice(text.as_bytes()),
        false => message.extend_from_slice(format!("{{\"{DATA}\":{text}}}").as_bytes()),
    }
    debug_assert_eq!(
        message.get(begin..),
        structured.map(|it| it.to_string().into_bytes()).as_deref()
    );
    let rest = message.len();
    serde_json::to_writer(&mut message, &result)?;
    // The rest goes on with the same object.
    if let Some(brace) = message.get_mut(rest) {
        *brace = b',';
    }
    message.push(b'}');
    Ok(message)
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
