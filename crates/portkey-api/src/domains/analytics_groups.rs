//! Analytics groups: figures per model, user, provider, workspace or metadata value.

use portkey_operation::{Operation, TextOrList, get};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{TRAFFIC_ALIASES, Traffic, traffic};
/// Operations of the domain `analytics-groups`.
pub const OPERATIONS: &[Operation] = &[
    get::<Grouped>("get-ai-models-grouped-data", "/analytics/groups/ai-models")
        .with_argument_aliases(TRAFFIC_ALIASES)
        .with_search_terms(&[
            "most expensive model",
            "spend per LLM",
            "model usage",
            "top models",
            "most used model",
            "Kosten pro Modell",
        ])
        .with_docs(
            "Get analytics by model",
            traffic!("Requests and cost (US cents) per model, as texts."),
        )
        .aliases(&["get-analytics-group-models"])
        .enterprise()
        .scopes(VIEW_SCOPES),
    get::<GroupedByMetadata>(
        "get-metadata-grouped-data",
        "/analytics/groups/metadata/{metadata_key}",
    )
    .with_argument_aliases(TRAFFIC_ALIASES)
    .with_search_terms(&[
        "cost per customer",
        "per feature",
        "chargeback",
        "custom tag",
        "cost allocation",
        "Kosten pro Kunde",
    ])
    .with_docs(
        "Get analytics by metadata",
        traffic!("Requests, cost (US cents), tokens and feedback per value of a metadata key."),
    )
    .aliases(&["get-analytics-group-metadata"])
    .enterprise()
    .scopes(VIEW_SCOPES)
    .returns_untrusted_content()
    .with_sensitive_fields(&["data[].metadata_value"]),
    get::<Grouped>("get-provider-grouped-data", "/analytics/groups/provider")
        .with_argument_aliases(TRAFFIC_ALIASES)
        .with_search_terms(&[
            "vendor comparison",
            "spend per vendor",
            "spent on openai",
            "usage by vendor",
            "Kosten pro Anbieter",
        ])
        .with_docs(
            "Get analytics by provider",
            traffic!("Requests and cost (US cents) per provider."),
        )
        .aliases(&["get-analytics-group-providers"])
        .enterprise()
        .scopes(VIEW_SCOPES),
    get::<Grouped>("get-users-grouped-data", "/analytics/groups/users")
        .with_argument_aliases(TRAFFIC_ALIASES)
        .with_search_terms(&[
            "spend per person",
            "top users",
            "heaviest",
            "cost by employee",
            "who uses most",
            "Kosten pro Benutzer",
        ])
        .with_docs(
            "Get analytics by user",
            traffic!("Requests and cost (US cents) per user, as texts."),
        )
        .aliases(&["get-analytics-group-users", "get-user-stats"])
        .enterprise()
        .scopes(VIEW_SCOPES)
        .returns_untrusted_content()
        .with_sensitive_fields(&["data[].user"]),
    get::<Grouped>(
        "get-workspaces-grouped-data",
        "/analytics/groups/workspaces",
    )
    .with_argument_aliases(TRAFFIC_ALIASES)
    .with_search_terms(&[
        "cost per team",
        "spend per department",
        "team usage",
        "showback",
        "cost centre",
        "Kosten pro Team",
    ])
    .with_docs(
        "Get analytics by workspace",
        traffic!("Requests and cost (US cents) per workspace."),
    )
    .enterprise()
    .scopes(VIEW_SCOPES),
    get::<GroupedBy>("get-analytics-grouped-data", "/analytics/groups/{group_by}")
        .with_argument_aliases(TRAFFIC_ALIASES)
        .with_search_terms(&[
            "break down by",
            "pivot",
            "slice usage",
            "spend per api key",
            "usage per config or prompt",
            "Auswertung",
        ])
        .with_docs(
            "Get analytics by a chosen dimension",
            traffic!(
                "Requests and the columns asked for, per value of a dimension (cost in US cents)."
            ),
        )
        .enterprise()
        .scopes(VIEW_SCOPES),
];

const VIEW_SCOPES: &[&str] = &["analytics.view"];

/// A page of groups.
#[derive(Deserialize, JsonSchema)]
pub struct Grouped {
    /// Which requests.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Groups per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
}

/// A page of groups by metadata.
#[derive(Deserialize, JsonSchema)]
pub struct GroupedByMetadata {
    /// The metadata key, such as `_user`.
    pub metadata_key: String,
    /// Which requests.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Groups per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
}

/// A page of groups by a chosen dimension.
#[derive(Deserialize, JsonSchema)]
pub struct GroupedBy {
    /// The dimension.
    pub group_by: Dimension,
    /// Which requests.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Groups per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Comma-separated: cost, total_tokens, avg_tokens, avg_input_tokens, avg_output_tokens,
    /// avg_latency, p95_latency, p99_latency, success_rate, error_count, cache_hit_rate, last_seen,
    /// first_seen.
    pub columns: Option<TextOrList>,
    /// Also count the groups.
    pub include_total: Option<bool>,
}

/// What requests are grouped by.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Dimension {
    AiService,
    Model,
    StatusCode,
    ApiKey,
    Config,
    Workspace,
    Provider,
    Prompt,
}
