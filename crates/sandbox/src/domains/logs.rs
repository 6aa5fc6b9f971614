//! Logs of calls outside the gateway, inserted singly or as a list.

use serde_json::{Value, json};

use super::workspaces;
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    field::{DefaultValue, Field, FieldType, ObjectSchema},
    mask::mask,
    route::{ApiVersion, Domain, get, post},
    store::{CollectionKey, HISTORY, Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[
        post("/logs", insert).with_list_body(),
        get("/logs/{id}", read),
    ],
};

/// Collection of all logs.
pub(super) const COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "logs",
    owner: HISTORY,
};

static REQUEST: ObjectSchema = ObjectSchema::new(&[
    Field::new("url", FieldType::Url).required(),
    Field::new("method", FieldType::Name).with_default(DefaultValue::Text("POST")),
    Field::new("headers", FieldType::Labels).with_default(DefaultValue::EmptyObject),
    Field::new("body", FieldType::AnyObject).required(),
]);

static RESPONSE: ObjectSchema = ObjectSchema::new(&[
    Field::new("status", FieldType::Integer(100, 599)),
    Field::new("headers", FieldType::Labels).with_default(DefaultValue::EmptyObject),
    Field::new("body", FieldType::AnyObject).required(),
    Field::new("response_time", FieldType::Integer(0, i64::MAX)),
]);

const ENTRY: &[Field] = &[
    Field::new("request", FieldType::Object(&REQUEST)).required(),
    Field::new("response", FieldType::Object(&RESPONSE)).required(),
    Field::new("metadata", FieldType::Labels).with_default(DefaultValue::EmptyObject),
];

static ENTRY_SHAPE: ObjectSchema = ObjectSchema::new(ENTRY);

/// Headers that carry a credential.
const CREDENTIAL_HEADERS: &[&str] = &["authorization", "x-api-key", "api-key", "x-portkey-api-key"];

/// Hosts that identify a provider.
const PROVIDER_HOSTS: &[(&str, &str)] = &[
    ("openai.azure.com", "azure-openai"),
    ("openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("googleapis.com", "vertex-ai"),
];

/// Prices of prompt and completion tokens, in millionths of a US cent.
const TOKEN_PRICES: &[(&str, u64, u64)] = &[
    ("gpt-4o", 250, 1000),
    ("gpt-4o-mini", 15, 60),
    ("claude-sonnet-4", 300, 1500),
    ("gemini-2.5-flash", 30, 250),
];

/// Returns the cost of a request, in millionths of a US cent.
pub(super) fn request_cost(model: &str, asked: u64, answered: u64) -> u64 {
    let price = TOKEN_PRICES.iter().find(|(known, ..)| *known == model);
    price.map_or(0, |(_, input, output)| {
        asked
            .saturating_mul(*input)
            .saturating_add(answered.saturating_mul(*output))
    })
}

/// Stores all logs of a call, or none if one is invalid.
fn insert(store: &mut Store, call: &ApiCall) -> ApiResult {
    let entries = match &call.list {
        Some(list) if list.is_empty() => {
            return Err(ApiError::Invalid("The list holds no log".to_owned()));
        }
        Some(list) => list
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let path = format!("[{index}]");
                validation::validate_value(store, FieldType::Object(&ENTRY_SHAPE), &path, entry)
            })
            .collect::<Result<Vec<_>, _>>()?,
        None => vec![Value::Object(validation::validate_body(
            store,
            ENTRY,
            &call.body,
            WriteKind::Create,
        )?)],
    };
    let own = call
        .caller
        .workspace_id()
        .and_then(|id| workspaces::resolve(store, id).ok());
    let workspace = own
        .map_or(workspaces::DEFAULT_SLUG, |workspace| {
            text(workspace, "slug")
        })
        .to_owned();
    let mut ids = Vec::new();
    for entry in &entries {
        let id = store.next_id();
        let log = build_log(&id, &store.clock.now(), &workspace, entry);
        store.insert(COLLECTION, log);
        ids.push(id);
    }
    Ok(json!({ "status": "success", "log_ids": ids }))
}

/// Metrics that only exist for requests through the gateway.
const GATEWAY_METRICS: [&str; 24] = [
    "api_key_id",
    "cache_processing_time",
    "config",
    "config_id",
    "config_version_id",
    "gateway_processing_time",
    "internal_trace_id",
    "last_used_option_index",
    "log_store_file_path_format",
    "mode",
    "organisation_name",
    "parent_span_id",
    "pre_processing_time",
    "prompt_id",
    "prompt_slug",
    "prompt_version_id",
    "request_parsing_time",
    "response_parsing_time",
    "runtime",
    "runtime_version",
    "sdk_version",
    "stream_mode",
    "upstream_response_time",
    "virtual_key",
];

