//! Integrations: the credentials of an AI provider, stored once and shared with workspaces.

mod configurations;
mod pricing;
mod providers;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use configurations::{AwsAuth, AzureAuth, AzureDeployment, Configurations, VertexAuth};
pub use pricing::{ImagePricing, PricingAdjustments, PricingMultiplier};
pub(super) use providers::warn_of_unknown_provider;

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{
    ArgumentAlias, Findings, JsonMap, Nullable, Open, Operation, Risk, Secret, UpdateField,
    UpdateRules, alias, alias_default, assumed_default, delete, get, post, put, risk,
};

use super::shared::{
    Owner, REPLACES_LISTS, RateLimits, SECRET_MAPPING_LISTS, SecretMapping, Tags, UsageLimits,
    key_field, warn_of_late_alert,
};
/// Operations of the domain `integrations`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListIntegrations>("list-all-integrations", "/integrations")
        .with_search_terms(&[
            "vendors",
            "LLM connections",
            "connected accounts",
            "Anbieter",
            "OpenAI",
            "Anthropic",
        ])
        .aliases(&["list-integrations"])
        .with_secret_fields(&["data[].configurations"])
        .scopes(&[
            "organisation_integrations.list",
            "workspace_integrations.list",
        ]),
    post::<CreateIntegration>("create-integration", "/integrations")
        .with_risks(
            &[risk(Risk::Secret, "uses stored secrets for an integration")
                .if_given("secret_mappings")],
        )
        .with_argument_aliases(CONFIGURATION_ALIASES)
        .with_search_terms(&[
            "connect",
            "vendor account",
            "OpenAI key",
            "Azure",
            "Bedrock",
            "Anbieter verbinden",
        ])
        .with_rule(check_new_integration)
        .scopes(&[
            "organisation_integrations.create",
            "workspace_integrations.create",
        ]),
    get::<GetIntegration>("get-integration", "/integrations/{slug}")
        .with_search_terms(&[
            "vendor connection",
            "account details",
            "OpenAI",
            "Anbieter ansehen",
            "inspect",
        ])
        .with_secret_fields(&["masked_key", "configurations"])
        .enterprise()
        .scopes(READ_SCOPES),
    put::<UpdateIntegration>("update-integration", "/integrations/{slug}")
        .with_risks(&[
            risk(Risk::Secret, "replaces the credential of a provider").if_given("key"),
            risk(
                Risk::Secret,
                "may replace stored credentials and headers of a provider",
            )
            .if_given("configurations"),
            risk(Risk::Secret, "changes which stored secrets are used").if_given("secret_mappings"),
            risk(Risk::Privilege, "lets workspaces use all models")
                .if_value("allow_all_models", &["true"]),
        ])
        .with_update(INTEGRATION_UPDATE)
        .with_argument_aliases(CONFIGURATION_ALIASES)
        .with_search_terms(&[
            "rotate OpenAI key",
            "vendor credential",
            "expired",
            "new secret",
            "Anbieter ändern",
        ])
        .with_rule(configurations::reject_mixed_providers)
        .scopes(UPDATE_SCOPES),
    delete::<DeleteIntegration>("delete-integration", "/integrations/{slug}")
        .with_search_terms(&[
            "disconnect",
            "vendor account",
            "unplug",
            "OpenAI",
            "Anbieter entfernen",
        ])
        .scopes(&[
            "organisation_integrations.delete",
            "workspace_integrations.delete",
        ]),
    get::<ListModels>("list-integration-models", "/integrations/{slug}/models")
        .with_search_terms(&[
            "available LLMs",
            "which are switched on",
            "GPT",
            "allowed",
            "Modelle",
        ])
        .with_secret_fields(&["models[].custom_headers", "models[].configurations"])
        .enterprise()
        .scopes(READ_SCOPES),
    put::<UpdateModels>(
        "bulk-update-integration-models",
        "/integrations/{slug}/models",
    )
    .with_risks(&[
        risk(Risk::Privilege, "lets workspaces use all models")
            .if_value("allow_all_models", &["true"]),
        risk(Risk::Privilege, "lets workspaces use more models")
            .if_value("models[].enabled", &["true"]),
        risk(Risk::Secret, "may replace stored headers of a model")
            .if_given("models[].configurations"),
    ])
    .with_update(INTEGRATION_MODELS_UPDATE)
    .with_search_terms(&[
        "turn off",
        "turn on",
        "whitelist LLM",
        "block GPT",
        "activate Claude",
        "Modell sperren",
    ])
    .aliases(&["update-integration-models"])
    .with_rule(reject_misplaced_headers)
    .scopes(UPDATE_SCOPES),
    delete::<DeleteModels>(
        "bulk-delete-integration-models",
        "/integrations/{slug}/models",
    )
    .with_argument_aliases(MODEL_ALIASES)
    .with_search_terms(&[
        "fine-tuned",
        "own LLM",
        "unregister",
        "drop",
        "eigenes Modell löschen",
    ])
    .aliases(&["delete-integration-model"])
    .scopes(UPDATE_SCOPES),
    get::<ListWorkspaces>(
        "list-integration-workspaces",
        "/integrations/{slug}/workspaces",
    )
    .with_search_terms(&[
        "who has access",
        "teams allowed",
        "shared with",
        "permissions",
        "Freigaben",
    ])
    .enterprise()
    .scopes(&["organisation_integrations.read"]),
    put::<UpdateWorkspaces>(
        "bulk-update-integration-workspaces",
        "/integrations/{slug}/workspaces",
    )
    .with_risks(&[
        risk(
            Risk::Privilege,
            "changes which workspaces may use the integration",
        ),
        risk(Risk::Budget, "lets an exhausted workspace spend again")
            .if_value("workspaces[].reset_usage", &["true"]),
        risk(Risk::Budget, "raises or lifts the budget of a workspace")
            .if_raised("workspaces[].usage_limits"),
        risk(
            Risk::Budget,
            "raises or lifts the rate limit of a workspace",
        )
        .if_raised("workspaces[].rate_limits"),
        risk(Risk::Budget, "raises or lifts the budget of all workspaces")
            .if_raised("global_workspace_access.usage_limits"),
        risk(
            Risk::Budget,
            "raises or lifts the rate limit of all workspaces",
        )
        .if_raised("global_workspace_access.rate_limits"),
    ])
    .with_update(INTEGRATION_WORKSPACES_UPDATE)
    .with_argument_aliases(ACCESS_ALIASES)
    .with_search_terms(&[
        "share with team",
        "let team use",
        "allow",
        "deny",
        "stop using",
        "freigeben",
    ])
    .destructive()
    .with_rule(check_access)
    .aliases(&["update-integration-workspaces"])
    .scopes(&["organisation_integrations.update"]),
];

