//! Cascading removal of items.
//!
//! The rules for all domains are declared here as data. Items inside a removed item are removed
//! recursively. Items that only refer to it stay, and the reference is removed.

use serde_json::Value;

use super::store::{Item, Store, text};

/// Fields that name the container of an item.
const PARENT_FIELDS: &[&str] = &["workspace_id", "collection_id", "parent_collection_id"];

/// Optional references to other items: the kind of the target, and a JSON pointer to the
/// references. The pointer leads to a list of handles, a list of rows with an `id`, or an object
/// with handles as names or values.
///
/// Documents written by callers, such as a config or a policy's conditions, are not rewritten. If a
/// config names a removed guardrail, the gateway no longer enforces it.
const REFERENCES: &[(&str, &str)] = &[
    ("guardrails", "/defaults/input_guardrails"),
    ("guardrails", "/defaults/output_guardrails"),
    ("guardrails", "/input_guardrails"),
    ("guardrails", "/output_guardrails"),
    ("mcp-servers", "/mcp_servers"),
    ("workspaces", "/allowed_workspaces"),
    ("workspaces", "/auth_settings/jwt_sub_workspace_mapping"),
    ("workspaces", "/auth_settings/workspaces_allowed"),
    ("workspaces", "/workspaces"),
];

/// Removes an item together with the collections that it owns, the items inside it, and the rows
/// with its id.
pub(crate) fn remove(store: &mut Store, kind: &'static str, item: Item) {
    let mut gone = vec![(kind, item)];
    while let Some((kind, item)) = gone.pop() {
        let id = text(&item, "id");
        if id.is_empty() {
            continue;
        }
        let taken =
            store.remove_matching(id, |other| text(other, "id") == id || is_inside(other, id));
        remove_references(store, kind, &item);
        gone.extend(
            taken
                .into_iter()
                .filter(|(_, other)| text(other, "id") != id),
        );
    }
}

/// Kinds of items that prevent the deletion of a workspace, each with its name in the error.
/// Providers have replaced virtual keys and appear under their name.
const WORKSPACE_BLOCKERS: &[(&str, &str)] = &[
    ("virtual-keys", "Virtual Keys"),
    ("providers", "Virtual Keys"),
    ("configs", "Configs"),
    ("prompts", "Prompts"),
    ("prompt-partials", "Prompt Partials"),
    ("guardrails", "Guardrails"),
    ("api-keys", "API Keys"),
];

/// Returns the name of a kind of items that must be deleted before the workspace.
pub(crate) fn find_workspace_blocker(store: &Store, workspace: &str) -> Option<&'static str> {
    let present = store.kinds_with(|item| text(item, "workspace_id") == workspace);
    WORKSPACE_BLOCKERS
        .iter()
        .find(|(kind, _)| present.contains(kind))
        .map(|(_, name)| *name)
}

fn is_inside(item: &Item, id: &str) -> bool {
    PARENT_FIELDS.iter().any(|field| text(item, field) == id)
}

/// Removes an item's handles from all references to items of its kind.
fn remove_references(store: &mut Store, kind: &str, gone: &Item) {
    let handles = [text(gone, "id"), text(gone, "slug")];
    let names = |value: &Value| value.as_str().is_some_and(|text| handles.contains(&text));
    let places: Vec<_> = REFERENCES
        .iter()
        .filter(|(of, _)| *of == kind)
        .map(|(_, at)| at)
        .collect();
    if places.is_empty() {
        return;
    }
    for item in store.all_mut() {
        for pointer in &places {
            match pointer_mut(item, pointer) {
                Some(Value::Array(list)) => {
                    list.retain(|one| !names(one) && !one.get("id").is_some_and(names));
                }
                Some(Value::Object(fields)) => {
                    fields.retain(|name, value| !handles.contains(&name.as_str()) && !names(value));
                }
                _ => {}
            }
        }
    }
}

fn pointer_mut<'i>(item: &'i mut Item, pointer: &str) -> Option<&'i mut Value> {
    let mut names = pointer.split('/').skip(1);
    let field = item.get_mut(names.next()?)?;
    names.try_fold(field, |value, name| value.get_mut(name))
}
