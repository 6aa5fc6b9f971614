//! HTTP client for Portkey and Enkrypt AI: base URLs, keys, retries, and one connection pool.

mod address;
mod details;
mod file;
mod response;
mod retry;
mod retry_safety;

use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, Instant},
};

use backon::Retryable;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portkey_operation::{ApiBase, Upstream, UpstreamRequest};
use reqwest::{Certificate, Url};
use serde_json::Value;

use crate::{
    auth::principal::{Credentials, KeyStatus, MissingKey},
    http_client::{ClientSetupError, build_client, client_builder, network_error},
    observability::{metrics::Metrics, traces::Span},
};

pub use address::Addresses;
pub use details::{ErrorDetail, is_generic};
pub use file::{FileDownload, FileError};
pub use response::{FailedCall, KeyHolder, UpstreamError, UpstreamErrorKind, UpstreamResponse};
pub use retry::RetrySettings;
pub use retry_safety::RetrySafety;

/// Maximum number of bytes that are reserved for a body before it arrives.
const MAX_RESERVED_BYTES: usize = 256 << 10;

/// Name of key checks in metrics and traces, where calls have the names of their operations.
const KEY_CHECK_NAME: &str = "check-key";

/// Portkey's error code for a valid key that lacks a permission.
const NOT_ALLOWED_CODE: &str = "AB03";

/// Returns the header in which an upstream expects its key.
const fn key_header(upstream: Upstream) -> HeaderName {
    match upstream {
        Upstream::Portkey => HeaderName::from_static("x-portkey-api-key"),
        Upstream::Enkrypt => HeaderName::from_static("apikey"),
    }
}

/// Addresses, timeouts and limits of the client.
#[derive(Debug)]
pub struct UpstreamSettings {
    /// Base URLs of the hosts.
    pub addresses: Addresses,
    /// Maximum time for opening a connection.
    pub connect_timeout: Duration,
    /// Maximum time for a whole call, including retries and the delays between them.
    pub timeout: Duration,
    /// Maximum size of a response, decompressed, in bytes.
    pub max_response_bytes: usize,
    /// Number and delays of retries.
    pub retries: RetrySettings,
    /// Certificate authorities trusted in addition to the system's.
    pub extra_roots: Vec<Certificate>,
    /// True if the system's proxies are used; false for the embedded sandbox.
    pub proxies: bool,
}

/// A request that got no complete response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The caller has no key for the upstream.
    #[error(transparent)]
    MissingKey(#[from] MissingKey),
    /// The registry of a self-hosted Portkey is unknown.
    #[error(
        "this control plane is not Portkey's own, so the address of its MCP registry is not known and \
         nothing was sent. Start the server with --registry-url (PORTKEY_REGISTRY_URL)"
    )]
    NoRegistry,
    /// The client could not be set up.
    #[error(transparent)]
    Setup(#[from] ClientSetupError),
    /// The request could not be built.
    #[error("the request to {0} could not be built, nothing was sent: {1}")]
    InvalidRequest(Upstream, TransportCause),
    /// No connection was made, so nothing was sent.
    #[error(
        "{upstream} could not be reached, nothing was sent. {place}: {cause}. {}",
        place.advice(*upstream)
    )]
    Unreachable {
        /// The unreachable upstream.
        upstream: Upstream,
        /// Address and proxy that were tried.
        place: UpstreamEndpoint,
        /// The failure of the connection.
        cause: TransportCause,
    },
    /// The connection broke after the request was sent; its effect is unknown.
    #[error("the connection to {0} broke before its answer was complete: {1}. {2}")]
    Interrupted(Upstream, TransportCause, RetrySafety),
    /// The whole call took too long.
    #[error("{upstream} did not answer within {} s. {doubt}", bound.as_secs_f32())]
    TimedOut {
        /// The upstream that did not respond.
        upstream: Upstream,
        /// The timeout.
        bound: Duration,
        /// Advice on repeating the request.
        doubt: RetrySafety,
    },
    /// The file of a signed address could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The response exceeded the maximum size, in bytes.
    #[error("the answer of {0} is larger than {1} bytes and was dropped. {advice}", advice = too_large_advice(*.2))]
    TooLarge(Upstream, usize, RetrySafety),
}

