//! The official client with a simulated user, who reacts to forms.

use std::sync::{Arc, Mutex};

use rmcp::{
    ClientHandler, ClientLifecycleMode, ErrorData, RoleClient,
    model::{
        CallToolRequestParams, CallToolResult, ClientConfig, ElicitRequestParams, ElicitResult,
        ElicitationAction, ElicitationCapability, ProtocolVersion,
    },
    service::{ClientServiceExt, RequestContext, RunningService},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

use crate::support::{
    requests,
    server::{ServerProcess, StdioServer, serve_sandbox},
};

/// The reaction of the test client to the next form.
#[derive(Clone, Debug)]
pub(crate) enum FormReaction {
    /// Accepts with this content.
    Accept(Value),
    Decline,
    Cancel,
    /// Accepts and types the name that the form asks for.
    AcceptWithName,
    /// Waits for a permit, and approves.
    ApproveLater(Arc<tokio::sync::Semaphore>),
    /// Sends no response.
    NeverRespond,
}

/// The official client with a simulated user, who reacts to forms if `supports_forms` is set.
#[derive(Clone)]
pub(crate) struct FormClient {
    supports_forms: bool,
    reaction: Arc<Mutex<FormReaction>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FormClient {
    pub(crate) fn new(shows_forms: bool) -> Self {
        let does = Arc::new(Mutex::new(FormReaction::Decline));
        Self {
            supports_forms: shows_forms,
            reaction: does,
            requests: Arc::default(),
        }
    }

    pub(crate) fn set_reaction(&self, does: FormReaction) {
        *self.reaction.lock().unwrap() = does;
    }

    /// Returns the message of the latest form.
    pub(crate) fn last_request(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl ClientHandler for FormClient {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.capabilities.elicitation = self.supports_forms.then(ElicitationCapability::default);
        info
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            panic!()
        };
        let name = message
            .rsplit("type: `")
            .next()
            .unwrap()
            .trim_end_matches('`')
            .to_owned();
        self.requests.lock().unwrap().push(message);
        let does = self.reaction.lock().unwrap().clone();
        let accepted = |content| ElicitResult::new(ElicitationAction::Accept).with_content(content);
        Ok(match does {
            FormReaction::Accept(content) => accepted(content),
            FormReaction::AcceptWithName => accepted(json!({ "approve": true, "name": name })),
            FormReaction::Decline => ElicitResult::new(ElicitationAction::Decline),
            FormReaction::Cancel => ElicitResult::new(ElicitationAction::Cancel),
            FormReaction::ApproveLater(permits) => {
                permits.acquire().await.unwrap().forget();
                accepted(json!({ "approve": true }))
            }
            FormReaction::NeverRespond => std::future::pending().await,
        })
    }
}

/// A connected client and, over HTTP, its server.
pub(crate) struct FormSession {
    pub(crate) client: RunningService<RoleClient, FormClient>,
    _server: Option<ServerProcess>,
}

/// Pairs of "over HTTP" and "of the stateless generation". Each run gets a server of its own.
pub(crate) const TRANSPORTS_AND_GENERATIONS: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

pub(crate) async fn connect(
    (http, modern): (bool, bool),
    human: &FormClient,
    options: &[&str],
) -> FormSession {
    let lifecycle = match modern {
        false => ClientLifecycleMode::Initialize,
        true => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    };
    let human = human.clone();
    if http {
        let server = serve_sandbox(options);
        let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
        let transport = StreamableHttpClientTransport::with_client(requests::client(), config);
        let client = human
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .unwrap();
        return FormSession {
            client,
            _server: Some(server),
        };
    }
    let command = StdioServer::builder().sandbox().args(options).command();
    let transport = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
    let client = human
        .serve_with_lifecycle(transport, lifecycle)
        .await
        .unwrap();
    FormSession {
        client,
        _server: None,
    }
}

/// Connects a client of the earlier generation, which waits during a form, to a server.
pub(crate) async fn connect_to(server: &ServerProcess, human: &FormClient) -> FormSession {
    let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
    let transport = StreamableHttpClientTransport::with_client(requests::client(), config);
    let client = human
        .clone()
        .serve_with_lifecycle(transport, ClientLifecycleMode::Initialize)
        .await
        .unwrap();
    FormSession {
        client,
        _server: None,
    }
}

impl FormSession {
    pub(crate) async fn call(&self, tool: &'static str, args: Value) -> CallToolResult {
        let args = args.as_object().unwrap().clone();
        self.client
            .call_tool(CallToolRequestParams::new(tool).with_arguments(args))
            .await
            .unwrap()
    }

    /// Calls a tool and returns its success and its text.
    pub(crate) async fn call_text(&self, tool: &'static str, args: Value) -> (bool, String) {
        let result = self.call(tool, args).await;
        (
            result.is_error == Some(false),
            result.content[0].as_text().unwrap().text.clone(),
        )
    }

    /// Checks if the integration exists.
    pub(crate) async fn has_integration(&self, slug: &str) -> bool {
        self.call_text("get-integration", json!({ "slug": slug }))
            .await
            .0
    }
}
