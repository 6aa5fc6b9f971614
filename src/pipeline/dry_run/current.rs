//! Which read shows what a write is about to change, found in the catalog by path.

use portkey_api::catalog::{Catalog, Entry};
use portkey_operation::{Effect, JsonMap, Operation};

/// Arguments that say where a resource is, wherever they travel (quirks.md §7).
const WHEREABOUTS: &[&str] = &["workspace_id", "organisation_id"];

/// The read of what the operation changes: the GET that its row names, else the GET of the same path, else
/// that of the nearest path above which still names one resource. What creates has none: a list of what
/// else there is says nothing about it.
pub fn read_of<'a>(catalog: &'a Catalog, operation: &Operation) -> Option<&'a Entry> {
    if matches!(operation.effects(), Effect::Read) {
        return None;
    }
    let reads = |path: &str| read_at(catalog, operation, path);
    if let Some(path) = operation.reads() {
        return reads(path);
    }
    let mut path = operation.path();
    let creates = matches!(operation.effects(), Effect::Create);
    // A new one under a collection; `…/{id}/rotate` is about one that exists.
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

/// Which read shows whether a write took effect: that of what it changes, else the nearest above, which for
/// what creates is the list that has the new one.
pub fn shows<'a>(catalog: &'a Catalog, operation: &Operation) -> Option<&'a Entry> {
    let above = || {
        let mut path = operation.path();
        loop {
            if let Some(entry) = read_at(catalog, operation, path) {
                return Some(entry);
            }
            path = path
                .rsplit_once('/')
                .map(|(above, _)| above)
                .filter(|above| !above.is_empty())?;
        }
    };
    read_of(catalog, operation).or_else(above)
}

/// The GET of a path, on the host of an operation.
fn read_at<'a>(catalog: &'a Catalog, operation: &Operation, path: &str) -> Option<&'a Entry> {
    catalog.iter().find(|entry| {
        let read = entry.operation;
        read.method() == http::Method::GET && read.base() == operation.base() && read.path() == path
    })
}

/// The arguments of the read, out of those of the write: what names the resource, and nothing of what is
/// written.
pub fn arguments(write: &Operation, read: &Entry, args: &JsonMap) -> JsonMap {
    let schema = read.published().full_schema();
    let known = schema
        .get("properties")
        .and_then(|properties| properties.as_object());
    let bodiless = write.method() == http::Method::DELETE;
    let says_where = |name: &str| {
        bodiless
            || write.placeholders().any(|placeholder| placeholder == name)
            || write.query_names().contains(&name)
            || write
                .header_names()
                .iter()
                .any(|(argument, _)| *argument == name)
            || WHEREABOUTS.contains(&name)
    };
    let taken = args.iter().filter(|(name, _)| {
        known.is_some_and(|known| known.contains_key(name.as_str())) && says_where(name)
    });
    taken
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
