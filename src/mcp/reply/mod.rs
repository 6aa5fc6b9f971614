//! Tool results: the success or the error that a caller receives.

mod clients;
mod encode;
mod explain;

use std::borrow::Cow;

use portkey_operation::JsonMap;
use rmcp::model::{CallToolResult, ContentBlock, Extensions, MetaObject};
use serde_json::Value;

pub use self::{clients::reads_structured_content, encode::encode_response};

use crate::{
    mcp::results::{RenderedResult, ResultContent, ShownResult},
    pipeline::CallError,
    security::secrets::mask_text,
};

/// Mark at the end of a truncated text.
const TRUNCATION_MARK: &str = "… (the rest is left out)";

/// Maximum size of any error message, in bytes of JSON.
pub const MAX_ERROR_BYTES: usize = 16 << 10;

/// Text of a result whose JSON is only in its structured content.
const BRIEF_TEXT: &str = "The result is the structured content.";

/// Key in the `_meta` of a result with untrusted content, and of a tool whose results have such
/// content.
const UNTRUSTED_META_KEY: &str = "portkey-mcp/untrusted";

/// Returns the `_meta` of an untrusted result.
pub fn untrusted_meta() -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert(UNTRUSTED_META_KEY.to_owned(), true.into());
    meta
}

/// Builds the result of a successful call, with the content that the operator chose.
///
/// `is_untrusted` marks the result as one with untrusted content.
pub fn success_result(
    shown: RenderedResult,
    content: ResultContent,
    has_strangers_text: bool,
) -> CallToolResult {
    let mut result = CallToolResult::success(Vec::new());
    match content {
        ResultContent::Structured => {}
        ResultContent::Brief => result.content.push(ContentBlock::text(BRIEF_TEXT)),
        ResultContent::Both | ResultContent::Text => {
            result.content.push(ContentBlock::text(shown.text));
        }
    }
    if content != ResultContent::Text {
        result.structured_content = Some(shown.structured);
    }
    result.meta = has_strangers_text.then(untrusted_meta);
    result
}

/// Form of the structured content in a result that equals its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StructuredForm {
    /// The document. Any encoder can write it.
    #[default]
    Document,
    /// An empty object. [`encode_response`] writes the text in its place. A transport that encodes results
    /// that way puts this into the extensions of a request.
    Text,
}

impl StructuredForm {
    /// Returns the form that the transport of a request can encode.
    pub fn from_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// Builds the result of a successful call like [`success_result`], with structured content in a form
/// that the transport can encode.
pub fn shown_result(
    shown: ShownResult,
    content: ResultContent,
    is_untrusted: bool,
    form: StructuredForm,
) -> CallToolResult {
    let text = match (shown, content, form) {
        (ShownResult::Text(text), ResultContent::Text, _) => text,
        (
            ShownResult::Text(text) | ShownResult::Document(RenderedResult { text, .. }),
            ResultContent::Both | ResultContent::Brief,
            StructuredForm::Text,
        ) => text,
        (shown, ..) => return success_result(shown.into_rendered(), content, is_untrusted),
    };
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    if content == ResultContent::Brief {
        result.content.push(ContentBlock::text(BRIEF_TEXT));
    }
    result.structured_content =
        (content != ResultContent::Text).then(|| Value::Object(JsonMap::new()));
    result.meta = is_untrusted.then(untrusted_meta);
    result
}

/// Builds the result of a failed call, in at most `max` bytes.
///
/// An error has no structured content, because clients validate that against the schema of a
/// success.
pub fn error_result(error: &CallError, max: usize) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(truncate(format_error(error), max))])
}

/// Returns the message of an error for the caller.
///
/// The message may repeat what callers and upstreams wrote, but no key.
pub fn error_message(error: &CallError) -> String {
    truncate(format_error(error), MAX_ERROR_BYTES)
}

fn format_error(error: &CallError) -> String {
    let words = match error {
        CallError::StepFailed(failure) => {
            let done: Vec<_> = failure
                .done
                .iter()
                .map(|step| format!("`{step}`"))
                .collect();
            format!(
                "{}\nDone before, and not taken back: {}. Repeat the call to go on from there.",
                format_error(&failure.error),
                done.join(", ")
            )
        }
        CallError::Upstream(operation, refusal) => {
            explain::explain_upstream_error(operation, refusal)
        }
        other => other.to_string(),
    };
    match mask_text(&words) {
        Cow::Borrowed(_) => words,
        Cow::Owned(masked) => masked,
    }
}

/// Returns the size of a text as JSON without its quotes, in bytes.
pub fn json_size(text: &str) -> usize {
    text.chars().map(json_char_size).sum()
}

/// Returns the size of a block's text as JSON, in bytes.
pub fn block_json_size(block: &ContentBlock) -> usize {
    block.as_text().map_or(0, |text| json_size(&text.text))
}

fn json_char_size(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if u32::from(c) < 0x20 => 6,
        c => c.len_utf8(),
    }
}

/// Truncates a text to at most `max` bytes as JSON, and marks the truncation.
pub fn truncate(mut text: String, max: usize) -> String {
    // JSON needs at most six bytes for each byte of a character.
    if text.len() <= max / 6 {
        return text;
    }
    let mut taken = 0;
    let mut end = None;
    for (at, c) in text.char_indices() {
        taken += json_char_size(c);
        if end.is_none() && taken + TRUNCATION_MARK.len() > max {
            end = Some(at);
        }
        if taken > max {
            text.truncate(end.unwrap_or_default());
            text.push_str(TRUNCATION_MARK);
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::truncate;

    #[test]
    fn text_is_truncated_by_its_size_as_json() {
        for part in ["a", "é", "\"", "\u{1}", "a\n\\", "😀x"] {
            for count in [0, 1, 90, 100, 101, 5_000] {
                let whole = part.repeat(count);
                let json = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
                let truncated = truncate(whole.clone(), 600);
                assert!(
                    json(&truncated) <= 600,
                    "{part:?} {count}: {}",
                    json(&truncated)
                );
                match json(&whole) <= 600 {
                    true => assert_eq!(truncated, whole),
                    false => {
                        let kept = truncated.strip_suffix(super::TRUNCATION_MARK).unwrap();
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
