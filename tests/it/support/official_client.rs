//! The official client over each transport, with each protocol.

use portkey_mcp::mcp::{server, surface::Surface};
use portkey_operation::Presentation;
use rmcp::{
    ClientHandler, ClientLifecycleMode, RoleClient,
    model::{CallToolRequestParams, CallToolResult, ProtocolVersion},
    service::{ClientServiceExt, RunningService},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::Value;

use crate::support::{
    catalogs::default_catalog,
    requests::client as http_client,
    server::{ServerProcess, StdioServer},
};

/// A client that is connected over one transport with one protocol.
pub(crate) struct ConnectedClient<H: ClientHandler = ()> {
    pub(crate) client: RunningService<RoleClient, H>,
    _server: Option<ServerProcess>,
    /// Transport and protocol, for failure messages.
    pub(crate) way: &'static str,
}

/// Connects the official client over stdio and HTTP, with both protocols.
pub(crate) async fn connect_everywhere(
    args: &[&str],
    variables: &[(&str, &str)],
) -> Vec<ConnectedClient> {
    connect_everywhere_as((), args, variables).await
}

/// Connects the official client with this handler, which declares what it can do.
pub(crate) async fn connect_everywhere_as<H: ClientHandler + Clone>(
    handler: H,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Vec<ConnectedClient<H>> {
    let mut all = Vec::new();
    for (lifecycle, way) in client_lifecycles()
        .into_iter()
        .zip(["pipe, 2025", "pipe, 2026"])
    {
        let command = StdioServer::builder()
            .args(args)
            .variables(variables)
            .command();
        let process = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
        let client = handler.clone().serve_with_lifecycle(process, lifecycle);
        let client = client.await.unwrap();
        all.push(ConnectedClient {
            client,
            _server: None,
            way,
        });
    }
    for (lifecycle, way) in client_lifecycles()
        .into_iter()
        .zip(["http, 2025", "http, 2026"])
    {
        let server = ServerProcess::http()
            .args(args)
            .variables(variables)
            .start();
        let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
        let transport = StreamableHttpClientTransport::with_client(http_client(), config);
        let client = handler.clone().serve_with_lifecycle(transport, lifecycle);
        let client = client.await.unwrap();
        all.push(ConnectedClient {
            client,
            _server: Some(server),
            way,
        });
    }
    all
}

impl<H: ClientHandler> ConnectedClient<H> {
    pub(crate) async fn result(&self, tool: &'static str, args: Value) -> CallToolResult {
        let request =
            CallToolRequestParams::new(tool).with_arguments(args.as_object().unwrap().clone());
        self.client.call_tool(request).await.unwrap()
    }

    /// Returns the result of a call, which must be equal as text and as structured content.
    pub(crate) async fn call(&self, tool: &'static str, args: Value) -> Result<Value, String> {
        let result = self.result(tool, args).await;
        let text = result.content[0].as_text().unwrap().text.clone();
        if result.is_error == Some(true) {
            return Err(text);
        }
        let structured = result.structured_content.unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            structured,
            "{}",
            self.way
        );
        Ok(structured)
    }

    /// Returns the instructions of the server.
    pub(crate) fn instructions(&self) -> String {
        self.client
            .peer_info()
            .unwrap()
            .instructions
            .clone()
            .unwrap_or_default()
    }

    /// Returns the listed tools.
    pub(crate) async fn tools(&self) -> Vec<rmcp::model::Tool> {
        self.client.list_all_tools().await.unwrap()
    }
}

/// Returns the number of tools.
pub(crate) fn tool_count() -> usize {
    server::build_tools(
        Surface::Operations,
        &Presentation::default(),
        default_catalog().iter(),
    )
    .len()
}

pub(crate) fn call_params(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

/// Returns one way to open a connection for each protocol generation.
pub(crate) fn client_lifecycles() -> [ClientLifecycleMode; 2] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover { preferred_versions },
    ]
}
