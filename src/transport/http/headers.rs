//! Headers that repeat parts of a message, so that proxies need not parse it (SEP-2243). Handles
//! names of the same tool, and explains missing headers.

use std::borrow::Cow;

use axum::{body::to_bytes, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rmcp::model::{ErrorCode, Tool};
use serde::Deserialize;
use serde_json::Value;

use super::accept::{JSON, has_media_type};

pub(super) const MCP_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Maximum size of error responses that are parsed, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The parts of a message that are needed before rmcp parses it.
#[derive(Default, Deserialize)]
pub(super) struct MessageSummary<'a> {
    #[serde(borrow, default)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<SummaryParams<'a>>,
}

#[derive(Deserialize)]
struct SummaryParams<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl<'a> MessageSummary<'a> {
    /// Parses a message. Returns an empty summary if it is invalid.
    pub(super) fn parse(message: &'a [u8]) -> Self {
        serde_json::from_slice(message).unwrap_or_default()
    }

    /// The name of the tool that the message calls.
    fn tool_name(&self) -> Option<&str> {
        self.params
            .as_ref()?
            .name
            .as_deref()
            .filter(|_| self.method == "tools/call")
    }

    /// Replaces `Mcp-Name` by the name in the message if both mean the same tool. rmcp compares
    /// them literally.
    pub(super) fn align_name_header(
        &self,
        headers: &mut HeaderMap,
        find: impl Fn(&str) -> Option<Tool>,
    ) {
        let mut values = headers.get_all(MCP_NAME).iter();
        let (Some(given), None, Some(name)) = (values.next(), values.next(), self.tool_name())
        else {
            return;
        };
        let Some(given) = given.to_str().ok().and_then(decode_header_value) else {
            return;
        };
        let canonical_name = |name: &str| find(name).map(|tool| tool.name);
        if given == name
            || canonical_name(name).is_none_or(|meant| canonical_name(&given) != Some(meant))
        {
            return;
        }
        if let Ok(name) = HeaderValue::from_str(name) {
            headers.insert(MCP_NAME, name);
        }
    }

    /// Returns the required headers that are missing.
    pub(super) fn missing_headers(&self, headers: &HeaderMap) -> Vec<&'static str> {
        let mut needed = vec![
            (MCP_VERSION, "MCP-Protocol-Version"),
            (MCP_METHOD, "Mcp-Method"),
        ];
        if self.tool_name().is_some() {
            needed.push((MCP_NAME, "Mcp-Name"));
        }
        needed.retain(|(name, _)| !headers.contains_key(name));
        needed.into_iter().map(|(_, shown)| shown).collect()
    }
}

/// Decodes a header value. Text that no header can hold is sent in Base64.
fn decode_header_value(value: &str) -> Option<Cow<'_, str>> {
    let Some(wrapped) = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    else {
        return Some(value.into());
    };
    String::from_utf8(BASE64_STANDARD.decode(wrapped).ok()?)
        .ok()
        .map(Cow::Owned)
}

/// Adds advice on missing headers to an error response about headers.
pub(super) async fn explain_missing_headers(response: Response, missing: &[&str]) -> Response {
    if response.status() != StatusCode::BAD_REQUEST
        || missing.is_empty()
        || !has_media_type(&response, &JSON)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ERROR_BYTES).await.unwrap_or_default();
    let mut message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_mismatch = message
        .pointer("/error/code")
        .is_some_and(|code| *code == ErrorCode::HEADER_MISMATCH.0);
    let Some(Value::String(text)) = message
        .pointer_mut("/error/message")
        .filter(|_| is_mismatch)
    else {
        return Response::from_parts(parts, body.into());
    };
    let missing = missing.join("`, `");
    *text += &format!(
        ". The request arrived without `{missing}`. If the client sends that, a proxy on the way removes it: \
         have it let `MCP-Protocol-Version` and all headers that begin with `Mcp-` through. A client that \
         does not know these headers begins with `initialize`"
    );
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, message.to_string().into())
}
