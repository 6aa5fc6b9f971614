//! MCP integrations: upstream MCP servers, registered once and shared with workspaces.

use serde_json::{Value, json};

use super::{
    access, capabilities,
    parts::{BY_SEARCH, BY_TYPE, SECRET_MAPPINGS, level, merge_object},
    secret_references, users,
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done, pick},
    field::{Field, Kind, List, Preset, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource},
    route::{Domain, Version, get, post, put},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&MCP_INTEGRATIONS],
    routes: &[
        get("/mcp-integrations/{id}/capabilities", capabilities::list),
        put("/mcp-integrations/{id}/capabilities", capabilities::update),
        get("/mcp-integrations/{id}/metadata", capabilities::metadata),
        post("/mcp-integrations/{id}/sync", capabilities::sync),
        post("/mcp-integrations/{id}/test", test),
        get("/mcp-integrations/{id}/workspaces", list_workspaces),
        put("/mcp-integrations/{id}/workspaces", update_workspaces),
    ],
};

/// Kind of the access rows.
const ACCESS: &str = "mcp-integration-workspaces";

pub(super) static MCP_INTEGRATIONS: Resource = Resource {
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("url", Kind::Url).required(),
        // Any name is accepted, because the vendor adds authentication types.
        Field::new("auth_type", Kind::Name).required(),
        Field::new("transport", Kind::Choice(&["http", "sse", "interactive"])).required(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("description", Kind::Text).nullable(),
        Field::new("configurations", Kind::Shape(&CONFIGURATIONS)),
        Field::new("secret_mappings", Kind::List(&SECRET_MAPPINGS)).preset(Preset::EmptyList),
    ],
    secrets: &["custom_headers", "passthrough_header"],
    derived: &[
        ("type", |_, _, item| Some(level(item).into())),
        ("workspaces_count", |store, _, item| {
            Some(access::count(store, ACCESS, item))
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(100, 1000),
        envelope: Envelope::LIST_WITH_MORE,
        filters: &[
            BY_SEARCH,
            BY_TYPE,
            Filter {
                param: "workspace_id",
                kind: Kind::Workspace,
                keeps: Some(|store, item, asked| {
                    access::is_open(store, ACCESS, item, asked.as_str().unwrap_or_default())
                }),
            },
        ],
        shows: &[
            "id",
            "name",
            "owner_id",
            "status",
            "type",
            "url",
            "auth_type",
            "transport",
            "configurations",
            "created_at",
            "last_updated_at",
            "slug",
            "workspace_id",
            "description",
            "workspaces_count",
            "secret_mappings",
        ],
    },
    reads: &[
        "id",
        "name",
        "description",
        "owner_id",
        "status",
        "created_at",
        "last_updated_at",
        "configurations",
        access::GLOBAL,
        "workspace_id",
        "slug",
        "url",
        "auth_type",
        "transport",
        "type",
        "secret_mappings",
    ],
    hooks: Hooks {
        admit,
        created,
        ..Hooks::NONE
    },
    ..Resource::new("mcp-integrations", "mcp-integration", "/mcp-integrations")
};

/// Returns the MCP integration that the path names.
pub(super) fn named<'s>(store: &'s Store, call: &Call) -> Result<&'s Item, Refusal> {
    MCP_INTEGRATIONS.find(store, ORGANISATION, call.handle())
}

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    merge_object(draft.before, draft.change, "configurations");
    secret_references::check_mappings(store, draft.before, draft.change)?;
    if draft.before.is_none() {
        draft.change.insert("status".to_owned(), "active".into());
        draft
            .change
            .insert("owner_id".to_owned(), users::OWNER.into());
    }
    Ok(())
}

fn created(store: &mut Store, shelf: Shelf<'_>, id: &str) {
    let workspace = store
        .find(shelf, id)
        .and_then(|item| item.get("workspace_id"));
    if let Some(Value::String(workspace)) = workspace.cloned() {
        access::grant(
            store,
            Shelf {
                kind: ACCESS,
                owner: id,
            },
            &workspace,
        );
    }
}

/// Returns true if a workspace may use an MCP integration.
pub(super) fn is_open(store: &Store, mcp_integration: &Item, workspace: &str) -> bool {
    access::is_open(store, ACCESS, mcp_integration, workspace)
}

fn test(store: &mut Store, call: &Call) -> Outcome {
    Ok(try_upstream(text(named(store, call)?, "url")))
}

/// Tests the connection to an upstream. All hosts respond except those under `.invalid`, a reserved
/// domain that never exists. A host without a response is a result and not an error.
pub(super) fn try_upstream(url: &str) -> Value {
    let parsed = url.parse::<http::Uri>().unwrap_or_default();
    let host = parsed.host().unwrap_or_default();
    let reached = !host.ends_with(".invalid");
    json!({
        "success": reached,
        "status_code": reached.then_some(200),
        "response_time_ms": reached.then_some(20 + url.len()),
        "url": url,
        "error": (!reached).then(|| format!("Cannot resolve {host}")),
    })
}

/// Returns the workspaces in one of two formats; any `version` selects the newer one.
fn list_workspaces(store: &mut Store, call: &Call) -> Outcome {
    let item = named(store, call)?;
    let shelf = Shelf {
        kind: ACCESS,
        owner: text(item, "id"),
    };
    let shown = ["id", "enabled", "status", "created_at", "last_updated_at"];
    let rows: Vec<Value> = match call.caller.workspace() {
        Some(own) => access::show_own(store, shelf, own, &shown),
        // The organisation's key gets the workspace's UUID here, unlike in the list of an
        // integration.
        None => store.all(shelf).map(|row| pick(row, &shown)).collect(),
    };
    let global = item.get(access::GLOBAL);
    Ok(match call.query("version") {
        Some(_) => json!({ "total": rows.len(), "data": rows, (access::GLOBAL): global }),
        None => json!({ "workspaces": rows, (access::GLOBAL): global }),
    })
}

static CONFIGURATIONS: Shape = Shape::open(&[
    Field::new("custom_headers", Kind::Object),
    Field::new("passthrough_header", Kind::Object),
]);

static ROW: Shape = Shape::of(&[
    Field::new("id", Kind::Workspace).required(),
    Field::new("enabled", Kind::Flag).required(),
]);

static ROWS: List = List {
    unique: Some("id"),
    ..List::of(Kind::Shape(&ROW))
};

static EVERYONE: Shape = Shape::of(&[Field::new("enabled", Kind::Flag)]);

const GRANTS: &[Field] = &[
    Field::new("workspaces", Kind::List(&ROWS)).required(),
    Field::new(access::GLOBAL, Kind::Shape(&EVERYONE)).nullable(),
    Field::new("override_existing_workspace_access", Kind::Flag),
];

fn update_workspaces(store: &mut Store, call: &Call) -> Outcome {
    let id = id_of(named(store, call)?);
    let given = check::body(store, GRANTS, &call.body, Occasion::Create)?;
    let rows = given.get("workspaces").and_then(Value::as_array);
    let replace = flag(&given, "override_existing_workspace_access");
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    access::merge(
        store,
        Shelf {
            kind: ACCESS,
            owner: &id,
        },
        rows,
        replace,
    );
    if let (Some(global), Some(item)) = (
        given.get(access::GLOBAL),
        store.find_mut(MCP_INTEGRATIONS.shared(), &id),
    ) {
        item.insert(access::GLOBAL.to_owned(), global.clone());
    }
    Ok(done())
}
