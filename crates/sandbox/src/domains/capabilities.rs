//! Capabilities of an MCP integration, as last synchronised from its upstream.
//!
//! MCP servers list and switch their capabilities in the same way and share this code.

use serde_json::{Value, json};

use super::mcp_integrations::{MCP_INTEGRATIONS, find_for_call};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object, pick},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::Paging,
    store::{CollectionKey, Item, Store, flag, text},
    validation::{self, WriteKind},
};

const TYPES: &[&str] = &["tool", "prompt", "resource", "resource_template"];

const PAGING: Paging = Paging::one_based(100, 500);

/// Returns the collection of an MCP integration's capabilities, whose handle combines type and
/// name.
pub(super) fn collection_key(mcp_integration: &str) -> CollectionKey<'_> {
    CollectionKey {
        kind: "mcp-capabilities",
        owner: mcp_integration,
    }
}

/// Returns the handle of a capability.
pub(super) fn capability_handle(capability: &Item) -> String {
    format!("{}/{}", text(capability, "type"), text(capability, "name"))
}

/// Returns one page of the capabilities, with the counts of all.
pub(super) fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let all: Vec<&Item> = store.all(collection_key(&owner)).collect();
    render_page(
        store,
        call,
        &all,
        &["enabled", "created_at", "last_updated_at"],
    )
}

/// Fields of a capability before its state; `DETAIL_FIELDS` come after it.
const NAME_FIELDS: &[&str] = &["name", "type", "title", "description", "icons"];
const DETAIL_FIELDS: &[&str] = &[
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
pub(super) fn render_page(
    store: &Store,
    call: &ApiCall,
    all: &[&Item],
    state: &[&str],
) -> ApiResult {
    let asked = call.query("type");
    if let Some(asked) = asked {
        validation::validate_value(store, FieldType::Enum(TYPES), "type", &asked.into())?;
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
    let matching: Vec<&Item> = all.iter().copied().filter(asked_for).collect();
    let (page, has_more) = PAGING.select_page(call, &matching)?;
    let shown = [NAME_FIELDS, state, DETAIL_FIELDS].concat();
    let data: Vec<Value> = page.iter().map(|item| pick(item, &shown)).collect();
    Ok(json!({ "data": data, "counts": counts, "total": matching.len(), "has_more": has_more }))
}

static SWITCH: ObjectSchema = ObjectSchema::new(&[
    Field::new("name", FieldType::Name).required(),
    Field::new("type", FieldType::Enum(&["tool", "prompt", "resource"])).required(),
    Field::new("enabled", FieldType::Bool).required(),
]);

static SWITCHES: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Object(&SWITCH))
};

const UPDATE: &[Field] = &[Field::new("capabilities", FieldType::List(&SWITCHES)).required()];

/// Parses the switches of a call. An unknown capability invalidates all of them.
pub(super) fn parse_switches(
    store: &Store,
    call: &ApiCall,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<Item>, ApiError> {
    let mut given = validation::validate_body(store, UPDATE, &call.body, WriteKind::Create)?;
    let Some(Value::Array(switches)) = given.remove("capabilities") else {
        return Ok(Vec::new());
    };
    let switches = switches
        .into_iter()
        .filter_map(|switch| switch.as_object().cloned());
    let switches: Vec<Item> = switches.collect();
    match switches
        .iter()
        .map(capability_handle)
        .find(|handle| !is_known(handle))
    {
        Some(handle) => Err(ApiError::NotFound {
            object: "capability",
            handle,
        }),
        None => Ok(switches),
    }
}

/// Enables or disables the named capabilities.
pub(super) fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let is_known = |handle: &str| store.find(collection_key(&owner), handle).is_some();
    let switches = parse_switches(store, call, is_known)?;
    let now = store.clock.now();
    for switch in &switches {
        if let Some(stored) = store.find_mut(collection_key(&owner), &capability_handle(switch)) {
            stored.insert("enabled".to_owned(), flag(switch, "enabled").into());
            stored.insert("last_updated_at".to_owned(), now.clone().into());
        }
    }
    Ok(json!({ "success": true }))
}

/// Fields with the metadata of an upstream server.
pub(super) const METADATA_FIELDS: &[&str] = &[
    "server_name",
    "server_version",
    "protocol_version",
    "capability_flags",
    "sync_status",
    "last_synced_at",
    "sync_error",
];

/// Returns the metadata of the upstream server.
pub(super) fn get_metadata(store: &mut Store, call: &ApiCall) -> ApiResult {
    Ok(pick(find_for_call(store, call)?, METADATA_FIELDS))
}

static CAPABILITY: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("name", FieldType::Name).required(),
    Field::new("type", FieldType::Enum(TYPES)).required(),
    Field::new("enabled", FieldType::Bool).with_default(DefaultValue::Bool(true)),
]);

/// A list of capabilities, as reported by a client of the upstream.
pub(super) static CAPABILITY_LIST: ListSchema = ListSchema::new(FieldType::Object(&CAPABILITY));

const SYNC: &[Field] = &[
    Field::new("server_info", FieldType::AnyObject),
    Field::new("capabilities", FieldType::List(&CAPABILITY_LIST)),
];

/// Stores what the caller reports about the upstream. A list of capabilities replaces the existing
/// one; disabled capabilities stay disabled.
pub(super) fn sync(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, SYNC, &call.body, WriteKind::Create)?;
    if let Some(Value::Array(offers)) = given.get("capabilities") {
        replace_all(store, &owner, offers);
    }
    let now = store.clock.now();
    if let Some(item) = store.find_mut(MCP_INTEGRATIONS.organisation_collection(), &owner) {
        if let Some(Value::Object(server)) = given.get("server_info") {
            copy_server_info(item, server);
        }
        item.insert("sync_status".to_owned(), "synced".into());
        item.insert("last_synced_at".to_owned(), now.into());
    }
    Ok(empty_object())
}

/// Replaces the list of capabilities; disabled capabilities stay disabled.
pub(super) fn replace_all(store: &mut Store, owner: &str, offers: &[Value]) {
    let now: Value = store.clock.now().into();
    let known: Vec<Item> = store.all(collection_key(owner)).cloned().collect();
    store.clear(collection_key(owner));
    for offer in offers.iter().filter_map(Value::as_object) {
        let slug = capability_handle(offer);
        let before = known.iter().find(|known| text(known, "slug") == slug);
        let mut item = offer.clone();
        item.remove("id");
        item.insert("created_at".to_owned(), now.clone());
        for field in ["enabled", "created_at"] {
            if let Some(value) = before.and_then(|before| before.get(field)) {
                item.insert(field.to_owned(), value.clone());
            }
        }
        item.insert("last_updated_at".to_owned(), now.clone());
        item.insert("slug".to_owned(), slug.into());
        store.insert(collection_key(owner), item);
    }
}

/// Copies what an MCP server reports about itself at the start of a session.
fn copy_server_info(item: &mut Item, server: &Item) {
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
