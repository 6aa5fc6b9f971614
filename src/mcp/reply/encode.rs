//! Encodes the JSON-RPC response to a tool call, without serializing its structured content twice.
//!
//! The text of a [`success_result`](super::success_result) is the JSON of its structured content.
//! The message is therefore serialized with `null` in place of that content, and [`TextForNull`]
//! writes the text there.
//!
//! The benchmark `call_path` has it as `answer/encode`: 17,500 instructions for a result of 680
//! bytes. With a `RawValue` in place of `null` they are 28,300, because a text becomes one only by
//! being parsed. Serializing the structured content takes 29,100.

use std::io;

use rmcp::model::{CallToolResult, RequestId};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A JSON-RPC response.
#[derive(Serialize)]
struct Response<'a, R> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    result: R,
}

impl<'a, R> Response<'a, R> {
    const fn new(id: &'a RequestId, result: R) -> Self {
        Self {
            jsonrpc: "2.0",
            id,
            result,
        }
    }
}

/// A result whose structured content is left to [`TextForNull`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultWithText<'a> {
    structured_content: StructuredContent,
    #[serde(flatten)]
    rest: &'a CallToolResult,
}

/// Structured content: an object as it is, another value under `data`. `()` is written as `null`.
#[derive(Serialize)]
#[serde(untagged)]
enum StructuredContent {
    Object(()),
    Other { data: () },
}

impl StructuredContent {
    fn from_text(text: &str) -> Self {
        match text.starts_with('{') {
            true => Self::Object(()),
            false => Self::Other { data: () },
        }
    }
}

/// Writes compact JSON, with a text in place of the first `null`.
struct TextForNull<'a>(Option<&'a str>);

impl Formatter for TextForNull<'_> {
    fn write_null<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.0.take().unwrap_or("null").as_bytes())
    }
}

/// Encodes the JSON-RPC response to the request `id`.
///
/// If the result has structured content and one text, the text must be the JSON of that content, as
/// in a [`success_result`](super::success_result).
///
/// # Errors
/// Returns an error if the result has no JSON form; no such case is known.
pub fn encode_response(id: &RequestId, mut result: CallToolResult) -> serde_json::Result<Vec<u8>> {
    let structured = result.structured_content.take();
    let text = match result.content.as_slice() {
        [only] if structured.is_some() => only.as_text().map(|text| &*text.text),
        _ => None,
    };
    let Some(text) = text else {
        result.structured_content = structured;
        return serde_json::to_vec(&Response::new(id, &result));
    };
    let structured_content = StructuredContent::from_text(text);
    debug_assert_eq!(
        serialize_with_text(&structured_content, text, Vec::new()).ok(),
        structured.map(|structured| structured.to_string().into_bytes())
    );
    let result = ResultWithText {
        structured_content,
        rest: &result,
    };
    // The text is written twice, once with escapes.
    let message = Vec::with_capacity(256 + 3 * text.len());
    // No `null` precedes the structured content: an id is a number or a string.
    serialize_with_text(&Response::new(id, result), text, message)
}

/// Appends the JSON of a value, with `text` in place of the first `null`.
fn serialize_with_text(
    value: &impl Serialize,
    text: &str,
    mut message: Vec<u8>,
) -> serde_json::Result<Vec<u8>> {
    let formatter = TextForNull(Some(text));
    value.serialize(&mut Serializer::with_formatter(&mut message, formatter))?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rmcp::model::{CallToolResult, ContentBlock, RequestId};
    use serde_json::{Value, json};

    use super::{super::untrusted_meta, encode_response};
    use crate::mcp::results::DATA_KEY;

    fn encode(result: CallToolResult) -> String {
        let message = encode_response(&RequestId::Number(7), result).unwrap();
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn structured_content_is_encoded_as_the_text_of_the_result() {
        for text in [
            r#"{"b":null,"a":"\u00e9\n"}"#,
            "[1,null]",
            "null",
            "{}",
            r#""null""#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            let text = value.to_string();
            let structured = match value {
                Value::Object(_) => value,
                other => json!({ DATA_KEY: other }),
            };
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            let mut meta = untrusted_meta();
            meta.0.insert("null".to_owned(), Value::Null);
            result.meta = Some(meta);
            let rest = serde_json::to_string(&result).unwrap();
            let rest = rest.strip_prefix('{').unwrap();
            result.structured_content = Some(structured.clone());
            assert_eq!(
                encode(result),
                format!(
                    r#"{{"jsonrpc":"2.0","id":7,"result":{{"structuredContent":{structured},{rest}}}"#
                )
            );
        }
    }

    #[test]
    fn result_without_text_or_structured_content_is_encoded_by_rmcp() {
        let mut structured = CallToolResult::success(Vec::new());
        structured.structured_content = Some(json!({ "a": null }));
        let error = CallToolResult::error(vec![ContentBlock::text("{}")]);
        for result in [structured, error] {
            let expected = serde_json::to_string(&result).unwrap();
            let expected = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{expected}}}"#);
            assert_eq!(encode(result), expected);
        }
    }
}
