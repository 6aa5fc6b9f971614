//! Finds, by path, the read operation that returns the resource which a write changes.

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{Effect, JsonMap, Operation};

/// Arguments that locate a resource and count as its address wherever they are sent: path, query,
/// header or body.
const LOCATION_ARGUMENTS: &[&str] = &["workspace_id", "organisation_id"];

/// Returns the read of the resource that an operation changes, or `None` for an operation that
/// creates one.
///
/// The read is the GET that the declaration names, or else the GET of the same path. Otherwise it
/// is the GET of the nearest parent path that still identifies one resource. A created resource has
/// none, because a list of the other resources says nothing about it.
pub fn find_read<'a>(catalog: &'a Catalog, operation: &Operation) -> Option<&'a CatalogEntry> {
    if matches!(operation.effect(), Effect::Read) {
        return None;
    }
    let reads = |path: &str| find_read_at(catalog, operation, path);
    if let Some(path) = operation.preview_path() {
        return reads(path);
    }
    let mut path = operation.path();
    let creates = matches!(operation.effect(), Effect::Create);
    // POST to a collection creates a resource; `…/{id}/rotate` is about one that exists.
    if creates && !operation.hints().destructive {
        return None;
    }
    loop {
        if let Some(entry) = reads(path) {
            return Some(entry);
        }
        path = path
            .rsplit_once('/')
            .map(|(above, _)| above)
            .filter(|above| above.contains('{'))?;
    }
}

/// Returns the read that shows whether a write took effect.
///
/// This is the read of the changed resource, or else of the nearest parent path. For a created
/// resource the parent is the list that contains it.
pub fn find_verification_read<'a>(
    catalog: &'a Catalog,
    operation: &Operation,
) -> Option<&'a CatalogEntry> {
    let above = || {
        let mut path = operation.path();
        loop {
            if let Some(entry) = find_read_at(catalog, operation, path) {
                return Some(entry);
            }
            path = path
                .rsplit_once('/')
                .map(|(above, _)| above)
                .filter(|above| !above.is_empty())?;
        }
    };
    find_read(catalog, operation).or_else(above)
}

/// Returns the GET of a path on the same host as an operation.
fn find_read_at<'a>(
    catalog: &'a Catalog,
    operation: &Operation,
    path: &str,
) -> Option<&'a CatalogEntry> {
    catalog.iter().find(|entry| {
        let read = entry.operation;
        read.method() == http::Method::GET && read.base() == operation.base() && read.path() == path
    })
}

/// Returns the arguments for the read, taken from those of the write: those that identify the
/// resource, and none that are written.
pub fn read_arguments(write: &Operation, read: &CatalogEntry, args: &JsonMap) -> JsonMap {
    let schema = read.compiled().full_schema();
    let known = schema
        .get("properties")
        .and_then(|properties| properties.as_object());
    let bodiless = write.method() == http::Method::DELETE;
    let says_where = |name: &str| {
        bodiless
            || write.placeholders().any(|placeholder| placeholder == name)
            || write.query_arguments().contains(&name)
            || write
                .header_arguments()
                .iter()
                .any(|(argument, _)| *argument == name)
            || LOCATION_ARGUMENTS.contains(&name)
    };
    let taken = args.iter().filter(|(name, _)| {
        known.is_some_and(|known| known.contains_key(name.as_str())) && says_where(name)
    });
    taken
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
