//! User invites: invitations to join the organisation.

use portkey_operation::{Open, Operation, Risk, delete, get, post, risk};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{OrganisationRole, WorkspaceGrant};
/// Operations of the domain `user-invites`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListInvites>("list-all-invites", "/admin/users/invites")
        .with_search_terms(&[
            "pending invitations",
            "outstanding",
            "open",
            "Einladungen",
            "who was asked",
        ])
        .with_sensitive_fields(&["data[].email"])
        .aliases(&["list-user-invites"])
        .enterprise()
        .scopes(&["organisation_users.list"]),
    post::<InviteUser>("invite-user", "/admin/users/invites")
        .with_risks(&[
            risk(
                Risk::Privilege,
                "invites somebody with full administration of the organisation",
            )
            .if_value("role", &["admin", "owner"]),
            risk(Risk::Privilege, "lets somebody into the organisation"),
            risk(Risk::Secret, "makes a key for the invitee").if_given("workspace_api_key_details"),
        ])
        .with_search_terms(&[
            "onboard",
            "add colleague",
            "new employee",
            "bring in",
            "Benutzer einladen",
            "new hire",
        ])
        .returns_secrets(&["invite_link"])
        .scopes(&["organisation_users.create"]),
    get::<GetInvite>("get-invite", "/admin/users/invites/{invite_id}")
        .with_search_terms(&["accepted", "pending", "did they join", "Einladung"])
        .with_sensitive_fields(&["email"])
        .aliases(&["get-user-invite"])
        .scopes(&["organisation_users.read"]),
    delete::<DeleteInvite>("delete-invite", "/admin/users/invites/{invite_id}")
        .with_search_terms(&[
            "cancel",
            "revoke",
            "retract",
            "take back",
            "Einladung zurückziehen",
        ])
        .aliases(&["delete-user-invite"])
        .scopes(&["organisation_users.delete"]),
    post::<ResendInvite>("resend-invite", "/admin/users/invites/{invite_id}/resend")
        .with_search_terms(&[
            "send again",
            "lost mail",
            "remind",
            "reminder",
            "erneut einladen",
        ])
        .returns_secrets(&["inviteLink"])
        .aliases(&["resend-user-invite"])
        .scopes(&["organisation_users.create"]),
];

/// List invites
///
/// Returns a page of invitations with their states. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListInvites {
    /// Items per page.
    #[serde(rename = "pageSize")]
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    #[serde(rename = "currentPage")]
    pub current_page: Option<u32>,
    /// Only this role.
    pub role: Option<OrganisationRole>,
    /// Only this e-mail address.
    pub email: Option<String>,
    /// Only this state.
    pub status: Option<Open<Status>>,
}

/// What has become of an invitation.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    Pending,
    Cancelled,
    Accepted,
    Expired,
}

/// Invite a user
///
/// E-mails an invitation; returns its id and `invite_link`, shown only here: whoever has it can
/// join. To change an invitation, delete it and invite again.
#[derive(Deserialize, JsonSchema)]
pub struct InviteUser {
    /// E-mail address.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub email: String,
    /// Workspaces to join (UUID or slug) and the role in each.
    pub workspaces: Option<Vec<WorkspaceGrant>>,
    /// Role in the organisation.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub role: OrganisationRole,
    /// A workspace API key to make for the invitee.
    pub workspace_api_key_details: Option<ApiKeyDetails>,
}

/// The API key an invitee gets.
#[derive(Deserialize, JsonSchema)]
pub struct ApiKeyDetails {
    /// What the key may do, such as `completions.write`.
    ///
    /// Required: OpenAPI.
    pub scopes: Vec<String>,
}

/// Get an invite
///
/// Returns one invitation with its state and expiry, without its link.
#[derive(Deserialize, JsonSchema)]
pub struct GetInvite {
    /// Invitation UUID.
    pub invite_id: String,
}

/// Delete an invite
///
/// Withdraws an invitation; its link stops working.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteInvite {
    /// Invitation UUID.
    pub invite_id: String,
}

/// Resend an invite
///
/// E-mails the invitation again and returns a new `inviteLink`, shown only here.
#[derive(Deserialize, JsonSchema)]
pub struct ResendInvite {
    /// Invitation UUID.
    pub invite_id: String,
}
