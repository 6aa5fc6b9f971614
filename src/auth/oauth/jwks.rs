//! Caches the issuer's signing keys: fetched on first use, refreshed by age and on rotation.
//!
//! Only one fetch runs at a time, in a task of its own, and no caller waits for it longer than
//! [`CALLER_WAIT_TIMEOUT`]. Meanwhile the known keys stay in use. After a failed fetch the next one
//! is delayed, counted from the end of the failed one, and no caller waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{
    OAuthError, TokenRejection,
    claims::Claims,
    issuer_client::{CALLER_WAIT_TIMEOUT, IssuerClient, IssuerError, fetch_json, with_timeout},
    jwt::{SigningKeys, TokenRules, parse_header},
    secure_url::{IdentifierUrl, SecureUrl},
};

/// Age from which keys are refreshed in the background.
const RENEWAL_AGE: Duration = Duration::from_secs(12 * 60);

/// Age from which callers wait for newer keys.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// Maximum age of keys while the issuer cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Minimum interval between two fetches, so that made-up key ids cannot cause load on the issuer.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// Retry interval after the first failure without any keys, when no caller can be served. The
/// interval doubles with each further failure, up to [`MIN_FETCH_INTERVAL`].
const INITIAL_RETRY_INTERVAL: Duration = Duration::from_secs(5);

const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Cached keys of one issuer. Clones are cheap and share the cache.
#[derive(Clone, Debug)]
pub(super) struct Jwks(Arc<JwksState>);

#[derive(Debug)]
struct JwksState {
    http: IssuerClient,
    issuer: IdentifierUrl,
    jwks_url: Option<SecureUrl>,
    rules: TokenRules,
    current: ArcSwapOption<FetchedKeys>,
    fetches: Mutex<FetchState>,
}

#[derive(Debug)]
struct FetchedKeys {
    keys: SigningKeys,
    fetched_at: Instant,
}

/// State of past and current fetches.
#[derive(Debug, Default)]
struct FetchState {
    /// Channel that closes when the current fetch ends.
    current: Option<watch::Receiver<()>>,
    /// End of the last fetch.
    last_ended_at: Option<Instant>,
    /// Number of consecutive failed fetches.
    failures: u32,
}

impl Jwks {
    pub(super) fn new(
        http: IssuerClient,
        issuer: IdentifierUrl,
        jwks_url: Option<SecureUrl>,
        rules: TokenRules,
    ) -> Self {
        let held = ArcSwapOption::empty();
        let fetches = Mutex::default();
        Self(Arc::new(JwksState {
            http,
            issuer,
            jwks_url,
            rules,
            current: held,
            fetches,
        }))
    }

    /// Returns true if `other` gets the same keys for the same rules.
    pub(super) fn is_same_source(&self, other: &Self) -> bool {
        let ours = &self.0;
        let others = &other.0;
        let url = |inner: &JwksState| inner.jwks_url.as_ref().map(|address| address.url().clone());
        ours.issuer.as_str() == others.issuer.as_str()
            && url(ours) == url(others)
            && ours.rules == others.rules
    }

