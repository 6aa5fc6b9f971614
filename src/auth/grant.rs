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
use crate::auth::principal::{Grant, Principal, ProofError};

/// Interval between two checks of a grant. Checks also happen at known expiry times and when the
/// file of callers changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Interval between two upstream checks of the key of a caller with an open stream.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// Maximum lifetime of a grant by token introspection, because only the issuer can read such a
/// token.
pub(super) const INTROSPECTED_GRANT_TTL: Duration = Duration::from_secs(600);

/// Remaining validity of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrantValidity {
    /// No end is known.
    Unlimited,
    /// Time until the grant expires.
    Remaining(Duration),
    /// The grant has ended.
    Expired,
}

impl GrantValidity {
    /// Returns the validity until `end`; unlimited without one.
    pub(super) fn from_expiry(end: Option<SystemTime>) -> Self {
        let Some(end) = end else {
            return Self::Unlimited;
        };
        match end.duration_since(SystemTime::now()) {
            Ok(left) if !left.is_zero() => Self::Remaining(left),
            _ => Self::Expired,
        }
    }
}

/// Notifies long-lived streams of changes to the file of callers. Clones share one channel.
#[derive(Clone, Debug)]
pub struct CallerChanges(Arc<watch::Sender<()>>);

impl Default for CallerChanges {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl CallerChanges {
    /// Notifies all receivers that the file has changed.
    pub fn notify(&self) {
        self.0.send_replace(());
    }

    /// Subscribes to changes that happen from now on.
    pub fn subscribe(&self) -> CallerChangeReceiver {
        CallerChangeReceiver(self.0.subscribe())
    }
}

/// Receiver of changes to the file of callers.
#[derive(Debug)]
pub struct CallerChangeReceiver(watch::Receiver<()>);

impl CallerChangeReceiver {
    /// Waits for the next change.
    pub async fn wait_for_change(&mut self) {
        if self.0.changed().await.is_err() {
            // All senders are dropped, so no change can arrive any more.
            std::future::pending().await
        }
    }
}

/// Returns a number that is unique to one version of the settings in this process.
pub(super) fn next_settings_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Auth {
    /// Returns the delay until the next check of a grant, or `None` if the grant has ended.
    pub fn next_check(&self, grant: &Grant) -> Option<Duration> {
        let left = match (self, grant) {
            (Self::Token(tokens), Grant::Token(hash)) => tokens.get().validity(hash),
            (Self::OAuth(oauth, _), Grant::OAuth { until, settings }) => {
                match oauth.get().settings_version() == *settings {
                    true => GrantValidity::from_expiry(*until),
                    false => GrantValidity::Expired,
                }
            }
            (_, Grant::Permanent | Grant::Key) => GrantValidity::Unlimited,
            // The grant was issued under another authentication method.
            _ => GrantValidity::Expired,
        };
        match left {
            GrantValidity::Unlimited => Some(CHECK_INTERVAL),
            GrantValidity::Remaining(left) => Some(left.min(CHECK_INTERVAL)),
            GrantValidity::Expired => None,
        }
    }

    /// Waits until the caller's grant ends.
    pub async fn wait_until_grant_ends(
        &self,
        principal: &Principal,
        mut changes: CallerChangeReceiver,
    ) {
        while let Some(interval) = self.next_check(&principal.grant) {
            if principal.grant == Grant::Key {
                sleep(KEY_CHECK_INTERVAL).await;
                // A grant survives while its upstream cannot be reached.
                if self.prove(principal).await == Err(ProofError::Rejected) {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = sleep(interval) => {}
                () = changes.wait_for_change() => {}
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
    pub async fn prove(&self, principal: &Principal) -> Result<(), ProofError> {
        match self {
            Self::Key(prover) => prover.prove(principal).await,
            _ => Ok(()),
        }
    }
}
