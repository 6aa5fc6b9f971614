//! Access resources: workspaces, people, keys, integrations and secrets.

use super::{
    EMPTY_RESOURCE,
    GoType::{self, Bool, FlexBool, Float, Int, Labels, List, Object, Struct, Text, Time},
    Resource,
};

const BUDGET: GoType = Struct(&[
    ("type", Text),
    ("credit_limit", Float),
    ("alert_threshold", Float),
    ("periodic_reset", Text),
    ("periodic_reset_days", Int),
    ("next_usage_reset_at", Text),
]);

/// Budgets of workspaces are decoded into integers.
const WHOLE_BUDGET: GoType = Struct(&[
    ("type", Text),
    ("credit_limit", Int),
    ("alert_threshold", Int),
    ("periodic_reset", Text),
]);

const RATE: GoType = Struct(&[("type", Text), ("unit", Text), ("value", Int)]);

const SECRET_MAPPING: GoType = Struct(&[
    ("target_field", Text),
    ("secret_reference_id", Text),
    ("secret_key", Text),
]);

const PRICE: GoType = Struct(&[("price", Float)]);

/// Access resources.
pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        name: "workspace",
        list: "/admin/workspaces",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("icon", Text),
            ("description", Text),
            ("defaults", Struct(&[("metadata", Labels)])),
            ("rate_limits", List(&RATE)),
            ("usage_limits", List(&WHOLE_BUDGET)),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &["id", "slug", "name", "created_at", "last_updated_at"],
        create: Some((
            "/admin/workspaces",
            r#"{ "name": "Terraform", "defaults": { "metadata": { "a": "b" } },
                "usage_limits": [{ "type": "cost", "credit_limit": 100, "alert_threshold": 80 }],
                "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 5 }] }"#,
        )),
        created: &["id", "slug", "name", "created_at"],
        update: Some(r#"{ "icon": "x", "rate_limits": null }"#),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "user",
        list: "/admin/users",
        item: &[
            ("id", Text),
            ("email", Text),
            ("role", Text),
            ("status", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        state: &["id", "email", "role", "created_at"],
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "workspace member",
        list: "/admin/workspaces/ws-research/users",
        item: &[
            ("id", Text),
            ("user_id", Text),
            ("workspace_id", Text),
            ("role", Text),
            ("email", Text),
            ("first_name", Text),
            ("last_name", Text),
            ("created_at", Time),
        ],
        state: &["role", "created_at"],
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "user invite",
        list: "/admin/users/invites",
        item: &[
            ("id", Text),
            ("email", Text),
            ("role", Text),
            ("status", Text),
            ("workspaces", List(&Struct(&[("id", Text), ("role", Text)]))),
            ("created_at", Time),
            ("expires_at", Time),
        ],
        state: &["id", "email", "role", "status", "created_at", "expires_at"],
        create: Some((
            "/admin/users/invites",
            r#"{ "email": "terraform@example.com", "role": "admin" }"#,
        )),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "integration",
        list: "/integrations",
        handle: "slug",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("ai_provider_id", Text),
            ("description", Text),
            ("status", Text),
            ("masked_key", Text),
            ("configurations", Object),
            ("created_at", Time),
            ("last_updated_at", Time),
            ("type", Text),
            ("workspace_id", Text),
            ("secret_mappings", List(&SECRET_MAPPING)),
        ],
        state: &[
            "id",
            "slug",
            "name",
            "ai_provider_id",
            "status",
            "type",
            "created_at",
        ],
        create: Some((
            "/integrations",
            r#"{ "name": "Terraform", "ai_provider_id": "openai", "key": "k",
                "workspace_id": "ws-shared", "configurations": { "openai_project": "p" },
                "secret_mappings": [{ "target_field": "key",
                    "secret_reference_id": "support-mailbox" }] }"#,
        )),
        created: &["id", "slug"],
        update: Some(r#"{ "description": "d", "secret_mappings": [] }"#),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "integration workspaces",
        list: "/integrations/openai-production/workspaces",
        rows: "workspaces",
        handle: "",
        item: &[
            ("id", Text),
            ("enabled", Bool),
            ("usage_limits", List(&WHOLE_BUDGET)),
            ("rate_limits", List(&RATE)),
        ],
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "integration models",
        list: "/integrations/openai-production/models",
        rows: "models",
        handle: "",
        item: &[
            ("slug", Text),
            ("enabled", Bool),
            ("is_custom", FlexBool),
            ("is_finetune", FlexBool),
            ("base_model_slug", Text),
            (
                "pricing_config",
                Struct(&[
                    ("type", Text),
                    (
                        "pay_as_you_go",
                        Struct(&[("request_token", PRICE), ("response_token", PRICE)]),
                    ),
                ]),
            ),
        ],
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "API key",
        list: "/api-keys",
        item: &[
            ("id", Text),
            ("key", Text),
            ("name", Text),
            ("description", Text),
            ("type", Text),
            ("organisation_id", Text),
            ("workspace_id", Text),
            ("user_id", Text),
            ("status", Text),
            ("creation_mode", Text),
            ("rate_limits", List(&RATE)),
            ("usage_limits", BUDGET),
            ("scopes", List(&Text)),
            (
                "defaults",
                Struct(&[
                    ("metadata", Labels),
                    ("config_id", Text),
                    ("allow_config_override", Bool),
                ]),
            ),
            ("alert_emails", List(&Text)),
            ("allow_config_override", Int),
            ("expires_at", Time),
            ("last_reset_at", Time),
            (
                "rotation_policy",
                Struct(&[
                    ("rotation_period", Text),
                    ("next_rotation_at", Text),
                    ("key_transition_period_ms", Int),
                ]),
            ),
            ("created_at", Time),
            ("last_updated_at", Time),
        ],
        state: &[
            "id",
            "name",
            "type",
            "organisation_id",
            "status",
            "created_at",
        ],
        create: Some((
            "/api-keys/workspace/service",
            r#"{ "name": "Terraform", "workspace_id": "ws-shared", "scopes": ["logs.list"],
                "usage_limits": { "type": "cost", "credit_limit": 10.0 },
                "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 5 }],
                "defaults": { "metadata": { "a": "b" }, "allow_config_override": true } }"#,
        )),
        created: &["id", "key", "object"],
        update: Some(r#"{ "name": "Renamed", "usage_limits": null, "reset_usage": true }"#),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "provider",
        list: "/providers?workspace_id=ws-research",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("name", Text),
            ("ai_provider_name", Text),
            ("integration_id", Text),
            ("workspace_id", Text),
            ("status", Text),
            ("note", Text),
            ("model_config", Object),
            ("rate_limits", List(&RATE)),
            ("usage_limits", BUDGET),
            ("created_at", Time),
            ("expires_at", Time),
        ],
        state: &[
            "id",
            "slug",
            "name",
            "integration_id",
            "status",
            "created_at",
        ],
        create: Some((
            "/providers",
            r#"{ "name": "Terraform", "workspace_id": "ws-research",
                "integration_id": "anthropic",
                "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 5 }],
                "usage_limits": { "type": "cost", "credit_limit": 10 } }"#,
        )),
        created: &["id", "slug"],
        update: Some(r#"{ "name": "Renamed", "workspace_id": "ws-research" }"#),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "secret reference",
        list: "/secret-references",
        item: &[
            ("id", Text),
            ("slug", Text),
            ("organisation_id", Text),
            ("name", Text),
            ("description", Text),
            ("manager_type", Text),
            ("secret_path", Text),
            ("secret_key", Text),
            ("allow_all_workspaces", Bool),
            ("allowed_workspaces", List(&Text)),
            ("tags", Labels),
            ("status", Text),
            ("created_by", Text),
            ("created_at", Time),
            ("last_updated_at", Time),
            ("auth_config", Object),
            ("object", Text),
        ],
        state: &[
            "id",
            "slug",
            "name",
            "manager_type",
            "secret_path",
            "allow_all_workspaces",
        ],
        create: Some((
            "/secret-references",
            r#"{ "name": "Terraform", "manager_type": "aws_sm", "secret_path": "p",
                "auth_config": { "aws_auth_type": "serviceRole" },
                "allowed_workspaces": ["ws-shared"], "tags": { "a": "b" } }"#,
        )),
        created: &["id", "slug", "object"],
        update: Some(r#"{ "secret_key": null, "allow_all_workspaces": true }"#),
        ..EMPTY_RESOURCE
    },
    Resource {
        name: "SCIM workspace mapping",
        list: "/scim/workspaces?page_size=100&page=0",
        rows: "mappings",
        handle: "",
        item: &[
            ("id", Text),
            ("workspace_id", Text),
            ("scim_group", Text),
            ("scim_group_id", Text),
            ("role", Text),
        ],
        create: Some((
            "/scim/workspaces",
            r#"{ "workspace_id": "ws-shared", "role": "member", "scim_group_name": "Terraform" }"#,
        )),
        created: &["id", "workspace_id", "role"],
        ..EMPTY_RESOURCE
    },
];