    /// Returns the claims of a token that the issuer has signed.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, OAuthError> {
        let head = parse_header(token)?;
        let held = self.current_keys().await?;
        match held.keys.verify(token, &head, &self.0.rules) {
            Err(TokenRejection::UnknownKey) => {
                let is_over = match self.refresh(Some(held.fetched_at)) {
                    Some(fetch) => wait_for_fetch(fetch).await,
                    None => true,
                };
                match self
                    .0
                    .current
                    .load_full()
                    .filter(|newer| newer.fetched_at > held.fetched_at)
                {
                    Some(newer) => Ok(newer.keys.verify(token, &head, &self.0.rules)?),
                    // Newer keys may include the missing one, so the token is not rejected yet.
                    None if !is_over || self.is_failing() => Err(OAuthError::Unavailable),
                    None => Err(TokenRejection::UnknownKey.into()),
                }
            }
            outcome => Ok(outcome?),
        }
    }

    /// Returns keys that are fresh enough to use.
    async fn current_keys(&self) -> Result<Arc<FetchedKeys>, OAuthError> {
        let held = self.0.current.load_full();
        let age = held.as_ref().map(|held| held.fetched_at.elapsed());
        if let Some(held) = &held
            && age.is_some_and(|age| age < RENEWAL_AGE)
        {
            return Ok(held.clone());
        }
        let is_failing = self.is_failing();
        let fetch = self.refresh(held.as_ref().map(|held| held.fetched_at));
        // While the issuer responds, callers wait for its newest keys. While it fails, no caller
        // waits for another failure.
        let waits = match age {
            Some(age) if age < MAX_AGE => false,
            Some(age) if age < MAX_STALE => !is_failing,
            _ => true,
        };
        if let Some(fetch) = fetch.filter(|_| waits) {
            wait_for_fetch(fetch).await;
        }
        let held = self
            .0
            .current
            .load_full()
            .filter(|held| held.fetched_at.elapsed() < MAX_STALE);
        held.ok_or(OAuthError::Unavailable)
    }

    /// Returns the fetch of keys newer than `than`: the current one, or a new one. Returns `None`
    /// if newer keys are present or the minimum interval has not passed.
    fn refresh(&self, than: Option<Instant>) -> Option<watch::Receiver<()>> {
        let mut fetches = self.0.lock_fetches();
        // A closed channel that is still present belongs to a fetch that was aborted.
        if let Some(current) = fetches
            .current
            .as_ref()
            .filter(|fetch| fetch.has_changed().is_ok())
        {
            return Some(current.clone());
        }
        let since = self.0.current.load().as_ref().map(|held| held.fetched_at);
        let pause = fetches.min_interval(since.is_some());
        if since > than
            || fetches
                .last_ended_at
                .is_some_and(|ended| ended.elapsed() < pause)
        {
            return None;
        }
        let (ends, fetch) = watch::channel(());
        fetches.current = Some(fetch.clone());
        let inner = self.0.clone();
        // A task of its own: a caller that disconnects must not end the fetch for others.
        tokio::spawn(async move {
            inner.refresh().await;
            drop(ends);
        });
        Some(fetch)
    }

    /// Returns true if the last fetch failed.
    fn is_failing(&self) -> bool {
        self.0.lock_fetches().failures > 0
    }
}

impl JwksState {
    async fn refresh(&self) {
        let begun = Instant::now();
        let outcome = with_timeout(self.fetch()).await;
        self.http.report(outcome.as_ref().err());
        let failed = match outcome {
            Ok(keys) => {
                debug!("fetched the keys of the authorization server");
                self.current.store(Some(Arc::new(FetchedKeys {
                    keys,
                    fetched_at: begun,
                })));
                false
            }
            Err(fault) => {
                warn!(%fault, "the authorization server gave no keys");
                true
            }
        };
        let mut fetches = self.lock_fetches();
        fetches.failures = if failed {
            fetches.failures.saturating_add(1)
        } else {
            0
        };
        fetches.last_ended_at = Some(Instant::now());
        fetches.current = None;
    }

    async fn fetch(&self) -> Result<SigningKeys, IssuerError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => {
                self.http
                    .discover_jwks_url(&self.issuer, MAX_RESPONSE_BYTES)
                    .await?
            }
        };
        SigningKeys::parse(
            &fetch_json(self.http.get(&url), MAX_RESPONSE_BYTES).await?,
            &self.rules,
        )
    }

    fn lock_fetches(&self) -> MutexGuard<'_, FetchState> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FetchState {
    /// Returns the minimum interval between the end of the last fetch and the next one.
    fn min_interval(&self, has_keys: bool) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(8);
        match has_keys {
            true => MIN_FETCH_INTERVAL,
            false => INITIAL_RETRY_INTERVAL
                .saturating_mul(1 << doublings)
                .min(MIN_FETCH_INTERVAL),
        }
    }
}

/// Waits for a fetch for a bounded time. Returns true if the fetch has ended.
async fn wait_for_fetch(mut fetch: watch::Receiver<()>) -> bool {
    // No value is ever sent: the channel only closes.
    timeout(CALLER_WAIT_TIMEOUT, fetch.changed()).await.is_ok()
}
