//! Deployments: gateways outside Portkey, with the workspaces they serve and their credentials.

use portkey_operation::{
    ApiBase, ArgumentAlias, JsonMap, Nullable, Open, Operation, UpdateField, UpdateRules, alias,
    delete, get, post, put,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{REPLACES_LISTS, Tags};
/// Operations of the domain `deployments`. Only the second version of the control plane has them.
pub const OPERATIONS: &[Operation] = &[
    get::<ListDeployments>("list-deployments", "/deployments")
        .with_search_terms(&[
            "self-hosted",
            "hybrid",
            "data planes",
            "on-prem",
            "private cloud",
            "Installationen",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .with_repeated_arguments(&["workspace_slug"])
        .enterprise()
        .scopes(&["deployments.list"]),
    post::<CreateDeployment>("create-deployment", "/deployments")
        .with_argument_aliases(SETTINGS_ALIASES)
        .with_search_terms(&[
            "self-hosted",
            "hybrid",
            "data plane",
            "on-premises",
            "install",
            "air-gapped",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .aliases(&["register-deployment"])
        .enterprise()
        .scopes(&["deployments.create"])
        .returns_secrets(ONE_TIME_SECRETS),
    get::<GetDeployment>("get-deployment", "/deployments/{deployment_id}")
        .with_search_terms(&[
            "self-hosted",
            "data plane",
            "is it connected",
            "health",
            "on-prem",
            "Zustand",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .enterprise()
        .scopes(&["deployments.read"]),
    put::<UpdateDeployment>("update-deployment", "/deployments/{deployment_id}")
        .with_update(
            UpdateRules::read_by("get-deployment")
                .with_fields(&[
                    UpdateField::write_only("rotate_auth"),
                    UpdateField::excluded("override_existing", REPLACES_LISTS),
                    UpdateField::excluded("auth_settings", ADDS_TO_LISTS),
                ])
                .with_addresses(&["auth_settings"]),
        )
        .with_argument_aliases(SETTINGS_ALIASES)
        .with_search_terms(&["self-hosted", "data plane", "renew client secret", "edit"])
        .with_base(ApiBase::ControlPlaneV2)
        .destructive()
        .not_idempotent()
        .enterprise()
        .scopes(&["deployments.update"])
        .returns_secrets(ONE_TIME_SECRETS)
        .returns_secrets_if("rotate_auth"),
    delete::<DeleteDeployment>("delete-deployment", "/deployments/{deployment_id}")
        .with_search_terms(&[
            "decommission",
            "retire",
            "self-hosted",
            "data plane",
            "shut down",
            "abschalten",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .aliases(&["archive-deployment"])
        .enterprise()
        .scopes(&["deployments.delete"]),
    get::<PingDeployment>("ping-deployment", "/deployments/{deployment_id}/ping")
        .with_search_terms(&[
            "heartbeat",
            "alive",
            "health check",
            "reachable",
            "self-hosted",
            "online",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .enterprise()
        .scopes(&["deployments.read"]),
];

/// Reason why the sign-in settings are no part of a patch.
const ADDS_TO_LISTS: &str = "its lists are added to, and `remove_workspaces_allowed` and `remove_subs_allowed` \
     take entries away; give it as an argument instead of a patch";

/// Fields of `auth_settings` that other servers take by themselves.
const SETTINGS_ALIASES: &[ArgumentAlias] = &[
    alias("gateway_base_url", "auth_settings.gateway_base_url"),
    alias("mcp_gateway_base_url", "auth_settings.mcp_gateway_base_url"),
    alias(
        "is_dataservice_hosted",
        "auth_settings.is_dataservice_hosted",
    ),
    alias(
        "is_playground_proxy_allowed",
        "auth_settings.is_playground_proxy_allowed",
    ),
    alias("workspaces_allowed", "auth_settings.workspaces_allowed"),
    alias("jwt_subs_allowed", "auth_settings.jwt_subs_allowed"),
    alias(
        "jwt_sub_workspace_mapping",
        "auth_settings.jwt_sub_workspace_mapping",
    ),
    alias("allow_all_workspaces", "auth_settings.allow_all_workspaces"),
    alias(
        "remove_workspaces_allowed",
        "auth_settings.remove_workspaces_allowed",
    ),
    alias("remove_subs_allowed", "auth_settings.remove_subs_allowed"),
];

const ONE_TIME_SECRETS: &[&str] = &["client_auth", "credentials"];

/// List deployments
///
/// Returns the organisation's gateway deployments with their connection status. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListDeployments {
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Only in this state.
    pub status: Option<Open<Status>>,
    /// Only of this kind.
    #[serde(rename = "type")]
    pub kind: Option<Open<Kind>>,
    /// Only those that serve one of these workspaces.
    pub workspace_slug: Option<Vec<String>>,
    /// Part of the name.
    pub search: Option<String>,
    /// Only those with these tags.
    pub tags: Option<Tags>,
}

/// State of a deployment.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    Active,
    Archived,
}

/// What a deployment is for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Kind {
    Production,
    NonProduction,
}

/// Create a deployment
///
/// Registers a gateway and returns its id with `client_auth` and registry `credentials`, shown only
/// here: keep them at once. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct CreateDeployment {
    /// Name.
    ///
    /// Required: OpenAPI.
    pub name: String,
    /// Default: made from the name.
    pub slug: Option<String>,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: Option<Open<Kind>>,
    /// Settings of the gateway.
    pub deployment_config: Option<JsonMap>,
    /// Make it the default in place of the present one.
    pub is_default: Option<bool>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Names to text.
    pub tags: Nullable<Tags>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub auth_settings: Option<AuthSettings>,
}

/// gateway_base_url, mcp_gateway_base_url, is_dataservice_hosted and is_playground_proxy_allowed (0 or
/// 1), workspaces_allowed and jwt_subs_allowed (lists), jwt_sub_workspace_mapping {subject: workspace}.
///
/// Where a gateway is and whom it serves.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct AuthSettings {
    pub gateway_base_url: Option<String>,
    pub mcp_gateway_base_url: Option<String>,
    #[schemars(range(min = 0, max = 1))]
    pub is_dataservice_hosted: Option<u8>,
    #[schemars(range(min = 0, max = 1))]
    pub is_playground_proxy_allowed: Option<u8>,
    pub workspaces_allowed: Option<Vec<String>>,
    pub jwt_subs_allowed: Option<Vec<String>>,
    pub jwt_sub_workspace_mapping: Option<JsonMap>,
}

/// Get a deployment
///
/// Returns one gateway deployment with its connection status. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetDeployment {
    /// UUID; `self` is the caller's own.
    pub deployment_id: String,
}

/// Update a deployment
///
/// Changes the fields given; lists in auth_settings are added to. Rotating returns a new credential,
/// shown only here, and cuts off the running gateway until it has it. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateDeployment {
    /// UUID; `self` is the caller's own.
    pub deployment_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// State.
    pub status: Option<Open<Status>>,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: Option<Open<Kind>>,
    /// Settings of the gateway.
    pub deployment_config: Nullable<JsonMap>,
    /// Make it the default in place of the present one.
    pub is_default: Option<bool>,
    /// Names to text.
    pub tags: Nullable<Tags>,
    /// True issues a new credential.
    pub rotate_auth: Option<bool>,
    /// True replaces the lists in auth_settings.
    pub override_existing: Option<bool>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub auth_settings: Option<AuthChanges>,
}

/// As in `create-deployment`, and allow_all_workspaces, remove_workspaces_allowed and
/// remove_subs_allowed (lists).
///
/// Changes to where a gateway is and whom it serves.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct AuthChanges {
    #[serde(flatten)]
    pub settings: AuthSettings,
    pub allow_all_workspaces: Option<bool>,
    pub remove_workspaces_allowed: Option<Vec<String>>,
    pub remove_subs_allowed: Option<Vec<String>>,
}

/// Delete a deployment
///
/// Archives the deployment: it stays listed as `archived` and its gateway is cut off. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteDeployment {
    /// UUID; `self` is the caller's own.
    pub deployment_id: String,
}

/// Ping a deployment
///
/// Checks on a gateway; deprecated, read `connection_status` with `get-deployment`. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct PingDeployment {
    /// UUID; `self` is the caller's own.
    pub deployment_id: String,
}
