//! Endpoints of the older transport, HTTP+SSE (2024-11-05), which only explain what to change.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::ConnectInfo,
    response::{IntoResponse, Response},
    routing::any,
};
use http::{StatusCode, Uri};
use tracing::info;

use super::error_response::ErrorResponse;

/// Customary paths of servers with the older transport.
const LEGACY_PATHS: [&str; 8] = [
    "/sse",
    "/sse/",
    "/messages",
    "/messages/",
    "/message",
    "/message/",
    "/mcp/sse",
    "/mcp/sse/",
];

/// Builds routes that name the current endpoint.
pub(super) fn routes(endpoint: &str) -> Router {
    let message = format!(
        "this server speaks streamable HTTP, at `{endpoint}`. Set the client's address to that, and its \
         transport to streamable HTTP (`http`) instead of HTTP+SSE (`sse`)"
    );
    let refuse = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, uri: Uri| {
        let message = message.clone();
        async move { reject_legacy_request(peer, &uri, message) }
    };
    LEGACY_PATHS
        .into_iter()
        .fold(Router::new(), |routes, path| {
            routes.route(path, any(refuse.clone()))
        })
}

fn reject_legacy_request(peer: SocketAddr, uri: &Uri, message: String) -> Response {
    info!(path = uri.path(), address = %peer.ip(), "request rejected: the older transport, HTTP+SSE");
    ErrorResponse::new(StatusCode::NOT_FOUND, message).into_response()
}
