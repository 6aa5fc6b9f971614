//! The product's own server with the fixtures on top. Requests for a fixture by name go to the
//! fixture, all others to the product.

use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use portkey_mcp::{
    mcp::{
        notifications::{ChangeNotifier, SessionSubscription},
        server::Server,
    },
    transport::http::DirectCallHandler,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        CompletionInfo, CustomRequest, CustomResult, GetPromptRequestParams, GetPromptResponse,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListToolsResult, LoggingLevel, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde_json::json;

use crate::{
    fixtures::{self, from_json},
    input_requests::{self, StatelessRound},
};

/// Minimum log level of a session; each session sets its own.
#[derive(Debug)]
pub(crate) struct LogLevel(Mutex<LoggingLevel>);

impl LogLevel {
    pub(crate) const INFO: LoggingLevel = LoggingLevel::Info;

    pub(crate) fn get(&self) -> LoggingLevel {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if the level includes messages of level `info`.
    pub(crate) fn allows_info(level: LoggingLevel) -> bool {
        matches!(level, LoggingLevel::Debug | LoggingLevel::Info)
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self(Mutex::new(LoggingLevel::Debug))
    }
}

impl Clone for LogLevel {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ConformanceServer {
    inner: Server,
    tools: Arc<Vec<Tool>>,
    session: SessionSubscription,
    level: LogLevel,
}

impl ConformanceServer {
    pub(crate) fn new(product: Server) -> Result<Self, ErrorData> {
        let tools = Arc::new(from_json(fixtures::tools())?);
        Ok(Self {
            inner: product,
            tools,
            session: SessionSubscription::default(),
            level: LogLevel::default(),
        })
    }

    fn is_fixture(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    /// Returns the capabilities of the product with those that only the fixtures need.
    fn capabilities(&self) -> ServerCapabilities {
        let mut all = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .build();
        all.tools = self.inner.get_info().capabilities.tools;
        all
    }
}

fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| !version.has_initialize())
}

impl DirectCallHandler for ConformanceServer {
    fn is_direct_read(&self, call: &CallToolRequestParams, head: &Parts) -> bool {
        // A fixture may use every feature of a tool call.
        let is_fixture = self.tools.iter().any(|tool| tool.name == call.name);
        !is_fixture && self.inner.is_direct_read(call, head)
    }
}

impl ServerHandler for ConformanceServer {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.inner.get_info();
        info.capabilities = self.capabilities();
        info
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let fixture = self.tools.iter().find(|tool| tool.name == name).cloned();
        fixture.or_else(|| self.inner.get_tool(name))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut result = self.inner.list_tools(request, context).await?;
        result.tools.extend(self.tools.iter().cloned());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        if !self.is_fixture(name) {
            return self.inner.call_tool(request, context).await;
        }
        if let Some(result) =
            fixtures::call(name, self.inner.notifier(), &self.level, &context).await?
        {
            return Ok(result.into());
        }
        let asked = if is_stateless(&context) {
            let round = StatelessRound {
                responses: request.input_responses.as_ref(),
                state: request.request_state.as_deref(),
                client: context.client_capabilities().unwrap_or_default(),
            };
            input_requests::call_stateless(name, &round)?
        } else {
            let arguments = request.arguments.unwrap_or_default();
            input_requests::call_in_session(name, &arguments, &context).await?
        };
        let unsupported = || ErrorData::invalid_params("not in this generation", None);
        asked.ok_or_else(unsupported)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(from_json(
            fixtures::prompts(),
        )?))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return input_requests::prompt(&StatelessRound {
                responses: request.input_responses.as_ref(),
                state: request.request_state.as_deref(),
                client: context.client_capabilities().unwrap_or_default(),
            });
        }
        let arguments = request.arguments.unwrap_or_default();
        Ok(fixtures::prompt(&request.name, &arguments)?.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let known = ["paris", "park", "party"].into_iter().map(str::to_owned);
        let fitting = known
            .filter(|word| word.starts_with(&request.argument.value))
            .collect();
        let all = CompletionInfo::with_all_values(fitting);
        let all = all.map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(all))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(from_json(
            fixtures::resources(),
        )?))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(from_json(
            fixtures::templates(),
        )?))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(fixtures::read_resource(&request.uri)?.into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let full = || ErrorData::invalid_params("too many resources are watched", None);
        self.session
            .watch(request.uri)
            .then_some(())
            .ok_or_else(full)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.session.unwatch(&request.uri);
        Ok(())
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.inner.initialize(request, context).await?;
        result.capabilities = self.capabilities();
        Ok(result)
    }

    /// Replaces the method of the product, because more capabilities are announced here.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let hub: &ChangeNotifier = self.inner.notifier();
        self.session
            .subscribe(hub, context.peer, &self.capabilities());
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.inner.accepted_subscription_filter(requested)
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.inner.listen(subscription).await
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_stateless(&context) {
            let request = CustomRequest::new("logging/setLevel", Some(json!({})));
            return self.on_custom_request(request, context).await.map(|_| ());
        }
        *self.level.0.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.inner.on_custom_request(request, context).await
    }
}
