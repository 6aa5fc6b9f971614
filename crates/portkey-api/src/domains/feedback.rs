//! Feedback: scores given to logged requests.

use portkey_operation::{JsonMap, Nullable, Operation, post, put};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `feedback`.
pub const OPERATIONS: &[Operation] = &[
    post::<CreateFeedback>("create-feedback", "/feedback")
        .with_search_terms(&[
            "rate",
            "rating",
            "thumbs up",
            "thumbs down",
            "like",
            "Bewertung",
        ])
        .scopes(&["logs.write"]),
    put::<UpdateFeedback>("update-feedback", "/feedback/{id}")
        .without_patch("no operation reads feedback")
        .with_search_terms(&[
            "rating",
            "correct",
            "revise",
            "change thumbs",
            "edit",
            "Bewertung ändern",
        ])
        .scopes(&["logs.write"]),
];

/// Create feedback
///
/// Scores the request with a trace id: `value` -10 to 10, `weight` 0 to 1 (1 when left out); returns the
/// feedback's ids. A second call adds a second score. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
pub struct CreateFeedback {
    /// Trace id of the request.
    ///
    /// Required: OpenAPI.
    pub trace_id: String,
    /// The score.
    ///
    /// Required: OpenAPI.
    #[schemars(range(min = -10, max = 10))]
    pub value: i64,
    /// How much it counts.
    ///
    /// The Python SDK sends null for what it is not given.
    #[schemars(range(min = 0, max = 1))]
    pub weight: Nullable<f64>,
    /// Kept with it.
    pub metadata: Nullable<JsonMap>,
}

/// Update feedback
///
/// Replaces score (`value` -10 to 10), `weight` (0 to 1) and metadata where given, by the UUID that
/// `create-feedback` returned. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
pub struct UpdateFeedback {
    /// UUID, as `create-feedback` returned it.
    pub id: String,
    /// The new score.
    ///
    /// The SDKs send weight or metadata without it; the Python SDK sends null for what it is not given.
    #[schemars(range(min = -10, max = 10))]
    pub value: Nullable<i64>,
    /// How much it counts.
    #[schemars(range(min = 0, max = 1))]
    pub weight: Nullable<f64>,
    /// Kept with it.
    pub metadata: Nullable<JsonMap>,
}
