//! Feedback: scores given to logged requests.

use schemars::JsonSchema;
use serde::Deserialize;

use portkey_mcp_operation::{JsonMap, Operation, post, put};

/// The room's table.
pub const OPERATIONS: &[Operation] = &[
    post::<CreateFeedback>("create-feedback", "/feedback")
        .found_by(&["rate", "rating", "thumbs up", "thumbs down", "like", "Bewertung"])
        .scopes(&["logs.write"]),
    put::<UpdateFeedback>("update-feedback", "/feedback/{id}")
        .found_by(&["rating", "correct", "revise", "change thumbs", "edit", "Bewertung ändern"])
        .scopes(&["logs.write"]),
];

/// Create feedback
///
/// Scores the request with a trace id and returns the feedback's ids; a second call adds a second
/// score. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
pub struct CreateFeedback {
    /// Trace id of the request.
    pub trace_id: String,
    /// The score.
    #[schemars(range(min = -10, max = 10))]
    pub value: i64,
    /// Default 1.
    #[schemars(range(min = 0, max = 1))]
    pub weight: Option<f64>,
    /// Kept with it.
    pub metadata: Option<JsonMap>,
}

/// Update feedback
///
/// Replaces a score, and its weight and metadata where given. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateFeedback {
    /// UUID, as `create-feedback` returned it.
    pub id: String,
    /// The new score.
    #[schemars(range(min = -10, max = 10))]
    pub value: i64,
    /// How much it counts.
    #[schemars(range(min = 0, max = 1))]
    pub weight: Option<f64>,
    /// Kept with it.
    pub metadata: Option<JsonMap>,
}
