//! What the sandbox remembers: items on shelves, a clock, and a counter that names things.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::{clock::Clock, domains::analytics::traffic::Traffic};

/// One stored thing, with the secrets and private fields that reads leave out.
pub(crate) type Item = Map<String, Value>;

/// The text in a field of an item; empty when there is none.
pub(crate) fn text<'a>(item: &'a Item, field: &str) -> &'a str {
    item.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a field of an item is `true`.
pub(crate) fn flag(item: &Item, field: &str) -> bool {
    item.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// Where items stand: a kind of thing, and whose they are. The owner is an item's id,
/// [`ORGANISATION`] or [`HISTORY`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf<'a> {
    /// The kind of thing.
    pub(crate) kind: &'static str,
    /// Id of the item they belong to.
    pub(crate) owner: &'a str,
}

/// Id of the one organisation in a sandbox.
pub(crate) const ORGANISATION: &str = "0a5d0000-0000-4000-8000-000000000000";

/// Owner of what has happened: logs, feedback and audit entries, which outlive what they are about.
pub(crate) const HISTORY: &str = "history";

/// The fields an item can be found by.
const HANDLES: [&str; 2] = ["id", "slug"];

/// Everything a sandbox knows.
#[derive(Debug, Default)]
pub(crate) struct Store {
    shelves: HashMap<&'static str, HashMap<String, Items>>,
    /// Time in the sandbox.
    pub(crate) clock: Clock,
    /// What has passed the gateway.
    pub(crate) traffic: Traffic,
    /// True while the organisation is set up, whose items get readable slugs.
    pub(crate) is_seeding: bool,
    /// The kinds, ids and slugs of removed items.
    removed: HashSet<(&'static str, String)>,
    named: u64,
    placed: u64,
    suffixed: u64,
}

/// The items of one shelf in order of creation, and the ids and slugs that find them.
#[derive(Debug, Default)]
struct Items {
    by_age: BTreeMap<u64, Item>,
    handles: HashMap<String, u64>,
}

impl Items {
    /// Takes out the items that are picked.
    fn take(&mut self, picked: impl Fn(&Item) -> bool) -> Vec<Item> {
        let taken: Vec<Item> =
            self.by_age.extract_if(.., |_, item| picked(item)).map(|(_, item)| item).collect();
        for handle in taken.iter().flat_map(|item| HANDLES.map(|field| text(item, field))) {
            self.handles.remove(handle);
        }
        taken
    }
}

impl Store {
    /// A fresh id in the shape of a UUID.
    pub(crate) fn next_id(&mut self) -> String {
        self.named += 1;
        // Multiplying by an odd constant reaches every value once: ids look random, never repeat.
        let mixed = self.named.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{:08x}-{:04x}-4000-8000-{:012x}", mixed >> 32, (mixed >> 16) & 0xffff, self.named)
    }

    /// Six hex digits to end a slug with. They depend on the clock, so that a slug cannot be guessed
    /// from a name, and on nothing else that varies, so that a pinned clock repeats them.
    pub(crate) fn next_suffix(&mut self) -> String {
        self.suffixed += 1;
        let mut z =
            (self.clock.unix() ^ self.suffixed.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:06x}", z >> 40)
    }

    /// Remembers that an item was removed.
    pub(crate) fn remember_removed(&mut self, kind: &'static str, item: &Item) {
        for handle in HANDLES.map(|field| text(item, field)).into_iter().filter(|h| !h.is_empty()) {
            self.removed.insert((kind, handle.to_owned()));
        }
    }

    /// Returns whether a removed item of this kind had this id or slug.
    pub(crate) fn was_removed(&self, kind: &'static str, handle: &str) -> bool {
        self.removed.contains(&(kind, handle.to_owned()))
    }

    /// Puts an item on a shelf, to be found by its `id` and its `slug`.
    pub(crate) fn insert(&mut self, shelf: Shelf<'_>, item: Item) {
        self.placed += 1;
        let items =
            self.shelves.entry(shelf.kind).or_default().entry(shelf.owner.to_owned()).or_default();
        for field in HANDLES {
            if let Some(Value::String(handle)) = item.get(field) {
                items.handles.insert(handle.clone(), self.placed);
            }
        }
        items.by_age.insert(self.placed, item);
    }