/// Update rules of the resource that `get-integration` returns.
const INTEGRATION_UPDATE: UpdateRules = UpdateRules::read_by("get-integration")
    .with_fields(&[
        UpdateField::write_only("key"),
        UpdateField::merged("configurations"),
    ])
    .with_lists(SECRET_MAPPING_LISTS)
    .with_create_only(&["ai_provider_id"])
    .with_addresses(&["configurations"]);

/// Update rules of the resource that `list-integration-models` returns.
const INTEGRATION_MODELS_UPDATE: UpdateRules = UpdateRules::read_by("list-integration-models")
    .with_fields(&[UpdateField::merged_entries(
        "models",
        "`bulk-delete-integration-models` removes custom models; `enabled: false` withdraws one",
    )
    .withdrawn_by("enabled")])
    .with_lists(&[KeyedList::new("models", &[EntryKey(&[key_field("slug")])])])
    .with_addresses(&["models"]);

/// Update rules of the resource that `list-integration-workspaces` returns.
const INTEGRATION_WORKSPACES_UPDATE: UpdateRules =
    UpdateRules::read_by("list-integration-workspaces")
        .with_fields(&[
            UpdateField::merged_entries(
                "workspaces",
                "`enabled: false` revokes the access of a workspace",
            )
            .withdrawn_by("enabled"),
            UpdateField::merged("global_workspace_access"),
            UpdateField::excluded("override_existing_workspace_access", REPLACES_LISTS),
            UpdateField::write_only("create_default_provider"),
            UpdateField::write_only("default_provider_slug"),
        ])
        .with_lists(&[KeyedList::new(
            "workspaces",
            &[EntryKey(&[key_field("id")])],
        )]);

