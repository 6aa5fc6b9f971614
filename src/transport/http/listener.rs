//! Connections: how many there may be, how long they may idle, and TLS.

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
    Handle,
    accept::{Accept, DefaultAcceptor},
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
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
use tracing::debug;

use super::prompt::Prompt;
use crate::{
    metrics::{Held, Metrics, Refused},
    watch::{Parsed, Watched},
};

/// How many streams one HTTP/2 connection may have open.
const MOST_STREAMS: u32 = 256;

/// The bounds on connections, and where they are counted.
#[derive(Clone, Debug)]
pub struct Connections {
    /// How many may be open at once; further ones are closed at once.
    pub most: usize,
    /// How long a request's head may take, and how long a connection may wait for its next request.
    pub head_timeout: Duration,
    /// Bound on a request's head, in bytes.
    pub head_bytes: usize,
    /// Where they are counted.
    pub metrics: Metrics,
}

/// A certificate and its key, which are followed as they change.
pub struct Tls {
    config: RustlsConfig,
    _watched: Watched<()>,
}

impl Tls {
    /// Reads the PEM files.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not belong together.
    pub fn start(certificate: &Path, key: PathBuf) -> anyhow::Result<Self> {
        let first = std::fs::read_to_string(certificate)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        let config = RustlsConfig::from_config(tls(&first, &key)?);
        let follows = config.clone();
        let watched = Watched::start(certificate, move |pem| {
            follows.reload_from_config(tls(pem, &key)?);
            Ok(Parsed { value: (), files: vec![key.clone()] })
        })?;
        Ok(Self { config, _watched: watched })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn tls(certificate: &str, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| anyhow!("the certificate is no PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| anyhow!("cannot read a private key from {}: {error}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key cannot be used")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until the handle says otherwise.
pub(in crate::transport) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Connections,
    tls: Option<&Tls>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let (open, time) = (Arc::new(Semaphore::new(bounds.most)), bounds.head_timeout);
    match tls {
        Some(tls) => {
            let inner = RustlsAcceptor::new(tls.config.clone());
            let acceptor = Bounded { inner, open, time, metrics: bounds.metrics.clone() };
            run(listener, router, bounds, acceptor, handle).await
        }
        None => {
            let inner = DefaultAcceptor::new();
            let acceptor = Bounded { inner, open, time, metrics: bounds.metrics.clone() };
            run(listener, router, bounds, acceptor, handle).await
        }
    }
}

async fn run<A>(
    listener: TcpListener,
    router: Router,
    bounds: Connections,
    acceptor: Bounded<A>,
    handle: Handle<SocketAddr>,
) -> io::Result<()>
where
    A: Accept<TcpStream, Counted<Service>, Service = Counted<Service>>,
    A: Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A::Future: Send + 'static,
{
    let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(bounds.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MOST_STREAMS)
        .keep_alive_interval(bounds.head_timeout)
        .keep_alive_timeout(bounds.head_timeout);
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// The routes, as one connection has them.
type Service = AddExtension<Router, ConnectInfo<SocketAddr>>;

/// Takes connections while there are fewer than allowed.
#[derive(Clone)]
struct Bounded<A> {
    inner: A,
    open: Arc<Semaphore>,
    /// How long a connection may take to begin.
    time: Duration,
    metrics: Metrics,
}

impl<A, S> Accept<TcpStream, S> for Bounded<A>
where
    A: Accept<TcpStream, Counted<S>>,
    A::Future: Send + 'static,
{
    type Stream = Prompt<A::Stream>;
    type Service = A::Service;
    type Future =
        Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send + 'static>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.open.clone().try_acquire_owned() else {
            debug!("too many connections: one was closed");
            self.metrics.refused(Refused::Limit);
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        };
        // Answers go out in several small writes; without this each would wait for an acknowledgement.
        _ = stream.set_nodelay(true);
        let service = Counted { service, _permit: Arc::new((permit, self.metrics.connection())) };
        let (accepted, time) = (self.inner.accept(stream, service), self.time);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Prompt::new(stream, time), service))
        })
    }
}

/// A connection's service, which makes room for the next connection when it goes.
#[derive(Clone)]
struct Counted<S> {
    service: S,
    _permit: Arc<(OwnedSemaphorePermit, Held)>,
}

impl<S: tower::Service<R>, R> tower::Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}