    /// The item with this id or slug.
    pub(crate) fn find(&self, shelf: Shelf<'_>, handle: &str) -> Option<&Item> {
        let items = self.items(shelf)?;
        items.by_age.get(items.handles.get(handle)?)
    }

    /// The item with this id or slug, to be changed (all but its `id` and `slug`).
    pub(crate) fn find_mut(&mut self, shelf: Shelf<'_>, handle: &str) -> Option<&mut Item> {
        let items = self.items_mut(shelf)?;
        items.by_age.get_mut(items.handles.get(handle)?)
    }

    /// The items of a shelf, oldest first.
    pub(crate) fn all(&self, shelf: Shelf<'_>) -> impl Iterator<Item = &Item> {
        self.items(shelf).into_iter().flat_map(|items| items.by_age.values())
    }

    /// The items of a kind, whose ever they are, oldest first.
    pub(crate) fn all_of(&self, kind: &str) -> Vec<&Item> {
        let owners = self.shelves.get(kind).into_iter().flat_map(HashMap::values);
        let items: BTreeMap<_, _> = owners.flat_map(|items| &items.by_age).collect();
        items.into_values().collect()
    }

    /// How many items a shelf has.
    pub(crate) fn count(&self, shelf: Shelf<'_>) -> usize {
        self.items(shelf).map_or(0, |items| items.by_age.len())
    }

    /// Takes the item with this id or slug off its shelf.
    pub(crate) fn remove(&mut self, shelf: Shelf<'_>, handle: &str) -> Option<Item> {
        let items = self.items_mut(shelf)?;
        let item = items.by_age.remove(items.handles.get(handle)?)?;
        for field in HANDLES {
            items.handles.remove(text(&item, field));
        }
        Some(item)
    }

    /// Clears a shelf.
    pub(crate) fn clear(&mut self, shelf: Shelf<'_>) {
        if let Some(owners) = self.shelves.get_mut(shelf.kind) {
            owners.remove(shelf.owner);
        }
    }

    /// The kinds of thing of which some item is as asked; history does not count.
    pub(crate) fn kinds_with(&self, asked: impl Fn(&Item) -> bool) -> Vec<&'static str> {
        let has_some = |owners: &HashMap<String, Items>| {
            let mut present = owners.iter().filter(|(owner, _)| *owner != HISTORY);
            present.any(|(_, items)| items.by_age.values().any(&asked))
        };
        let kinds = self.shelves.iter().filter(|(_, owners)| has_some(owners));
        kinds.map(|(kind, _)| *kind).collect()
    }

    /// Clears every shelf of an owner, and takes what is picked off all others but history. Returns
    /// what was picked, each with its kind.
    pub(crate) fn sweep(
        &mut self,
        owner: &str,
        picked: impl Fn(&Item) -> bool,
    ) -> Vec<(&'static str, Item)> {
        let mut taken = Vec::new();
        for (kind, owners) in &mut self.shelves {
            owners.remove(owner);
            let present = owners.iter_mut().filter(|(owner, _)| *owner != HISTORY);
            for item in present.flat_map(|(_, items)| items.take(&picked)) {
                taken.push((*kind, item));
            }
        }
        taken
    }

    /// Every item, to be changed (all but its `id` and `slug`), but for history.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        let shelves = self.shelves.values_mut().flatten();
        let present = shelves.filter(|(owner, _)| *owner != HISTORY);
        present.flat_map(|(_, items)| items.by_age.values_mut())
    }

    fn items(&self, shelf: Shelf<'_>) -> Option<&Items> {
        self.shelves.get(shelf.kind)?.get(shelf.owner)
    }

    fn items_mut(&mut self, shelf: Shelf<'_>) -> Option<&mut Items> {
        self.shelves.get_mut(shelf.kind)?.get_mut(shelf.owner)
    }
}
