//! MCP on one side, a call on the other.

mod approve;
mod arrival;
mod call;
mod capabilities;
mod complete;
mod list;
mod own;
mod pages;
mod prompts;
mod quiet;
mod resources;
mod shell;
mod unread;
mod whoami;

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        CustomRequest, CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse, Icon,
        Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SubscriptionFilter, Tool,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use tokio_util::task::TaskTracker;

use self::{
    arrival::{arrival, known},
    capabilities::Changing,
};

use portkey_api::catalog::Entry;
use portkey_file_watch::Watched;
use portkey_operation::Upstream;

use crate::{
    auth::principal::Principal,
    mcp::{
        completion::Completer,
        notifications::{Hub, Session},
        prompts::Library,
        results::Results,
        search::Index,
        surface::{self, Surface},
    },
    observability::{call_record::ErrorType, metrics::Metrics, observer},
    pipeline::Dispatcher,
};

pub(crate) use self::whoami::KEY_REFUSED;
pub use self::{
    list::{tool, tools},
    quiet::Foresight,
};

/// What a client is told about using the server: what it is, how to begin, and what to keep to.
const INSTRUCTIONS: &str = "Administers Portkey, an AI gateway: integrations hold provider \
    credentials, providers lend them to workspaces, MCP integrations register MCP servers. ";
const FROM_LISTS: &str = "Call a list tool first to find ids and slugs.";
const FROM_SEARCH: &str = "`search-operations` finds what to call, and the tool that it names calls it; \
    list operations find ids and slugs.";
const RULES: &str = " `current_page` counts from zero. With an Admin key, name \
    the `workspace_id`. Secrets come back masked: never write a masked value back, leave the field \
    out. A field left out keeps its value. A time may be RFC 3339, a date, `2026-11`, `7d` or `last month`. \
    `warnings` in an answer say what of the arguments was not known or left out. Lists say `total`, `returned` and `next`, the arguments of \
    the next page; each also takes `fields` (names to return, dots into objects) and `all: true` (follow \
    the pages, up to 1,000 items). A large result comes `truncated`, with what was left out.";

/// What it is told beside that where Enkrypt AI's tools are on offer.
const ENKRYPT_INSTRUCTIONS: &str = " Tools that say Enkrypt AI administer another product, with names \
    and servers of its own.";

/// How long a client may keep a list: it only changes with a restart, or that is announced.
const LIST_TTL_MS: u64 = 3_600_000;

const ICON: &str = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciI\
    HZpZXdCb3g9IjAgMCAyNCAyNCI+PHBhdGggZmlsbD0iIzBmNzY2ZSIgZD0iTTMgMjFWOWE5IDkgMCAwIDEgMTggMHYxMmgt\
    NVY5YTQgNCAwIDAgMC04IDB2MTJ6Ii8+PC9zdmc+";

/// The MCP server; cheap to clone, one clone per session.
#[derive(Clone, Debug)]
pub struct Server {
    dispatcher: Arc<Dispatcher>,
    results: Results,
    tools: Arc<OnceLock<Vec<Tool>>>,
    info: Arc<OnceLock<ServerConfig>>,
    lists: Changing,
    surface: Surface,
    /// Finds operations; made when one is first looked for.
    index: Arc<OnceLock<Index>>,
    /// Those built in are read when one is first asked for: many a client never asks.
    prompts: Arc<OnceLock<Watched<Library>>>,
    completer: Completer,
    page: Option<usize>,
    local: Option<Arc<Principal>>,
    calls: TaskTracker,
    hub: Hub,
    session: Session,
    metrics: Metrics,
    /// Set once a client opens a session, which then is the one that this clone is for.
    opened: OnceLock<Arc<observer::Session>>,
}

