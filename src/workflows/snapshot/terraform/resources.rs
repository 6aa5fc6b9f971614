//! Resources of Portkey's Terraform provider, each with the kind of a snapshot that it stands for.
//!
//! One table. What the provider cannot express is left out and named.

/// A resource type of the provider.
pub(super) struct TerraformResource {
    /// Kind of the snapshot.
    pub(super) kind: &'static str,
    pub(super) resource: &'static str,
    /// Form of the id with which it is imported.
    pub(super) import: ImportId,
    pub(super) attributes: &'static [Attribute],
    /// Fields of a document that say nothing to Terraform: it computes them.
    pub(super) computed: &'static [&'static str],
}

/// Form of the id of an import.
pub(super) enum ImportId {
    /// A field of the document.
    Field(&'static str),
    /// The id of the workspace, this text, and a field of the document.
    InWorkspace(&'static str, &'static str),
}

/// An attribute of a resource.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    /// JSON Pointer into the document, without the first slash.
    pub(super) field: &'static str,
    pub(super) form: Form,
    pub(super) is_required: bool,
}

/// Form of the value of an attribute.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// `true`, also where the API has `1`.
    Flag,
    /// JSON as text, by `jsonencode`.
    Json,
    /// A map of texts.
    TextMap,
    /// A list of objects of which these fields are known.
    Objects(&'static [&'static str]),
    /// An object of which these fields are known.
    Object(&'static [&'static str]),
    /// The id of the workspace of the document.
    Workspace,
    /// A secret that the API does not return.
    Secret,
    /// The name without the icon that the API puts before it.
    NameWithoutIcon,
    /// The part of a type such as `workspace-service` before or after the hyphen.
    TypePart(usize),
}

const fn attribute(name: &'static str, field: &'static str, form: Form) -> Attribute {
    Attribute {
        name,
        field,
        form,
        is_required: false,
    }
}

const fn plain(name: &'static str) -> Attribute {
    attribute(name, name, Form::Plain)
}

const fn required(attribute: Attribute) -> Attribute {
    Attribute {
        is_required: true,
        ..attribute
    }
}

/// Fields of limits that the provider knows.
const LIMIT: &[&str] = &["type", "credit_limit", "alert_threshold", "periodic_reset"];
const KEY_LIMIT: &[&str] = &[
    "type",
    "credit_limit",
    "alert_threshold",
    "periodic_reset",
    "periodic_reset_days",
];
pub(super) const RATE: &[&str] = &["type", "unit", "value"];
pub(super) const ACCESS_LIMIT: &[&str] = LIMIT;
/// Fields of a tool, prompt or resource of an MCP server, and the types that the provider knows.
pub(super) const CAPABILITY: &[&str] = &["name", "type", "enabled"];
pub(super) const CAPABILITY_TYPES: &[&str] = &["tool", "prompt", "resource"];

const NAME: Attribute = required(plain("name"));
const WORKSPACE: Attribute = attribute("workspace_id", "workspace_id", Form::Workspace);

