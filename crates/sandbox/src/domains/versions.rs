//! Versions of configs, prompts and partials.
//!
//! The versions of an item have their own collection, are numbered from 1 and never removed. If
//! versions must be published, the item's field [`DEFAULT`] has the number of the published one.

use serde_json::Value;

use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done},
    field::{Field, Kind},
    refusal::Refusal,
    resource::Resource,
    store::{Item, ORGANISATION, Shelf, Store, text},
};

/// Private field with the number of the published version.
pub(super) const DEFAULT: &str = "default_version";

/// Field with the number of a version.
pub(super) const NUMBER: &str = "version";

/// Adds a version with this content and returns its id.
pub(super) fn append(store: &mut Store, shelf: Shelf<'_>, mut content: Item) -> String {
    let number = store.count(shelf) + 1;
    let id = store.next_id();
    content.insert("id".to_owned(), id.clone().into());
    content.insert(NUMBER.to_owned(), number.into());
    content.insert("status".to_owned(), "active".into());
    content.insert("created_at".to_owned(), store.clock.now().into());
    store.insert(shelf, content);
    id
}

/// Returns the newest version.
pub(super) fn latest<'s>(store: &'s Store, shelf: Shelf<'_>) -> Option<&'s Item> {
    store.all(shelf).last()
}

/// Returns all versions, newest first.
pub(super) fn newest_first<'s>(store: &'s Store, shelf: Shelf<'_>) -> Vec<&'s Item> {
    let mut versions: Vec<&Item> = store.all(shelf).collect();
    versions.reverse();
    versions
}

/// Returns the requested version of an item: `latest`, a number, or the published one.
pub(super) fn find<'s>(
    store: &'s Store,
    shelf: Shelf<'_>,
    item: &Item,
    asked: Option<&str>,
) -> Result<&'s Item, Refusal> {
    let found = match asked {
        Some("latest") => latest(store, shelf),
        None | Some("default") => {
            let published = item.get(DEFAULT).and_then(Value::as_u64);
            published.and_then(|number| numbered(store, shelf, number))
        }
        Some(number) => {
            let wrong = || Refusal::field("version", "must be latest, default or a number");
            numbered(store, shelf, number.parse().map_err(|_| wrong())?)
        }
    };
    let handle = || asked.unwrap_or("default").to_owned();
    found.ok_or_else(|| Refusal::Missing {
        object: "version",
        handle: handle(),
    })
}

fn numbered<'s>(store: &'s Store, shelf: Shelf<'_>, number: u64) -> Option<&'s Item> {
    store
        .all(shelf)
        .find(|version| version.get(NUMBER).and_then(Value::as_u64) == Some(number))
}

/// Publishes the version whose number the call provides.
pub(super) fn publish(
    resource: &Resource,
    kind: &'static str,
    store: &mut Store,
    call: &Call,
) -> Outcome {
    const WHICH: &[Field] = &[Field::new(NUMBER, Kind::Whole(1, i64::MAX)).required()];
    let id = id_of(resource.find(store, ORGANISATION, call.handle())?);
    let given = check::body(store, WHICH, &call.body, Occasion::Create)?;
    let number = given
        .get(NUMBER)
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if numbered(store, Shelf { kind, owner: &id }, number).is_none() {
        return Err(Refusal::Missing {
            object: "version",
            handle: number.to_string(),
        });
    }
    let now = store.clock.now();
    if let Some(item) = store.find_mut(resource.shared(), &id) {
        item.insert(DEFAULT.to_owned(), number.into());
        item.insert("last_updated_at".to_owned(), now.into());
    }
    Ok(done())
}

/// Creates and publishes the first version of a new item from the given fields.
pub(super) fn begin(
    store: &mut Store,
    items: Shelf<'_>,
    kind: &'static str,
    id: &str,
    fields: &[&str],
) {
    let Some(item) = store.find_mut(items, id) else {
        return;
    };
    item.insert(DEFAULT.to_owned(), 1.into());
    let content = take(item, fields);
    append(store, Shelf { kind, owner: id }, content);
}

/// Removes the fields of a version from an item or a change, and returns them.
pub(super) fn take(item: &mut Item, fields: &[&str]) -> Item {
    let taken = fields
        .iter()
        .filter_map(|&name| Some((name.to_owned(), item.remove(name)?)));
    taken.collect()
}

/// Returns the id of a version, or `null` if there is none.
pub(super) fn id_or_null(version: Option<&Item>) -> Value {
    version.map(|version| text(version, "id")).into()
}
