//! A map whose entries expire.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::Owner;

/// Order of expiry: by time, then by insertion.
type ExpiryOrder = (Instant, u64);

/// Minimum capacity of a map that is shrunk.
const MIN_SHRINK_CAPACITY: usize = 256;

/// A map whose entries expire. Unlike a cache, it never drops an entry early; callers that must not
/// lose entries can reject new ones instead.
pub(super) struct ExpiringMap<V> {
    entries: HashMap<Arc<str>, ExpiringEntry<V>>,
    order: BTreeMap<ExpiryOrder, Arc<str>>,
    owners: HashMap<Owner, OwnerEntries>,
    inserted: u64,
    weight: usize,
}

struct ExpiringEntry<V> {
    value: V,
    owner: Option<Owner>,
    weight: usize,
    turn: ExpiryOrder,
}

/// Entries of one owner.
#[derive(Default)]
struct OwnerEntries {
    order: BTreeSet<ExpiryOrder>,
    weight: usize,
}

impl<V> Default for ExpiringMap<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            owners: HashMap::new(),
            inserted: 0,
            weight: 0,
        }
    }
}

impl<V> ExpiringMap<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the total weight of all entries.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Returns the number of entries of an owner, and their total weight.
    pub(super) fn owner_usage(&self, owner: Owner) -> (usize, usize) {
        self.owners
            .get(&owner)
            .map_or((0, 0), |owned| (owned.order.len(), owned.weight))
    }

    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<&V> {
        self.remove_expired(now);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Returns a value to modify; its expiry does not change.
    pub(super) fn get_mut(&mut self, key: &str, now: Instant) -> Option<&mut V> {
        self.remove_expired(now);
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Inserts or replaces an entry. Without a new owner, a replaced entry keeps its owner.
    pub(super) fn insert(
        &mut self,
        key: &str,
        owner: Option<Owner>,
        value: V,
        weight: usize,
        expires: Instant,
    ) {
        let before = self.detach(key);
        let owner = owner.or(before.and_then(|entry| entry.owner));
        let key: Arc<str> = key.into();
        let turn = (expires, self.inserted);
        self.inserted += 1;
        self.weight += weight;
        self.order.insert(turn, key.clone());
        if let Some(owner) = owner {
            let owned = self.owners.entry(owner).or_default();
            owned.order.insert(turn);
            owned.weight += weight;
        }
        self.entries.insert(
            key,
            ExpiringEntry {
                value,
                owner,
                weight,
                turn,
            },
        );
    }

    /// Changes the expiry of an entry, and sets the owner if the entry has none.
    pub(super) fn refresh(
        &mut self,
        key: &str,
        owner: Option<Owner>,
        expires: Instant,
        now: Instant,
    ) -> Option<&V> {
        self.remove_expired(now);
        let entry = self.entries.get_mut(key)?;
        let turn = (expires, self.inserted);
        self.inserted += 1;
        // Updated in place, because every request of a session does this.
        if let Some(key) = self.order.remove(&entry.turn) {
            self.order.insert(turn, key);
        }
        let is_new = entry.owner.is_none();
        entry.owner = entry.owner.or(owner);
        if let Some(owner) = entry.owner {
            let owned = self.owners.entry(owner).or_default();
            owned.order.remove(&entry.turn);
            owned.order.insert(turn);
            owned.weight += if is_new { entry.weight } else { 0 };
        }
        entry.turn = turn;
        Some(&entry.value)
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.detach(key);
    }

    fn detach(&mut self, key: &str) -> Option<ExpiringEntry<V>> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.turn);
        self.weight -= entry.weight;
        self.detach_from_owner(&entry);
        Some(entry)
    }

    /// Removes the entry that would expire first.
    pub(super) fn remove_next_to_expire(&mut self) {
        if let Some((_, key)) = self.order.pop_first()
            && let Some(entry) = self.entries.remove(&key)
        {
            self.weight -= entry.weight;
            self.detach_from_owner(&entry);
        }
    }

    /// Removes the entry of an owner that would expire first.
    pub(super) fn remove_next_to_expire_of(&mut self, owner: Owner) {
        let first = self
            .owners
            .get(&owner)
            .and_then(|owned| owned.order.first());
        if let Some(key) = first.and_then(|turn| self.order.get(turn)).cloned() {
            self.remove(&key);
        }
    }

    /// Removes all expired entries.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        while self
            .order
            .first_key_value()
            .is_some_and(|((expires, _), _)| *expires <= now)
        {
            self.remove_next_to_expire();
        }
    }

    /// Removes the expired entries, and shrinks the map if most of its capacity is unused.
    pub(super) fn remove_expired_and_shrink(&mut self, now: Instant) {
        self.remove_expired(now);
        if self.entries.capacity() > MIN_SHRINK_CAPACITY.max(4 * self.entries.len()) {
            self.entries.shrink_to_fit();
            self.owners.shrink_to_fit();
        }
    }

    fn detach_from_owner(&mut self, entry: &ExpiringEntry<V>) {
        let Some(owner) = entry.owner else { return };
        if let Some(owned) = self.owners.get_mut(&owner) {
            owned.order.remove(&entry.turn);
            owned.weight -= entry.weight;
            if owned.order.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::StoreKey;

    #[test]
    fn capacity_of_expired_entries_is_released() {
        let now = Instant::now();
        let mut entries = ExpiringMap::default();
        for number in 0..10_000 {
            entries.insert(
                &number.to_string(),
                None,
                (),
                0,
                now + Duration::from_secs(number),
            );
        }
        entries.remove_expired_and_shrink(now + Duration::from_secs(9_000));
        assert_eq!(entries.len(), 999);
        assert!(
            entries.entries.capacity() < 4_000,
            "{}",
            entries.entries.capacity()
        );
    }

    #[test]
    fn refreshed_entry_expires_later_and_is_counted_once() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let owner = StoreKey::new("session", &["a"]).owned_by("somebody").owner;
        let mut entries = ExpiringMap::default();
        entries.insert("early", None, "one", 3, at(10));
        entries.insert("late", owner, "two", 5, at(20));
        // The first entry gets an owner; the second keeps its own.
        assert_eq!(entries.refresh("early", owner, at(30), now), Some(&"one"));
        assert_eq!(entries.refresh("late", None, at(25), now), Some(&"two"));
        assert_eq!(entries.owner_usage(owner.unwrap()), (2, 8));
        assert_eq!(entries.get("late", at(24)), Some(&"two"));
        assert_eq!(entries.get("late", at(25)), None);
        assert_eq!(entries.owner_usage(owner.unwrap()), (1, 3));
        assert_eq!(entries.get("early", at(29)), Some(&"one"));
        assert_eq!(entries.refresh("early", owner, at(40), at(30)), None);
        assert_eq!((entries.len(), entries.weight()), (0, 0));
    }
}
