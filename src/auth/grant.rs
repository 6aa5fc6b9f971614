//! Rechecks grants that outlast one request, so that a stream ends when its caller's grant ends.

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

/// Interval between two checks of a grant. Checks also happen at known expiry times and when the
/// file of callers changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Interval between two upstream checks of the key of a caller with an open stream.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// Maximum lifetime of a grant by token introspection, because only the issuer can read such a
/// token.
pub(super) const MAX_INTROSPECTED: Duration = Duration::from_secs(600);

/// Remaining validity of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// No end is known.
    Unlimited,
    /// Time until the grant expires.
    For(Duration),
    /// The grant has ended.
    Nothing,
}

impl Left {
    /// Returns the validity until `end`; unlimited without one.
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

/// Notifies long-lived streams of changes to the file of callers. Clones share one channel.
#[derive(Clone, Debug)]
pub struct Changes(Arc<watch::Sender<()>>);

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Changes {
    /// Notifies all receivers that the file has changed.
    pub fn announce(&self) {
        self.0.send_replace(());
    }

    /// Subscribes to changes that happen from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Receiver of changes to the file of callers.
#[derive(Debug)]
pub struct Listener(watch::Receiver<()>);

impl Listener {
    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // All senders are dropped, so no change can arrive any more.
            std::future::pending().await
        }
    }
}

/// Returns a number that is unique to one version of the settings in this process.
pub(super) fn next_settings() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Auth {
    /// Returns the delay until the next check of a grant, or `None` if the grant has ended.
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
            // The grant was issued under another authentication method.
            _ => Left::Nothing,
        };
        match left {
            Left::Unlimited => Some(CHECK_INTERVAL),
            Left::For(left) => Some(left.min(CHECK_INTERVAL)),
            Left::Nothing => None,
        }
    }

    /// Waits until the caller's grant ends.
    pub async fn ended(&self, principal: &Principal, mut changes: Listener) {
        while let Some(interval) = self.next_check(&principal.grant) {
            if principal.grant == Grant::Key {
                sleep(KEY_CHECK_INTERVAL).await;
                // A grant survives while its upstream cannot be reached.
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

    /// Returns true if the caller of this name is proven. A caller is proven by a credential from the
    /// operator, or by a key that the upstream is known to accept.
    pub fn is_proven(&self, name: &str) -> bool {
        match self {
            Self::Key(prover) => prover.is_proven(name),
            _ => true,
        }
    }

    /// Proves that a caller is genuine; asks the upstream if necessary.
    ///
    /// # Errors
    /// Returns an error if the key is rejected, or if the upstream gives no answer.
    pub async fn prove(&self, principal: &Principal) -> Result<(), Unproven> {
        match self {
            Self::Key(prover) => prover.prove(principal).await,
            _ => Ok(()),
        }
    }
}
