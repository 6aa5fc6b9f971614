//! Limits of the number of calls at the same time, counted in this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portkey_concurrency::shrink_sparse;
use portkey_policy::{ConcurrencyLimit, PolicyDenial};

/// The calls under way, by the key of their limit. A key is forgotten with its last call.
#[derive(Clone, Debug, Default)]
pub(super) struct CallSlots(Arc<Mutex<HashMap<String, u32>>>);

/// The slots of a call. Dropping them frees them.
#[derive(Debug)]
pub(super) struct CallPermit {
    slots: CallSlots,
    keys: Vec<String>,
}

impl CallSlots {
    /// Takes a slot of every limit, or none. A call never waits for one.
    ///
    /// # Errors
    /// Returns a denial by the first limit that is reached.
    pub(super) fn acquire(
        &self,
        limits: &[ConcurrencyLimit],
        tool: &str,
    ) -> Result<CallPermit, PolicyDenial> {
        let mut slots = self.lock();
        let is_full = |limit: &&ConcurrencyLimit| {
            let taken = slots.get(&limit.key).copied().unwrap_or_default();
            taken >= limit.max
        };
        if let Some(limit) = limits.iter().find(is_full) {
            return Err(limit.denial(tool));
        }
        let keys: Vec<_> = limits.iter().map(|limit| limit.key.clone()).collect();
        for key in &keys {
            *slots.entry(key.clone()).or_default() += 1;
        }
        Ok(CallPermit {
            slots: self.clone(),
            keys,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut slots = self.slots.lock();
        for key in &self.keys {
            let Some(taken) = slots.get_mut(key) else {
                continue;
            };
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                slots.remove(key);
            }
        }
        shrink_sparse(&mut slots);
    }
}
