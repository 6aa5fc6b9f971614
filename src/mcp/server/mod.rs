//! The MCP server: translates MCP requests into calls of the pipeline.

mod builtin;
mod cache_hints;
mod call;
mod capabilities;
mod change;
mod complete;
mod console;
mod elicitation;
mod history;
mod pages;
mod plan;
mod prompts;
mod request_info;
mod resources;
mod shell;
mod silent_read;
mod tool_cache;
mod tool_call;
mod tool_list;
mod unread_request;
mod whoami;
mod workflow;
mod workspaces;

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
    cache_hints::CacheableResult,
    capabilities::ChangingLists,
    request_info::{protocol_label, request_info, shows_cards},
    tool_cache::ToolCache,
};

use portkey_api::catalog::CatalogEntry;
use portkey_concurrency::box_future;
use portkey_file_watch::WatchedValue;
use portkey_operation::{JsonMap, ToolNames, Upstream};
use portkey_policy::PolicyTarget;

use crate::{
    auth::principal::Principal,
    mcp::{
        cards::{self, Card},
        completion::Completer,
        notifications::{ChangeNotifier, SessionSubscription},
        prompts::PromptLibrary,
        results::Results,
        search::SearchIndex,
        surface::{self, Surface},
        tool_names::spell_in_text,
    },
    observability::{
        call_record::{ErrorType, RejectionReason},
        metrics::Metrics,
        observer,
        request::RequestInfo,
    },
    pipeline::Dispatcher,
    workflows::WORKFLOWS,
};

pub use self::tool_list::{add_history, build_tool, build_tools};
pub(crate) use self::whoami::{KEY_MISSING_FIELD, KEY_REFUSED_FIELD, UNREACHABLE_FIELD};

/// Instructions for the client: the purpose of the server, the first step and the rules.
const INSTRUCTIONS: &str = "Administers Portkey, an AI gateway: integrations hold provider \
    credentials, providers lend them to workspaces, MCP integrations register MCP servers. ";
const LIST_INSTRUCTIONS: &str = "Call a list tool first to find ids and slugs.";
const SEARCH_INSTRUCTIONS: &str = "`search-operations` finds what to call, and the tool that it names calls it; \
    list operations find ids and slugs.";
const RULE_INSTRUCTIONS: &str = " `current_page` counts from zero. With an Admin key, name \
    the `workspace_id`, or `all_workspaces: true` in a list. Secrets come back masked: leave such \
    a field out. A field left out keeps its value. \
    An update takes fields, or `patch` beside the ids: a merge patch (list entries go by their key, \
    `_delete: true` removes one) or JSON Patch. The answer says what `changed`, and `expect` guards it. \
    A time may be RFC 3339, a date, `7d` or `last month`. `warnings` name arguments that were not known \
    or left out. Lists say `total`, `returned` and `next`, the arguments of \
    the next page; each also takes `fields` (names to return, dots into objects) and `all: true` (follow \
    the pages, up to 1,000 items). A large result comes `truncated`, with what was left out.";

/// Additional instructions if Enkrypt AI's tools are offered.
const ENKRYPT_INSTRUCTIONS: &str = " Tools that say Enkrypt AI administer another product, with names \
    and servers of its own.";

/// Time for which a client may cache a list. Lists change only with a restart or with a
/// notification.
const LIST_TTL_MS: u64 = 3_600_000;

const ICON: &str = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciI\
    HZpZXdCb3g9IjAgMCAyNCAyNCI+PHBhdGggZmlsbD0iIzBmNzY2ZSIgZD0iTTMgMjFWOWE5IDkgMCAwIDEgMTggMHYxMmgt\
    NVY5YTQgNCAwIDAgMC04IDB2MTJ6Ii8+PC9zdmc+";

/// The MCP server. Cheap to clone; each session has its own clone.
#[derive(Clone, Debug)]
pub struct Server {
    dispatcher: Arc<Dispatcher>,
    results: Results,
    tools: Arc<ToolCache>,
    info: Arc<OnceLock<ServerConfig>>,
    changing_lists: ChangingLists,
    surface: Surface,
    /// Index to search operations, built on first use.
    index: Arc<OnceLock<SearchIndex>>,
    /// Built-in prompts are parsed on first use, because many clients never request them.
    prompts: Arc<OnceLock<WatchedValue<PromptLibrary>>>,
    completer: Completer,
    tools_page_size: Option<usize>,
    local_principal: Option<Arc<Principal>>,
    in_flight_calls: TaskTracker,
    notifier: ChangeNotifier,
    session_subscription: SessionSubscription,
    metrics: Metrics,
    /// Set when the client opens the session that this clone serves.
    session_observer: OnceLock<Arc<observer::SessionObserver>>,
}

