//! Workspace access to integrations and MCP integrations.
//!
//! Both keep one row per workspace and a global setting for workspaces without a row.

use serde_json::{Value, json};

use super::{agent_integrations, integrations, mcp_integrations, workspaces};
use crate::{
    call::item_id,
    crud::pick,
    store::{CollectionKey, Item, Store, flag, text},
};

/// Field with the access of workspaces that have no row.
pub(super) const GLOBAL_ACCESS_FIELD: &str = "global_workspace_access";

/// Returns true if a workspace may use `parent`, whose access rows are stored under `kind`.
pub(super) fn has_access(
    store: &Store,
    kind: &'static str,
    parent: &Item,
    workspace: &str,
) -> bool {
    match store.find(
        CollectionKey {
            kind,
            owner: text(parent, "id"),
        },
        workspace,
    ) {
        Some(row) => flag(row, "enabled"),
        None => parent
            .get(GLOBAL_ACCESS_FIELD)
            .is_some_and(|global| global["enabled"] == true),
    }
}

/// Returns true if a workspace's key has access to an item of the organisation. Integrations are
/// visible only if the workspace may use them.
pub(crate) fn is_visible_to(store: &Store, kind: &str, item: &Item, workspace: &str) -> bool {
    match kind {
        "integrations" => integrations::has_access(store, item, workspace),
        "agent-integrations" => agent_integrations::has_access(store, item, workspace),
        "mcp-integrations" => mcp_integrations::has_access(store, item, workspace),
        _ => true,
    }
}

/// Counts the workspaces with access.
pub(super) fn count_workspaces(store: &Store, kind: &'static str, parent: &Item) -> Value {
    let rows = store.all(CollectionKey {
        kind,
        owner: text(parent, "id"),
    });
    rows.filter(|row| flag(row, "enabled")).count().into()
}

/// Gives a workspace access.
pub(super) fn grant(store: &mut Store, shelf: CollectionKey<'_>, workspace: &str) {
    merge_rows(
        store,
        shelf,
        &[json!({ "id": workspace, "enabled": true })],
        false,
    );
}

/// Merges validated rows, or replaces all existing ones. Returns the ids of the workspaces that
/// gained access.
pub(super) fn merge_rows(
    store: &mut Store,
    shelf: CollectionKey<'_>,
    rows: &[Value],
    replace: bool,
) -> Vec<String> {
    let enabled = |row: &&Item| flag(row, "enabled");
    let before: Vec<String> = store.all(shelf).filter(enabled).map(item_id).collect();
    if replace {
        store.clear(shelf);
    }
    let now = store.clock.now();
    for row in rows.iter().filter_map(Value::as_object) {
        let Ok(workspace) = workspaces::resolve(store, text(row, "id")) else {
            continue;
        };
        let id = item_id(workspace);
        let slug = text(workspace, "slug").to_owned();
        if store.find(shelf, &id).is_none() {
            let fresh = json!({
                "id": id, "slug": slug, "status": "active", "created_at": now,
                "usage_limits": null, "rate_limits": null,
            });
            store.insert(shelf, fresh.as_object().cloned().unwrap_or_default());
        }
        if let Some(stored) = store.find_mut(shelf, &id) {
            set_row(stored, row);
            stored.insert("last_updated_at".to_owned(), now.clone().into());
        }
    }
    let newly = store
        .all(shelf)
        .filter(enabled)
        .map(item_id)
        .filter(|id| !before.contains(id));
    newly.collect()
}

fn set_row(stored: &mut Item, row: &Item) {
    for name in ["enabled", "usage_limits", "rate_limits"] {
        if let Some(value) = row.get(name) {
            stored.insert(name.to_owned(), value.clone());
        }
    }
}

/// Returns the row of one workspace as its own key sees it, with the slug as `id`.
pub(super) fn show_own_row(
    store: &Store,
    shelf: CollectionKey<'_>,
    workspace: &str,
    fields: &[&str],
) -> Vec<Value> {
    let own = store.find(shelf, workspace);
    own.map(|row| show_row(row, fields)).into_iter().collect()
}

/// Returns the rows as an integration's list shows them: these fields, with the workspace's slug as
/// `id`.
pub(super) fn show_rows(store: &Store, shelf: CollectionKey<'_>, fields: &[&str]) -> Vec<Value> {
    store.all(shelf).map(|row| show_row(row, fields)).collect()
}

fn show_row(row: &Item, fields: &[&str]) -> Value {
    let mut shown = pick(row, fields);
    if let Some(id) = shown.get_mut("id") {
        *id = text(row, "slug").into();
    }
    shown
}
