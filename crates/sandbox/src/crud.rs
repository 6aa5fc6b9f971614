//! The five standard actions, for any resource.

use serde_json::Value;

use super::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    cascade,
    mask::{mask, mask_object, mask_settings},
    resource::{ListFilter, PendingWrite, Resource, ResourceOwner},
    store::{Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

/// Result of an action.
pub(crate) type ApiResult = Result<Value, ApiError>;

/// Returns `{}`, the body of writes that return no data.
pub(crate) fn empty_object() -> Value {
    Value::Object(Item::new())
}

/// Returns fields of an item in order, with `null` for absent ones. Unlike [`show`] it masks
/// nothing, so it is only for items without secrets.
pub(crate) fn pick(item: &Item, fields: &[&str]) -> Value {
    let picked = fields
        .iter()
        .map(|&name| (name.to_owned(), item.get(name).cloned().unwrap_or_default()));
    Value::Object(picked.collect())
}

/// Returns one page of the items that match the filters.
pub(crate) fn list(resource: &Resource, store: &Store, call: &ApiCall) -> ApiResult {
    let items: Vec<&Item> = match (resource.owner, call.requested_workspace_id(store)?) {
        (ResourceOwner::Organisation, _) => store.all(resource.organisation_collection()).collect(),
        (ResourceOwner::Workspace, Some(workspace)) => {
            store.all(resource.collection_key(&workspace)).collect()
        }
        (ResourceOwner::Workspace, None) => store.all_of_kind(resource.kind),
    };
    let mut asked: Vec<(&ListFilter, Value)> = Vec::new();
    for filter in resource.list.filters {
        if let Some(written) = call.query(filter.param) {
            let value =
                validation::validate_value(store, filter.kind, filter.param, &written.into())?;
            asked.push((filter, value));
        }
    }
    let passes = |item: &&Item| {
        asked
            .iter()
            .all(|(filter, value)| filter.matches(store, item, value))
    };
    let open = items
        .into_iter()
        .filter(|item| call.caller.can_see(store, resource.kind, item));
    let matching: Vec<&Item> = open.filter(passes).collect();
    let (page, more) = resource.list.paging.select_page(call, &matching)?;
    let shown = page
        .iter()
        .map(|item| show(resource, store, call, item, resource.list.item_fields));
    Ok(resource
        .list
        .envelope
        .wrap(matching.len(), more, shown.collect()))
}

/// Creates an item.
pub(crate) fn create(resource: &Resource, store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = owner_id(resource, store, call)?;
    let mut item =
        validation::validate_body(store, resource.fields, &call.body, WriteKind::Create)?;
    let shelf = resource.collection_key(&owner);
    let slug = match item.get("slug").and_then(Value::as_str) {
        Some(slug) if store.find(shelf, slug).is_some() => {
            let object = resource.object;
            return Err(ApiError::Conflict(format!(
                "There is already a {object} called `{slug}`"
            )));
        }
        Some(slug) => slug.to_owned(),
        None if store.is_seeding => seeded_slug(resource, store, &owner, call, &item),
        None => new_slug(resource, store, &owner, text(&item, "name")),
    };
    item.insert("slug".to_owned(), slug.into());
    (resource.hooks.before_write)(
        store,
        call,
        PendingWrite {
            before: None,
            change: &mut item,
        },
    )?;

    let id = store.next_id();
    let now = store.clock.now();
    item.insert("id".to_owned(), id.clone().into());
    item.insert("created_at".to_owned(), now.clone().into());
    item.insert("last_updated_at".to_owned(), now.into());
    store.insert(shelf, item);
    (resource.hooks.after_create)(store, shelf, &id);
    let item = resource.find_stored(store, &owner, &id)?;
    Ok(show(resource, store, call, item, resource.create_fields))
}

/// Returns one item.
pub(crate) fn get(resource: &Resource, store: &Store, call: &ApiCall) -> ApiResult {
    let owner = owner_id(resource, store, call)?;
    let item = resource.find(store, &owner, call.handle())?;
    Ok(show(resource, store, call, item, resource.read_fields))
}

/// Changes the given fields of an item.
pub(crate) fn update(resource: &Resource, store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = owner_id(resource, store, call)?;
    let before = resource.find(store, &owner, call.handle())?;
    let id = item_id(before);
    let mut change =
        validation::validate_body(store, resource.fields, &call.body, WriteKind::Update)?;
    let draft = PendingWrite {
        before: Some(before),
        change: &mut change,
    };
    (resource.hooks.before_write)(store, call, draft)?;

    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(item) = store.find_mut(resource.collection_key(&owner), &id) {
        item.extend(change);
    }
    let item = resource.find_stored(store, &owner, &id)?;
    Ok(show(resource, store, call, item, resource.update_fields))
}

/// Removes an item and its dependents.
pub(crate) fn delete(resource: &Resource, store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = owner_id(resource, store, call)?;
    let item = resource.find(store, &owner, call.handle())?;
    (resource.hooks.before_delete)(store, call, item)?;
    let item = item.clone();
    store.remember_removed(resource.kind, &item);
    cascade::remove(store, resource.kind, item);
    Ok(empty_object())
}

/// Returns an item as callers see it: the named fields in order, with `null` for absent ones.
pub(crate) fn show(
    resource: &Resource,
    store: &Store,
    call: &ApiCall,
    item: &Item,
    fields: &[&str],
) -> Value {
    let shown = fields.iter().filter_map(|&name| {
        let derive = resource
            .derived_fields
            .iter()
            .find(|(derived, _)| *derived == name);
        let value = match (name, derive) {
            (_, Some((_, derive))) => derive(store, call, item)?,
            ("object", _) => resource.object.into(),
            ("organisation_id", _) => ORGANISATION.into(),
            _ => stored_field(resource, item, name),
        };
        Some((name.to_owned(), value))
    });
    Value::Object(shown.collect())
}

fn stored_field(resource: &Resource, item: &Item, name: &str) -> Value {
    if let Some(secret) = name.strip_prefix("masked_") {
        return item.get(secret).and_then(Value::as_str).map(mask).into();
    }
    match item.get(name) {
        Some(Value::Object(object)) => Value::Object(match name {
            "configurations" | "auth_config" => mask_settings(object, resource.secret_fields),
            _ => mask_object(object, resource.secret_fields),
        }),
        other => other.cloned().unwrap_or_default(),
    }
}

fn owner_id(resource: &Resource, store: &Store, call: &ApiCall) -> Result<String, ApiError> {
    match resource.owner {
        ResourceOwner::Organisation => Ok(ORGANISATION.to_owned()),
        ResourceOwner::Workspace => call.workspace_id(store),
    }
}

/// Returns a memorable slug for a seeded item, so that examples can name it.
fn seeded_slug(
    resource: &Resource,
    store: &Store,
    owner: &str,
    call: &ApiCall,
    item: &Item,
) -> String {
    let plain = match text(&call.body, "slug") {
        "" => format!(
            "{}{}",
            resource.slug_prefix,
            slugify(text(item, "name"), resource.object)
        ),
        slug => slug.to_owned(),
    };
    let shelf = resource.collection_key(owner);
    let numbered = (store.count(shelf) + 1..).map(|number| format!("{plain}-{number}"));
    let mut candidates = std::iter::once(plain.clone()).chain(numbered);
    candidates
        .find(|slug| store.find(shelf, slug).is_none())
        .unwrap_or(plain)
}

/// Generates a slug like the live API: the first characters of the name and six hex digits.
fn new_slug(resource: &Resource, store: &mut Store, owner: &str, name: &str) -> String {
    let words = slugify(name, resource.object);
    let prefix = words
        .get(..resource.slug_name_length)
        .unwrap_or(&words)
        .trim_end_matches('-');
    loop {
        let slug = format!("{}{prefix}-{}", resource.slug_prefix, store.next_suffix());
        if store.find(resource.collection_key(owner), &slug).is_none() {
            return slug;
        }
    }
}

/// Returns the letters and digits of a name in lower case, with `-` for all characters in between.
fn slugify(name: &str, otherwise: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|character: char| !character.is_ascii_alphanumeric());
    let slug = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    match slug.is_empty() {
        true => otherwise.to_owned(),
        false => slug,
    }
}
