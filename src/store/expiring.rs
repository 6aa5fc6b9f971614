//! A bounded map whose entries expire.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

/// What expires first, and among those what came first.
type Turn = (Instant, u64);

/// A map whose entries expire. Unlike a cache it never lets go of one that has not, so that who must not
/// forget can refuse instead.
pub(super) struct Expiring<V> {
    entries: HashMap<Arc<str>, Entry<V>>,
    order: BTreeMap<Turn, Arc<str>>,
    inserted: u64,
    weight: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
    turn: Turn,
}

impl<V> Default for Expiring<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), inserted: 0, weight: 0 }
    }
}

impl<V> Expiring<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sum of what the entries weigh.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<&V> {
        self.forget_expired(now);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The values under keys that begin so, in no order.
    pub(super) fn under(&mut self, prefix: &str, now: Instant) -> impl Iterator<Item = &V> {
        self.forget_expired(now);
        let found = self.entries.iter().filter(move |(key, _)| key.starts_with(prefix));
        found.map(|(_, entry)| &entry.value)
    }

    /// For changing it; it expires as before.
    pub(super) fn get_mut(&mut self, key: &str, now: Instant) -> Option<&mut V> {
        self.forget_expired(now);
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Puts it in, in the place of an earlier entry.
    pub(super) fn insert(&mut self, key: &str, value: V, weight: usize, expires: Instant) {
        self.remove(key);
        let key: Arc<str> = key.into();
        let turn = (expires, self.inserted);
        self.inserted += 1;
        self.weight += weight;
        self.order.insert(turn, key.clone());
        self.entries.insert(key, Entry { value, weight, turn });
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.turn);
            self.weight -= entry.weight;
        }
    }

    /// Lets go of the entry that would expire first.
    pub(super) fn remove_first(&mut self) {
        if let Some((_, key)) = self.order.pop_first()
            && let Some(entry) = self.entries.remove(&key)
        {
            self.weight -= entry.weight;
        }
    }

    /// Lets go of what has expired.
    pub(super) fn forget_expired(&mut self, now: Instant) {
        while self.order.first_key_value().is_some_and(|((expires, _), _)| *expires <= now) {
            self.remove_first();
        }
    }
}
