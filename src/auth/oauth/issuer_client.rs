//! HTTP client for the authorization server, with bounds on time and size and without redirects.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, ClientBuilder, RequestBuilder, redirect::Policy};
use serde_json::Value;
use tokio::time::timeout;

use super::secure_url::{IdentifierUrl, SecureUrl};
use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};

use crate::http_client::network_error;

/// Time limit of one exchange with the authorization server, for metadata and keys together.
pub(super) const ISSUER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time a caller waits for a response. The response may still arrive and serve the next
/// caller.
pub(super) const CALLER_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Failure of a request to the authorization server. Logged for the operator and never sent to
/// callers.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("it took longer than {} s", ISSUER_TIMEOUT.as_secs())]
    Timeout,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is larger than anybody needs")]
    TooLarge,
    #[error("its answer is not the JSON that was asked for")]
    NotJson,
    #[error("its metadata is that of another issuer")]
    WrongIssuer,
    #[error("its metadata names no jwks_uri that can be used; set jwks_url")]
    NoJwksUri,
    #[error("it publishes no key that can be used here")]
    NoKeys,
}

impl IssuerError {
    /// Returns true if there was no response at all.
    pub(super) const fn has_no_response(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout)
    }

    const fn reason(&self) -> DegradedReason {
        match self {
            Self::Unreachable(_) => DegradedReason::Unreachable,
            Self::Timeout => DegradedReason::Timeout,
            Self::Status(_) => DegradedReason::ErrorStatus,
            Self::TooLarge | Self::NotJson | Self::WrongIssuer | Self::NoJwksUri | Self::NoKeys => {
                DegradedReason::UnusableAnswer
            }
        }
    }
}

impl From<reqwest::Error> for IssuerError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(network_error::describe_request_error(error))
    }
}

/// HTTP client for authorization servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct IssuerClient {
    client: Client,
    readiness: Readiness,
}

impl IssuerClient {
    /// Creates a client from the shared builder, which sets certificate authorities, proxies and
    /// the TLS provider.
    ///
    /// # Errors
    /// Returns an error if the client cannot be built.
    pub fn new(builder: ClientBuilder) -> reqwest::Result<Self> {
        // A redirect would let another server confirm tokens.
        let builder = builder.redirect(Policy::none()).referer(false);
        let client = builder.connect_timeout(ISSUER_TIMEOUT).build()?;
        Ok(Self {
            client,
            readiness: Readiness::default(),
        })
    }

    /// Reports the state of the authorization server to `readiness`.
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        readiness.register(ComponentName::OauthIssuer);
        Self { readiness, ..self }
    }

    /// Reports the result of a request as the component's state.
    pub(super) fn report(&self, fault: Option<&IssuerError>) {
        let state = match fault {
            Some(fault) => ComponentState::degraded(fault.reason()),
            None => ComponentState::OK,
        };
        self.readiness.report(ComponentName::OauthIssuer, state);
    }

    pub(super) fn get(&self, address: &SecureUrl) -> RequestBuilder {
        self.client.get(address.url().clone())
    }

    pub(super) fn post(&self, address: &SecureUrl) -> RequestBuilder {
        self.client.post(address.url().clone())
    }

    /// Returns the URL of the issuer's keys from its own metadata (RFC 8414, else OpenID Connect
    /// Discovery).
    pub(super) async fn discover_jwks_url(
        &self,
        issuer: &IdentifierUrl,
        most_bytes: usize,
    ) -> Result<SecureUrl, IssuerError> {
        let oauth = issuer.well_known_url("oauth-authorization-server");
        let openid = format!(
            "{}/.well-known/openid-configuration",
            issuer.as_str().trim_end_matches('/')
        );
        let metadata = match fetch_json(self.client.get(oauth), most_bytes).await {
            // Servers that support only the other form report it in different ways.
            Err(IssuerError::Status(_) | IssuerError::NotJson) => {
                fetch_json(self.client.get(openid), most_bytes).await?
            }
            found => found?,
        };
        if metadata.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(IssuerError::WrongIssuer);
        }
        let keys = metadata
            .get("jwks_uri")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let keys = SecureUrl::try_from(keys.to_owned()).map_err(|_| IssuerError::NoJwksUri)?;
        // A remote issuer must not refer to this machine's loopback.
        if keys.is_unencrypted() && !issuer.secure_url().is_unencrypted() {
            return Err(IssuerError::NoJwksUri);
        }
        Ok(keys)
    }
}

/// Limits the time of an exchange with the authorization server.
pub(super) async fn with_timeout<T>(
    asked: impl Future<Output = Result<T, IssuerError>>,
) -> Result<T, IssuerError> {
    timeout(ISSUER_TIMEOUT, asked)
        .await
        .unwrap_or(Err(IssuerError::Timeout))
}

/// Sends a request and parses the JSON of its response.
pub(super) async fn fetch_json(
    request: RequestBuilder,
    most_bytes: usize,
) -> Result<Value, IssuerError> {
    let mut response = request
        .header(http::header::ACCEPT, "application/json")
        .send()
        .await?;
    if response.status() != http::StatusCode::OK {
        return Err(IssuerError::Status(response.status().as_u16()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most_bytes {
            return Err(IssuerError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| IssuerError::NotJson)
}
