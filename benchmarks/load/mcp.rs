//! The messages that are sent, and the texts that their responses must contain.

use anyhow::ensure;
use memchr::memmem;

/// Integration that is requested. A new sandbox contains it.
pub(crate) const SLUG: &str = "openai-production";

/// Text in every successful response to a call.
pub(crate) const SUCCESS_TEXT: &[u8] = br#""isError":false"#;
/// Text in the response to [`INITIALIZE`].
pub(crate) const INITIALIZE_RESPONSE_TEXT: &[u8] = br#""protocolVersion":"2025-11-25""#;
/// Text in the response to [`LIST`].
pub(crate) const LIST_RESPONSE_TEXT: &[u8] = br#""name":"update-provider""#;

pub(crate) const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#
);
pub(crate) const INITIALIZED_NOTIFICATION: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":"list","method":"tools/list"}"#;

/// Metadata of a stateless request.
pub(crate) const META_PARAM: &str = concat!(
    r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"}}"#
);

/// Arguments of the repeated call.
pub(crate) const GET_ARGUMENTS: &str = r#"{"slug":"openai-production"}"#;

/// Returns the repeated call; `meta` follows its arguments.
pub(crate) fn call(id: usize, meta: &str) -> String {
    tool_call(id, "get-integration", GET_ARGUMENTS, meta)
}

/// Returns a call of any tool.
pub(crate) fn tool_call(id: usize, name: &str, arguments: &str, meta: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}{meta}}}}}"#
    )
}

/// Returns a stateless request that calls no tool; `params` precede the metadata.
pub(crate) fn stateless_request(method: &str, params: &str) -> String {
    let (comma, meta) = META_PARAM.split_at(1);
    let comma = if params.is_empty() { "" } else { comma };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
}

/// Checks that a response contains `words`; otherwise the measurement is meaningless.
pub(crate) fn check(answer: &[u8], words: &[u8]) -> anyhow::Result<()> {
    ensure!(
        contains(answer, words),
        "the answer does not contain {}: {}",
        String::from_utf8_lossy(words),
        String::from_utf8_lossy(answer.get(..2000).unwrap_or(answer))
    );
    Ok(())
}

/// Returns the text between `words` and the next quotation mark of a response.
pub(crate) fn text_after<'a>(answer: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(words)?;
    rest.split(['"', '\\', ':', ' ']).next()
}

/// Returns true if a response contains `words`.
pub(crate) fn contains(answer: &[u8], words: &[u8]) -> bool {
    // Large answers are searched for each call, on a core that the server could use.
    memmem::find(answer, words).is_some()
}
