//! Authentication of Portkey at a secret manager: the methods, and the settings of each.

use portkey_operation::{Findings, JsonMap, Nullable, Open};
use schemars::JsonSchema;
use serde::Deserialize;

/// aws_sm: aws_auth_type* accessKey (aws_access_key_id*, aws_secret_access_key*, aws_region*),
/// assumedRole (aws_role_arn*, aws_external_id, aws_region*) or serviceRole (aws_region). azure_kv:
/// azure_vault_url*, azure_auth_mode* entra (azure_entra_{tenant_id,client_id,client_secret}*),
/// managed (azure_managed_client_id) or default. hashicorp_vault: vault_addr*, vault_namespace,
/// vault_auth_type* token (vault_token*), approle (vault_role_id*, vault_secret_id*) or kubernetes
/// (vault_role*).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct SignIn {
    pub aws_auth_type: Option<Open<AwsSignIn>>,
    pub aws_access_key_id: Option<String>,
    pub aws_secret_access_key: Option<String>,
    pub aws_role_arn: Option<String>,
    pub aws_external_id: Nullable<String>,
    pub aws_region: Option<String>,
    pub azure_auth_mode: Option<Open<AzureSignIn>>,
    pub azure_entra_tenant_id: Option<String>,
    pub azure_entra_client_id: Option<String>,
    pub azure_entra_client_secret: Option<String>,
    pub azure_managed_client_id: Option<String>,
    pub azure_vault_url: Option<String>,
    pub vault_auth_type: Option<Open<VaultSignIn>>,
    pub vault_addr: Option<String>,
    pub vault_token: Option<String>,
    pub vault_role_id: Option<String>,
    pub vault_secret_id: Option<String>,
    pub vault_role: Option<String>,
    pub vault_namespace: Option<String>,
}

/// The ways in to AWS.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AwsSignIn {
    AccessKey,
    AssumedRole,
    ServiceRole,
}

/// The ways in to Azure.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AzureSignIn {
    Entra,
    Managed,
    Default,
}

/// The ways in to Vault.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum VaultSignIn {
    Token,
    Approle,
    Kubernetes,
}

/// A secret manager: the prefix of its settings, and the setting that chooses the method.
struct SecretManager {
    id: &'static str,
    prefix: &'static str,
    method_field: &'static str,
    methods: &'static [AuthMethod],
}

/// A method of authentication and its settings.
struct AuthMethod {
    value: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const MANAGERS: &[SecretManager] = &[
    SecretManager {
        id: "aws_sm",
        prefix: "aws_",
        method_field: "aws_auth_type",
        methods: &[
            auth_method(
                "accessKey",
                &["aws_access_key_id", "aws_secret_access_key", "aws_region"],
                &[],
            ),
            auth_method(
                "assumedRole",
                &["aws_role_arn", "aws_region"],
                &["aws_external_id"],
            ),
            auth_method("serviceRole", &[], &["aws_region"]),
        ],
    },
    SecretManager {
        id: "azure_kv",
        prefix: "azure_",
        method_field: "azure_auth_mode",
        methods: &[
            auth_method(
                "entra",
                &[
                    "azure_entra_tenant_id",
                    "azure_entra_client_id",
                    "azure_entra_client_secret",
                    "azure_vault_url",
                ],
                &[],
            ),
            auth_method(
                "managed",
                &["azure_vault_url"],
                &["azure_managed_client_id"],
            ),
            auth_method("default", &["azure_vault_url"], &[]),
        ],
    },
    SecretManager {
        id: "hashicorp_vault",
        prefix: "vault_",
        method_field: "vault_auth_type",
        methods: &[
            auth_method(
                "token",
                &["vault_addr", "vault_token"],
                &["vault_namespace"],
            ),
            auth_method(
                "approle",
                &["vault_addr", "vault_role_id", "vault_secret_id"],
                &["vault_namespace"],
            ),
            auth_method(
                "kubernetes",
                &["vault_addr", "vault_role"],
                &["vault_namespace"],
            ),
        ],
    },
];

const fn auth_method(
    word: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> AuthMethod {
    AuthMethod {
        value: word,
        required,
        optional,
    }
}

/// Checks on create that the settings belong to the manager and the chosen method, and that none is
/// missing.
///
/// Managers, methods and settings outside the table pass, because Portkey adds some. A setting
/// outside the table may stand for a missing one.
pub(super) fn check_auth_settings(args: &JsonMap, findings: &mut Findings) {
    let Some(given) = args.get("auth_config").and_then(|value| value.as_object()) else {
        return;
    };
    let Some(id) = args.get("manager_type").and_then(|value| value.as_str()) else {
        return;
    };
    let Some(manager) = MANAGERS.iter().find(|manager| manager.id == id) else {
        return;
    };
    let has_unknown = given.keys().any(|name| !is_known(name));
    let Some(word) = given
        .get(manager.method_field)
        .and_then(|value| value.as_str())
    else {
        if has_unknown {
            return;
        }
        let words = quote_names(manager.methods.iter().map(|way| way.value));
        let what = format!("is required; `{id}` takes {words}");
        return findings.add_error(format!("auth_config.{}", manager.method_field), what);
    };
    let Some(way) = manager.methods.iter().find(|way| way.value == word) else {
        return;
    };
    let takes = |name: &str| {
        name == manager.method_field || way.required.contains(&name) || way.optional.contains(&name)
    };
    for name in given.keys().filter(|name| is_known(name) && !takes(name)) {
        let settings = quote_names(way.required.iter().chain(way.optional).copied());
        let what = format!("is no setting of `{word}` in `{id}`; it takes {settings}");
        findings.add_error(format!("auth_config.{name}"), what);
    }
    let missing = way
        .required
        .iter()
        .filter(|name| !given.contains_key(**name));
    for name in missing.filter(|_| !has_unknown) {
        findings.add_error(
            format!("auth_config.{name}"),
            format!("is required for `{word}`"),
        );
    }
}

/// Returns true if some method takes the setting.
fn is_known(name: &str) -> bool {
    MANAGERS.iter().any(|manager| {
        let in_method =
            |way: &AuthMethod| way.required.contains(&name) || way.optional.contains(&name);
        name == manager.method_field || manager.methods.iter().any(in_method)
    })
}

/// Checks on update that one manager takes all settings. The call does not name the manager, which
/// cannot change.
pub(super) fn reject_mixed_managers(args: &JsonMap, findings: &mut Findings) {
    let Some(given) = args.get("auth_config").and_then(|value| value.as_object()) else {
        return;
    };
    let is_named =
        |manager: &&SecretManager| given.keys().any(|name| name.starts_with(manager.prefix));
    let managers: Vec<_> = MANAGERS
        .iter()
        .filter(is_named)
        .map(|manager| manager.id)
        .collect();
    if managers.len() > 1 {
        findings.add_error(
            "auth_config",
            format!("mixes {}", quote_names(managers.into_iter())),
        );
    }
}

fn quote_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
