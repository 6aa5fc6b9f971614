//! Requests as log exports have them: one record each, with the figures that the graphs add up.

use std::ops::Range;

use serde_json::{Value, json};

use super::{
    export_rows,
    row::{CacheOutcome, TrafficRow},
};
use crate::{
    api_error::ApiError,
    clock::format_timestamp,
    domains::logs::{self, micro_cents_to_cents},
    store::{Item, Store, text},
};

/// Returns the logs of a workspace that match the filters of an export, oldest first, in a range of their
/// positions.
pub(in crate::domains) fn exported_logs(
    store: &Store,
    workspace: &str,
    filters: &Item,
    range: Range<u64>,
) -> Result<Vec<Item>, ApiError> {
    let rows = export_rows(store, workspace, filters)?;
    let mut requests: Vec<(u64, usize, u64)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let length = row.last_at.saturating_sub(row.at);
        let last = row.requests.saturating_sub(1).max(1);
        // The requests of a row are spread evenly between the first and the last one.
        requests.extend(
            (0..row.requests).map(|number| (row.at + length * number / last, index, number)),
        );
    }
    requests.sort_unstable();
    let position = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let count = position(range.end.saturating_sub(range.start));
    let requests = requests.into_iter().skip(position(range.start)).take(count);
    Ok(requests
        .filter_map(|(at, index, number)| Some(to_log(store, rows.get(index)?, at, index, number)))
        .collect())
}

fn to_log(store: &Store, row: &TrafficRow<'_>, at: u64, index: usize, number: u64) -> Item {
    let origin = &*row.origin;
    let inserted = Some(&origin.log).filter(|id| !id.is_empty());
    let inserted = inserted.and_then(|id| store.find(logs::COLLECTION, id));
    let is_success = row.status < 400;
    let id = match inserted {
        Some(log) => text(log, "id").to_owned(),
        None => format!("log-{at}-{index}-{number}"),
    };
    let part = |name: &str| inserted.and_then(|log| log.get(name)).cloned();
    let labels = origin.metadata.iter();
    let labels: Item = labels
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let url = match &part("request") {
        Some(request) => request.get("url").cloned().unwrap_or_default(),
        None => "https://api.portkey.ai/v1/chat/completions".into(),
    };
    let known = |text: &str| match text.is_empty() {
        true => Value::Null,
        false => text.into(),
    };
    let log = json!({
        "id": id,
        "trace_id": if origin.trace.is_empty() { &id } else { &origin.trace },
        "created_at": format_timestamp(at),
        "request": part("request").unwrap_or_else(|| request_of(row, number)),
        "response": part("response").unwrap_or_else(|| response_of(row)),
        "is_success": is_success,
        "ai_org": origin.provider,
        "ai_model": origin.model,
        "req_units": row.prompt_tokens,
        "res_units": row.completion_tokens,
        "total_units": row.prompt_tokens + row.completion_tokens,
        "request_url": url,
        "cost": micro_cents_to_cents(row.cost),
        "cost_currency": "USD",
        "response_time": row.latency_ms,
        "response_status_code": row.status,
        "mode": match (row.fallback, row.cache) {
            (true, _) => "fallback",
            (false, CacheOutcome::Miss) => "single",
            (false, CacheOutcome::Simple | CacheOutcome::Semantic) => "cache",
        },
        "config": known(&origin.config),
        "prompt_slug": known(&origin.prompt),
        "metadata": labels,
    });
    log.as_object().cloned().unwrap_or_default()
}

/// Returns the request of a stream, whose prompts differ in their number only.
fn request_of(row: &TrafficRow<'_>, number: u64) -> Value {
    let user = row.origin.label("_user").unwrap_or("somebody");
    json!({
        "method": "POST",
        "headers": { "content-type": "application/json" },
        "body": { "model": row.origin.model, "messages": [
            { "role": "user", "content": format!("Question {number} of {user}") }] },
    })
}

fn response_of(row: &TrafficRow<'_>) -> Value {
    let body = match row.status {
        200..=399 => json!({
            "model": row.origin.model,
            "choices": [{ "message": { "role": "assistant", "content": "An answer of the sandbox" } }],
            "usage": { "prompt_tokens": row.prompt_tokens, "completion_tokens": row.completion_tokens },
        }),
        429 => {
            json!({ "error": { "message": "Rate limit reached for requests", "type": "rate_limit_error" } })
        }
        status => {
            json!({ "error": { "message": "The server is overloaded", "type": "server_error", "code": status } })
        }
    };
    json!({ "status": row.status, "body": body })
}
