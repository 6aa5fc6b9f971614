//! Inputs that several domains use.

use std::collections::BTreeMap;

use portkey_merge_patch::{EntryKey, KeyField, KeyedList};
use portkey_operation::{
    ArgumentAlias, EndTime, Findings, JsonMap, Nullable, Open, StartTime, TextOr, TextOrList, Time,
    preferred_alias,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Filters of analytics in the form of other servers: a list or an object in place of text. Those
/// servers prefer it where both are given.
pub(super) const TRAFFIC_ALIASES: &[ArgumentAlias] = &[
    preferred_alias("status_codes", "status_code"),
    preferred_alias("virtual_key_slugs", "virtual_keys"),
    preferred_alias("config_slugs", "configs"),
    preferred_alias("provider_models", "ai_org_model"),
    preferred_alias("trace_ids", "trace_id"),
    preferred_alias("span_ids", "span_id"),
    preferred_alias("metadata_filter", "metadata"),
];

/// Tags in Portkey's form: names with text values.
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

/// target_field* (`key`, `configurations.<field>` or `model_config.<field>`), secret_reference_id*, secret_key (inside a
/// multi-value secret), value_format (string|json).
///
/// A field filled from a secret reference, by its UUID or slug, at run time.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct SecretMapping {
    /// What is filled.
    ///
    /// Required: OpenAPI.
    pub target_field: String,
    /// From where.
    ///
    /// Required: OpenAPI.
    pub secret_reference_id: String,
    pub secret_key: Nullable<String>,
    pub value_format: Nullable<Open<ValueFormat>>,
}

/// How a secret's value is read.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum ValueFormat {
    String,
    Json,
}

/// type (cost|tokens), credit_limit (US dollars or tokens), alert_threshold (below it),
/// periodic_reset (monthly|weekly), periodic_reset_days, next_usage_reset_at (RFC 3339).
///
/// A budget in US dollars or tokens. Analytics and logs report cost in US cents.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend(
    "x-publish" = "omit-fields",
    "x-at-most-one-advised" = ["periodic_reset", "periodic_reset_days"]
))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct UsageLimits {
    #[serde(rename = "type")]
    pub kind: Option<Open<BudgetKind>>,
    #[schemars(range(min = 1))]
    pub credit_limit: Option<u64>,
    #[schemars(range(min = 1))]
    pub alert_threshold: Option<u64>,
    pub periodic_reset: Nullable<Period>,
    #[schemars(range(min = 1, max = 365))]
    pub periodic_reset_days: Nullable<u16>,
    pub next_usage_reset_at: Nullable<Time>,
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

/// Warns of an alert at or above its limit, which comes too late.
///
/// Portkey's documents call it invalid, and nobody has seen the API refuse it. Checks the budgets of
/// these arguments and of the items that they list.
pub(super) fn warn_of_late_alert(args: &JsonMap, findings: &mut Findings) {
    warn_of_late_alert_at("", args, findings);
}

/// Rejects an alert at zero, which the API refuses, and warns of a late one.
pub(super) fn check_alert(args: &JsonMap, findings: &mut Findings) {
    let alert = args.get("alert_threshold").and_then(Value::as_f64);
    if alert.is_some_and(|alert| alert <= 0.0) {
        findings.add_error("alert_threshold", "takes a number above 0");
    }
    warn_of_late_alert(args, findings);
}

fn warn_of_late_alert_at(at: &str, fields: &JsonMap, findings: &mut Findings) {
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    if let (Some(alert), Some(limit)) = (number("alert_threshold"), number("credit_limit"))
        && alert >= limit
    {
        findings.warn(format_args!(
            "`{at}alert_threshold` is not below `credit_limit`, {limit}: no alert comes before the limit, and Portkey may refuse it"
        ));
    }
    for name in ["usage_limits", "workspaces", "global_workspace_access"] {
        match fields.get(name) {
            Some(Value::Object(inner)) => {
                warn_of_late_alert_at(&format!("{at}{name}."), inner, findings);
            }
            Some(Value::Array(items)) => {
                for (i, inner) in items.iter().enumerate() {
                    let Some(inner) = inner.as_object() else {
                        continue;
                    };
                    warn_of_late_alert_at(&format!("{at}{name}[{i}]."), inner, findings);
                }
            }
            _ => {}
        }
    }
}

/// type (requests|tokens), unit (rpm|rph|rpd|rpw), value.
///
/// A rate cap per minute, hour, day or week.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct RateLimits {
    #[serde(rename = "type")]
    pub kind: Option<Open<RateKind>>,
    pub unit: Option<Open<RateUnit>>,
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
    Rpw,
}

/// What someone may do in the organisation.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum OrganisationRole {
    Admin,
    Member,
}

/// What someone may do in a workspace.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum WorkspaceRole {
    Admin,
    Manager,
    Member,
}

/// id: UUID; of a workspace also its slug.
///
/// A role in a workspace, together with whichever of user and workspace is not said already.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
pub struct WorkspaceGrant {
    /// UUID.
    ///
    /// Required: OpenAPI for invites; Terraform always sends it.
    pub id: String,
    /// Role in the workspace.
    ///
    /// Required: OpenAPI for invites; Terraform always sends it.
    pub role: WorkspaceRole,
}

/// key* (api_key, organisation_id, workspace_id, virtual_key, provider, config, prompt, model, mcp_* or
/// metadata.{name}), value* and excludes: text or list of texts; `*` is any.
///
/// One condition of a policy.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Condition {
    /// What is looked at.
    ///
    /// Required: the validation rules in Portkey's budget-policies document.
    pub key: String,
    /// What it has to be.
    ///
    /// Required: the validation rules in Portkey's budget-policies document.
    pub value: TextOrList,
    pub excludes: Option<TextOrList>,
}

