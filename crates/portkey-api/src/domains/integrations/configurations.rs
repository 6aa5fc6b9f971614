//! Provider settings of an integration: one struct for all providers, and the settings of each
//! provider.
//!
//! Portkey's body is a union by provider. A union breaks several MCP clients, so the published
//! schema is one object with every field. This module checks the actual rule.

use std::collections::BTreeMap;

use portkey_operation::{Findings, JsonMap, Nullable, Open, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

/// openai: openai_{organization,project}. azure-openai: azure_resource_name*,
/// azure_deployment_config* [{azure_api_version*, azure_deployment_name*, azure_model_slug*, alias,
/// is_default}], azure_auth_mode* (default|entra|managed|entraFederated|workload),
/// azure_entra_{tenant_id,client_id,client_secret}, azure_managed_client_id,
/// azure_workload_{tenant,client}_id. azure-ai: azure_foundry_url*, azure_api_version,
/// azure_deployment_name, auth too. bedrock, sagemaker: aws_auth_type
/// (accessKey|assumedRole|apiKey|serviceRole), aws_region*,
/// aws_{access_key_id,secret_access_key,role_arn,external_id}. sagemaker:
/// amzn_sagemaker_{custom_attributes,target_model,target_variant,inference_id,inference_component,session_id,model_name}.
/// vertex-ai: vertex_auth_type* (basic|serviceAccount|workload), vertex_region*, vertex_project_id,
/// vertex_service_account_json {}. workers-ai:
/// workers_ai_account_id*. huggingface: huggingface_base_url. cortex: snowflake_account*. Any:
/// custom_host, custom_headers {}.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(
    missing_docs,
    reason = "the names are Portkey's; the struct says whose they are"
)]
pub struct Configurations {
    pub openai_organization: Option<String>,
    pub openai_project: Option<String>,
    pub azure_auth_mode: Option<Open<AzureAuth>>,
    pub azure_resource_name: Option<String>,
    #[schemars(length(min = 1))]
    pub azure_deployment_config: Option<Vec<AzureDeployment>>,
    pub azure_foundry_url: Option<String>,
    #[schemars(length(max = 30))]
    pub azure_api_version: Option<String>,
    pub azure_deployment_name: Option<String>,
    pub azure_entra_tenant_id: Option<String>,
    pub azure_entra_client_id: Option<String>,
    pub azure_entra_client_secret: Option<Secret>,
    pub azure_managed_client_id: Option<String>,
    pub azure_workload_tenant_id: Option<String>,
    pub azure_workload_client_id: Option<String>,
    pub aws_auth_type: Option<Open<AwsAuth>>,
    pub aws_region: Option<String>,
    pub aws_access_key_id: Option<Secret>,
    pub aws_secret_access_key: Option<Secret>,
    pub aws_role_arn: Option<String>,
    pub aws_external_id: Nullable<Secret>,
    pub amzn_sagemaker_custom_attributes: Option<String>,
    pub amzn_sagemaker_target_model: Option<String>,
    pub amzn_sagemaker_target_variant: Option<String>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub amzn_sagemaker_target_container_hostname: Option<String>,
    pub amzn_sagemaker_inference_id: Option<String>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub amzn_sagemaker_enable_explanations: Option<String>,
    pub amzn_sagemaker_inference_component: Option<String>,
    pub amzn_sagemaker_session_id: Option<String>,
    pub amzn_sagemaker_model_name: Option<String>,
    pub vertex_auth_type: Option<Open<VertexAuth>>,
    pub vertex_region: Option<String>,
    pub vertex_project_id: Option<String>,
    pub vertex_service_account_json: Option<Secret<JsonMap>>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub vertex_skip_ptu_cost_attribution: Option<bool>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub vertex_map_metadata: Option<bool>,
    pub workers_ai_account_id: Option<String>,
    pub huggingface_base_url: Option<String>,
    pub snowflake_account: Option<String>,
    pub custom_host: Option<String>,
    pub custom_headers: Option<Secret<BTreeMap<String, String>>>,
    #[schemars(extend("x-publish" = "hidden"))]
    pub is_key_required: Option<bool>,
}

