//! API keys, which call Portkey for the organisation, for a workspace or for one of its members.

use portkey_operation::{
    ArgumentAlias, Findings, JsonMap, Nullable, Open, Operation, Risk, Time, UpdateField,
    UpdateRules, alias, alias_default, assumed_default, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{Period, RateKind, UsageLimits, warn_of_late_alert};
/// Operations of the domain `api-keys`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListApiKeys>("list-all-api-keys", "/api-keys")
        .with_search_terms(&[
            "tokens",
            "access keys",
            "who has keys",
            "service accounts",
            "API-Schlüssel anzeigen",
            "credentials inventory",
        ])
        .aliases(&["list-api-keys"])
        .with_secret_fields(&["data[].key"])
        .with_sensitive_fields(&["data[].defaults.metadata", "data[].alert_emails"])
        .scopes(&[
            "organisation_service_api_keys.list",
            "workspace_service_api_keys.list",
            "workspace_user_api_keys.list",
        ]),
    post::<CreateApiKey>("create-api-key", "/api-keys/{type}/{sub_type}")
        .with_risks(&[
            risk(Risk::Privilege, "makes an Admin key of the organisation")
                .if_value("type", &["organisation"]),
        ])
        .with_argument_aliases(KEY_ALIASES)
        .with_search_terms(&[
            "token",
            "issue",
            "generate",
            "service account",
            "access key",
            "Schlüssel anlegen",
        ])
        .with_rule(check_new_key)
        .returns_secrets(&["key"])
        .scopes(&[
            "organisation_service_api_keys.create",
            "workspace_service_api_keys.create",
            "workspace_user_api_keys.create",
        ]),
    get::<GetApiKey>("get-api-key", "/api-keys/{id}")
        .with_search_terms(&[
            "key details",
            "permissions of a token",
            "what is a key allowed",
            "inspect",
            "Schlüssel ansehen",
        ])
        .with_secret_fields(&["key"])
        .with_sensitive_fields(&["defaults.metadata", "alert_emails"])
        .scopes(&[
            "organisation_service_api_keys.read",
            "workspace_service_api_keys.read",
            "workspace_user_api_keys.read",
        ]),
    put::<UpdateApiKey>("update-api-key", "/api-keys/{id}")
        .with_risks(&[
            risk(Risk::Privilege, "replaces what the key may do").if_given("scopes"),
            risk(Risk::Privilege, "changes until when the key is valid").if_given("expires_at"),
            risk(Risk::Privilege, "changes until when the key is valid")
                .if_given("rotation_policy"),
            risk(Risk::Production, "changes what requests of the key get").if_given("defaults"),
            risk(Risk::Budget, "lets an exhausted key spend again")
                .if_value("reset_usage", &["true"]),
            risk(Risk::Budget, "raises or lifts a budget").if_raised("usage_limits"),
            risk(Risk::Budget, "raises or lifts a rate limit").if_raised("rate_limits"),
        ])
        .with_update(
            UpdateRules::read_by("get-api-key")
                .with_fields(&[
                    UpdateField::write_only("reset_usage"),
                    UpdateField::merged("defaults"),
                ])
                .with_create_only(&["type", "sub_type", "workspace_id", "user_id"]),
        )
        .with_argument_aliases(KEY_ALIASES)
        .with_search_terms(&[
            "permissions",
            "budget of a token",
            "extend",
            "edit token",
            "Schlüssel ändern",
            "raise",
        ])
        .with_rule(warn_of_late_alert)
        .scopes(&[
            "organisation_service_api_keys.update",
            "workspace_service_api_keys.update",
            "workspace_user_api_keys.update",
        ]),
    delete::<DeleteApiKey>("delete-api-key", "/api-keys/{id}")
        .without_undo("the key itself is gone; `create-api-key` makes another one")
        .with_search_terms(&[
            "leaked",
            "compromised",
            "invalidate",
            "token",
            "kill",
            "Schlüssel löschen",
        ])
        .scopes(&[
            "organisation_service_api_keys.delete",
            "workspace_service_api_keys.delete",
            "workspace_user_api_keys.delete",
        ]),
    post::<RotateApiKey>("rotate-api-key", "/api-keys/{id}/rotate")
        .without_undo("the old key cannot be brought back")
        .with_search_terms(&[
            "renew",
            "roll",
            "regenerate",
            "leaked",
            "exchange token",
            "Schlüssel rotieren",
        ])
        .destructive()
        .returns_secrets(&["key"])
        .scopes(&[
            "organisation_service_api_keys.rotate",
            "workspace_service_api_keys.rotate",
            "workspace_user_api_keys.rotate",
        ]),
];

/// Limits and defaults in the form of other servers.
const KEY_ALIASES: &[ArgumentAlias] = &[
    alias("credit_limit", "usage_limits.credit_limit"),
    alias("alert_threshold", "usage_limits.alert_threshold"),
    assumed_default("usage_limits.periodic_reset", "monthly"),
    alias_default("usage_limits.type", "cost"),
    alias("rate_limit_rpm", "rate_limits[].value"),
    alias_default("rate_limits[].type", "requests"),
    alias_default("rate_limits[].unit", "rpm"),
    alias("default_config_id", "defaults.config_id"),
    alias("default_metadata", "defaults.metadata"),
    alias(
        "default_allow_config_override",
        "defaults.allow_config_override",
    ),
];

/// List API keys
///
/// Returns API keys with their secrets masked, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListApiKeys {
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// UUIDs, separated by commas; Portkey documents it for `/v2` only.
    pub ids: Option<String>,
    /// In any of these states: active, exhausted, expired.
    pub status: Option<Vec<Open<KeyStatus>>>,
}

/// The state of an API key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum KeyStatus {
    Active,
    Exhausted,
    Expired,
}

