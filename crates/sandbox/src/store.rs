//! State of the sandbox: items in collections, a clock, and a counter for ids.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::{api_error::ApiError, clock::Clock, domains::analytics::traffic::Traffic};

/// Maximum number of items of all kinds.
const MAX_ITEMS: usize = 50_000;
/// Maximum number of records: logs, feedback and audit entries.
const MAX_RECORDS: usize = 100_000;
/// Approximate memory limit for all of them, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Maximum number of remembered ids and slugs of removed items. The oldest are then treated as
/// unknown.
const MAX_REMOVED: usize = 10_000;

/// A stored item, with the secrets and private fields that responses omit.
pub(crate) type Item = Map<String, Value>;

/// Returns the text in a field of an item; empty if there is none.
pub(crate) fn text<'a>(item: &'a Item, field: &str) -> &'a str {
    item.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Returns true if a field of an item is `true`.
pub(crate) fn flag(item: &Item, field: &str) -> bool {
    item.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// Key of a collection: the kind of its items and their owner. The owner is an item's id,
/// [`ORGANISATION`] or [`HISTORY`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectionKey<'a> {
    /// Kind of the items.
    pub(crate) kind: &'static str,
    /// Id of the owner.
    pub(crate) owner: &'a str,
}

/// Id of the only organisation in a sandbox.
pub(crate) const ORGANISATION: &str = "0a5d0000-0000-4000-8000-000000000000";

/// Owner of records: logs, feedback and audit entries, which outlive the items they refer to.
pub(crate) const HISTORY: &str = "history";

/// Fields that serve as handles.
const HANDLES: [&str; 2] = ["id", "slug"];

