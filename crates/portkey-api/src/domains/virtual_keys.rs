//! Virtual keys: one provider credential for one workspace, the predecessor of integrations.

use portkey_operation::{
    ArgumentAlias, Findings, JsonMap, Nullable, OneOrMany, Open, Operation, Risk, Secret,
    Stability, TextOr, Time, UpdateField, UpdateRules, alias, alias_default, assumed_default,
    delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::integrations::{AzureAuth, warn_of_unknown_provider};
use super::shared::{RateLimits, SecretMapping, UsageLimits, warn_of_late_alert};
/// Operations of the domain `virtual-keys`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListVirtualKeys>("list-all-virtual-keys", "/virtual-keys")
        .with_search_terms(&[
            "vkeys",
            "old provider keys",
            "vault keys",
            "virtuelle Schlüssel",
        ])
        .aliases(&["list-virtual-keys"])
        .with_secret_fields(&["data[].key", "data[].masked_api_key", "data[].model_config"])
        .scopes(&["virtual_keys.list"]),
    post::<CreateVirtualKey>("create-virtual-key", "/virtual-keys")
        .with_risks(&[risk(
            Risk::Secret,
            "makes a key that stands for the credential of a provider",
        )])
        .with_argument_aliases(KEY_ALIASES)
        .with_search_terms(&[
            "vkey",
            "add provider secret",
            "old style",
            "virtueller Schlüssel",
        ])
        .with_rule(check_new_key)
        .scopes(&["virtual_keys.create"]),
    get::<GetVirtualKey>("get-virtual-key", "/virtual-keys/{slug}")
        .with_search_terms(&["vkey", "inspect", "details", "virtueller Schlüssel"])
        .with_secret_fields(&["key", "masked_api_key", "model_config"])
        .scopes(&["virtual_keys.read"]),
    put::<UpdateVirtualKey>("update-virtual-key", "/virtual-keys/{slug}")
        .with_risks(&[
            risk(Risk::Secret, "replaces the credential of a provider").if_given("key"),
            risk(Risk::Secret, "replaces the credentials of deployments")
                .if_given("deploymentConfig"),
            risk(Risk::Secret, "changes which stored secrets are used").if_given("secret_mappings"),
            risk(Risk::Budget, "raises or lifts a budget").if_raised("usage_limits"),
            risk(Risk::Budget, "raises or lifts a rate limit").if_raised("rate_limits"),
        ])
        .with_update(UpdateRules::read_by("get-virtual-key").with_fields(&[
            UpdateField::write_only("key"),
            UpdateField::write_only("deploymentConfig"),
            UpdateField::write_only("secret_mappings"),
        ]))
        .with_argument_aliases(KEY_ALIASES)
        .with_search_terms(&[
            "vkey",
            "rotate provider secret",
            "edit",
            "swap",
            "virtueller Schlüssel",
        ])
        .with_rule(warn_of_late_alert)
        .scopes(&["virtual_keys.update"]),
    delete::<DeleteVirtualKey>("delete-virtual-key", "/virtual-keys/{slug}")
        .with_search_terms(&[
            "vkey",
            "drop",
            "revoke provider secret",
            "virtueller Schlüssel",
        ])
        .scopes(&["virtual_keys.delete"]),
    post::<MigrateVirtualKeys>("migrate-virtual-keys", "/virtual-keys/migrate")
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "convert vkeys",
            "move to providers",
            "legacy upgrade",
            "Schlüssel umstellen",
        ])
        .destructive(),
];

/// Limits and deployments in the form of other servers.
const KEY_ALIASES: &[ArgumentAlias] = &[
    alias("credit_limit", "usage_limits.credit_limit"),
    alias("alert_threshold", "usage_limits.alert_threshold"),
    assumed_default("usage_limits.periodic_reset", "monthly"),
    alias_default("usage_limits.type", "cost"),
    alias("rate_limit_rpm", "rate_limits[].value"),
    alias_default("rate_limits[].type", "requests"),
    alias_default("rate_limits[].unit", "rpm"),
    alias("deployment_configurations", "deploymentConfig"),
    alias("api_version", "apiVersion"),
    alias("resource_name", "resourceName"),
    alias("deployment_name", "deploymentName"),
];

/// List virtual keys
///
/// Returns virtual keys without their credentials, one page at a time. Legacy: `list-all-providers`
/// shows their successors. Also return_last_used.
// The OpenAPI document requires both paging parameters. The live API answers without them.
#[derive(Deserialize, JsonSchema)]
pub struct ListVirtualKeys {
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 50.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Only this workspace's; UUID or slug.
    pub workspace_id: Option<String>,
    /// Add when each was last used.
    #[schemars(extend("x-publish" = "hidden"))]
    pub return_last_used: Option<bool>,
}

/// Create a virtual key
///
/// Stores one provider credential for a workspace and returns `data.slug`. Legacy: prefer
/// `create-integration` with `create-provider`. Also aws{AccessKeyId,SecretAccessKey,Region},
/// vertex{ProjectId,Region,ServiceAccountJson}, workersAiAccountId, apiVersion, resourceName, deploymentName,
/// azure{AuthMode,EntraTenantId,EntraClientId,EntraClientSecret,ManagedClientId}, model_config {}.
#[derive(Deserialize, JsonSchema)]
pub struct CreateVirtualKey {
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Provider, such as `openai`, `anthropic` or `azure-openai`.
    // The OpenAPI document lists about thirty providers. Portkey has had many more since.
    pub provider: Option<String>,
    /// Provider API key.
    pub key: Option<Secret>,
    /// Free text.
    pub note: Nullable<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Azure deployments.
    #[serde(rename = "deploymentConfig")]
    pub deployment_config: Option<Vec<AzureDeployment>>,
    /// As in `create-provider`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Option<OneOrMany<UsageLimits>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub rate_limits: Option<OneOrMany<RateLimits>>,
    /// Expiry, RFC 3339.
    pub expires_at: Option<Time>,
    /// From secret references.
    pub secret_mappings: Option<Vec<SecretMapping>>,
    /// What only some providers take.
    #[serde(flatten)]
    pub settings: ProviderSettings,
}