impl Server {
    /// A server over a dispatcher, for callers that the transport has recognised. `page` splits the
    /// list of tools; without it, one page has all.
    pub fn new(dispatcher: Arc<Dispatcher>, page: Option<usize>) -> Self {
        let hub = Hub::default();
        let mut lists = Changing::default();
        if let Some(policy) = dispatcher.policy() {
            lists = Changing::with_what_is_seen();
            let hub = hub.clone();
            policy.on_change(move |before, now| {
                if !before.lists_as(now) {
                    hub.lists_changed();
                }
            });
        }
        Self {
            dispatcher,
            results: Results::default(),
            tools: Arc::default(),
            info: Arc::default(),
            lists,
            surface: Surface::default(),
            index: Arc::default(),
            prompts: Arc::default(),
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

    /// The same, with operations shown so.
    pub fn on_surface(self, surface: Surface) -> Self {
        Self { surface, ..self }
    }

    /// The same, with answers shown so.
    pub fn showing(self, results: Results) -> Self {
        Self { results, ..self }
    }

    /// The same with other prompts than those built in, if there are any. Their changes are announced.
    pub fn prompting(self, prompts: Option<Watched<Library>>) -> Self {
        let Some(prompts) = prompts else { return self };
        let hub = self.hub.clone();
        prompts.on_change(move |_, _| hub.prompts_changed());
        let lists = Changing {
            prompts: true,
            ..self.lists
        };
        Self {
            prompts: Arc::new(prompts.into()),
            lists,
            ..self
        }
    }

    /// The same, where what callers may see can change by more than a policy. Whoever changes it has the
    /// [hub](Self::hub) announce that.
    pub fn with_callers_that_change(self) -> Self {
        Self {
            lists: Changing::with_what_is_seen(),
            ..self
        }
    }

    /// The same for whoever started the process, where the transport recognises nobody.
    pub fn for_local(self, principal: Principal) -> Self {
        Self {
            local: Some(Arc::new(principal)),
            ..self
        }
    }

    /// Where changes are announced to this server's clients.
    pub fn hub(&self) -> &Hub {
        &self.hub
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
        let recognised = context
            .extensions
            .get::<Parts>()
            .and_then(|parts| parts.extensions.get());
        // A transport that was to recognise callers and did not must not let them in.
        let nobody = || ErrorData::internal_error("the request has no caller", None);
        recognised.or(self.local.as_ref()).ok_or_else(nobody)
    }

    /// An answer that needs no call, observed.
    fn observed<T>(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
        answer: impl FnOnce(&Principal) -> Result<T, ErrorData>,
    ) -> Result<T, ErrorData> {
        let observed = observer::Operation::begin(&self.metrics, arrival(context), method);
        observed.ends(self.caller(context).and_then(|caller| answer(caller)), kind)
    }

    /// How long a client may keep what it is told; the next request may narrow it otherwise.
    fn ttl(&self, principal: &Principal, otherwise: u64) -> u64 {
        if principal.narrowing.is_some() {
            0
        } else {
            otherwise
        }
    }
}

/// Rejects a cursor where there is one page only.
fn only_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("there is no such cursor", None)),
    }
}

/// The type of an error, by its code.
const fn kind(error: &ErrorData) -> ErrorType {
    match error.code {
        ErrorCode::INVALID_PARAMS => ErrorType::InvalidParams,
        ErrorCode::METHOD_NOT_FOUND => ErrorType::MethodNotFound,
        ErrorCode::INTERNAL_ERROR => ErrorType::InternalError,
        ErrorCode::RESOURCE_NOT_FOUND => ErrorType::ResourceNotFound,
        _ => ErrorType::Other,
    }
}

/// What is said of this server to whoever begins to talk with it.
fn info(dispatcher: &Dispatcher, surface: Surface, lists: Changing) -> ServerConfig {
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
    let begin = match surface {
        Surface::Operations => FROM_LISTS,
        Surface::Compact => FROM_SEARCH,
    };
    let references = dispatcher.secrets().instructions().unwrap_or_default();
    ServerConfig::new(lists.capabilities())
        .with_server_info(us)
        .with_instructions(format!("{INSTRUCTIONS}{begin}{RULES}{more}{references}"))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        // Asked for with every request that has no session.
        self.info
            .get_or_init(|| info(&self.dispatcher, self.surface, self.lists))
            .clone()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        match surface::named(name) {
            Some(own) => Some(tool(&own.published)),
            None => Some(tool(self.dispatcher.catalog().find(name).ok()?.published())),
        }
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
            let begun = || observer::Session::begin(&self.metrics, arrival.clone()).into();
            self.opened.get_or_init(begun);
        }
        observer::Operation::begin(&self.metrics, arrival, "initialize").ends(outcome, kind)
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
        self.observed("prompts/list", &context, |caller| {
            self.prompts(caller, request)
        })
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
        self.observed("resources/list", &context, |caller| {
            self.resources(caller, request)
        })
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
            observer::Operation::begin(&self.metrics, arrival(&context), "completion/complete");
        let completed = tokio::select! {
            completed = Box::pin(self.completed(&request, &context)) => completed,
            () = context.ct.cancelled() => {
                Err(ErrorData::internal_error("the completion was cancelled", None))
            }
        };
        observed.ends(completed, kind)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.session
            .join(&self.hub, context.peer, &self.lists.capabilities());
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
