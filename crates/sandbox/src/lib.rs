//! An in-memory sandbox of Portkey's control plane and of Enkrypt AI's MCP gateway. It serves real
//! HTTP for a small organisation, and gives the same responses to the same calls every time.
//!
//! The sandbox exists for trials and tests. It knows the API's behaviour from its own declarations,
//! and shares nothing with the client that it judges except the pure merge rules. A request passes
//! these modules:
//!
//! ```text
//! connection → http → route → crud or a domain's action → validation → store
//!                ↑                        ↓
//!             faults             page, mask, cascade
//! ```
//!
//! `domains` declares the API; all other modules are independent of it.

mod api_error;
mod call;
mod caller;
mod cascade;
mod clock;
mod connection;
mod crud;
mod domains;
mod faults;
mod field;
mod http;
mod mask;
mod noise;
mod page;
mod resource;
mod route;
mod seed;
mod store;
mod validation;

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
pub use faults::{Faults, InvalidFaults};

/// Default key of the embedded server. Any key that is not blank is accepted. A key that begins
/// with [`KEY_PREFIX`] may state its kind: `sandbox-admin` is an Admin key, and
/// `sandbox-workspace-<slug>` is a key of that workspace. With the suffix `-read`, either may only
/// read. All other keys, including this one, have access to everything.
pub const DEFAULT_API_KEY: &str = "sandbox-key";

/// Prefix of the sandbox's own keys.
pub const KEY_PREFIX: &str = "sandbox-";

/// Time limit for requests in progress when the sandbox is stopped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running sandbox. Dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    server: JoinHandle<()>,
    stop: DropGuard,
}

impl Sandbox {
    /// Binds `listen` and serves requests with the machine's clock until stopped or dropped. Port 0
    /// selects a free port.
    ///
    /// # Errors
    /// Returns an error if the address cannot be bound or the store cannot be seeded.
    pub async fn start(listen: SocketAddr, faults: Faults) -> io::Result<Self> {
        Self::start_with_clock(listen, faults, None).await
    }

    /// Starts a sandbox like [`Sandbox::start`], with the clock pinned if `now` is given.
    ///
    /// # Errors
    /// Returns an error if the address cannot be bound or the store cannot be seeded.
    pub async fn start_with_clock(
        listen: SocketAddr,
        faults: Faults,
        now: Option<PinnedTime>,
    ) -> io::Result<Self> {
        let routes = route::Routes::new(domains::ALL);
        let store = seed::seed_store(&routes, now).map_err(io::Error::other)?;
        let service = http::SandboxService {
            routes,
            store: Mutex::new(store),
            faults,
            request_count: AtomicU64::new(1),
        };
        let socket = TcpListener::bind(listen).await?;
        let address = socket.local_addr()?;
        let stop = CancellationToken::new();
        let make = http::handle_request
            .with_state(Arc::new(service))
            .into_make_service_with_connect_info::<connection::ConnectionHandle>();
        let serve = axum::serve(connection::abortable_listener(socket), make)
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

    /// Returns the address on which the sandbox listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL for clients, such as `http://127.0.0.1:8080/v1`.
    pub fn base_url(&self) -> String {
        // Clients cannot connect to an unspecified address.
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}/v1", SocketAddr::new(ip, self.address.port()))
    }

    /// Stops the sandbox after the requests in progress have ended, with a time limit.
    pub async fn stop(mut self) {
        drop(self.stop);
        if !self.server.is_finished()
            && tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut self.server)
                .await
                .is_err()
        {
            self.server.abort();
        }
    }

    /// Waits until the sandbox ends by itself.
    pub async fn wait_until_stopped(&mut self) {
        // A completed task must not be awaited again.
        if !self.server.is_finished()
            && let Err(error) = (&mut self.server).await
        {
            tracing::error!(%error, "the sandbox stopped");
        }
    }
}
