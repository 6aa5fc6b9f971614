//! Usage-limits policies: budgets of traffic that meets some conditions.

use portkey_operation::{
    ArgumentAlias, Nullable, Open, Operation, Risk, Time, UpdateField, UpdateRules, alias, delete,
    get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{Condition, Grouping, Period, PolicyStatus, PolicyTarget, check_alert};
/// Operations of the domain `usage-limits-policies`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListUsageLimitsPolicies>("list-usage-limits-policies", "/policies/usage-limits")
        .with_search_terms(&[
            "spending caps",
            "quotas",
            "spend limits",
            "allowances",
            "Ausgabengrenzen",
        ])
        .aliases(&["list-usage-limits"])
        .with_sensitive_fields(&["data[].value_key_usage_map"])
        .enterprise()
        .scopes(&["policies.list"]),
    post::<CreateUsageLimitsPolicy>("create-usage-limits-policy", "/policies/usage-limits")
        .with_search_terms(&[
            "spending cap",
            "quota",
            "monthly budget",
            "cost control",
            "allowance",
            "Budget festlegen",
        ])
        .with_rule(check_alert)
        .aliases(&["create-usage-limit"])
        .enterprise()
        .scopes(&["policies.create"]),
    get::<GetUsageLimitsPolicy>(
        "get-usage-limits-policy",
        "/policies/usage-limits/{policy_usage_limits_id}",
    )
    .with_search_terms(&[
        "spending cap",
        "quota",
        "allowance",
        "budget policy",
        "details",
        "Ausgabengrenze",
    ])
    .aliases(&["get-usage-limit"])
    .with_sensitive_fields(&["value_key_usage_map"])
    .enterprise()
    .scopes(&["policies.read"]),
    put::<UpdateUsageLimitsPolicy>(
        "update-usage-limits-policy",
        "/policies/usage-limits/{policy_usage_limits_id}",
    )
    .with_risks(&[
        risk(Risk::Budget, "sets counted usage to zero").if_given("reset_usage_for_value"),
        risk(Risk::Budget, "raises a budget").if_raised("credit_limit"),
        risk(Risk::Budget, "changes which requests the budget counts").if_given("conditions"),
        risk(Risk::Budget, "changes when the budget starts anew").if_given("periodic_reset"),
        risk(Risk::Budget, "changes when the budget starts anew").if_given("periodic_reset_days"),
        risk(Risk::Budget, "changes when the budget starts anew").if_given("next_usage_reset_at"),
        risk(Risk::Budget, "changes whether the budget applies").if_given("status"),
    ])
    .with_update(
        UpdateRules::read_by("get-usage-limits-policy")
            .with_fields(&[UpdateField::write_only("reset_usage_for_value")])
            .with_create_only(&["type", "group_by", "target"]),
    )
    .with_search_terms(&[
        "spending cap",
        "quota",
        "raise budget",
        "increase",
        "allowance",
        "Budget ändern",
    ])
    .with_rule(check_alert)
    .aliases(&["update-usage-limit"])
    .enterprise()
    .scopes(&["policies.update"]),
    delete::<DeleteUsageLimitsPolicy>(
        "delete-usage-limits-policy",
        "/policies/usage-limits/{policy_usage_limits_id}",
    )
    .with_search_terms(&[
        "spending cap",
        "quota",
        "allowance",
        "lift",
        "unlimited",
        "Budget löschen",
    ])
    .aliases(&["delete-usage-limit"])
    .enterprise()
    .scopes(&["policies.delete"]),
    get::<ListUsageLimitsPolicyEntities>(
        "list-usage-limits-policy-entities",
        "/policies/usage-limits/{policy_usage_limits_id}/entities",
    )
    .with_argument_aliases(LIMIT_ALIASES)
    .with_search_terms(&[
        "who used how much",
        "budget consumed",
        "quota left",
        "remaining",
        "spent so far",
        "Verbrauch",
    ])
    .aliases(&["list-usage-limit-entities"])
    .with_sensitive_fields(&["data[].value_key"])
    .enterprise()
    .scopes(&["policies.read"]),
    put::<ResetUsageLimitsPolicyEntity>(
        "reset-usage-limits-policy-entity",
        "/policies/usage-limits/{policy_usage_limits_id}/entities/{entity_id}/reset",
    )
    .with_risks(&[risk(
        Risk::Budget,
        "lets whatever has used up its budget spend again",
    )])
    .without_patch("it performs an action and changes no field")
    .with_argument_aliases(LIMIT_ALIASES)
    .with_search_terms(&[
        "clear",
        "quota back to zero",
        "unblock user",
        "refill budget",
        "zurücksetzen",
    ])
    .destructive()
    .aliases(&["reset-usage-limit-entity"])
    .enterprise()
    .scopes(&["policies.update"]),
];

/// Names in other servers.
const LIMIT_ALIASES: &[ArgumentAlias] = &[alias("limit_id", "policy_usage_limits_id")];

