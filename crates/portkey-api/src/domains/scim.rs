//! SCIM: groups of an identity provider, and the workspaces that their members join.

use portkey_operation::{ApiBase, ArgumentAlias, Operation, Risk, alias, delete, get, post, risk};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::WorkspaceRole;
/// Operations of the domain `scim`.
///
/// Groups are listed on `/v2` only, although Portkey's changelog names `/v1`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListGroups>("list-scim-groups", "/scim/groups")
        .with_search_terms(&[
            "Okta",
            "Entra ID",
            "Azure AD",
            "directory",
            "IdP",
            "Gruppen",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .enterprise(),
    get::<ListMappings>("list-scim-workspace-mappings", "/scim/workspaces")
        .with_search_terms(&[
            "Okta",
            "Entra",
            "AD group",
            "SSO",
            "who gets in",
            "Zuordnungen",
        ])
        .enterprise()
        .scopes(ADMIN_KEY_SCOPES),
    post::<CreateMapping>("create-scim-workspace-mapping", "/scim/workspaces")
        .with_risks(&[
            risk(
                Risk::Privilege,
                "gives a group administration of the workspace",
            )
            .if_value("role", &["admin", "manager"]),
            risk(Risk::Privilege, "lets a group into the workspace"),
        ])
        .with_search_terms(&["Okta", "Entra", "AD group", "SSO", "link", "zuordnen"])
        .idempotent()
        .enterprise()
        .scopes(ADMIN_KEY_SCOPES),
    delete::<DeleteMapping>(
        "delete-scim-workspace-mapping",
        "/scim/workspaces/{scim_workspace_group_id}",
    )
    .with_argument_aliases(MAPPING_ALIASES)
    .with_search_terms(&[
        "unlink",
        "Okta",
        "Entra",
        "AD group",
        "SSO",
        "Zuordnung löschen",
    ])
    .enterprise()
    .scopes(ADMIN_KEY_SCOPES),
];

/// Names in other servers.
const MAPPING_ALIASES: &[ArgumentAlias] = &[alias("mapping_id", "scim_workspace_group_id")];

/// Stands for a scope: no scope of a key suffices, only an organisation's Admin key.
const ADMIN_KEY_SCOPES: &[&str] = &["organisation admin key"];

/// List SCIM groups
///
/// Returns the groups the identity provider has sent, by id and name. Admin key,
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListGroups {
    /// Part of the name.
    pub search: Option<String>,
    /// Zero-based.
    pub page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
}

/// List SCIM workspace mappings
///
/// Returns which group gets into which workspace, and its role there. Admin key,
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListMappings {
    /// Workspace UUID; a slug finds nothing.
    pub workspace_id: Option<String>,
    /// Only this group.
    pub scim_group_id: Option<String>,
    /// Only this role.
    pub role: Option<WorkspaceRole>,
    /// Zero-based.
    pub page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
}

/// Create a SCIM workspace mapping
///
/// Lets everyone in a group into a workspace; the same mapping again returns the one there is. A
/// group has one role in all its workspaces, another is refused with 400. Admin key,
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-exactly-one" = ["scim_group_id", "scim_group_name"]))]
pub struct CreateMapping {
    /// Workspace UUID or slug.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub workspace_id: String,
    /// Role of the group's members.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub role: WorkspaceRole,
    /// Group id, from `list-scim-groups`.
    pub scim_group_id: Option<String>,
    /// Group name; made when there is none.
    pub scim_group_name: Option<String>,
}

/// Delete a SCIM workspace mapping
///
/// Archives the mapping: members of the group lose the workspace, the group itself remains. Admin key,
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteMapping {
    /// Mapping id.
    pub scim_workspace_group_id: String,
}
