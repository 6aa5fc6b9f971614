//! Finds, by path, the operations that take back a creation or a deletion, and their arguments.

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_journal::Change;
use portkey_operation::{Effect, JsonMap, Operation, SentEntry, UpdateRules};
use serde_json::Value;

use super::super::prune::prune;
use super::restore::has_hidden;

/// Returns the operation that deletes what another one creates: the DELETE below its path.
pub(super) fn find_delete<'a>(
    catalog: &'a Catalog,
    create: &Operation,
) -> Option<&'a CatalogEntry> {
    let of_path = |path: &str| {
        catalog.iter().find(|entry| {
            let other = entry.operation;
            other.effect() == Effect::Delete
                && other.base() == create.base()
                && collection_path(other.path()) == Some(path)
        })
    };
    let mut path = create.path();
    loop {
        if let Some(found) = of_path(path) {
            return Some(found);
        }
        // The kind of what is created may be a part of the path.
        path = collection_path(path)?;
    }
}

/// Returns the operation that creates what another one deletes.
pub(super) fn find_create<'a>(
    catalog: &'a Catalog,
    delete: &Operation,
) -> Option<&'a CatalogEntry> {
    let path = collection_path(delete.path())?;
    catalog.iter().find(|entry| {
        let other = entry.operation;
        other.effect() == Effect::Create && other.base() == delete.base() && other.path() == path
    })
}

/// Returns the update rules of the resource that an operation deletes.
pub(super) fn find_update_rules<'a>(
    catalog: &'a Catalog,
    delete: &Operation,
) -> Option<&'a UpdateRules> {
    let siblings = catalog.iter().filter(|entry| {
        let other = entry.operation;
        other.effect() == Effect::Update
            && other.base() == delete.base()
            && other.path() == delete.path()
    });
    siblings
        .filter_map(|entry| entry.operation.update_rules())
        .next()
}

/// Returns the path without its last segment, if that is a placeholder.
fn collection_path(path: &str) -> Option<&str> {
    let (collection, last) = path.rsplit_once('/')?;
    (last.starts_with('{') && last.ends_with('}')).then_some(collection)
}

/// Returns the arguments that delete what a change created; `None` if its id is not known. `entry` is the sent entry that
/// names it, if the answer does not.
pub(super) fn delete_arguments(
    delete: &CatalogEntry,
    change: &Change,
    entry: Option<SentEntry>,
) -> Option<JsonMap> {
    let known = delete.compiled().full_schema().get("properties");
    let is_known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
    let mut args: JsonMap = change
        .head
        .target
        .iter()
        .filter(|(name, _)| is_known(name))
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    // A deletion may want the name repeated.
    let sent = change.detail.as_ref()?.arguments.as_ref()?;
    if let Some(entry) = entry {
        let entries = sent.get(entry.list).and_then(Value::as_array)?;
        let [only] = entries.as_slice() else {
            return None;
        };
        let id = only.get(entry.field)?.as_str()?;
        args.insert(entry.argument.to_owned(), id.into());
    }
    for name in required(delete) {
        if let Some(value) = sent.get(name).filter(|value| !has_hidden(value)) {
            args.entry(name).or_insert_with(|| value.clone());
        }
    }
    for placeholder in delete.operation.placeholders() {
        if args.contains_key(placeholder) {
            continue;
        }
        let created = &change.result.created;
        let id = [placeholder, "slug", "id"]
            .iter()
            .find_map(|name| created.get(*name))?;
        args.insert(placeholder.to_owned(), id.as_str().into());
    }
    Some(args)
}

/// Returns the arguments that create a resource with these fields, and the paths of those that are
/// hidden.
pub(super) fn create_arguments(
    create: &CatalogEntry,
    change: &Change,
    fields: JsonMap,
) -> (JsonMap, Vec<String>) {
    let mut args = JsonMap::new();
    let mut hidden = Vec::new();
    let Some(properties) = properties(create) else {
        return (args, hidden);
    };
    for (name, value) in fields {
        let Some(schema) = properties.get(&name) else {
            continue;
        };
        let value = prune(value.clone(), Some(&value), schema);
        match remove_hidden(value, &name, &mut hidden) {
            Some(value) if !value.is_null() => _ = args.insert(name, value),
            _ => {}
        }
    }
    let names = create.operation.placeholders().chain(["workspace_id"]);
    for name in names {
        if let Some(value) = change.head.target.get(name)
            && properties.contains_key(name)
        {
            args.insert(name.to_owned(), value.as_str().into());
        }
    }
    (args, hidden)
}

/// Removes hidden values from objects. A list that has one is left out as a whole.
fn remove_hidden(value: Value, path: &str, hidden: &mut Vec<String>) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            let mut left = JsonMap::new();
            for (name, value) in fields {
                let path = portkey_operation::field_path(path, &name);
                if let Some(value) = remove_hidden(value, &path, hidden) {
                    left.insert(name, value);
                }
            }
            Some(Value::Object(left))
        }
        value if has_hidden(&value) => {
            hidden.push(path.to_owned());
            None
        }
        value => Some(value),
    }
}

/// Returns the arguments that a creation needs and that are missing.
pub(super) fn missing_arguments(create: &CatalogEntry, args: &JsonMap) -> Vec<String> {
    required(create)
        .filter(|name| !args.contains_key(*name))
        .map(str::to_owned)
        .collect()
}

/// Returns the names of the arguments that an operation needs.
fn required(entry: &CatalogEntry) -> impl Iterator<Item = &str> {
    let required = entry.compiled().full_schema().get("required");
    let required = required.and_then(Value::as_array).into_iter().flatten();
    required.filter_map(Value::as_str)
}

fn properties(entry: &CatalogEntry) -> Option<&JsonMap> {
    entry
        .compiled()
        .full_schema()
        .get("properties")?
        .as_object()
}