/// Sign-in settings of single providers. Those that OpenAPI's examples and the documents show; for
/// others there are integrations.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSettings {
    /// AWS access key id.
    #[schemars(extend("x-publish" = "hidden"))]
    pub aws_access_key_id: Option<Secret>,
    /// AWS secret access key.
    #[schemars(extend("x-publish" = "hidden"))]
    pub aws_secret_access_key: Option<Secret>,
    /// AWS region.
    #[schemars(extend("x-publish" = "hidden"))]
    pub aws_region: Option<String>,
    /// Google Cloud project.
    #[schemars(extend("x-publish" = "hidden"))]
    pub vertex_project_id: Option<String>,
    /// Google Cloud region.
    #[schemars(extend("x-publish" = "hidden"))]
    pub vertex_region: Option<String>,
    /// Google Cloud service account, as JSON.
    #[schemars(extend("x-publish" = "hidden"))]
    pub vertex_service_account_json: Option<Secret<TextOr<JsonMap>>>,
    /// Cloudflare account id.
    #[schemars(extend("x-publish" = "hidden"))]
    pub workers_ai_account_id: Option<String>,
    /// Azure API version.
    #[schemars(extend("x-publish" = "hidden"))]
    pub api_version: Nullable<String>,
    /// Azure resource name.
    #[schemars(extend("x-publish" = "hidden"))]
    pub resource_name: Nullable<String>,
    /// Azure deployment name.
    #[schemars(extend("x-publish" = "hidden"))]
    pub deployment_name: Nullable<String>,
    /// How to sign in to Azure.
    #[schemars(extend("x-publish" = "hidden"))]
    pub azure_auth_mode: Option<Open<AzureAuth>>,
    /// Microsoft Entra tenant.
    #[schemars(extend("x-publish" = "hidden"))]
    pub azure_entra_tenant_id: Option<String>,
    /// Microsoft Entra client id.
    #[schemars(extend("x-publish" = "hidden"))]
    pub azure_entra_client_id: Option<String>,
    /// Microsoft Entra client secret.
    #[schemars(extend("x-publish" = "hidden"))]
    pub azure_entra_client_secret: Option<Secret>,
    /// Client id of a managed identity.
    #[schemars(extend("x-publish" = "hidden"))]
    pub azure_managed_client_id: Option<String>,
    /// Settings of the provider's own.
    #[schemars(extend("x-publish" = "hidden"))]
    #[serde(rename = "model_config")]
    pub model_config: Option<Secret<JsonMap>>,
}

/// apiVersion*, deploymentName*, alias, is_default.
///
/// One of several deployments behind a virtual key.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct AzureDeployment {
    /// Azure API version.
    ///
    /// Required: OpenAPI, and its example has it.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Azure deployment.
    ///
    /// Required: OpenAPI, and its example has it.
    #[serde(rename = "deploymentName")]
    pub deployment_name: String,
    pub alias: Option<String>,
    pub is_default: Option<bool>,
}

/// Get a virtual key
///
/// Returns one virtual key with its limits and state, its credential masked. Legacy.
#[derive(Deserialize, JsonSchema)]
pub struct GetVirtualKey {
    /// Virtual key slug.
    pub slug: String,
}

/// Update a virtual key
///
/// Changes the fields given and keeps the rest. A new `key` replaces the stored one, which cannot be
/// read back. Legacy. Also rate_limits.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateVirtualKey {
    /// Virtual key slug.
    pub slug: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Provider API key.
    pub key: Option<Secret>,
    /// Free text.
    pub note: Nullable<String>,
    /// As in `create-virtual-key`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    #[serde(rename = "deploymentConfig")]
    pub deployment_config: Option<Vec<AzureDeployment>>,
    /// As in `create-provider`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Option<OneOrMany<UsageLimits>>,
    #[expect(missing_docs, reason = "the struct says it")]
    #[schemars(extend("x-publish" = "hidden"))]
    pub rate_limits: Option<OneOrMany<RateLimits>>,
    /// As in `create-virtual-key`; `[]` removes all.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub secret_mappings: Option<Vec<SecretMapping>>,
}

/// Delete a virtual key
///
/// Removes the virtual key; requests that name it fail from then on. This cannot be undone. Legacy.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteVirtualKey {
    /// Virtual key slug.
    pub slug: String,
}

/// Migrate virtual keys
///
/// Turns a virtual key into an integration with a provider, or every one of the organisation if none is named.
#[derive(Deserialize, JsonSchema)]
pub struct MigrateVirtualKeys {
    /// Virtual key UUID.
    pub virtual_key_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
}

/// Checks the limits of a new key, and warns of a provider that this version does not know.
fn check_new_key(args: &JsonMap, findings: &mut Findings) {
    warn_of_late_alert(args, findings);
    warn_of_unknown_provider("provider", args, findings);
}
