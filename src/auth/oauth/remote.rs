//! Asking the authorization server: bounded in time and size, and never sent elsewhere.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, ClientBuilder, RequestBuilder, redirect::Policy};
use serde_json::Value;
use tokio::time::timeout;

use super::address::{Address, Identifier};
use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};

use crate::http_client::network_error;

/// Bound on asking the authorization server, for metadata and keys together.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Bound on what a caller waits for an answer, which may still come for the next one.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(2);

/// Why the authorization server was of no help. Told to the operator, not to callers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it could not be reached: {0}")]
    Lost(String),
    #[error("it took longer than {} s", TIME_LIMIT.as_secs())]
    Slow,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is larger than anybody needs")]
    TooLarge,
    #[error("its answer is not the JSON that was asked for")]
    NotJson,
    #[error("its metadata is that of another issuer")]
    OtherIssuer,
    #[error("its metadata names no jwks_uri that can be used; set jwks_url")]
    NoJwksUri,
    #[error("it publishes no key that can be used here")]
    NoKeys,
}

impl Fault {
    /// Whether there was no answer at all.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Slow)
    }

    const fn reason(&self) -> DegradedReason {
        match self {
            Self::Lost(_) => DegradedReason::Unreachable,
            Self::Slow => DegradedReason::Timeout,
            Self::Status(_) => DegradedReason::ErrorStatus,
            Self::TooLarge | Self::NotJson | Self::OtherIssuer | Self::NoJwksUri | Self::NoKeys => {
                DegradedReason::UnusableAnswer
            }
        }
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        Self::Lost(network_error::cause(&error.without_url()))
    }
}

/// A client for authorization servers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    readiness: Readiness,
}

impl Http {
    /// A client, from what the process's HTTP clients have in common: authorities, proxies, whose
    /// cryptography.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn new(builder: ClientBuilder) -> reqwest::Result<Self> {
        // A redirect would have somebody else vouch for tokens.
        let builder = builder.redirect(Policy::none()).referer(false);
        let client = builder.connect_timeout(TIME_LIMIT).build()?;
        Ok(Self {
            client,
            readiness: Readiness::default(),
        })
    }

    /// The same client, which reports the state of the authorization server.
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        readiness.register(ComponentName::OauthIssuer);
        Self { readiness, ..self }
    }

    /// Reports what asking came to.
    pub(super) fn report(&self, fault: Option<&Fault>) {
        let state = match fault {
            Some(fault) => ComponentState::degraded(fault.reason()),
            None => ComponentState::OK,
        };
        self.readiness.report(ComponentName::OauthIssuer, state);
    }

    pub(super) fn get(&self, address: &Address) -> RequestBuilder {
        self.client.get(address.url().clone())
    }

    pub(super) fn post(&self, address: &Address) -> RequestBuilder {
        self.client.post(address.url().clone())
    }

    /// Where the issuer's keys are, by its own metadata (RFC 8414, else OpenID Connect Discovery).
    pub(super) async fn discover(
        &self,
        issuer: &Identifier,
        most_bytes: usize,
    ) -> Result<Address, Fault> {
        let oauth = issuer.well_known("oauth-authorization-server");
        let openid = format!(
            "{}/.well-known/openid-configuration",
            issuer.as_str().trim_end_matches('/')
        );
        let metadata = match json(self.client.get(oauth), most_bytes).await {
            // Whoever knows only the other form says so in many ways.
            Err(Fault::Status(_) | Fault::NotJson) => {
                json(self.client.get(openid), most_bytes).await?
            }
            found => found?,
        };
        if metadata.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(Fault::OtherIssuer);
        }
        let keys = metadata
            .get("jwks_uri")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let keys = Address::try_from(keys.to_owned()).map_err(|_| Fault::NoJwksUri)?;
        // An issuer elsewhere has no business with this machine's loopback.
        if keys.is_plain() && !issuer.address().is_plain() {
            return Err(Fault::NoJwksUri);
        }
        Ok(keys)
    }
}

/// Bounds a conversation.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(TIME_LIMIT, asked).await.unwrap_or(Err(Fault::Slow))
}

/// The JSON that a request is answered with.
pub(super) async fn json(request: RequestBuilder, most_bytes: usize) -> Result<Value, Fault> {
    let mut response = request
        .header(http::header::ACCEPT, "application/json")
        .send()
        .await?;
    if response.status() != http::StatusCode::OK {
        return Err(Fault::Status(response.status().as_u16()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most_bytes {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| Fault::NotJson)
}
