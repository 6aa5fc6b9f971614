//! Settings of integrations by AI provider.

use crate::{
    check::{self, Occasion},
    field::{Field, Kind, List, Shape},
    refusal::Refusal,
    store::{Item, Store},
};

/// Settings that are masked in responses. The ARN of a role is not masked.
pub(super) const SECRETS: &[&str] = &[
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_external_id",
    "azure_entra_client_secret",
];

/// Authentication type. Any name is accepted, because the vendor adds new ones.
const SIGN_IN: Kind = Kind::Name;

static AZURE_DEPLOYMENT: Shape = Shape::of(&[
    Field::new("azure_api_version", Kind::Name).required(),
    Field::new("azure_deployment_name", Kind::Name).required(),
    Field::new("azure_model_slug", Kind::Name).required(),
    Field::new("alias", Kind::Text),
    Field::new("is_default", Kind::Flag),
]);

static AZURE_DEPLOYMENTS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&AZURE_DEPLOYMENT))
};

const AWS: &[Field] = &[
    Field::new("aws_auth_type", SIGN_IN).required(),
    Field::new("aws_region", Kind::Name).required(),
    Field::new("aws_access_key_id", Kind::Text),
    Field::new("aws_secret_access_key", Kind::Text),
    Field::new("aws_role_arn", Kind::Text),
    Field::new("aws_external_id", Kind::Text).nullable(),
];

/// Validates the settings that are known for a provider. Other settings are kept without
/// validation. For unknown providers, only the host and headers are validated.
pub(super) fn check(store: &Store, provider: &str, settings: &Item) -> Result<(), Refusal> {
    let fields: &[Field] = match provider {
        "openai" => &[
            Field::new("openai_organization", Kind::Text),
            Field::new("openai_project", Kind::Text),
        ],
        "azure-openai" => &[
            Field::new("azure_auth_mode", SIGN_IN).required(),
            Field::new("azure_resource_name", Kind::Name).required(),
            Field::new("azure_deployment_config", Kind::List(&AZURE_DEPLOYMENTS)).required(),
            Field::new("azure_entra_client_secret", Kind::Text),
        ],
        "azure-ai" => &[
            Field::new("azure_auth_mode", SIGN_IN).required(),
            Field::new("azure_foundry_url", Kind::Url).required(),
            Field::new("azure_entra_client_secret", Kind::Text),
        ],
        "bedrock" | "sagemaker" => AWS,
        "vertex-ai" => &[
            Field::new("vertex_auth_type", SIGN_IN).required(),
            Field::new("vertex_region", Kind::Name).required(),
            Field::new("vertex_project_id", Kind::Text),
            Field::new("vertex_service_account_json", Kind::Object),
        ],
        "workers-ai" => &[Field::new("workers_ai_account_id", Kind::Name).required()],
        "cortex" => &[Field::new("snowflake_account", Kind::Name).required()],
        "huggingface" => &[Field::new("huggingface_base_url", Kind::Url)],
        _ => &[
            Field::new("custom_host", Kind::PublicUrl),
            Field::new("custom_headers", Kind::Labels),
        ],
    };
    let inside = |refusal| match refusal {
        Refusal::Invalid(text) => Refusal::Invalid(format!("configurations: {text}")),
        other => other,
    };
    check::body(store, fields, settings, Occasion::Create)
        .map(|_| ())
        .map_err(inside)
}
