//! MCP servers: an MCP integration as one workspace uses it.
//!
//! A server has the capabilities of its integration until it is synchronised separately. Its own
//! switches decide which of them are enabled.

use serde_json::{Value, json};

use super::{
    capabilities,
    common_fields::{BY_IDS, BY_SEARCH},
    mcp_integrations,
    mcp_integrations::MCP_INTEGRATIONS,
    mcp_server_users, workspaces,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{Field, FieldType},
    mask::mask_settings,
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(crate) use super::mcp_server_users::sign_in;

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&MCP_SERVERS],
    routes: &[
        get("/mcp-servers", |store, call| {
            crud::list(&MCP_SERVERS, store, call)
        }),
        get("/mcp-servers/{id}/capabilities", list_capabilities),
        put("/mcp-servers/{id}/capabilities", update_capabilities),
        post("/mcp-servers/{id}/capabilities/sync", sync_capabilities),
        get(
            "/mcp-servers/{id}/connections",
            mcp_server_users::list_connections,
        ),
        delete(
            "/mcp-servers/{id}/connections",
            mcp_server_users::disconnect,
        ),
        get("/mcp-servers/{id}/metadata", get_metadata),
        post("/mcp-servers/{id}/metadata/sync", sync_metadata),
        post("/mcp-servers/{id}/test", test),
        get(
            "/mcp-servers/{id}/user-access",
            mcp_server_users::list_access,
        ),
        put(
            "/mcp-servers/{id}/user-access",
            mcp_server_users::update_access,
        ),
    ],
};

/// Kind of the switches of a server's capabilities.
const SWITCHES_KIND: &str = "mcp-server-switches";

pub(super) static MCP_SERVERS: Resource = Resource {
    // Only listing requires a workspace.
    actions: &[
        CrudAction::Create,
        CrudAction::Get,
        CrudAction::Update,
        CrudAction::Delete,
    ],
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("mcp_integration_id", FieldType::Name)
            .required()
            .immutable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("description", FieldType::Text).nullable(),
    ],
    derived_fields: &[
        ("mcp_integration_slug", |store, _, server| {
            Some(integration_field(store, server, "slug"))
        }),
        ("mcp_integration_url", |store, _, server| {
            Some(integration_field(store, server, "url"))
        }),
        ("auth_type", |store, _, server| {
            Some(integration_field(store, server, "auth_type"))
        }),
        ("mcp_integration_details", |store, _, server| {
            Some(integration_details(store, server))
        }),
        ("workspace_name", |store, _, server| {
            Some(workspace_field(store, server, "name"))
        }),
        ("workspace_slug", |store, _, server| {
            Some(workspace_field(store, server, "slug"))
        }),
        ("url", |_, _, server| Some(gateway_url(server).into())),
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
            ListFilter {
                kind: FieldType::Name,
                ..BY_SEARCH
            },
        ],
        item_fields: &[
            "id",
            "organisation_id",
            "name",
            "description",
            "status",
            "created_at",
            "owner_id",
            "slug",
            "workspace_id",
            "mcp_integration_id",
            "mcp_integration_slug",
            "mcp_integration_url",
            "auth_type",
            "workspace_name",
            "workspace_slug",
            "url",
        ],
    },
    read_fields: &[
        "id",
        "slug",
        "name",
        "status",
        "description",
        "created_at",
        "mcp_integration_id",
        "mcp_integration_details",
        "workspace_id",
    ],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("mcp-servers", "mcp-server", "/mcp-servers")
};

/// Returns the MCP server that the path names.
pub(super) fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    resolve(store, call.handle())
}

/// Returns the MCP server with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, ApiError> {
    MCP_SERVERS.find(store, ORGANISATION, handle)
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    if text(change, "description").chars().count() > 500 {
        return Err(ApiError::invalid_field(
            "description",
            "must have 500 characters at most",
        ));
    }
    if draft.before.is_some() {
        return Ok(());
    }
    // The limit applies to requested slugs only; a generated one is as long as the name.
    if let Some(Value::String(slug)) = call.body.get("slug")
        && !(3..=50).contains(&slug.len())
    {
        return Err(ApiError::invalid_field(
            "slug",
            "must have 3 to 50 characters",
        ));
    }
    let workspace = call.workspace_id(store)?;
    let integration =
        MCP_INTEGRATIONS.find(store, ORGANISATION, text(change, "mcp_integration_id"))?;
    if !mcp_integrations::has_access(store, integration, &workspace) {
        let slug = text(integration, "slug");
        let text = format!("MCP integration `{slug}` is not enabled for this workspace");
        return Err(ApiError::Forbidden(text));
    }
    let owner = integration.get("owner_id").cloned().unwrap_or_default();
    for (name, value) in [
        ("mcp_integration_id", item_id(integration).into()),
        ("workspace_id", workspace.into()),
        ("owner_id", owner),
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
        MCP_INTEGRATIONS.organisation_collection(),
        text(server, "mcp_integration_id"),
    )
}

fn integration_field(store: &Store, server: &Item, field: &str) -> Value {
    find_integration(store, server)
        .and_then(|item| item.get(field))
        .cloned()
        .unwrap_or_default()
}

fn workspace_field(store: &Store, server: &Item, field: &str) -> Value {
    let workspace = workspaces::resolve(store, text(server, "workspace_id")).ok();
    workspace
        .and_then(|item| item.get(field))
        .cloned()
        .unwrap_or_default()
}

