//! MCP on one side, a call on the other.

mod approve;
mod arrival;
mod call;
mod complete;
mod prompts;
mod resources;
mod unread;

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        CustomRequest, CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse, Icon,
        Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
        SubscriptionFilter, Tool, ToolAnnotations,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use tokio_util::task::TaskTracker;

use self::arrival::{arrival, known};

use crate::{
    catalog::Entry,
    completion::Completer,
    dispatch::Dispatcher,
    hub::{Hub, Session},
    metrics::Metrics,
    observe,
    operation::Upstream,
    principal::Principal,
    prompts::Library,
    reply,
};

/// What a client is told about using the server.
const INSTRUCTIONS: &str = "Administers Portkey, an AI gateway: integrations hold provider \
    credentials, providers lend them to workspaces, MCP integrations register MCP servers. Call a \
    list tool first to find ids and slugs. `current_page` counts from zero. With an Admin key, name \
    the `workspace_id`. Secrets come back masked: never write a masked value back, leave the field \
    out. A field left out keeps its value.";

/// What it is told beside that where Enkrypt AI's tools are on offer.
const ENKRYPT_INSTRUCTIONS: &str = " Tools that say Enkrypt AI administer another product, with names \
    and servers of its own.";

/// How long a client may keep the list of tools: it only changes with a restart.
const LIST_TTL_MS: u64 = 3_600_000;

const ICON: &str = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciI\
    HZpZXdCb3g9IjAgMCAyNCAyNCI+PHBhdGggZmlsbD0iIzBmNzY2ZSIgZD0iTTMgMjFWOWE5IDkgMCAwIDEgMTggMHYxMmgt\
    NVY5YTQgNCAwIDAgMC04IDB2MTJ6Ii8+PC9zdmc+";

/// The MCP server; cheap to clone, one clone per session.
#[derive(Clone, Debug)]
pub struct Server {
    dispatcher: Arc<Dispatcher>,
    tools: Arc<OnceLock<Vec<Tool>>>,
    info: Arc<OnceLock<ServerConfig>>,
    prompts: Arc<Library>,
    completer: Completer,
    page: Option<usize>,
    local: Option<Arc<Principal>>,
    calls: TaskTracker,
    hub: Hub,
    session: Session,
    metrics: Metrics,
    /// Set once a client opens a session, which then is the one that this clone is for.
    opened: OnceLock<Arc<observe::Session>>,
}

impl Server {
    /// A server over a dispatcher, for callers that the transport has recognised. `page` splits the
    /// list of tools; without it, one page has all.
    pub fn new(dispatcher: Arc<Dispatcher>, page: Option<usize>) -> Self {
        let hub = Hub::default();
        if let Some(policy) = dispatcher.policy() {
            let hub = hub.clone();
            policy.on_change(move |before, now| {
                if !before.hides_as(now) {
                    hub.tools_changed();
                }
            });
        }
        Self {
            dispatcher,
            tools: Arc::default(),
            info: Arc::default(),
            prompts: Arc::new(Library::built_in()),
            completer: Completer::default(),
            page,
            local: None,
            calls: TaskTracker::new(),
            hub,
            session: Session::default(),
            metrics: Metrics::default(),
            opened: OnceLock::new(),
        }
    }

    /// The same, with what clients ask for recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same with other prompts than those built in.
    pub fn prompting(self, prompts: Library) -> Self {
        Self { prompts: Arc::new(prompts), ..self }
    }

    /// The same for whoever started the process, where the transport recognises nobody.
    pub fn for_local(self, principal: Principal) -> Self {
        Self { local: Some(Arc::new(principal)), ..self }
    }

    /// Where changes are announced to this server's clients.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The tools as `tools/list` has them, built when they are first asked for.
    pub fn tools(&self) -> &[Tool] {
        self.tools.get_or_init(|| self.dispatcher.offered().map(tool).collect())
    }

    /// Ends subscriptions and waits until no call is under way; calls that come after this are not
    /// waited for.
    pub async fn idle(&self) {
        self.hub.close();
        self.calls.close();
        self.calls.wait().await;
    }

