//! Versions: what configs, prompts and partials keep of every change.
//!
//! An item's versions stand on a shelf of their own, numbered from 1 and never taken away.

use serde_json::Value;

use crate::sandbox::store::{Item, Shelf, Store, text};

/// A version's number among its item's.
const NUMBER: &str = "version";

/// Adds a version with this content and returns its number and id.
pub(super) fn append(store: &mut Store, shelf: Shelf<'_>, mut content: Item) -> (u64, String) {
    let number = store.count(shelf) as u64 + 1;
    let id = store.next_id();
    content.insert("id".to_owned(), id.clone().into());
    content.insert(NUMBER.to_owned(), number.into());
    content.insert("status".to_owned(), "active".into());
    content.insert("created_at".to_owned(), store.clock.now().into());
    store.insert(shelf, content);
    (number, id)
}

/// The newest version.
pub(super) fn latest<'s>(store: &'s Store, shelf: Shelf<'_>) -> Option<&'s Item> {
    store.all(shelf).last()
}

/// All versions, newest first.
pub(super) fn newest_first<'s>(store: &'s Store, shelf: Shelf<'_>) -> Vec<&'s Item> {
    let mut versions: Vec<&Item> = store.all(shelf).collect();
    versions.reverse();
    versions
}

/// The id of a version, or `null` where there is none.
pub(super) fn id_or_null(version: Option<&Item>) -> Value {
    version.map(|version| text(version, "id")).into()
}
