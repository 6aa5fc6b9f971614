//! Who is in which workspace, who has been asked to join, and what the organisation asks of all.

use serde_json::json;

use super::{Step, post, put};

/// The steps.
pub(super) fn steps() -> Vec<Step> {
    vec![
        post(
            "/v1/admin/workspaces/ws-shared/users",
            json!({ "users": [
                { "id": "0a5d0000-0000-4000-8000-00000000ada1", "role": "admin" },
                { "id": "0a5d0000-0000-4000-8000-00000000ada2", "role": "member" },
                { "id": "0a5d0000-0000-4000-8000-00000000ada3", "role": "member" },
            ] }),
        ),
        post(
            "/v1/admin/workspaces/ws-research/users",
            json!({ "users": [
                { "id": "0a5d0000-0000-4000-8000-00000000ada2", "role": "admin" },
                { "id": "0a5d0000-0000-4000-8000-00000000ada4", "role": "member" },
            ] }),
        ),
        post(
            "/v1/admin/workspaces/ws-support-bot/users",
            json!({ "users": [
                { "id": "0a5d0000-0000-4000-8000-00000000ada1", "role": "admin" },
                { "id": "0a5d0000-0000-4000-8000-00000000ada3", "role": "manager" },
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
        put(
            "/v2/admin/organisation/defaults",
            json!({ "input_guardrails": ["guard_personal-data"], "output_guardrails": [] }),
        ),
        put(
            "/v1/workspace-exclusions/input-guardrails",
            json!({ "workspaces": [{ "workspace_id": "ws-research", "excluded": true }] }),
        ),
    ]
}