/// State of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Store {
    collections: HashMap<&'static str, HashMap<String, ItemCollection>>,
    /// Clock of the sandbox.
    pub(crate) clock: Clock,
    /// Traffic through the gateway.
    pub(crate) traffic: Traffic,
    /// True while the organisation is seeded; its items get readable slugs.
    pub(crate) is_seeding: bool,
    /// Kinds, ids and slugs of removed items.
    removed: HashSet<(&'static str, String)>,
    /// Entries of `removed` in the order of removal.
    removal_order: VecDeque<(&'static str, String)>,
    usage: StoreUsage,
    /// Items that may have changed since their size was measured.
    changed: Vec<(&'static str, String, u64)>,
    id_count: u64,
    insert_count: u64,
    suffix_count: u64,
}

/// Size of a store.
#[derive(Debug, Default)]
struct StoreUsage {
    items: usize,
    records: usize,
    bytes: usize,
}

impl StoreUsage {
    fn add(&mut self, owner: &str, bytes: usize) {
        *self.count(owner) += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, owner: &str, bytes: usize) {
        let count = self.count(owner);
        *count = count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn count(&mut self, owner: &str) -> &mut usize {
        if owner == HISTORY {
            &mut self.records
        } else {
            &mut self.items
        }
    }
}

/// Items of one collection in order of creation, with an index by id and slug.
#[derive(Debug, Default)]
struct ItemCollection {
    by_age: BTreeMap<u64, StoredItem>,
    handles: HashMap<String, u64>,
}

/// An item and its last measured size in memory.
#[derive(Debug)]
struct StoredItem {
    item: Item,
    bytes: usize,
}

impl ItemCollection {
    /// Removes and returns the items that match.
    fn extract(&mut self, picked: impl Fn(&Item) -> bool) -> Vec<StoredItem> {
        let picked = self.by_age.extract_if(.., |_, stored| picked(&stored.item));
        let taken: Vec<StoredItem> = picked.map(|(_, stored)| stored).collect();
        for handle in taken
            .iter()
            .flat_map(|it| HANDLES.map(|field| text(&it.item, field)))
        {
            self.handles.remove(handle);
        }
        taken
    }
}

impl Store {
    /// Returns a new id in the form of a UUID.
    pub(crate) fn next_id(&mut self) -> String {
        self.id_count += 1;
        // Multiplication by an odd constant is a bijection: ids look random and never repeat.
        let mixed = self.id_count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{:08x}-{:04x}-4000-8000-{:012x}",
            mixed >> 32,
            (mixed >> 16) & 0xffff,
            self.id_count
        )
    }

    /// Returns six hex digits for the end of a slug. They depend on the clock, so that a slug
    /// cannot be guessed from a name. They depend on nothing else that varies, so that a pinned
    /// clock repeats them.
    pub(crate) fn next_suffix(&mut self) -> String {
        self.suffix_count += 1;
        let mut z = (self.clock.unix_seconds() ^ self.suffix_count.rotate_left(40))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:06x}", z >> 40)
    }

    /// Remembers that an item was removed.
    pub(crate) fn remember_removed(&mut self, kind: &'static str, item: &Item) {
        for handle in HANDLES
            .map(|field| text(item, field))
            .into_iter()
            .filter(|h| !h.is_empty())
        {
            let removed = (kind, handle.to_owned());
            if self.removed.insert(removed.clone()) {
                self.removal_order.push_back(removed);
            }
        }
        while self.removal_order.len() > MAX_REMOVED
            && let Some(oldest) = self.removal_order.pop_front()
        {
            self.removed.remove(&oldest);
        }
    }

    /// Checks that a write of so many bytes fits the limits. Writes that remove something are
    /// allowed until the records are full, and up to an eighth above the memory limit.
    pub(crate) fn check_limits(&self, removes: bool, brings: usize) -> Result<(), ApiError> {
        let StoreUsage {
            items,
            records,
            bytes,
        } = self.usage;
        let bound = if records >= MAX_RECORDS {
            format!("{MAX_RECORDS} records of what has happened; start it anew")
        } else if removes && bytes < MAX_BYTES + MAX_BYTES / 8 {
            return Ok(());
        } else if items >= MAX_ITEMS {
            format!("{MAX_ITEMS} items; delete some, or start it anew")
        } else if bytes.saturating_add(brings) > MAX_BYTES {
            format!(
                "{} MiB; delete something, or start it anew",
                MAX_BYTES >> 20
            )
        } else {
            return Ok(());
        };
        Err(ApiError::Conflict(format!(
            "This is a limit of the sandbox, which holds at most {bound}"
        )))
    }

    /// Measures the sizes of changed items again.
    pub(crate) fn update_usage(&mut self) {
        for (kind, owner, number) in std::mem::take(&mut self.changed) {
            let shelf = CollectionKey {
                kind,
                owner: &owner,
            };
            let Some(items) = self.items_mut(shelf) else {
                continue;
            };
            let Some(stored) = items.by_age.get_mut(&number) else {
                continue;
            };
            let before = stored.bytes;
            let now = estimate_fields_bytes(&stored.item);
            stored.bytes = now;
            self.usage.bytes = self.usage.bytes.saturating_sub(before) + now;
        }
    }

    /// Returns true if a removed item of this kind had this id or slug.
    pub(crate) fn was_removed(&self, kind: &'static str, handle: &str) -> bool {
        self.removed.contains(&(kind, handle.to_owned()))
    }

    /// Inserts an item into a collection, indexed by its `id` and its `slug`.
    pub(crate) fn insert(&mut self, shelf: CollectionKey<'_>, item: Item) {
        self.insert_count += 1;
        let items = self
            .collections
            .entry(shelf.kind)
            .or_default()
            .entry(shelf.owner.to_owned())
            .or_default();
        for field in HANDLES {
            if let Some(Value::String(handle)) = item.get(field) {
                items.handles.insert(handle.clone(), self.insert_count);
            }
        }
        let bytes = estimate_fields_bytes(&item);
        items
            .by_age
            .insert(self.insert_count, StoredItem { item, bytes });
        self.usage.add(shelf.owner, bytes);
    }

    /// Returns the item with this id or slug.
    pub(crate) fn find(&self, shelf: CollectionKey<'_>, handle: &str) -> Option<&Item> {
        let items = self.items(shelf)?;
        Some(&items.by_age.get(items.handles.get(handle)?)?.item)
    }

    /// Returns the item with this id or slug for changes. Its `id` and `slug` must not change.
    pub(crate) fn find_mut(&mut self, shelf: CollectionKey<'_>, handle: &str) -> Option<&mut Item> {
        let number = *self.items(shelf)?.handles.get(handle)?;
        self.changed
            .push((shelf.kind, shelf.owner.to_owned(), number));
        Some(&mut self.items_mut(shelf)?.by_age.get_mut(&number)?.item)
    }

    /// Returns the items of a collection, oldest first.
    pub(crate) fn all(&self, shelf: CollectionKey<'_>) -> impl Iterator<Item = &Item> {
        self.items(shelf)
            .into_iter()
            .flat_map(|items| items.by_age.values().map(|it| &it.item))
    }

    /// Returns the items of a kind with any owner, oldest first.
    pub(crate) fn all_of_kind(&self, kind: &str) -> Vec<&Item> {
        let owners = self
            .collections
            .get(kind)
            .into_iter()
            .flat_map(HashMap::values);
        let items: BTreeMap<_, _> = owners.flat_map(|items| &items.by_age).collect();
        items.into_values().map(|stored| &stored.item).collect()
    }

    /// Counts the items of a collection.
    pub(crate) fn count(&self, shelf: CollectionKey<'_>) -> usize {
        self.items(shelf).map_or(0, |items| items.by_age.len())
    }

    /// Removes the item with this id or slug.
    pub(crate) fn remove(&mut self, shelf: CollectionKey<'_>, handle: &str) -> Option<Item> {
        let items = self.items_mut(shelf)?;
        let StoredItem { item, bytes } = items.by_age.remove(items.handles.get(handle)?)?;
        for field in HANDLES {
            items.handles.remove(text(&item, field));
        }
        self.usage.remove(shelf.owner, bytes);
        Some(item)
    }

    /// Removes all items of a collection.
    pub(crate) fn clear(&mut self, shelf: CollectionKey<'_>) {
        let cleared = self
            .collections
            .get_mut(shelf.kind)
            .and_then(|all| all.remove(shelf.owner));
        for stored in cleared.iter().flat_map(|items| items.by_age.values()) {
            self.usage.remove(shelf.owner, stored.bytes);
        }
    }

    /// Returns the kinds with an item that matches. Records are ignored.
    pub(crate) fn kinds_with(&self, asked: impl Fn(&Item) -> bool) -> Vec<&'static str> {
        let has_some = |owners: &HashMap<String, ItemCollection>| {
            let mut present = owners.iter().filter(|(owner, _)| *owner != HISTORY);
            present.any(|(_, items)| items.by_age.values().any(|it| asked(&it.item)))
        };
        let kinds = self
            .collections
            .iter()
            .filter(|(_, owners)| has_some(owners));
        kinds.map(|(kind, _)| *kind).collect()
    }

    /// Removes all collections of an owner, and the matching items of all others except records.
    /// Returns the matching items with their kinds.
    pub(crate) fn remove_matching(
        &mut self,
        owner: &str,
        picked: impl Fn(&Item) -> bool,
    ) -> Vec<(&'static str, Item)> {
        let mut taken = Vec::new();
        for (kind, owners) in &mut self.collections {
            let cleared = owners.remove(owner);
            for stored in cleared.iter().flat_map(|items| items.by_age.values()) {
                self.usage.remove(owner, stored.bytes);
            }
            let present = owners.iter_mut().filter(|(owner, _)| *owner != HISTORY);
            for StoredItem { item, bytes } in present.flat_map(|(_, items)| items.extract(&picked))
            {
                self.usage.remove(ORGANISATION, bytes);
                taken.push((*kind, item));
            }
        }
        taken
    }

    /// Returns all items except records for changes. Their `id` and `slug` must not change.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        let shelves = self.collections.values_mut().flatten();
        let present = shelves.filter(|(owner, _)| *owner != HISTORY);
        present.flat_map(|(_, items)| items.by_age.values_mut().map(|stored| &mut stored.item))
    }

    fn items(&self, shelf: CollectionKey<'_>) -> Option<&ItemCollection> {
        self.collections.get(shelf.kind)?.get(shelf.owner)
    }

    fn items_mut(&mut self, shelf: CollectionKey<'_>) -> Option<&mut ItemCollection> {
        self.collections.get_mut(shelf.kind)?.get_mut(shelf.owner)
    }
}

