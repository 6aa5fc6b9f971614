//! The issuer's keys: fetched when first needed, kept for a while, fetched again when they rotate.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};

use super::{
    OAuthError, Reason,
    address::{Address, Identifier},
    claims::Claims,
    jwt::{Keys, Rules, head},
    remote::{Fault, Http, in_time, json},
};

/// How old keys may be before they are fetched anew.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// How old they may be where the issuer cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause between two fetches: nobody can make this server bother the issuer with made-up key ids.
const FLOOR: Duration = Duration::from_secs(30);

/// The pause while there are no keys at all, and so no caller is served.
const FLOOR_WITHOUT_KEYS: Duration = Duration::from_secs(5);

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
    /// When the last fetch began. Held during a fetch, so that there is only one.
    last: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Held {
    keys: Keys,
    since: Instant,
}

impl Jwks {
    pub(super) fn new(
        http: Http,
        issuer: Identifier,
        jwks_url: Option<Address>,
        rules: Rules,
    ) -> Self {
        let (held, last) = (ArcSwapOption::empty(), Mutex::default());
        Self(Arc::new(Inner { http, issuer, jwks_url, rules, held, last }))
    }

    /// The claims of a token that the issuer has signed.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, OAuthError> {
        let head = head(token)?;
        let held = self.held().await?;
        match held.keys.verify(token, &head, &self.0.rules) {
            Err(Reason::UnknownKey) => {
                self.refresh(Some(held.since)).await;
                let newer = self.0.held.load_full().filter(|newer| newer.since > held.since);
                let newer = newer.ok_or(Reason::UnknownKey)?;
                Ok(newer.keys.verify(token, &head, &self.0.rules)?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Keys that may be used now.
    async fn held(&self) -> Result<Arc<Held>, OAuthError> {
        let held = self.0.held.load_full();
        if let Some(held) = &held
            && held.since.elapsed() < MAX_AGE
        {
            return Ok(held.clone());
        }
        self.refresh(held.map(|held| held.since)).await;
        let held = self.0.held.load_full().filter(|held| held.since.elapsed() < MAX_STALE);
        held.ok_or(OAuthError::Unavailable)
    }

    /// Fetches keys newer than these, unless somebody has, or it is too soon.
    async fn refresh(&self, than: Option<Instant>) {
        let inner = self.0.clone();
        // In a task of its own: a caller that hangs up must not end it for the others.
        _ = tokio::spawn(async move { inner.refresh(than).await }).await;
    }
}

impl Inner {
    async fn refresh(&self, than: Option<Instant>) {
        let mut last = self.last.lock().await;
        let since = self.held.load().as_ref().map(|held| held.since);
        let floor = if since.is_some() { FLOOR } else { FLOOR_WITHOUT_KEYS };
        if since > than || last.is_some_and(|last| last.elapsed() < floor) {
            return;
        }
        let now = Instant::now();
        *last = Some(now);
        match in_time(self.fetch()).await {
            Ok(keys) => {
                debug!("fetched the keys of the authorization server");
                self.held.store(Some(Arc::new(Held { keys, since: now })));
            }
            Err(fault) => warn!(%fault, "the authorization server gave no keys"),
        }
    }

    async fn fetch(&self) -> Result<Keys, Fault> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.http.discover(&self.issuer, MOST_BYTES).await?,
        };
        Keys::parse(&json(self.http.get(&url), MOST_BYTES).await?, &self.rules)
    }
}
