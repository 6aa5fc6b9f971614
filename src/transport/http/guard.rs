//! The guard before all requests: determines address and caller, enforces their limits, and reads
//! the body.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, PoolBusy, WorkerPool};
use portkey_store::{RateLimitOutcome, Store, StoreError, StoreKey, TokenBucket};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    accept::{EVENT_STREAM, JSON, has_media_type},
    allowed_sites::AllowedSites,
    body::{self, BodyBounds, CalledOperation},
    client_address::{TrustedProxies, client_network},
    error_response::{ErrorResponse, RejectionDetails, convert_to_json_rpc},
    gzip::compress,
    limits::{ByteLimiter, BytesPermit, ConcurrencyLimiter, Permit},
    request_filter::{MCP_PATH, read_request_filter},
    streams::{CallerAuth, ListenOnly},
    unread_responses::{MIN_COUNTED_BYTES, UnreadLimit, UnreadResponses},
    write_monitor::{MonitoredBody, WriteMonitor},
};
use crate::{
    auth::principal::{AuthMethod as Proof, Principal},
    observability::{
        call_record::RejectionReason,
        metrics::Metrics,
        request::{ClientAddress, REQUEST_ID_HEADER, RequestId},
    },
};

/// Retry delay after too many concurrent requests: as soon as one of them may have ended.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(1);

/// Maximum length of a path in a log line, in bytes.
const MAX_LOGGED_PATH_BYTES: usize = 200;

/// Maximum length of a reason in a log line, in bytes. Some of it may be the caller's text.
const MAX_LOGGED_REASON_BYTES: usize = 500;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The interface that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// MCP.
    Mcp,
    /// The endpoints of the API.
    Rest,
}

impl Face {
    /// Renders an error as clients of the interface expect it.
    fn render(self, error: ErrorResponse) -> Response {
        match self {
            Self::Mcp => error.into_response(),
            Self::Rest => error.into_portkey_response(),
        }
    }
}

/// The checks and limits for requests.
#[derive(Debug)]
pub(super) struct RequestGuard {
    pub(super) callers: CallerAuth,
    /// Time for which the response of a call may outlast its caller's grant.
    pub(super) grace: Duration,
    pub(super) proxies: TrustedProxies,
    pub(super) ipv6_prefix: u8,
    pub(super) body: BodyBounds,
    pub(super) per_address: Arc<ConcurrencyLimiter<IpAddr>>,
    pub(super) per_principal: Arc<ConcurrencyLimiter<Arc<str>>>,
    /// Limits on memory for large bodies.
    pub(super) large_bodies: Arc<ByteLimiter<BodyOwner>>,
    /// Threads that parse large requests.
    pub(super) workers: WorkerPool,
    pub(super) store: Store,
    pub(super) address_rate: Option<TokenBucket>,
    pub(super) rate: Option<TokenBucket>,
    pub(super) metrics: Metrics,
    pub(super) unread: Arc<UnreadResponses>,
    pub(super) sites: Arc<AllowedSites>,
    /// Cancelled once connections should be made elsewhere.
    pub(super) draining: CancellationToken,
}

/// Known facts about a request, for the log if it is rejected.
#[derive(Default)]
struct RejectionContext {
    address: Option<IpAddr>,
    caller: Option<Arc<str>>,
}

/// Permits that a request holds while it is in flight.
struct RequestPermits {
    _of_address: Permit<IpAddr>,
    _of_principal: Permit<Arc<str>>,
    body: Option<BytesPermit<BodyOwner>>,
}

/// Owner of large bodies, for limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum BodyOwner {
    /// A caller.
    Principal(Arc<str>),
    /// Unproven callers of one network, whose names may be made up.
    Network(IpAddr),
}

impl BodyOwner {
    /// Returns the name that worker threads count the owner's work under.
    fn into_name(self) -> Arc<str> {
        match self {
            Self::Principal(name) => name,
            // Only callers by key have a network, and their names begin with `key-`.
            Self::Network(network) => network.to_string().into(),
        }
    }
}

/// A request that passed all checks. It names its caller if the caller's grant may end before the
/// response.
struct AcceptedRequest {
    request: Request,
    permits: Option<RequestPermits>,
    expiring_caller: Option<Arc<Principal>>,
    /// Owner of the work, if the body is large.
    large_body_owner: Option<Arc<str>>,
}

