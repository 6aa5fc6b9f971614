//! Metadata values: what requests carried under a metadata key.
//!
//! Preview, as in the domain `agent-integrations`.

use portkey_operation::{Operation, Stability, get};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `metadata-values`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListValues>(
        "list-analytics-metadata-values",
        "/analytics/metadata/{metadata_key}",
    )
    .with_docs(
        "List metadata values of analytics",
        "Returns the values that requests in analytics carry under a metadata key.",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["labels in use", "distinct tags", "facets", "Merkmale"])
    .returns_untrusted_content(),
    get::<ListValues>("list-log-metadata-groups", "/logs/groups/metadata/{metadata_key}")
        .with_docs(
            "Group logs by metadata",
            "Returns the values that logged requests carry under a metadata key, with the number of each.",
        )
        .with_stability(Stability::Preview)
        .with_search_terms(&["count logs per tag", "breakdown of logs", "Logs gruppieren"])
        .returns_untrusted_content(),
    get::<ListValues>("list-log-metadata-values", "/logs/metadata/{metadata_key}")
        .with_docs(
            "List metadata values of logs",
            "Returns the values that logged requests carry under a metadata key.",
        )
        .with_stability(Stability::Preview)
        .with_search_terms(&["labels in logs", "distinct tags of logs", "Merkmale der Logs"])
        .returns_untrusted_content(),
];

/// List metadata values
///
/// Returns the values under a metadata key.
#[derive(Deserialize, JsonSchema)]
pub struct ListValues {
    /// Name of the metadata, such as `team`.
    pub metadata_key: String,
}