    /// Who makes the request.
    fn caller<'a>(
        &'a self,
        context: &'a RequestContext<RoleServer>,
    ) -> Result<&'a Arc<Principal>, ErrorData> {
        let recognised = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get());
        // A transport that was to recognise callers and did not must not let them in.
        let nobody = || ErrorData::internal_error("the request has no caller", None);
        recognised.or(self.local.as_ref()).ok_or_else(nobody)
    }

    fn list(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListToolsResult, ErrorData> {
        let start = match request.and_then(|request| request.cursor) {
            None => 0,
            // A cursor names the last tool of the page before, so it stays good if tools are added.
            Some(cursor) => {
                let last = self.tools().iter().position(|tool| tool.name == cursor);
                let unknown = || ErrorData::invalid_params("there is no such cursor", None);
                last.ok_or_else(unknown)? + 1
            }
        };
        let seen = |(entry, _): &(&Entry, _)| self.dispatcher.shows(principal, entry);
        let tools = self.dispatcher.offered().zip(self.tools()).skip(start).filter(seen);
        let mut rest = tools.map(|(_, tool)| tool);
        let page: Vec<Tool> =
            rest.by_ref().take(self.page.unwrap_or(usize::MAX)).cloned().collect();
        let more = rest.next().is_some();
        let cursor = page.last().filter(|_| more).map(|tool| tool.name.to_string());
        let mut result = ListToolsResult::with_all_items(page)
            .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = cursor;
        Ok(result)
    }

    /// An answer that needs no call, observed.
    fn observed<T>(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
        answer: impl FnOnce(&Principal) -> Result<T, ErrorData>,
    ) -> Result<T, ErrorData> {
        let observed = observe::Operation::begin(&self.metrics, arrival(context), method);
        observed.ends(self.caller(context).and_then(|caller| answer(caller)), kind)
    }

    /// How long a client may keep what it is told; the next request may narrow it otherwise.
    fn ttl(&self, principal: &Principal, otherwise: u64) -> u64 {
        if principal.narrowing.is_some() { 0 } else { otherwise }
    }
}

/// Turns back a cursor where there is one page only.
fn only_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("there is no such cursor", None)),
    }
}

/// An error's code as a label.
fn kind(error: &ErrorData) -> &'static str {
    match error.code {
        ErrorCode::INVALID_PARAMS => "-32602",
        ErrorCode::METHOD_NOT_FOUND => "-32601",
        ErrorCode::INTERNAL_ERROR => "-32603",
        ErrorCode::RESOURCE_NOT_FOUND => "-32002",
        _ => "_OTHER",
    }
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities::builder()
        .enable_completions()
        .enable_prompts()
        .enable_resources()
        .enable_tools()
        .enable_tool_list_changed()
        .build()
}

/// What is said of this server to whoever begins to talk with it.
fn info(dispatcher: &Dispatcher) -> ServerConfig {
    // Said here because rmcp would otherwise introduce itself instead of us.
    let us = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .with_title("Portkey Admin")
        .with_description(env!("CARGO_PKG_DESCRIPTION"))
        .with_icons(vec![Icon::new(ICON).with_mime_type("image/svg+xml")]);
    let of_enkrypt = |entry: &Entry| entry.operation.base().upstream() == Upstream::Enkrypt;
    let more = match dispatcher.offered().any(of_enkrypt) {
        true => ENKRYPT_INSTRUCTIONS,
        false => "",
    };
    let references = dispatcher.secrets().instructions().unwrap_or_default();
    ServerConfig::new(capabilities())
        .with_server_info(us)
        .with_instructions(format!("{INSTRUCTIONS}{more}{references}"))
}

/// An operation as MCP publishes it.
pub fn tool(entry: &Entry) -> Tool {
    let published = entry.published();
    let hints = published.operation().hints();
    let mut tool = Tool::new(
        published.operation().name(),
        published.description().to_owned(),
        published.schema().clone(),
    )
    .with_title(published.title())
    .with_annotations(
        ToolAnnotations::new()
            .read_only(hints.read_only)
            .destructive(hints.destructive)
            .idempotent(hints.idempotent)
            .open_world(hints.open_world),
    );
    tool.meta = published.operation().is_untrusted().then(reply::untrusted);
    tool
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        // Asked for with every request that has no session.
        self.info.get_or_init(|| info(&self.dispatcher)).clone()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.dispatcher.catalog().find(name).ok().map(tool)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let outcome = self.negotiate_initialize(&request);
        let mut arrival = arrival(&context);
        if let Ok(result) = &outcome {
            arrival.protocol = known(&result.protocol_version);
            let begun = || observe::Session::begin(&self.metrics, arrival.clone()).into();
            self.opened.get_or_init(begun);
        }
        observe::Operation::begin(&self.metrics, arrival, "initialize").ends(outcome, kind)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.observed("tools/list", &context, |caller| self.list(caller, request))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Boxed, as all that is large here, because rmcp moves it from hand to hand.
        Box::pin(self.answer(request, context)).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        self.observed("prompts/list", &context, |caller| self.prompts(caller, request))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let prompt = |caller: &Principal| self.prompt(caller, &request);
        Ok(self.observed("prompts/get", &context, prompt)?.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.observed("resources/list", &context, |caller| self.resources(caller, request))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = |caller: &Principal| self.templates(caller, request);
        self.observed("resources/templates/list", &context, templates)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(Box::pin(self.read(&request.uri, &context)).await?.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let observed =
            observe::Operation::begin(&self.metrics, arrival(&context), "completion/complete");
        let completed = tokio::select! {
            completed = Box::pin(self.completed(&request, &context)) => completed,
            () = context.ct.cancelled() => {
                Err(ErrorData::internal_error("the completion was cancelled", None))
            }
        };
        observed.ends(completed, kind)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.session.join(&self.hub, context.peer, &capabilities());
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(Hub::accepted(requested))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        Box::pin(self.hub.listen(subscription)).await;
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(unread::explained(&request.method))
    }
}
