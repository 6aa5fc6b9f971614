//! The routes of the HTTP server, and the services behind them.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use http::{HeaderName, Method, StatusCode, header};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_readiness::Readiness;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, Any, CorsLayer, ExposeHeaders},
};
use tracing::error;

use super::{
    HttpSettings, SharedParts,
    allowed_sites::{AllowedSites, loopback_origins},
    body::{BodyBounds, MAX_LARGE_BODY_BYTES, MAX_LARGE_BODY_BYTES_PER_CALLER},
    client_address::TrustedProxies,
    endpoint::McpEndpoint,
    error_response::ErrorResponse,
    fast_path::DirectCallHandler,
    guard::{Face, RequestGuard, serve_metadata},
    legacy_sse,
    limits::{ByteLimiter, ConcurrencyLimiter},
    request_filter::{MCP_PATH, MCP_PATHS},
    rest::{self, REST_PATHS, RestFace, serve_other_path},
    sessions::Sessions,
    shutdown::ShutdownTokens,
    streams::{CallerAuth, StreamLimiter},
};
use crate::{
    auth::Auth,
    observability::request::REQUEST_ID_HEADER,
    transport::{SEVERAL_HOSTS, has_several_hosts},
};

/// Time for which a browser may cache the answer to a preflight request.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Methods of MCP.
const MCP_METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];
/// Response headers of MCP that pages may read.
const MCP_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("mcp-session-id"),
    HeaderName::from_static("mcp-protocol-version"),
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    REQUEST_ID_HEADER,
];
/// Methods of the API.
const REST_METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// Response headers of the REST face that pages may read.
const REST_HEADERS: [HeaderName; 5] = [
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    REQUEST_ID_HEADER,
    rest::TICKET_HEADER,
    rest::WARNING_HEADER,
];

const PANIC_MESSAGE: &str =
    "an internal error ended the request; please report it with the server's log";

/// Builds the routes: `/mcp` and its filtered variants, `/healthz`, `/readyz`, the documents for
/// OAuth clients, and help for clients of the older transport. The endpoints of the API are among
/// them, unless they have an address of their own.
pub fn router<H: DirectCallHandler + Clone>(
    handler: H,
    auth: Auth,
    settings: &HttpSettings,
    shared: &SharedParts,
    stop: &ShutdownTokens,
) -> Router {
    build_routes(handler, auth, settings, shared, stop).main
}

/// The routes of each listener.
pub(super) struct ListenerRoutes {
    /// Those of the listener for MCP.
    pub(super) main: Router,
    /// Those of the listener for the endpoints of the API, if they have one.
    pub(super) rest: Option<Router>,
}

/// Builds the routes of all listeners. They share the guard, and with it all limits.
pub(super) fn build_routes<H: DirectCallHandler + Clone>(
    handler: H,
    auth: Auth,
    settings: &HttpSettings,
    shared: &SharedParts,
    stop: &ShutdownTokens,
) -> ListenerRoutes {
    let hosts = own_hosts(settings);
    let mut origins = own_origins(settings);
    origins.extend(settings.allowed_origins.iter().cloned());
    let sites = Arc::new(AllowedSites::new(&hosts, &origins));
    let callers = CallerAuth {
        auth: Arc::new(auth),
        changes: shared.callers.clone(),
    };
    let sessions = Sessions::new(
        settings.sessions,
        shared.keys.clone(),
        shared.store.clone(),
        callers.clone(),
        stop.ended.clone(),
    );
    let auth = callers.auth.clone();
    let endpoint = build_endpoint(handler, &sessions, hosts, origins, auth, settings, stop);
    let guard = Arc::new(build_guard(callers, sites.clone(), settings, shared, stop));
    let mcp = Arc::new(McpService {
        guard: guard.clone(),
        sessions,
        endpoint,
    });
    let rest = shared.rest.as_ref().map(|face| {
        let rest = RestService {
            guard: guard.clone(),
            face: face.clone(),
        };
        rest_routes(&Arc::new(rest), &sites)
    });
    let probes = probe_routes(shared.readiness.clone(), stop.draining.clone());
    let has_own_listener = settings.rest.is_some_and(|rest| rest.listen.is_some());
    let (beside, apart) = match rest {
        Some(rest) if has_own_listener => (None, Some(rest)),
        rest => (rest, None),
    };
    let prefix = &settings.path_prefix;
    ListenerRoutes {
        rest: apart.map(|rest| assemble_rest_routes(prefix, rest, probes.clone())),
        main: assemble_routes(
            prefix,
            mcp_routes(mcp, &sites).merge(beside.unwrap_or_default()),
            metadata_routes(guard),
            probes,
        ),
    }
}

/// Returns the origins of this machine's pages, unless others can connect to a listener.
fn own_origins(settings: &HttpSettings) -> Vec<String> {
    let rest = settings.rest.and_then(|rest| rest.listen);
    match rest.is_none_or(|address| address.ip().is_loopback()) {
        true => loopback_origins(settings.listen.ip()),
        false => Vec::new(),
    }
}

