//! Encodes the JSON-RPC response to a tool call, without serializing its structured content.
//!
//! The text of a [`shown_result`](super::shown_result) is the JSON of its structured content. The
//! message is therefore serialized with `null` in place of that content and without the text,
//! and [`TextInPlace`] writes the text in both places: as it is, and escaped.
//!
//! The benchmark `call_path` has it as `answer/encode`, for a result of 680 bytes: 17,500 instructions
//! with the escaping of `serde_json`. With a `RawValue` in place of `null` they are 28,300, because a
//! text becomes one only by being parsed. Serializing the structured content takes 29,100.

use std::io;

use rmcp::model::{CallToolResult, ContentBlock, RequestId};
use serde::Serialize;
use serde_json::{
    Map, Value,
    ser::{Formatter, Serializer},
};

use super::BRIEF_TEXT;

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

/// A result whose structured content is left to [`TextInPlace`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultWithText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<StructuredContent>,
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

/// Writes compact JSON, with a text in place of the first `null` and, escaped, in the first empty
/// text.
struct TextInPlace<'a> {
    for_null: Option<&'a str>,
    for_empty: Option<&'a str>,
    /// True within a text that has nothing yet.
    is_empty: bool,
}

impl Formatter for TextInPlace<'_> {
    fn write_null<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.for_null.take().unwrap_or("null").as_bytes())
    }

    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.is_empty = true;
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.is_empty = false;
        writer.write_all(fragment.as_bytes())
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_empty
            && let Some(text) = self.for_empty.take()
        {
            write_escaped(writer, text)?;
        }
        writer.write_all(b"\"")
    }
}

/// Number of words of eight bytes that are escaped at once. Each byte may take two.
const WORDS_AT_ONCE: usize = 15;

/// One in each byte of a word.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte of a word.
const HIGH_BITS: u64 = ONES << 7;

/// Returns a word with the highest bit of each byte that is zero in `word`.
const fn zero_bytes(word: u64) -> u64 {
    let is_other = (word & !HIGH_BITS) + !HIGH_BITS;
    !(is_other | word | !HIGH_BITS)
}

/// Writes a JSON text as the content of another JSON text.
///
/// A sixth of the bytes of JSON are quotation marks, so that runs between them are too short to be
/// copied one by one. A word is therefore written as it is, and once more after each of its bytes
/// that takes a backslash. That takes two fifths of the time of a step for each byte.
fn write_escaped<W: ?Sized + io::Write>(writer: &mut W, text: &str) -> io::Result<()> {
    if text
        .bytes()
        .fold(false, |found, byte| found | (byte < b' '))
    {
        // No JSON that this server writes has control characters.
        let quoted = serde_json::to_string(text)?;
        let content = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        return writer.write_all(content.as_bytes());
    }
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    for words in words.chunks(WORDS_AT_ONCE) {
        let mut escaped = [0; 16 * WORDS_AT_ONCE + 16];
        let mut end = 0;
        for word in words {
            end = escape_word(*word, &mut escaped, end);
        }
        writer.write_all(escaped.get(..end).unwrap_or_default())?;
    }
    for byte in rest {
        if matches!(byte, b'"' | b'\\') {
            writer.write_all(b"\\")?;
        }
        writer.write_all(&[*byte])?;
    }
    Ok(())
}

/// Writes eight bytes with their backslashes at `end`, and returns the new end. Up to sixteen bytes
/// after that are overwritten.
fn escape_word(word: [u8; 8], escaped: &mut [u8], mut end: usize) -> usize {
    // The first byte is the lowest one.
    let mut word = u64::from_le_bytes(word);
    let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
    let mut marks = quotes | zero_bytes(word ^ (ONES * u64::from(b'\\')));
    let mut left = 8;
    if let Some(slot) = escaped.get_mut(end..).and_then(<[u8]>::first_chunk_mut) {
        *slot = word.to_le_bytes();
    }
    while marks != 0 {
        let count = marks.trailing_zeros() / 8;
        word >>= 8 * count;
        marks >>= 8 * count;
        end += count as usize;
        left -= count as usize + 1;
        if let Some(slot) = escaped.get_mut(end..).and_then(<[u8]>::first_chunk_mut) {
            *slot = ((u128::from(word) << 8) | u128::from(b'\\')).to_le_bytes();
        }
        end += 2;
        word >>= 8;
        marks >>= 8;
    }
    end + left
}

/// Returns true if structured content stands for the text of its result, as
/// [`StructuredForm::Text`](super::StructuredForm::Text) has it.
fn is_blank(structured: &Value) -> bool {
    structured.as_object().is_some_and(Map::is_empty)
}

