//! Guardrails: versioned checks with actions, and the MCP servers whose tool calls they inspect.

use serde_json::{Value, json};

use super::{mcp_servers, parts::BY_IDS, users};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{self, Outcome},
    field::{Field, Kind, List, Preset, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Missing, Resource, Verb},
    route::{Domain, Version, get, put},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&GUARDRAILS],
    routes: &[
        put("/guardrails/{id}", update),
        get("/guardrails/{id}/mcp-servers", list_servers),
        put("/guardrails/{id}/mcp-servers", replace_servers),
        put("/guardrails/{id}/mcp-servers/{server}", set_server),
    ],
};

/// Private field with the number of versions.
const VERSION: &str = "version";

/// Private field with the mapped MCP servers, by id.
const SERVERS: &str = "mcp_servers";

static GUARDRAILS: Resource = Resource {
    // An update has its own route, because it responds 400 for a missing guardrail.
    verbs: &[Verb::List, Verb::Create, Verb::Get, Verb::Delete],
    missing: Missing::Forbidden,
    slug_prefix: "pg-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("checks", Kind::List(&CHECKS)).required(),
        Field::new("actions", Kind::Object).required(),
        Field::new("workspace_id", Kind::Workspace)
            .nullable()
            .fixed()
            .preset(Preset::Null),
        Field::new("target", Kind::Choice(&["llm", "mcp_tools"]))
            .fixed()
            .preset(Preset::Text("llm")),
    ],
    derived: &[("version_id", |_, _, guardrail| {
        Some(version_id(guardrail).into())
    })],
    list: Listing {
        paging: Paging::zero_based(100, 1000),
        envelope: Envelope {
            object: false,
            has_more: false,
        },
        filters: &[
            Filter::same("workspace_id", Kind::Workspace),
            Filter {
                param: "organisation_id",
                kind: Kind::Text,
                keeps: Some(|_, guardrail, _| text(guardrail, "workspace_id").is_empty()),
            },
            BY_IDS,
        ],
        shows: &[
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
    reads: &[
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
    creates: &["id", "slug", "version_id"],
    updates: &["id", "slug", "version_id"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("guardrails", "guardrail", "/guardrails")
};

// Any id is accepted, because partners add checks.
static CHECK: Shape = Shape::open(&[
    Field::new("id", Kind::Name).required(),
    Field::new("parameters", Kind::Object),
    Field::new("name", Kind::Name),
    Field::new("is_enabled", Kind::Flag),
]);

static CHECKS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&CHECK))
};

static HANDLES: List = List::of(Kind::Name);

/// Guardrails for requests, by id or slug.
pub(super) const INPUT: Field = Field::new("input_guardrails", Kind::List(&HANDLES));

/// Guardrails for responses, by id or slug.
pub(super) const OUTPUT: Field = Field::new("output_guardrails", Kind::List(&HANDLES));

/// Returns the guardrail with an id or slug. The live API responds 403 if there is none.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, Refusal> {
    GUARDRAILS.find(store, ORGANISATION, handle)
}

/// Checks that all guardrails in both lists exist.
pub(super) fn check_named(store: &Store, lists: &Item) -> Result<(), Refusal> {
    let lists = [INPUT, OUTPUT]
        .into_iter()
        .filter_map(|field| lists.get(field.name)?.as_array());
    let mut handles = lists.flatten().filter_map(Value::as_str);
    handles.try_for_each(|handle| resolve(store, handle).map(|_| ()))
}

/// Checks that all guardrails in both lists exist and belong to the organisation.
pub(super) fn check_defaults(store: &Store, lists: &Item) -> Result<(), Refusal> {
    check_named(store, lists)?;
    for field in [INPUT, OUTPUT] {
        let handles = lists
            .get(field.name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for handle in handles.filter_map(Value::as_str) {
            if !text(resolve(store, handle)?, "workspace_id").is_empty() {
                let why = format!("has `{handle}`, which is a guardrail of a workspace");
                return Err(Refusal::field(field.name, why));
            }
        }
    }
    Ok(())
}

/// Derives the id of a version from the guardrail's id and the number of the version.
fn version_id(guardrail: &Item) -> String {
    let number = guardrail
        .get(VERSION)
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let (family, _) = text(guardrail, "id").rsplit_once('-').unwrap_or_default();
    format!("{family}-{number:012x}")
}

fn update(store: &mut Store, call: &Call) -> Outcome {
    named(store, call).map_err(|_| Refusal::NothingToUpdate)?;
    crud::update(&GUARDRAILS, store, call)
}

/// Stores a guardrail without a `workspace_id` as one of the organisation, whatever else the body
/// names.
fn admit(_: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
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
            change.insert("updated_by".to_owned(), users::OWNER.into());
            before
                .get(VERSION)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        }
        None => {
            change.insert("status".to_owned(), "active".into());
            change.insert("owner_id".to_owned(), users::OWNER.into());
            change.insert(SERVERS.to_owned(), json!({}));
            0
        }
    };
    change.insert(VERSION.to_owned(), (version + 1).into());
    Ok(())
}

