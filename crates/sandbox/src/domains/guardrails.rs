//! Guardrails: versioned checks with actions, and the MCP servers whose tool calls they inspect.

use serde_json::{Value, json};

use super::{common_fields::BY_IDS, mcp_servers, users};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{
        CrudAction, Hooks, ListFilter, ListSettings, MissingResponse, PendingWrite, Resource,
    },
    route::{ApiVersion, Domain, get, put},
    store::{Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&GUARDRAILS],
    routes: &[
        put("/guardrails/{id}", update),
        get("/guardrails/{id}/mcp-servers", list_servers),
        put("/guardrails/{id}/mcp-servers", replace_servers),
        put("/guardrails/{id}/mcp-servers/{server}", set_server),
    ],
};

/// Private field with the number of versions.
const VERSION_FIELD: &str = "version";

/// Private field with the mapped MCP servers, by id.
const SERVERS_FIELD: &str = "mcp_servers";

static GUARDRAILS: Resource = Resource {
    // An update has its own route, because it responds 400 for a missing guardrail.
    actions: &[
        CrudAction::List,
        CrudAction::Create,
        CrudAction::Get,
        CrudAction::Delete,
    ],
    missing_response: MissingResponse::Forbidden,
    slug_prefix: "pg-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("checks", FieldType::List(&CHECKS)).required(),
        Field::new("actions", FieldType::AnyObject).required(),
        Field::new("workspace_id", FieldType::Workspace)
            .nullable()
            .immutable()
            .with_default(DefaultValue::Null),
        Field::new("target", FieldType::Enum(&["llm", "mcp_tools"]))
            .immutable()
            .with_default(DefaultValue::Text("llm")),
    ],
    derived_fields: &[("version_id", |_, _, guardrail| {
        Some(version_id(guardrail).into())
    })],
    list: ListSettings {
        paging: Paging::zero_based(100, 1000),
        envelope: Envelope {
            includes_object: false,
            includes_has_more: false,
        },
        filters: &[
            ListFilter::equals("workspace_id", FieldType::Workspace),
            ListFilter {
                param: "organisation_id",
                kind: FieldType::Text,
                predicate: Some(|_, guardrail, _| text(guardrail, "workspace_id").is_empty()),
            },
            BY_IDS,
        ],
        item_fields: &[
            "id",
            "name",
            "slug",
            "organisation_id",
            "workspace_id",
            "status",
            "created_at",
            "last_updated_at",
            "owner_id",
            "updated_by",
        ],
    },
    read_fields: &[
        "id",
        "name",
        "slug",
        "organisation_id",
        "workspace_id",
        "status",
        "created_at",
        "last_updated_at",
        "owner_id",
        "updated_by",
        "checks",
        "actions",
        "target",
        "version_id",
    ],
    create_fields: &["id", "slug", "version_id"],
    update_fields: &["id", "slug", "version_id"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("guardrails", "guardrail", "/guardrails")
};

// Any id is accepted, because partners add checks.
static CHECK: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("id", FieldType::Name).required(),
    Field::new("parameters", FieldType::AnyObject),
    Field::new("name", FieldType::Name),
    Field::new("is_enabled", FieldType::Bool),
]);

static CHECKS: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Object(&CHECK))
};

static HANDLES: ListSchema = ListSchema::new(FieldType::Name);

/// Guardrails for requests, by id or slug.
pub(super) const INPUT: Field = Field::new("input_guardrails", FieldType::List(&HANDLES));

/// Guardrails for responses, by id or slug.
pub(super) const OUTPUT: Field = Field::new("output_guardrails", FieldType::List(&HANDLES));

/// Returns the guardrail with an id or slug. The live API responds 403 if there is none.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, ApiError> {
    GUARDRAILS.find(store, ORGANISATION, handle)
}

/// Checks that all guardrails in both lists exist.
pub(super) fn check_exist(store: &Store, lists: &Item) -> Result<(), ApiError> {
    let lists = [INPUT, OUTPUT]
        .into_iter()
        .filter_map(|field| lists.get(field.name)?.as_array());
    let mut handles = lists.flatten().filter_map(Value::as_str);
    handles.try_for_each(|handle| resolve(store, handle).map(|_| ()))
}

/// Checks that all guardrails in both lists exist and belong to the organisation.
pub(super) fn check_defaults(store: &Store, lists: &Item) -> Result<(), ApiError> {
    check_exist(store, lists)?;
    for field in [INPUT, OUTPUT] {
        let handles = lists
            .get(field.name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for handle in handles.filter_map(Value::as_str) {
            if !text(resolve(store, handle)?, "workspace_id").is_empty() {
                let why = format!("has `{handle}`, which is a guardrail of a workspace");
                return Err(ApiError::invalid_field(field.name, why));
            }
        }
    }
    Ok(())
}

/// Derives the id of a version from the guardrail's id and the number of the version.
fn version_id(guardrail: &Item) -> String {
    let number = guardrail
        .get(VERSION_FIELD)
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let (family, _) = text(guardrail, "id").rsplit_once('-').unwrap_or_default();
    format!("{family}-{number:012x}")
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    find_for_call(store, call).map_err(|_| ApiError::NothingToUpdate)?;
    crud::update(&GUARDRAILS, store, call)
}

/// Stores a guardrail without a `workspace_id` as one of the organisation, whatever else the body
/// names.
fn prepare_write(_: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    // Enabled checks omit `is_enabled` in responses.
    let checks = change.get_mut("checks").and_then(Value::as_array_mut);
    for check in checks
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if check.get("is_enabled") == Some(&Value::Bool(true)) {
            check.remove("is_enabled");
        }
    }
    let version = match draft.before {
        Some(before) => {
            change.insert("updated_by".to_owned(), users::OWNER_ID.into());
            before
                .get(VERSION_FIELD)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        }
        None => {
            change.insert("status".to_owned(), "active".into());
            change.insert("owner_id".to_owned(), users::OWNER_ID.into());
            change.insert(SERVERS_FIELD.to_owned(), json!({}));
            0
        }
    };
    change.insert(VERSION_FIELD.to_owned(), (version + 1).into());
    Ok(())
}

