//! An MCP client over HTTP that opens a connection for each request.

use http::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::requests::client_builder;

/// A response: its status, its headers, and its JSON-RPC message, if any.
#[derive(Debug)]
pub(crate) struct McpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Value,
}

/// A client with its own Portkey key.
#[derive(Clone)]
pub(crate) struct McpClient {
    client: Client,
    url: String,
    key: &'static str,
    pub(crate) session: Option<String>,
}

impl McpClient {
    pub(crate) fn new(url: &str, key: &'static str) -> Self {
        let client = client_builder()
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap();
        Self::by(client, url, key)
    }

    /// Returns a client that uses this HTTP client.
    pub(crate) fn by(client: Client, url: &str, key: &'static str) -> Self {
        Self {
            client,
            url: url.to_owned(),
            key,
            session: None,
        }
    }

    /// Returns the same client, with the same session, for another URL.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// Returns another caller who knows the session id.
    pub(crate) fn taken_over_by(&self, key: &'static str) -> Self {
        Self {
            key,
            ..self.clone()
        }
    }

    /// Builds a request, in the session if there is one.
    pub(crate) fn request(&self, method: Method) -> RequestBuilder {
        let request = self
            .client
            .request(method, &self.url)
            .header("x-portkey-api-key", self.key)
            .header("accept", "application/json, text/event-stream");
        match &self.session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }

    /// Builds a POST request with a message, in the session if there is one.
    pub(crate) fn post(&self, message: &Value) -> RequestBuilder {
        let version = self
            .session
            .as_ref()
            .map(|_| ("mcp-protocol-version", "2025-11-25"));
        self.post_with(version, message)
    }

    fn post_with<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        message: &Value,
    ) -> RequestBuilder {
        let request = self
            .request(Method::POST)
            .header("content-type", "application/json");
        let request = headers.into_iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        request.body(message.to_string())
    }

    /// Opens a session, as clients up to 2025-11-25 do.
    pub(crate) async fn initialize(&mut self) -> McpResponse {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let response = self.call("initialize", params).await;
        if let Some(session) = response.headers.get("mcp-session-id") {
            self.session = Some(session.to_str().unwrap().to_owned());
            let done = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            assert_eq!(
                send(self.post(&done)).await.unwrap().status,
                StatusCode::ACCEPTED
            );
        }
        response
    }

    /// Ends the session.
    pub(crate) async fn end(&self) -> McpResponse {
        send(self.request(Method::DELETE)).await.unwrap()
    }

    /// Calls a method of the protocol.
    pub(crate) async fn call(&self, method: &str, params: Value) -> McpResponse {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        send(self.post(&message)).await.unwrap()
    }

    /// Returns true if the session lists its tools.
    pub(crate) async fn lists_tools(&self) -> bool {
        let answer = self.call("tools/list", json!({})).await;
        answer.status == StatusCode::OK && answer.message["result"]["tools"].is_array()
    }

    /// Calls a tool without a session, as clients since 2026-07-28 do.
    pub(crate) async fn modern(&self, tool: &str, args: &Value) -> reqwest::Result<McpResponse> {
        self.modern_with(tool, json!({ "arguments": args }), json!({}))
            .await
    }

    /// Calls a tool without a session, with all parameters and the capabilities of the client.
    pub(crate) async fn modern_with(
        &self,
        tool: &str,
        mut params: Value,
        can: Value,
    ) -> reqwest::Result<McpResponse> {
        params["name"] = json!(tool);
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": can,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        send(self.post_with(headers, &message)).await
    }
}

pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<McpResponse> {
    let response = request.send().await?;
    let status = response.status();
    let headers = response.headers().clone();
    let text = response.text().await?;
    // One message, as the body or as the last event of a stream.
    let mut data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim);
    let json = data.rfind(|data| data.starts_with('{')).unwrap_or(&text);
    Ok(McpResponse {
        status,
        headers,
        message: serde_json::from_str(json).unwrap_or(Value::Null),
    })
}
