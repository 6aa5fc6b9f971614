//! Versions of configs, prompts and partials.
//!
//! The versions of an item have their own collection, are numbered from 1 and never removed. If
//! versions must be published, the item's field [`DEFAULT_VERSION_FIELD`] has the number of the
//! published one.

use serde_json::Value;

use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object},
    field::{Field, FieldType},
    resource::Resource,
    store::{CollectionKey, Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

/// Private field with the number of the published version.
pub(super) const DEFAULT_VERSION_FIELD: &str = "default_version";

/// Field with the number of a version.
pub(super) const NUMBER_FIELD: &str = "version";

/// Adds a version with this content and returns its id.
pub(super) fn append(store: &mut Store, shelf: CollectionKey<'_>, mut content: Item) -> String {
    let number = store.count(shelf) + 1;
    let id = store.next_id();
    content.insert("id".to_owned(), id.clone().into());
    content.insert(NUMBER_FIELD.to_owned(), number.into());
    content.insert("status".to_owned(), "active".into());
    content.insert("created_at".to_owned(), store.clock.now().into());
    store.insert(shelf, content);
    id
}

/// Returns the newest version.
pub(super) fn latest<'s>(store: &'s Store, shelf: CollectionKey<'_>) -> Option<&'s Item> {
    store.all(shelf).last()
}

/// Returns all versions, newest first.
pub(super) fn newest_first<'s>(store: &'s Store, shelf: CollectionKey<'_>) -> Vec<&'s Item> {
    let mut versions: Vec<&Item> = store.all(shelf).collect();
    versions.reverse();
    versions
}

/// Returns the requested version of an item: `latest`, a number, or the published one.
pub(super) fn find<'s>(
    store: &'s Store,
    shelf: CollectionKey<'_>,
    item: &Item,
    asked: Option<&str>,
) -> Result<&'s Item, ApiError> {
    let found = match asked {
        Some("latest") => latest(store, shelf),
        None | Some("default") => {
            let published = item.get(DEFAULT_VERSION_FIELD).and_then(Value::as_u64);
            published.and_then(|number| find_by_number(store, shelf, number))
        }
        Some(number) => {
            let wrong =
                || ApiError::invalid_field("version", "must be latest, default or a number");
            find_by_number(store, shelf, number.parse().map_err(|_| wrong())?)
        }
    };
    let handle = || asked.unwrap_or("default").to_owned();
    found.ok_or_else(|| ApiError::NotFound {
        object: "version",
        handle: handle(),
    })
}

fn find_by_number<'s>(store: &'s Store, shelf: CollectionKey<'_>, number: u64) -> Option<&'s Item> {
    store
        .all(shelf)
        .find(|version| version.get(NUMBER_FIELD).and_then(Value::as_u64) == Some(number))
}

/// Publishes the version whose number the call provides.
pub(super) fn publish(
    resource: &Resource,
    kind: &'static str,
    store: &mut Store,
    call: &ApiCall,
) -> ApiResult {
    const WHICH: &[Field] = &[Field::new(NUMBER_FIELD, FieldType::Integer(1, i64::MAX)).required()];
    let id = item_id(resource.find(store, ORGANISATION, call.handle())?);
    let given = validation::validate_body(store, WHICH, &call.body, WriteKind::Create)?;
    let number = given
        .get(NUMBER_FIELD)
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if find_by_number(store, CollectionKey { kind, owner: &id }, number).is_none() {
        return Err(ApiError::NotFound {
            object: "version",
            handle: number.to_string(),
        });
    }
    let now = store.clock.now();
    if let Some(item) = store.find_mut(resource.organisation_collection(), &id) {
        item.insert(DEFAULT_VERSION_FIELD.to_owned(), number.into());
        item.insert("last_updated_at".to_owned(), now.into());
    }
    Ok(empty_object())
}

/// Creates and publishes the first version of a new item from the given fields.
pub(super) fn create_first(
    store: &mut Store,
    items: CollectionKey<'_>,
    kind: &'static str,
    id: &str,
    fields: &[&str],
) {
    let Some(item) = store.find_mut(items, id) else {
        return;
    };
    item.insert(DEFAULT_VERSION_FIELD.to_owned(), 1.into());
    let content = take_fields(item, fields);
    append(store, CollectionKey { kind, owner: id }, content);
}

/// Removes the fields of a version from an item or a change, and returns them.
pub(super) fn take_fields(item: &mut Item, fields: &[&str]) -> Item {
    let taken = fields
        .iter()
        .filter_map(|&name| Some((name.to_owned(), item.remove(name)?)));
    taken.collect()
}

/// Returns the id of a version, or `null` if there is none.
pub(super) fn id_or_null(version: Option<&Item>) -> Value {
    version.map(|version| text(version, "id")).into()
}