/// Access of all workspaces, and the limits of each, in the form of other servers.
const ACCESS_ALIASES: &[ArgumentAlias] = &[
    // In the Python SDK.
    alias(
        "override_existing_workspaces_access",
        "override_existing_workspace_access",
    ),
    alias(
        "global_workspace_access_enabled",
        "global_workspace_access.enabled",
    ),
    alias(
        "global_credit_limit",
        "global_workspace_access.usage_limits[].credit_limit",
    ),
    alias(
        "global_alert_threshold",
        "global_workspace_access.usage_limits[].alert_threshold",
    ),
    alias_default("global_workspace_access.usage_limits[].type", "cost"),
    alias(
        "global_rate_limit_rpm",
        "global_workspace_access.rate_limits[].value",
    ),
    alias_default("global_workspace_access.rate_limits[].type", "requests"),
    alias_default("global_workspace_access.rate_limits[].unit", "rpm"),
    alias(
        "workspaces[*].credit_limit",
        "workspaces[*].usage_limits[].credit_limit",
    ),
    alias(
        "workspaces[*].alert_threshold",
        "workspaces[*].usage_limits[].alert_threshold",
    ),
    alias_default("workspaces[*].usage_limits[].type", "cost"),
    assumed_default("workspaces[*].usage_limits[].periodic_reset", "monthly"),
    alias(
        "workspaces[*].rate_limit_rpm",
        "workspaces[*].rate_limits[].value",
    ),
    alias_default("workspaces[*].rate_limits[].type", "requests"),
    alias_default("workspaces[*].rate_limits[].unit", "rpm"),
];

/// The one model of other servers.
const MODEL_ALIASES: &[ArgumentAlias] = &[alias("model_slug", "slugs"), alias("models", "slugs")];

/// Fields of `configurations` that other servers take by themselves.
const CONFIGURATION_ALIASES: &[ArgumentAlias] = &[
    alias("api_version", "configurations.api_version"),
    alias("resource_name", "configurations.resource_name"),
    alias("deployment_name", "configurations.deployment_name"),
    alias("aws_region", "configurations.aws_region"),
    alias("aws_access_key_id", "configurations.aws_access_key_id"),
    alias(
        "aws_secret_access_key",
        "configurations.aws_secret_access_key",
    ),
    alias("vertex_project_id", "configurations.vertex_project_id"),
    alias("vertex_region", "configurations.vertex_region"),
    alias("custom_host", "configurations.custom_host"),
];

const READ_SCOPES: &[&str] = &[
    "organisation_integrations.read",
    "workspace_integrations.read",
];
const UPDATE_SCOPES: &[&str] = &[
    "organisation_integrations.update",
    "workspace_integrations.update",
];

/// List integrations
///
/// Returns the integrations the key can see, one page at a time, without their credentials.
#[derive(Deserialize, JsonSchema)]
pub struct ListIntegrations {
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 100.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Only those this workspace can use; UUID or slug.
    pub workspace_id: Option<String>,
    /// Whose integrations; `all` when left out.
    #[serde(rename = "type")]
    pub owner: Option<Owner>,
    /// Only those with these tags.
    pub tags: Option<Tags>,
}

/// Create an integration
///
/// Stores a provider's credentials for the organisation or for one workspace; returns id and slug. Models
/// are off unless allow_all_models. Switch them on with `bulk-update-integration-models`, lend it out with
/// `bulk-update-integration-workspaces`.
#[derive(Deserialize, JsonSchema)]
pub struct CreateIntegration {
    /// Name.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub name: String,
    /// Provider, such as `openai`, `anthropic` or `bedrock`.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub ai_provider_id: String,
    /// Default: made from the name.
    #[schemars(regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
    /// Provider API key; most need it, or a secret mapping.
    pub key: Option<Secret>,
    /// What it is for.
    pub description: Option<String>,
    /// Workspace to keep it to.
    pub workspace_id: Option<String>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub configurations: Option<Configurations>,
    /// For a workspace: make a provider too; true when left out.
    pub create_default_provider: Option<bool>,
    /// Slug of that provider.
    #[schemars(length(max = 255), regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub default_provider_slug: Option<String>,
    /// From secret references.
    pub secret_mappings: Option<Vec<SecretMapping>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub pricing_adjustments: Nullable<PricingAdjustments>,
    /// Names to text.
    pub tags: Option<Tags>,
    /// Offer all models, present and future; false when left out.
    pub allow_all_models: Option<bool>,
}

