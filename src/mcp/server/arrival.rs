//! Request information from the MCP context of a request.

use std::sync::{Arc, LazyLock};

use http::request::Parts;
use rmcp::{RoleServer, model::ProtocolVersion, service::RequestContext};

use crate::{
    observability::{
        request::{RequestInfo, RequestId, Transport, UNKNOWN_NAME},
        traces::TraceParent,
    },
    security::sanitize::first_chars,
};

/// Maximum length of a client name that is recorded, in characters.
const LONGEST_CLIENT_NAME: usize = 100;

/// `_meta` key of the client that makes a request, from revision 2026-07-28 on.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// Id of the only session over standard input and output.
static STDIO: LazyLock<Arc<str>> = LazyLock::new(|| Transport::Stdio.as_str().into());

/// Collects the information about a request.
pub(super) fn arrival(context: &RequestContext<RoleServer>) -> RequestInfo {
    let parts = context.extensions.get::<Parts>();
    let id = parts
        .and_then(|parts| parts.extensions.get::<RequestId>())
        .cloned();
    RequestInfo {
        id: id.unwrap_or_else(RequestId::generate),
        transport: if parts.is_some() {
            Transport::Http
        } else {
            Transport::Stdio
        },
        protocol: context
            .protocol_version()
            .map_or(UNKNOWN_NAME, |version| known(&version)),
        trace_parent: TraceParent::from_headers(
            context.meta.get_traceparent(),
            parts.map(|parts| &parts.headers),
        ),
        client: client(context),
        session: match parts {
            Some(parts) => {
                let id = parts
                    .headers
                    .get("mcp-session-id")
                    .and_then(|id| id.to_str().ok());
                id.map(Into::into)
            }
            None => Some(STDIO.clone()),
        },
    }
}

/// Returns the name that the client declares. It is displayed, and proves nothing.
fn client(context: &RequestContext<RoleServer>) -> Option<Arc<str>> {
    let said = context.meta.get(CLIENT_INFO);
    if let Some(name) = said.and_then(|client| client.get("name")?.as_str()) {
        return Some(shown(name));
    }
    context
        .peer
        .peer_info()
        .map(|info| shown(&info.client_info.name))
}

/// Returns a name that is safe to log: short, and without control characters that a terminal would
/// interpret.
fn shown(name: &str) -> Arc<str> {
    let name = first_chars(name, LONGEST_CLIENT_NAME);
    if !name.contains(char::is_control) {
        return name.into();
    }
    name.replace(char::is_control, "?").into()
}

/// Returns the protocol revision as a metrics label. Unknown revisions share one label.
pub(super) fn known(version: &ProtocolVersion) -> &'static str {
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .find(|known| *known == version);
    known.map_or(UNKNOWN_NAME, ProtocolVersion::as_str)
}
