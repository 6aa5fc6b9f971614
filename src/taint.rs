//! Whether a session has read what strangers wrote. What its agent does next may be their idea, so a policy
//! can ask for more.

use std::time::Duration;

use crate::{
    principal::Principal,
    request::Arrival,
    store::{Budget, Key, Store, Window},
};

/// How long after it has read something a session is tainted.
pub const LASTS: Duration = Duration::from_secs(3600);

/// Which sessions are tainted; a request without a session stands for all such of its caller. Kept as
/// counters, because those are never given up for room.
#[derive(Clone, Debug)]
pub struct Taint {
    shared: Store,
    /// What the shared store could not take, and this replica at least must not forget.
    own: Store,
}

impl Taint {
    /// Shared by all who have this store.
    pub fn in_store(shared: Store) -> Self {
        Self { shared, own: Store::memory() }
    }

    /// It has read what strangers wrote.
    pub async fn mark(&self, principal: &Principal, arrival: &Arrival) {
        let read = [reading(principal, arrival, 1)];
        if self.shared.reserve(&read).await.is_err() {
            // Should memory be full too, then only because as many are marked as there is room for.
            _ = self.own.reserve(&read).await;
        }
    }

    /// Whether it has of late, as far as is known: a store that is away may know something.
    pub async fn is_tainted(&self, principal: &Principal, arrival: &Arrival) -> bool {
        let Budget { key, window, .. } = reading(principal, arrival, 0);
        for store in [&self.own, &self.shared] {
            if store.counted(&key, window).await != Ok(0) {
                return true;
            }
        }
        false
    }
}

fn reading(principal: &Principal, arrival: &Arrival, amount: u64) -> Budget {
    let key = match &arrival.session {
        Some(session) => Key::new("tainted", &["session", &principal.name, session]),
        None => Key::new("tainted", &["caller", &principal.name]),
    };
    Budget { key, window: Window::Sliding(LASTS), most: u64::MAX, amount }
}