/// Get an integration
///
/// Returns one integration with its settings and global access, credentials masked.
#[derive(Deserialize, JsonSchema)]
pub struct GetIntegration {
    /// Integration slug.
    pub slug: String,
}

/// Update an integration
///
/// Changes the fields given, also allow_all_models, and keeps the rest. Never resend a masked value.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateIntegration {
    /// Integration slug.
    pub slug: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Provider API key.
    pub key: Option<Secret>,
    /// What it is for.
    pub description: Option<String>,
    /// As in `create-integration`.
    pub configurations: Option<Configurations>,
    /// As in `create-integration`; `[]` removes all.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub secret_mappings: Option<Vec<SecretMapping>>,
    /// As in `create-integration`.
    pub pricing_adjustments: Nullable<PricingAdjustments>,
    /// Names to text.
    pub tags: Nullable<Tags>,
    /// Whether all models, present and future, are offered.
    #[schemars(extend("x-publish" = "hidden"))]
    pub allow_all_models: Option<bool>,
}

/// Delete an integration
///
/// Removes the integration; providers made from it stop working. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteIntegration {
    /// Integration slug.
    pub slug: String,
}

/// List an integration's models
///
/// Returns every model of the integration, whether it is enabled, and its own price if it has one.
#[derive(Deserialize, JsonSchema)]
pub struct ListModels {
    /// Integration slug.
    pub slug: String,
}

/// Update integration models
///
/// Enables, disables, prices or adds models; those not named stay as they are. Disabling a model cuts
/// live traffic to it.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateModels {
    /// Integration slug.
    pub slug: String,
    /// Models to change or add.
    ///
    /// Required: OpenAPI; the Terraform provider always sends it.
    pub models: Vec<ModelSettings>,
    /// Offer unlisted models too, present and future.
    pub allow_all_models: Option<bool>,
}

/// One model of an integration.
#[derive(Deserialize, JsonSchema)]
pub struct ModelSettings {
    /// Model slug.
    ///
    /// Required: OpenAPI; the documents' examples all have it.
    pub slug: String,
    /// Whether it is offered.
    ///
    /// Required: OpenAPI; the documents' examples all have it.
    pub enabled: bool,
    /// Not the provider's own.
    pub is_custom: Nullable<bool>,
    /// Fine-tuned.
    pub is_finetune: Nullable<bool>,
    /// Base of a fine-tune.
    pub base_model_slug: Nullable<String>,
    /// Settings of a custom model.
    pub configurations: Option<ModelConfigurations>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub pricing_config: Option<ModelPricing>,
}

/// Settings of a custom model.
#[derive(Deserialize, JsonSchema)]
pub struct ModelConfigurations {
    /// Base URL; private hosts are refused.
    pub custom_host: Option<String>,
    /// Headers sent upstream: names to text.
    pub custom_headers: Option<Secret<BTreeMap<String, String>>>,
}

/// Own price in US cents per token: {type: "static", pay_as_you_go: {request_token: {price}, also
/// response_token, cache_{read,write}_input_token}}.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct ModelPricing {
    #[serde(rename = "type")]
    pub kind: Option<Open<PricingKind>>,
    pub pay_as_you_go: Option<TokenPrices>,
}

/// The one kind of price a model can have.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the word says it")]
pub enum PricingKind {
    Static,
}

/// Prices of input and output, and of input that is cached.
#[derive(Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the struct around it says it")]
pub struct TokenPrices {
    pub request_token: Option<Price>,
    pub response_token: Option<Price>,
    pub cache_read_input_token: Option<Price>,
    pub cache_write_input_token: Option<Price>,
}