/// How Portkey signs in to Azure.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AzureAuth {
    Default,
    Entra,
    Managed,
    EntraFederated,
    Workload,
}

/// How Portkey signs in to AWS.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AwsAuth {
    AccessKey,
    AssumedRole,
    ApiKey,
    ServiceRole,
}

/// How Portkey signs in to Vertex AI.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum VertexAuth {
    Basic,
    ServiceAccount,
    Workload,
}

/// One Azure deployment.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "types-only"))]
#[expect(missing_docs, reason = "the names are Portkey's and say it")]
pub struct AzureDeployment {
    /// Version of Azure's API.
    ///
    /// Required: OpenAPI; the Terraform provider's tests all have it.
    #[schemars(length(max = 30))]
    pub azure_api_version: String,
    /// Name of the deployment.
    ///
    /// Required: OpenAPI; the Terraform provider's tests all have it.
    pub azure_deployment_name: String,
    /// The model it serves.
    ///
    /// Required: OpenAPI; the Terraform provider's tests all have it.
    pub azure_model_slug: String,
    pub alias: Option<String>,
    pub is_default: Option<bool>,
}

/// The settings of one provider.
struct ProviderSettings {
    id: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static [&'static str]],
}

/// Settings by provider.
///
/// Taken from the ten forms of `configurations` in Portkey's OpenAPI document, and the further
/// settings that Terraform's provider sends.
const PROVIDER_SETTINGS: &[ProviderSettings] = &[
    provider_settings("openai", &[], &[&["openai_organization", "openai_project"]]),
    provider_settings(
        "azure-openai",
        &[
            "azure_resource_name",
            "azure_deployment_config",
            "azure_auth_mode",
        ],
        &[AZURE_AUTH_SETTINGS],
    ),
    provider_settings(
        "azure-ai",
        &["azure_foundry_url", "azure_auth_mode"],
        &[
            &["azure_api_version", "azure_deployment_name"],
            AZURE_AUTH_SETTINGS,
        ],
    ),
    provider_settings("bedrock", &["aws_region"], &[AWS_AUTH_SETTINGS]),
    provider_settings(
        "sagemaker",
        &["aws_region"],
        &[AWS_AUTH_SETTINGS, SAGEMAKER_HEADERS],
    ),
    provider_settings(
        "vertex-ai",
        &["vertex_auth_type", "vertex_region"],
        &[&[
            "vertex_project_id",
            "vertex_service_account_json",
            "vertex_skip_ptu_cost_attribution",
            "vertex_map_metadata",
        ]],
    ),
    provider_settings("workers-ai", &["workers_ai_account_id"], &[]),
    provider_settings("huggingface", &[], &[&["huggingface_base_url"]]),
    provider_settings("cortex", &["snowflake_account"], &[]),
];

const fn provider_settings(
    id: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static [&'static str]],
) -> ProviderSettings {
    ProviderSettings {
        id,
        required,
        optional,
    }
}

const AZURE_AUTH_SETTINGS: &[&str] = &[
    "azure_entra_tenant_id",
    "azure_entra_client_id",
    "azure_entra_client_secret",
    "azure_managed_client_id",
    "azure_workload_tenant_id",
    "azure_workload_client_id",
];

/// OpenAPI requires `aws_auth_type`. Terraform's provider documents access keys without it.
const AWS_AUTH_SETTINGS: &[&str] = &[
    "aws_auth_type",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_role_arn",
    "aws_external_id",
];

const SAGEMAKER_HEADERS: &[&str] = &[
    "amzn_sagemaker_custom_attributes",
    "amzn_sagemaker_target_model",
    "amzn_sagemaker_target_variant",
    "amzn_sagemaker_target_container_hostname",
    "amzn_sagemaker_inference_id",
    "amzn_sagemaker_enable_explanations",
    "amzn_sagemaker_inference_component",
    "amzn_sagemaker_session_id",
    "amzn_sagemaker_model_name",
];

/// Settings that every provider takes beside its own.
const COMMON_SETTINGS: &[&str] = &["custom_host", "custom_headers", "is_key_required"];

impl ProviderSettings {
    fn takes(&self, name: &str) -> bool {
        self.settings().any(|setting| setting == name)
    }

    fn settings(&self) -> impl Iterator<Item = &'static str> {
        let named = self
            .required
            .iter()
            .chain(self.optional.iter().copied().flatten());
        named.chain(COMMON_SETTINGS).copied()
    }
}

/// Checks on create that the settings belong to the named provider, and that none is missing.
///
/// A provider outside the table passes with any settings: Portkey has many more, and most of them
/// take `custom_host` alone. A setting outside the table passes, too, and may stand for a missing
/// one. A setting of another provider is an error.
pub(super) fn check_provider_settings(args: &JsonMap, findings: &mut Findings) {
    let Some(given) = args
        .get("configurations")
        .and_then(|value| value.as_object())
    else {
        return;
    };
    let Some(id) = args.get("ai_provider_id").and_then(|value| value.as_str()) else {
        return;
    };
    let Some(provider) = PROVIDER_SETTINGS.iter().find(|provider| provider.id == id) else {
        return;
    };
    for name in given
        .keys()
        .filter(|name| is_known(name) && !provider.takes(name))
    {
        let at = format!("configurations.{name}");
        findings.add_error(
            at,
            format!(
                "is no setting of `{id}`; it takes {}",
                quote_names(provider.settings())
            ),
        );
    }
    if given.keys().any(|name| !is_known(name)) {
        return;
    }
    for name in provider.required {
        if !given.contains_key(*name) && !is_mapped(args, name) {
            let rule = quote_names(provider.required.iter().copied());
            let what = format!("is required; with `configurations` `{id}` needs {rule}");
            findings.add_error(format!("configurations.{name}"), what);
        }
    }
}

/// Checks on update that one provider takes all settings. The call does not name the provider.
pub(super) fn reject_mixed_providers(args: &JsonMap, findings: &mut Findings) {
    let Some(given) = args
        .get("configurations")
        .and_then(|value| value.as_object())
    else {
        return;
    };
    let given: Vec<_> = given.keys().filter(|name| is_known(name)).collect();
    if PROVIDER_SETTINGS
        .iter()
        .any(|provider| given.iter().all(|name| provider.takes(name)))
    {
        return;
    }
    let owners = given
        .iter()
        .filter(|name| !COMMON_SETTINGS.contains(&name.as_str()))
        .map(|name| {
            let ids = PROVIDER_SETTINGS
                .iter()
                .filter(|p| p.takes(name))
                .map(|provider| provider.id);
            format!("`{name}` belongs to {}", quote_names(ids))
        });
    let owners: Vec<_> = owners.collect();
    findings.add_error(
        "configurations",
        format!("mixes providers: {}", owners.join("; ")),
    );
}

/// Returns true if some provider takes the setting.
fn is_known(name: &str) -> bool {
    PROVIDER_SETTINGS
        .iter()
        .any(|provider| provider.takes(name))
}

/// Returns true if a secret reference fills the setting at run time.
fn is_mapped(args: &JsonMap, name: &str) -> bool {
    let mappings = args
        .get("secret_mappings")
        .and_then(|value| value.as_array());
    mappings.into_iter().flatten().any(|mapping| {
        let target = mapping.get("target_field").and_then(|value| value.as_str());
        target.and_then(|target| target.strip_prefix("configurations.")) == Some(name)
    })
}

fn quote_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
