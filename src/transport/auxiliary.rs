//! HTTP listeners beside the main one, for few and short requests, one on each connection.
//!
//! Connections whose request is not authenticated have a limit of their own. At that limit the
//! oldest one is closed. A client that opens many connections and sends nothing does not keep out
//! one that sends a request at once.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::info;

use super::{SEVERAL_HOSTS, TLS_HANDSHAKE, has_several_hosts};

/// Maximum size of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Pause before the next accept after one that failed, for example for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Maximum number of open connections whose request is not authenticated.
    pub(super) max_unauthenticated: usize,
    /// Maximum number of open connections whose request is authenticated.
    pub(super) max_authenticated: usize,
    /// Maximum time for a request's head.
    pub(super) head_timeout: Duration,
    /// Maximum lifetime of a connection, from its first byte to the last byte of its response.
    pub(super) timeout: Duration,
}

/// The connection of a request.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<OpenConnection>);

/// An open connection, which is counted until this is dropped.
#[derive(Debug)]
struct OpenConnection {
    number: u64,
    peer: IpAddr,
    closed: CancellationToken,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    connections: Arc<ConnectionTracker>,
}

/// The open connections of a listener.
#[derive(Debug)]
struct ConnectionTracker {
    limits: ConnectionLimits,
    next_number: AtomicU64,
    /// Connections whose request is not authenticated, the oldest first.
    unauthenticated_connections: Mutex<VecDeque<(u64, CancellationToken)>>,
    authenticated_permits: Arc<Semaphore>,
}

impl Connection {
    /// Returns the address at the other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Counts the connection as authenticated from now on. Returns `false` and changes nothing if
    /// there are too many of these already.
    #[must_use]
    pub(super) fn authenticate(&self) -> bool {
        let OpenConnection {
            number,
            permit,
            connections,
            ..
        } = &*self.0;
        let Ok(own) = connections
            .authenticated_permits
            .clone()
            .try_acquire_owned()
        else {
            return false;
        };
        *lock(permit) = Some(own);
        connections.remove_unauthenticated(*number);
        true
    }
}

impl ConnectionTracker {
    fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            next_number: AtomicU64::default(),
            unauthenticated_connections: Mutex::default(),
            authenticated_permits: Arc::new(Semaphore::new(limits.max_authenticated)),
        }
    }

    /// Counts a new connection, and closes the oldest one if there are too many.
    fn register(self: &Arc<Self>, peer: IpAddr) -> Connection {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let closed = CancellationToken::new();
        let mut waiting = lock(&self.unauthenticated_connections);
        while waiting.len() >= self.limits.max_unauthenticated.max(1) {
            if let Some((_, oldest)) = waiting.pop_front() {
                oldest.cancel();
            }
        }
        waiting.push_back((number, closed.clone()));
        let connections = self.clone();
        Connection(Arc::new(OpenConnection {
            number,
            peer,
            closed,
            permit: Mutex::default(),
            connections,
        }))
    }

    fn remove_unauthenticated(&self, number: u64) {
        lock(&self.unauthenticated_connections).retain(|(other, _)| *other != number);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.remove_unauthenticated(self.number);
    }
}

/// Serves until `ended` is cancelled. Requests carry their [`Connection`] as an extension.
///
/// # Errors
/// Returns an error if the system does not accept the listener.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    ended: CancellationToken,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections = Arc::new(ConnectionTracker::new(limits));
    loop {
        let accepted = tokio::select! {
            () = ended.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        // A connection that is gone already, or too many open files. Neither ends the listener.
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        let connection = connections.register(peer.ip());
        let router = router.clone();
        let ended = ended.clone();
        tokio::spawn(async move {
            let closed = connection.0.closed.clone();
            tokio::select! {
                () = ended.cancelled() => {}
                () = closed.cancelled() => {}
                () = serve_connection(stream, router, connection, limits) => {}
            }
        });
    }
}

/// Serves the one request of a connection.
async fn serve_connection(
    stream: TcpStream,
    router: Router,
    connection: Connection,
    limits: ConnectionLimits,
) {
    // Responses are sent in several small writes. Without this, each would wait for an
    // acknowledgement.
    _ = stream.set_nodelay(true);
    let peer = connection.peer();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let has_several_hosts = has_several_hosts(request.headers());
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        let answer = router.clone().oneshot(request);
        async move {
            if has_several_hosts {
                let message = format!("{SEVERAL_HOSTS}\n");
                return Ok((StatusCode::BAD_REQUEST, message).into_response());
            }
            answer.await as Result<Response, _>
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false);
    let served = async {
        let mut first = [0];
        let begun = timeout(limits.head_timeout, stream.peek(&mut first)).await;
        if !matches!(begun, Ok(Ok(_))) {
            return;
        }
        if first == [TLS_HANDSHAKE] {
            info!(
                address = %peer,
                "connection refused: TLS on a port with plain HTTP. Clients call an address that begins with http://"
            );
        }
        // A TLS client gets an error response, which shows it that this is no TLS. The outcome does not matter: the
        // client is gone.
        _ = http.serve_connection(TokioIo::new(stream), service).await;
    };
    _ = timeout(limits.timeout, served).await;
}

/// Locks a mutex. A panic in another thread does no harm, because no operation under these locks
/// stops half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    const LIMITS: ConnectionLimits = ConnectionLimits {
        max_unauthenticated: 2,
        max_authenticated: 1,
        head_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };

    #[test]
    fn oldest_unauthenticated_connection_is_closed_for_a_new_one() {
        let connections = Arc::new(ConnectionTracker::new(LIMITS));
        let open: Vec<_> = (0..3).map(|_| connections.register(PEER)).collect();
        let closed: Vec<_> = open.iter().map(|one| one.0.closed.is_cancelled()).collect();
        assert_eq!(closed, [true, false, false]);
    }

    #[test]
    fn authenticated_connection_is_not_closed_for_a_new_one() {
        let connections = Arc::new(ConnectionTracker::new(LIMITS));
        let first = connections.register(PEER);
        assert!(first.authenticate());
        let open: Vec<_> = (0..9).map(|_| connections.register(PEER)).collect();
        assert!(!first.0.closed.is_cancelled());
        assert!(!open[8].authenticate(), "more than may be authenticated");
        drop(first);
        assert!(open[8].authenticate(), "the place of one that has ended");
    }

    #[test]
    fn closed_connection_frees_its_slot() {
        let connections = Arc::new(ConnectionTracker::new(LIMITS));
        let first = connections.register(PEER);
        drop(connections.register(PEER));
        _ = connections.register(PEER);
        assert!(!first.0.closed.is_cancelled());
    }
}
