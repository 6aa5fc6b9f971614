//! Inputs that more than one room uses.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::operation::Nullable;

/// Tags as Portkey keeps them: names to text.
pub type Tags = BTreeMap<String, String>;

/// Whose things to list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Owner {
    Workspace,
    Organisation,
    All,
}

/// target_field* (`key` or `configurations.<field>`), secret_reference_id*, secret_key (inside a
/// multi-value secret), value_format (string|json).
///
/// A field filled from a secret reference, by its UUID or slug, at run time.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-names-fields" = true))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct SecretMapping {
    pub target_field: String,
    pub secret_reference_id: String,
    pub secret_key: Nullable<String>,
    pub value_format: Nullable<ValueFormat>,
}

/// How a secret's value is read.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum ValueFormat {
    String,
    Json,
}

/// credit_limit: US dollars (cost) or tokens. next_usage_reset_at: RFC 3339.
///
/// A budget; analytics and logs report cost in cents (quirks.md §8.6).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend(
    "x-speaks-for-fields" = true,
    "x-at-most-one" = ["periodic_reset", "periodic_reset_days"]
))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct UsageLimits {
    #[serde(rename = "type")]
    pub kind: Option<BudgetKind>,
    #[schemars(range(min = 1))]
    pub credit_limit: Option<u64>,
    #[schemars(range(min = 1))]
    pub alert_threshold: Option<u64>,
    pub periodic_reset: Nullable<Period>,
    #[schemars(range(min = 1, max = 365))]
    pub periodic_reset_days: Nullable<u16>,
    pub next_usage_reset_at: Nullable<String>,
}

/// What a budget counts.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum BudgetKind {
    Cost,
    Tokens,
}

/// A calendar period.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Period {
    Monthly,
    Weekly,
}

/// type (requests|tokens), unit (rpm|rph|rpd), value.
///
/// A rate cap per minute, hour or day.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-names-fields" = true))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct RateLimits {
    #[serde(rename = "type")]
    pub kind: Option<RateKind>,
    pub unit: Option<RateUnit>,
    pub value: Option<u64>,
}

/// What a rate cap counts.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum RateKind {
    Requests,
    Tokens,
}

/// The window of a rate cap.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum RateUnit {
    Rpd,
    Rph,
    Rpm,
}

/// A kind of capability of an MCP server, as it is listed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum CapabilityKind {
    Tool,
    Prompt,
    Resource,
    ResourceTemplate,
}

/// One capability of an MCP server, on or off.
#[derive(Deserialize, JsonSchema)]
pub struct CapabilitySwitch {
    /// Name as the server reports it.
    pub name: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: SwitchableKind,
    /// Whether it is offered.
    pub enabled: bool,
}

/// A kind of capability that can be switched; templates follow their resources.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum SwitchableKind {
    Tool,
    Prompt,
    Resource,
}
