//! Limits on the requests of one caller or address in flight: their number, and their size
//! together.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use portkey_concurrency::shrink_sparse;

/// Limits the requests in flight for each key.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter<K: Hash + Eq> {
    max_per_key: usize,
    counts: Mutex<HashMap<K, usize>>,
}

impl<K: Hash + Eq + Clone> ConcurrencyLimiter<K> {
    /// Creates a limiter with this maximum for each key.
    pub(super) fn new(max_per_key: usize) -> Arc<Self> {
        Arc::new(Self {
            max_per_key,
            counts: Mutex::default(),
        })
    }

    /// Acquires a permit. Returns `None` if the limit is reached.
    pub(super) fn acquire(self: &Arc<Self>, of: K) -> Option<Permit<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of.clone()).or_default();
        if *count >= self.max_per_key {
            return None;
        }
        *count += 1;
        Some(Permit {
            limiter: self.clone(),
            key: of,
        })
    }

    /// Returns the number of requests in flight for a key.
    pub(super) fn count(&self, of: &K) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(of).copied().unwrap_or_default()
    }
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit<K: Hash + Eq + Clone> {
    limiter: Arc<ConcurrencyLimiter<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self
            .limiter
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // An entry, so that the key is hashed once.
        match counts.entry(self.key.clone()) {
            Entry::Occupied(count) if *count.get() <= 1 => _ = count.remove(),
            Entry::Occupied(mut count) => *count.get_mut() -= 1,
            Entry::Vacant(_) => {}
        }
        shrink_sparse(&mut counts);
    }
}

/// Limits the bytes held for each key, and for all together.
#[derive(Debug)]
pub(super) struct ByteLimiter<K: Hash + Eq> {
    max_per_key: usize,
    max_total: usize,
    counts: Mutex<(usize, HashMap<K, usize>)>,
}

impl<K: Hash + Eq + Clone> ByteLimiter<K> {
    /// Creates a limiter with these maxima for each key and for all.
    pub(super) fn new(max_of_each: usize, max_of_all: usize) -> Arc<Self> {
        Arc::new(Self {
            max_per_key: max_of_each,
            max_total: max_of_all,
            counts: Mutex::default(),
        })
    }

    /// Reserves bytes. Returns `None` if a limit is exceeded. A key that holds nothing may hold any
    /// number within the total limit.
    pub(super) fn reserve(self: &Arc<Self>, of: K, bytes: usize) -> Option<BytesPermit<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, each) = &mut *counts;
        let held = each.get(&of).copied().unwrap_or_default();
        let fits = held == 0 || held.saturating_add(bytes) <= self.max_per_key;
        if !fits || *all != 0 && all.saturating_add(bytes) > self.max_total {
            return None;
        }
        *all += bytes;
        *each.entry(of.clone()).or_default() += bytes;
        Some(BytesPermit {
            limiter: self.clone(),
            key: of,
            bytes,
        })
    }
}

/// Reserved bytes, until this is dropped.
#[derive(Debug)]
pub(super) struct BytesPermit<K: Hash + Eq> {
    limiter: Arc<ByteLimiter<K>>,
    key: K,
    bytes: usize,
}

impl<K: Hash + Eq> Drop for BytesPermit<K> {
    fn drop(&mut self) {
        let mut counts = self
            .limiter
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (all, each) = &mut *counts;
        *all -= self.bytes;
        if let Some(count) = each.get_mut(&self.key) {
            *count -= self.bytes;
            if *count == 0 {
                each.remove(&self.key);
                shrink_sparse(each);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use portkey_concurrency::MAX_UNUSED_CAPACITY;

    use super::*;

    #[test]
    fn limits_of_callers_that_are_gone_use_no_memory() {
        let requests = ConcurrencyLimiter::new(1);
        let bytes = ByteLimiter::new(1, 10_000);
        let held: Vec<_> = (0..10_000)
            .map(|caller| (requests.acquire(caller), bytes.reserve(caller, 1)))
            .collect();
        assert!(
            held.iter()
                .all(|(one, other)| one.is_some() && other.is_some())
        );
        drop(held);
        assert!(requests.counts.lock().unwrap().capacity() <= MAX_UNUSED_CAPACITY);
        assert!(bytes.counts.lock().unwrap().1.capacity() <= MAX_UNUSED_CAPACITY);
    }

    #[test]
    fn bytes_are_limited_per_caller_and_in_total() {
        let held = ByteLimiter::new(10, 25);
        let first = held.reserve("a", 6).unwrap();
        assert!(held.reserve("a", 5).is_none());
        let second = held.reserve("a", 4).unwrap();
        let third = held.reserve("b", 10).unwrap();
        assert!(held.reserve("c", 6).is_none(), "25 in all");
        drop(first);
        let large = held.reserve("c", 11).unwrap();
        assert!(
            held.reserve("c", 1).is_none(),
            "one that is larger than the bound is the only one"
        );
        drop((second, third, large));
        let counts = held.counts.lock().unwrap();
        assert_eq!((counts.0, counts.1.len()), (0, 0));
    }
}
