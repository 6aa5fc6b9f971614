//! Analytics graphs: figures over time, or split by status, score or model.

use super::shared::{TrafficOnly, traffic};
use crate::operation::{Operation, get};

/// A graph: its name, what else it is called, where it is, its title and what it shows.
macro_rules! graph {
    ($name:literal, $alias:literal, $path:literal, $title:literal, $what:literal) => {
        get::<TrafficOnly>($name, concat!("/analytics/graphs/", $path))
            .about($title, traffic!($what))
            .aliases(&[$alias])
            .enterprise()
            .scopes(&["analytics.view"])
    };
}

/// The room's table.
pub const OPERATIONS: &[Operation] = &[
    graph!(
        "get-cache-hit-rate-graph",
        "get-cache-hit-rate",
        "cache/hit-rate",
        "Graph cache hit rate",
        "Hits, their percentage and savings over time."
    ),
    graph!(
        "get-cache-hit-latency-graph",
        "get-cache-hit-latency",
        "cache/latency",
        "Graph cache hit latency",
        "Milliseconds over time."
    ),
    graph!(
        "get-cost-graph",
        "get-cost-analytics",
        "cost",
        "Graph cost",
        "US cents over time, total and per request."
    ),
    graph!(
        "get-errors-graph",
        "get-error-analytics",
        "errors",
        "Graph errors",
        "Failed requests over time."
    ),
    graph!(
        "get-error-rate-graph",
        "get-error-rate-analytics",
        "errors/rate",
        "Graph error rate",
        "Percentage failed over time."
    ),
    graph!(
        "get-error-stacks-graph",
        "get-error-stacks-analytics",
        "errors/stacks",
        "Graph error stacks",
        "Failed requests over time, by status."
    ),
    graph!(
        "get-error-status-codes-graph",
        "get-error-status-codes-analytics",
        "errors/status-codes",
        "Graph error status codes",
        "Failed requests by status."
    ),
    graph!(
        "get-feedbacks-graph",
        "get-feedback-analytics",
        "feedbacks",
        "Graph feedback",
        "Feedback given over time."
    ),
    graph!(
        "get-feedbacks-ai-models-graph",
        "get-feedback-models-analytics",
        "feedbacks/ai-models",
        "Graph feedback by model",
        "Count and weighted mean by model."
    ),
    graph!(
        "get-feedback-scores-graph",
        "get-feedback-scores-analytics",
        "feedbacks/scores",
        "Graph feedback scores",
        "Feedback by score."
    ),
    graph!(
        "get-weighted-feedbacks-graph",
        "get-feedback-weighted-analytics",
        "feedbacks/weighted",
        "Graph weighted feedback",
        "Mean over time."
    ),
    graph!(
        "get-latency-graph",
        "get-latency-analytics",
        "latency",
        "Graph latency",
        "Mean, p50, p90 and p99 (ms) over time."
    ),
    graph!(
        "get-requests-graph",
        "get-request-analytics",
        "requests",
        "Graph requests",
        "Requests over time."
    ),
    graph!(
        "get-rescued-requests-graph",
        "get-rescued-requests-analytics",
        "requests/rescued",
        "Graph rescued requests",
        "Failures that a retry or a fallback made good, over time."
    ),
    graph!(
        "get-tokens-graph",
        "get-token-analytics",
        "tokens",
        "Graph tokens",
        "Tokens over time, total and per request."
    ),
    graph!(
        "get-users-graph",
        "get-users-analytics",
        "users",
        "Graph users",
        "Distinct users over time."
    ),
    graph!(
        "get-users-requests-graph",
        "get-user-requests-analytics",
        "users/requests",
        "Graph requests per user",
        "Requests per user over time."
    ),
];
