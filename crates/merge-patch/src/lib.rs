//! How a patch of an Enkrypt AI MCP gateway is merged into the stored gateway (enkrypt.md §2).
//!
//! Objects merge key by key and `null` removes a key, at every level (RFC 7396). The one list of things
//! that have a name, `servers_config.servers`, is merged by that name; every other list is replaced.
//!
//! Two texts of Enkrypt's differ on the fields that a patch leaves out of a guardrails policy. Here they
//! stay, as everything else does that a patch leaves out. A patch that always sends `enabled`,
//! `guardrail_name` and `block` together has the same outcome under either text.

use serde_json::{Map, Value};

/// A JSON object.
type Fields = Map<String, Value>;

/// The two fields that tell servers apart.
const NAME: [&str; 2] = ["saved_name", "server_version"];
/// The version of a server that names none.
const FIRST_VERSION: &str = "v1";
/// What takes a server off the list; never stored.
const DELETE: &str = "_delete";

/// The gateway as it is after `patch`. Both are JSON objects as the API has them. A patch that is none
/// changes nothing, and neither does an entry of `servers` without a `saved_name`.
pub fn merge(stored: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return stored.clone();
    };
    let mut merged = stored.as_object().cloned().unwrap_or_default();
    for (name, change) in patch {
        match (name.as_str(), change) {
            ("servers_config", Value::Object(patch)) => {
                within(&mut merged, name, |config| merge_config(config, patch));
            }
            _ => merge_field(&mut merged, name, change),
        }
    }
    Value::Object(merged)
}

fn merge_config(config: &mut Fields, patch: &Fields) {
    for (name, change) in patch {
        match (name.as_str(), change) {
            ("servers", Value::Null) => _ = config.insert(name.clone(), Value::Array(Vec::new())),
            ("servers", Value::Array(changes)) => merge_servers(config, changes),
            // Not a list of servers, so it names none.
            ("servers", _) => {}
            _ => merge_field(config, name, change),
        }
    }
}

/// A place on the list, empty once its server is deleted. What the same patch names again afterwards
/// takes its old place, so that the patch has the same outcome when it is sent twice.
struct Slot {
    name: Option<(String, String)>,
    server: Option<Value>,
}

fn merge_servers(config: &mut Fields, changes: &[Value]) {
    let stored = config
        .get("servers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let slot = |server: &Value| Slot {
        name: name_of(server),
        server: Some(server.clone()),
    };
    let mut slots: Vec<Slot> = stored.map(slot).collect();
    for change in changes {
        let (Some(name), Value::Object(fields)) = (name_of(change), change) else {
            continue;
        };
        let same = |slot: &Slot| slot.name.as_ref() == Some(&name);
        if fields.get(DELETE) == Some(&Value::Bool(true)) {
            slots
                .iter_mut()
                .filter(|slot| same(slot))
                .for_each(|slot| slot.server = None);
            continue;
        }
        if !slots.iter().any(same) {
            slots.push(Slot {
                name: Some(name.clone()),
                server: None,
            });
        }
        let Some(slot) = slots.iter_mut().find(|slot| same(slot)) else {
            continue;
        };
        let mut server = match slot.server.take() {
            Some(Value::Object(server)) => server,
            _ => NAME
                .map(str::to_owned)
                .into_iter()
                .zip([name.0.into(), name.1.into()])
                .collect(),
        };
        for (field, change) in fields {
            if field != DELETE && !NAME.contains(&field.as_str()) {
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

/// What tells a server apart: its name and its version.
fn name_of(server: &Value) -> Option<(String, String)> {
    let [name, version] = NAME.map(|field| server.get(field).filter(|value| !value.is_null()));
    let version = version.map_or(Some(FIRST_VERSION), Value::as_str)?;
    Some((name?.as_str()?.to_owned(), version.to_owned()))
}

/// RFC 7396 for one field of an object.
fn merge_field(stored: &mut Fields, name: &str, change: &Value) {
    match change {
        Value::Null => _ = stored.shift_remove(name),
        Value::Object(patch) => within(stored, name, |inner| {
            patch
                .iter()
                .for_each(|(name, change)| merge_field(inner, name, change));
        }),
        whole => _ = stored.insert(name.to_owned(), whole.clone()),
    }
}

/// Changes an object in its place inside another; an empty one where there is none.
fn within(outer: &mut Fields, name: &str, change: impl FnOnce(&mut Fields)) {
    let mut inner = match outer.get_mut(name).map(Value::take) {
        Some(Value::Object(inner)) => inner,
        _ => Fields::new(),
    };
    change(&mut inner);
    outer.insert(name.to_owned(), Value::Object(inner));
}