/// Encodes the JSON-RPC response to the request `id`.
///
/// Structured content that is an empty object stands for the JSON in the first text, as in a
/// [`shown_result`](super::shown_result).
///
/// # Errors
/// Returns an error if the result has no JSON form; no such case is known.
pub fn encode_response(id: &RequestId, mut result: CallToolResult) -> serde_json::Result<Vec<u8>> {
    let is_blank = result.structured_content.as_ref().is_some_and(is_blank);
    let mut is_brief = false;
    let text = match result.content.as_mut_slice() {
        [ContentBlock::Text(only)]
            if (is_blank && only.text != BRIEF_TEXT || result.structured_content.is_none())
                && !only.text.is_empty() =>
        {
            std::mem::take(&mut only.text)
        }
        // A short text stands beside the one of the structured content.
        [ContentBlock::Text(whole), ContentBlock::Text(_)] if is_blank => {
            is_brief = true;
            std::mem::take(&mut whole.text)
        }
        _ => return serde_json::to_vec(&Response::new(id, &result)),
    };
    if is_brief {
        result.content.remove(0);
    }
    result.structured_content = None;
    let structured_content = is_blank.then(|| StructuredContent::from_text(&text));
    // An id without a plain character would be taken for the empty text.
    let is_plain = |id: &str| id.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let is_spliced = match id {
        _ if is_brief => false,
        RequestId::Number(_) => true,
        RequestId::String(id) => is_plain(id),
    };
    if let ([ContentBlock::Text(only)], false, false) =
        (result.content.as_mut_slice(), is_brief, is_spliced)
    {
        only.text.clone_from(&text);
    }
    let result = ResultWithText {
        structured_content,
        rest: &result,
    };
    // The text is written twice, once with escapes.
    let message = Vec::with_capacity(256 + 5 * text.len() / 2);
    let for_empty = is_spliced.then_some(text.as_str());
    // No `null` precedes the structured content: an id is a number or a string.
    let for_null = result.structured_content.is_some().then_some(text.as_str());
    serialize_with_text(&Response::new(id, result), for_null, for_empty, message)
}

/// Appends the JSON of a value, with `for_null` in place of the first `null` and `for_empty` in the
/// first empty text.
fn serialize_with_text(
    value: &impl Serialize,
    for_null: Option<&str>,
    for_empty: Option<&str>,
    mut message: Vec<u8>,
) -> serde_json::Result<Vec<u8>> {
    let formatter = TextInPlace {
        for_null,
        for_empty,
        is_empty: false,
    };
    value.serialize(&mut Serializer::with_formatter(&mut message, formatter))?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rmcp::model::{CallToolResult, ContentBlock, RequestId};
    use serde_json::{Value, json};

    use super::{
        super::{StructuredForm, shown_result, untrusted_meta},
        BRIEF_TEXT, encode_response, write_escaped,
    };
    use crate::mcp::results::{DATA_KEY, ResultContent, ShownResult};

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
            r#"{"a":"","b":["\u0001\t\u007f\\\"",""]}"#,
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
            result.structured_content = Some(json!({}));
            assert_eq!(
                encode(result),
                format!(
                    r#"{{"jsonrpc":"2.0","id":7,"result":{{"structuredContent":{structured},{rest}}}"#
                )
            );
        }
    }

    #[test]
    fn text_stands_for_blank_structured_content() {
        for text in [r#"{"b":null,"a":""}"#, "[1,null]", "{}"] {
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(json!({}));
            let value: Value = serde_json::from_str(text).unwrap();
            let expected = match value {
                Value::Object(_) => value,
                other => json!({ DATA_KEY: other }),
            };
            for id in ["a", "", "\n", "\"", "é"] {
                let id = RequestId::String(id.into());
                let message = encode_response(&id, result.clone()).unwrap();
                let message: Value = serde_json::from_slice(&message).unwrap();
                assert_eq!(message["id"], json!(id));
                assert_eq!(message["result"]["structuredContent"], expected);
                assert_eq!(message["result"]["content"][0]["text"], text);
            }
        }
    }

    #[test]
    fn short_text_stands_beside_the_structured_content() {
        let shown = ShownResult::Text(r#"[1,"",null]"#.to_owned());
        let result = shown_result(shown, ResultContent::Brief, true, StructuredForm::Text);
        let message: Value = serde_json::from_str(&encode(result)).unwrap();
        let result = &message["result"];
        assert_eq!(
            result["structuredContent"],
            json!({ "data": [1, "", null] })
        );
        assert_eq!(
            result["content"],
            json!([{ "type": "text", "text": BRIEF_TEXT }])
        );
        assert_eq!(result["_meta"], json!(untrusted_meta()));
        let shown = ShownResult::Text("{}".to_owned());
        let result = shown_result(shown, ResultContent::Brief, false, StructuredForm::Document);
        let message: Value = serde_json::from_str(&encode(result)).unwrap();
        assert_eq!(message["result"]["structuredContent"], json!({}));
    }

    #[test]
    fn text_is_escaped_like_any_json_text() {
        let mut texts = vec![
            String::new(),
            "\"".repeat(500),
            "\\\"".repeat(61),
            "\\".repeat(241),
            "é😀\"\u{7f}".repeat(99),
            "a\nb\"".to_owned(),
        ];
        texts.extend((0..300).map(|length| "{\"a\":1,".repeat(60).chars().take(length).collect()));
        for text in texts {
            let mut escaped = Vec::new();
            write_escaped(&mut escaped, &text).unwrap();
            let expected = serde_json::to_string(&text).unwrap();
            assert_eq!(
                format!("\"{}\"", String::from_utf8(escaped).unwrap()),
                expected
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
