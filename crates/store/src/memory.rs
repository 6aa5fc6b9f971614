//! Store in memory, for a single replica.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    Clock, EnqueueOutcome, GrantResult, Owner, Queue, QueuedId, RateLimitOutcome, Stamp,
    StoreError, StoreKey, TokenBucket, UseOutcome,
    counter::{CounterGrant, CounterRequest, CounterState},
    epoch::{Epoch, random_epoch},
    expiring::ExpiringMap,
    queue::QueueEntries,
    unix_micros,
};

/// Maximum number of entries of each kind. A limit or a mark takes some 200 bytes, a counter of a
/// sliding window up to 700.
pub const MAX_MEMORY_ENTRIES: usize = 100_000;

/// Maximum size of all values together, in bytes.
pub const MAX_MEMORY_BYTES: usize = 64 << 20;

/// Maximum number of entries of each kind that belong to one owner.
pub const MAX_ENTRIES_PER_OWNER: usize = 1_000;

/// Maximum size of all values of one owner together, in bytes.
pub const MAX_BYTES_PER_OWNER: usize = 16 << 20;

/// Interval at which expired entries are dropped.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

/// Counters, marks and values of one process.
pub struct MemoryStore {
    /// Clock of the counters, whose windows follow the calendar.
    clock: Clock,
    counters: Mutex<ExpiringMap<CounterState>>,
    /// Time at which the bucket of a key is full again. After that, the entry has no meaning.
    limits: Mutex<ExpiringMap<Instant>>,
    marks: Mutex<ExpiringMap<()>>,
    values: Mutex<ExpiringMap<Bytes>>,
    queues: Mutex<HashMap<&'static str, QueueEntries>>,
    /// Different in each process, because marks end with the process.
    epoch: Epoch,
    started: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemTime::now))
    }
}

