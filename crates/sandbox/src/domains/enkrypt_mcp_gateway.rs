//! Enkrypt AI's MCP gateways, and the registry of their servers. This API of another vendor has its
//! own key header and error body.
//!
//! Headers identify the target of a call. The version is part of the identity: a gateway stored as
//! `v2` is not found as `v1`.

use serde_json::{Value, json};

use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::{ApiResult, pick},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    route::{ApiVersion, Domain, get, patch},
    store::{CollectionKey, Item, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::Enkrypt],
    resources: &[],
    routes: &[
        get("/mcp-gateway/get-gateway", |store, call| {
            Ok(pick(find_for_call(store, call, &GATEWAYS)?, GATEWAY_FIELDS))
        }),
        get("/mcp-gateway/get-gateway-config", get_expanded_config),
        patch("/mcp-gateway/modify-gateway", modify),
        get("/mcp-registry/get-server", |store, call| {
            Ok(pick(find_for_call(store, call, &SERVERS)?, SERVER_FIELDS))
        }),
    ],
};

/// Name of the only project and the only registry.
const DEFAULT_NAME: &str = "default";
/// Id of the user who owns the sandbox's keys.
const USER_ID: &str = "e4c10000-0000-4000-8000-00000000ada0";

/// A kind of documents that headers identify.
pub(crate) struct DocumentKind {
    collection: CollectionKey<'static>,
    /// Name of the kind in errors.
    object: &'static str,
    /// Header with the name. The header with the version has the suffix `-version`.
    header: &'static str,
    max_name_bytes: usize,
    name_field: &'static str,
    version_field: &'static str,
}

/// MCP gateways.
pub(crate) static GATEWAYS: DocumentKind = DocumentKind {
    collection: CollectionKey {
        kind: "enkrypt-gateways",
        owner: DEFAULT_NAME,
    },
    object: "MCP gateway",
    header: "x-enkrypt-mcp-gateway",
    max_name_bytes: 32,
    name_field: "gateway_saved_name",
    version_field: "gateway_version",
};

/// Servers in the registry.
pub(crate) static SERVERS: DocumentKind = DocumentKind {
    collection: CollectionKey {
        kind: "enkrypt-servers",
        owner: DEFAULT_NAME,
    },
    object: "MCP registry server",
    header: "x-enkrypt-mcp-registry-server",
    max_name_bytes: usize::MAX,
    name_field: "saved_name",
    version_field: "server_version",
};

const GATEWAY_FIELDS: &[&str] = &[
    "gateway_saved_name",
    "gateway_version",
    "servers_config",
    "gateway_id",
    "project_name",
    "is_active",
    "is_sample",
    "created_at",
    "updated_at",
    "created_by",
    "updated_by",
];

const SERVER_FIELDS: &[&str] = &[
    "saved_name",
    "server_version",
    "server_name",
    "description",
    "mcp_config",
    "registry_id",
    "registry_name",
    "project_name",
    "is_active",
    "is_sample",
    "source_url",
    "source_version",
    "created_at",
    "updated_at",
];

static POLICY: ObjectSchema = ObjectSchema::new(&[
    Field::new("enabled", FieldType::Bool).nullable(),
    Field::new("guardrail_name", FieldType::Text).nullable(),
    Field::new("additional_config", FieldType::AnyObject).nullable(),
    Field::new("block", FieldType::List(&ListSchema::new(FieldType::Text))).nullable(),
]);
const INPUT: Field = Field::new("input_guardrails_config", FieldType::Object(&POLICY)).nullable();
const OUTPUT: Field = Field::new("output_guardrails_config", FieldType::Object(&POLICY)).nullable();
static OVERRIDES: ObjectSchema = ObjectSchema::new(&[
    INPUT,
    OUTPUT,
    Field::new("server_tools_guardrails_config", FieldType::Object(&POLICY)).nullable(),
]);
static SERVER: ObjectSchema = ObjectSchema::new(&[
    Field::new("saved_name", FieldType::Name).required(),
    Field::new("server_version", FieldType::Text),
    INPUT,
    OUTPUT,
    Field::new("_delete", FieldType::Bool),
]);
static CONFIG: ObjectSchema = ObjectSchema::new(&[
    Field::new("common_overrides", FieldType::Object(&OVERRIDES)).nullable(),
    Field::new(
        "servers",
        FieldType::List(&ListSchema::new(FieldType::Object(&SERVER))),
    )
    .nullable(),
]);
static PATCH: &[Field] = &[
    Field::new("servers_config", FieldType::Object(&CONFIG)).nullable(),
    Field::new("is_active", FieldType::Bool),
    Field::new("is_sample", FieldType::Bool),
];