impl Server {
    /// Creates a server over a dispatcher, for callers that the transport has authenticated.
    ///
    /// `page` is the page size of the tool list. Without it, one page has all tools.
    pub fn new(dispatcher: Arc<Dispatcher>, page: Option<usize>) -> Self {
        let hub = ChangeNotifier::default();
        let mut lists = ChangingLists::default();
        if let Some(policy) = dispatcher.policy() {
            lists = ChangingLists::for_changing_access();
            let hub = hub.clone();
            policy.on_change(move |before, now| {
                if !before.lists_same_operations_as(now) {
                    hub.notify_lists_changed();
                }
            });
        }
        Self {
            dispatcher,
            results: Results::default(),
            tools: Arc::default(),
            info: Arc::default(),
            changing_lists: lists,
            surface: Surface::default(),
            index: Arc::default(),
            prompts: Arc::default(),
            completer: Completer::default(),
            tools_page_size: page,
            local_principal: None,
            in_flight_calls: TaskTracker::new(),
            notifier: hub,
            session_subscription: SessionSubscription::default(),
            metrics: Metrics::default(),
            session_observer: OnceLock::new(),
        }
    }

    /// Sets the metrics that record client requests.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Sets the surface by which operations are shown.
    pub fn with_surface(self, surface: Surface) -> Self {
        Self { surface, ..self }
    }

    /// Sets the rendering of results.
    pub fn with_results(self, results: Results) -> Self {
        let results = results.with_tool_names(self.tool_names());
        Self { results, ..self }
    }

    /// Replaces the built-in prompts, if others are given. Clients are notified when they change.
    pub fn with_prompts(self, prompts: Option<WatchedValue<PromptLibrary>>) -> Self {
        let Some(prompts) = prompts else { return self };
        let hub = self.notifier.clone();
        prompts.on_change(move |_, _| hub.notify_prompts_changed());
        let lists = ChangingLists {
            prompts: true,
            ..self.changing_lists
        };
        Self {
            prompts: Arc::new(prompts.into()),
            changing_lists: lists,
            ..self
        }
    }

    /// Declares that the access of callers can change by more than a policy.
    ///
    /// The code that changes it must notify clients by [`Self::notifier`].
    pub fn with_changing_access(self) -> Self {
        Self {
            changing_lists: ChangingLists::for_changing_access(),
            ..self
        }
    }

    /// Sets the caller for transports without authentication: the user who started the process.
    pub fn with_local_principal(self, principal: Principal) -> Self {
        Self {
            local_principal: Some(Arc::new(principal)),
            ..self
        }
    }

    /// Returns the dispatcher that makes calls.
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Returns the spelling in which clients know the tools.
    fn tool_names(&self) -> ToolNames {
        self.dispatcher.catalog().presentation().tool_names
    }

    /// Returns the notifier of this server's clients.
    pub fn notifier(&self) -> &ChangeNotifier {
        &self.notifier
    }

    /// Ends subscriptions and waits for the calls in flight. Calls that arrive later are not waited
    /// for.
    pub async fn drain(&self) {
        self.notifier.close();
        self.in_flight_calls.close();
        self.in_flight_calls.wait().await;
    }

    /// Returns the caller of a request.
    fn caller<'a>(
        &'a self,
        context: &'a RequestContext<RoleServer>,
    ) -> Result<&'a Arc<Principal>, ErrorData> {
        let recognised = context
            .extensions
            .get::<Parts>()
            .and_then(|parts| parts.extensions.get());
        // A transport that fails to set the caller must not grant access.
        let no_caller = || ErrorData::internal_error("the request has no caller", None);
        recognised
            .or(self.local_principal.as_ref())
            .ok_or_else(no_caller)
    }

    /// Observes a request that needs no pipeline call.
    fn observe<T>(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
        answer: impl FnOnce(&Principal) -> Result<T, ErrorData>,
    ) -> Result<T, ErrorData> {
        let observed =
            observer::RequestObserver::begin(&self.metrics, request_info(context), method);
        observed.finish(
            self.caller(context).and_then(|caller| answer(caller)),
            error_type,
        )
    }

    /// Returns the time for which a client may cache a list. It is zero if the caller's tools are
    /// filtered per request, since the next request may have another filter.
    fn cache_ttl_ms(&self, principal: &Principal, otherwise: u64) -> u64 {
        if principal.request_filter.is_some() {
            0
        } else {
            otherwise
        }
    }
}

impl Server {
    /// Checks that the policies permit a prompt or resource.
    async fn authorize_item(
        &self,
        caller: (&Principal, &RequestInfo),
        target: PolicyTarget<'_>,
        args: &JsonMap,
        is_audited_elsewhere: bool,
    ) -> Result<(), ErrorData> {
        let permitted = self
            .dispatcher
            .authorize_item(caller, target, args, is_audited_elsewhere);
        permitted.await.map_err(|denial| {
            self.metrics.record_rejection(RejectionReason::Policy);
            ErrorData::invalid_request(denial.to_string(), None)
        })
    }
}

/// Rejects a cursor for a list that has one page only.
fn reject_cursor(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("there is no such cursor", None)),
    }
}

