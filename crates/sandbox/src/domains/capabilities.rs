//! Capabilities of an MCP integration, as last synchronised from its upstream.
//!
//! MCP servers list and switch their capabilities in the same way and share this code.

use serde_json::{Value, json};

use super::mcp_integrations::{MCP_INTEGRATIONS, named};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done, pick},
    field::{Field, Kind, List, Preset, Shape},
    page::Paging,
    refusal::Refusal,
    store::{Item, Shelf, Store, flag, text},
};

const TYPES: &[&str] = &["tool", "prompt", "resource", "resource_template"];

const PAGING: Paging = Paging::one_based(100, 500);

/// Returns the collection of an MCP integration's capabilities, whose handle combines type and
/// name.
pub(super) fn shelf(mcp_integration: &str) -> Shelf<'_> {
    Shelf {
        kind: "mcp-capabilities",
        owner: mcp_integration,
    }
}

/// Returns the handle of a capability.
pub(super) fn handle(capability: &Item) -> String {
    format!("{}/{}", text(capability, "type"), text(capability, "name"))
}

/// Returns one page of the capabilities, with the counts of all.
pub(super) fn list(store: &mut Store, call: &Call) -> Outcome {
    let owner = id_of(named(store, call)?);
    let all: Vec<&Item> = store.all(shelf(&owner)).collect();
    page(
        store,
        call,
        &all,
        &["enabled", "created_at", "last_updated_at"],
    )
}

/// Fields of a capability before its state; `DETAIL_FIELDS` come after it.
const NAMES: &[&str] = &["name", "type", "title", "description", "icons"];
const DETAILS: &[&str] = &[
    "input_schema",
    "output_schema",
    "execution",
    "annotations",
    "arguments",
    "uri",
    "uri_template",
    "mime_type",
    "size",
];

/// Returns the requested page of capabilities, each with these fields of its state.
pub(super) fn page(store: &Store, call: &Call, all: &[&Item], state: &[&str]) -> Outcome {
    let asked = call.query("type");
    if let Some(asked) = asked {
        check::value(store, Kind::Choice(TYPES), "type", &asked.into())?;
    }
    let counts = TYPES.iter().map(|kind| {
        let of_type = || all.iter().filter(|item| text(item, "type") == *kind);
        let enabled = of_type().filter(|item| flag(item, "enabled")).count();
        (
            format!("{kind}s"),
            json!({ "total": of_type().count(), "enabled": enabled }),
        )
    });
    let counts = Value::Object(counts.collect());
    let asked_for = |item: &&Item| asked.is_none_or(|kind| text(item, "type") == kind);
    let kept: Vec<&Item> = all.iter().copied().filter(asked_for).collect();
    let (page, has_more) = PAGING.cut(call, &kept)?;
    let shown = [NAMES, state, DETAILS].concat();
    let data: Vec<Value> = page.iter().map(|item| pick(item, &shown)).collect();
    Ok(json!({ "data": data, "counts": counts, "total": kept.len(), "has_more": has_more }))
}

static SWITCH: Shape = Shape::of(&[
    Field::new("name", Kind::Name).required(),
    Field::new("type", Kind::Choice(&["tool", "prompt", "resource"])).required(),
    Field::new("enabled", Kind::Flag).required(),
]);

static SWITCHES: List = List {
    least: 1,
    ..List::of(Kind::Shape(&SWITCH))
};

const UPDATE: &[Field] = &[Field::new("capabilities", Kind::List(&SWITCHES)).required()];

