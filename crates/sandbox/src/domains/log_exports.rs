//! Log exports: jobs that are drafted, started, and completed or cancelled, and their files.

use serde_json::{Value, json};

use super::{analytics, users, workspaces};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post},
    store::{Item, ORGANISATION, Store, text},
    validation,
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&EXPORTS],
    routes: &[
        get("/logs/exports/field-restrictions", get_restrictions),
        get("/logs/exports/{id}", read),
        post("/logs/exports/{id}/start", start),
        post("/logs/exports/{id}/cancel", cancel),
        get("/logs/exports/{id}/download", download),
    ],
};

/// Files of jobs, at signed addresses that need no key.
pub(super) static FILES: Domain = Domain {
    versions: &[ApiVersion::Public],
    resources: &[],
    routes: &[get("/log-export-files/{file}", serve_file)],
};

/// End of the names of files.
const FILE_EXTENSION: &str = ".jsonl";

/// Field with the signatures of a job's addresses, and the maximum number of them.
const SIGNATURES: &str = "signatures";
const MAX_SIGNATURES: usize = 10;

/// Maximum number of logs per job.
const MAX_EXPORTED_LOGS: u64 = 50_000;

/// Workspace that does not export prompts and completions, and those fields.
const RESTRICTED: (&str, &[&str]) = ("ws-support-bot", &["request", "response"]);

static EXPORTS: Resource = Resource {
    actions: &[CrudAction::List, CrudAction::Create, CrudAction::Update],
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("filters", FieldType::Object(&FILTERS)).required(),
        Field::new("requested_data", FieldType::List(&REQUESTED_DATA)).required(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("description", FieldType::Text).nullable(),
    ],
    list: ListSettings {
        filters: &[ListFilter::equals("workspace_id", FieldType::Workspace)],
        item_fields: SHOWN_FIELDS,
        ..ListSettings::DEFAULT
    },
    read_fields: SHOWN_FIELDS,
    create_fields: &["id", "total", "object"],
    update_fields: &["id", "total", "object"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("log-exports", "export", "/logs/exports")
};

const SHOWN_FIELDS: &[&str] = &[
    "id",
    "organisation_id",
    "filters",
    "requested_data",
    "status",
    "description",
    "created_at",
    "last_updated_at",
    "created_by",
    "workspace_id",
    "object",
];

static FILTERS: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("time_of_generation_min", FieldType::TimestampOrLocal),
    Field::new("time_of_generation_max", FieldType::TimestampOrLocal),
    Field::new("metadata", FieldType::Labels),
    Field::new("page_size", FieldType::Integer(1, 50_000)),
    Field::new("current_page", FieldType::Integer(0, i64::MAX)),
]);

static REQUESTED_DATA: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Enum(&[
        "id",
        "trace_id",
        "created_at",
        "request",
        "response",
        "is_success",
        "ai_org",
        "ai_model",
        "req_units",
        "res_units",
        "total_units",
        "request_url",
        "cost",
        "cost_currency",
        "response_time",
        "response_status_code",
        "mode",
        "config",
        "prompt_slug",
        "metadata",
    ]))
};

/// Returns the fields that must not be exported from a workspace.
fn denied_fields(store: &Store, workspace: &str) -> Result<&'static [&'static str], ApiError> {
    let (slug, fields) = RESTRICTED;
    let found = workspaces::resolve(store, workspace)?;
    Ok(if text(found, "slug") == slug {
        fields
    } else {
        &[]
    })
}

/// Rejects changes to a job that is not a draft, and requests for denied fields.
fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let PendingWrite { before, change } = draft;
    let workspace = match before {
        Some(before) if text(before, "status") != "draft" => {
            return Err(wrong_status_error(before, "be changed"));
        }
        Some(before) => text(before, "workspace_id").to_owned(),
        None => {
            change.insert("status".to_owned(), "draft".into());
            change.insert("created_by".to_owned(), users::OWNER_ID.into());
            call.workspace_id(store)?
        }
    };
    let requested = change.get("requested_data").and_then(Value::as_array);
    let mut requested = requested.into_iter().flatten().filter_map(Value::as_str);
    let denied = denied_fields(store, &workspace)?;
    if let Some(field) = requested.find(|field| denied.contains(field)) {
        let why = format!("has `{field}`, which may not be exported from this workspace");
        return Err(ApiError::invalid_field("requested_data", why));
    }
    if let Some(filters) = change.get("filters").and_then(Value::as_object) {
        let total = analytics::count_requests(store, &workspace, filters)?.min(page_size(filters));
        change.insert("total".to_owned(), total.into());
    }
    Ok(())
}

fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    EXPORTS.find(store, ORGANISATION, call.handle())
}

