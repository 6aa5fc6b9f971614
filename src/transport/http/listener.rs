//! The connection layer: limits on the number of connections, their timeouts, and TLS.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use axum::{Router, extract::ConnectInfo, middleware::AddExtension};
use axum_server::{
    accept::{Accept, DefaultAcceptor},
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use http::{Request, Version};
use hyper_util::rt::TokioTimer;
use portkey_bounded_file::{MAX_CONFIG_BYTES, MAX_KEY_BYTES, display_path, read, read_to_string};
use portkey_file_watch::{FileKind, ParsedValue, WatchedValue};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::util::MapResponse;
use tracing::info;

use super::{
    first_byte_timeout::FirstByteTimeout, plain_http_detector::PlainHttpDetector,
    shutdown::ConnectionShutdown, unread_responses::UnreadResponses, write_monitor::WriteMonitor,
};
use crate::{
    observability::{
        call_record::RejectionReason,
        metrics::{GaugeGuard, Metrics},
    },
    security::secrets::{FileProtection, check_permissions},
};

/// Maximum number of open streams of one HTTP/2 connection.
const MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// Limits on connections.
#[derive(Clone, Debug)]
pub struct ConnectionBounds {
    /// Maximum number of open connections. Further ones are closed at once.
    pub max: u32,
    /// Timeout for a request's head, and for the next request on a connection.
    pub head_timeout: Duration,
    /// Maximum size of a request's head, in bytes.
    pub head_bytes: usize,
    /// Time for which a client may read nothing of a response.
    pub write_timeout: Duration,
    /// Counts response bytes that clients have not read.
    pub unread: Arc<UnreadResponses>,
}

/// A certificate and its key, which are reloaded when their files change.
pub struct Tls {
    config: RustlsConfig,
    _watched: WatchedValue<()>,
}

impl Tls {
    /// Reads the PEM files and watches them for changes.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or the key does not belong to the certificate.
    pub fn start(certificate: &Path, key: PathBuf) -> anyhow::Result<Self> {
        let context = || format!("cannot use {}", display_path(&key));
        check_permissions(&key, FileProtection::Secret).with_context(context)?;
        let first = read_to_string(certificate, MAX_CONFIG_BYTES)
            .with_context(|| format!("cannot read {}", display_path(certificate)))?;
        let config = RustlsConfig::from_config(tls_config(&first, &key)?);
        let reloadable = config.clone();
        let watched = WatchedValue::from_file(certificate, move |pem| {
            reloadable.reload_from_config(tls_config(pem, &key)?);
            Ok(ParsedValue {
                value: (),
                files: vec![key.clone()],
            })
        })?;
        Ok(Self {
            config,
            _watched: watched.with_kind(FileKind::CertificateFile),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn tls_config(certificate: &str, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| anyhow!("the certificate is no PEM: {error}"))?;
    let key = read(key, MAX_KEY_BYTES)
        .map_err(anyhow::Error::from)
        .and_then(|pem| Ok(PrivateKeyDer::from_pem_slice(&pem)?))
        .map_err(|error| {
            anyhow!(
                "cannot read a private key from {}: {error}",
                display_path(key)
            )
        })?;
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key cannot be used")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until the listener is closed and the last connection has ended, or all are aborted.
///
/// # Errors
/// Returns an error if the system does not accept the listener.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: ConnectionBounds,
    metrics: Metrics,
    tls: Option<&Tls>,
    shutdown: ConnectionShutdown,
) -> io::Result<()> {
    let open = Arc::new(Semaphore::new(bounds.max as usize));
    let time = bounds.head_timeout;
    match tls {
        Some(tls) => {
            let inner = PlainHttpDetector::new(RustlsAcceptor::new(tls.config.clone()), time);
            let acceptor = LimitedAcceptor {
                inner,
                open,
                start_timeout: time,
                bounds: bounds.clone(),
                metrics,
            };
            run_server(listener, router, bounds, acceptor, shutdown).await
        }
        None => {
            let inner = DefaultAcceptor::new();
            let acceptor = LimitedAcceptor {
                inner,
                open,
                start_timeout: time,
                bounds: bounds.clone(),
                metrics,
            };
            run_server(listener, router, bounds, acceptor, shutdown).await
        }
    }
}

async fn run_server<A>(
    listener: TcpListener,
    router: Router,
    bounds: ConnectionBounds,
    acceptor: LimitedAcceptor<A>,
    shutdown: ConnectionShutdown,
) -> io::Result<()>
where
    A: Accept<
            TcpStream,
            CountedConnection<ConnectionService>,
            Service = CountedConnection<ConnectionService>,
        >,
    A: Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A::Future: Send + 'static,
{
    let open = acceptor.open.clone();
    // Counted on accept, before the connection's own task starts.
    let new_connections = shutdown.clone();
    let services = MapResponse::new(
        router.into_make_service_with_connect_info::<SocketAddr>(),
        move |service| GuardedService {
            service,
            guard: new_connections.track_new_connection(),
            write_monitor: None,
        },
    );
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(shutdown.handle());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(bounds.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .keep_alive_interval(bounds.head_timeout)
        .keep_alive_timeout(bounds.head_timeout);
    // Until the last connection is accepted, the number of new ones is unknown.
    let taking = shutdown.track_new_connection();
    tokio::select! {
        // First, so that queued connections are accepted before the listener closes.
        biased;
        served = server.serve(services) => served,
        () = shutdown.wait_until_listener_closes() => {
            drop(taking);
            // The last connection has ended when all permits are back. Waiting for them earlier
            // would withhold permits from connections that still need theirs.
            shutdown.wait_for_new_connections().await;
            _ = open.acquire_many(bounds.max).await;
            Ok(())
        }
    }
}

/// The routes as a service of one connection.
type ConnectionService = AddExtension<Router, ConnectInfo<SocketAddr>>;

/// Accepts connections up to the maximum number.
#[derive(Clone)]
struct LimitedAcceptor<A> {
    inner: A,
    open: Arc<Semaphore>,
    /// Timeout for TLS and the first bytes of a connection.
    start_timeout: Duration,
    bounds: ConnectionBounds,
    metrics: Metrics,
}

impl<A, S> Accept<TcpStream, NewConnection<S>> for LimitedAcceptor<A>
where
    A: Accept<TcpStream, CountedConnection<S>>,
    A::Future: Send + 'static,
{
    type Stream = FirstByteTimeout<A::Stream>;
    type Service = A::Service;
    type Future =
        Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send + 'static>>;

    fn accept(&self, stream: TcpStream, new: NewConnection<S>) -> Self::Future {
        let GuardedService {
            service,
            guard: fresh,
            ..
        } = new;
        let Ok(permit) = self.open.clone().try_acquire_owned() else {
            let address = stream
                .peer_addr()
                .ok()
                .map(|peer| tracing::field::display(peer.ip()));
            info!(address, "connection refused: --max-connections are open");
            self.metrics.record_rejection(RejectionReason::Limit);
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        };
        // Responses are sent in several small writes. Without this, each would wait for an
        // acknowledgement.
        _ = stream.set_nodelay(true);
        limit_unsent_bytes(&stream);
        let held = Arc::new((permit, self.metrics.track_connection()));
        let unread = self.bounds.unread.clone();
        let writing = WriteMonitor::new(self.bounds.write_timeout, unread, self.metrics.clone());
        let service = GuardedService {
            service,
            guard: held,
            write_monitor: Some(writing.clone()),
        };
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let accepted = self.inner.accept(stream, service);
        let time = self.start_timeout;
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let stream = FirstByteTimeout::new(stream, peer, time, fresh, writing);
            Ok((stream, service))
        })
    }
}

/// Maximum number of bytes that the kernel buffers for a client before it sends them.
///
/// By default it buffers up to 4 MB of each connection (`tcp_wmem`), so that clients that read nothing
/// have the server build and copy that much. Sent bytes that are not acknowledged yet do not count, so
/// that distant clients receive as fast as before.
#[cfg(target_os = "linux")]
const MAX_UNSENT_BYTES: u32 = 256 * 1024;

/// Limits what the kernel buffers for this connection.
#[cfg(target_os = "linux")]
fn limit_unsent_bytes(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT_BYTES) {
        tracing::debug!(%error, "unsent bytes are not limited");
    }
}

/// Other systems have no such option, and smaller buffers.
#[cfg(not(target_os = "linux"))]
fn limit_unsent_bytes(_: &TcpStream) {}

/// The service of a connection without any request yet.
type NewConnection<S> = GuardedService<S, TaskTrackerToken>;

/// The service of an accepted connection, which frees its permit on drop.
type CountedConnection<S> = GuardedService<S, Arc<(OwnedSemaphorePermit, GaugeGuard)>>;

/// A service that keeps a guard alive.
#[derive(Clone)]
struct GuardedService<S, T> {
    service: S,
    guard: T,
    /// Monitor of the connection's writes, once it is accepted.
    write_monitor: Option<Arc<WriteMonitor>>,
}

impl<S: tower::Service<Request<B>>, T, B> tower::Service<Request<B>> for GuardedService<S, T> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        // Before HTTP/2 the socket alone shows whether a client reads.
        if request.version() == Version::HTTP_2
            && let Some(writing) = &self.write_monitor
        {
            request.extensions_mut().insert(writing.clone());
        }
        self.service.call(request)
    }
}