/// Create an API key
///
/// Returns id and secret `key`, which cannot be read again. Pairs: organisation/service (an Admin
/// key), workspace/service, workspace/user.
#[derive(Deserialize, JsonSchema)]
pub struct CreateApiKey {
    /// Whose key.
    #[serde(rename = "type")]
    pub kind: KeyType,
    /// Who uses it.
    pub sub_type: KeySubType,
    /// Name.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub name: String,
    /// What it may do, such as `logs.list`.
    ///
    /// Required: OpenAPI, and all its examples and the documents' have it.
    pub scopes: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Organisation UUID; the caller's when left out.
    pub organisation_id: Option<String>,
    /// UUID or slug; Admin keys need it for `workspace`.
    pub workspace_id: Option<String>,
    /// UUID; required for `user`.
    pub user_id: Option<String>,
    /// Rate caps.
    pub rate_limits: Nullable<Vec<KeyRateLimit>>,
    /// type (cost|tokens), credit_limit (US dollars or tokens), alert_threshold, periodic_reset
    /// (monthly|weekly), periodic_reset_days, next_usage_reset_at (RFC 3339).
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Option<UsageLimits>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub defaults: Option<KeyDefaults>,
    /// Who hears of limits and expiry.
    pub alert_emails: Option<Vec<String>>,
    /// Expiry, RFC 3339.
    pub expires_at: Nullable<Time>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub rotation_policy: Nullable<RotationPolicy>,
}

/// Whose a key is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum KeyType {
    Organisation,
    Workspace,
}

/// Who uses a key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum KeySubType {
    User,
    Service,
}

/// type* (requests|tokens), unit* (rps|rpm|rph|rpd|rpw), value*.
///
/// Keys know two windows more than other things do.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
pub struct KeyRateLimit {
    /// What is counted.
    ///
    /// Required: OpenAPI.
    #[serde(rename = "type")]
    pub kind: Open<RateKind>,
    /// Per second, minute, hour, day or week.
    ///
    /// Required: OpenAPI.
    pub unit: Open<KeyRateUnit>,
    /// How many.
    ///
    /// Required: OpenAPI.
    pub value: u64,
}

/// The window of a key's rate cap.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum KeyRateUnit {
    Rps,
    Rpm,
    Rph,
    Rpd,
    Rpw,
}

/// metadata {}, config_id (slug), allow_config_override (true when left out).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct KeyDefaults {
    pub metadata: Option<JsonMap>,
    pub config_id: Nullable<String>,
    pub allow_config_override: Nullable<bool>,
}

/// rotation_period (weekly|monthly), rotation_period_days (1 to 365), next_rotation_at (RFC 3339);
/// both secrets work for key_transition_period_ms (from 1800000).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend(
    "x-publish" = "omit-fields",
    "x-at-most-one" = ["rotation_period", "rotation_period_days", "next_rotation_at"]
))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct RotationPolicy {
    pub rotation_period: Nullable<Period>,
    #[schemars(range(min = 1, max = 365))]
    pub rotation_period_days: Nullable<u16>,
    pub next_rotation_at: Nullable<Time>,
    #[schemars(range(min = 1_800_000))]
    pub key_transition_period_ms: Nullable<u64>,
}

/// Get an API key
///
/// Returns one key with scopes, limits and defaults, its secret masked.
#[derive(Deserialize, JsonSchema)]
pub struct GetApiKey {
    /// Key UUID.
    pub id: String,
    /// Add what it has used.
    pub include_usage: Option<bool>,
}

/// Update an API key
///
/// Changes the fields given and keeps the rest; answers `{}`, and reads may lag.
/// `next_rotation_at` is refused while the organisation enforces rotation.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateApiKey {
    /// Key UUID.
    pub id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// As in `create-api-key`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub rate_limits: Nullable<Vec<KeyRateLimit>>,
    /// As in `create-api-key`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Nullable<UsageLimits>,
    /// Zero the usage, reviving an exhausted key.
    pub reset_usage: Option<bool>,
    /// Replaces all scopes.
    pub scopes: Option<Vec<String>>,
    /// As in `create-api-key`; `config_id: null` clears.
    pub defaults: Option<KeyDefaults>,
    /// Replaces the list.
    pub alert_emails: Nullable<Vec<String>>,
    /// Expiry, RFC 3339.
    pub expires_at: Nullable<Time>,
    /// As in `create-api-key`.
    pub rotation_policy: Nullable<RotationPolicy>,
}

/// Delete an API key
///
/// Revokes the key; requests with it fail from then on. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteApiKey {
    /// Key UUID.
    pub id: String,
}

/// Rotate an API key
///
/// Makes a new secret and returns it as `key`, once, with the time the old one stops working
/// (`key_transition_expires_at`). Until then another rotation is refused.
#[derive(Deserialize, JsonSchema)]
pub struct RotateApiKey {
    /// Key UUID.
    pub id: String,
    /// How long the old secret works on, in milliseconds.
    #[schemars(range(min = 1_800_000))]
    pub key_transition_period_ms: Option<u64>,
}

fn check_new_key(args: &JsonMap, findings: &mut Findings) {
    check_key_owner(args, findings);
    warn_of_late_alert(args, findings);
}

/// Rejects user keys of an organisation, which do not exist, and user keys without a user.
fn check_key_owner(args: &JsonMap, findings: &mut Findings) {
    let has_value = |name: &str, word: &str| args.get(name).is_some_and(|value| value == word);
    if !has_value("sub_type", "user") {
        return;
    }
    if has_value("type", "organisation") {
        findings.add_error(
            "sub_type",
            "an organisation key is `service`; `user` keys are a workspace's",
        );
    } else if !args.contains_key("user_id") {
        findings.add_error("user_id", "is required for a `user` key");
    }
}
