//! How many requests of one caller, and from one address, may be under way at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Requests under way, counted for each caller.
#[derive(Debug)]
pub(super) struct UnderWay<K: Hash + Eq> {
    most: usize,
    counts: Mutex<HashMap<K, usize>>,
}

impl<K: Hash + Eq + Clone> UnderWay<K> {
    /// At most so many for each.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// One more, unless there are too many already.
    pub(super) fn begin(self: &Arc<Self>, of: K) -> Option<Permit<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Permit { under_way: self.clone(), of })
    }
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit<K: Hash + Eq> {
    under_way: Arc<UnderWay<K>>,
    of: K,
}

impl<K: Hash + Eq> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.under_way.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}
