//! What a caller gets to see: an answer or an error as a tool result.

mod explain;

use std::borrow::Cow;

use rmcp::model::{CallToolResult, ContentBlock, MetaObject, RequestId};

use crate::{
    mcp::results::{Content, DATA, Shown},
    pipeline::CallError,
    security::secrets::mask_text,
};

/// What stands behind a text that is not told to its end.
const MISSING: &str = "… (the rest is left out)";

/// Bound on an error as it is told, in bytes of JSON, whatever its cause.
pub const MAX_ERROR_BYTES: usize = 16 << 10;

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
        [only] => only
            .as_text()
            .map(|text| &*text.text)
            .filter(|_| structured.is_some()),
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

/// The result of a tool call that came to nothing, in at most `max` bytes. It has no structured content: clients
/// check that against the schema of a success.
pub fn error(error: &CallError, max: usize) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(bounded(in_full(error), max))])
}

/// An error in words for whoever made the call. It may repeat what callers and upstreams wrote, and no key
/// among that.
pub fn words(error: &CallError) -> String {
    bounded(in_full(error), MAX_ERROR_BYTES)
}

fn in_full(error: &CallError) -> String {
    let words = match error {
        CallError::Refused(operation, refusal) => explain::refusal(operation, refusal),
        other => other.to_string(),
    };
    match mask_text(&words) {
        Cow::Borrowed(_) => words,
        Cow::Owned(masked) => masked,
    }
}

/// How many bytes a text takes as JSON, without its quotes.
pub fn json_size(text: &str) -> usize {
    text.chars().map(char_size).sum()
}

/// How many bytes the text of a block takes as JSON.
pub fn size(block: &ContentBlock) -> usize {
    block.as_text().map_or(0, |text| json_size(&text.text))
}

fn char_size(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if u32::from(c) < 0x20 => 6,
        c => c.len_utf8(),
    }
}

/// As much of a text as takes up to `max` bytes as JSON, and a word on what is missing.
pub fn bounded(mut text: String, max: usize) -> String {
    // A character takes six bytes at most for each of its own.
    if text.len() <= max / 6 {
        return text;
    }
    let (mut taken, mut end) = (0, None);
    for (at, c) in text.char_indices() {
        taken += char_size(c);
        if end.is_none() && taken + MISSING.len() > max {
            end = Some(at);
        }
        if taken > max {
            text.truncate(end.unwrap_or_default());
            text.push_str(MISSING);
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::bounded;

    #[test]
    fn texts_are_bounded_as_json() {
        for part in ["a", "é", "\"", "\u{1}", "a\n\\", "😀x"] {
            for count in [0, 1, 90, 100, 101, 5_000] {
                let whole = part.repeat(count);
                let json = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
                let told = bounded(whole.clone(), 600);
                assert!(json(&told) <= 600, "{part:?} {count}: {}", json(&told));
                match json(&whole) <= 600 {
                    true => assert_eq!(told, whole),
                    false => {
                        let kept = told.strip_suffix(super::MISSING).unwrap();
                        assert!(
                            whole.starts_with(kept) && json(kept) > 500,
                            "{part:?} {count}"
                        );
                    }
                }
            }
        }
    }
}
