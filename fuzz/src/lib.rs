//! Shared by the fuzz targets: a server without a reachable upstream, and a clock that skips
//! waiting.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Extension, Router, extract::ConnectInfo};
use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    auth::{
        Auth, CallerChanges, Tokens,
        principal::{Credentials, KeySource, MissingKey, Principal, UpstreamKey},
    },
    mcp::server::Server,
    observability::metrics::Metrics,
    pipeline::Dispatcher,
    security::signed_state::Keyring,
    transport::http::{
        self, ConnectionBounds, HttpSettings, SessionBounds, SharedParts, ShutdownTokens,
        UnreadResponses,
    },
    upstream::{Addresses, RetrySettings, UpstreamClient, UpstreamSettings},
};
use portkey_readiness::Readiness;
use portkey_store::Store;

/// Upstream key. No response may contain it.
pub const KEY: &str = "planted-upstream-key-5b1c9a52";

/// Token of a client under `--auth token`.
pub const TOKEN: &str = "pmcp_planted-token-93d0c1e7";

/// A token file with [`TOKEN`] as the only entry.
const TOKENS: &str = r#"
[[token]]
name = "client"
sha256 = "0f7e71b944ace5b5133758689c87d03361f5bebfb9af5b35e977d6823c026b90"
scopes = ["portkey:read", "portkey:write", "portkey:delete"]
"#;

/// Maximum time for the head or the body of a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Shared by all runs: the client loads the system's certificates, which takes long.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let settings = UpstreamSettings {
        // Port 9 belonged to the discard protocol; nothing listens there.
        addresses: Addresses::from_single_host(
            &"http://127.0.0.1:9/v1".parse().expect("an address"),
        ),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        max_response_bytes: 1 << 20,
        retries: RetrySettings {
            max_retries: 0,
            ..RetrySettings::default()
        },
        extra_roots: Vec::new(),
        proxies: false,
    };
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings));
    Server::new(Arc::new(dispatcher), None)
});

/// Runs a future to its end, on a clock that skips every wait.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Returns the server for a local caller.
pub fn local_server() -> Server {
    SERVER
        .clone()
        .with_local_principal(Principal::local(credentials()))
}

/// Returns the product's routes as seen by one connection, with `--auth token` or without
/// authentication. No state survives from one run to the next.
pub fn router(by_token: bool) -> Router {
    let auth = match by_token {
        true => Auth::Token(WatchedValue::fixed(parse_tokens())),
        false => Auth::None(Arc::new(Principal::local(credentials()))),
    };
    let settings = HttpSettings {
        listen: (Ipv4Addr::LOCALHOST, 8787).into(),
        allowed_hosts: Vec::new(),
        allowed_origins: vec!["https://console.example.com".to_owned()],
        path_prefix: String::new(),
        trusted_proxies: vec!["127.0.0.1/32".parse().expect("a network")],
        max_request_bytes: 64 << 10,
        body_timeout: REQUEST_TIMEOUT,
        concurrency: 8,
        address_concurrency: 8,
        ipv6_prefix: 64,
        rate: None,
        address_rate: None,
        connections: ConnectionBounds {
            max: 8,
            head_timeout: REQUEST_TIMEOUT,
            head_bytes: 64 << 10,
            write_timeout: REQUEST_TIMEOUT,
            unread: UnreadResponses::new(64 << 20),
        },
        sessions: SessionBounds {
            ttl: REQUEST_TIMEOUT * 100,
            idle_timeout: REQUEST_TIMEOUT * 10,
            max: 8,
            max_per_principal: 4,
        },
        tls: None,
        allow_unauthenticated: false,
        drain_delay: Duration::ZERO,
        grace: REQUEST_TIMEOUT,
        metrics_listen: None,
        rest: None,
    };
    let shared = SharedParts {
        callers: CallerChanges::default(),
        keys: Arc::new(WatchedValue::fixed(Keyring::random().expect("randomness"))),
        store: Store::in_memory(),
        metrics: Metrics::default(),
        readiness: Readiness::default(),
        rest: None,
    };
    let peer: SocketAddr = (Ipv4Addr::LOCALHOST, 50_000).into();
    let router = http::router(
        SERVER.clone(),
        auth,
        &settings,
        &shared,
        &ShutdownTokens::default(),
    );
    router.layer(Extension(ConnectInfo(peer)))
}

/// Returns true if the bytes contain the text.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Returns the server's key for each upstream.
pub fn credentials() -> Credentials {
    let key = UpstreamKey::new(KeySource::Option, &KEY.into()).expect("a key");
    Credentials {
        portkey: Some(key.clone()),
        enkrypt: Some(key),
        missing_key: MissingKey::Server,
    }
}

fn parse_tokens() -> Tokens {
    let tokens = Tokens::parse(
        TOKENS,
        Path::new(""),
        &Catalog::domains(),
        Some(&credentials()),
    );
    tokens.expect("a token file").value
}
