//! The issuer's keys: fetched when first needed, kept for a while, fetched again when they rotate.
//!
//! There is one fetch at a time, in a task of its own, and nobody waits for it longer than [`MAX_WAIT`]. Keys
//! that are known serve meanwhile. After a failure nothing is fetched for a while, counted from the end of the
//! fetch, and nobody waits.

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
    OAuthError, Reason,
    address::{Address, Identifier},
    claims::Claims,
    jwt::{Keys, Rules, head},
    remote::{Fault, Http, MAX_WAIT, in_time, json},
};

/// How old keys may be before they are fetched anew while they serve.
const RENEWAL_AGE: Duration = Duration::from_secs(12 * 60);

/// How old keys may be before callers wait for newer ones.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// How old keys may be where the issuer cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause between two fetches: nobody can make this server bother the issuer with made-up key ids.
const PAUSE: Duration = Duration::from_secs(30);

/// The pause after the first failure while there are no keys at all, and so no caller is served. It doubles
/// with each further failure, up to [`PAUSE`].
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(5);

const MOST_BYTES: usize = 1 << 20;

/// The keys of one issuer; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    issuer: Identifier,
    jwks_url: Option<Address>,
    rules: Rules,
    held: ArcSwapOption<Held>,
    fetches: Mutex<Fetches>,
}

#[derive(Debug)]
struct Held {
    keys: Keys,
    since: Instant,
}

/// The fetches so far.
#[derive(Debug, Default)]
struct Fetches {
    /// Closes when the fetch under way ends.
    current: Option<watch::Receiver<()>>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// How many of the last ones failed in a row.
    failures: u32,
}

impl Jwks {
    pub(super) fn new(
        http: Http,
        issuer: Identifier,
        jwks_url: Option<Address>,
        rules: Rules,
    ) -> Self {
        let (held, fetches) = (ArcSwapOption::empty(), Mutex::default());
        Self(Arc::new(Inner {
            http,
            issuer,
            jwks_url,
            rules,
            held,
            fetches,
        }))
    }

    /// Whether the other one has the same keys for the same use.
    pub(super) fn is_same_source(&self, other: &Self) -> bool {
        let (ours, others) = (&self.0, &other.0);
        let url = |inner: &Inner| inner.jwks_url.as_ref().map(|address| address.url().clone());
        ours.issuer.as_str() == others.issuer.as_str()
            && url(ours) == url(others)
            && ours.rules == others.rules
    }

    /// The claims of a token that the issuer has signed.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, OAuthError> {
        let head = head(token)?;
        let held = self.held().await?;
        match held.keys.verify(token, &head, &self.0.rules) {
            Err(Reason::UnknownKey) => {
                let is_over = match self.refresh(Some(held.since)) {
                    Some(fetch) => wait(fetch).await,
                    None => true,
                };
                match self
                    .0
                    .held
                    .load_full()
                    .filter(|newer| newer.since > held.since)
                {
                    Some(newer) => Ok(newer.keys.verify(token, &head, &self.0.rules)?),
                    // Newer keys may well know it.
                    None if !is_over || self.is_failing() => Err(OAuthError::Unavailable),
                    None => Err(Reason::UnknownKey.into()),
                }
            }
            outcome => Ok(outcome?),
        }
    }

    /// Keys that may be used now.
    async fn held(&self) -> Result<Arc<Held>, OAuthError> {
        let held = self.0.held.load_full();
        let age = held.as_ref().map(|held| held.since.elapsed());
        if let Some(held) = &held
            && age.is_some_and(|age| age < RENEWAL_AGE)
        {
            return Ok(held.clone());
        }
        let is_failing = self.is_failing();
        let fetch = self.refresh(held.as_ref().map(|held| held.since));
        // Where the issuer worked, its newest word counts. Where it did not, nobody waits for another failure.
        let waits = match age {
            Some(age) if age < MAX_AGE => false,
            Some(age) if age < MAX_STALE => !is_failing,
            _ => true,
        };
        if let Some(fetch) = fetch.filter(|_| waits) {
            wait(fetch).await;
        }
        let held = self
            .0
            .held
            .load_full()
            .filter(|held| held.since.elapsed() < MAX_STALE);
        held.ok_or(OAuthError::Unavailable)
    }

    /// The fetch of keys newer than these: the one under way, or one that begins; none if newer ones are there,
    /// or it is too soon.
    fn refresh(&self, than: Option<Instant>) -> Option<watch::Receiver<()>> {
        let mut fetches = self.0.fetches();
        // A channel that was closed all the same is that of a fetch that broke off.
        if let Some(current) = fetches
            .current
            .as_ref()
            .filter(|fetch| fetch.has_changed().is_ok())
        {
            return Some(current.clone());
        }
        let since = self.0.held.load().as_ref().map(|held| held.since);
        let pause = fetches.pause(since.is_some());
        if since > than || fetches.ended.is_some_and(|ended| ended.elapsed() < pause) {
            return None;
        }
        let (ends, fetch) = watch::channel(());
        fetches.current = Some(fetch.clone());
        let inner = self.0.clone();
        // In a task of its own: a caller that hangs up must not end it for the others.
        tokio::spawn(async move {
            inner.refresh().await;
            drop(ends);
        });
        Some(fetch)
    }

    /// Whether the last fetch failed.
    fn is_failing(&self) -> bool {
        self.0.fetches().failures > 0
    }
}

impl Inner {
    async fn refresh(&self) {
        let begun = Instant::now();
        let outcome = in_time(self.fetch()).await;
        self.http.report(outcome.as_ref().err());
        let failed = match outcome {
            Ok(keys) => {
                debug!("fetched the keys of the authorization server");
                self.held.store(Some(Arc::new(Held { keys, since: begun })));
                false
            }
            Err(fault) => {
                warn!(%fault, "the authorization server gave no keys");
                true
            }
        };
        let mut fetches = self.fetches();
        fetches.failures = if failed {
            fetches.failures.saturating_add(1)
        } else {
            0
        };
        fetches.ended = Some(Instant::now());
        fetches.current = None;
    }

    async fn fetch(&self) -> Result<Keys, Fault> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.http.discover(&self.issuer, MOST_BYTES).await?,
        };
        Keys::parse(&json(self.http.get(&url), MOST_BYTES).await?, &self.rules)
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetches {
    /// How long after the last fetch the next one may begin.
    fn pause(&self, has_keys: bool) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(8);
        match has_keys {
            true => PAUSE,
            false => PAUSE_WITHOUT_KEYS.saturating_mul(1 << doublings).min(PAUSE),
        }
    }
}

/// Waits for a fetch, but not for long; whether it is over.
async fn wait(mut fetch: watch::Receiver<()>) -> bool {
    // Nothing is ever sent: it closes.
    timeout(MAX_WAIT, fetch.changed()).await.is_ok()
}