/// Parses the switches of a call. An unknown capability invalidates all of them.
pub(super) fn switches(
    store: &Store,
    call: &Call,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<Item>, Refusal> {
    let mut given = check::body(store, UPDATE, &call.body, Occasion::Create)?;
    let Some(Value::Array(switches)) = given.remove("capabilities") else {
        return Ok(Vec::new());
    };
    let switches = switches
        .into_iter()
        .filter_map(|switch| switch.as_object().cloned());
    let switches: Vec<Item> = switches.collect();
    match switches.iter().map(handle).find(|handle| !is_known(handle)) {
        Some(handle) => Err(Refusal::Missing {
            object: "capability",
            handle,
        }),
        None => Ok(switches),
    }
}

/// Enables or disables the named capabilities.
pub(super) fn update(store: &mut Store, call: &Call) -> Outcome {
    let owner = id_of(named(store, call)?);
    let is_known = |handle: &str| store.find(shelf(&owner), handle).is_some();
    let switches = switches(store, call, is_known)?;
    let now = store.clock.now();
    for switch in &switches {
        if let Some(stored) = store.find_mut(shelf(&owner), &handle(switch)) {
            stored.insert("enabled".to_owned(), flag(switch, "enabled").into());
            stored.insert("last_updated_at".to_owned(), now.clone().into());
        }
    }
    Ok(json!({ "success": true }))
}

/// Fields with the metadata of an upstream server.
pub(super) const METADATA: &[&str] = &[
    "server_name",
    "server_version",
    "protocol_version",
    "capability_flags",
    "sync_status",
    "last_synced_at",
    "sync_error",
];

/// Returns the metadata of the upstream server.
pub(super) fn metadata(store: &mut Store, call: &Call) -> Outcome {
    Ok(pick(named(store, call)?, METADATA))
}

static OFFER: Shape = Shape::open(&[
    Field::new("name", Kind::Name).required(),
    Field::new("type", Kind::Choice(TYPES)).required(),
    Field::new("enabled", Kind::Flag).preset(Preset::Flag(true)),
]);

/// A list of capabilities, as reported by a client of the upstream.
pub(super) static OFFERS: List = List::of(Kind::Shape(&OFFER));

const SYNC: &[Field] = &[
    Field::new("server_info", Kind::Object),
    Field::new("capabilities", Kind::List(&OFFERS)),
];

/// Stores what the caller reports about the upstream. A list of capabilities replaces the existing
/// one; disabled capabilities stay disabled.
pub(super) fn sync(store: &mut Store, call: &Call) -> Outcome {
    let owner = id_of(named(store, call)?);
    let given = check::body(store, SYNC, &call.body, Occasion::Create)?;
    if let Some(Value::Array(offers)) = given.get("capabilities") {
        replace_all(store, &owner, offers);
    }
    let now = store.clock.now();
    if let Some(item) = store.find_mut(MCP_INTEGRATIONS.shared(), &owner) {
        if let Some(Value::Object(server)) = given.get("server_info") {
            learn(item, server);
        }
        item.insert("sync_status".to_owned(), "synced".into());
        item.insert("last_synced_at".to_owned(), now.into());
    }
    Ok(done())
}

/// Replaces the list of capabilities; disabled capabilities stay disabled.
pub(super) fn replace_all(store: &mut Store, owner: &str, offers: &[Value]) {
    let now: Value = store.clock.now().into();
    let known: Vec<Item> = store.all(shelf(owner)).cloned().collect();
    store.clear(shelf(owner));
    for offer in offers.iter().filter_map(Value::as_object) {
        let slug = handle(offer);
        let before = known.iter().find(|known| text(known, "slug") == slug);
        let mut item = offer.clone();
        item.remove("id");
        item.insert("created_at".to_owned(), now.clone());
        for kept in ["enabled", "created_at"] {
            if let Some(value) = before.and_then(|before| before.get(kept)) {
                item.insert(kept.to_owned(), value.clone());
            }
        }
        item.insert("last_updated_at".to_owned(), now.clone());
        item.insert("slug".to_owned(), slug.into());
        store.insert(shelf(owner), item);
    }
}

/// Copies what an MCP server reports about itself at the start of a session.
fn learn(item: &mut Item, server: &Item) {
    for (field, names) in [
        ("server_name", ["name", "server_name"]),
        ("server_version", ["version", "server_version"]),
        ("protocol_version", ["protocolVersion", "protocol_version"]),
        ("capability_flags", ["capabilities", "capability_flags"]),
    ] {
        if let Some(value) = names.iter().find_map(|name| server.get(*name)) {
            item.insert(field.to_owned(), value.clone());
        }
    }
}
