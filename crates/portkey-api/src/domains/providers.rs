//! Providers: an integration in one workspace, with a slug and limits of its own.

use portkey_operation::{
    ArgumentAlias, JsonMap, Nullable, OneOrMany, Operation, Risk, Secret, Time, UpdateField,
    UpdateRules, alias, alias_default, assumed_default, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{RateLimits, Tags, UsageLimits, warn_of_late_alert};
/// Operations of the domain `providers`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListProviders>("list-all-providers", "/providers")
        .with_search_terms(&["vendors", "LLM access", "slugs", "AI accounts", "Anbieter"])
        .aliases(&["list-providers"])
        .with_secret_fields(&["data[].model_config"])
        .scopes(&["providers.list", "virtual_keys.list"]),
    post::<CreateProvider>("create-provider", "/providers")
        .with_argument_aliases(LIMIT_ALIASES)
        .with_search_terms(&[
            "give team",
            "vendor",
            "budget",
            "share",
            "allot",
            "Anbieter anlegen",
        ])
        .with_rule(warn_of_late_alert)
        .scopes(&["providers.create", "virtual_keys.create"]),
    get::<GetProvider>("get-provider", "/providers/{slug}")
        .with_search_terms(&[
            "vendor",
            "remaining budget",
            "credit left",
            "details",
            "Anbieter ansehen",
        ])
        .with_secret_fields(&["model_config", "configurations"])
        .scopes(&["providers.read", "virtual_keys.read"]),
    put::<UpdateProvider>("update-provider", "/providers/{slug}")
        .with_risks(&[
            risk(
                Risk::Privilege,
                "changes until when the provider can be used",
            )
            .if_given("expires_at"),
            risk(Risk::Production, "changes how requests reach the provider")
                .if_given("model_config"),
            risk(Risk::Budget, "lets an exhausted provider spend again")
                .if_value("reset_usage", &["true"]),
            risk(Risk::Budget, "raises or lifts a budget").if_raised("usage_limits"),
            risk(Risk::Budget, "raises or lifts a rate limit").if_raised("rate_limits"),
        ])
        .with_update(
            UpdateRules::read_by("get-provider")
                .with_fields(&[
                    UpdateField::write_only("reset_usage"),
                    UpdateField::write_only("model_config"),
                ])
                .with_create_only(&["integration_id"]),
        )
        .with_argument_aliases(LIMIT_ALIASES)
        .with_search_terms(&[
            "vendor",
            "raise limit",
            "budget",
            "extend",
            "zero the spend",
            "Anbieter ändern",
        ])
        .with_rule(warn_of_late_alert)
        .with_query_arguments(&["workspace_id"])
        .scopes(&["providers.update", "virtual_keys.update"]),
    delete::<DeleteProvider>("delete-provider", "/providers/{slug}")
        .with_search_terms(&[
            "vendor",
            "take away",
            "drop",
            "withdraw",
            "Anbieter löschen",
        ])
        .scopes(&["providers.delete", "virtual_keys.delete"]),
];

/// Limits in the form of other servers.
const LIMIT_ALIASES: &[ArgumentAlias] = &[
    alias("credit_limit", "usage_limits.credit_limit"),
    alias("alert_threshold", "usage_limits.alert_threshold"),
    alias("usage_limit_type", "usage_limits.type"),
    alias("periodic_reset", "usage_limits.periodic_reset"),
    assumed_default("usage_limits.periodic_reset", "monthly"),
    alias_default("usage_limits.type", "cost"),
    alias("rate_limit_value", "rate_limits[].value"),
    alias("rate_limit_unit", "rate_limits[].unit"),
    alias_default("rate_limits[].type", "requests"),
];

/// List providers
///
/// Returns a workspace's providers with their limits and state, one page at a time. Also return_last_used.
#[derive(Deserialize, JsonSchema)]
pub struct ListProviders {
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 50.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Only this workspace's; UUID.
    pub workspace_id: Option<String>,
    /// Only those with these tags.
    pub tags: Option<Tags>,
    /// Add when each was last used.
    #[schemars(extend("x-publish" = "hidden"))]
    pub return_last_used: Option<bool>,
}

/// Create a provider
///
/// Lends an integration to a workspace; returns id and slug. 403: the workspace has no access to
/// the integration. Also model_config {}.
#[derive(Deserialize, JsonSchema)]
pub struct CreateProvider {
    /// Name.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub name: String,
    /// Slug of the integration.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub integration_id: String,
    /// Workspace UUID; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Default: made from the name.
    pub slug: Option<String>,
    /// Free text.
    pub note: Nullable<String>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub usage_limits: Option<OneOrMany<UsageLimits>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub rate_limits: Option<OneOrMany<RateLimits>>,
    /// Expiry, RFC 3339.
    pub expires_at: Option<Time>,
    /// Names to text.
    pub tags: Nullable<Tags>,
    /// Settings of the provider, as the Terraform provider sends them.
    #[schemars(extend("x-publish" = "hidden"))]
    pub model_config: Option<Secret<JsonMap>>,
}

/// Get a provider
///
/// Returns one provider with its integration, limits and state.
#[derive(Deserialize, JsonSchema)]
pub struct GetProvider {
    /// Slug or UUID.
    pub slug: String,
    /// Workspace UUID; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Add the integration's settings, masked.
    pub include_configurations: Option<bool>,
}

/// Update a provider
///
/// Changes the fields given and keeps the rest; returns id and slug. Also model_config {}.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateProvider {
    /// Provider slug.
    pub slug: String,
    /// Workspace UUID; Admin keys need it.
    pub workspace_id: Option<String>,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// As in `create-provider`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Option<OneOrMany<UsageLimits>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub rate_limits: Nullable<OneOrMany<RateLimits>>,
    /// Expiry, RFC 3339.
    pub expires_at: Nullable<Time>,
    /// Zero the usage, reviving an exhausted provider.
    pub reset_usage: Option<bool>,
    /// Names to text.
    pub tags: Nullable<Tags>,
    /// Settings of the provider, as the Terraform provider sends them.
    #[schemars(extend("x-publish" = "hidden"))]
    pub model_config: Option<Secret<JsonMap>>,
}

/// Delete a provider
///
/// Removes the provider; requests that name its slug fail from then on. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteProvider {
    /// Provider slug.
    pub slug: String,
    /// Workspace UUID; Admin keys need it.
    pub workspace_id: Option<String>,
}
