//! Audit logs: one entry for every write that reaches a route, whether it succeeds or fails.

use http::{Method, StatusCode, request::Parts};
use serde_json::{Value, json};

use crate::{
    api_error::ApiError,
    call::ApiCall,
    clock,
    crud::{ApiResult, pick},
    mask::mask,
    page::Paging,
    route::{ApiVersion, Domain, get},
    store::{CollectionKey, HISTORY, Item, ORGANISATION, Store, text},
};

use super::{users, workspaces};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[get("/audit-logs", list)],
};

const COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "audit-logs",
    owner: HISTORY,
};

/// Maximum size of a stored body in bytes. Larger bodies are replaced by a note.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Time from the seeded change to the incident.
const SECONDS_BEFORE_INCIDENT: u64 = 8 * 60;

/// Parts of names whose values are masked.
const SECRET_NAME_PARTS: &[&str] = &[
    "key",
    "token",
    "secret",
    "password",
    "credential",
    "authorization",
    "service_account",
    "cookie",
    "headers",
    "client_auth",
];

/// Fields of an entry in responses.
const SHOWN: &[&str] = &[
    "timestamp",
    "method",
    "uri",
    "request_id",
    "request_body",
    "query_params",
    "request_headers",
    "user_id",
    "user_type",
    "organisation_id",
    "workspace_id",
    "response_status_code",
    "resource_type",
    "action",
    "client_ip",
    "country",
];

/// Filter arguments, each compared with the field of the same name.
const FILTERS: &[&str] = &[
    "method",
    "uri",
    "request_id",
    "user_id",
    "user_type",
    "response_status_code",
    "resource_type",
    "action",
    "client_ip",
    "country",
];

/// Records an entry for a request that was handled.
pub(crate) fn record(
    store: &mut Store,
    head: &Parts,
    call: &ApiCall,
    status: StatusCode,
    request_id: &str,
) {
    let workspace = call.workspace_id(store).ok();
    let body = match &call.list {
        Some(list) => Value::Array(list.clone()),
        None => Value::Object(call.body.clone()),
    };
    let body = Some(mask_secrets("", &body).to_string());
    let body = body.filter(|body| body.len() <= MAX_BODY_BYTES);
    let query: Item = call
        .query
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            Value::from(value.to_str().unwrap_or_default()),
        )
    });
    let headers = Value::Object(headers.collect());
    let entry = json!({
        "timestamp": store.clock.now(),
        "method": head.method.as_str(),
        "uri": head.uri.path(),
        "request_id": request_id,
        "request_body": body.unwrap_or_else(|| json!({ "truncated": true }).to_string()),
        "query_params": mask_secrets("", &Value::Object(query)).to_string(),
        "request_headers": mask_secrets("", &headers).to_string(),
        "user_id": users::OWNER_ID,
        "user_type": "api_key",
        "organisation_id": ORGANISATION,
        "workspace_id": workspace,
        "response_status_code": status.as_u16(),
        "resource_type": resource_type(head.uri.path()),
        "action": action_name(&head.method),
        "client_ip": "127.0.0.1",
        "country": null,
    });
    store.insert(COLLECTION, entry.as_object().cloned().unwrap_or_default());
}

/// Records the change that an administrator made minutes before the incident.
pub(crate) fn apply_history(store: &mut Store) {
    let at = store.traffic.incident_start() - SECONDS_BEFORE_INCIDENT;
    let entry = json!({
        "timestamp": clock::format_timestamp(at),
        "method": "PUT",
        "uri": "/v1/integrations/openai-production",
        "request_id": "sandbox-seeded-1",
        "request_body": json!({ "description": "Shared by all teams" }).to_string(),
        "query_params": "{}",
        "request_headers": "{}",
        "user_id": users::ADMIN_ID,
        "user_type": "user",
        "organisation_id": ORGANISATION,
        "workspace_id": null,
        "response_status_code": 200,
        "resource_type": "integrations",
        "action": "update",
        "client_ip": "127.0.0.1",
        "country": null,
    });
    store.insert(COLLECTION, entry.as_object().cloned().unwrap_or_default());
}

/// Returns the collection that a path addresses.
fn resource_type(path: &str) -> &str {
    let mut words = path.split('/').skip(2).skip_while(|word| *word == "admin");
    words.next().unwrap_or_default()
}

fn action_name(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Masks all values under secret names, at any depth.
fn mask_secrets(name: &str, value: &Value) -> Value {
    let lower = name.to_ascii_lowercase();
    let secret = SECRET_NAME_PARTS.iter().any(|part| lower.contains(part));
    match value {
        Value::Object(fields) => {
            let inside = |field: &String| {
                if secret {
                    name.to_owned()
                } else {
                    field.clone()
                }
            };
            let shown = fields
                .iter()
                .map(|(field, value)| (field.clone(), mask_secrets(&inside(field), value)));
            Value::Object(shown.collect())
        }
        Value::Array(items) => items.iter().map(|item| mask_secrets(name, item)).collect(),
        Value::String(text) if secret => mask(text).into(),
        other => other.clone(),
    }
}

/// Returns the entries of a period, newest first.
fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    // The organisation follows from the key. The live API rejects calls that name it as well
    // (demisto/content#45228).
    if call.query("organisation_id").is_some() {
        return Err(ApiError::RejectedKey("Unauthorised Request".to_owned()));
    }
    let moment = |name: &str| {
        let written = call
            .query(name)
            .ok_or_else(|| ApiError::invalid_field(name, "is required"))?;
        clock::parse_timestamp(written)
            .ok_or_else(|| ApiError::invalid_field(name, "must be a date and time in ISO 8601"))
    };
    let from = moment("start_time")?;
    let until = moment("end_time")?;
    let workspace = match call.query("workspace_id") {
        Some(handle) => Some(text(workspaces::resolve(store, handle)?, "id").to_owned()),
        None => None,
    };
    let fits = |entry: &&Item| {
        let at = clock::parse_timestamp(text(entry, "timestamp")).unwrap_or_default();
        let equals = |name: &&str| {
            call.query(name).is_none_or(|asked| match entry.get(*name) {
                Some(Value::Number(number)) => number.to_string() == asked,
                Some(Value::String(text)) => text == asked,
                _ => false,
            })
        };
        (from..=until).contains(&at)
            && workspace
                .as_ref()
                .is_none_or(|asked| text(entry, "workspace_id") == asked)
            && FILTERS.iter().all(equals)
    };
    let mut entries: Vec<&Item> = store.all(COLLECTION).filter(fits).collect();
    entries.reverse();
    let (page, _) = Paging::zero_based(100, 100).select_page(call, &entries)?;
    let records: Vec<Value> = page.iter().map(|entry| pick(entry, SHOWN)).collect();
    Ok(json!({ "records": records, "total": entries.len(), "object": "analytics-graph" }))
}
