//! The streamable HTTP transport: many clients, in both protocol generations, at `/mcp`. Beside it,
//! the endpoints of the API for other clients.

mod accept;
mod allowed_sites;
mod body;
mod client_address;
mod endpoint;
mod error_response;
mod fast_path;
mod first_byte_timeout;
mod guard;
mod gzip;
mod headers;
mod legacy_sse;
mod limits;
mod listener;
mod metrics_listener;
mod plain_http_detector;
mod request_filter;
mod rest;
mod routes;
mod server;
mod sessions;
mod shutdown;
mod streams;
mod unread_responses;
mod write_monitor;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use portkey_file_watch::WatchedValue;
use portkey_readiness::Readiness;
use portkey_store::{Store, TokenBucket};

use crate::{
    auth::CallerChanges, observability::metrics::Metrics, security::signed_state::Keyring,
};

pub(crate) use body::{MAX_LARGE_BODY_BYTES, MAX_LARGE_BODY_BYTES_PER_CALLER};
pub use fast_path::DirectCallHandler;
pub use listener::{ConnectionBounds, Tls};
pub use rest::{RestFace, RestSettings};
pub use routes::router;
pub use server::serve;
pub use sessions::SessionBounds;
pub(crate) use sessions::{
    CROWDED_UNPROVEN_IDLE_TIMEOUT, CROWDED_UNPROVEN_SESSIONS, MAX_UNPROVEN_SESSIONS,
    MAX_UNPROVEN_SESSIONS_PER_NETWORK, STORED_SESSION_TTL, UNPROVEN_SESSION_TTL,
};
pub use shutdown::ShutdownTokens;
pub(crate) use streams::MAX_STREAMS;
pub use unread_responses::UnreadResponses;

/// Settings of the HTTP transport.
#[derive(Debug)]
pub struct HttpSettings {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// Host names that clients may use, beside the loopback names and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call. On a loopback listener, origins of this machine may call in
    /// any case.
    pub allowed_origins: Vec<String>,
    /// Prefix of every path, such as `/portkey`. Empty by default.
    pub path_prefix: String,
    /// Proxies that are trusted to name a client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum size of a request body, in bytes.
    pub max_request_bytes: usize,
    /// Timeout for receiving a request body.
    pub body_timeout: Duration,
    /// Maximum number of concurrent requests of one caller.
    pub concurrency: usize,
    /// Maximum number of concurrent requests from one address.
    pub address_concurrency: usize,
    /// Prefix length of IPv6 addresses that are counted as one address, in bits.
    pub ipv6_prefix: u8,
    /// Rate limit of one caller, over all replicas.
    pub rate: Option<TokenBucket>,
    /// Rate limit of one address, over all replicas.
    pub address_rate: Option<TokenBucket>,
    /// Limits on connections.
    pub connections: ConnectionBounds,
    /// Limits on sessions.
    pub sessions: SessionBounds,
    /// Certificate for TLS. `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// Permits listening beyond loopback, although anyone who can connect can then administer.
    pub allow_unauthenticated: bool,
    /// Time during which the replica still serves while proxies notice that it is about to stop.
    pub drain_delay: Duration,
    /// Time for calls in flight to finish after new requests are no longer accepted.
    pub grace: Duration,
    /// Address of the listener for `/metrics`. `None` for no metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Settings of the REST face. `None` to not serve it.
    pub rest: Option<RestSettings>,
}

/// Parts that the HTTP server shares with the rest of the process, or with other replicas.
#[derive(Clone, Debug)]
pub struct SharedParts {
    /// Notifies of changes to the file of callers.
    pub callers: CallerChanges,
    /// Keys that sign session ids, the same at all replicas.
    pub keys: Arc<WatchedValue<Keyring>>,
    /// Rate limits and sessions of all replicas.
    pub store: Store,
    /// Counters of rejected requests and connections.
    pub metrics: Metrics,
    /// State of the server's dependencies, for `/readyz`.
    pub readiness: Readiness,
    /// Serves the endpoints of the API, if they are served.
    pub rest: Option<RestFace>,
}
