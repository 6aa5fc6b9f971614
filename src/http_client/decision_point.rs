//! HTTP client for outside decision points, with bounds on time, size and number of requests.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{Client, ClientBuilder, Url, redirect::Policy};
use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    circuit_breaker::{CircuitBreakers, MAX_FAILURES, OPEN_DURATION},
    network_error,
};

/// Maximum number of questions at the same time. Further ones wait, within their timeout.
const MAX_REQUESTS: usize = 64;
/// Maximum size of an answer, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A reason why a decision point gave no answer. Logged for the operator, and never shown to
/// callers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecisionPointError {
    #[error("the HTTP client for it cannot be built")]
    NoClient,
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("it took longer than {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
    #[error("its answer is no JSON")]
    NotJson,
    #[error(
        "it has failed {MAX_FAILURES} times in a row, and is asked again within {} s",
        OPEN_DURATION.as_secs()
    )]
    NotAsked,
}

impl DecisionPointError {
    /// Returns true if the service itself failed. An answer that refuses one question says nothing
    /// about the next one, and no caller may close the service to others by what it asks.
    const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Status(status) => *status >= 500,
            Self::NoClient | Self::TooLarge | Self::NotJson | Self::NotAsked => false,
        }
    }
}

impl From<reqwest::Error> for DecisionPointError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(network_error::describe_request_error(error))
    }
}

/// HTTP client for decision points. Clones are cheap. Its connections are set up when it is first
/// used, because most servers ask no decision point.
#[derive(Clone, Debug)]
pub struct DecisionClient(Arc<DecisionClientState>);

#[derive(Debug)]
struct DecisionClientState {
    remote: LazyClient,
    /// Client for this machine's loopback, which no proxy is in front of.
    local: LazyClient,
    requests: Semaphore,
    circuits: CircuitBreakers,
}

/// A client, and the builder that it is built from.
#[derive(Debug)]
struct LazyClient {
    builder: Mutex<Option<ClientBuilder>>,
    client: OnceLock<Option<Client>>,
}

impl LazyClient {
    fn new(builder: ClientBuilder) -> Self {
        // A redirect would let another server decide.
        let builder = builder.redirect(Policy::none()).referer(false);
        Self {
            builder: Mutex::new(Some(builder)),
            client: OnceLock::new(),
        }
    }

    fn get(&self) -> Option<&Client> {
        let build = || {
            let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
            builder.take()?.build().ok()
        };
        self.client.get_or_init(build).as_ref()
    }
}

/// A question, as it is sent.
#[derive(Debug)]
pub(crate) struct DecisionRequest<'a> {
    pub(crate) url: &'a Url,
    pub(crate) body: Vec<u8>,
    /// Bearer token for the decision point.
    pub(crate) token: Option<String>,
    /// Id of the request, with which AuthZEN correlates logs.
    pub(crate) request_id: &'a http::HeaderValue,
    pub(crate) timeout: Duration,
}

impl DecisionClient {
    /// Creates a client from two of the shared builders, which set certificate authorities and
    /// proxies.
    pub fn new(remote: ClientBuilder, local: ClientBuilder) -> Self {
        Self(Arc::new(DecisionClientState {
            remote: LazyClient::new(remote),
            local: LazyClient::new(local.no_proxy()),
            requests: Semaphore::new(MAX_REQUESTS),
            circuits: CircuitBreakers::default(),
        }))
    }

    /// Sends a question and returns the JSON of the answer. Nothing is repeated. A service that keeps
    /// failing is not asked for a while.
    pub(crate) async fn ask(
        &self,
        request: DecisionRequest<'_>,
    ) -> Result<Value, DecisionPointError> {
        let bound = request.timeout;
        let service = request.url.as_str();
        let circuits = &self.0.circuits;
        circuits
            .admit(service, Instant::now())
            .map_err(|_| DecisionPointError::NotAsked)?;
        let asked = timeout(bound, self.send(request)).await;
        let answer = asked.unwrap_or(Err(DecisionPointError::TimedOut(bound)));
        match &answer {
            Err(error) if error.is_outage() => circuits.record_failure(service, Instant::now()),
            _ => circuits.record_success(service),
        }
        answer
    }

    async fn send(&self, request: DecisionRequest<'_>) -> Result<Value, DecisionPointError> {
        // The semaphore is never closed.
        let _permit = self.0.requests.acquire().await;
        // Only addresses of loopback may have this scheme.
        let client = match request.url.scheme() {
            "http" => self.0.local.get(),
            _ => self.0.remote.get(),
        };
        let mut built = client
            .ok_or(DecisionPointError::NoClient)?
            .post(request.url.clone())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .header("x-request-id", request.request_id)
            .body(request.body);
        if let Some(token) = request.token {
            built = built.bearer_auth(token);
        }
        let mut response = built.send().await?;
        if response.status() != http::StatusCode::OK {
            return Err(DecisionPointError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(DecisionPointError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| DecisionPointError::NotJson)
    }
}