impl RequestGuard {
    /// Checks a request and calls `next`, or returns an error response. A large request goes to
    /// `next_apart` instead, and is polled on worker threads.
    pub(super) async fn handle<F: Future<Output = Response>>(
        &self,
        face: Face,
        mut request: Request,
        next: impl FnOnce(Request) -> F,
        next_apart: impl FnOnce(Request) -> BoxFuture<'static, Response>,
    ) -> Response {
        let Some(&ConnectInfo::<SocketAddr>(peer)) = request.extensions().get() else {
            let message = "the request has no address";
            return face.render(ErrorResponse::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                message,
            ));
        };
        let method = request.method().clone();
        let version = request.version();
        let encodings = request.headers().get(header::ACCEPT_ENCODING).cloned();
        let uri = request.uri().clone();
        let writing = request.extensions().get::<Arc<WriteMonitor>>().cloned();
        let id = self.request_id(peer.ip(), request.headers());
        request.extensions_mut().insert(id.clone());
        let mut seen = RejectionContext::default();
        let mut response = match self
            .authenticate_and_limit(face, peer.ip(), request, &mut seen)
            .await
        {
            Ok(AcceptedRequest {
                request,
                mut permits,
                expiring_caller: limited,
                large_body_owner: large_of,
            }) => {
                let response = match large_of {
                    None => next(request).await,
                    Some(holder) => self
                        .workers
                        .poll_on_workers(&holder, next_apart(request))
                        .await
                        .unwrap_or_else(|error| face.render(busy_error(error))),
                };
                let response = match face {
                    Face::Mcp => convert_to_json_rpc(&method, response).await,
                    Face::Rest => response,
                };
                let mut response = compress(response, encodings.as_ref()).await;
                if let Some(permits) = &mut permits
                    && response.extensions().get::<ListenOnly>().is_some()
                {
                    // Little is kept of the body of a request that only listens.
                    permits.body = None;
                }
                if let Some(principal) =
                    limited.filter(|_| has_media_type(&response, &EVENT_STREAM))
                {
                    response = self.callers.end_with_grant(response, principal, self.grace);
                }
                // In flight until the last byte is sent, which for a stream is long after the
                // first.
                self.attach_permits(face, response, seen.caller.as_ref(), writing, permits)
            }
            Err(refusal) => face.render(refusal),
        };
        if let Some(refused) = response.extensions().get::<RejectionDetails>() {
            self.metrics.record_rejection(refused.reason);
            log_rejection(refused, response.status(), &id, uri.path(), &seen);
        }
        response
            .headers_mut()
            .insert(REQUEST_ID_HEADER, id.as_header_value().clone());
        // Responses may hold keys, and differ by caller.
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, NO_STORE);
        if self.draining.is_cancelled() && version < Version::HTTP_2 {
            // The next request on this connection might meet its end.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Attaches the permits of a request to its response, until that is sent. A large response is
    /// counted. It is dropped if there are too many of these and the request can be repeated.
    fn attach_permits(
        &self,
        face: Face,
        response: Response,
        caller: Option<&Arc<str>>,
        writing: Option<Arc<WriteMonitor>>,
        permits: Option<RequestPermits>,
    ) -> Response {
        let size = response.body().size_hint();
        let bytes = size.exact().and_then(|bytes| usize::try_from(bytes).ok());
        let counted = match (bytes, caller) {
            (Some(bytes), _) if bytes < MIN_COUNTED_BYTES => None,
            (_, None) => None,
            (bytes, Some(caller)) => {
                if let Err(exceeded) = self.unread.check(caller)
                    && response.extensions().get::<RepeatableResponse>().is_some()
                {
                    return face.render(unread_error(exceeded));
                }
                Some(self.unread.count(caller.clone(), bytes.unwrap_or_default()))
            }
        };
        response.map(|body| Body::new(MonitoredBody::new(body, counted, writing, permits)))
    }

    /// Returns the request id that a trusted proxy has set, or a new one.
    fn request_id(&self, peer: IpAddr, headers: &HeaderMap) -> RequestId {
        let given = headers
            .get(REQUEST_ID_HEADER)
            .filter(|_| self.proxies.trusts(peer.to_canonical()));
        given
            .and_then(RequestId::from_header)
            .unwrap_or_else(RequestId::generate)
    }

    async fn authenticate_and_limit(
        &self,
        face: Face,
        peer: IpAddr,
        mut request: Request,
        seen: &mut RejectionContext,
    ) -> Result<AcceptedRequest, ErrorResponse> {
        let address = self.proxies.client_address(peer, request.headers());
        seen.address = Some(address);
        let network = client_network(address, self.ipv6_prefix);
        let of_address = self
            .per_address
            .acquire(network)
            .ok_or_else(too_many_requests)?;
        // Before the caller is known, so that tokens cannot be tried out without limit.
        if let Some(limit) = &self.address_rate {
            let key = StoreKey::new("rate", &["address", &network.to_string()]);
            self.count_request("address", &key, limit).await?;
        }
        self.sites.check(&mut request)?;
        let (mut parts, body) = request.into_parts();
        if face == Face::Rest {
            self.callers.auth.adopt_api_key(&mut parts.headers);
        }
        let mut principal = self.callers.auth.authenticate(&parts).await?;
        if principal.method == Proof::Key
            && let Some(principal) = Arc::get_mut(&mut principal)
        {
            principal.network = Some(network);
        }
        seen.caller = Some(principal.name.clone());
        let of_principal = self
            .per_principal
            .acquire(principal.name.clone())
            .ok_or_else(too_many_requests)?;
        // A stream of MCP, which GET opens, has limits of its own.
        let is_stream = face == Face::Mcp && parts.method == Method::GET;
        if face == Face::Rest || parts.method == Method::POST {
            self.unread.check(&principal.name).map_err(unread_error)?;
        }
        if let Some(limit) = &self.rate {
            let mut key = StoreKey::new("rate", &["principal", &principal.name]);
            if principal.network.is_some() {
                // Keys can be made up, and those of one network must not displace the counters of
                // others.
                key = key.owned_by(&network.to_string());
            }
            self.count_request("principal", &key, limit).await?;
        }
        let path = match face {
            Face::Mcp => parts.uri.path(),
            // Only paths of MCP filter tools.
            Face::Rest => MCP_PATH,
        };
        let principal = match read_request_filter(path, &parts.headers)? {
            Some(modes) => Arc::new(principal.with_request_filter(modes)),
            None => principal,
        };
        let hold = |bytes| self.reserve_body(&principal, bytes);
        let (body, held) = self.body.read(&parts, body, hold).await?;
        let wants_call = self.callers.auth.checks_scopes();
        let large_of =
            (body.len() > MAX_INLINE_BYTES).then(|| self.body_owner(&principal).into_name());
        let called = match &large_of {
            // The operation of a request stands in its path, and the pipeline bounds its body.
            _ if face == Face::Rest => None,
            None => body::check_message(&body, wants_call)?,
            Some(holder) => {
                let body = body.clone();
                let check = move || {
                    let called = body::check_message(&body, wants_call)?;
                    Ok::<_, ErrorResponse>(called.map(CalledOperation::into_owned))
                };
                self.workers
                    .run(holder, check)
                    .await
                    .map_err(busy_error)??
            }
        };
        if let Some(CalledOperation { name, effect }) = called {
            self.callers
                .auth
                .check_scope(&principal, &name, effect, parts.uri.path())?;
        }
        let limited = principal.grant.can_end().then(|| principal.clone());
        parts.extensions.insert(principal);
        parts.extensions.insert(ClientAddress(address));
        let request = Request::from_parts(parts, body.into());
        let permits = RequestPermits {
            _of_address: of_address,
            _of_principal: of_principal,
            body: held,
        };
        let permits = (!is_stream).then_some(permits);
        Ok(AcceptedRequest {
            request,
            permits,
            expiring_caller: limited,
            large_body_owner: large_of,
        })
    }

    /// Returns the owner that a caller's large bodies count for.
    fn body_owner(&self, principal: &Principal) -> BodyOwner {
        match principal.network {
            Some(network) if !self.callers.auth.is_proven(&principal.name) => {
                BodyOwner::Network(network)
            }
            _ => BodyOwner::Principal(principal.name.clone()),
        }
    }

    /// Reserves memory for a large body.
    fn reserve_body(
        &self,
        principal: &Principal,
        bytes: usize,
    ) -> Result<BytesPermit<BodyOwner>, ErrorResponse> {
        let holder = self.body_owner(principal);
        self.large_bodies.reserve(holder, bytes).ok_or_else(|| {
            let message = "too many large requests at once; wait for some to end";
            ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, message)
                .with_retry_after(RETRY_AFTER_LIMIT)
        })
    }

    /// Counts one request against a rate limit of its address or its caller.
    async fn count_request(
        &self,
        kind: &'static str,
        key: &StoreKey,
        limit: &TokenBucket,
    ) -> Result<(), ErrorResponse> {
        match self.store.take(key, limit).await {
            Ok(RateLimitOutcome::Allowed) => Ok(()),
            Ok(RateLimitOutcome::RetryAfter(wait)) => {
                let message = format!("too many requests from one {kind}; wait before the next");
                Err(ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, message)
                    .with_retry_after(wait))
            }
            Err(StoreError::OwnerFull) => {
                let message = "too many keys came from one address; wait before the next";
                Err(ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, message)
                    .with_retry_after(RETRY_AFTER_LIMIT))
            }
            Err(error) => {
                // A request that cannot be counted is rejected: a limit that fails with its counter
                // limits nothing.
                // The store itself logs at a higher level that it is unavailable, and not for each
                // request.
                debug!(%error, "a request was refused, because it could not be counted");
                let message = match error {
                    StoreError::NotPermitted { .. } => {
                        "requests cannot be counted: the Redis user of this server lacks a right; tell \
                         the operator of the server"
                    }
                    _ => "requests cannot be counted for now; wait before the next",
                };
                Err(ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, message)
                    .with_retry_after(RETRY_AFTER_LIMIT))
            }
        }
    }
}

