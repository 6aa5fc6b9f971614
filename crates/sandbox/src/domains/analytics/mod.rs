//! Analytics: figures about the traffic of a period, over time or in groups.

mod filters;
mod graphs;
mod groups;
mod row;
mod total;
pub(crate) mod traffic;

use serde_json::json;

use self::{filters::TrafficFilters, total::TrafficTotal};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
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
    ],
};

/// Counts the requests of a workspace that match the filters of an export.
pub(super) fn count_requests(
    store: &Store,
    workspace: &str,
    filters: &Item,
) -> Result<u64, ApiError> {
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
    Ok(TrafficTotal::from_rows(&TrafficFilters::from_call(store, &call)?.apply(store)).requests)
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