/// List usage-limits policies
///
/// Returns a workspace's budget policies, one page at a time. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListUsageLimitsPolicies {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// `active` when left out.
    pub status: Option<Open<PolicyStatus>>,
    /// What is counted.
    #[serde(rename = "type")]
    pub kind: Option<Open<Budgeted>>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Part of the name.
    pub search: Option<String>,
}

/// What a budget policy counts.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Budgeted {
    Cost,
    Tokens,
    Requests,
}

/// Create a usage-limits policy
///
/// Gives each group of matching requests a budget and returns the policy's id; what is over budget is
/// refused until a reset. Also `description`, `status`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-at-most-one" = ["periodic_reset", "periodic_reset_days"]))]
pub struct CreateUsageLimitsPolicy {
    /// Which requests; all must hold.
    ///
    /// Required: OpenAPI and Portkey's documents; an empty list is 400.
    #[schemars(length(min = 1))]
    pub conditions: Vec<Condition>,
    /// One budget for each value of these.
    #[schemars(length(min = 1))]
    pub group_by: Option<Vec<Grouping>>,
    /// What is counted.
    ///
    /// Required: OpenAPI and Portkey's documents.
    #[serde(rename = "type")]
    pub kind: Open<Budgeted>,
    /// US dollars, tokens (100 or more) or requests, by `type`.
    ///
    /// Required: OpenAPI and Portkey's documents.
    #[schemars(range(min = 0))]
    pub credit_limit: f64,
    /// Name.
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// Alert from here; below `credit_limit`.
    ///
    /// Above 0, which is refused live; a budget of 1 dollar has one below 1.
    pub alert_threshold: Nullable<f64>,
    /// Calendar reset.
    pub periodic_reset: Nullable<Period>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Reset every so many days.
    #[schemars(range(min = 1, max = 365))]
    pub periodic_reset_days: Nullable<u16>,
    /// First reset, RFC 3339; moved to midnight UTC.
    pub next_usage_reset_at: Nullable<Time>,
    /// Kind of traffic; cannot be changed.
    pub target: Option<Open<PolicyTarget>>,
    /// What it is for.
    #[schemars(length(max = 500), extend("x-publish" = "hidden"))]
    pub description: Nullable<String>,
    /// State, such as `active`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub status: Option<Open<PolicyStatus>>,
}

/// Get a usage-limits policy
///
/// Returns one policy; an archived one only when asked for. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetUsageLimitsPolicy {
    /// Policy UUID.
    pub policy_usage_limits_id: String,
    /// `active` when left out.
    pub status: Option<Open<PolicyStatus>>,
    /// Add what each group has used.
    pub include_usage: Option<bool>,
}

/// Update a usage-limits policy
///
/// Changes the fields given and keeps the rest; `group_by`, `type` and `target` stay. Also `description`,
/// `status`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-at-most-one" = ["periodic_reset", "periodic_reset_days"]))]
pub struct UpdateUsageLimitsPolicy {
    /// Policy UUID.
    pub policy_usage_limits_id: String,
    /// Name.
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// US dollars, tokens (100 or more) or requests.
    #[schemars(range(min = 0))]
    pub credit_limit: Option<f64>,
    /// Alert from here; below `credit_limit`.
    pub alert_threshold: Nullable<f64>,
    /// Calendar reset.
    pub periodic_reset: Nullable<Period>,
    /// `value_key` of a group whose usage is set to zero.
    pub reset_usage_for_value: Option<String>,
    /// Replaces them all; as in `create-usage-limits-policy`.
    #[schemars(length(min = 1), extend("x-publish" = "omit-fields"))]
    pub conditions: Option<Vec<Condition>>,
    /// Reset every so many days.
    #[schemars(range(min = 1, max = 365))]
    pub periodic_reset_days: Nullable<u16>,
    /// Next reset, RFC 3339.
    pub next_usage_reset_at: Nullable<Time>,
    /// What it is for.
    #[schemars(length(max = 500), extend("x-publish" = "hidden"))]
    pub description: Nullable<String>,
    /// State, such as `active`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub status: Option<Open<PolicyStatus>>,
}

/// Delete a usage-limits policy
///
/// Archives the policy: its budgets no longer hold, and it cannot be made active again. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteUsageLimitsPolicy {
    /// Policy UUID.
    pub policy_usage_limits_id: String,
}

/// List a usage-limits policy's entities
///
/// Returns the groups a policy counts for, each with its `value_key` and usage. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListUsageLimitsPolicyEntities {
    /// Policy UUID.
    pub policy_usage_limits_id: String,
    /// Whether any budget is left.
    pub status: Option<Open<EntityStatus>>,
    /// Part of the name.
    pub search: Option<String>,
    /// Items per page.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
}

/// Whether an entity has budget left.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum EntityStatus {
    Active,
    Exhausted,
}

/// Reset a policy entity's usage
///
/// Sets one entity's usage to zero, so that it can spend again; the count is lost. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ResetUsageLimitsPolicyEntity {
    /// Policy UUID.
    pub policy_usage_limits_id: String,
    /// Id from `list-usage-limits-policy-entities`.
    pub entity_id: String,
}
