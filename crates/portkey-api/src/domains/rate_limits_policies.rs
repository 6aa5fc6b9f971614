//! Rate-limits policies: limits per minute, hour, day or week on traffic that meets some
//! conditions.

use portkey_operation::{
    Nullable, Open, Operation, Risk, UpdateRules, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{Condition, Grouping, PolicyStatus, PolicyTarget, RateKind};
/// Operations of the domain `rate-limits-policies`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListRateLimitsPolicies>("list-rate-limits-policies", "/policies/rate-limits")
        .with_search_terms(&[
            "throttles",
            "rpm",
            "quotas",
            "tpm",
            "throttling rules",
            "Drosselung",
        ])
        .aliases(&["list-rate-limits"])
        .enterprise()
        .scopes(&["policies.list"]),
    post::<CreateRateLimitsPolicy>("create-rate-limits-policy", "/policies/rate-limits")
        .with_search_terms(&[
            "throttle",
            "rpm",
            "tpm",
            "per minute",
            "quota",
            "Drosselung",
        ])
        .aliases(&["create-rate-limit"])
        .enterprise()
        .scopes(&["policies.create"]),
    get::<GetRateLimitsPolicy>(
        "get-rate-limits-policy",
        "/policies/rate-limits/{rate_limits_policy_id}",
    )
    .with_search_terms(&[
        "throttle",
        "rpm",
        "details",
        "quota",
        "throttling rule",
        "Drosselung",
    ])
    .aliases(&["get-rate-limit"])
    .enterprise()
    .scopes(&["policies.read"]),
    put::<UpdateRateLimitsPolicy>(
        "update-rate-limits-policy",
        "/policies/rate-limits/{rate_limits_policy_id}",
    )
    .with_risks(&[
        risk(Risk::Budget, "raises a rate limit").if_raised("value"),
        risk(Risk::Budget, "changes the time that the rate limit counts").if_given("unit"),
        risk(Risk::Budget, "changes which requests the rate limit counts").if_given("conditions"),
        risk(Risk::Budget, "changes whether the rate limit applies").if_given("status"),
    ])
    .with_update(
        UpdateRules::read_by("get-rate-limits-policy")
            .with_create_only(&["type", "group_by", "target"]),
    )
    .with_search_terms(&["throttle", "loosen", "tighten", "rpm", "quota", "raise"])
    .aliases(&["update-rate-limit"])
    .enterprise()
    .scopes(&["policies.update"]),
    delete::<DeleteRateLimitsPolicy>(
        "delete-rate-limits-policy",
        "/policies/rate-limits/{rate_limits_policy_id}",
    )
    .with_search_terms(&[
        "throttle",
        "rpm",
        "lift",
        "remove quota",
        "unlimited",
        "aufheben",
    ])
    .aliases(&["delete-rate-limit"])
    .enterprise()
    .scopes(&["policies.delete"]),
];

/// List rate-limits policies
///
/// Returns a workspace's rate policies, one page at a time. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListRateLimitsPolicies {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// `active` when left out.
    pub status: Option<Open<PolicyStatus>>,
    /// What is counted.
    #[serde(rename = "type")]
    pub kind: Option<Open<RateKind>>,
    /// Per minute, hour, day or week.
    pub unit: Option<Open<PolicyUnit>>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Part of the name.
    pub search: Option<String>,
}

/// The window of a rate policy.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum PolicyUnit {
    Rpm,
    Rph,
    Rpd,
    Rpw,
}

/// Create a rate-limits policy
///
/// Caps the requests or tokens of each group of matching requests and returns the policy's id. Also
/// `description`, `status`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct CreateRateLimitsPolicy {
    /// Which requests; all must hold. `endpoint_type` is a key too.
    ///
    /// Required: OpenAPI and Portkey's documents; an empty list is 400.
    #[schemars(length(min = 1))]
    pub conditions: Vec<Condition>,
    /// One count for each value of these.
    #[schemars(length(min = 1))]
    pub group_by: Option<Vec<Grouping>>,
    /// What is counted.
    ///
    /// Required: OpenAPI and Portkey's documents.
    #[serde(rename = "type")]
    pub kind: Open<RateKind>,
    /// Per minute, hour, day or week.
    ///
    /// Required: OpenAPI and Portkey's documents.
    pub unit: Open<PolicyUnit>,
    /// How many.
    ///
    /// Required: OpenAPI and Portkey's documents.
    pub value: f64,
    /// Name.
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Kind of traffic; cannot be changed.
    pub target: Option<Open<PolicyTarget>>,
    /// What it is for.
    #[schemars(length(max = 500), extend("x-publish" = "hidden"))]
    pub description: Nullable<String>,
    /// State, such as `active`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub status: Option<Open<PolicyStatus>>,
}

/// Get a rate-limits policy
///
/// Returns one policy; an archived one only when asked for. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetRateLimitsPolicy {
    /// Policy UUID.
    pub rate_limits_policy_id: String,
    /// `active` when left out.
    pub status: Option<Open<PolicyStatus>>,
}

/// Update a rate-limits policy
///
/// Changes the fields given and keeps the rest; `group_by`, `type` and `target` stay. Also `description`,
/// `status`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateRateLimitsPolicy {
    /// Policy UUID.
    pub rate_limits_policy_id: String,
    /// Name.
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// Per minute, hour, day or week.
    pub unit: Option<Open<PolicyUnit>>,
    /// How many.
    pub value: Option<f64>,
    /// Replaces them all; as in `create-rate-limits-policy`.
    #[schemars(length(min = 1), extend("x-publish" = "omit-fields"))]
    pub conditions: Option<Vec<Condition>>,
    /// What it is for.
    #[schemars(length(max = 500), extend("x-publish" = "hidden"))]
    pub description: Nullable<String>,
    /// State, such as `active`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub status: Option<Open<PolicyStatus>>,
}

/// Delete a rate-limits policy
///
/// Archives the policy: its cap no longer holds, and it cannot be made active again. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteRateLimitsPolicy {
    /// Policy UUID.
    pub rate_limits_policy_id: String,
}
