//! Running and rendering a prompt: the two calls that the gateway answers.
//!
//! Both take any parameter of a chat completion beside the named ones, so their inputs are open.

use std::collections::BTreeMap;

use portkey_operation::{Findings, JsonMap, Nullable, OneOrMany, TextOr};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Run a prompt
///
/// What to run, with what, and what to override.
#[derive(Deserialize, JsonSchema)]
pub struct RunPrompt {
    /// UUID or slug; slug@label or slug@number names a version.
    pub prompt_id: String,
    /// Values for the template.
    pub variables: Option<JsonMap>,
    /// Model.
    pub model: Option<String>,
    /// Messages, instead of the template's.
    pub messages: Option<Vec<JsonMap>>,
    /// Sampling temperature.
    pub temperature: Nullable<f64>,
    /// Nucleus sampling.
    #[schemars(extend("x-publish" = "hidden"))]
    pub top_p: Nullable<f64>,
    /// Most tokens to write.
    pub max_tokens: Nullable<u32>,
    /// The same, with reasoning.
    #[schemars(extend("x-publish" = "hidden"))]
    pub max_completion_tokens: Nullable<u32>,
    /// Frequency penalty.
    #[schemars(extend("x-publish" = "hidden"))]
    pub frequency_penalty: Nullable<f64>,
    /// Presence penalty.
    #[schemars(extend("x-publish" = "hidden"))]
    pub presence_penalty: Nullable<f64>,
    /// How many answers.
    #[schemars(extend("x-publish" = "hidden"))]
    pub n: Nullable<u32>,
    /// Text to stop at, or a list.
    pub stop: Nullable<OneOrMany<String>>,
    /// Leave out: an answer comes whole.
    pub stream: Nullable<bool>,
    /// Tool definitions.
    pub tools: Option<Vec<JsonMap>>,
    /// Which tool to use.
    pub tool_choice: Option<TextOr<JsonMap>>,
    /// Output format.
    pub response_format: Option<JsonMap>,
    /// Seed.
    #[schemars(extend("x-publish" = "hidden"))]
    pub seed: Nullable<i64>,
    /// End user.
    #[schemars(extend("x-publish" = "hidden"))]
    pub user: Option<String>,
    /// Any other parameter of a chat completion.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Rejects an argument of other clients that the open input would accept without any use.
pub(super) fn reject_ineffective_overrides(args: &JsonMap, findings: &mut Findings) {
    if args.get("stream").is_some_and(|stream| *stream == true) {
        findings.add_error(
            "stream",
            "makes an answer that a tool cannot return; leave it out",
        );
    }
}