/// Builds a log in its stored form.
fn build_log(id: &str, now: &str, workspace: &str, entry: &Value) -> Item {
    let [request, response, metadata] =
        ["request", "response", "metadata"].map(|part| entry.get(part).unwrap_or(&Value::Null));
    let written = |part: &Value, pointer: &str| {
        part.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let tokens = |names: [&str; 2]| {
        let usage = response.pointer("/body/usage");
        names
            .iter()
            .find_map(|name| usage?.get(*name)?.as_u64())
            .unwrap_or_default()
    };
    let url = written(request, "/url");
    let host = url.parse::<http::Uri>().unwrap_or_default();
    let host = host.host().unwrap_or_default();
    let provider = PROVIDER_HOSTS.iter().find(|(end, _)| host.ends_with(end));
    let model = Some(written(request, "/body/model")).filter(|model| !model.is_empty());
    let model = model.unwrap_or_else(|| written(response, "/body/model"));
    let asked = tokens(["prompt_tokens", "input_tokens"]);
    let answered = tokens(["completion_tokens", "output_tokens"]);
    let status = response
        .get("status")
        .and_then(Value::as_u64)
        .unwrap_or(200);
    let time = response
        .get("response_time")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    // The documents name them `traceId`, the specification `trace_id`.
    let traced = |camel: &str, snake: &str| {
        [camel, snake]
            .map(|name| written(metadata, name))
            .into_iter()
            .find(|id| !id.is_empty())
    };
    let trace = traced("/traceId", "/trace_id");
    let labels = metadata.as_object().into_iter().flatten();
    let (names, texts): (Vec<_>, Vec<_>) = labels.unzip();
    let micro_cents = request_cost(&model, asked, answered);
    let log = json!({
        "id": id, "created_at": now, "organisation_id": ORGANISATION,
        "metadata": metadata, "micro_cents": micro_cents,
        "request": { "url": url, "method": request.get("method"), "body": request.get("body"),
            "headers": mask_headers(request), "portkeyHeaders": {} },
        "response": { "status": status, "headers": mask_headers(response),
            "body": response.get("body"), "responseTime": time,
            "lastUsedOptionJsonPath": null },
        "metrics": {
            "id": id, "organisation_id": ORGANISATION, "created_at": now,
            "is_success": status < 400, "ai_org": provider.map_or("custom", |(_, name)| name),
            "ai_model": model, "req_units": asked, "res_units": answered,
            "total_units": asked.saturating_add(answered), "cost": micro_cents_to_cents(micro_cents),
            "cost_currency": "USD", "request_url": url, "request_method": request.get("method"),
            "response_status_code": status, "response_time": time, "is_proxy_call": false,
            "cache_status": null, "cache_type": null, "retry_success_count": 0,
            "trace_id": trace.unwrap_or_else(|| id.to_owned()),
            "span_id": traced("/spanId", "/span_id").unwrap_or_default(),
            "span_name": traced("/spanName", "/span_name").unwrap_or_default(),
            "source": "custom", "workspace_slug": workspace,
            "metadata.key": names, "metadata.value": texts,
        },
    });
    let mut log = log.as_object().cloned().unwrap_or_default();
    // The metrics are present but have no value.
    if let Some(Value::Object(metrics)) = log.get_mut("metrics") {
        metrics.extend(GATEWAY_METRICS.map(|name| (name.to_owned(), Value::Null)));
    }
    log
}

/// Converts millionths of a cent to cents.
pub(super) fn micro_cents_to_cents(micro: u64) -> f64 {
    micro as f64 / 1_000_000.0
}

/// Returns the headers of a request or response, with masked credentials.
fn mask_headers(part: &Value) -> Item {
    let given = part
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let shown = given.map(|(name, value)| {
        let secret = CREDENTIAL_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        let text = value.as_str().unwrap_or_default();
        (
            name.clone(),
            if secret {
                mask(text).into()
            } else {
                value.clone()
            },
        )
    });
    shown.collect()
}

/// Returns a request or response at one of its stages, with the URL and method of the request.
fn stage_message(part: &Value, request: &Value) -> Value {
    json!({ "url": request.get("url"), "method": request.get("method"),
        "headers": part.get("headers"), "body": part.get("body") })
}

fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    let missing = || ApiError::NotFound {
        object: "log",
        handle: call.handle().to_owned(),
    };
    let log = store.find(COLLECTION, call.handle()).ok_or_else(missing)?;
    if let Some(own) = call.caller.workspace_id() {
        let slug = log
            .get("metrics")
            .and_then(|metrics| metrics.get("workspace_slug"));
        if slug != workspaces::resolve(store, own)?.get("slug") {
            return Err(missing());
        }
    }
    let [request, response] =
        ["request", "response"].map(|part| log.get(part).cloned().unwrap_or_default());
    Ok(json!({
        "_id": text(log, "id"), "request": request, "response": response,
        "organisation_id": ORGANISATION, "created_at": text(log, "created_at"),
        "metrics": log.get("metrics"),
        "finalUntransformedRequest": stage_message(&request, &request),
        "transformedRequest": stage_message(&request, &request),
        "originalResponse": stage_message(&response, &request),
    }))
}
