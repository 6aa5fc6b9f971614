//! Taint: remembers which sessions have read untrusted content.
//!
//! An agent's next calls may follow instructions in that content, so a policy can be stricter
//! with a tainted session.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portkey_store::{Budget, Store, StoreKey, Window};

use crate::{auth::principal::Principal, observability::request::RequestInfo};

/// Time for which a session stays tainted after it has read untrusted content.
pub const TAINT_DURATION: Duration = Duration::from_secs(3600);

/// The tainted sessions. All requests of a caller without a session share one taint.
///
/// Taint is kept in counters, because the store never evicts counters to free memory.
#[derive(Clone, Debug)]
pub struct Taint {
    shared: Store,
    /// Taint that the shared store could not record. At least this replica must not forget it.
    local: Store,
    /// The time at which taint could not be recorded anywhere; from then on all sessions count as
    /// tainted.
    overflowed_at: Arc<Mutex<Option<Instant>>>,
}

impl Taint {
    /// Keeps taint in a store, and shares it with all replicas that use the store.
    pub fn new(shared: Store) -> Self {
        Self {
            shared,
            local: Store::in_memory(),
            overflowed_at: Arc::default(),
        }
    }

    /// Marks the session as tainted. If the store's limit per caller is reached, all sessions of
    /// the caller become tainted.
    pub async fn mark(&self, principal: &Principal, request_info: &RequestInfo) {
        let read = [session_counter(principal, request_info, 1)];
        if self.shared.reserve(&read).await.is_ok() || self.local.reserve(&read).await.is_ok() {
            return;
        }
        if self
            .local
            .reserve(&[caller_counter(principal, 1)])
            .await
            .is_err()
        {
            *self
                .overflowed_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Returns true if the session was tainted within the last hour, or if that cannot be ruled
    /// out. It cannot if the store is unavailable or has recently lost data.
    pub async fn is_tainted(&self, principal: &Principal, request_info: &RequestInfo) -> bool {
        let overflow = *self
            .overflowed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if overflow.is_some_and(|since| since.elapsed() < TAINT_DURATION) {
            return true;
        }
        let all = caller_counter(principal, 0);
        if self.local.count(&all.key, all.window).await != Ok(0) {
            return true;
        }
        let Budget { key, window, .. } = session_counter(principal, request_info, 0);
        for store in [&self.local, &self.shared] {
            if store.count(&key, window).await != Ok(0) {
                return true;
            }
        }
        self.shared
            .data_loss_age()
            .is_some_and(|ago| ago < TAINT_DURATION)
    }
}

fn session_counter(principal: &Principal, request_info: &RequestInfo, amount: u64) -> Budget {
    let key = match &request_info.session {
        Some(session) => StoreKey::new("tainted", &["session", &principal.name, session]),
        None => StoreKey::new("tainted", &["caller", &principal.name]),
    };
    let key = key.owned_by(&principal.name);
    Budget {
        key,
        window: Window::Sliding(TAINT_DURATION),
        max: u64::MAX,
        amount,
    }
}

/// The counter for all sessions of a caller, used when the caller has too many. It has no owner,
/// because the owner's share of the store is used up.
fn caller_counter(principal: &Principal, amount: u64) -> Budget {
    let key = StoreKey::new("tainted", &["sessions", &principal.name]);
    Budget {
        key,
        window: Window::Sliding(TAINT_DURATION),
        max: u64::MAX,
        amount,
    }
}