/// Returns advice for a response that is too large. A write is not to be repeated with a narrower
/// filter, because that would carry it out a second time.
fn too_large_advice(doubt: RetrySafety) -> String {
    match doubt.writes {
        false => {
            "Ask for less (a smaller `page_size`, a narrower filter), or raise --max-response-bytes"
                .to_owned()
        }
        true => doubt.to_string(),
    }
}

/// A transport error, displayed without the address it occurred on.
#[derive(Debug)]
pub struct TransportCause(network_error::RequestError);

impl From<reqwest::Error> for TransportCause {
    fn from(error: reqwest::Error) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TransportCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.error.is_connect() && self.0.error.is_timeout() {
            return f.write_str("no connection was made within the --connect-timeout");
        }
        self.0.fmt(f)
    }
}

/// The address of an upstream: scheme, host and port, and the proxy in use.
#[derive(Debug)]
pub struct UpstreamEndpoint {
    address: String,
    proxy: Option<String>,
}

impl UpstreamEndpoint {
    fn new(url: &Url, proxies: bool) -> Self {
        let address = url.origin().ascii_serialization();
        let proxy = network_error::system_proxy(&address).filter(|_| proxies);
        Self { address, proxy }
    }

    /// Names the settings to check.
    fn advice(&self, upstream: Upstream) -> String {
        let settings = upstream.address_settings();
        match &self.proxy {
            Some(_) => format!(
                "Check the proxy, which HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names (NO_PROXY names hosts \
                 that need none), {settings} and the network, then call again"
            ),
            None => format!("Check {settings}, the network and any proxy, then call again"),
        }
    }
}

impl fmt::Display for UpstreamEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, "`{}` through the proxy `{proxy}`", self.address),
            None => write!(f, "`{}`", self.address),
        }
    }
}

/// A client for one Portkey and one Enkrypt AI.
///
/// The connection pool is created on the first call. A server that only lists its tools never reads
/// the system's certificates.
#[derive(Debug)]
pub struct UpstreamClient {
    settings: UpstreamSettings,
    http: OnceLock<reqwest::Client>,
    metrics: Metrics,
}