/// All resources, in the order of the kinds of a snapshot.
pub(super) static RESOURCES: &[TerraformResource] = &[
    TerraformResource {
        kind: "workspaces",
        resource: "portkey_workspace",
        import: ImportId::Field("id"),
        attributes: &[
            required(attribute("name", "name", Form::NameWithoutIcon)),
            plain("icon"),
            plain("description"),
            attribute("metadata", "defaults/metadata", Form::TextMap),
            attribute("usage_limits", "usage_limits", Form::Objects(LIMIT)),
            attribute("rate_limits", "rate_limits", Form::Objects(RATE)),
        ],
        computed: &["id", "slug", "is_default"],
    },
    TerraformResource {
        kind: "secret-references",
        resource: "portkey_secret_reference",
        import: ImportId::Field("slug"),
        attributes: &[
            NAME,
            required(plain("manager_type")),
            required(plain("secret_path")),
            plain("secret_key"),
            plain("slug"),
            plain("description"),
            plain("allow_all_workspaces"),
            plain("allowed_workspaces"),
            attribute("tags", "tags", Form::TextMap),
        ],
        computed: &["id", "auth_config"],
    },
    TerraformResource {
        kind: "integrations",
        resource: "portkey_integration",
        import: ImportId::Field("slug"),
        attributes: &[
            NAME,
            required(plain("ai_provider_id")),
            plain("slug"),
            plain("description"),
            attribute("workspace_id", "workspace_id", Form::Plain),
            plain("allow_all_models"),
            attribute("key", "masked_key", Form::Secret),
            attribute("configurations", "configurations", Form::Json),
            attribute(
                "secret_mappings",
                "secret_mappings",
                Form::Objects(&["target_field", "secret_reference_id", "secret_key"]),
            ),
        ],
        computed: &["id", "models", "workspaces"],
    },
    TerraformResource {
        kind: "mcp-integrations",
        resource: "portkey_mcp_integration",
        import: ImportId::Field("id"),
        attributes: &[
            NAME,
            required(plain("url")),
            required(plain("auth_type")),
            required(plain("transport")),
            plain("slug"),
            plain("description"),
            attribute("workspace_id", "workspace_id", Form::Plain),
            attribute("configurations", "configurations", Form::Json),
        ],
        computed: &["id", "workspaces", "capabilities"],
    },
    TerraformResource {
        kind: "providers",
        resource: "portkey_provider",
        import: ImportId::InWorkspace(":", "id"),
        attributes: &[
            NAME,
            required(WORKSPACE),
            required(plain("integration_id")),
            plain("slug"),
            plain("note"),
        ],
        computed: &["id"],
    },
    TerraformResource {
        kind: "guardrails",
        resource: "portkey_guardrail",
        import: ImportId::Field("slug"),
        attributes: &[
            NAME,
            required(WORKSPACE),
            required(attribute("checks", "checks", Form::Json)),
            required(attribute("actions", "actions", Form::Json)),
        ],
        computed: &["id", "slug", "target"],
    },
    TerraformResource {
        kind: "configs",
        resource: "portkey_config",
        import: ImportId::Field("slug"),
        attributes: &[
            NAME,
            WORKSPACE,
            required(attribute("config", "config", Form::Json)),
            attribute("is_default", "is_default", Form::Flag),
        ],
        computed: &["id", "slug", "format"],
    },
    TerraformResource {
        kind: "collections",
        resource: "portkey_prompt_collection",
        import: ImportId::Field("id"),
        attributes: &[NAME, required(WORKSPACE), plain("parent_collection_id")],
        computed: &["id", "slug", "is_default"],
    },
    TerraformResource {
        kind: "prompt-partials",
        resource: "portkey_prompt_partial",
        import: ImportId::InWorkspace("/", "slug"),
        attributes: &[
            NAME,
            required(attribute("content", "string", Form::Plain)),
            WORKSPACE,
            plain("version_description"),
        ],
        computed: &["id", "slug"],
    },
    TerraformResource {
        kind: "prompts",
        resource: "portkey_prompt",
        import: ImportId::Field("slug"),
        attributes: &[
            NAME,
            required(plain("collection_id")),
            required(attribute("template", "string", Form::Plain)),
            required(plain("model")),
            required(plain("virtual_key")),
            attribute("parameters", "parameters", Form::Json),
            plain("version_description"),
        ],
        computed: &[
            "id",
            "slug",
            "prompt_owning_workspace_id",
            "access_level",
            "prompt_version_labels",
        ],
    },
    TerraformResource {
        kind: "api-keys",
        resource: "portkey_api_key",
        import: ImportId::Field("id"),
        attributes: &[
            NAME,
            required(attribute("type", "type", Form::TypePart(0))),
            required(attribute("sub_type", "type", Form::TypePart(1))),
            plain("workspace_id"),
            plain("user_id"),
            plain("description"),
            plain("scopes"),
            plain("alert_emails"),
            plain("expires_at"),
            attribute("metadata", "defaults/metadata", Form::TextMap),
            attribute("config_id", "defaults/config_id", Form::Plain),
            attribute(
                "allow_config_override",
                "defaults/allow_config_override",
                Form::Plain,
            ),
            attribute("rate_limits", "rate_limits", Form::Objects(RATE)),
            attribute("usage_limits", "usage_limits", Form::Object(KEY_LIMIT)),
            attribute(
                "rotation_policy",
                "rotation_policy",
                Form::Object(&["rotation_period", "key_transition_period_ms"]),
            ),
        ],
        computed: &["id", "key", "creation_mode", "expiry_enforced"],
    },
    TerraformResource {
        kind: "usage-limits-policies",
        resource: "portkey_usage_limits_policy",
        import: ImportId::Field("id"),
        attributes: &[
            plain("name"),
            required(WORKSPACE),
            required(plain("type")),
            required(plain("credit_limit")),
            plain("alert_threshold"),
            plain("periodic_reset"),
            required(attribute("conditions", "conditions", Form::Json)),
            required(attribute("group_by", "group_by", Form::Json)),
        ],
        computed: &["id"],
    },
    TerraformResource {
        kind: "rate-limits-policies",
        resource: "portkey_rate_limits_policy",
        import: ImportId::Field("id"),
        attributes: &[
            plain("name"),
            required(WORKSPACE),
            required(plain("type")),
            required(plain("unit")),
            required(plain("value")),
            required(attribute("conditions", "conditions", Form::Json)),
            required(attribute("group_by", "group_by", Form::Json)),
        ],
        computed: &["id"],
    },
    TerraformResource {
        kind: "scim-workspace-mappings",
        resource: "portkey_scim_workspace_mapping",
        import: ImportId::InWorkspace("/", "id"),
        attributes: &[
            required(WORKSPACE),
            required(plain("role")),
            required(plain("scim_group_id")),
        ],
        computed: &["id", "scim_group"],
    },
    TerraformResource {
        kind: "user-invites",
        resource: "portkey_user_invite",
        import: ImportId::Field("id"),
        attributes: &[required(plain("email")), required(plain("role"))],
        computed: &["id", "expires_at", "invited_by"],
    },
    TerraformResource {
        kind: "members",
        resource: "portkey_workspace_member",
        import: ImportId::InWorkspace("/", "id"),
        attributes: &[
            required(attribute("user_id", "id", Form::Plain)),
            required(WORKSPACE),
            required(plain("role")),
        ],
        computed: &["id", "email", "first_name", "last_name", "org_role"],
    },
];