fn wrong_status_error(export: &Item, what: &str) -> ApiError {
    ApiError::Invalid(format!(
        "An export that is `{}` cannot {what}",
        text(export, "status")
    ))
}

fn set_status(store: &mut Store, id: &str, status: &str) {
    let now = store.clock.now();
    if let Some(export) = store.find_mut(EXPORTS.organisation_collection(), id) {
        export.insert("status".to_owned(), status.into());
        export.insert("last_updated_at".to_owned(), now.into());
    }
}

/// Returns a job. A running job completes when it is first read.
fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    let export = find_for_call(store, call)?;
    let id = item_id(export);
    let running = text(export, "status") == "in_progress";
    let shown = crud::get(&EXPORTS, store, call)?;
    if running {
        set_status(store, &id, "success");
    }
    Ok(shown)
}

fn start(store: &mut Store, call: &ApiCall) -> ApiResult {
    let export = find_for_call(store, call)?;
    if text(export, "status") != "draft" {
        return Err(wrong_status_error(export, "be started"));
    }
    let id = item_id(export);
    set_status(store, &id, "in_progress");
    Ok(json!({ "message": "The export was started", "object": "export" }))
}

/// Cancels a job. Repeated calls have no further effect.
fn cancel(store: &mut Store, call: &ApiCall) -> ApiResult {
    let export = find_for_call(store, call)?;
    if !matches!(text(export, "status"), "in_progress" | "stopped") {
        return Err(wrong_status_error(export, "be stopped"));
    }
    let id = item_id(export);
    set_status(store, &id, "stopped");
    Ok(json!({ "message": "The export was stopped", "object": "export" }))
}

/// Returns the number of logs per page of a job.
fn page_size(filters: &Item) -> u64 {
    let size = filters.get("page_size").and_then(Value::as_u64);
    size.unwrap_or(MAX_EXPORTED_LOGS)
}

/// Returns a new URL for each call, at the address to which the call was sent.
fn download(store: &mut Store, call: &ApiCall) -> ApiResult {
    let export = find_for_call(store, call)?;
    if text(export, "status") != "success" {
        return Err(wrong_status_error(export, "be downloaded"));
    }
    let id = item_id(export);
    let signature = store.next_id();
    let host = call.header("host").unwrap_or("localhost").to_owned();
    let url = format!("http://{host}/log-export-files/{id}{FILE_EXTENSION}?signature={signature}");
    if let Some(export) = store.find_mut(EXPORTS.organisation_collection(), &id) {
        let known = export.get(SIGNATURES).and_then(Value::as_array);
        let mut known = known.cloned().unwrap_or_default();
        known.push(signature.into());
        let first = known.len().saturating_sub(MAX_SIGNATURES);
        export.insert(SIGNATURES.to_owned(), known.split_off(first).into());
    }
    Ok(json!({ "signed_url": url }))
}

/// Returns the logs of a job as JSON lines.
fn serve_file(store: &mut Store, call: &ApiCall) -> ApiResult {
    let refuse = || ApiError::Forbidden("The address is not signed, or has expired".to_owned());
    let id = call.handle().strip_suffix(FILE_EXTENSION);
    let id = id.ok_or_else(refuse)?;
    let export = store.find(EXPORTS.organisation_collection(), id);
    let export = export.ok_or_else(refuse)?;
    let signatures = export.get(SIGNATURES).and_then(Value::as_array);
    let given = call.query("signature").unwrap_or_default();
    if !signatures
        .into_iter()
        .flatten()
        .any(|known| known.as_str() == Some(given))
    {
        return Err(refuse());
    }
    let filters = export.get("filters").and_then(Value::as_object);
    let filters = filters.cloned().unwrap_or_default();
    let page = filters.get("current_page").and_then(Value::as_u64);
    let size = page_size(&filters);
    let first = page.unwrap_or_default().saturating_mul(size);
    let workspace = match text(export, "workspace_id") {
        "" => workspaces::DEFAULT_SLUG,
        workspace => workspace,
    };
    let logs = analytics::exported_logs(
        store,
        workspace,
        &filters,
        first..first.saturating_add(size),
    )?;
    let requested = export.get("requested_data").and_then(Value::as_array);
    let requested: Vec<&str> = requested
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut file = String::new();
    for mut log in logs {
        log.retain(|name, _| requested.contains(&name.as_str()));
        file.push_str(&Value::Object(log).to_string());
        file.push('\n');
    }
    Ok(file.into())
}

fn get_restrictions(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = call.query("workspace_id");
    let workspace =
        workspace.ok_or_else(|| ApiError::invalid_field("workspace_id", "is required"))?;
    validation::validate_value(
        store,
        FieldType::Workspace,
        "workspace_id",
        &workspace.into(),
    )?;
    Ok(json!({ "deniedFields": denied_fields(store, workspace)? }))
}
