//! Seeded workspace members, invitations and SCIM mappings.

use serde_json::json;

use super::{SeedStep, post};
use crate::domains::users::{ADMIN_ID, FINANCE_READER_ID, RESEARCH_LEAD_ID, SUPPORT_LEAD_ID};

/// Creates the members, invitations and mappings.
pub(super) fn steps() -> Vec<SeedStep> {
    vec![
        post(
            "/v1/admin/workspaces/ws-shared/users",
            json!({ "users": [
                { "id": ADMIN_ID, "role": "admin" },
                { "id": RESEARCH_LEAD_ID, "role": "member" },
                { "id": SUPPORT_LEAD_ID, "role": "member" },
            ] }),
        ),
        post(
            "/v1/admin/workspaces/ws-research/users",
            json!({ "users": [
                { "id": RESEARCH_LEAD_ID, "role": "admin" },
                { "id": FINANCE_READER_ID, "role": "member" },
            ] }),
        ),
        post(
            "/v1/admin/workspaces/ws-support-bot/users",
            json!({ "users": [
                { "id": ADMIN_ID, "role": "admin" },
                { "id": SUPPORT_LEAD_ID, "role": "manager" },
            ] }),
        ),
        post(
            "/v1/admin/users/invites",
            json!({ "email": "new-analyst@example.com", "role": "member",
                "workspaces": [{ "id": "ws-research", "role": "member" }],
                "workspace_api_key_details": { "scopes": ["logs.list", "analytics.view"] } }),
        ),
        post(
            "/v1/admin/users/invites",
            json!({ "email": "former-intern@example.com", "role": "member",
                "workspaces": [{ "id": "ws-support-bot", "role": "member" }] }),
        ),
        post(
            "/v1/admin/users/invites",
            json!({ "email": "agency-partner@example.com", "role": "admin", "workspaces": [] }),
        ),
        post(
            "/v1/scim/workspaces",
            json!({ "workspace_id": "ws-support-bot", "role": "member",
                "scim_group_name": "Support Agents" }),
        ),
        post(
            "/v1/scim/workspaces",
            json!({ "workspace_id": "ws-research", "role": "manager",
                "scim_group_name": "Research Engineers" }),
        ),
        post(
            "/v1/scim/workspaces",
            json!({ "workspace_id": "ws-shared", "role": "manager",
                "scim_group_name": "Research Engineers" }),
        ),
    ]
}
