//! Puts ids and slugs in arguments into the form that a state has.
//!
//! Portkey takes either, and stores one. Without this, an argument and the state that it made would count as different.

use std::collections::HashSet;

use portkey_api::handles::{HANDLES, Handle};
use portkey_operation::JsonMap;
use serde_json::Value;

use super::{Dispatcher, state_fields::resource};
use crate::{auth::principal::Principal, observability::request::RequestInfo};

/// Maximum number of resources that are read for one call.
const MAX_READS: usize = 8;

/// Fields that name a resource.
const NAME_FIELDS: [&str; 2] = ["id", "slug"];

impl Dispatcher {
    /// Replaces ids and slugs by those that a state has at the same place. What is in neither form in a state, or what
    /// the caller may not read, stays as it is.
    ///
    /// The states are in the form of arguments.
    pub(crate) async fn adopt_handles(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        states: &[&JsonMap],
        args: &mut JsonMap,
    ) {
        let mut reads = 0;
        for row in HANDLES {
            let path: Vec<&str> = row.at.split('.').collect();
            let mut stored = HashSet::new();
            for state in states {
                for_each_text(state, &path, &mut |text| _ = stored.insert(text.to_owned()));
            }
            let mut unknown = Vec::new();
            for_each_text(args, &path, &mut |text| {
                if !stored.contains(text) && !unknown.iter().any(|known| known == text) {
                    unknown.push(text.to_owned());
                }
            });
            if stored.is_empty() {
                continue;
            }
            for text in unknown {
                if reads == MAX_READS {
                    return;
                }
                reads += 1;
                let names = self
                    .read_names(principal, request_info, row, &text, states, args)
                    .await;
                if let Some(form) = names.into_iter().find(|name| stored.contains(name)) {
                    replace_texts(args, &path, &text, &form);
                }
            }
        }
    }

    /// Returns the id and the slug of a resource; none if it cannot be read.
    async fn read_names(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        row: &Handle,
        name: &str,
        states: &[&JsonMap],
        args: &JsonMap,
    ) -> Vec<String> {
        let mut read_args = JsonMap::new();
        // Admin keys have to name the workspace of some kinds.
        let is_known = self.catalog.find(row.read).is_ok_and(|entry| {
            let properties = entry.compiled().full_schema().get("properties");
            properties.is_some_and(|properties| properties.get("workspace_id").is_some())
        });
        let workspace = std::iter::once(args)
            .chain(states.iter().copied())
            .find_map(|fields| fields.get("workspace_id")?.as_str());
        if let Some(workspace) = workspace.filter(|_| is_known) {
            read_args.insert("workspace_id".to_owned(), workspace.into());
        }
        read_args.insert(row.argument.to_owned(), name.into());
        let read = self.read_state(principal, request_info, row.read, read_args);
        let Ok(state) = Box::pin(read).await else {
            return Vec::new();
        };
        let fields = resource(&state.shown);
        let names = NAME_FIELDS
            .iter()
            .filter_map(|name| fields.get(*name)?.as_str());
        names.map(str::to_owned).collect()
    }
}

/// Calls a function with each text at a path.
fn for_each_text(fields: &JsonMap, path: &[&str], visit: &mut dyn FnMut(&str)) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let (name, is_list) = name_and_list(first);
    let Some(value) = fields.get(name) else {
        return;
    };
    let items = match (is_list, value) {
        (true, Value::Array(items)) => items.as_slice(),
        (true, _) => &[],
        (false, value) => std::slice::from_ref(value),
    };
    for item in items {
        match item {
            Value::String(text) if rest.is_empty() => visit(text),
            Value::Object(fields) => for_each_text(fields, rest, visit),
            _ => {}
        }
    }
}

/// Replaces a text at a path.
fn replace_texts(fields: &mut JsonMap, path: &[&str], old: &str, new: &str) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let (name, is_list) = name_and_list(first);
    let Some(value) = fields.get_mut(name) else {
        return;
    };
    let items = match (is_list, value) {
        (true, Value::Array(items)) => items.as_mut_slice(),
        (true, _) => &mut [],
        (false, value) => std::slice::from_mut(value),
    };
    for item in items {
        match item {
            Value::String(text) if rest.is_empty() && text == old => new.clone_into(text),
            Value::Object(fields) => replace_texts(fields, rest, old, new),
            _ => {}
        }
    }
}

/// Returns the name of a step of a path, and whether it stands for the items of a list.
fn name_and_list(step: &str) -> (&str, bool) {
    match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_replaced_at_their_path_only() {
        let args = json!({
            "workspaces": [{ "id": "a", "name": "a" }, { "id": "b" }, "a"],
            "id": "a",
            "defaults": { "config_id": "a" },
        });
        for (path, expected) in [
            (
                "workspaces[].id",
                json!([{ "id": "new", "name": "a" }, { "id": "b" }, "a"]),
            ),
            (
                "workspaces[]",
                json!([{ "id": "a", "name": "a" }, { "id": "b" }, "new"]),
            ),
            ("defaults.config_id", args["workspaces"].clone()),
        ] {
            let mut changed = args.as_object().unwrap().clone();
            let path: Vec<&str> = path.split('.').collect();
            replace_texts(&mut changed, &path, "a", "new");
            assert_eq!(changed["workspaces"], expected, "{path:?}");
            assert_eq!(changed["id"], "a");
            let mut found = Vec::new();
            for_each_text(&changed, &path, &mut |text| found.push(text.to_owned()));
            assert!(found.contains(&"new".to_owned()), "{path:?}: {found:?}");
        }
    }
}
