//! Analytics graphs: figures over time, or split by status, score or model.

use portkey_operation::{Operation, get};

use super::shared::{TRAFFIC_ALIASES, TrafficOnly, traffic, traffic_in_full};

/// Declares a graph by name, alias, path, title, description and search terms. `all filters` names
/// them in the description.
macro_rules! graph {
    (all filters: $name:literal, $alias:literal, $path:literal, $title:literal, $what:literal, $words:expr) => {
        graph!(@ $name, $alias, $path, $title, traffic_in_full!($what), $words)
    };
    ($name:literal, $alias:literal, $path:literal, $title:literal, $what:literal, $words:expr) => {
        graph!(@ $name, $alias, $path, $title, traffic!($what), $words)
    };
    (@ $name:literal, $alias:literal, $path:literal, $title:literal, $description:expr, $words:expr) => {
        get::<TrafficOnly>($name, concat!("/analytics/graphs/", $path))
            .with_docs($title, $description)
            .aliases(&[$alias])
            .with_argument_aliases(TRAFFIC_ALIASES)
            .with_search_terms($words)
            .enterprise()
            .scopes(&["analytics.view"])
    };
}

/// Operations of the domain `analytics-graphs`.
pub const OPERATIONS: &[Operation] = &[
    graph!(
        "get-cache-hit-rate-graph",
        "get-cache-hit-rate",
        "cache/hit-rate",
        "Graph cache hit rate",
        "Hits, their percentage and savings over time.",
        &[
            "cache ratio",
            "cache efficiency",
            "saved by caching",
            "Trefferquote",
            "cache effectiveness"
        ]
    ),
    graph!(
        "get-cache-hit-latency-graph",
        "get-cache-hit-latency",
        "cache/latency",
        "Graph cache hit latency",
        "Milliseconds over time.",
        &[
            "cached response speed",
            "cache performance",
            "how fast is the cache",
            "Cache-Antwortzeit"
        ]
    ),
    graph!(
        all filters: "get-cost-graph",
        "get-cost-analytics",
        "cost",
        "Graph cost",
        "US cents over time, total and per request.",
        &[
            "spend",
            "spending per day",
            "bill",
            "expenses trend",
            "Kosten",
            "Ausgaben"
        ]
    ),
    graph!(
        "get-errors-graph",
        "get-error-analytics",
        "errors",
        "Graph errors",
        "Failed requests over time.",
        &[
            "failures",
            "number of failed calls",
            "outage",
            "incidents",
            "Fehler",
            "exceptions"
        ]
    ),
    graph!(
        "get-error-rate-graph",
        "get-error-rate-analytics",
        "errors/rate",
        "Graph error rate",
        "Percentage failed over time.",
        &[
            "failure ratio",
            "reliability",
            "success rate",
            "Fehlerquote",
            "uptime"
        ]
    ),
    graph!(
        "get-error-stacks-graph",
        "get-error-stacks-analytics",
        "errors/stacks",
        "Graph error stacks",
        "Failed requests over time, by status.",
        &[
            "stacked errors",
            "http status history",
            "breakdown of failures",
            "4xx and 5xx trend",
            "Fehlerverlauf"
        ]
    ),
    graph!(
        "get-error-status-codes-graph",
        "get-error-status-codes-analytics",
        "errors/status-codes",
        "Graph error status codes",
        "Failed requests by status.",
        &[
            "429",
            "500",
            "5xx",
            "http status count",
            "which errors",
            "Fehlercodes"
        ]
    ),
    graph!(
        "get-feedbacks-graph",
        "get-feedback-analytics",
        "feedbacks",
        "Graph feedback",
        "Feedback given over time.",
        &[
            "ratings per day",
            "number of ratings",
            "thumbs",
            "reviews trend",
            "Rückmeldungen"
        ]
    ),
    graph!(
        "get-feedbacks-ai-models-graph",
        "get-feedback-models-analytics",
        "feedbacks/ai-models",
        "Graph feedback by model",
        "Count and weighted mean by model.",
        &[
            "ratings per LLM",
            "best rated",
            "model quality comparison",
            "user satisfaction per model",
            "Modellbewertung"
        ]
    ),
    graph!(
        "get-feedback-scores-graph",
        "get-feedback-scores-analytics",
        "feedbacks/scores",
        "Graph feedback scores",
        "Feedback by score.",
        &[
            "rating distribution",
            "histogram of ratings",
            "thumbs up",
            "stars",
            "Bewertungen"
        ]
    ),
    graph!(
        "get-weighted-feedbacks-graph",
        "get-feedback-weighted-analytics",
        "feedbacks/weighted",
        "Graph weighted feedback",
        "Mean over time.",
        &[
            "average rating",
            "satisfaction",
            "CSAT",
            "quality score trend",
            "Durchschnittsbewertung"
        ]
    ),
    graph!(
        "get-latency-graph",
        "get-latency-analytics",
        "latency",
        "Graph latency",
        "Mean, p50, p90 and p99 (ms) over time.",
        &[
            "response time",
            "slow",
            "speed",
            "duration",
            "percentiles",
            "Antwortzeit"
        ]
    ),
    graph!(
        "get-requests-graph",
        "get-request-analytics",
        "requests",
        "Graph requests",
        "Requests over time.",
        &[
            "traffic",
            "number of calls",
            "volume",
            "throughput",
            "Anfragen",
            "load"
        ]
    ),
    graph!(
        "get-rescued-requests-graph",
        "get-rescued-requests-analytics",
        "requests/rescued",
        "Graph rescued requests",
        "Failures that a retry or a fallback made good, over time.",
        &[
            "fallbacks used",
            "saved by fallback",
            "recovered failures",
            "retries that worked",
            "failover",
            "gerettete Anfragen"
        ]
    ),
    graph!(
        "get-tokens-graph",
        "get-token-analytics",
        "tokens",
        "Graph tokens",
        "Tokens over time, total and per request.",
        &[
            "token usage",
            "token consumption",
            "prompt and completion tokens per day",
            "input and output volume",
            "Tokenverbrauch"
        ]
    ),
    graph!(
        "get-users-graph",
        "get-users-analytics",
        "users",
        "Graph users",
        "Distinct users over time.",
        &[
            "active users",
            "daily active users",
            "DAU",
            "unique people",
            "adoption",
            "Nutzerzahl"
        ]
    ),
    graph!(
        "get-users-requests-graph",
        "get-user-requests-analytics",
        "users/requests",
        "Graph requests per user",
        "Requests per user over time.",
        &[
            "calls per person",
            "heavy users",
            "most active",
            "requests by employee",
            "Anfragen pro Nutzer"
        ]
    ),
];