impl MemoryStore {
    pub(super) fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            counters: Mutex::default(),
            limits: Mutex::default(),
            marks: Mutex::default(),
            values: Mutex::default(),
            queues: Mutex::default(),
            epoch: random_epoch(),
            started: Instant::now(),
        }
    }

    /// Drops the expired entries of every kind.
    fn remove_expired(&self, now: Instant) {
        lock(&self.counters).remove_expired_and_shrink(now);
        lock(&self.limits).remove_expired_and_shrink(now);
        lock(&self.marks).remove_expired_and_shrink(now);
        lock(&self.values).remove_expired_and_shrink(now);
        lock(&self.queues)
            .values_mut()
            .for_each(|entries| entries.drop_expired_values(now));
    }

    pub(super) fn now_micros(&self) -> u64 {
        unix_micros((self.clock)())
    }

    pub(super) fn reserve(&self, asked: &[CounterRequest]) -> Result<GrantResult, StoreError> {
        let mut counters = lock(&self.counters);
        let instant = Instant::now();
        let now = self.now_micros();
        let (mut changed, mut granted) = (
            Vec::<(&str, Option<Owner>, CounterState, u64)>::new(),
            Vec::new(),
        );
        let mut more = 0;
        let mut owners = Vec::<Owner>::new();
        for (index, one) in asked.iter().enumerate() {
            // Budgets that share a counter include the amounts of those before them.
            let before = changed.iter().rposition(|(name, ..)| *name == one.name);
            let known = match before.and_then(|at| changed.get(at)) {
                Some((_, _, state, _)) => Some(state),
                None => counters.get(&one.name, instant),
            };
            let is_new = known.is_none() && one.amount > 0;
            match one.reserve(known, now) {
                Ok((state, end, grant)) => {
                    more += usize::from(is_new);
                    owners.extend(one.owner.filter(|_| is_new));
                    granted.push(grant);
                    if one.amount > 0 {
                        changed.push((&one.name, one.owner, state, end));
                    }
                }
                Err(short) => return Ok(Err((index, short))),
            }
        }
        if more > 0 && counters.len() + more > MAX_MEMORY_ENTRIES {
            return Err(StoreError::Full);
        }
        for owner in &owners {
            let asked = owners.iter().filter(|one| *one == owner).count();
            if counters.owner_usage(*owner).0 + asked > MAX_ENTRIES_PER_OWNER {
                return Err(StoreError::OwnerFull);
            }
        }
        for (name, owner, state, end) in changed {
            let left = Duration::from_micros(end.saturating_sub(now));
            counters.insert(name, owner, state, 0, instant + left);
        }
        Ok(Ok(granted))
    }

    pub(super) fn roll_back(&self, counted: &[(CounterRequest, CounterGrant)]) {
        let mut counters = lock(&self.counters);
        let instant = Instant::now();
        let now = self.now_micros();
        for (asked, granted) in counted {
            if let Some(state) = counters.get_mut(&asked.name, instant) {
                *state = asked.roll_back(granted, state, now);
                // A counter without counts takes no capacity from others.
                if state.is_empty(now) {
                    counters.remove(&asked.name);
                }
            }
        }
    }

    pub(super) fn take(
        &self,
        key: &StoreKey,
        limit: &TokenBucket,
    ) -> Result<RateLimitOutcome, StoreError> {
        let now = Instant::now();
        let capacity = limit.capacity();
        let mut limits = lock(&self.limits);
        let known = limits.get(&key.name, now).copied();
        // An earlier limit may have been larger. Clamp to the latest time that this one can cause.
        let full_at = known.unwrap_or(now).min(now + capacity) + limit.interval();
        let wait = full_at.saturating_duration_since(now + capacity);
        if !wait.is_zero() {
            return Ok(RateLimitOutcome::RetryAfter(wait));
        }
        if known.is_none() {
            check_capacity(&limits, key)?;
        }
        limits.insert(&key.name, key.owner, full_at, 0, full_at);
        Ok(RateLimitOutcome::Allowed)
    }

    pub(super) fn stamp(&self) -> Stamp {
        let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Stamp {
            epoch: self.epoch,
            issued_at_millis: at,
        }
    }

    pub(super) fn use_once(
        &self,
        stamp: &Stamp,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<UseOutcome, StoreError> {
        let now = Instant::now();
        let current = self.stamp();
        if stamp.epoch != self.epoch {
            return Ok(UseOutcome::DataLost);
        }
        let age = Duration::from_millis(
            current
                .issued_at_millis
                .saturating_sub(stamp.issued_at_millis),
        );
        if age >= ttl {
            return Ok(UseOutcome::Expired);
        }
        let mut marks = lock(&self.marks);
        if marks.get(&key.name, now).is_some() {
            return Ok(UseOutcome::AlreadyUsed);
        }
        check_capacity(&marks, key)?;
        // The mark outlives its value, because the age above is in whole milliseconds.
        marks.insert(&key.name, key.owner, (), 0, now + ttl);
        Ok(UseOutcome::First)
    }

    pub(super) fn enqueue(
        &self,
        queue: &Queue,
        name: (&str, &str),
        value: Bytes,
        ttl: Duration,
    ) -> EnqueueOutcome {
        let mut queues = lock(&self.queues);
        queues
            .entry(queue.name)
            .or_default()
            .append(queue, name, value, ttl, Instant::now())
    }

    pub(super) fn queued_ids(&self, queue: &Queue, owner: Option<&str>) -> Vec<QueuedId> {
        let mut queues = lock(&self.queues);
        let entries = queues.get_mut(queue.name);
        entries
            .map(|entries| entries.ids(queue, owner, Instant::now()))
            .unwrap_or_default()
    }

    pub(super) fn queued_values(&self, queue: &Queue, ids: &[&str]) -> Vec<Option<Bytes>> {
        let queues = lock(&self.queues);
        let now = Instant::now();
        let entries = queues.get(queue.name);
        ids.iter().map(|id| entries?.get(id, now)).collect()
    }

    pub(super) fn replace_queued(&self, queue: &Queue, id: &str, value: Bytes) -> bool {
        let mut queues = lock(&self.queues);
        let entries = queues.get_mut(queue.name);
        entries.is_some_and(|entries| entries.replace(id, value, Instant::now()))
    }

    pub(super) fn dequeue(&self, queue: &Queue, id: &str) {
        if let Some(entries) = lock(&self.queues).get_mut(queue.name) {
            entries.remove(id, Instant::now());
        }
    }

    pub(super) fn put(&self, key: &StoreKey, value: Bytes, ttl: Duration) {
        put_in(&mut lock(&self.values), key, value, ttl);
    }

    pub(super) fn put_if_absent(&self, key: &StoreKey, value: Bytes, ttl: Duration) -> bool {
        let mut values = lock(&self.values);
        if values.get(&key.name, Instant::now()).is_some() {
            return false;
        }
        put_in(&mut values, key, value, ttl);
        true
    }

    pub(super) fn refresh_own(&self, key: &StoreKey, value: &Bytes, ttl: Duration) -> bool {
        let mut values = lock(&self.values);
        let now = Instant::now();
        let is_own = values.get(&key.name, now) == Some(value);
        if is_own {
            values.refresh(&key.name, key.owner, now + ttl, now);
        }
        is_own
    }

    pub(super) fn remove_own(&self, key: &StoreKey, value: &Bytes) {
        let mut values = lock(&self.values);
        if values.get(&key.name, Instant::now()) == Some(value) {
            values.remove(&key.name);
        }
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<Bytes> {
        lock(&self.values).get(&key.name, Instant::now()).cloned()
    }

    pub(super) fn refresh(&self, key: &StoreKey, ttl: Duration) -> Option<Bytes> {
        let now = Instant::now();
        lock(&self.values)
            .refresh(&key.name, key.owner, now + ttl, now)
            .cloned()
    }

    pub(super) fn remove(&self, key: &StoreKey) {
        lock(&self.values).remove(&key.name);
    }
}

/// Drops expired entries until the store itself is dropped. Requests do that as well, but an idle
/// server has none.
pub(super) async fn run_cleanup(memory: Weak<MemoryStore>) {
    loop {
        sleep(CLEANUP_INTERVAL).await;
        let Some(memory) = memory.upgrade() else {
            return;
        };
        memory.remove_expired(Instant::now());
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

/// Stores a value, and drops those that expire first if there is no capacity.
fn put_in(values: &mut ExpiringMap<Bytes>, key: &StoreKey, value: Bytes, ttl: Duration) {
    let weight = value.len();
    let now = Instant::now();
    values.remove_expired(now);
    values.insert(&key.name, key.owner, value, weight, now + ttl);
    if let Some(owner) = key.owner {
        let exceeds = |(count, bytes)| count > MAX_ENTRIES_PER_OWNER || bytes > MAX_BYTES_PER_OWNER;
        while exceeds(values.owner_usage(owner)) {
            values.remove_next_to_expire_of(owner);
        }
    }
    while values.len() > MAX_MEMORY_ENTRIES || values.weight() > MAX_MEMORY_BYTES {
        values.remove_next_to_expire();
    }
}

/// Returns an error if there is no capacity for one more entry.
fn check_capacity<V>(entries: &ExpiringMap<V>, key: &StoreKey) -> Result<(), StoreError> {
    let of_owner = key.owner.map_or(0, |owner| entries.owner_usage(owner).0);
    match () {
        () if entries.len() >= MAX_MEMORY_ENTRIES => Err(StoreError::Full),
        () if of_owner >= MAX_ENTRIES_PER_OWNER => Err(StoreError::OwnerFull),
        () => Ok(()),
    }
}

/// Locks a mutex, even after a panic in another thread. No operation leaves a map half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[tokio::test(start_paused = true)]
    async fn idle_store_drops_expired_values() {
        let store = Store::in_memory();
        let Store::Memory(memory) = &store else {
            panic!("it is in memory")
        };
        let key = |id| StoreKey::new("session", &[id]);
        memory.put(&key("live"), "b".into(), Duration::from_secs(3600));
        memory.put(&key("expired"), "a".into(), Duration::ZERO);
        let count = || lock(&memory.values).len();
        assert_eq!(count(), 2);
        tokio::task::yield_now().await;
        tokio::time::advance(CLEANUP_INTERVAL).await;
        tokio::task::yield_now().await;
        assert_eq!(count(), 1);
    }
}
