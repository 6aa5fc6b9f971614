//! Graphs: figures over time by day, or by hour or minute in short periods. Some are split by
//! status, score or model instead.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    filters::TrafficFilters,
    row::TrafficRow,
    total::{TrafficTotal, count_as_f64},
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    clock,
    crud::ApiResult,
    store::{Item, Store},
};

/// One graph.
struct Graph {
    /// Last part of the graph's path.
    path: &'static str,
    /// Summary of the whole period.
    summary: fn(&TrafficTotal) -> Value,
    /// Data points of the graph.
    points: GraphPoints,
}

/// Data points of a graph.
enum GraphPoints {
    /// One point per day, hour or minute with traffic, from its total and the cumulative total.
    Timeline(fn(&TrafficTotal, &TrafficTotal) -> Value),
    /// A split of the whole period.
    Parts(fn(&[TrafficRow<'_>]) -> Vec<Value>),
}

use GraphPoints::{Parts, Timeline};

const GRAPHS: &[Graph] = &[
    Graph {
        path: "requests",
        summary: |all| json!({ "total": all.requests }),
        points: Timeline(|part, _| json!({ "total": part.requests })),
    },
    Graph {
        path: "cost",
        summary: cost,
        points: Timeline(|part, _| cost(part)),
    },
    Graph {
        path: "tokens",
        summary: tokens,
        points: Timeline(|part, _| tokens(part)),
    },
    Graph {
        path: "latency",
        summary: latency,
        points: Timeline(|part, _| latency(part)),
    },
    Graph {
        path: "errors",
        summary: |all| json!({ "total": all.errors }),
        points: Timeline(|part, _| json!({ "total": part.errors })),
    },
    Graph {
        path: "errors/rate",
        summary: |all| json!({ "rate": all.percent(all.errors) }),
        points: Timeline(|part, _| json!({ "rate": part.percent(part.errors) })),
    },
    Graph {
        path: "errors/stacks",
        summary: |all| json!({ "total": all.errors }),
        points: Timeline(
            |part, _| json!({ "stats": count_points(&part.statuses, "response_status_code", "count") }),
        ),
    },
    Graph {
        path: "errors/status-codes",
        summary: |all| json!({ "total_errors": all.errors, "unique_error_codes": all.statuses.len() }),
        points: Parts(|rows| {
            count_points(
                &TrafficTotal::from_rows(rows).statuses,
                "status_code",
                "count",
            )
        }),
    },
    Graph {
        path: "users",
        summary: |all| json!({ "total": all.users.len() }),
        points: Timeline(|part, _| json!({ "total": part.users.len() })),
    },
    Graph {
        path: "users/requests",
        summary: |all| json!({ "total": all.requests, "unique": all.users.len(), "avg": per_user(all) }),
        points: Timeline(|part, _| json!({ "avg": per_user(part) })),
    },
    Graph {
        path: "requests/rescued",
        summary: |all| json!({ "retry": all.retried_requests(), "fallback": all.fallbacks }),
        points: Timeline(|part, _| {
            json!({ "retry": count_points(&part.retries, "retry_success_count", "count"),
                "fallback": part.fallbacks })
        }),
    },
    Graph {
        path: "cache/hit-rate",
        summary: |all| json!({ "total": all.hits(), "rate": all.percent(all.hits()) }),
        points: Timeline(|part, so_far| {
            let (simple, semantic) = so_far.savings();
            json!({ "simple_hits": part.simple_hits, "semantic_hits": part.semantic_hits,
                "rate": part.percent(part.hits()), "cumulative_simple_cache_savings": simple,
                "cumulative_semantic_cache_savings": semantic })
        }),
    },
    Graph {
        path: "cache/latency",
        summary: |all| json!({ "avg": all.mean_hit_latency() }),
        points: Timeline(|part, _| json!({ "avg": part.mean_hit_latency() })),
    },
    Graph {
        path: "feedbacks",
        summary: |all| json!({ "total": all.ratings }),
        points: Timeline(|part, _| json!({ "total": part.ratings })),
    },
    Graph {
        path: "feedbacks/weighted",
        summary: |all| json!({ "avg": all.weighted_feedback() }),
        points: Timeline(|part, _| json!({ "avg": part.weighted_feedback() })),
    },
    Graph {
        path: "feedbacks/scores",
        summary: |all| json!({ "total": all.ratings }),
        points: Parts(|rows| count_points(&TrafficTotal::from_rows(rows).scores, "score", "total")),
    },
    Graph {
        path: "feedbacks/ai-models",
        summary: |_| json!({}),
        points: Parts(points_by_model),
    },
];

fn cost(total: &TrafficTotal) -> Value {
    json!({ "total": total.cost(), "avg": total.per_request(total.cost()) })
}

fn tokens(total: &TrafficTotal) -> Value {
    json!({ "total": total.tokens(), "avg": total.per_request(count_as_f64(total.tokens())) })
}

fn latency(total: &TrafficTotal) -> Value {
    json!({ "avg": total.mean_latency(), "p50": total.percentile(50), "p90": total.percentile(90),
        "p99": total.percentile(99) })
}

fn per_user(total: &TrafficTotal) -> u64 {
    let users = u64::try_from(total.users.len()).unwrap_or(u64::MAX);
    total.users.values().sum::<u64>() / users.max(1)
}

/// Formats counts as `[{<key>, <count>}]`.
fn count_points<K: Copy + Into<Value>>(
    counts: &BTreeMap<K, u64>,
    key: &'static str,
    count: &'static str,
) -> Vec<Value> {
    counts
        .iter()
        .map(|(value, many)| {
            let value: Value = (*value).into();
            json!({ key: value, count: many })
        })
        .collect()
}

fn points_by_model(rows: &[TrafficRow<'_>]) -> Vec<Value> {
    let mut models: BTreeMap<&str, TrafficTotal> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.ratings.is_empty()) {
        models
            .entry(row.origin.model.as_str())
            .or_default()
            .add(row);
    }
    let point = |(model, total): (&str, TrafficTotal)| {
        json!({ "ai_model": model, "total": total.ratings,
            "avg_weighted_feedback": total.weighted_feedback() })
    };
    models.into_iter().map(point).collect()
}

/// Returns the graph that the path names.
pub(super) fn draw(store: &mut Store, call: &ApiCall) -> ApiResult {
    let path = call.path.join("/");
    let graph = GRAPHS.iter().find(|graph| graph.path == path);
    let graph = graph.ok_or(ApiError::NotFound {
        object: "graph",
        handle: path,
    })?;
    let filters = TrafficFilters::from_call(store, call)?;
    let rows = filters.apply(store);
    let points = match graph.points {
        Parts(split) => split(&rows),
        Timeline(point) => build_timeline(&rows, filters.step_seconds(), point),
    };
    Ok(json!({
        "summary": (graph.summary)(&TrafficTotal::from_rows(&rows)),
        "data_points": points,
        "object": "analytics-graph",
    }))
}

fn build_timeline(
    rows: &[TrafficRow<'_>],
    step: u64,
    point: fn(&TrafficTotal, &TrafficTotal) -> Value,
) -> Vec<Value> {
    let mut so_far = TrafficTotal::default();
    let parts = rows.chunk_by(|a, b| a.at / step == b.at / step);
    parts
        .map(|part| {
            let total = TrafficTotal::from_rows(part);
            part.iter().for_each(|row| so_far.add(row));
            let begin = clock::format_timestamp(total.first_at / step * step);
            let mut whole = Item::from_iter([("timestamp".to_owned(), begin.into())]);
            whole.extend(
                point(&total, &so_far)
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
            );
            Value::Object(whole)
        })
        .collect()
}
