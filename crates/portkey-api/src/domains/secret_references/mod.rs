//! Secret references: locations of credentials in a secret manager, which Portkey reads.

mod auth_settings;

use schemars::JsonSchema;
use serde::Deserialize;

pub use auth_settings::{AwsSignIn, AzureSignIn, SignIn, VaultSignIn};

use portkey_operation::{
    Findings, JsonMap, Nullable, Open, Operation, Risk, Secret, UpdateField, UpdateRules, delete,
    get, post, put, risk,
};

use super::shared::Tags;
/// Operations of the domain `secret-references`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListSecretReferences>("list-all-secret-references", "/secret-references")
        .with_search_terms(&[
            "vault",
            "AWS",
            "key management",
            "secret manager entries",
            "Geheimnisse",
        ])
        .aliases(&["list-secret-references"])
        .enterprise()
        .scopes(&["secret_references.list"]),
    post::<CreateSecretReference>("create-secret-reference", "/secret-references")
        .with_risks(&[risk(Risk::Secret, "makes a secret of the manager usable")])
        .with_search_terms(&[
            "key store",
            "credential store",
            "connect",
            "KMS",
            "Tresor",
            "Geheimnis",
        ])
        .with_rule(check_new_reference)
        .enterprise()
        .scopes(&["secret_references.create"]),
    get::<GetSecretReference>(
        "get-secret-reference",
        "/secret-references/{secret_reference_id}",
    )
    .with_search_terms(&[
        "vault",
        "where does it point",
        "details",
        "KMS",
        "Geheimnis",
    ])
    .with_secret_fields(&["auth_config"])
    .with_sensitive_fields(&["secret_path"])
    .enterprise()
    .scopes(&["secret_references.read"]),
    put::<UpdateSecretReference>(
        "update-secret-reference",
        "/secret-references/{secret_reference_id}",
    )
    .with_risks(&[
        risk(Risk::Privilege, "lets all workspaces use the secret")
            .if_value("allow_all_workspaces", &["true"]),
        risk(
            Risk::Privilege,
            "changes which workspaces may use the secret",
        )
        .if_given("allowed_workspaces"),
        risk(Risk::Secret, "changes which secret is used").if_given("secret_path"),
        risk(Risk::Secret, "changes which secret is used").if_given("secret_key"),
        risk(Risk::Secret, "changes how secrets are read").if_given("auth_config"),
    ])
    .with_update(
        UpdateRules::read_by("get-secret-reference")
            .with_fields(&[UpdateField::merged("auth_config")])
            .with_create_only(&["manager_type", "slug"])
            .with_switch("allow_all_workspaces", "allowed_workspaces")
            .with_addresses(&["auth_config"]),
    )
    .with_search_terms(&[
        "vault",
        "change location",
        "move",
        "edit",
        "Geheimnis ändern",
    ])
    .with_rule(check_reference_update)
    .enterprise()
    .scopes(&["secret_references.update"]),
    delete::<DeleteSecretReference>(
        "delete-secret-reference",
        "/secret-references/{secret_reference_id}",
    )
    .with_search_terms(&["vault", "unlink", "drop", "disconnect", "Geheimnis löschen"])
    .enterprise()
    .scopes(&["secret_references.delete"]),
];

/// List secret references
///
/// Returns references to secrets in external managers, one page at a time. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListSecretReferences {
    /// Only this manager's.
    pub manager_type: Option<Open<Manager>>,
    /// Only those with these tags.
    pub tags: Option<Tags>,
    /// Part of the name.
    #[schemars(length(min = 1, max = 255))]
    pub search: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page; default 20.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
}

/// An external secret manager.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Manager {
    AwsSm,
    AzureKv,
    HashicorpVault,
}

/// Create a secret reference
///
/// Registers a secret of AWS Secrets Manager, Azure Key Vault or HashiCorp Vault and returns id and
/// slug, for use in `secret_mappings`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct CreateSecretReference {
    /// Name.
    ///
    /// Required: OpenAPI; the documents' examples all have it.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Where the secret is; cannot be changed.
    ///
    /// Required: OpenAPI; the documents' examples all have it.
    pub manager_type: Open<Manager>,
    // Required: OpenAPI and all examples of the documentation.
    #[expect(missing_docs, reason = "the struct says it")]
    pub auth_config: Secret<SignIn>,
    /// Its path, name or ARN there.
    ///
    /// Required: OpenAPI; the documents' examples all have it.
    #[schemars(length(max = 1024))]
    pub secret_path: String,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Default: made from the name.
    #[schemars(length(max = 255), regex(pattern = "^[a-zA-Z0-9_-]+$"))]
    pub slug: Option<String>,
    /// What it is for.
    #[schemars(length(max = 1024))]
    pub description: Nullable<String>,
    /// Which value of a secret that has several.
    #[schemars(length(max = 255))]
    pub secret_key: Nullable<String>,
    /// True when left out; not true with `allowed_workspaces`.
    pub allow_all_workspaces: Option<bool>,
    /// UUIDs or slugs of the only workspaces that may use it.
    #[schemars(length(min = 1))]
    pub allowed_workspaces: Option<Vec<String>>,
    /// Names to text.
    pub tags: Nullable<Tags>,
}

/// Get a secret reference
///
/// Returns one reference, credentials as `masked_…`; never the secret itself. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetSecretReference {
    /// UUID or slug.
    pub secret_reference_id: String,
}

/// Update a secret reference
///
/// Changes the fields given and keeps the rest, inside `auth_config` too; never resend masked values.
/// Running requests see the old secret for up to 5 minutes. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateSecretReference {
    /// UUID or slug.
    pub secret_reference_id: String,
    /// Name.
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// What it is for.
    #[schemars(length(max = 1024))]
    pub description: Nullable<String>,
    /// As in `create-secret-reference`.
    pub auth_config: Option<Secret<SignIn>>,
    /// Its path, name or ARN there.
    #[schemars(length(max = 1024))]
    pub secret_path: Option<String>,
    /// Which value of a secret that has several.
    #[schemars(length(max = 255))]
    pub secret_key: Nullable<String>,
    /// True removes the list of workspaces.
    pub allow_all_workspaces: Option<bool>,
    /// Replaces the list of workspaces.
    #[schemars(length(min = 1))]
    pub allowed_workspaces: Option<Vec<String>>,
    /// Names to text.
    pub tags: Nullable<Tags>,
}

/// Delete a secret reference
///
/// Removes the reference, not the secret; refused while an integration uses it. This cannot be undone.
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteSecretReference {
    /// UUID or slug.
    pub secret_reference_id: String,
}

fn check_new_reference(args: &JsonMap, findings: &mut Findings) {
    auth_settings::check_auth_settings(args, findings);
    check_workspace_access(args, findings);
}

fn check_reference_update(args: &JsonMap, findings: &mut Findings) {
    if args.contains_key("manager_type") {
        findings.warn("`manager_type` cannot be changed, and Portkey ignores it in an update");
    }
    auth_settings::reject_mixed_managers(args, findings);
    check_workspace_access(args, findings);
}

fn check_workspace_access(args: &JsonMap, findings: &mut Findings) {
    let all = args
        .get("allow_all_workspaces")
        .is_some_and(|value| *value == true);
    if all && args.contains_key("allowed_workspaces") {
        findings.add_error(
            "allowed_workspaces",
            "cannot be with `allow_all_workspaces: true`",
        );
    }
}
