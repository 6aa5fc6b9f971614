//! Analytics graphs: figures over time, or split by status, score or model.

use super::shared::{Traffic, traffic};
use crate::operation::{Operation, get};

/// A graph: its name, what else it is called, where it is, its title and what it shows.
macro_rules! graph {
    ($name:literal, $alias:literal, $path:literal, $title:literal, $what:literal) => {
        get::<Traffic>($name, concat!("/analytics/graphs/", $path))
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
        "Get the cache hit rate graph",
        "Cache hits, their rate (percent) and savings over time."
    ),
    graph!(
        "get-cache-hit-latency-graph",
        "get-cache-hit-latency",
        "cache/latency",
        "Get the cache hit latency graph",
        "Latency of cache hits over time (ms)."
    ),
    graph!(
        "get-cost-graph",
        "get-cost-analytics",
        "cost",
        "Get the cost graph",
        "Cost over time, total and per request (US cents)."
    ),
    graph!(
        "get-errors-graph",
        "get-error-analytics",
        "errors",
        "Get the errors graph",
        "Failed requests over time."
    ),
    graph!(
        "get-error-rate-graph",
        "get-error-rate-analytics",
        "errors/rate",
        "Get the error rate graph",
        "Failed requests over time (percent)."
    ),
    graph!(
        "get-error-stacks-graph",
        "get-error-stacks-analytics",
        "errors/stacks",
        "Get the error stacks graph",
        "Failed requests over time, by status."
    ),
    graph!(
        "get-error-status-codes-graph",
        "get-error-status-codes-analytics",
        "errors/status-codes",
        "Get the error status codes graph",
        "Failed requests by status."
    ),
    graph!(
        "get-feedbacks-graph",
        "get-feedback-analytics",
        "feedbacks",
        "Get the feedback graph",
        "Feedback given over time."
    ),
    graph!(
        "get-feedbacks-ai-models-graph",
        "get-feedback-models-analytics",
        "feedbacks/ai-models",
        "Get the feedback by model graph",
        "Feedback and its weighted average by model."
    ),
    graph!(
        "get-feedback-scores-graph",
        "get-feedback-scores-analytics",
        "feedbacks/scores",
        "Get the feedback scores graph",
        "Feedback by score."
    ),
    graph!(
        "get-weighted-feedbacks-graph",
        "get-feedback-weighted-analytics",
        "feedbacks/weighted",
        "Get the weighted feedback graph",
        "Average weighted feedback over time."
    ),
    graph!(
        "get-latency-graph",
        "get-latency-analytics",
        "latency",
        "Get the latency graph",
        "Average, p50, p90 and p99 latency over time (ms)."
    ),
    graph!(
        "get-requests-graph",
        "get-request-analytics",
        "requests",
        "Get the requests graph",
        "Requests over time."
    ),
    graph!(
        "get-rescued-requests-graph",
        "get-rescued-requests-analytics",
        "requests/rescued",
        "Get the rescued requests graph",
        "Requests saved by retry or fallback over time."
    ),
    graph!(
        "get-tokens-graph",
        "get-token-analytics",
        "tokens",
        "Get the tokens graph",
        "Tokens over time, total and per request."
    ),
    graph!(
        "get-users-graph",
        "get-users-analytics",
        "users",
        "Get the users graph",
        "Distinct users over time."
    ),
    graph!(
        "get-users-requests-graph",
        "get-user-requests-analytics",
        "users/requests",
        "Get the requests per user graph",
        "Requests per user over time."
    ),
];
