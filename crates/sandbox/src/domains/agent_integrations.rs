//! Agent integrations: agents, registered once and shared with workspaces.

use serde_json::{Value, json};

use super::{
    access, agent_cards,
    common_fields::{BY_SEARCH, BY_TYPE, merge_object, owner_level},
    users,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object, pick},
    field::{Field, FieldType, ObjectSchema},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&AGENT_INTEGRATIONS],
    routes: &[
        post("/agent-integrations/fetch-agent-card", fetch_card),
        get("/agent-integrations/{id}/skills", list_skills),
        put("/agent-integrations/{id}/skills", update_skills),
        get("/agent-integrations/{id}/workspaces", list_workspaces),
        put("/agent-integrations/{id}/workspaces", update_workspaces),
    ],
};

/// Kind of the access rows.
const ACCESS_KIND: &str = "agent-integration-workspaces";

pub(super) static AGENT_INTEGRATIONS: Resource = Resource {
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("url", FieldType::Url).required(),
        // Any name is accepted, because the vendor adds authentication types.
        Field::new("auth_type", FieldType::Name).required(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("description", FieldType::Text),
        Field::new("configurations", FieldType::AnyObject),
        Field::new("agent_card", FieldType::TextOrObject),
    ],
    secret_fields: &["custom_headers"],
    derived_fields: &[("type", |_, _, item| Some(owner_level(item).into()))],
    list: ListSettings {
        paging: Paging::zero_based(100, 1000),
        envelope: Envelope::LIST_WITH_MORE,
        filters: &[
            BY_SEARCH,
            BY_TYPE,
            ListFilter {
                param: "workspace_id",
                kind: FieldType::Workspace,
                predicate: Some(|store, item, asked| {
                    has_access(store, item, asked.as_str().unwrap_or_default())
                }),
            },
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    hooks: Hooks {
        before_write: prepare_write,
        after_create: finish_create,
        ..Hooks::NONE
    },
    ..Resource::new(
        "agent-integrations",
        "agent-integration",
        "/agent-integrations",
    )
};

const SHOWN: &[&str] = &[
    "id",
    "name",
    "slug",
    "description",
    "status",
    "type",
    "url",
    "auth_type",
    "configurations",
    "workspace_id",
    "owner_id",
    "created_at",
    "last_updated_at",
];

fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    AGENT_INTEGRATIONS.find(store, ORGANISATION, call.handle())
}

fn prepare_write(_: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    merge_object(draft.before, draft.change, "configurations");
    if draft.before.is_none() {
        draft.change.insert("status".to_owned(), "active".into());
        draft
            .change
            .insert("owner_id".to_owned(), users::OWNER_ID.into());
    }
    Ok(())
}

fn finish_create(store: &mut Store, shelf: CollectionKey<'_>, id: &str) {
    let workspace = store
        .find(shelf, id)
        .and_then(|item| item.get("workspace_id"));
    if let Some(Value::String(workspace)) = workspace.cloned() {
        access::grant(store, access_rows(id), &workspace);
    }
}

fn access_rows(id: &str) -> CollectionKey<'_> {
    CollectionKey {
        kind: ACCESS_KIND,
        owner: id,
    }
}

/// Returns true if a workspace may use an agent integration.
pub(super) fn has_access(store: &Store, integration: &Item, workspace: &str) -> bool {
    access::has_access(store, ACCESS_KIND, integration, workspace)
}

/// Returns the card of an agent: the one that was given, or one with a single skill.
pub(super) fn card(integration: &Item) -> Value {
    match integration.get("agent_card") {
        Some(Value::Object(card)) => Value::Object(card.clone()),
        Some(Value::String(text)) if serde_json::from_str::<Item>(text).is_ok() => {
            serde_json::from_str(text).unwrap_or_default()
        }
        _ => agent_cards::default_card(
            text(integration, "slug"),
            text(integration, "name"),
            text(integration, "description"),
        ),
    }
}

const FETCH: &[Field] = &[
    Field::new("endpoint", FieldType::Url).required(),
    Field::new("organisation_id", FieldType::Name).required(),
    Field::new("authType", FieldType::Name),
    Field::new("authToken", FieldType::Text),
    Field::new("authHeader", FieldType::Text),
];

/// Returns the card that an agent publishes. All hosts respond except those under `.invalid`.
fn fetch_card(store: &mut Store, call: &ApiCall) -> ApiResult {
    let given = validation::validate_body(store, FETCH, &call.body, WriteKind::Create)?;
    let endpoint = text(&given, "endpoint");
    let host = endpoint.parse::<http::Uri>().unwrap_or_default();
    if host.host().unwrap_or_default().ends_with(".invalid") {
        return Err(ApiError::invalid_field("endpoint", "does not answer"));
    }
    let name = endpoint.trim_end_matches('/').rsplit('/').next();
    let name = name.unwrap_or_default();
    Ok(agent_cards::default_card(
        name,
        name,
        "As its host describes it",
    ))
}

fn list_skills(store: &mut Store, call: &ApiCall) -> ApiResult {
    let integration = find_for_call(store, call)?;
    Ok(agent_cards::list_skills(&card(integration), integration))
}

fn update_skills(store: &mut Store, call: &ApiCall) -> ApiResult {
    let integration = find_for_call(store, call)?.clone();
    let items = AGENT_INTEGRATIONS.organisation_collection();
    agent_cards::update_skills(store, call, items, &integration)
}

fn list_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let integration = find_for_call(store, call)?;
    let shown = ["id", "enabled", "status", "created_at", "last_updated_at"];
    let rows = store.all(access_rows(text(integration, "id")));
    let rows: Vec<Value> = rows.map(|row| pick(row, &shown)).collect();
    let global = integration.get(access::GLOBAL_ACCESS_FIELD);
    Ok(json!({ "workspaces": rows, (access::GLOBAL_ACCESS_FIELD): global }))
}

static GLOBAL_ACCESS: ObjectSchema = ObjectSchema::new(&[Field::new("enabled", FieldType::Bool)]);

const GRANTS: &[Field] = &[
    Field::new("workspaces", FieldType::List(&agent_cards::HANDLES)).required(),
    Field::new(
        access::GLOBAL_ACCESS_FIELD,
        FieldType::Object(&GLOBAL_ACCESS),
    ),
    Field::new("override_existing_workspace_access", FieldType::Bool),
];

/// Grants access to the named workspaces. An object may say `enabled: false`, which revokes it.
fn update_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, GRANTS, &call.body, WriteKind::Create)?;
    let named = given.get("workspaces").and_then(Value::as_array);
    let mut rows = Vec::new();
    for row in named.into_iter().flatten() {
        let workspace = super::workspaces::resolve(store, agent_cards::handle_of(row))?;
        let enabled = row.get("enabled").is_none_or(|enabled| enabled == true);
        rows.push(json!({ "id": item_id(workspace), "enabled": enabled }));
    }
    let replace = flag(&given, "override_existing_workspace_access");
    access::merge_rows(store, access_rows(&id), &rows, replace);
    if let (Some(global), Some(item)) = (
        given.get(access::GLOBAL_ACCESS_FIELD),
        store.find_mut(AGENT_INTEGRATIONS.organisation_collection(), &id),
    ) {
        item.insert(access::GLOBAL_ACCESS_FIELD.to_owned(), global.clone());
    }
    Ok(empty_object())
}
