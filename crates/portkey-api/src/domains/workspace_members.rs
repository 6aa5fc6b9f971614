//! Workspace members: the users of a workspace, and their roles.

use portkey_operation::{
    ArgumentAlias, Operation, Risk, UpdateField, UpdateRules, alias, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{WorkspaceGrant, WorkspaceRole};
/// Operations of the domain `workspace-members`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListMembers>(
        "list-workspace-members",
        "/admin/workspaces/{workspace_id}/users",
    )
    .with_search_terms(&[
        "who is in a team",
        "people",
        "team roster",
        "employees",
        "Mitglieder",
    ])
    .with_sensitive_fields(&["data[].email", "data[].first_name", "data[].last_name"])
    .scopes(&["workspace_users.list"]),
    post::<AddMembers>(
        "add-workspace-member",
        "/admin/workspaces/{workspace_id}/users",
    )
    .with_risks(&[
        risk(Risk::Privilege, "gives administration of the workspace")
            .if_value("users[].role", &["admin", "manager"]),
        risk(Risk::Privilege, "lets users into the workspace"),
    ])
    .with_undo_by_entry("users", "id", "user_id")
    .with_argument_aliases(MEMBER_ALIASES)
    .with_search_terms(&[
        "put person in team",
        "join",
        "let in",
        "assign",
        "Mitglied hinzufügen",
    ])
    .scopes(&["workspace_users.create"]),
    get::<GetMember>(
        "get-workspace-member",
        "/admin/workspaces/{workspace_id}/users/{user_id}",
    )
    .with_search_terms(&["person", "is someone in the team", "belongs", "Mitglied"])
    .with_sensitive_fields(&["email", "first_name", "last_name"])
    .scopes(&["workspace_users.read"]),
    put::<UpdateMember>(
        "update-workspace-member",
        "/admin/workspaces/{workspace_id}/users/{user_id}",
    )
    .with_risks(&[
        risk(Risk::Privilege, "gives administration of the workspace")
            .if_value("role", &["admin", "manager"]),
        risk(Risk::Privilege, "changes the role of a member"),
    ])
    .with_update(
        UpdateRules::read_by("get-workspace-member")
            .with_fields(&[UpdateField::replaced("role").with_read_prefix("ws-")]),
    )
    .with_search_terms(&[
        "promote",
        "manager",
        "demote",
        "rights",
        "make team admin",
        "Rolle",
    ])
    .scopes(&["workspace_users.update"]),
    delete::<RemoveMember>(
        "remove-workspace-member",
        "/admin/workspaces/{workspace_id}/users/{user_id}",
    )
    .without_undo("`add-workspace-member` adds the person again; `get-change` shows the role")
    .with_search_terms(&[
        "kick from team",
        "expel",
        "leave",
        "take out",
        "Mitglied entfernen",
    ])
    .scopes(&["workspace_users.delete"]),
];

/// The one member that other servers take by itself.
const MEMBER_ALIASES: &[ArgumentAlias] = &[
    alias("user_id", "users[].id"),
    alias("role", "users[].role"),
];

/// List workspace members
///
/// Returns a workspace's members with their roles there and in the organisation, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListMembers {
    /// Workspace UUID or slug.
    pub workspace_id: String,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Only this role.
    pub role: Option<WorkspaceRole>,
    /// Only this e-mail address.
    pub email: Option<String>,
}

/// Add workspace members
///
/// Gives users of the organisation access to a workspace; returns nothing. Others need
/// `invite-user`.
#[derive(Deserialize, JsonSchema)]
pub struct AddMembers {
    /// Workspace UUID or slug.
    pub workspace_id: String,
    /// User UUIDs and their roles.
    ///
    /// Required: Terraform and the SDK always send it; nothing else is in the body.
    pub users: Vec<WorkspaceGrant>,
}

/// Get a workspace member
///
/// Returns one member; the role may read `ws-admin` for `admin`.
#[derive(Deserialize, JsonSchema)]
pub struct GetMember {
    /// Workspace UUID or slug.
    pub workspace_id: String,
    /// User UUID.
    pub user_id: String,
}

/// Update a workspace member
///
/// Changes what a member may do in the workspace.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateMember {
    /// Workspace UUID or slug.
    pub workspace_id: String,
    /// User UUID.
    pub user_id: String,
    /// New role.
    ///
    /// Required: there is nothing else to change.
    pub role: WorkspaceRole,
}

/// Remove a workspace member
///
/// Takes a user's access to the workspace away; the user stays in the organisation.
#[derive(Deserialize, JsonSchema)]
pub struct RemoveMember {
    /// Workspace UUID or slug.
    pub workspace_id: String,
    /// User UUID.
    pub user_id: String,
}
