//! Introspects opaque tokens at their issuer and caches the results briefly (RFC 7662).

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use portkey_concurrency::{single_flight::SingleFlight, spawn_cache_expiry};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{
    OAuthError, TokenRejection,
    circuit_breaker::CircuitBreaker,
    claims::{Claims, ExpectedClaims},
    config,
    issuer_client::{CALLER_WAIT_TIMEOUT, IssuerClient, IssuerError, fetch_json, with_timeout},
};
/// Maximum time for which an active token is cached. A revoked token can be used for as long.
const ACTIVE_TOKEN_TTL: Duration = Duration::from_secs(30);

/// Time for which an inactive token is cached.
const INACTIVE_TOKEN_TTL: Duration = Duration::from_secs(5);

const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Maximum size of the cache in bytes.
pub(crate) const MAX_CACHE_BYTES: u64 = 16 << 20;

/// Approximate memory of a cache entry besides the response, in bytes.
const ENTRY_OVERHEAD_BYTES: u32 = 256;

/// Maximum number of tokens that are introspected or wait for introspection.
pub(crate) const MAX_PENDING: usize = 1_024;

/// Maximum number of concurrent requests to the issuer.
const MAX_REQUESTS: usize = 64;

/// Characters that form encoding escapes: all but the unreserved ones (RFC 3986 §2.3).
const FORM_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Introspection of tokens, with at most one request per token at a time.
#[derive(Debug)]
pub(super) struct Introspection {
    introspector: Arc<Introspector>,
    /// Requests under way, keyed by hash so that no token stays in memory.
    pending: SingleFlight<[u8; 32], Option<CachedResult>>,
}

#[derive(Debug)]
struct Introspector {
    http: IssuerClient,
    endpoint: config::IntrospectionEndpoint,
    expected: ExpectedClaims,
    /// Cached results, also keyed by hash.
    cache: Arc<Cache<[u8; 32], CachedResult>>,
    requests: Semaphore,
    breaker: CircuitBreaker,
}

#[derive(Clone, Debug)]
struct CachedResult {
    result: Result<Arc<Claims>, TokenRejection>,
    expires_at: Instant,
    bytes: u32,
}

impl Introspection {
    pub(super) fn new(
        http: IssuerClient,
        endpoint: config::IntrospectionEndpoint,
        expected: ExpectedClaims,
    ) -> Self {
        let known = Cache::builder()
            .weigher(|_: &[u8; 32], known: &CachedResult| {
                known.bytes.saturating_add(ENTRY_OVERHEAD_BYTES)
            })
            .max_capacity(MAX_CACHE_BYTES)
            .time_to_live(ACTIVE_TOKEN_TTL)
            .build();
        let known = Arc::new(known);
        spawn_cache_expiry(&known);
        let requests = Semaphore::new(MAX_REQUESTS);
        let breaker = CircuitBreaker::default();
        let asking = Introspector {
            http,
            endpoint,
            expected,
            cache: known,
            requests,
            breaker,
        };
        Self {
            introspector: Arc::new(asking),
            pending: SingleFlight::new(MAX_PENDING),
        }
    }

    /// Returns the claims of a token that the issuer confirms. Concurrent callers with one token
    /// share one request. No caller waits longer than [`CALLER_WAIT_TIMEOUT`]; a later response is
    /// cached for subsequent callers.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Claims>, OAuthError> {
        let hash = <[u8; 32]>::from(Sha256::digest(token));
        if let Some(known) = self.introspector.cache.get(&hash)
            && Instant::now() < known.expires_at
        {
            return Ok(known.result?);
        }
        if self.introspector.breaker.is_open() {
            return Err(OAuthError::Unavailable);
        }
        let introspect = || {
            let asking = self.introspector.clone();
            let token = token.to_owned();
            async move { asking.introspect_and_cache(hash, &token).await }
        };
        let pending = self.pending.join(hash, (|_| false, usize::MAX), introspect);
        let pending = pending.ok_or(OAuthError::Unavailable)?;
        let known = timeout(CALLER_WAIT_TIMEOUT, pending.value())
            .await
            .ok()
            .flatten()
            .flatten();
        Ok(known.ok_or(OAuthError::Unavailable)?.result?)
    }
}

impl Introspector {
    /// Introspects a token and caches the result. Returns `None` if there is no usable response.
    async fn introspect_and_cache(&self, hash: [u8; 32], token: &str) -> Option<CachedResult> {
        // Waiting for a permit says nothing about the issuer, so it does not count as a failure.
        let _permit = timeout(CALLER_WAIT_TIMEOUT, self.requests.acquire())
            .await
            .ok()?
            .ok()?;
        if !self.breaker.try_acquire() {
            return None;
        }
        let answer = with_timeout(self.introspect(token)).await;
        let fault = answer.as_ref().err();
        self.http.report(fault);
        let is_news = self.breaker.record(fault);
        if let Some(fault) = fault {
            match is_news {
                true => warn!(%fault, "the authorization server said nothing about a token"),
                false => debug!(%fault, "the authorization server said nothing about a token"),
            }
        }
        let known = self.evaluate(answer.ok()?);
        self.cache.insert(hash, known.clone());
        Some(known)
    }

    async fn introspect(&self, token: &str) -> Result<(bool, Value, u32), IssuerError> {
        let config::IntrospectionEndpoint {
            url,
            client_id,
            client_secret,
        } = &self.endpoint;
        let encoded = |text| percent_encode(text, FORM_ESCAPED).to_string();
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
        let answer = fetch_json(request, MAX_RESPONSE_BYTES).await?;
        let active = answer
            .get("active")
            .and_then(Value::as_bool)
            .ok_or(IssuerError::NotJson)?;
        let bytes = answer.to_string().len().try_into().unwrap_or(u32::MAX);
        Ok((active, answer, bytes))
    }

    fn evaluate(&self, (active, answer, bytes): (bool, Value, u32)) -> CachedResult {
        let verdict = match answer {
            Value::Object(claims) if active => Claims::new(claims, &self.expected).map(Arc::new),
            _ => Err(TokenRejection::Inactive),
        };
        let ttl = match &verdict {
            Ok(claims) => claims
                .seconds_left()
                .and_then(|left| Duration::try_from_secs_f64(left).ok())
                .map_or(ACTIVE_TOKEN_TTL, |left| left.min(ACTIVE_TOKEN_TTL)),
            Err(_) => INACTIVE_TOKEN_TTL,
        };
        CachedResult {
            result: verdict,
            expires_at: Instant::now() + ttl,
            bytes,
        }
    }
}
