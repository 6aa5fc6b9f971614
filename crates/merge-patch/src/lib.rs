//! Merge rules of Enkrypt AI MCP gateways: applies a patch to the stored gateway.
//!
//! Objects merge key by key, and `null` removes a key, at every level (RFC 7396). The list
//! `servers_config.servers` is merged by server name and version. Every other list is replaced.
//!
//! Two texts of Enkrypt AI differ on the fields that a patch omits from a guardrails policy. One
//! says that a policy is replaced as a unit, the other that omitted fields stay. Here they stay, as
//! everywhere else. A patch that always sends `enabled`, `guardrail_name` and `block` together has
//! the same outcome under both.
//!
//! See "Enkrypt AI merge rules" in docs/portkey-api-notes.md.

use serde_json::{Map, Value};

/// A JSON object.
type JsonObject = Map<String, Value>;

/// The two fields that identify a server.
const SERVER_KEY_FIELDS: [&str; 2] = ["saved_name", "server_version"];
/// The version of a server that does not name one.
const DEFAULT_SERVER_VERSION: &str = "v1";
/// The field that removes a server from the list. It is never stored.
const DELETE_MARKER: &str = "_delete";

/// Merges `patch` into the stored gateway. Both are JSON objects in the form of the API.
///
/// A patch that is not an object changes nothing, and neither does an entry of `servers` without a
/// `saved_name`.
pub fn merge(stored: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return stored.clone();
    };
    let mut merged = stored.as_object().cloned().unwrap_or_default();
    for (name, change) in patch {
        match (name.as_str(), change) {
            ("servers_config", Value::Object(patch)) => {
                update_object(&mut merged, name, |config| merge_config(config, patch));
            }
            _ => merge_field(&mut merged, name, change),
        }
    }
    Value::Object(merged)
}

fn merge_config(config: &mut JsonObject, patch: &JsonObject) {
    for (name, change) in patch {
        match (name.as_str(), change) {
            ("servers", Value::Null) => _ = config.insert(name.clone(), Value::Array(Vec::new())),
            ("servers", Value::Array(changes)) => merge_servers(config, changes),
            // Without a list of servers, the patch names none.
            ("servers", _) => {}
            _ => merge_field(config, name, change),
        }
    }
}

/// A position in the list, empty once its server is deleted.
///
/// A server that the same patch names again takes its old position. The patch therefore has the
/// same outcome if it is sent twice.
struct ServerSlot {
    key: Option<(String, String)>,
    server: Option<Value>,
}

fn merge_servers(config: &mut JsonObject, changes: &[Value]) {
    let stored = config
        .get("servers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let slot = |server: &Value| ServerSlot {
        key: server_key(server),
        server: Some(server.clone()),
    };
    let mut slots: Vec<ServerSlot> = stored.map(slot).collect();
    for change in changes {
        let (Some(name), Value::Object(fields)) = (server_key(change), change) else {
            continue;
        };
        let same = |slot: &ServerSlot| slot.key.as_ref() == Some(&name);
        if fields.get(DELETE_MARKER) == Some(&Value::Bool(true)) {
            slots
                .iter_mut()
                .filter(|slot| same(slot))
                .for_each(|slot| slot.server = None);
            continue;
        }
        if !slots.iter().any(same) {
            slots.push(ServerSlot {
                key: Some(name.clone()),
                server: None,
            });
        }
        let Some(slot) = slots.iter_mut().find(|slot| same(slot)) else {
            continue;
        };
        let mut server = match slot.server.take() {
            Some(Value::Object(server)) => server,
            _ => SERVER_KEY_FIELDS
                .map(str::to_owned)
                .into_iter()
                .zip([name.0.into(), name.1.into()])
                .collect(),
        };
        for (field, change) in fields {
            if field != DELETE_MARKER && !SERVER_KEY_FIELDS.contains(&field.as_str()) {
                merge_field(&mut server, field, change);
            }
        }
        slot.server = Some(Value::Object(server));
    }
    if !slots.is_empty() {
        let servers = slots.into_iter().filter_map(|slot| slot.server).collect();
        config.insert("servers".to_owned(), Value::Array(servers));
    }
}

/// Returns the key of a server: its name and its version.
fn server_key(server: &Value) -> Option<(String, String)> {
    let [name, version] =
        SERVER_KEY_FIELDS.map(|field| server.get(field).filter(|value| !value.is_null()));
    let version = version.map_or(Some(DEFAULT_SERVER_VERSION), Value::as_str)?;
    Some((name?.as_str()?.to_owned(), version.to_owned()))
}

/// Applies RFC 7396 to one field of an object.
fn merge_field(stored: &mut JsonObject, name: &str, change: &Value) {
    match change {
        Value::Null => _ = stored.shift_remove(name),
        Value::Object(patch) => update_object(stored, name, |inner| {
            patch
                .iter()
                .for_each(|(name, change)| merge_field(inner, name, change));
        }),
        whole => _ = stored.insert(name.to_owned(), whole.clone()),
    }
}

/// Changes a nested object in place. Starts with an empty one if there is none.
fn update_object(outer: &mut JsonObject, name: &str, change: impl FnOnce(&mut JsonObject)) {
    let mut inner = match outer.get_mut(name).map(Value::take) {
        Some(Value::Object(inner)) => inner,
        _ => JsonObject::new(),
    };
    change(&mut inner);
    outer.insert(name.to_owned(), Value::Object(inner));
}