/// Estimates the memory of fields in bytes.
pub(crate) fn estimate_fields_bytes(fields: &Item) -> usize {
    /// Size of a name and a value in their map.
    const ENTRY: usize = 128;
    fields
        .iter()
        .map(|(name, value)| ENTRY + name.len() + estimate_value_bytes(value))
        .sum()
}

/// Estimates the memory that a value takes beside its own place in its container.
pub(crate) fn estimate_value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items
            .iter()
            .map(|item| size_of::<Value>() + estimate_value_bytes(item))
            .sum(),
        Value::Object(fields) => estimate_fields_bytes(fields),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LABELS: CollectionKey<'static> = CollectionKey {
        kind: "labels",
        owner: ORGANISATION,
    };

    fn item(id: &str, text: &str) -> Item {
        json!({ "id": id, "slug": id, "text": text })
            .as_object()
            .unwrap()
            .clone()
    }

    fn error_message(outcome: Result<(), ApiError>) -> Option<String> {
        outcome.err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn full_store_rejects_new_items_and_allows_removals() {
        let mut store = Store::default();
        for number in 0..MAX_ITEMS {
            assert_eq!(error_message(store.check_limits(false, 0)), None);
            store.insert(LABELS, item(&number.to_string(), ""));
        }
        let limit = format!(
            "This is a limit of the sandbox, which holds at most {MAX_ITEMS} items; delete some, or start it anew"
        );
        assert_eq!(error_message(store.check_limits(false, 0)), Some(limit));
        assert_eq!(error_message(store.check_limits(true, 0)), None);
        store.remove(LABELS, "7").unwrap();
        assert_eq!(error_message(store.check_limits(false, 0)), None);
    }

    #[test]
    fn full_history_rejects_all_writes() {
        let mut store = Store::default();
        let shelf = CollectionKey {
            kind: "audit-logs",
            owner: HISTORY,
        };
        for _ in 0..MAX_RECORDS {
            store.insert(shelf, Item::new());
        }
        for removes in [false, true] {
            let message = error_message(store.check_limits(removes, 0)).unwrap();
            let limit = format!("{MAX_RECORDS} records of what has happened; start it anew");
            assert!(message.ends_with(&limit), "{message}");
        }
    }

    #[test]
    fn bytes_are_counted_after_changes_and_removals() {
        let mut store = Store::default();
        let fresh = store.usage.bytes;
        for id in ["a", "b", "c", "d"] {
            store.insert(LABELS, item(id, "x"));
        }
        let change = item("b", &"x".repeat(MAX_BYTES));
        assert!(
            error_message(store.check_limits(false, estimate_fields_bytes(&change)))
                .unwrap()
                .contains("64 MiB")
        );
        store.find_mut(LABELS, "b").unwrap().extend(change);
        store.update_usage();
        assert!(
            error_message(store.check_limits(false, 0))
                .unwrap()
                .contains("64 MiB")
        );
        assert_eq!(error_message(store.check_limits(true, 0)), None);
        store
            .find_mut(LABELS, "b")
            .unwrap()
            .insert("text".to_owned(), "y".into());
        store.update_usage();
        assert_eq!(error_message(store.check_limits(false, 0)), None);
        store.remove(LABELS, "a").unwrap();
        store.remove_matching("nobody", |item| text(item, "id") == "b");
        store.clear(LABELS);
        assert_eq!((store.usage.bytes, store.usage.items), (fresh, 0));
    }

    #[test]
    fn oldest_removed_items_are_forgotten() {
        let mut store = Store::default();
        for number in 0..MAX_REMOVED {
            store.remember_removed("labels", &item(&number.to_string(), ""));
        }
        assert!(store.was_removed("labels", "0"));
        store.remember_removed("labels", &item("one more", ""));
        assert!(!store.was_removed("labels", "0") && store.was_removed("labels", "one more"));
        assert_eq!(store.removed.len(), MAX_REMOVED);
    }
}
