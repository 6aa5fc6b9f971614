//! Many clients over streamable HTTP, in both protocol generations, at `/mcp`.

mod accept;
mod address;
mod body;
mod endpoint;
mod former;
mod front;
mod gzip;
mod headers;
mod limits;
pub(super) mod listener;
mod narrowing;
mod plain;
mod prompt;
mod refusal;
mod scrape;
mod session;
mod sites;
mod sniff;
mod streams;
mod unread;
mod writing;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use http::{HeaderName, Method, StatusCode, header};
use ipnet::IpNet;
use portkey_concurrency::worker_pool::Workers;
use portkey_file_watch::Watched;
use portkey_store::{Limit, Store};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, Any, CorsLayer, ExposeHeaders},
};
use tracing::{error, info, warn};

use self::{
    address::Proxies,
    body::Bounds,
    endpoint::Endpoint,
    front::{Front, metadata},
    limits::{HeldBytes, UnderWay},
    listener::Ending,
    narrowing::{PATH, PATHS},
    refusal::Refusal,
    session::Sessions,
    sites::{Sites, loopback_origins},
    streams::{Callers, Streams},
};
use portkey_readiness::Readiness;

use crate::{
    auth::{Auth, Changes},
    mcp::server::{Foresight, Server},
    observability::{metrics::Metrics, request::REQUEST_ID},
    security::signed_state::Keyring,
};

pub(crate) use body::{MAX_BODIES, MAX_BODIES_OF_CALLER};
pub use listener::{Connections, Tls};
pub use session::Bounds as SessionBounds;
pub(crate) use session::{
    CROWDED_UNPROVEN_TTL, FEW_UNPROVEN_SESSIONS, MAX_UNPROVEN_SESSIONS,
    MAX_UNPROVEN_SESSIONS_PER_NETWORK, REMEMBERED, UNPROVEN_TTL,
};
pub(crate) use streams::MAX_STREAMS;
pub use unread::Unread;

/// How long a browser may remember what it is allowed.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// What the operator can set about the HTTP front.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host names clients may use beside the loopback ones and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call, beside those of this machine where the listener is on loopback.
    pub allowed_origins: Vec<String>,
    /// What stands before every path, as `/portkey`; nothing by default.
    pub path_prefix: String,
    /// Proxies whose word about a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Bound on a request body, in bytes.
    pub max_request_bytes: usize,
    /// Bound on the time that a request body takes to arrive.
    pub body_timeout: Duration,
    /// How many requests of one caller may be under way.
    pub concurrency: usize,
    /// How many requests from one address may be under way.
    pub address_concurrency: usize,
    /// How much of an IPv6 address counts in what is counted for each address, in bits.
    pub ipv6_prefix: u8,
    /// How many requests one caller may make, over all replicas.
    pub rate: Option<Limit>,
    /// How many requests may come from one address, over all replicas.
    pub address_rate: Option<Limit>,
    /// The bounds on connections.
    pub connections: Connections,
    /// The bounds on sessions.
    pub sessions: SessionBounds,
    /// The certificate to serve TLS with; plain HTTP without.
    pub tls: Option<Tls>,
    /// Listen on other than loopback although anyone who can connect can then administer.
    pub allow_unauthenticated: bool,
    /// How long proxies get to hear that this replica is about to stop, while it still serves.
    pub drain_delay: Duration,
    /// How long calls under way may take to finish once nothing new is taken.
    pub grace: Duration,
    /// Address that `/metrics` is served at; it is not served without.
    pub metrics_listen: Option<SocketAddr>,
}

/// Parts that the HTTP server shares with the rest of the process, or with other replicas.
#[derive(Clone, Debug)]
pub struct SharedParts {
    /// Reports each change of the file of callers.
    pub callers: Changes,
    /// Keys that sign session ids, the same at all replicas.
    pub keys: Arc<Watched<Keyring>>,
    /// Rate limits and sessions of all replicas.
    pub store: Store,
    /// Counters of rejected requests and of connections.
    pub metrics: Metrics,
    /// States of the components that `/readyz` reports.
    pub readiness: Readiness,
}

/// Two steps of stopping: first nobody should send any more, at last nothing goes on.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    drain: CancellationToken,
    end: CancellationToken,
}

