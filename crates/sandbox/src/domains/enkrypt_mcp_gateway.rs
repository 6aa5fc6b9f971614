//! Enkrypt AI's MCP gateways, and the registry of their servers. This API of another vendor has its
//! own key header and error body.
//!
//! Headers identify the target of a call. The version is part of the identity: a gateway stored as
//! `v2` is not found as `v1`.

use serde_json::{Value, json};

use crate::{
    call::Call,
    check::{self, Occasion},
    crud::{Outcome, pick},
    field::{Field, Kind, List, Shape},
    refusal::Refusal,
    route::{Domain, Version, get, patch},
    store::{Item, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::Enkrypt],
    resources: &[],
    routes: &[
        get("/mcp-gateway/get-gateway", |store, call| {
            Ok(pick(named(store, call, &GATEWAYS)?, GATEWAY_FIELDS))
        }),
        get("/mcp-gateway/get-gateway-config", expanded),
        patch("/mcp-gateway/modify-gateway", modify),
        get("/mcp-registry/get-server", |store, call| {
            Ok(pick(named(store, call, &SERVERS)?, SERVER_FIELDS))
        }),
    ],
};

/// Name of the only project and the only registry.
const DEFAULT: &str = "default";
/// Id of the user who owns the sandbox's keys.
const USER: &str = "e4c10000-0000-4000-8000-00000000ada0";

/// A kind of documents that headers identify.
pub(crate) struct Kept {
    shelf: Shelf<'static>,
    /// Name of the kind in errors.
    object: &'static str,
    /// Header with the name. The header with the version has the suffix `-version`.
    header: &'static str,
    longest: usize,
    name: &'static str,
    version: &'static str,
}

/// MCP gateways.
pub(crate) static GATEWAYS: Kept = Kept {
    shelf: Shelf {
        kind: "enkrypt-gateways",
        owner: DEFAULT,
    },
    object: "MCP gateway",
    header: "x-enkrypt-mcp-gateway",
    longest: 32,
    name: "gateway_saved_name",
    version: "gateway_version",
};

/// Servers in the registry.
pub(crate) static SERVERS: Kept = Kept {
    shelf: Shelf {
        kind: "enkrypt-servers",
        owner: DEFAULT,
    },
    object: "MCP registry server",
    header: "x-enkrypt-mcp-registry-server",
    longest: usize::MAX,
    name: "saved_name",
    version: "server_version",
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

static POLICY: Shape = Shape::of(&[
    Field::new("enabled", Kind::Flag).nullable(),
    Field::new("guardrail_name", Kind::Text).nullable(),
    Field::new("additional_config", Kind::Object).nullable(),
    Field::new("block", Kind::List(&List::of(Kind::Text))).nullable(),
]);
const INPUT: Field = Field::new("input_guardrails_config", Kind::Shape(&POLICY)).nullable();
const OUTPUT: Field = Field::new("output_guardrails_config", Kind::Shape(&POLICY)).nullable();
static OVERRIDES: Shape = Shape::of(&[
    INPUT,
    OUTPUT,
    Field::new("server_tools_guardrails_config", Kind::Shape(&POLICY)).nullable(),
]);
static SERVER: Shape = Shape::of(&[
    Field::new("saved_name", Kind::Name).required(),
    Field::new("server_version", Kind::Text),
    INPUT,
    OUTPUT,
    Field::new("_delete", Kind::Flag),
]);
static CONFIG: Shape = Shape::of(&[
    Field::new("common_overrides", Kind::Shape(&OVERRIDES)).nullable(),
    Field::new("servers", Kind::List(&List::of(Kind::Shape(&SERVER)))).nullable(),
]);
static PATCH: &[Field] = &[
    Field::new("servers_config", Kind::Shape(&CONFIG)).nullable(),
    Field::new("is_active", Kind::Flag),
    Field::new("is_sample", Kind::Flag),
];

/// Stores a document under its name and version.
pub(crate) fn keep(store: &mut Store, kind: &Kept, document: Value) {
    let Value::Object(mut document) = document else {
        return;
    };
    let now = store.clock.now();
    let handle = handle(text(&document, kind.name), text(&document, kind.version));
    let common = [
        ("slug", handle.into()),
        ("project_name", DEFAULT.into()),
        ("is_active", true.into()),
        ("is_sample", false.into()),
        ("created_at", now.clone().into()),
        ("updated_at", now.into()),
        ("created_by", USER.into()),
        ("updated_by", USER.into()),
    ];
    document.extend(common.map(|(name, value)| (name.to_owned(), value)));
    store.insert(kind.shelf, document);
}

/// Returns the handle of a document. The separator is unambiguous, because headers cannot contain a
/// line break.
fn handle(name: &str, version: &str) -> String {
    format!("{name}\n{version}")
}

/// Returns the handle of the document that the headers of a call identify.
fn asked(call: &Call, kind: &Kept) -> Result<String, Refusal> {
    let (header, longest) = (kind.header, kind.longest);
    let name = call
        .header(header)
        .ok_or_else(|| Refusal::Invalid(format!("The header {header} is required")))?;
    if name.len() > longest {
        return Err(Refusal::Invalid(format!(
            "{header} takes {longest} characters at most"
        )));
    }
    let elsewhere = ["x-enkrypt-project", "x-enkrypt-mcp-registry"]
        .iter()
        .any(|place| call.header(place).is_some_and(|name| name != DEFAULT));
    match elsewhere {
        true => Err(Refusal::NotFound(kind.object)),
        false => Ok(handle(
            name,
            call.header(&format!("{header}-version")).unwrap_or("v1"),
        )),
    }
}

fn named<'s>(store: &'s Store, call: &Call, kind: &Kept) -> Result<&'s Item, Refusal> {
    store
        .find(kind.shelf, &asked(call, kind)?)
        .ok_or(Refusal::NotFound(kind.object))
}

fn modify(store: &mut Store, call: &Call) -> Outcome {
    let handle = asked(call, &GATEWAYS)?;
    let patch = Value::Object(check::body(store, PATCH, &call.body, Occasion::Update)?);
    let now = store.clock.now();
    let gateway = store.find_mut(GATEWAYS.shelf, &handle);
    let gateway = gateway.ok_or(Refusal::NotFound(GATEWAYS.object))?;
    if let Value::Object(merged) =
        portkey_merge_patch::merge(&Value::Object(gateway.clone()), &patch)
    {
        *gateway = merged;
    }
    gateway.insert("updated_at".to_owned(), now.into());
    Ok(json!({ "message": "MCP gateway modified", "data": pick(gateway, GATEWAY_FIELDS) }))
}

/// Returns the effective config of a gateway, with the registry's data for each server.
fn expanded(store: &mut Store, call: &Call) -> Outcome {
    let gateway = named(store, call, &GATEWAYS)?;
    let config = gateway.get("servers_config");
    let servers = config
        .and_then(|config| config.get("servers"))
        .and_then(Value::as_array);
    let expand = |server: &Item| {
        let handle = handle(text(server, "saved_name"), text(server, "server_version"));
        // A server unknown to the registry has no data.
        let known = store
            .find(SERVERS.shelf, &handle)
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
        "project_name": DEFAULT,
        "common_overrides": overrides,
        "expanded_servers": servers,
        "request_context": {
            "gateway_version": text(gateway, "gateway_version"),
            "gateway_saved_name": text(gateway, "gateway_saved_name"),
            "user_id": USER,
            "registry_name": DEFAULT,
            "project_name": DEFAULT,
        },
    }))
}
