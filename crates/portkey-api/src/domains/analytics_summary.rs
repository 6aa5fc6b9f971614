//! Analytics summaries: figures of a whole period.

use portkey_operation::{Operation, get};

use super::shared::{TRAFFIC_ALIASES, TrafficOnly, traffic};
/// Operations of the domain `analytics-summary`.
pub const OPERATIONS: &[Operation] =
    &[
        get::<TrafficOnly>("get-cache-summary", "/analytics/summary/cache")
            .with_argument_aliases(TRAFFIC_ALIASES)
            .with_search_terms(&[
                "cache effectiveness",
                "cache statistics",
                "saved time",
                "is caching worth it",
                "Cache-Übersicht",
            ])
            .with_docs(
                "Get the cache summary",
                traffic!("Returns cache hits, their latency (ms) and the speed-up (percent)."),
            )
            .enterprise()
            .scopes(&["analytics.view"]),
    ];
