//! Request information from the MCP context of a request.

use std::sync::{Arc, LazyLock};

use http::request::Parts;
use rmcp::{RoleServer, model::ProtocolVersion, service::RequestContext};

use crate::{
    mcp::{cards, reply},
    observability::{
        request::{ClientAddress, RequestId, RequestInfo, Transport, UNKNOWN_NAME},
        traces::TraceParent,
    },
    security::sanitize::first_chars,
};

/// Maximum length of a client name that is recorded, in characters.
const MAX_CLIENT_NAME_CHARS: usize = 100;

/// `_meta` key of the client that makes a request, from revision 2026-07-28 on.
const CLIENT_INFO_META_KEY: &str = "io.modelcontextprotocol/clientInfo";

/// Id of the only session over standard input and output.
static STDIO_SESSION: LazyLock<Arc<str>> = LazyLock::new(|| Transport::Stdio.as_str().into());

/// Collects the information about a request.
pub(super) fn request_info(context: &RequestContext<RoleServer>) -> RequestInfo {
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
            .map_or(UNKNOWN_NAME, |version| protocol_label(&version)),
        trace_parent: TraceParent::from_headers(
            context.meta.get_traceparent(),
            parts.map(|parts| &parts.headers),
        ),
        client: client_name(context),
        session: match parts {
            Some(parts) => {
                let id = parts
                    .headers
                    .get("mcp-session-id")
                    .and_then(|id| id.to_str().ok());
                id.map(Into::into)
            }
            None => Some(STDIO_SESSION.clone()),
        },
        source: parts
            .and_then(|parts| parts.extensions.get())
            .map(|ClientAddress(address)| *address),
    }
}

/// Returns true if the client is known to give structured content to the model, and its revision has it.
pub(super) fn reads_structured_content(context: &RequestContext<RoleServer>) -> bool {
    // Responses of earlier revisions have the text only.
    let has_structured_content = context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2025_06_18);
    if !has_structured_content {
        return false;
    }
    let client = context.meta.get(CLIENT_INFO_META_KEY);
    let field = |name: &str| client.and_then(|client| client.get(name)?.as_str());
    match (field("name"), field("version"), context.peer.peer_info()) {
        (Some(name), version, _) => {
            reply::reads_structured_content(name, version.unwrap_or_default())
        }
        (None, _, Some(info)) => {
            let client = &info.client_info;
            reply::reads_structured_content(&client.name, &client.version)
        }
        (None, _, None) => false,
    }
}

/// Returns true if the client declares that it shows cards.
pub(super) fn shows_cards(context: &RequestContext<RoleServer>) -> bool {
    cards::shows_cards(context.client_capabilities().as_ref())
}

/// Returns the name that the client declares. It is displayed, and proves nothing.
fn client_name(context: &RequestContext<RoleServer>) -> Option<Arc<str>> {
    let said = context.meta.get(CLIENT_INFO_META_KEY);
    if let Some(name) = said.and_then(|client| client.get("name")?.as_str()) {
        return Some(sanitize_client_name(name));
    }
    context
        .peer
        .peer_info()
        .map(|info| sanitize_client_name(&info.client_info.name))
}

/// Returns a name that is safe to log: short, and without control characters that a terminal would
/// interpret.
fn sanitize_client_name(name: &str) -> Arc<str> {
    let name = first_chars(name, MAX_CLIENT_NAME_CHARS);
    if !name.contains(char::is_control) {
        return name.into();
    }
    name.replace(char::is_control, "?").into()
}

/// Returns the protocol revision as a metrics label. Unknown revisions share one label.
pub(super) fn protocol_label(version: &ProtocolVersion) -> &'static str {
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .find(|known| *known == version);
    known.map_or(UNKNOWN_NAME, ProtocolVersion::as_str)
}
