//! Calls that sessions have made, of the operations that rules name in `after` and `before`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portkey_store::{Budget, Store, StoreKey, Window};

use crate::{auth::principal::Principal, observability::request::RequestInfo};

/// Time for which a call of a session is remembered.
pub const CALL_HISTORY_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Successful calls of the sessions.
///
/// The calls are kept in counters, because the store never evicts counters to free memory. A session has
/// at most one counter for each operation that a policy names.
#[derive(Clone, Debug)]
pub(super) struct CallHistory {
    shared: Store,
    /// Calls that the shared store could not record. At least this replica must not forget them.
    local: Store,
    /// Time at which a call could be recorded nowhere. From then on, no history is known.
    overflowed_at: Arc<Mutex<Option<Instant>>>,
}

impl CallHistory {
    /// Keeps the calls in a store, and shares them with all replicas that use it.
    pub(super) fn new(shared: Store) -> Self {
        Self {
            shared,
            local: Store::in_memory(),
            overflowed_at: Arc::default(),
        }
    }

    /// Records a successful call. Callers without a session have no history.
    pub(super) async fn record(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        tool: &'static str,
    ) {
        let Some(session) = &request_info.session else {
            return;
        };
        let call = [call_counter(principal, session, tool, 1)];
        if self.shared.reserve(&call).await.is_ok() || self.local.reserve(&call).await.is_ok() {
            return;
        }
        *self
            .overflowed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns the operations among these that the session has called. Returns `None` if that is
    /// unknown: without a session, if the store is unavailable, or if it has lost data.
    pub(super) async fn calls_of(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        tools: Vec<&'static str>,
    ) -> Option<Vec<&'static str>> {
        let session = request_info.session.as_deref()?;
        let overflow = *self
            .overflowed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_recent = |ago: Duration| ago < CALL_HISTORY_DURATION;
        if overflow.is_some_and(|since| is_recent(since.elapsed()))
            || self.shared.data_loss_age().is_some_and(is_recent)
        {
            return None;
        }
        let mut called = Vec::new();
        for tool in tools {
            let Budget { key, window, .. } = call_counter(principal, session, tool, 0);
            let counts = [
                self.local.count(&key, window).await.ok()?,
                self.shared.count(&key, window).await.ok()?,
            ];
            if counts.iter().any(|count| *count > 0) {
                called.push(tool);
            }
        }
        Some(called)
    }
}

fn call_counter(principal: &Principal, session: &str, tool: &str, amount: u64) -> Budget {
    let key = StoreKey::new("called", &[&principal.name, session, tool]);
    Budget {
        key: key.owned_by(&principal.name),
        window: Window::Sliding(CALL_HISTORY_DURATION),
        max: u64::MAX,
        amount,
    }
}
