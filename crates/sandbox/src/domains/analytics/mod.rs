//! Analytics: figures about the traffic of a period, over time or in groups.

mod export;
mod filters;
mod graphs;
mod groups;
mod row;
mod total;
pub(crate) mod traffic;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(super) use self::export::exported_logs;
use self::{filters::TrafficFilters, row::TrafficRow, total::TrafficTotal};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    clock::SECONDS_PER_DAY,
    crud::ApiResult,
    page::Envelope,
    route::{ApiVersion, Domain, get},
    store::{Item, Store},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[
        get("/analytics/graphs/{name}", graphs::draw),
        get("/analytics/graphs/{family}/{name}", graphs::draw),
        get("/analytics/groups/{dimension}", groups::list),
        get("/analytics/groups/metadata/{key}", groups::list_metadata),
        get("/analytics/summary/cache", summarise_cache),
        get("/analytics/metadata/{key}", list_metadata_values),
        get("/logs/metadata/{key}", list_metadata_values),
        get("/logs/groups/metadata/{key}", list_metadata_groups),
    ],
};

/// Counts the requests of a workspace that match the filters of an export.
pub(super) fn count_requests(
    store: &Store,
    workspace: &str,
    filters: &Item,
) -> Result<u64, ApiError> {
    Ok(TrafficTotal::from_rows(&export_rows(store, workspace, filters)?).requests)
}

/// Returns the requests of a workspace that match the filters of an export.
fn export_rows<'s>(
    store: &'s Store,
    workspace: &str,
    filters: &Item,
) -> Result<Vec<TrafficRow<'s>>, ApiError> {
    // Exports may omit the period, which analytics require.
    let mut asked = vec![
        (
            "time_of_generation_min".to_owned(),
            "1970-01-01T00:00:00Z".to_owned(),
        ),
        (
            "time_of_generation_max".to_owned(),
            "9999-12-31T00:00:00Z".to_owned(),
        ),
    ];
    asked.retain(|(name, _)| !filters.contains_key(name));
    let given = filters.iter().filter(|(name, _)| *name != "workspace_slug");
    asked.extend(given.map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    }));
    asked.push(("workspace_slug".to_owned(), workspace.to_owned()));
    let call = ApiCall {
        query: asked,
        ..ApiCall::default()
    };
    Ok(TrafficFilters::from_call(store, &call)?.apply(store))
}

/// Returns the cost of a workspace's requests with a metadata label since a time, in US cents.
pub(super) fn cost_since(store: &Store, workspace: &str, label: (&str, &str), since: u64) -> f64 {
    let (name, value) = label;
    let rows = store
        .traffic
        .rows(&(since..=store.clock.unix_seconds()), false, |origin| {
            origin.workspace == workspace && origin.label(name) == Some(value)
        });
    TrafficTotal::from_rows(&rows).cost()
}

fn summarise_cache(store: &mut Store, call: &ApiCall) -> ApiResult {
    let total = TrafficTotal::from_rows(&TrafficFilters::from_call(store, call)?.apply(store));
    Ok(json!({
        "summary": {
            "hits": total.hits(),
            "avg_latency": total.mean_hit_latency(),
            "total_requests": total.requests,
            "cache_speedup": total.speedup(),
        },
        "object": "analytics-summary",
    }))
}

/// Returns the values of a metadata key, each with its number of requests of the last 30 days.
fn count_metadata_values(store: &Store, key: &str) -> BTreeMap<String, u64> {
    let now = store.clock.unix_seconds();
    let rows = store
        .traffic
        .rows(&(now - 30 * SECONDS_PER_DAY..=now), false, |origin| {
            origin.label(key).is_some()
        });
    let mut counts = BTreeMap::new();
    for row in rows.iter().chain(&row::logged_rows(store)) {
        if let Some(value) = row.origin.label(key) {
            *counts.entry(value.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn list_metadata_values(store: &mut Store, call: &ApiCall) -> ApiResult {
    let values = count_metadata_values(store, call.handle()).into_keys();
    let values: Vec<Value> = values.map(|value| json!({ "value": value })).collect();
    Ok(Envelope::LIST.wrap(values.len(), false, values))
}

fn list_metadata_groups(store: &mut Store, call: &ApiCall) -> ApiResult {
    let groups = count_metadata_values(store, call.handle()).into_iter();
    let groups: Vec<Value> = groups
        .map(|(value, requests)| json!({ "metadata_value": value, "requests": requests }))
        .collect();
    Ok(Envelope::LIST.wrap(groups.len(), false, groups))
}