/// Stores a document under its name and version.
pub(crate) fn insert_document(store: &mut Store, kind: &DocumentKind, document: Value) {
    let Value::Object(mut document) = document else {
        return;
    };
    let now = store.clock.now();
    let handle = versioned_handle(
        text(&document, kind.name_field),
        text(&document, kind.version_field),
    );
    let common = [
        ("slug", handle.into()),
        ("project_name", DEFAULT_NAME.into()),
        ("is_active", true.into()),
        ("is_sample", false.into()),
        ("created_at", now.clone().into()),
        ("updated_at", now.into()),
        ("created_by", USER_ID.into()),
        ("updated_by", USER_ID.into()),
    ];
    document.extend(common.map(|(name, value)| (name.to_owned(), value)));
    store.insert(kind.collection, document);
}

/// Returns the handle of a document. The separator is unambiguous, because headers cannot contain a
/// line break.
fn versioned_handle(name: &str, version: &str) -> String {
    format!("{name}\n{version}")
}

/// Returns the handle of the document that the headers of a call identify.
fn requested_handle(call: &ApiCall, kind: &DocumentKind) -> Result<String, ApiError> {
    let header = kind.header;
    let longest = kind.max_name_bytes;
    let name = call
        .header(header)
        .ok_or_else(|| ApiError::Invalid(format!("The header {header} is required")))?;
    if name.len() > longest {
        return Err(ApiError::Invalid(format!(
            "{header} takes {longest} characters at most"
        )));
    }
    let elsewhere = ["x-enkrypt-project", "x-enkrypt-mcp-registry"]
        .iter()
        .any(|place| call.header(place).is_some_and(|name| name != DEFAULT_NAME));
    match elsewhere {
        true => Err(ApiError::EnkryptNotFound(kind.object)),
        false => Ok(versioned_handle(
            name,
            call.header(&format!("{header}-version")).unwrap_or("v1"),
        )),
    }
}

fn find_for_call<'s>(
    store: &'s Store,
    call: &ApiCall,
    kind: &DocumentKind,
) -> Result<&'s Item, ApiError> {
    store
        .find(kind.collection, &requested_handle(call, kind)?)
        .ok_or(ApiError::EnkryptNotFound(kind.object))
}

fn modify(store: &mut Store, call: &ApiCall) -> ApiResult {
    let handle = requested_handle(call, &GATEWAYS)?;
    let patch = Value::Object(validation::validate_body(
        store,
        PATCH,
        &call.body,
        WriteKind::Update,
    )?);
    let now = store.clock.now();
    let gateway = store.find_mut(GATEWAYS.collection, &handle);
    let gateway = gateway.ok_or(ApiError::EnkryptNotFound(GATEWAYS.object))?;
    if let Value::Object(merged) =
        portkey_merge_patch::gateway::merge(&Value::Object(gateway.clone()), &patch)
    {
        *gateway = merged;
    }
    gateway.insert("updated_at".to_owned(), now.into());
    Ok(json!({ "message": "MCP gateway modified", "data": pick(gateway, GATEWAY_FIELDS) }))
}

/// Returns the effective config of a gateway, with the registry's data for each server.
fn get_expanded_config(store: &mut Store, call: &ApiCall) -> ApiResult {
    let gateway = find_for_call(store, call, &GATEWAYS)?;
    let config = gateway.get("servers_config");
    let servers = config
        .and_then(|config| config.get("servers"))
        .and_then(Value::as_array);
    let expand = |server: &Item| {
        let handle = versioned_handle(text(server, "saved_name"), text(server, "server_version"));
        // A server unknown to the registry has no data.
        let known = store
            .find(SERVERS.collection, &handle)
            .cloned()
            .unwrap_or_default();
        let known = |field: &str| known.get(field).cloned().unwrap_or_default();
        json!({
            "saved_name": text(server, "saved_name"),
            "server_name": known("server_name"),
            "description": known("description"),
            "is_active": known("is_active"),
            "mcp_config": known("mcp_config"),
            "gateway_overrides": pick(server, &[INPUT.name, OUTPUT.name]),
        })
    };
    let servers = servers
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(expand);
    let servers: Vec<Value> = servers.collect();
    let overrides = config.and_then(|config| config.get("common_overrides"));
    Ok(json!({
        "gateway_id": gateway.get("gateway_id"),
        "gateway_saved_name": text(gateway, "gateway_saved_name"),
        "project_name": DEFAULT_NAME,
        "common_overrides": overrides,
        "expanded_servers": servers,
        "request_context": {
            "gateway_version": text(gateway, "gateway_version"),
            "gateway_saved_name": text(gateway, "gateway_saved_name"),
            "user_id": USER_ID,
            "registry_name": DEFAULT_NAME,
            "project_name": DEFAULT_NAME,
        },
    }))
}