fn integration_details(store: &Store, server: &Item) -> Value {
    const SHOWN: &[&str] = &[
        "id",
        "slug",
        "status",
        "configurations",
        "url",
        "transport",
        "auth_type",
    ];
    let Some(integration) = find_integration(store, server) else {
        return Value::Null;
    };
    let mut details = crud::pick(integration, SHOWN);
    if let Some(Value::Object(settings)) = details.get_mut("configurations") {
        *settings = mask_settings(settings, MCP_INTEGRATIONS.secret_fields);
    }
    details
}

/// Returns the URL for clients of the gateway.
pub(super) fn gateway_url(server: &Item) -> String {
    format!("https://mcp.portkey.example/{}/mcp", text(server, "slug"))
}

/// Returns a server's capabilities, each with its own switch and that of the integration.
fn effective_capabilities(store: &Store, server: &Item) -> Vec<Item> {
    let id = text(server, "id");
    let integration = text(server, "mcp_integration_id");
    let source = if store.count(capabilities::collection_key(id)) > 0 {
        id
    } else {
        integration
    };
    let switches = CollectionKey {
        kind: SWITCHES_KIND,
        owner: id,
    };
    let offered = store
        .all(capabilities::collection_key(source))
        .map(|capability| {
            let handle = capabilities::capability_handle(capability);
            let upstream = store.find(capabilities::collection_key(integration), &handle);
            let switch = store.find(switches, &handle);
            let mut item = capability.clone();
            let enabled = switch.is_none_or(|switch| flag(switch, "enabled"));
            item.insert("enabled".to_owned(), enabled.into());
            let above = upstream
                .and_then(|upstream| upstream.get("enabled"))
                .cloned();
            item.insert("integration_enabled".to_owned(), above.unwrap_or_default());
            item
        });
    offered.collect()
}

fn list_capabilities(store: &mut Store, call: &ApiCall) -> ApiResult {
    let all = effective_capabilities(store, find_for_call(store, call)?);
    let all: Vec<&Item> = all.iter().collect();
    capabilities::render_page(store, call, &all, &["enabled", "integration_enabled"])
}

/// Enables or disables the named capabilities.
fn update_capabilities(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    let owner = item_id(server);
    let known: Vec<String> = effective_capabilities(store, server)
        .iter()
        .map(capabilities::capability_handle)
        .collect();
    let is_known = |handle: &str| known.iter().any(|known| known == handle);
    let switches = capabilities::parse_switches(store, call, is_known)?;
    let shelf = CollectionKey {
        kind: SWITCHES_KIND,
        owner: &owner,
    };
    for switch in switches {
        let slug = capabilities::capability_handle(&switch);
        store.remove(shelf, &slug);
        let mut item = Item::new();
        item.insert("slug".to_owned(), slug.into());
        item.insert("enabled".to_owned(), flag(&switch, "enabled").into());
        store.insert(shelf, item);
    }
    Ok(json!({ "success": true }))
}

const SYNC: &[Field] = &[Field::new(
    "capabilities",
    FieldType::List(&capabilities::CAPABILITY_LIST),
)];

/// Gives a server its own list of capabilities.
fn sync_capabilities(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, SYNC, &call.body, WriteKind::Create)?;
    if let Some(Value::Array(offers)) = given.get("capabilities") {
        capabilities::replace_all(store, &owner, offers);
    }
    Ok(mark_synced(store, &owner, Item::new()))
}

/// Fields for the server's metadata. The upstream's description is accepted and dropped: responses
/// have no field for it, and the server's own description belongs to the administrator.
const METADATA_FIELDS: &[Field] = &[
    Field::new("server_name", FieldType::Text),
    Field::new("server_version", FieldType::Text),
    Field::new("protocol_version", FieldType::Text),
    Field::new("title", FieldType::Text),
    Field::new("website_url", FieldType::Text),
    Field::new("icons", FieldType::AnyObject),
    Field::new("capability_flags", FieldType::AnyObject),
    Field::new("instructions", FieldType::Text),
];

fn sync_metadata(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, METADATA_FIELDS, &call.body, WriteKind::Update)?;
    Ok(mark_synced(store, &owner, given))
}

fn mark_synced(store: &mut Store, owner: &str, learnt: Item) -> Value {
    let now = store.clock.now();
    if let Some(server) = store.find_mut(MCP_SERVERS.organisation_collection(), owner) {
        server.extend(learnt);
        server.insert("sync_status".to_owned(), "synced".into());
        server.insert("last_synced_at".to_owned(), now.into());
    }
    empty_object()
}

/// Returns the metadata of the upstream: the server's own, else that of its integration.
fn get_metadata(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    let known = capabilities::METADATA_FIELDS.iter().map(|&name| {
        let own = server.get(name).cloned();
        (
            name.to_owned(),
            own.unwrap_or_else(|| integration_field(store, server, name)),
        )
    });
    Ok(Value::Object(known.collect()))
}

fn test(store: &mut Store, call: &ApiCall) -> ApiResult {
    let server = find_for_call(store, call)?;
    let mut answer = match find_integration(store, server) {
        Some(integration) => mcp_integrations::test_upstream(text(integration, "url")),
        None => json!({ "success": false, "status_code": null, "response_time_ms": null,
            "url": null, "error": "The MCP integration has been removed" }),
    };
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("server_name".to_owned(), text(server, "name").into());
    }
    Ok(answer)
}
