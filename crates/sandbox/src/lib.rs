//! A stand-in for Portkey's control plane, and for Enkrypt AI's MCP gateway: real HTTP, a small
//! organisation in memory, the same answers to the same calls every time.
//!
//! It exists to be tried out on and tested against, so it shares nothing with the client it
//! judges but the pure rules of a merge: it knows the API's manners from its own declarations. A
//! request goes one way:
//!
//! ```text
//! line → http → route → crud or a domain's action → check → store
//!          ↑                        ↓
//!       faults             page, mask, cascade
//! ```
//!
//! `domains` says what there is; everything else is the same for all of it.

mod call;
mod caller;
mod cascade;
mod check;
mod clock;
mod crud;
mod domains;
mod faults;
mod field;
mod http;
mod line;
mod mask;
mod noise;
mod page;
mod refusal;
mod resource;
mod route;
mod seed;
mod store;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use axum::handler::Handler;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use clock::{InvalidPinnedTime, PinnedTime};
pub use faults::{BadFaults, Faults};

/// The key the embedded server uses unless it is given one of the sandbox's. Any key that is not blank
/// is accepted. One that begins with [`KEY_PREFIX`] may say of which kind it is: `sandbox-admin` is an
/// Admin key, `sandbox-workspace-<slug>` a key of that workspace, and either with `-read` after it may
/// only read. To all others, as to this one, everything is open.
pub const KEY: &str = "sandbox-key";

/// What the sandbox's own keys begin with.
pub const KEY_PREFIX: &str = "sandbox-";

/// How long requests under way may take to end once the sandbox is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// A running stand-in for Portkey. Dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    server: JoinHandle<()>,
    stop: DropGuard,
}

impl Sandbox {
    /// Binds `listen` (port 0 picks one) and serves by the machine's clock until stopped or dropped.
    pub async fn start(listen: SocketAddr, faults: Faults) -> io::Result<Self> {
        Self::start_at(listen, faults, None).await
    }

    /// The same with the clock pinned at a moment, if there is one.
    pub async fn start_at(
        listen: SocketAddr,
        faults: Faults,
        now: Option<PinnedTime>,
    ) -> io::Result<Self> {
        let routes = route::Routes::new(domains::ALL);
        let store = seed::organisation(&routes, now).map_err(io::Error::other)?;
        let service = http::Service {
            routes,
            store: Mutex::new(store),
            faults,
            count: AtomicU64::new(1),
        };
        let socket = TcpListener::bind(listen).await?;
        let address = socket.local_addr()?;
        let stop = CancellationToken::new();
        let make = http::answer
            .with_state(Arc::new(service))
            .into_make_service_with_connect_info::<line::Line>();
        let serve = axum::serve(line::lines(socket), make)
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the sandbox stopped");
            }
        });
        Ok(Self {
            address,
            server,
            stop: stop.drop_guard(),
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL clients use, such as `http://127.0.0.1:8080/v1`.
    pub fn base_url(&self) -> String {
        // "Any address" is one to listen on, not one to call.
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}/v1", SocketAddr::new(ip, self.address.port()))
    }

    /// Stops it, once the requests under way have ended.
    pub async fn stop(mut self) {
        drop(self.stop);
        if !self.server.is_finished()
            && tokio::time::timeout(GRACE, &mut self.server).await.is_err()
        {
            self.server.abort();
        }
    }

    /// Waits until it ends by itself.
    pub async fn stopped(&mut self) {
        // A task that has been waited for must not be waited for again.
        if !self.server.is_finished()
            && let Err(error) = (&mut self.server).await
        {
            tracing::error!(%error, "the sandbox stopped");
        }
    }
}