/// key*: as in `conditions`.
///
/// What tells the counts of a policy apart.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
pub struct Grouping {
    /// What is looked at.
    ///
    /// Required: the validation rules in Portkey's budget-policies document.
    pub key: String,
}

/// Whether a policy is in force.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum PolicyStatus {
    Active,
    Archived,
}

/// The kind of traffic a policy is about.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum PolicyTarget {
    Llm,
    McpTools,
}
/// Which requests analytics are computed from. Only what every call needs is listed; the rest is
/// named by `traffic_in_full!` in the tool's description, because two dozen tools share it.
#[derive(Deserialize, JsonSchema)]
pub struct Traffic {
    /// Slug; a workspace key ignores it.
    pub workspace_slug: Option<String>,
    /// From.
    ///
    /// Required: OpenAPI.
    pub time_of_generation_min: StartTime,
    /// Until.
    ///
    /// Required: OpenAPI.
    pub time_of_generation_max: EndTime,
    /// Least total tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub total_units_min: Option<u64>,
    /// Most total tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub total_units_max: Option<u64>,
    /// Least cost, US cents.
    #[schemars(range(min = 0), extend("x-publish" = "hidden"))]
    pub cost_min: Option<f64>,
    /// Most cost, US cents.
    #[schemars(range(min = 0), extend("x-publish" = "hidden"))]
    pub cost_max: Option<f64>,
    /// Least prompt tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub prompt_token_min: Option<u64>,
    /// Most prompt tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub prompt_token_max: Option<u64>,
    /// Least completion tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub completion_token_min: Option<u64>,
    /// Most completion tokens.
    #[schemars(extend("x-publish" = "hidden"))]
    pub completion_token_max: Option<u64>,
    /// HTTP statuses, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub status_code: Option<TextOr<u16>>,
    /// Least weighted feedback.
    #[schemars(range(min = -10, max = 10), extend("x-publish" = "hidden"))]
    pub weighted_feedback_min: Option<f64>,
    /// Most weighted feedback.
    #[schemars(range(min = -10, max = 10), extend("x-publish" = "hidden"))]
    pub weighted_feedback_max: Option<f64>,
    /// Virtual-key slugs, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub virtual_keys: Option<TextOrList>,
    /// Config slugs, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub configs: Option<TextOrList>,
    /// API-key UUIDs, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub api_key_ids: Option<TextOrList>,
    /// A JSON object, as text.
    #[schemars(extend("x-publish" = "hidden"))]
    pub metadata: Option<String>,
    /// Such as `openai__gpt-4o`, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub ai_org_model: Option<TextOrList>,
    /// Trace ids, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub trace_id: Option<TextOrList>,
    /// Span ids, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub span_id: Option<TextOrList>,
    /// Prompt slugs, comma-separated.
    #[schemars(extend("x-publish" = "hidden"))]
    pub prompt_slug: Option<TextOrList>,
}

/// [`Traffic`] and nothing else, for tools whose description says it all.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
pub struct TrafficOnly {
    /// Which requests.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Appends the filters of [`Traffic`] that are not listed to the description of the tool to which the
/// others point.
macro_rules! traffic_in_full {
    ($what:literal) => {
        concat!(
            $what,
            " RFC 3339 times. Also {total_units,cost,prompt_token,completion_token,\
             weighted_feedback}_{min,max}, trace_id, span_id, metadata (JSON); comma lists \
             status_code, virtual_keys, configs, api_key_ids, prompt_slug, ai_org_model \
             (org__model)."
        )
    };
}
pub(super) use traffic_in_full;

/// Appends where the filters of [`Traffic`] that are not listed are named.
macro_rules! traffic {
    ($what:literal) => {
        concat!(
            $what,
            " RFC 3339 times. Also status_code, api_key_ids, metadata and others, as in \
             get-cost-graph."
        )
    };
}
pub(super) use traffic;

/// Which capabilities of an MCP server are listed.
#[derive(Deserialize, JsonSchema)]
pub struct CapabilityPage {
    /// One-based page, unlike `current_page` elsewhere.
    #[schemars(range(min = 1))]
    pub page: Option<u32>,
    /// Items per page; default 100.
    #[schemars(range(min = 1, max = 500))]
    pub page_size: Option<u32>,
    /// Only this kind.
    #[serde(rename = "type")]
    pub kind: Option<Open<CapabilityKind>>,
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
    ///
    /// Required: OpenAPI; a name alone is not unique among tools, prompts and resources.
    pub name: String,
    /// Its kind.
    ///
    /// Required: OpenAPI, as `name`.
    #[serde(rename = "type")]
    pub kind: Open<SwitchableKind>,
    /// Whether it is offered.
    ///
    /// Required: OpenAPI; it is what changes.
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

/// The field that identifies an entry of a list in patches.
pub(super) const fn key_field(name: &'static str) -> KeyField {
    KeyField {
        name,
        default: None,
    }
}

/// Lists of secrets from references: each field of a credential takes one.
pub(super) const SECRET_MAPPING_LISTS: &[KeyedList] = &[KeyedList::new(
    "secret_mappings",
    &[EntryKey(&[key_field("target_field")])],
)];

/// Reason why a flag that replaces lists is no part of a patch, which sends what changes.
pub(super) const REPLACES_LISTS: &str =
    "it replaces a whole list, and a patch sends what changes; give the fields themselves instead";