/// Serves until interrupted, then lets calls under way finish.
///
/// # Errors
/// The address is not allowed or not free, or serving fails.
pub async fn serve(
    server: Server,
    auth: Auth,
    settings: Settings,
    shared: SharedParts,
) -> anyhow::Result<()> {
    if matches!(auth, Auth::None(_)) && !settings.listen.ip().is_loopback() {
        if !settings.allow_unauthenticated {
            bail!(
                "{} can be reached from other machines, and this server does not authenticate its \
                 clients: whoever connects could administer Portkey with the configured key. Choose a \
                 way with --auth key, token or oauth, listen on 127.0.0.1 behind a proxy that \
                 authenticates, or accept the risk with --allow-unauthenticated",
                settings.listen
            );
        }
        warn!(listen = %settings.listen, "listening beyond loopback WITHOUT AUTHENTICATION");
    }
    let listener = super::listen(settings.listen, "--listen")?;
    let address = listener.local_addr()?;
    let scraped = settings.metrics_listen.map(scrape::bind).transpose()?;
    let stop = Stop::default();
    let router = router(server.clone(), auth, &settings, &shared, &stop);
    let metrics = shared.metrics;
    let ending = Ending::default();
    let serving = tokio::spawn({
        let tls = settings.tls;
        let bounds = settings.connections;
        let ending = ending.clone();
        let metrics = metrics.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        info!(
            "serving MCP at {scheme}://{address}{}/mcp",
            settings.path_prefix
        );
        async move { listener::serve(listener, router, bounds, metrics, tls.as_ref(), ending).await }
    });
    if let Some(scraped) = scraped {
        // Until the end, so that what happens while stopping is told.
        tokio::spawn(scrape::serve(scraped, metrics));
    }
    super::interrupted().await?;
    info!("stopping; calls under way may finish");
    stop.drain.cancel();
    tokio::select! {
        () = tokio::time::sleep(settings.drain_delay) => {}
        // Asked twice, the operator does not want to wait.
        again = super::interrupted() => again?,
    }
    ending.close().await;
    ending.finish();
    if tokio::time::timeout(settings.grace, server.idle())
        .await
        .is_err()
    {
        warn!("calls still under way were cut off");
    }
    // Open streams never end by themselves, and the last answers still have to leave.
    let ended = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.end.cancel();
        serving.await
    });
    match tokio::time::timeout(Duration::from_secs(3), ended).await {
        Ok(joined) => joined???,
        Err(_) => {
            warn!("connections still open were cut off");
            ending.cut();
        }
    }
    Ok(())
}

