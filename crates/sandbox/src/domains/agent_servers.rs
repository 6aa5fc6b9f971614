//! Agent servers: an agent integration as one workspace uses it.

use serde_json::{Value, json};

use super::{
    agent_cards,
    agent_integrations::{self, AGENT_INTEGRATIONS},
    common_fields::{BY_IDS, BY_SEARCH},
    mcp_integrations, users,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult},
    field::{Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&AGENT_SERVERS],
    routes: &[
        get("/agent-servers", |store, call| {
            crud::list(&AGENT_SERVERS, store, call)
        }),
        get("/agent-servers/{id}/agent-card", get_card),
        get("/agent-servers/{id}/skills", list_skills),
        put("/agent-servers/{id}/skills", update_skills),
        post("/agent-servers/{id}/test", test),
        get("/agent-servers/{id}/user-access", list_access),
        put("/agent-servers/{id}/user-access", update_access),
    ],
};

/// Kind of the access settings of single users.
const OVERRIDES_KIND: &str = "agent-server-users";

static AGENT_SERVERS: Resource = Resource {
    // Only listing requires a workspace.
    actions: &[CrudAction::Create, CrudAction::Update, CrudAction::Delete],
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("agent_integration_id", FieldType::Name)
            .required()
            .immutable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("description", FieldType::TextUpTo(500)),
    ],
    list: ListSettings {
        paging: Paging::zero_based(100, 100),
        envelope: Envelope {
            includes_object: false,
            includes_has_more: false,
        },
        filters: &[
            ListFilter::equals("workspace_id", FieldType::Workspace),
            ListFilter {
                param: "id",
                ..BY_IDS
            },
            BY_SEARCH,
        ],
        item_fields: &[
            "id",
            "slug",
            "name",
            "description",
            "status",
            "agent_integration_id",
            "workspace_id",
            "created_at",
        ],
    },
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("agent-servers", "agent-server", "/agent-servers")
};

fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    AGENT_SERVERS.find(store, ORGANISATION, call.handle())
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    if draft.before.is_some() {
        return Ok(());
    }
    let workspace = call.workspace_id(store)?;
    let handle = text(change, "agent_integration_id");
    let integration = AGENT_INTEGRATIONS.find(store, ORGANISATION, handle)?;
    if !agent_integrations::has_access(store, integration, &workspace) {
        let slug = text(integration, "slug");
        let text = format!("Agent integration `{slug}` is not enabled for this workspace");
        return Err(ApiError::Forbidden(text));
    }
    for (name, value) in [
        ("agent_integration_id", item_id(integration).into()),
        ("workspace_id", workspace.into()),
        ("status", "active".into()),
        ("default_user_access", "allow".into()),
    ] {
        change.insert(name.to_owned(), value);
    }
    Ok(())
}

/// Returns the integration of a server, unless it has been removed.
fn find_integration<'s>(store: &'s Store, server: &Item) -> Option<&'s Item> {
    store.find(
        AGENT_INTEGRATIONS.organisation_collection(),
        text(server, "agent_integration_id"),
    )
}

fn card(store: &Store, server: &Item) -> Value {
    find_integration(store, server).map_or(Value::Null, agent_integrations::card)
}

fn get_card(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    Ok(card(store, server))
}

fn list_skills(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    Ok(agent_cards::list_skills(&card(store, server), server))
}

fn update_skills(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?.clone();
    let items = AGENT_SERVERS.organisation_collection();
    agent_cards::update_skills(store, call, items, &server)
}

fn test(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    let url = find_integration(store, server).map_or("", |integration| text(integration, "url"));
    Ok(mcp_integrations::test_upstream(url))
}

fn overrides(owner: &str) -> CollectionKey<'_> {
    CollectionKey {
        kind: OVERRIDES_KIND,
        owner,
    }
}

/// Returns the organisation's users with their access.
fn list_access(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    let owner = text(server, "id");
    let default = text(server, "default_user_access");
    let data = users::all(store).map(|user| {
        let own = store.find(overrides(owner), text(user, "id"));
        json!({
            "user_id": user.get("id"),
            "first_name": user.get("first_name"),
            "last_name": user.get("last_name"),
            "enabled": own.map_or(default == "allow", |own| flag(own, "enabled")),
            "has_override": own.is_some(),
        })
    });
    let data: Vec<Value> = data.collect();
    Ok(json!({ "data": data, "default_user_access": default, "total": data.len() }))
}

const UPDATE: &[Field] = &[
    Field::new("user_access", FieldType::List(&agent_cards::HANDLES)),
    Field::new("default_user_access", FieldType::Enum(&["allow", "deny"])),
];

/// Sets the access of all named users, or of none if one is unknown, and the default.
fn update_access(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, UPDATE, &call.body, WriteKind::Update)?;
    let named = given.get("user_access").and_then(Value::as_array);
    let named = || named.into_iter().flatten();
    for user in named() {
        users::find(store, agent_cards::handle_of(user))?;
    }
    for user in named() {
        let id = agent_cards::handle_of(user);
        let enabled = user.get("enabled").is_none_or(|enabled| enabled == true);
        store.remove(overrides(&owner), id);
        let item = json!({ "id": id, "enabled": enabled });
        store.insert(
            overrides(&owner),
            item.as_object().cloned().unwrap_or_default(),
        );
    }
    if let (Some(default), Some(server)) = (
        given.get("default_user_access"),
        store.find_mut(AGENT_SERVERS.organisation_collection(), &owner),
    ) {
        server.insert("default_user_access".to_owned(), default.clone());
    }
    Ok(json!({ "success": true }))
}
