//! Whether a session has read what strangers wrote. What its agent does next may be their idea, so a policy
//! can ask for more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portkey_store::{Budget, Key, Store, Window};

use crate::{auth::principal::Principal, observability::request::Arrival};

/// How long after it has read something a session is tainted.
pub const LASTS: Duration = Duration::from_secs(3600);

/// Which sessions are tainted; a request without a session stands for all such of its caller. Kept as
/// counters, because those are never given up for room.
#[derive(Clone, Debug)]
pub struct Taint {
    shared: Store,
    /// What the shared store could not take, and this replica at least must not forget.
    own: Store,
    /// When nothing more could be kept: all are taken for tainted from then on.
    overflow: Arc<Mutex<Option<Instant>>>,
}

impl Taint {
    /// Shared by all who have this store.
    pub fn in_store(shared: Store) -> Self {
        Self {
            shared,
            own: Store::memory(),
            overflow: Arc::default(),
        }
    }

    /// It has read what strangers wrote. Where a caller has more tainted sessions than can be kept of one
    /// caller, all its sessions are tainted.
    pub async fn mark(&self, principal: &Principal, arrival: &Arrival) {
        let read = [reading(principal, arrival, 1)];
        if self.shared.reserve(&read).await.is_ok() || self.own.reserve(&read).await.is_ok() {
            return;
        }
        if self
            .own
            .reserve(&[all_sessions(principal, 1)])
            .await
            .is_err()
        {
            *self.overflow.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether it has of late, as far as is known: a store that is away may know something, and one that has
    /// forgotten of late may have known it.
    pub async fn is_tainted(&self, principal: &Principal, arrival: &Arrival) -> bool {
        let overflow = *self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        if overflow.is_some_and(|since| since.elapsed() < LASTS) {
            return true;
        }
        let all = all_sessions(principal, 0);
        if self.own.counted(&all.key, all.window).await != Ok(0) {
            return true;
        }
        let Budget { key, window, .. } = reading(principal, arrival, 0);
        for store in [&self.own, &self.shared] {
            if store.counted(&key, window).await != Ok(0) {
                return true;
            }
        }
        self.shared.forgot().is_some_and(|ago| ago < LASTS)
    }
}

fn reading(principal: &Principal, arrival: &Arrival, amount: u64) -> Budget {
    let key = match &arrival.session {
        Some(session) => Key::new("tainted", &["session", &principal.name, session]),
        None => Key::new("tainted", &["caller", &principal.name]),
    };
    let key = key.owned_by(&principal.name);
    Budget {
        key,
        window: Window::Sliding(LASTS),
        most: u64::MAX,
        amount,
    }
}

/// Stands for all sessions of a caller, where there are too many of them. Belongs to no owner, because that has
/// no room left.
fn all_sessions(principal: &Principal, amount: u64) -> Budget {
    let key = Key::new("tainted", &["sessions", &principal.name]);
    Budget {
        key,
        window: Window::Sliding(LASTS),
        most: u64::MAX,
        amount,
    }
}