/// The block with the sign-in of a secret reference.
pub(super) struct AuthBlock {
    /// Field of `auth_config` with the way to sign in, and its value.
    pub(super) selector: (&'static str, &'static str),
    pub(super) name: &'static str,
    /// Fields that the block has.
    pub(super) fields: &'static [&'static str],
}

/// All such blocks.
pub(super) static AUTH_BLOCKS: &[AuthBlock] = &[
    AuthBlock {
        selector: ("aws_auth_type", "accessKey"),
        name: "aws_access_key_auth",
        fields: &["aws_region", "aws_access_key_id", "aws_secret_access_key"],
    },
    AuthBlock {
        selector: ("aws_auth_type", "assumedRole"),
        name: "aws_assumed_role_auth",
        fields: &["aws_region", "aws_role_arn", "aws_external_id"],
    },
    AuthBlock {
        selector: ("aws_auth_type", "serviceRole"),
        name: "aws_service_role_auth",
        fields: &["aws_region"],
    },
    AuthBlock {
        selector: ("azure_auth_mode", "entra"),
        name: "azure_entra_auth",
        fields: &[
            "azure_vault_url",
            "azure_entra_tenant_id",
            "azure_entra_client_id",
            "azure_entra_client_secret",
        ],
    },
    AuthBlock {
        selector: ("azure_auth_mode", "managed"),
        name: "azure_managed_auth",
        fields: &["azure_vault_url", "azure_managed_client_id"],
    },
    AuthBlock {
        selector: ("vault_auth_type", "token"),
        name: "vault_token_auth",
        fields: &["vault_addr", "vault_namespace", "vault_token"],
    },
    AuthBlock {
        selector: ("vault_auth_type", "approle"),
        name: "vault_approle_auth",
        fields: &[
            "vault_addr",
            "vault_namespace",
            "vault_role_id",
            "vault_secret_id",
        ],
    },
    AuthBlock {
        selector: ("vault_auth_type", "kubernetes"),
        name: "vault_kubernetes_auth",
        fields: &["vault_addr", "vault_namespace", "vault_role"],
    },
];
