//! Introspects opaque tokens at their issuer and caches the results briefly (RFC 7662).

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use portkey_concurrency::single_flight::SingleFlight;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{
    OAuthError, Reason,
    breaker::Breaker,
    claims::{Claims, Expected},
    config,
    remote::{Fault, Http, MAX_WAIT, in_time, json},
};
/// Maximum time for which an active token is cached. A revoked token can be used for as long.
const KEPT_GOOD: Duration = Duration::from_secs(30);

/// Time for which an inactive token is cached.
const KEPT_BAD: Duration = Duration::from_secs(5);

const MOST_BYTES: usize = 64 << 10;

/// Maximum size of the cache in bytes.
pub(crate) const MOST_KEPT: u64 = 16 << 20;

/// Approximate memory of a cache entry besides the response, in bytes.
const OVERHEAD: u32 = 256;

/// Maximum number of tokens that are introspected or wait for introspection.
pub(crate) const MAX_PENDING: usize = 1_024;

/// Maximum number of concurrent requests to the issuer.
const MAX_REQUESTS: usize = 64;

/// Characters that form encoding escapes: all but the unreserved ones (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Introspection of tokens, with at most one request per token at a time.
#[derive(Debug)]
pub(super) struct Introspection {
    asking: Arc<Asking>,
    /// Requests under way, keyed by hash so that no token stays in memory.
    pending: SingleFlight<[u8; 32], Option<Known>>,
}

#[derive(Debug)]
struct Asking {
    http: Http,
    endpoint: config::Introspection,
    expected: Expected,
    /// Cached results, also keyed by hash.
    known: Cache<[u8; 32], Known>,
    requests: Semaphore,
    breaker: Breaker,
}

#[derive(Clone, Debug)]
struct Known {
    verdict: Result<Arc<Claims>, Reason>,
    until: Instant,
    bytes: u32,
}

impl Introspection {
    pub(super) fn new(http: Http, endpoint: config::Introspection, expected: Expected) -> Self {
        let known = Cache::builder()
            .weigher(|_: &[u8; 32], known: &Known| known.bytes.saturating_add(OVERHEAD))
            .max_capacity(MOST_KEPT)
            .time_to_live(KEPT_GOOD)
            .build();
        let (requests, breaker) = (Semaphore::new(MAX_REQUESTS), Breaker::default());
        let asking = Asking {
            http,
            endpoint,
            expected,
            known,
            requests,
            breaker,
        };
        Self {
            asking: Arc::new(asking),
            pending: SingleFlight::new(MAX_PENDING),
        }
    }

    /// Returns the claims of a token that the issuer confirms. Concurrent callers with one token
    /// share one request. No caller waits longer than [`MAX_WAIT`]; a later response is cached for
    /// subsequent callers.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Claims>, OAuthError> {
        let hash = <[u8; 32]>::from(Sha256::digest(token));
        if let Some(known) = self.asking.known.get(&hash)
            && Instant::now() < known.until
        {
            return Ok(known.verdict?);
        }
        if self.asking.breaker.is_open() {
            return Err(OAuthError::Unavailable);
        }
        let asking = || {
            let (asking, token) = (self.asking.clone(), token.to_owned());
            async move { asking.learn(hash, &token).await }
        };
        let pending = self.pending.join(hash, (|_| false, usize::MAX), asking);
        let pending = pending.ok_or(OAuthError::Unavailable)?;
        let known = timeout(MAX_WAIT, pending.value())
            .await
            .ok()
            .flatten()
            .flatten();
        Ok(known.ok_or(OAuthError::Unavailable)?.verdict?)
    }
}

impl Asking {
    /// Introspects a token and caches the result. Returns `None` if there is no usable response.
    async fn learn(&self, hash: [u8; 32], token: &str) -> Option<Known> {
        // Waiting for a permit says nothing about the issuer, so it does not count as a failure.
        let _permit = timeout(MAX_WAIT, self.requests.acquire())
            .await
            .ok()?
            .ok()?;
        if !self.breaker.admit() {
            return None;
        }
        let answer = in_time(self.ask(token)).await;
        let fault = answer.as_ref().err();
        self.http.report(fault);
        let is_news = self.breaker.record(fault);
        if let Some(fault) = fault {
            match is_news {
                true => warn!(%fault, "the authorization server said nothing about a token"),
                false => debug!(%fault, "the authorization server said nothing about a token"),
            }
        }
        let known = self.judge(answer.ok()?);
        self.known.insert(hash, known.clone());
        Some(known)
    }

    async fn ask(&self, token: &str) -> Result<(bool, Value, u32), Fault> {
        let config::Introspection {
            url,
            client_id,
            client_secret,
        } = &self.endpoint;
        let encoded = |text| percent_encode(text, RESERVED).to_string();
        let secret = encoded(client_secret.header().as_bytes());
        let request = self
            .http
            .post(url)
            .basic_auth(encoded(client_id.as_bytes()), Some(secret))
            .header(
                http::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            )
            .body(format!(
                "token={}&token_type_hint=access_token",
                encoded(token.as_bytes())
            ));
        let answer = json(request, MOST_BYTES).await?;
        let active = answer
            .get("active")
            .and_then(Value::as_bool)
            .ok_or(Fault::NotJson)?;
        let bytes = answer.to_string().len().try_into().unwrap_or(u32::MAX);
        Ok((active, answer, bytes))
    }

    fn judge(&self, (active, answer, bytes): (bool, Value, u32)) -> Known {
        let verdict = match answer {
            Value::Object(claims) if active => Claims::new(claims, &self.expected).map(Arc::new),
            _ => Err(Reason::Inactive),
        };
        let kept = match &verdict {
            Ok(claims) => claims
                .seconds_left()
                .and_then(|left| Duration::try_from_secs_f64(left).ok())
                .map_or(KEPT_GOOD, |left| left.min(KEPT_GOOD)),
            Err(_) => KEPT_BAD,
        };
        Known {
            verdict,
            until: Instant::now() + kept,
            bytes,
        }
    }
}
