//! Cascade: what goes when an item goes.
//!
//! It is said here for all domains at once, as data. What is inside of an item goes with it and takes
//! along what is inside of itself. What only names it stays, and names it no more.

use serde_json::Value;

use super::store::{Item, Store, text};

/// The fields that say what an item is inside of.
const INSIDE: &[&str] = &["workspace_id", "collection_id", "parent_collection_id"];

/// Where an item names others that it can do without: their kind, and the place as a JSON pointer.
/// There stands a list of handles, a list of rows with an `id`, or an object that has handles for its
/// names or for its values.
///
/// What is a caller's own document, such as a config or a policy's conditions, is not rewritten: a
/// guardrail that a config names just stops being enforced (`quirks.md §11`).
const NAMED: &[(&str, &str)] = &[
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

/// Takes an item off its shelf, with all that goes when it goes: what stands on its own shelves,
/// what is inside of it, and the rows about it, which have its id.
pub(crate) fn remove(store: &mut Store, kind: &'static str, item: Item) {
    let mut gone = vec![(kind, item)];
    while let Some((kind, item)) = gone.pop() {
        let id = text(&item, "id");
        if id.is_empty() {
            continue;
        }
        let taken = store.sweep(id, |other| text(other, "id") == id || is_inside(other, id));
        forget(store, kind, &item);
        gone.extend(
            taken
                .into_iter()
                .filter(|(_, other)| text(other, "id") != id),
        );
    }
}

/// Kinds of items that keep a workspace from being deleted, each with its name in the refusal.
/// Providers have replaced virtual keys and keep their name.
const HOLDERS: &[(&str, &str)] = &[
    ("virtual-keys", "Virtual Keys"),
    ("providers", "Virtual Keys"),
    ("configs", "Configs"),
    ("prompts", "Prompts"),
    ("prompt-partials", "Prompt Partials"),
    ("guardrails", "Guardrails"),
    ("api-keys", "API Keys"),
];

/// The name of a kind of items that must be deleted before the workspace.
pub(crate) fn holder(store: &Store, workspace: &str) -> Option<&'static str> {
    let present = store.kinds_with(|item| text(item, "workspace_id") == workspace);
    HOLDERS
        .iter()
        .find(|(kind, _)| present.contains(kind))
        .map(|(_, name)| *name)
}

fn is_inside(item: &Item, id: &str) -> bool {
    INSIDE.iter().any(|field| text(item, field) == id)
}

/// Takes an item's handles out of every place that names items of its kind.
fn forget(store: &mut Store, kind: &str, gone: &Item) {
    let handles = [text(gone, "id"), text(gone, "slug")];
    let names = |value: &Value| value.as_str().is_some_and(|text| handles.contains(&text));
    let places: Vec<_> = NAMED
        .iter()
        .filter(|(of, _)| *of == kind)
        .map(|(_, at)| at)
        .collect();
    if places.is_empty() {
        return;
    }
    for item in store.all_mut() {
        for pointer in &places {
            match place(item, pointer) {
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

fn place<'i>(item: &'i mut Item, pointer: &str) -> Option<&'i mut Value> {
    let mut names = pointer.split('/').skip(1);
    let field = item.get_mut(names.next()?)?;
    names.try_fold(field, |value, name| value.get_mut(name))
}