/// Returns the host names of this server: those of loopback, its address, and the allowed ones.
fn own_hosts(settings: &HttpSettings) -> Vec<String> {
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    hosts.extend(public_host(settings.listen.ip()));
    let rest = settings.rest.and_then(|rest| rest.listen);
    hosts.extend(rest.and_then(|address| public_host(address.ip())));
    hosts.extend(
        settings
            .allowed_hosts
            .iter()
            .map(|host| strip_trailing_dot(host)),
    );
    hosts
}

fn public_host(ip: IpAddr) -> Option<String> {
    (!ip.is_unspecified() && !ip.is_loopback()).then(|| ip.to_string())
}

/// Removes the trailing dot that makes a host name absolute.
fn strip_trailing_dot(host: &str) -> String {
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    format!("{}{port}", name.strip_suffix('.').unwrap_or(name))
}

/// Builds the endpoint: rmcp, and the fast path beside it.
fn build_endpoint<H: DirectCallHandler + Clone>(
    handler: H,
    sessions: &Sessions,
    hosts: Vec<String>,
    origins: Vec<String>,
    auth: Arc<Auth>,
    settings: &HttpSettings,
    stop: &ShutdownTokens,
) -> McpEndpoint<H> {
    // Both flags: sessions for clients up to 2025-11-25, plain JSON without one for those after.
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(true)
        .with_json_response(true)
        .with_allowed_hosts(hosts.clone())
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(settings.max_request_bytes)
        .with_cancellation_token(stop.ended.clone());
    config.session_store = Some(sessions.shared_store());
    let prototype = handler.clone();
    let manager = sessions.manager().clone();
    let rmcp = StreamableHttpService::new(move || Ok(prototype.clone()), manager.clone(), config);
    let streams = StreamLimiter::new(auth, settings.concurrency, settings.sessions);
    McpEndpoint::new(handler, rmcp, manager, hosts, streams, stop.ended.clone())
}

/// Builds the guard, which checks each request before it reaches a session.
fn build_guard(
    callers: CallerAuth,
    sites: Arc<AllowedSites>,
    settings: &HttpSettings,
    shared: &SharedParts,
    stop: &ShutdownTokens,
) -> RequestGuard {
    RequestGuard {
        callers,
        grace: settings.grace,
        proxies: TrustedProxies(settings.trusted_proxies.clone()),
        ipv6_prefix: settings.ipv6_prefix,
        body: BodyBounds {
            max_bytes: settings.max_request_bytes,
            timeout: settings.body_timeout,
        },
        per_address: ConcurrencyLimiter::new(settings.address_concurrency),
        per_principal: ConcurrencyLimiter::new(settings.concurrency),
        large_bodies: ByteLimiter::new(MAX_LARGE_BODY_BYTES_PER_CALLER, MAX_LARGE_BODY_BYTES),
        workers: WorkerPool::shared(),
        store: shared.store.clone(),
        address_rate: settings.address_rate,
        rate: settings.rate,
        metrics: shared.metrics.clone(),
        unread: settings.connections.unread.clone(),
        sites,
        draining: stop.draining.clone(),
    }
}

/// Routes for MCP, at each of its paths, with CORS headers for requests from pages.
fn mcp_routes<H: DirectCallHandler + Clone>(
    mcp: Arc<McpService<H>>,
    sites: &Arc<AllowedSites>,
) -> Router {
    let cors = cors_layer(sites, MCP_METHODS, MCP_HEADERS);
    let paths = MCP_PATHS
        .into_iter()
        .flat_map(|path| [path.to_owned(), format!("{path}/")]);
    cors_routes(paths, cors, move |request| mcp.clone().handle(request))
}

/// Routes for the endpoints of the API, with CORS headers for requests from pages.
fn rest_routes(rest: &Arc<RestService>, sites: &Arc<AllowedSites>) -> Router {
    let cors = cors_layer(sites, REST_METHODS, REST_HEADERS);
    let paths = REST_PATHS.into_iter().map(str::to_owned);
    let rest = rest.clone();
    let routes = cors_routes(paths, cors, move |request| rest.clone().handle(request));
    // Inside that of the other routes, whose response is JSON-RPC.
    routes.layer(CatchPanicLayer::custom(rest_panic_response))
}

