//! How a request came, as far as MCP tells.

use std::sync::{Arc, LazyLock};

use http::request::Parts;
use rmcp::{RoleServer, model::ProtocolVersion, service::RequestContext};

use crate::{
    observability::{
        request::{Arrival, RequestId, Transport, UNKNOWN},
        traces::Parent,
    },
    security::sanitize::first_chars,
};

/// Bound on what is taken over of a client's name, in characters.
const LONGEST_CLIENT_NAME: usize = 100;

/// Where a request says which client makes it, from 2026-07-28 on.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// The one session that there is over standard input and output.
static STDIO: LazyLock<Arc<str>> = LazyLock::new(|| Transport::Stdio.as_str().into());

/// How a request came.
pub(super) fn arrival(context: &RequestContext<RoleServer>) -> Arrival {
    let parts = context.extensions.get::<Parts>();
    let id = parts
        .and_then(|parts| parts.extensions.get::<RequestId>())
        .cloned();
    Arrival {
        id: id.unwrap_or_else(RequestId::make),
        transport: if parts.is_some() {
            Transport::Http
        } else {
            Transport::Stdio
        },
        protocol: context
            .protocol_version()
            .map_or(UNKNOWN, |version| known(&version)),
        parent: Parent::read(
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

/// What the client calls itself. Its word only: it is shown, and proves nothing.
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

/// A name as it may stand in a log: short, and without what a terminal would obey.
fn shown(name: &str) -> Arc<str> {
    let name = first_chars(name, LONGEST_CLIENT_NAME);
    if !name.contains(char::is_control) {
        return name.into();
    }
    name.replace(char::is_control, "?").into()
}

/// The revision as a label, which takes known ones only.
pub(super) fn known(version: &ProtocolVersion) -> &'static str {
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .find(|known| *known == version);
    known.map_or(UNKNOWN, ProtocolVersion::as_str)
}
