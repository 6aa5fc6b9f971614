//! Settings of integrations by AI provider.

use crate::{
    api_error::ApiError,
    field::{Field, FieldType, ListSchema, ObjectSchema},
    store::{Item, Store},
    validation::{self, WriteKind},
};

/// Settings that are masked in responses. The ARN of a role is not masked.
pub(super) const SECRETS: &[&str] = &[
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_external_id",
    "azure_entra_client_secret",
];

/// Authentication type. Any name is accepted, because the vendor adds new ones.
const AUTH_TYPE: FieldType = FieldType::Name;

static AZURE_DEPLOYMENT: ObjectSchema = ObjectSchema::new(&[
    Field::new("azure_api_version", FieldType::Name).required(),
    Field::new("azure_deployment_name", FieldType::Name).required(),
    Field::new("azure_model_slug", FieldType::Name).required(),
    Field::new("alias", FieldType::Text),
    Field::new("is_default", FieldType::Bool),
]);

static AZURE_DEPLOYMENTS: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Object(&AZURE_DEPLOYMENT))
};

const AWS: &[Field] = &[
    // Access keys, if it is left out.
    Field::new("aws_auth_type", AUTH_TYPE),
    Field::new("aws_region", FieldType::Name).required(),
    Field::new("aws_access_key_id", FieldType::Text),
    Field::new("aws_secret_access_key", FieldType::Text),
    Field::new("aws_role_arn", FieldType::Text),
    Field::new("aws_external_id", FieldType::Text).nullable(),
];

/// Validates the settings that are known for a provider. Other settings are kept without
/// validation. For unknown providers, only the host and headers are validated.
pub(super) fn check(store: &Store, provider: &str, settings: &Item) -> Result<(), ApiError> {
    let fields: &[Field] = match provider {
        "openai" => &[
            Field::new("openai_organization", FieldType::Text),
            Field::new("openai_project", FieldType::Text),
        ],
        "azure-openai" => &[
            Field::new("azure_auth_mode", AUTH_TYPE).required(),
            Field::new("azure_resource_name", FieldType::Name).required(),
            Field::new(
                "azure_deployment_config",
                FieldType::List(&AZURE_DEPLOYMENTS),
            )
            .required(),
            Field::new("azure_entra_client_secret", FieldType::Text),
        ],
        "azure-ai" => &[
            Field::new("azure_auth_mode", AUTH_TYPE).required(),
            Field::new("azure_foundry_url", FieldType::Url).required(),
            Field::new("azure_entra_client_secret", FieldType::Text),
        ],
        "bedrock" | "sagemaker" => AWS,
        "vertex-ai" => &[
            Field::new("vertex_auth_type", AUTH_TYPE).required(),
            Field::new("vertex_region", FieldType::Name).required(),
            Field::new("vertex_project_id", FieldType::Text),
            Field::new("vertex_service_account_json", FieldType::AnyObject),
        ],
        "workers-ai" => &[Field::new("workers_ai_account_id", FieldType::Name).required()],
        "cortex" => &[Field::new("snowflake_account", FieldType::Name).required()],
        "huggingface" => &[Field::new("huggingface_base_url", FieldType::Url)],
        _ => &[
            Field::new("custom_host", FieldType::PublicUrl),
            Field::new("custom_headers", FieldType::Labels),
        ],
    };
    let inside = |refusal| match refusal {
        ApiError::Invalid(text) => ApiError::Invalid(format!("configurations: {text}")),
        other => other,
    };
    validation::validate_body(store, fields, settings, WriteKind::Create)
        .map(|_| ())
        .map_err(inside)
}
