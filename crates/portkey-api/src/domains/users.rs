//! Users: the people of an organisation.

use portkey_operation::{Operation, Risk, UpdateRules, delete, get, put, risk};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::OrganisationRole;
/// Operations of the domain `users`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListUsers>("list-users", "/admin/users")
        .with_search_terms(&[
            "people",
            "members",
            "employees",
            "accounts",
            "who is in our org",
            "Mitarbeiter",
        ])
        .with_sensitive_fields(&["data[].email", "data[].first_name", "data[].last_name"])
        .aliases(&["list-all-users"])
        .enterprise()
        .scopes(&["organisation_users.list"]),
    get::<GetUser>("get-user", "/admin/users/{user_id}")
        .with_search_terms(&[
            "person",
            "profile",
            "account",
            "employee",
            "which rights",
            "Nutzer",
        ])
        .with_sensitive_fields(&["email", "first_name", "last_name"])
        .enterprise()
        .scopes(&["organisation_users.read"]),
    put::<UpdateUser>("update-user", "/admin/users/{user_id}")
        .with_risks(&[
            risk(
                Risk::Privilege,
                "gives full administration of the organisation",
            )
            .if_value("role", &["admin", "owner"]),
            risk(Risk::Privilege, "changes the role of a user").if_given("role"),
        ])
        .with_update(UpdateRules::read_by("get-user"))
        .with_search_terms(&[
            "make admin",
            "promote",
            "demote",
            "rights",
            "owner",
            "Rolle ändern",
        ])
        .scopes(&["organisation_users.update"]),
    delete::<RemoveUser>("remove-user", "/admin/users/{user_id}")
        .without_undo(
            "the user and the memberships are gone; `invite-user` invites the person again",
        )
        .with_search_terms(&[
            "offboard",
            "kick",
            "leaver",
            "deactivate account",
            "delete person",
            "Benutzer löschen",
        ])
        .aliases(&["delete-user"])
        .scopes(&["organisation_users.delete"]),
];

/// List users
///
/// Returns the organisation's users with their roles and workspaces, one page at a time. Enterprise
/// plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListUsers {
    /// Items per page.
    #[serde(rename = "pageSize")]
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    #[serde(rename = "currentPage")]
    pub current_page: Option<u32>,
    /// Only this role.
    pub role: Option<Role>,
    /// Only this e-mail address.
    pub email: Option<String>,
}

/// A role in the organisation; nobody can be made owner.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Role {
    Admin,
    Member,
    Owner,
}

/// Get a user
///
/// Returns one user with role and workspaces. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetUser {
    /// User UUID.
    pub user_id: String,
}

/// Update a user
///
/// Changes a user's role in the organisation; the role the user already has is refused with 400.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateUser {
    /// User UUID.
    pub user_id: String,
    /// New role.
    ///
    /// Required: there is nothing else to change.
    pub role: OrganisationRole,
}

/// Remove a user
///
/// Takes a user out of the organisation and all its workspaces. Coming back takes an invitation.
#[derive(Deserialize, JsonSchema)]
pub struct RemoveUser {
    /// User UUID.
    pub user_id: String,
}
