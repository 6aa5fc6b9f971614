//! Tokens that only their issuer can read: it is asked, and its word is kept for moments (RFC 7662).

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::warn;

use super::{
    OAuthError, Reason,
    claims::{Claims, Expected},
    config,
    remote::{Fault, Http, in_time, json},
};

/// How long a good word is kept at most; as long can a revoked token still be used.
const KEPT_GOOD: Duration = Duration::from_secs(30);

/// How long a bad one is.
const KEPT_BAD: Duration = Duration::from_secs(5);

const MOST_BYTES: usize = 64 << 10;

/// Bound on all that is kept, in bytes.
const MOST_KEPT: u64 = 16 << 20;

/// What keeping an answer takes beside the answer, roughly.
const OVERHEAD: u32 = 256;

/// What a form leaves as it is (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The issuer's side for asking.
#[derive(Debug)]
pub(super) struct Introspection {
    http: Http,
    endpoint: config::Introspection,
    expected: Expected,
    /// By hash, so that no token stays in memory.
    known: Cache<[u8; 32], Known>,
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
        Self { http, endpoint, expected, known }
    }

    /// The claims of a token that the issuer vouches for.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Claims>, OAuthError> {
        let hash = <[u8; 32]>::from(Sha256::digest(token));
        if let Some(known) = self.known.get(&hash)
            && Instant::now() < known.until
        {
            return Ok(known.verdict?);
        }
        let answer = in_time(self.ask(token)).await.map_err(|fault| {
            warn!(%fault, "the authorization server said nothing about a token");
            OAuthError::Unavailable
        })?;
        let known = self.judge(answer);
        self.known.insert(hash, known.clone());
        Ok(known.verdict?)
    }

    async fn ask(&self, token: &str) -> Result<(bool, Value, u32), Fault> {
        let config::Introspection { url, client_id, client_secret } = &self.endpoint;
        let encoded = |text| percent_encode(text, RESERVED).to_string();
        let secret = encoded(client_secret.header().as_bytes());
        let request = self
            .http
            .post(url)
            .basic_auth(encoded(client_id.as_bytes()), Some(secret))
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={}&token_type_hint=access_token", encoded(token.as_bytes())));
        let answer = json(request, MOST_BYTES).await?;
        let active = answer.get("active").and_then(Value::as_bool).ok_or(Fault::NotJson)?;
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
        Known { verdict, until: Instant::now() + kept, bytes }
    }
}
