//! The messages that are sent, and what their answers must contain.

use anyhow::ensure;

/// The integration that is asked for; the sandbox begins with it.
pub(crate) const SLUG: &str = "openai-production";

/// What every good answer to a call contains.
pub(crate) const SUCCESS_TEXT: &[u8] = br#""isError":false"#;
/// What the answer to [`INITIALIZE`] contains.
pub(crate) const INITIALIZE_RESPONSE_TEXT: &[u8] = br#""protocolVersion":"2025-11-25""#;
/// What the answer to [`LIST`] contains.
pub(crate) const LIST_RESPONSE_TEXT: &[u8] = br#""name":"update-provider""#;

pub(crate) const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#
);
pub(crate) const INITIALIZED_NOTIFICATION: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":"list","method":"tools/list"}"#;

/// What a stateless request says about itself.
pub(crate) const META_PARAM: &str = concat!(
    r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"}}"#
);

/// The arguments of the call that is made all the time.
pub(crate) const GET_ARGUMENTS: &str = r#"{"slug":"openai-production"}"#;

/// That call; `meta` goes behind its arguments.
pub(crate) fn call(id: usize, meta: &str) -> String {
    tool_call(id, "get-integration", GET_ARGUMENTS, meta)
}

/// A call of any tool.
pub(crate) fn tool_call(id: usize, name: &str, arguments: &str, meta: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}{meta}}}}}"#
    )
}

/// A stateless request that is no call; `params` stand before [`META`].
pub(crate) fn stateless_request(method: &str, params: &str) -> String {
    let (comma, meta) = META_PARAM.split_at(1);
    let comma = if params.is_empty() { "" } else { comma };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
}

/// An answer must contain the words, or nothing that is measured means anything.
pub(crate) fn check(answer: &[u8], words: &[u8]) -> anyhow::Result<()> {
    ensure!(
        contains(answer, words),
        "the answer does not contain {}: {}",
        String::from_utf8_lossy(words),
        String::from_utf8_lossy(answer.get(..2000).unwrap_or(answer))
    );
    Ok(())
}

/// The text between words and a quotation mark, where an answer has them.
pub(crate) fn text_after<'a>(answer: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(words)?;
    rest.split(['"', '\\', ':', ' ']).next()
}

/// Whether an answer contains the words.
pub(crate) fn contains(answer: &[u8], words: &[u8]) -> bool {
    answer.windows(words.len()).any(|window| window == words)
}
