//! Recognizes calls for the fast path, whose head and message are as most clients write them.
//!
//! Only calls that are valid beyond doubt qualify. Everything that needs closer inspection is left
//! to rmcp, which knows what is allowed and reports what is wrong.

use std::sync::Arc;

use axum::extract::Request;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use rmcp::model::{JsonObject, ProtocolVersion, RequestId, RequestMetaObject};
use serde::Deserialize;

use crate::transport::http::{
    headers::{MCP_METHOD, MCP_NAME, MCP_VERSION},
    sessions::{ActiveSession, LimitedSessionManager, SESSION_ID},
};

/// The one revision without sessions whose calls can take the fast path.
const SESSIONLESS_VERSION: ProtocolVersion = ProtocolVersion::V_2026_07_28;
/// Revisions with sessions whose calls can take the fast path. Earlier ones are not named in the
/// head.
const SESSION_VERSIONS: [ProtocolVersion; 2] =
    [ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
pub(in crate::transport::http) const TOOLS_CALL: &str = "tools/call";

/// Key in `_meta` of the revision that a call uses.
const PROTOCOL_VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// Key in `_meta` of the client that makes the call.
const CLIENT_INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";

/// Head of a request that may take the fast path.
pub(super) enum FastPathHead {
    /// The call belongs to no session and names this tool.
    Sessionless(HeaderValue),
    /// The message may be a call and belongs to this session.
    InSession(Arc<ActiveSession>),
}

/// A message that is nothing but a call. Messages with any other field do not parse.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FastPathMessage<'a> {
    jsonrpc: &'a str,
    pub(super) id: RequestId,
    method: &'a str,
    pub(super) params: FastPathParams<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FastPathParams<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: Option<JsonObject>,
    #[serde(rename = "_meta", default)]
    pub(super) meta: RequestMetaObject,
}

impl FastPathHead {
    /// Parses the head of a request to one of these hosts. Returns `None` if it needs closer
    /// inspection.
    pub(super) fn parse(
        request: &Request,
        hosts: &[String],
        sessions: &LimitedSessionManager,
    ) -> Option<Self> {
        let headers = request.headers();
        let host = match headers.contains_key(header::HOST) {
            true => single_value(headers, &header::HOST)?.to_str().ok()?,
            // HTTP/2 sends the host as the authority.
            false => request.uri().authority()?.as_str(),
        };
        let is_simple = request.method() == Method::POST
            && !headers.contains_key(header::ORIGIN)
            && is_known_host(host, hosts)
            && single_value(headers, &header::CONTENT_TYPE)? == "application/json"
            && accepts_both(single_value(headers, &header::ACCEPT)?.to_str().ok()?);
        let version = single_value(headers, &MCP_VERSION).filter(|_| is_simple)?;
        if version == SESSIONLESS_VERSION.as_str() {
            let is_call = single_value(headers, &MCP_METHOD)? == TOOLS_CALL;
            return single_value(headers, &MCP_NAME)
                .filter(|_| is_call)
                .cloned()
                .map(Self::Sessionless);
        }
        if !SESSION_VERSIONS.iter().any(|with| version == with.as_str()) {
            return None;
        }
        let id = single_value(headers, &SESSION_ID)?.to_str().ok()?;
        sessions.find(id).map(Self::InSession)
    }
}

impl<'a> FastPathMessage<'a> {
    /// Parses a call whose message matches this head.
    pub(super) fn parse(body: &'a [u8], head: &FastPathHead) -> Option<Self> {
        let message: Self = serde_json::from_str(str::from_utf8(body).ok()?).ok()?;
        let meta = &message.params.meta;
        let fits = match head {
            FastPathHead::Sessionless(tool) => {
                tool == message.params.name
                    && meta
                        .get(PROTOCOL_VERSION_KEY)
                        .is_some_and(|version| version == SESSIONLESS_VERSION.as_str())
                    && meta
                        .get(CLIENT_INFO_KEY)
                        .is_some_and(|client| client["name"].is_string())
                    && meta.client_capabilities().is_some()
            }
            FastPathHead::InSession(_) => !meta.contains_key(PROTOCOL_VERSION_KEY),
        };
        let is_call = message.jsonrpc == "2.0" && message.method == TOOLS_CALL;
        (is_call && fits).then_some(message)
    }
}

/// Returns `true` if a host has one of these names, at any port.
fn is_known_host(host: &str, hosts: &[String]) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_name = !name.is_empty() && name.bytes().all(fits);
    is_port && is_name && hosts.iter().any(|one| one == name)
}

/// Returns the value of a header that occurs exactly once.
fn single_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Returns `true` if a client accepts both forms that the protocol demands: JSON and a stream of
/// events.
fn accepts_both(accept: &str) -> bool {
    // As the specification writes it, and almost every client.
    if accept == "application/json, text/event-stream" {
        return true;
    }
    let accepts = |kind: &str| accept.split(',').any(|part| part.trim() == kind);
    accepts("application/json") && accepts("text/event-stream")
}