static SIDES: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Enum(&["input", "output"]))
};
static CAPABILITIES: ListSchema = ListSchema::new(FieldType::Name);

const MAPPING: &[Field] = &[
    Field::new("run_on", FieldType::List(&SIDES)).required(),
    Field::new(
        "mcp_integration_capability_ids",
        FieldType::List(&CAPABILITIES),
    )
    .with_default(DefaultValue::EmptyList),
];

static MAPPING_SHAPE: ObjectSchema = ObjectSchema::new(MAPPING);

const REPLACEMENT: &[Field] = &[Field::new(SERVERS_FIELD, FieldType::AnyObject).required()];

/// Returns the guardrail that the path names.
fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    resolve(store, call.handle())
}

fn mapped_servers(guardrail: &Item) -> Item {
    guardrail
        .get(SERVERS_FIELD)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Returns a mapping without its private fields.
fn show_mapping(mapping: &Value) -> Value {
    let mut mapping = mapping.as_object().cloned().unwrap_or_default();
    mapping.remove("map_id");
    Value::Object(mapping)
}

fn list_servers(store: &mut Store, call: &ApiCall) -> ApiResult {
    let servers = mapped_servers(find_for_call(store, call)?);
    let shown: Item = servers
        .iter()
        .map(|(id, mapping)| (id.clone(), show_mapping(mapping)))
        .collect();
    Ok(json!({ (SERVERS_FIELD): shown }))
}

/// Returns the guardrail for mapping servers; its target must be tool calls.
fn find_mappable(store: &Store, call: &ApiCall) -> Result<(String, Item), ApiError> {
    let guardrail = find_for_call(store, call)?;
    match text(guardrail, "target") {
        "mcp_tools" => Ok((item_id(guardrail), mapped_servers(guardrail))),
        _ => Err(ApiError::Invalid(
            "The guardrail's `target` is not mcp_tools".to_owned(),
        )),
    }
}

/// Replaces all mapped servers. One invalid server leaves all of them unchanged.
fn replace_servers(store: &mut Store, call: &ApiCall) -> ApiResult {
    let (guardrail, before) = find_mappable(store, call)?;
    let given = validation::validate_body(store, REPLACEMENT, &call.body, WriteKind::Create)?;
    let mut after = Item::new();
    let mut added = Vec::new();
    let mut updated = Vec::new();
    for (handle, mapping) in given
        .get(SERVERS_FIELD)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("{SERVERS_FIELD}.{handle}");
        let mapping =
            validation::validate_value(store, FieldType::Object(&MAPPING_SHAPE), &path, mapping)?;
        let id = item_id(mcp_servers::resolve(store, handle)?);
        match before.get(&id) {
            Some(old) if show_mapping(old) == mapping => {}
            Some(_) => updated.push(id.clone()),
            None => added.push(id.clone()),
        }
        let mut mapping = mapping.as_object().cloned().unwrap_or_default();
        let known = before.get(&id).and_then(|old| old.get("map_id")).cloned();
        mapping.insert(
            "map_id".to_owned(),
            known.unwrap_or_else(|| store.next_id().into()),
        );
        after.insert(id, Value::Object(mapping));
    }
    let removed: Vec<&String> = before
        .keys()
        .filter(|id| !after.contains_key(*id))
        .collect();
    let changed = !(added.is_empty() && updated.is_empty() && removed.is_empty());
    let answer =
        json!({ "changed": changed, "added": added, "updated": updated, "removed": removed });
    store_servers(store, &guardrail, after);
    Ok(answer)
}

/// Maps one server or changes its mapping. Absent fields keep their values.
fn set_server(store: &mut Store, call: &ApiCall) -> ApiResult {
    let (guardrail, mut servers) = find_mappable(store, call)?;
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let id = item_id(mcp_servers::resolve(store, handle)?);
    let known = servers.get(&id).and_then(Value::as_object).cloned();
    let occasion = if known.is_some() {
        WriteKind::Update
    } else {
        WriteKind::Create
    };
    let given = validation::validate_body(store, MAPPING, &call.body, occasion)?;
    let mut mapping = known.unwrap_or_default();
    mapping.extend(given);
    let map_id = mapping
        .get("map_id")
        .cloned()
        .unwrap_or_else(|| store.next_id().into());
    mapping.insert("map_id".to_owned(), map_id.clone());
    servers.insert(id, Value::Object(mapping));
    store_servers(store, &guardrail, servers);
    Ok(json!({ "map_id": map_id }))
}

fn store_servers(store: &mut Store, guardrail: &str, servers: Item) {
    if let Some(item) = store.find_mut(GUARDRAILS.organisation_collection(), guardrail) {
        item.insert(SERVERS_FIELD.to_owned(), Value::Object(servers));
    }
}
