//! Analytics: figures of the traffic in a period, over time or in groups.

mod filters;
mod graphs;
mod groups;
mod total;
mod traffic;

use serde_json::json;

use self::{filters::Filters, total::Total};
use crate::sandbox::{
    call::Call,
    crud::Outcome,
    route::{Domain, Version, get},
    store::Store,
};

/// The domain.
pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[],
    routes: &[
        get("/analytics/graphs/{name}", graphs::draw),
        get("/analytics/graphs/{family}/{name}", graphs::draw),
        get("/analytics/groups/{dimension}", groups::list),
        get("/analytics/groups/metadata/{key}", groups::list_metadata),
        get("/analytics/summary/cache", cache_summary),
    ],
};

fn cache_summary(store: &mut Store, call: &Call) -> Outcome {
    let inserted = traffic::inserted(store);
    let total = Total::of(Filters::of(store, call)?.apply(&inserted));
    Ok(json!({
        "summary": {
            "hits": total.hits(),
            "avg_latency": total.hit_latency(),
            "total_requests": total.requests,
            "cache_speedup": total.speedup(),
        },
        "object": "analytics-summary",
    }))
}