/// A price.
#[derive(Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the struct around it says it")]
pub struct Price {
    #[schemars(range(min = 0))]
    pub price: Option<f64>,
}

/// Delete custom models
///
/// Removes custom models from the integration; the provider's own models can only be disabled. This
/// cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteModels {
    /// Integration slug.
    pub slug: String,
    /// Slugs of the custom models.
    ///
    /// Required: without it 400; the Terraform provider's change log.
    #[schemars(length(min = 1))]
    pub slugs: Vec<String>,
}

/// List an integration's workspaces
///
/// Returns the workspaces that may use the integration, by slug, with their limits.
#[derive(Deserialize, JsonSchema)]
pub struct ListWorkspaces {
    /// Integration slug.
    pub slug: String,
}

/// Update integration workspaces
///
/// Grants, revokes or limits access for the workspaces named, or for all; others keep theirs.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateWorkspaces {
    /// Integration slug.
    pub slug: String,
    /// Give these, `global_workspace_access` or both.
    pub workspaces: Option<Vec<WorkspaceAccess>>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub global_workspace_access: Option<GlobalAccess>,
    /// True replaces the whole list.
    pub override_existing_workspace_access: Option<bool>,
    /// Make a provider on grant; true when left out.
    pub create_default_provider: Option<bool>,
    /// Slug of that provider.
    pub default_provider_slug: Option<String>,
}

/// One workspace's access.
#[derive(Deserialize, JsonSchema)]
pub struct WorkspaceAccess {
    /// Workspace UUID or slug.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub id: String,
    /// True grants, false revokes.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub enabled: bool,
    /// Budget.
    #[schemars(length(max = 1))]
    pub usage_limits: Nullable<Vec<UsageLimits>>,
    /// Rate limit.
    #[schemars(length(max = 1))]
    pub rate_limits: Nullable<Vec<RateLimits>>,
    /// Zero the usage, reviving an exhausted one.
    pub reset_usage: Option<bool>,
    /// As below.
    pub create_default_provider: Option<bool>,
    /// As below.
    pub default_provider_slug: Option<String>,
}

/// All workspaces, present and future: enabled*, usage_limits and rate_limits as in `workspaces`.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct GlobalAccess {
    /// True grants, false revokes.
    ///
    /// Required: OpenAPI and the Terraform provider.
    pub enabled: bool,
    #[schemars(length(max = 1))]
    pub usage_limits: Nullable<Vec<UsageLimits>>,
    #[schemars(length(max = 1))]
    pub rate_limits: Nullable<Vec<RateLimits>>,
}

/// Checks the settings of a new integration, and warns of a provider that this version does not know.
fn check_new_integration(args: &JsonMap, findings: &mut Findings) {
    configurations::check_provider_settings(args, findings);
    warn_of_unknown_provider("ai_provider_id", args, findings);
}

/// Rejects headers beside `configurations`, where the API does not read them. Earlier documents had
/// them there.
fn reject_misplaced_headers(args: &JsonMap, findings: &mut Findings) {
    let models = args.get("models").and_then(|models| models.as_array());
    for (i, model) in models.into_iter().flatten().enumerate() {
        if model.get("custom_headers").is_some() {
            let what = "belongs into `configurations` of the model";
            findings.add_error(format_args!("models[{i}].custom_headers"), what);
        }
    }
}

fn check_access(args: &JsonMap, findings: &mut Findings) {
    require_access(args, findings);
    warn_of_late_alert(args, findings);
}

/// Rejects an update of neither access list. Portkey's document requires neither, and its API then
/// does nothing.
///
/// An update without any argument is rejected by the general check of updates.
fn require_access(args: &JsonMap, findings: &mut Findings) {
    let says_something = args.keys().any(|name| name != "slug");
    if says_something
        && !["workspaces", "global_workspace_access"]
            .iter()
            .any(|name| args.contains_key(*name))
    {
        findings.add_error(
            "",
            "takes `workspaces`, `global_workspace_access` or both; neither is given",
        );
    }
}