/// Serves the OAuth metadata about obtaining a token, which any client may read.
pub(super) async fn serve_metadata(State(front): State<Arc<RequestGuard>>, uri: Uri) -> Response {
    match front.callers.auth.resource_metadata(uri.path()) {
        Some(document) => (
            [
                (header::CONTENT_TYPE, JSON),
                (header::CACHE_CONTROL, NO_STORE),
            ],
            document,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Logs each rejected request that an operator may have to act upon. Malformed requests are logged
/// at `debug`, because anyone can send any number of them.
fn log_rejection(
    refused: &RejectionDetails,
    status: StatusCode,
    id: &RequestId,
    path: &str,
    seen: &RejectionContext,
) {
    let request_id = id.as_str();
    let status = status.as_u16();
    let reason = refused.reason.as_str();
    let why = &*refused.message;
    let path = path.get(..MAX_LOGGED_PATH_BYTES).unwrap_or(path);
    let (why, _) = why.split_at(why.floor_char_boundary(MAX_LOGGED_REASON_BYTES));
    let address = seen.address.map(tracing::field::display);
    let caller = seen.caller.as_deref();
    match refused.reason {
        RejectionReason::Internal => {
            warn!(
                request_id,
                status, path, address, caller, reason, why, "request rejected"
            );
        }
        RejectionReason::Malformed => {
            debug!(
                request_id,
                status, path, address, caller, reason, why, "request rejected"
            );
        }
        _ => info!(
            request_id,
            status, path, address, caller, reason, why, "request rejected"
        ),
    }
}

/// Marks a response whose request can be repeated without changing anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepeatableResponse;

/// Creates the response for too many unread responses.
fn unread_error(exceeded: UnreadLimit) -> ErrorResponse {
    let (status, message) = match exceeded {
        UnreadLimit::PerCaller => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many answers wait for this caller to read them; read them before the next request",
        ),
        UnreadLimit::Total => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many answers wait for clients to read them; wait before the next request",
        ),
    };
    ErrorResponse::new(status, message).with_retry_after(RETRY_AFTER_LIMIT)
}

/// Creates the response for too many large requests.
fn busy_error(busy: PoolBusy) -> ErrorResponse {
    let (status, message) = match busy {
        PoolBusy::Caller => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many large requests at once; wait for some to end",
        ),
        PoolBusy::Server => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the server reads too many large requests; try again in a few seconds",
        ),
    };
    ErrorResponse::new(status, message).with_retry_after(RETRY_AFTER_LIMIT)
}

fn too_many_requests() -> ErrorResponse {
    ErrorResponse::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too many requests at once; wait for some to end",
    )
    .with_retry_after(RETRY_AFTER_LIMIT)
}