/// The routes: `/mcp` and what narrows it, `/healthz`, `/readyz`, what OAuth clients look for, and words for
/// clients of the older transport.
pub fn router<H: Foresight + Clone>(
    handler: H,
    auth: Auth,
    settings: &Settings,
    shared: &SharedParts,
    stop: &Stop,
) -> Router {
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    hosts.extend(host_of(settings.listen.ip()));
    hosts.extend(settings.allowed_hosts.iter().map(|host| without_dot(host)));
    let mut origins = loopback_origins(settings.listen.ip());
    origins.extend(settings.allowed_origins.iter().cloned());
    let sites = Arc::new(Sites::new(&hosts, &origins));
    let auth = Arc::new(auth);
    let (keys, store) = (shared.keys.clone(), shared.store.clone());
    let callers = Callers {
        auth: auth.clone(),
        changes: shared.callers.clone(),
    };
    let sessions = Sessions::new(
        settings.sessions,
        keys,
        store,
        callers.clone(),
        stop.end.clone(),
    );
    // Both flags: sessions for clients up to 2025-11-25, plain JSON without one for those after.
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(true)
        .with_json_response(true)
        .with_allowed_hosts(hosts.clone())
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(settings.max_request_bytes)
        .with_cancellation_token(stop.end.clone());
    config.session_store = Some(sessions.elsewhere());
    let made = handler.clone();
    let live = sessions.live().clone();
    let rmcp = StreamableHttpService::new(move || Ok(made.clone()), live.clone(), config);
    let streams = Streams::new(auth, settings.concurrency, settings.sessions);
    let endpoint = Endpoint::new(handler, rmcp, live, hosts, streams, stop.end.clone());
    let draining = stop.drain.clone();
    let readiness = shared.readiness.clone();
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
    let front = Arc::new(Front {
        callers,
        grace: settings.grace,
        proxies: Proxies(settings.trusted_proxies.clone()),
        ipv6_prefix: settings.ipv6_prefix,
        body: Bounds {
            size: settings.max_request_bytes,
            time: settings.body_timeout,
        },
        from_address: UnderWay::new(settings.address_concurrency),
        of_principal: UnderWay::new(settings.concurrency),
        bodies: HeldBytes::new(MAX_BODIES_OF_CALLER, MAX_BODIES),
        workers: Workers::shared(),
        store: shared.store.clone(),
        address_rate: settings.address_rate,
        rate: settings.rate,
        metrics: shared.metrics.clone(),
        unread: settings.connections.unread.clone(),
        sites: sites.clone(),
        draining: stop.drain.clone(),
    });
    let mcp = Arc::new(Mcp {
        front: front.clone(),
        sessions,
        endpoint,
    });
    let whole = mcp.clone();
    let whole = service_fn(move |request| {
        let mcp = whole.clone();
        async move { Ok::<_, Infallible>(mcp.answer(request).await) }
    });
    // Shared, because the function below is cloned for every request.
    let of_pages = Arc::new(
        ServiceBuilder::new()
            .option_layer(cors(&sites))
            .service(whole),
    );
    let mcp = service_fn(move |request: Request| {
        // Only what a page asks for needs the headers about pages.
        let of_pages = request
            .headers()
            .contains_key(header::ORIGIN)
            .then(|| (*of_pages).clone());
        let mcp = mcp.clone();
        async move {
            match of_pages {
                Some(of_pages) => of_pages.oneshot(request).await,
                None => Ok(mcp.answer(request).await),
            }
        }
    });
    let served = PATHS.into_iter().fold(Router::new(), |routes, path| {
        routes
            .route_service(path, mcp.clone())
            .route_service(&format!("{path}/"), mcp.clone())
    });
    let prefix = &*settings.path_prefix;
    let endpoint = format!("{prefix}{PATH}");
    let served = served
        .merge(former::routes(&endpoint))
        .merge(documents(front.clone()));
    let probes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready));
    let routes = match prefix {
        "" => served,
        // A client makes the address of a document by the whole path of the endpoint, from the root.
        _ => Router::new()
            .nest(prefix, served.merge(probes.clone()))
            .merge(documents(front)),
    };
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .merge(probes)
        .fallback(async move || {
            (
                StatusCode::NOT_FOUND,
                format!("MCP is served at {endpoint}\n"),
            )
        })
}

/// What OAuth clients look for. A page may read it before it knows any more of us (RFC 9728 §3).
fn documents(front: Arc<Front>) -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(metadata))
        .route(
            "/.well-known/oauth-protected-resource/{*resource}",
            get(metadata),
        )
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_headers(Any)
                .allow_methods([Method::GET]),
        )
        .with_state(front)
}

/// What a message passes on its way to the handler. Each step calls the next one, because layers would box
/// every request and every answer.
struct Mcp<H> {
    front: Arc<Front>,
    sessions: Sessions,
    endpoint: Endpoint<H>,
}

impl<H: Foresight + Clone> Mcp<H> {
    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let followed = |request| self.follow(request);
        // What is polled on other threads cannot borrow; ordinary requests are spared the box.
        let followed_apart = |request| {
            let mcp = self.clone();
            async move { mcp.follow(request).await }.boxed()
        };
        self.front.pass(request, followed, followed_apart).await
    }

    fn follow(&self, request: Request) -> impl Future<Output = Response> + Send {
        self.sessions
            .follow(request, |request| self.endpoint.serve(request))
    }
}

fn host_of(ip: IpAddr) -> Option<String> {
    (!ip.is_unspecified() && !ip.is_loopback()).then(|| ip.to_string())
}

/// A name without the dot that makes it absolute.
fn without_dot(host: &str) -> String {
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    format!("{}{port}", name.strip_suffix('.').unwrap_or(name))
}

/// What browsers may do: those of the origins that are let, and what the protocol needs. None may do
/// anything where no origin is.
fn cors(sites: &Arc<Sites>) -> Option<CorsLayer> {
    let sites = Some(sites).filter(|sites| sites.has_origins())?.clone();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            sites.allows(origin)
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Tools may have headers of their own, `Mcp-Param-…`, so there is no list of them.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list([
            HeaderName::from_static("mcp-session-id"),
            HeaderName::from_static("mcp-protocol-version"),
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            REQUEST_ID,
        ]))
        .max_age(PREFLIGHT);
    Some(cors)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    error!("a request's handler panicked");
    let message = "an internal error ended the request; please report it with the server's log";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}
