//! MCP servers: an MCP integration as one workspace uses it.
//!
//! A server has the capabilities of its integration until it is synchronised separately. Its own
//! switches decide which of them are enabled.

use serde_json::{Value, json};

use super::{
    capabilities, mcp_integrations,
    mcp_integrations::MCP_INTEGRATIONS,
    mcp_server_users,
    parts::{BY_IDS, BY_SEARCH},
    workspaces,
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{self, Outcome, done},
    field::{Field, Kind},
    mask::mask_settings,
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, delete, get, post, put},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(crate) use super::mcp_server_users::sign_in;

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
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
        get("/mcp-servers/{id}/metadata", metadata),
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
const SWITCHES: &str = "mcp-server-switches";

pub(super) static MCP_SERVERS: Resource = Resource {
    // Only listing requires a workspace.
    verbs: &[Verb::Create, Verb::Get, Verb::Update, Verb::Delete],
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("mcp_integration_id", Kind::Name)
            .required()
            .fixed(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("description", Kind::Text).nullable(),
    ],
    derived: &[
        ("mcp_integration_slug", |store, _, server| {
            Some(of_integration(store, server, "slug"))
        }),
        ("mcp_integration_url", |store, _, server| {
            Some(of_integration(store, server, "url"))
        }),
        ("auth_type", |store, _, server| {
            Some(of_integration(store, server, "auth_type"))
        }),
        ("mcp_integration_details", |store, _, server| {
            Some(details(store, server))
        }),
        ("workspace_name", |store, _, server| {
            Some(of_workspace(store, server, "name"))
        }),
        ("workspace_slug", |store, _, server| {
            Some(of_workspace(store, server, "slug"))
        }),
        ("url", |_, _, server| Some(gateway_url(server).into())),
    ],
    list: Listing {
        paging: Paging::zero_based(100, 100),
        envelope: Envelope {
            object: false,
            has_more: false,
        },
        filters: &[
            Filter::same("workspace_id", Kind::Workspace),
            Filter {
                param: "id",
                ..BY_IDS
            },
            Filter {
                kind: Kind::Name,
                ..BY_SEARCH
            },
        ],
        shows: &[
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
    reads: &[
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
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("mcp-servers", "mcp-server", "/mcp-servers")
};

/// Returns the MCP server that the path names.
pub(super) fn named<'s>(store: &'s Store, call: &Call) -> Result<&'s Item, Refusal> {
    resolve(store, call.handle())
}

/// Returns the MCP server with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, Refusal> {
    MCP_SERVERS.find(store, ORGANISATION, handle)
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    if text(change, "description").chars().count() > 500 {
        return Err(Refusal::field(
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
        return Err(Refusal::field("slug", "must have 3 to 50 characters"));
    }
    let workspace = call.workspace(store)?;
    let integration =
        MCP_INTEGRATIONS.find(store, ORGANISATION, text(change, "mcp_integration_id"))?;
    if !mcp_integrations::is_open(store, integration, &workspace) {
        let slug = text(integration, "slug");
        let text = format!("MCP integration `{slug}` is not enabled for this workspace");
        return Err(Refusal::Forbidden(text));
    }
    let owner = integration.get("owner_id").cloned().unwrap_or_default();
    for (name, value) in [
        ("mcp_integration_id", id_of(integration).into()),
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
fn integration<'s>(store: &'s Store, server: &Item) -> Option<&'s Item> {
    store.find(
        MCP_INTEGRATIONS.shared(),
        text(server, "mcp_integration_id"),
    )
}

fn of_integration(store: &Store, server: &Item, field: &str) -> Value {
    integration(store, server)
        .and_then(|item| item.get(field))
        .cloned()
        .unwrap_or_default()
}

fn of_workspace(store: &Store, server: &Item, field: &str) -> Value {
    let workspace = workspaces::resolve(store, text(server, "workspace_id")).ok();
    workspace
        .and_then(|item| item.get(field))
        .cloned()
        .unwrap_or_default()
}

fn details(store: &Store, server: &Item) -> Value {
    const SHOWN: &[&str] = &[
        "id",
        "slug",
        "status",
        "configurations",
        "url",
        "transport",
        "auth_type",
    ];
    let Some(integration) = integration(store, server) else {
        return Value::Null;
    };
    let mut details = crud::pick(integration, SHOWN);
    if let Some(Value::Object(settings)) = details.get_mut("configurations") {
        *settings = mask_settings(settings, MCP_INTEGRATIONS.secrets);
    }
    details
}

/// Returns the URL for clients of the gateway.
pub(super) fn gateway_url(server: &Item) -> String {
    format!("https://mcp.portkey.example/{}/mcp", text(server, "slug"))
}

/// Returns a server's capabilities, each with its own switch and that of the integration.
fn offered(store: &Store, server: &Item) -> Vec<Item> {
    let (id, integration) = (text(server, "id"), text(server, "mcp_integration_id"));
    let source = if store.count(capabilities::shelf(id)) > 0 {
        id
    } else {
        integration
    };
    let switches = Shelf {
        kind: SWITCHES,
        owner: id,
    };
    let offered = store.all(capabilities::shelf(source)).map(|capability| {
        let handle = capabilities::handle(capability);
        let upstream = store.find(capabilities::shelf(integration), &handle);
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

fn list_capabilities(store: &mut Store, call: &Call) -> Outcome {
    let all = offered(store, named(store, call)?);
    let all: Vec<&Item> = all.iter().collect();
    capabilities::page(store, call, &all, &["enabled", "integration_enabled"])
}

/// Enables or disables the named capabilities.
fn update_capabilities(store: &mut Store, call: &Call) -> Outcome {
    let server = named(store, call)?;
    let owner = id_of(server);
    let known: Vec<String> = offered(store, server)
        .iter()
        .map(capabilities::handle)
        .collect();
    let is_known = |handle: &str| known.iter().any(|known| known == handle);
    let switches = capabilities::switches(store, call, is_known)?;
    let shelf = Shelf {
        kind: SWITCHES,
        owner: &owner,
    };
    for switch in switches {
        let slug = capabilities::handle(&switch);
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
    Kind::List(&capabilities::OFFERS),
)];

/// Gives a server its own list of capabilities.
fn sync_capabilities(store: &mut Store, call: &Call) -> Outcome {
    let owner = id_of(named(store, call)?);
    let given = check::body(store, SYNC, &call.body, Occasion::Create)?;
    if let Some(Value::Array(offers)) = given.get("capabilities") {
        capabilities::replace_all(store, &owner, offers);
    }
    Ok(synced(store, &owner, Item::new()))
}

/// Fields for the server's metadata. The upstream's description is accepted and dropped: responses
/// have no field for it, and the server's own description belongs to the administrator.
const METADATA: &[Field] = &[
    Field::new("server_name", Kind::Text),
    Field::new("server_version", Kind::Text),
    Field::new("protocol_version", Kind::Text),
    Field::new("title", Kind::Text),
    Field::new("website_url", Kind::Text),
    Field::new("icons", Kind::Object),
    Field::new("capability_flags", Kind::Object),
    Field::new("instructions", Kind::Text),
];

fn sync_metadata(store: &mut Store, call: &Call) -> Outcome {
    let owner = id_of(named(store, call)?);
    let given = check::body(store, METADATA, &call.body, Occasion::Update)?;
    Ok(synced(store, &owner, given))
}

fn synced(store: &mut Store, owner: &str, learnt: Item) -> Value {
    let now = store.clock.now();
    if let Some(server) = store.find_mut(MCP_SERVERS.shared(), owner) {
        server.extend(learnt);
        server.insert("sync_status".to_owned(), "synced".into());
        server.insert("last_synced_at".to_owned(), now.into());
    }
    done()
}

/// Returns the metadata of the upstream: the server's own, else that of its integration.
fn metadata(store: &mut Store, call: &Call) -> Outcome {
    let server = named(store, call)?;
    let known = capabilities::METADATA.iter().map(|&name| {
        let own = server.get(name).cloned();
        (
            name.to_owned(),
            own.unwrap_or_else(|| of_integration(store, server, name)),
        )
    });
    Ok(Value::Object(known.collect()))
}

fn test(store: &mut Store, call: &Call) -> Outcome {
    let server = named(store, call)?;
    let mut told = match integration(store, server) {
        Some(integration) => mcp_integrations::try_upstream(text(integration, "url")),
        None => json!({ "success": false, "status_code": null, "response_time_ms": null,
            "url": null, "error": "The MCP integration has been removed" }),
    };
    if let Some(told) = told.as_object_mut() {
        told.insert("server_name".to_owned(), text(server, "name").into());
    }
    Ok(told)
}