/// Returns the metrics type of an error, by its code.
const fn error_type(error: &ErrorData) -> ErrorType {
    match error.code {
        ErrorCode::INVALID_PARAMS => ErrorType::InvalidParams,
        ErrorCode::METHOD_NOT_FOUND => ErrorType::MethodNotFound,
        ErrorCode::INTERNAL_ERROR => ErrorType::InternalError,
        ErrorCode::RESOURCE_NOT_FOUND => ErrorType::ResourceNotFound,
        _ => ErrorType::Other,
    }
}

/// Builds the server information that a client receives first.
fn build_info(dispatcher: &Dispatcher, surface: Surface, lists: ChangingLists) -> ServerConfig {
    // Set here, because rmcp would otherwise introduce itself as the server.
    let us = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .with_title("Portkey Admin")
        .with_description(env!("CARGO_PKG_DESCRIPTION"))
        .with_icons(vec![Icon::new(ICON).with_mime_type("image/svg+xml")]);
    let of_enkrypt = |entry: &CatalogEntry| entry.operation.base().upstream() == Upstream::Enkrypt;
    let more = match dispatcher.available_entries().any(of_enkrypt) {
        true => ENKRYPT_INSTRUCTIONS,
        false => "",
    };
    let begin = match surface {
        Surface::Operations => LIST_INSTRUCTIONS,
        Surface::Compact => SEARCH_INSTRUCTIONS,
    };
    let references = dispatcher.secrets().instructions().unwrap_or_default();
    let instructions = format!("{INSTRUCTIONS}{begin}{RULE_INSTRUCTIONS}{more}{references}");
    let names = dispatcher.catalog().presentation().tool_names;
    let mut capabilities = lists.capabilities();
    let is_offered = |name: &&str| {
        dispatcher
            .available_entries()
            .any(|entry| entry.operation.name() == *name)
    };
    let has_card = WORKFLOWS.iter().any(|workflow| {
        Card::of_tool(workflow.operation.name()).is_some() && workflow.needs.iter().all(is_offered)
    });
    capabilities.extensions = has_card.then(cards::declared_extensions);
    ServerConfig::new(capabilities)
        .with_server_info(us)
        .with_instructions(spell_in_text(names, &instructions))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        // Cached, because every request without a session reads it.
        self.info
            .get_or_init(|| build_info(&self.dispatcher, self.surface, self.changing_lists))
            .clone()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        match surface::find_builtin(name) {
            Some(own) => Some(build_tool(&own.published)),
            None => Some(build_tool(
                self.dispatcher.catalog().find(name).ok()?.compiled(),
            )),
        }
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let outcome = self.negotiate_initialize(&request);
        let mut request_info = request_info(&context);
        if let Ok(result) = &outcome {
            request_info.protocol = protocol_label(&result.protocol_version);
            let begin_session =
                || observer::SessionObserver::begin(&self.metrics, request_info.clone()).into();
            self.session_observer.get_or_init(begin_session);
        }
        observer::RequestObserver::begin(&self.metrics, request_info, "initialize")
            .finish(outcome, error_type)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let listed = self.observe("tools/list", &context, |caller| {
            self.tools_page(caller, request, shows_cards(&context))
        });
        Ok(listed?.for_client_of(&context))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Boxed like all large futures here, because rmcp moves them several times.
        box_future(self.handle_tool_call(request, context)).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let listed = self.observe("prompts/list", &context, |caller| {
            self.visible_prompts(caller, request)
        });
        Ok(listed?.for_client_of(&context))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let observed =
            observer::RequestObserver::begin(&self.metrics, request_info(&context), "prompts/get");
        let rendered = self.render_prompt(&request, &context).await;
        Ok(observed.finish(rendered, error_type)?.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let listed = self.observe("resources/list", &context, |caller| {
            self.listed_resources(caller, request, shows_cards(&context))
        });
        Ok(listed?.for_client_of(&context))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = |caller: &Principal| self.visible_templates(caller, request);
        let listed = self.observe("resources/templates/list", &context, templates);
        Ok(listed?.for_client_of(&context))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(Box::pin(self.read_address(&request.uri, &context))
            .await?
            .for_client_of(&context)
            .into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let observed = observer::RequestObserver::begin(
            &self.metrics,
            request_info(&context),
            "completion/complete",
        );
        let completed = tokio::select! {
            completed = Box::pin(self.complete_argument(&request, &context)) => completed,
            () = context.ct.cancelled() => {
                Err(ErrorData::internal_error("the completion was cancelled", None))
            }
        };
        observed.finish(completed, error_type)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.session_subscription.subscribe(
            &self.notifier,
            context.peer,
            &self.changing_lists.capabilities(),
        );
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(ChangeNotifier::limit_filter(requested))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        Box::pin(self.notifier.listen(subscription)).await;
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(unread_request::unread_request_error(&request.method))
    }
}
