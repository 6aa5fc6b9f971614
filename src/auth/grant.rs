//! What lets a caller in for longer than one request: what outlasts a request ends with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};

use super::Auth;
use crate::auth::principal::{Grant, Principal, Unproven};

/// How often it is looked whether a grant still counts, beside the times at which it is known to end, and
/// whenever the file of callers changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How often the upstream is asked about the key of a caller who listens.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// For how long the issuer's word counts about a token that only the issuer can read.
pub(super) const MAX_INTROSPECTED: Duration = Duration::from_secs(600);

/// How much longer a grant counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// As far as is known, for good.
    Unlimited,
    /// For this long.
    For(Duration),
    /// It has ended.
    Nothing,
}

impl Left {
    /// Until this time, if there is one.
    pub(super) fn until(end: Option<SystemTime>) -> Self {
        let Some(end) = end else {
            return Self::Unlimited;
        };
        match end.duration_since(SystemTime::now()) {
            Ok(left) if !left.is_zero() => Self::For(left),
            _ => Self::Nothing,
        }
    }
}

/// Tells what outlasts a request that the file of callers has changed; copies tell the same.
#[derive(Clone, Debug)]
pub struct Changes(Arc<watch::Sender<()>>);

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Changes {
    /// The file has changed.
    pub fn announce(&self) {
        self.0.send_replace(());
    }

    /// Hears of changes from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears of changes.
#[derive(Debug)]
pub struct Listener(watch::Receiver<()>);

impl Listener {
    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could tell of one.
            std::future::pending().await
        }
    }
}

/// Tells settings apart.
pub(super) fn next_settings() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Auth {
    /// When to look again whether a grant still counts; nothing where it has ended.
    pub fn next_check(&self, grant: &Grant) -> Option<Duration> {
        let left = match (self, grant) {
            (Self::Token(tokens), Grant::Token(hash)) => tokens.get().left(hash),
            (Self::OAuth(oauth, _), Grant::OAuth { until, settings }) => {
                match oauth.get().settings() == *settings {
                    true => Left::until(*until),
                    false => Left::Nothing,
                }
            }
            (_, Grant::Standing | Grant::Key) => Left::Unlimited,
            // Of another way of letting in.
            _ => Left::Nothing,
        };
        match left {
            Left::Unlimited => Some(CHECK_INTERVAL),
            Left::For(left) => Some(left.min(CHECK_INTERVAL)),
            Left::Nothing => None,
        }
    }

    /// Waits until what let a caller in no longer counts.
    pub async fn ended(&self, principal: &Principal, mut changes: Listener) {
        while let Some(interval) = self.next_check(&principal.grant) {
            if principal.grant == Grant::Key {
                sleep(KEY_CHECK_INTERVAL).await;
                // An upstream that cannot be asked ends nothing.
                if self.prove(principal).await == Err(Unproven::Refused) {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = sleep(interval) => {}
                () = changes.changed() => {}
            }
        }
    }

    /// Whether the caller of this name is proven: by a credential that the operator gave, or by a key that the
    /// upstream is known to accept.
    pub fn is_proven(&self, name: &str) -> bool {
        match self {
            Self::Key(prover) => prover.is_proven(name),
            _ => true,
        }
    }

    /// Makes sure that a caller is proven.
    ///
    /// # Errors
    /// It is not, or it cannot be told.
    pub async fn prove(&self, principal: &Principal) -> Result<(), Unproven> {
        match self {
            Self::Key(prover) => prover.prove(principal).await,
            _ => Ok(()),
        }
    }
}
