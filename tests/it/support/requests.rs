//! Requests to the MCP endpoint, built by hand.

use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::server::ServerProcess;

/// Returns a builder of clients that trust nobody, because reading the system's certificates takes longer than a test.
pub(crate) fn client_builder() -> ClientBuilder {
    portkey_mcp::http_client::client_builder().tls_certs_only([])
}

pub(crate) fn client() -> Client {
    client_builder().build().unwrap()
}

pub(crate) fn post_request(server: &ServerProcess, body: &str) -> RequestBuilder {
    post_request_by(&client(), server, body)
}

fn post_request_by(client: &Client, server: &ServerProcess, body: &str) -> RequestBuilder {
    client
        .post(&server.url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(body.to_owned())
}

/// Returns a stateless request (2026-07-28).
pub(crate) fn stateless_request(
    server: &ServerProcess,
    method: &str,
    params: Value,
) -> RequestBuilder {
    stateless_request_by(&client(), server, method, params)
}

/// Returns a stateless request of a client that makes several.
pub(crate) fn stateless_request_by(
    client: &Client,
    server: &ServerProcess,
    method: &str,
    mut params: Value,
) -> RequestBuilder {
    let name = params["name"].as_str().map(str::to_owned);
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let request = post_request_by(client, server, &body.to_string())
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = name {
        request.header("mcp-name", name)
    } else {
        request
    }
}

pub(crate) async fn send_request(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")),
    )
}

/// Returns a stateless tool call.
pub(crate) fn call_request(server: &ServerProcess, tool: &str, arguments: Value) -> RequestBuilder {
    stateless_request(
        server,
        "tools/call",
        json!({ "name": tool, "arguments": arguments }),
    )
}

/// Returns the request that opens a session (2025-11-25).
pub(crate) fn initialize_request(server: &ServerProcess) -> RequestBuilder {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    post_request(server, &body.to_string())
}

/// Opens a session (2025-11-25); returns its id.
pub(crate) async fn open_session(server: &ServerProcess) -> String {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let opened = post_request(server, &body.to_string())
        .send()
        .await
        .unwrap();
    opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned()
}

pub(crate) async fn end_session(server: &ServerProcess, session: &str) {
    let end = client()
        .delete(&server.url)
        .header("mcp-session-id", session);
    assert_eq!(end.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}
