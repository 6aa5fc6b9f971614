//! A bounded map whose entries expire.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::Owner;

/// What expires first, and among those what came first.
type Turn = (Instant, u64);

/// A map whose entries expire. Unlike a cache it never lets go of one that has not, so that who must not
/// forget can refuse instead.
pub(super) struct Expiring<V> {
    entries: HashMap<Arc<str>, Entry<V>>,
    order: BTreeMap<Turn, Arc<str>>,
    owners: HashMap<Owner, Owned>,
    inserted: u64,
    weight: usize,
}

struct Entry<V> {
    value: V,
    owner: Option<Owner>,
    weight: usize,
    turn: Turn,
}

/// The entries of one owner.
#[derive(Default)]
struct Owned {
    order: BTreeSet<Turn>,
    weight: usize,
}

impl<V> Default for Expiring<V> {
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

impl<V> Expiring<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sum of what the entries weigh.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// How many entries an owner has, and what they weigh.
    pub(super) fn of_owner(&self, owner: Owner) -> (usize, usize) {
        self.owners.get(&owner).map_or((0, 0), |owned| (owned.order.len(), owned.weight))
    }

    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<&V> {
        self.forget_expired(now);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// For changing it; it expires as before.
    pub(super) fn get_mut(&mut self, key: &str, now: Instant) -> Option<&mut V> {
        self.forget_expired(now);
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Puts it in, in the place of an earlier entry, whose owner stays where it has none.
    pub(super) fn insert(
        &mut self,
        key: &str,
        owner: Option<Owner>,
        value: V,
        weight: usize,
        expires: Instant,
    ) {
        let before = self.take_out(key);
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
        self.entries.insert(key, Entry { value, owner, weight, turn });
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.take_out(key);
    }

    fn take_out(&mut self, key: &str) -> Option<Entry<V>> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.turn);
        self.weight -= entry.weight;
        self.disown(&entry);
        Some(entry)
    }

    /// Lets go of the entry that would expire first.
    pub(super) fn remove_first(&mut self) {
        if let Some((_, key)) = self.order.pop_first()
            && let Some(entry) = self.entries.remove(&key)
        {
            self.weight -= entry.weight;
            self.disown(&entry);
        }
    }

    /// Lets go of the entry of an owner that would expire first.
    pub(super) fn remove_first_of(&mut self, owner: Owner) {
        let first = self.owners.get(&owner).and_then(|owned| owned.order.first());
        if let Some(key) = first.and_then(|turn| self.order.get(turn)).cloned() {
            self.remove(&key);
        }
    }

    /// Lets go of what has expired.
    pub(super) fn forget_expired(&mut self, now: Instant) {
        while self.order.first_key_value().is_some_and(|((expires, _), _)| *expires <= now) {
            self.remove_first();
        }
    }

    fn disown(&mut self, entry: &Entry<V>) {
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