impl UpstreamClient {
    /// Creates a client; no connection is made yet.
    pub fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            http: OnceLock::new(),
            metrics: Metrics::default(),
        }
    }

    /// Returns the maximum time for a whole call.
    pub const fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Returns the base URL of a host without credentials, by which the journal tells upstreams apart.
    /// `None` for an unknown registry.
    pub fn host_name(&self, base: ApiBase) -> Option<String> {
        self.settings.addresses.name(base)
    }

    /// Returns the base URLs of all hosts without credentials.
    pub fn host_names(&self) -> Vec<String> {
        self.settings.addresses.names()
    }

    /// Records attempts and retries in these metrics.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Sends one request with the caller's key, retries it where that is safe, and returns the
    /// response.
    ///
    /// # Errors
    /// Returns an error if there is no key, no connection, no complete response in time, or if the
    /// response is too large. An error response is returned as `Ok`: see [`UpstreamResponse::into_result`].
    pub async fn send(
        &self,
        mut request: UpstreamRequest,
        credentials: &Credentials,
    ) -> Result<UpstreamResponse, SendError> {
        let body = request.body.take().map(|body| encode(&body));
        self.send_with_body(request, body, credentials).await
    }

    /// Sends one request with these bytes as its JSON body, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with_body(
        &self,
        request: UpstreamRequest,
        body: Option<Bytes>,
        credentials: &Credentials,
    ) -> Result<UpstreamResponse, SendError> {
        let upstream = request.base.upstream();
        let request = self.prepare(request, body, credentials)?;
        let doubt = RetrySafety {
            writes: request.writes,
            verification_tool: None,
        };
        let started = Instant::now();
        let mut attempts = 0;
        let mut arrived = false;
        let mut is_doubtful = false;
        let attempt = || {
            attempts += 1;
            if attempts > 1 {
                self.metrics.record_retry(upstream);
            }
            self.send_attempt(&request)
        };
        let sent = attempt
            .retry(self.settings.retries.backoff())
            .when(|failure| {
                arrived |= !failure.is_unsent();
                let again = failure.can_retry(request.repeatable);
                // An attempt that is not retried ends the call, and its own response or error tells
                // what it may have done.
                is_doubtful |= again && failure.is_outcome_unknown();
                again
            })
            .adjust(|failure: &AttemptFailure, pause| {
                let left = self.settings.timeout.saturating_sub(started.elapsed());
                self.settings
                    .retries
                    .next_delay(failure.retry_after(), pause, left)
            });
        let outcome = tokio::time::timeout(self.settings.timeout, sent).await;
        match outcome {
            Err(_) => Err(SendError::TimedOut {
                upstream,
                bound: self.settings.timeout,
                doubt,
            }),
            Ok(Ok(answer) | Err(AttemptFailure::Busy(answer))) => {
                Ok(answer.with_attempts(attempts, is_doubtful))
            }
            Ok(Err(AttemptFailure::Transport(cause))) if cause.0.error.is_connect() && !arrived => {
                let place = UpstreamEndpoint::new(&request.url, self.settings.proxies);
                Err(SendError::Unreachable {
                    upstream,
                    place,
                    cause,
                })
            }
            Ok(Err(AttemptFailure::Transport(cause))) if cause.0.error.is_builder() => {
                Err(SendError::InvalidRequest(upstream, cause))
            }
            Ok(Err(AttemptFailure::Transport(cause))) => {
                Err(SendError::Interrupted(upstream, cause, doubt))
            }
            Ok(Err(AttemptFailure::TooLarge)) => Err(SendError::TooLarge(
                upstream,
                self.settings.max_response_bytes,
                doubt,
            )),
        }
    }

    /// Checks a caller's key by a cheap read: one config of one page.
    pub async fn check_key(&self, credentials: &Credentials) -> KeyStatus {
        let request = UpstreamRequest {
            operation: KEY_CHECK_NAME,
            method: Method::GET,
            base: ApiBase::ControlPlane,
            target: "/configs?current_page=0&page_size=1".to_owned(),
            headers: HeaderMap::new(),
            body: None,
            is_retryable: true,
            is_write: false,
            preview: None,
        };
        let Ok(answer) = self.send(request, credentials).await else {
            return KeyStatus::Unknown;
        };
        match answer.into_result() {
            Ok(_) => KeyStatus::Accepted,
            Err(refusal) => match (refusal.status, refusal.code.as_deref()) {
                (StatusCode::UNAUTHORIZED, _) => KeyStatus::Rejected,
                // The code shows that Portkey knows the key, which only lacks a permission.
                (StatusCode::FORBIDDEN, Some(NOT_ALLOWED_CODE)) => KeyStatus::Accepted,
                _ => KeyStatus::Unknown,
            },
        }
    }

    fn prepare(
        &self,
        request: UpstreamRequest,
        body: Option<Bytes>,
        credentials: &Credentials,
    ) -> Result<PreparedRequest, SendError> {
        // Headers inserted from here on replace those set by arguments.
        let mut headers = request.headers;
        if !request.base.is_public() {
            let upstream = request.base.upstream();
            headers.insert(
                key_header(upstream),
                credentials.key(upstream)?.header().clone(),
            );
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        let url = self.url(request.base, &request.target)?;
        let http = self.http()?;
        Ok(PreparedRequest {
            operation: request.operation,
            upstream: request.base.upstream(),
            http,
            method: request.method,
            url,
            headers,
            body,
            repeatable: request.is_retryable,
            writes: request.is_write,
        })
    }

    /// Returns the URL of a request: the host's base URL, then path and query.
    ///
    /// # Errors
    /// Returns `NoRegistry` if the host is the registry and its address is unknown.
    pub fn url(&self, base: ApiBase, target: &str) -> Result<Url, SendError> {
        let mut url = self
            .settings
            .addresses
            .base_url(base)
            .ok_or(SendError::NoRegistry)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url.set_query(query);
        Ok(url)
    }

    fn http(&self) -> Result<reqwest::Client, SendError> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let built = build_client(|| Ok::<_, SendError>(self.builder()))?;
        Ok(self.http.get_or_init(|| built).clone())
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let builder = client_builder()
            .user_agent(concat!("portkey-mcp/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the key to an address that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(self.settings.connect_timeout)
            .tls_certs_merge(self.settings.extra_roots.iter().cloned());
        let builder = match self.settings.proxies {
            true => return builder,
            false => builder.no_proxy(),
        };
        match self.settings.addresses.use_tls() {
            true => builder,
            // Reading the system's certificate authorities takes a third of a call from the shell.
            false => builder.tls_certs_only([]),
        }
    }

    async fn send_attempt(
        &self,
        request: &PreparedRequest,
    ) -> Result<UpstreamResponse, AttemptFailure> {
        let mut attempt = self
            .metrics
            .start_attempt(request.operation, request.upstream);
        let span = Span::start_attempt(request.upstream, &request.method);
        let mut headers = request.headers.clone();
        span.inject(&mut headers);
        let mut sending = request
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(headers);
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        let mut response = sending.send().await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let max_bytes = self.settings.max_response_bytes;
        if response
            .content_length()
            .is_some_and(|length| length > max_bytes as u64)
        {
            return Err(AttemptFailure::TooLarge);
        }
        // Of a declared length, as much is reserved as most bodies have.
        let length = response.content_length().unwrap_or_default();
        let length = usize::try_from(length).unwrap_or(MAX_RESERVED_BYTES);
        let mut body = BytesMut::with_capacity(length.min(MAX_RESERVED_BYTES));
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > max_bytes {
                return Err(AttemptFailure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        attempt.set_status(status);
        span.set_status(status);
        let answer = UpstreamResponse::new(status, &headers, body.freeze());
        if retry::is_busy_status(status) {
            Err(AttemptFailure::Busy(answer))
        } else {
            Ok(answer)
        }
    }
}

fn encode(body: &Value) -> Bytes {
    // JSON keys are strings, so a `Value` always serializes. Upstreams reject an empty body.
    serde_json::to_vec(body).unwrap_or_default().into()
}

/// A request that can be sent repeatedly.
struct PreparedRequest {
    operation: &'static str,
    upstream: Upstream,
    http: reqwest::Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    repeatable: bool,
    writes: bool,
}

/// A failed attempt, which may be retried.
enum AttemptFailure {
    /// The upstream is temporarily unavailable or limits the rate.
    Busy(UpstreamResponse),
    /// The connection failed, before or during the response.
    Transport(TransportCause),
    /// The response is too large.
    TooLarge,
}

impl AttemptFailure {
    fn can_retry(&self, repeatable: bool) -> bool {
        match self {
            Self::Busy(_) => repeatable,
            Self::Transport(cause) if cause.0.error.is_builder() => false,
            // A request that was never sent can be retried even if it must not be carried out
            // twice.
            Self::Transport(_) => repeatable || self.is_unsent(),
            Self::TooLarge => false,
        }
    }

    /// Returns true if no connection was made, so that nothing was sent.
    fn is_unsent(&self) -> bool {
        matches!(self, Self::Transport(cause) if cause.0.error.is_connect())
    }

    /// Returns true if the attempt may have taken effect.
    fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Busy(answer) => retry_safety::is_outcome_unknown(answer.status()),
            Self::Transport(_) => !self.is_unsent(),
            Self::TooLarge => true,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(answer) => answer.retry_after(),
            Self::Transport(_) | Self::TooLarge => None,
        }
    }
}

impl From<reqwest::Error> for AttemptFailure {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error.into())
    }
}