static SIDES: List = List {
    least: 1,
    ..List::of(Kind::Choice(&["input", "output"]))
};
static CAPABILITIES: List = List::of(Kind::Name);

const MAPPING: &[Field] = &[
    Field::new("run_on", Kind::List(&SIDES)).required(),
    Field::new("mcp_integration_capability_ids", Kind::List(&CAPABILITIES))
        .preset(Preset::EmptyList),
];

static MAPPING_SHAPE: Shape = Shape::of(MAPPING);

const REPLACEMENT: &[Field] = &[Field::new(SERVERS, Kind::Object).required()];

/// Returns the guardrail that the path names.
fn named<'s>(store: &'s Store, call: &Call) -> Result<&'s Item, Refusal> {
    resolve(store, call.handle())
}

fn servers(guardrail: &Item) -> Item {
    guardrail
        .get(SERVERS)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Returns a mapping without its private fields.
fn shown(mapping: &Value) -> Value {
    let mut mapping = mapping.as_object().cloned().unwrap_or_default();
    mapping.remove("map_id");
    Value::Object(mapping)
}

fn list_servers(store: &mut Store, call: &Call) -> Outcome {
    let servers = servers(named(store, call)?);
    let shown: Item = servers
        .iter()
        .map(|(id, mapping)| (id.clone(), shown(mapping)))
        .collect();
    Ok(json!({ (SERVERS): shown }))
}

/// Returns the guardrail for mapping servers; its target must be tool calls.
fn mappable(store: &Store, call: &Call) -> Result<(String, Item), Refusal> {
    let guardrail = named(store, call)?;
    match text(guardrail, "target") {
        "mcp_tools" => Ok((id_of(guardrail), servers(guardrail))),
        _ => Err(Refusal::Invalid(
            "The guardrail's `target` is not mcp_tools".to_owned(),
        )),
    }
}

/// Replaces all mapped servers. One invalid server leaves all of them unchanged.
fn replace_servers(store: &mut Store, call: &Call) -> Outcome {
    let (guardrail, before) = mappable(store, call)?;
    let given = check::body(store, REPLACEMENT, &call.body, Occasion::Create)?;
    let (mut after, mut added, mut updated) = (Item::new(), Vec::new(), Vec::new());
    for (handle, mapping) in given
        .get(SERVERS)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("{SERVERS}.{handle}");
        let mapping = check::value(store, Kind::Shape(&MAPPING_SHAPE), &path, mapping)?;
        let id = id_of(mcp_servers::resolve(store, handle)?);
        match before.get(&id) {
            Some(old) if shown(old) == mapping => {}
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
    keep(store, &guardrail, after);
    Ok(answer)
}

/// Maps one server or changes its mapping. Absent fields keep their values.
fn set_server(store: &mut Store, call: &Call) -> Outcome {
    let (guardrail, mut servers) = mappable(store, call)?;
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let id = id_of(mcp_servers::resolve(store, handle)?);
    let known = servers.get(&id).and_then(Value::as_object).cloned();
    let occasion = if known.is_some() {
        Occasion::Update
    } else {
        Occasion::Create
    };
    let given = check::body(store, MAPPING, &call.body, occasion)?;
    let mut mapping = known.unwrap_or_default();
    mapping.extend(given);
    let map_id = mapping
        .get("map_id")
        .cloned()
        .unwrap_or_else(|| store.next_id().into());
    mapping.insert("map_id".to_owned(), map_id.clone());
    servers.insert(id, Value::Object(mapping));
    keep(store, &guardrail, servers);
    Ok(json!({ "map_id": map_id }))
}

fn keep(store: &mut Store, guardrail: &str, servers: Item) {
    if let Some(item) = store.find_mut(GUARDRAILS.shared(), guardrail) {
        item.insert(SERVERS.to_owned(), Value::Object(servers));
    }
}
