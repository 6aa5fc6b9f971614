//! MCP integrations: upstream MCP servers, registered once and shared with workspaces.

use serde_json::{Value, json};

use super::{
    access, capabilities,
    common_fields::{BY_SEARCH, BY_TYPE, SECRET_MAPPINGS, merge_object, owner_level},
    secret_references, users,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object, pick},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&MCP_INTEGRATIONS],
    routes: &[
        get("/mcp-integrations/{id}/capabilities", capabilities::list),
        put("/mcp-integrations/{id}/capabilities", capabilities::update),
        get(
            "/mcp-integrations/{id}/metadata",
            capabilities::get_metadata,
        ),
        post("/mcp-integrations/{id}/sync", capabilities::sync),
        post("/mcp-integrations/{id}/test", test),
        get("/mcp-integrations/{id}/workspaces", list_workspaces),
        put("/mcp-integrations/{id}/workspaces", update_workspaces),
    ],
};

/// Kind of the access rows.
const ACCESS_KIND: &str = "mcp-integration-workspaces";

pub(super) static MCP_INTEGRATIONS: Resource = Resource {
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("url", FieldType::Url).required(),
        // Any name is accepted, because the vendor adds authentication types.
        Field::new("auth_type", FieldType::Name).required(),
        Field::new(
            "transport",
            FieldType::Enum(&["http", "sse", "interactive"]),
        )
        .required(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("description", FieldType::Text).nullable(),
        Field::new("configurations", FieldType::Object(&CONFIGURATIONS)),
        Field::new("secret_mappings", FieldType::List(&SECRET_MAPPINGS))
            .nullable()
            .with_default(DefaultValue::EmptyList),
    ],
    secret_fields: &["custom_headers", "passthrough_header"],
    derived_fields: &[
        ("type", |_, _, item| Some(owner_level(item).into())),
        ("workspaces_count", |store, _, item| {
            Some(access::count_workspaces(store, ACCESS_KIND, item))
        }),
    ],
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
                    access::has_access(store, ACCESS_KIND, item, asked.as_str().unwrap_or_default())
                }),
            },
        ],
        item_fields: &[
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
    read_fields: &[
        "id",
        "name",
        "description",
        "owner_id",
        "status",
        "created_at",
        "last_updated_at",
        "configurations",
        access::GLOBAL_ACCESS_FIELD,
        "workspace_id",
        "slug",
        "url",
        "auth_type",
        "transport",
        "type",
        "secret_mappings",
    ],
    hooks: Hooks {
        before_write: prepare_write,
        after_create: finish_create,
        ..Hooks::NONE
    },
    ..Resource::new("mcp-integrations", "mcp-integration", "/mcp-integrations")
};

/// Returns the MCP integration that the path names.
pub(super) fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    MCP_INTEGRATIONS.find(store, ORGANISATION, call.handle())
}

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    merge_object(draft.before, draft.change, "configurations");
    secret_references::check_mappings(store, draft.before, draft.change)?;
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
        access::grant(
            store,
            CollectionKey {
                kind: ACCESS_KIND,
                owner: id,
            },
            &workspace,
        );
    }
}

/// Returns true if a workspace may use an MCP integration.
pub(super) fn has_access(store: &Store, mcp_integration: &Item, workspace: &str) -> bool {
    access::has_access(store, ACCESS_KIND, mcp_integration, workspace)
}

fn test(store: &mut Store, call: &ApiCall) -> ApiResult {
    Ok(test_upstream(text(find_for_call(store, call)?, "url")))
}

/// Tests the connection to an upstream. All hosts respond except those under `.invalid`, a reserved
/// domain that never exists. A host without a response is a result and not an error.
pub(super) fn test_upstream(url: &str) -> Value {
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
fn list_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let item = find_for_call(store, call)?;
    let shelf = CollectionKey {
        kind: ACCESS_KIND,
        owner: text(item, "id"),
    };
    let shown = ["id", "enabled", "status", "created_at", "last_updated_at"];
    let rows: Vec<Value> = match call.caller.workspace_id() {
        Some(own) => access::show_own_row(store, shelf, own, &shown),
        // The organisation's key gets the workspace's UUID here, unlike in the list of an
        // integration.
        None => store.all(shelf).map(|row| pick(row, &shown)).collect(),
    };
    let global = item.get(access::GLOBAL_ACCESS_FIELD);
    Ok(match call.query("version") {
        Some(_) => {
            json!({ "total": rows.len(), "data": rows, (access::GLOBAL_ACCESS_FIELD): global })
        }
        None => json!({ "workspaces": rows, (access::GLOBAL_ACCESS_FIELD): global }),
    })
}

static CONFIGURATIONS: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("custom_headers", FieldType::AnyObject),
    Field::new("passthrough_header", FieldType::AnyObject),
]);

static ROW: ObjectSchema = ObjectSchema::new(&[
    Field::new("id", FieldType::Workspace).required(),
    Field::new("enabled", FieldType::Bool).required(),
]);

static ROWS: ListSchema = ListSchema {
    unique_field: Some("id"),
    ..ListSchema::new(FieldType::Object(&ROW))
};

static GLOBAL_ACCESS: ObjectSchema = ObjectSchema::new(&[Field::new("enabled", FieldType::Bool)]);

const GRANTS: &[Field] = &[
    Field::new("workspaces", FieldType::List(&ROWS)).required(),
    Field::new(
        access::GLOBAL_ACCESS_FIELD,
        FieldType::Object(&GLOBAL_ACCESS),
    )
    .nullable(),
    Field::new("override_existing_workspace_access", FieldType::Bool),
];

fn update_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, GRANTS, &call.body, WriteKind::Create)?;
    let rows = given.get("workspaces").and_then(Value::as_array);
    let replace = flag(&given, "override_existing_workspace_access");
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    access::merge_rows(
        store,
        CollectionKey {
            kind: ACCESS_KIND,
            owner: &id,
        },
        rows,
        replace,
    );
    if let (Some(global), Some(item)) = (
        given.get(access::GLOBAL_ACCESS_FIELD),
        store.find_mut(MCP_INTEGRATIONS.organisation_collection(), &id),
    ) {
        item.insert(access::GLOBAL_ACCESS_FIELD.to_owned(), global.clone());
    }
    Ok(empty_object())
}