/// Routes from these paths to a handler. Only requests from pages get CORS headers.
fn cors_routes<F, Fut>(
    paths: impl Iterator<Item = String>,
    cors: Option<CorsLayer>,
    handle: F,
) -> Router
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    // Boxed, because the router moves the future of a service several times, and that of a request has
    // many kilobytes: 11,000 instructions per call.
    let handle = move |request| Box::pin(handle(request));
    let inner = handle.clone();
    let inner = service_fn(move |request| {
        let response = inner(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    // Shared, because the function below is cloned for every request.
    let with_cors = Arc::new(ServiceBuilder::new().option_layer(cors).service(inner));
    let service = service_fn(move |request: Request| {
        let of_pages = request
            .headers()
            .contains_key(header::ORIGIN)
            .then(|| (*with_cors).clone());
        let handle = handle.clone();
        async move {
            match of_pages {
                Some(of_pages) => of_pages.oneshot(request).await,
                None => Ok(handle(request).await),
            }
        }
    });
    paths.fold(Router::new(), |routes, path| {
        routes.route_service(&path, service.clone())
    })
}

/// Routes for those who watch the process: `/healthz` and `/readyz`.
fn probe_routes(readiness: Readiness, draining: CancellationToken) -> Router {
    let ready = async move || {
        let stopping = draining.is_cancelled();
        let status = if stopping {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let json = [(header::CONTENT_TYPE, "application/json")];
        (
            status,
            json,
            format!("{}\n", readiness.report_json(stopping)),
        )
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

/// Joins all routes, below the prefix and at the root, with a message for every other path.
fn assemble_routes(prefix: &str, mcp: Router, documents: Router, probes: Router) -> Router {
    let endpoint = format!("{prefix}{MCP_PATH}");
    let documents = with_one_host(documents);
    let probes = with_one_host(probes);
    let served = mcp
        .merge(with_one_host(legacy_sse::routes(&endpoint)))
        .merge(documents.clone());
    let routes = match prefix {
        "" => served,
        // A client derives the URL of a document from the whole path of the endpoint, starting at
        // the root.
        _ => Router::new()
            .nest(prefix, served.merge(probes.clone()))
            .merge(documents),
    };
    let elsewhere = async move || {
        (
            StatusCode::NOT_FOUND,
            format!("MCP is served at {endpoint}\n"),
        )
    };
    routes
        .layer(CatchPanicLayer::custom(panic_response))
        .merge(probes)
        .merge(with_one_host(Router::new().fallback(elsewhere)))
}

/// Joins the routes of a listener for the endpoints of the API alone.
fn assemble_rest_routes(prefix: &str, rest: Router, probes: Router) -> Router {
    let probes = with_one_host(probes);
    let routes = match prefix {
        "" => rest,
        _ => Router::new().nest(prefix, rest.merge(probes.clone())),
    };
    routes
        .merge(probes)
        .merge(with_one_host(Router::new().fallback(serve_other_path)))
}

/// Rejects requests with several `Host` headers, on routes that do not pass the guard.
fn with_one_host(routes: Router) -> Router {
    routes.layer(middleware::from_fn(demand_one_host))
}

/// Rejects a request with several `Host` headers.
async fn demand_one_host(request: Request, next: Next) -> Response {
    match has_several_hosts(request.headers()) {
        true => ErrorResponse::new(StatusCode::BAD_REQUEST, SEVERAL_HOSTS).into_response(),
        false => next.run(request).await,
    }
}

/// Routes for the metadata that OAuth clients look for. Any page may read it before it knows more
/// about this server (RFC 9728 §3).
fn metadata_routes(guard: Arc<RequestGuard>) -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(serve_metadata))
        .route(
            "/.well-known/oauth-protected-resource/{*resource}",
            get(serve_metadata),
        )
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_headers(Any)
                .allow_methods([Method::GET]),
        )
        .with_state(guard)
}

/// The steps between a request and the handler. Each step calls the next one directly, because
/// layers would box every request and every response.
struct McpService<H> {
    guard: Arc<RequestGuard>,
    sessions: Sessions,
    endpoint: McpEndpoint<H>,
}

impl<H: DirectCallHandler + Clone> McpService<H> {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let serve_direct = |request| self.serve_in_session(request);
        // A future polled on other threads cannot borrow. Ordinary requests avoid the box.
        let serve_boxed = |request| {
            let mcp = self.clone();
            async move { mcp.serve_in_session(request).await }.boxed()
        };
        self.guard
            .handle(Face::Mcp, request, serve_direct, serve_boxed)
            .await
    }

    fn serve_in_session(&self, request: Request) -> impl Future<Output = Response> + Send {
        self.sessions
            .serve(request, |request| self.endpoint.serve(request))
    }
}

/// The steps between a request to an endpoint of the API and the REST face.
struct RestService {
    guard: Arc<RequestGuard>,
    face: RestFace,
}

impl RestService {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let serve_direct = |request| self.face.serve(request);
        let serve_boxed = |request| {
            let face = self.face.clone();
            async move { face.serve(request).await }.boxed()
        };
        self.guard
            .handle(Face::Rest, request, serve_direct, serve_boxed)
            .await
    }
}

/// Builds the CORS layer for the allowed origins, and the methods and response headers of an
/// interface. Returns `None` if no origin is allowed.
fn cors_layer<const M: usize, const N: usize>(
    sites: &Arc<AllowedSites>,
    methods: [Method; M],
    headers: [HeaderName; N],
) -> Option<CorsLayer> {
    let sites = Some(sites).filter(|sites| sites.has_origins())?.clone();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            sites.allows_origin(origin)
        }))
        .allow_methods(methods)
        // Tools may have headers of their own, `Mcp-Param-…`, so a fixed list is not possible.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(headers))
        .max_age(PREFLIGHT_MAX_AGE);
    Some(cors)
}

fn rest_panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    error!("a request's handler panicked");
    rest::internal_error(PANIC_MESSAGE)
}

fn panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    error!("a request's handler panicked");
    ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, PANIC_MESSAGE).into_response()
}
