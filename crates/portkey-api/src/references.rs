//! References between resources: which reads show them, and where they stand in the answers.
//!
//! One table for all kinds. A new field that names another resource is a row here, not code.

/// A kind of resource. The order is that of summaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words say it")]
pub enum ResourceKind {
    Workspace,
    Provider,
    VirtualKey,
    Config,
    Prompt,
    Partial,
    Guardrail,
    ApiKey,
    Integration,
    McpIntegration,
    McpServer,
    SecretReference,
    UsagePolicy,
    RatePolicy,
    Deployment,
    Organisation,
    Collection,
    Label,
    User,
    Member,
    PolicyGroup,
    ScimMapping,
}

/// Properties of a kind whose usages can be found.
#[derive(Clone, Copy, Debug)]
pub struct KindRow {
    /// The kind.
    pub kind: ResourceKind,
    /// Operation that reads one resource.
    pub read: &'static str,
    /// Argument of the read, and of other operations, that names the resource.
    pub argument: &'static str,
    /// Filter of analytics by which its traffic is counted.
    pub traffic: Option<TrafficFilter>,
    /// Kind of the resources that stand in for it: a reference to one of them is a use of it.
    pub through: Option<ResourceKind>,
    /// Field of the answer of the read with rows, of which one is the resource; `None` if the read takes
    /// `argument` and returns the resource.
    pub listed_in: Option<&'static str>,
    /// True if the read takes `workspace_id`, too.
    pub is_in_workspace: bool,
    /// Resources that it serves: references in the resource itself to what loses something without it. The kind is the first
    /// target of each.
    pub serves: &'static [Reference],
}

/// A filter of `get-requests-graph`.
#[derive(Clone, Copy, Debug)]
pub struct TrafficFilter {
    /// Argument of the operation.
    pub argument: &'static str,
    /// Resources that the filter names: those that refer to the target, or the target itself.
    pub of_referrers: Option<ResourceKind>,
    /// True if the filter takes ids, false if it takes slugs.
    pub by_id: bool,
}

/// A list of resources that may refer to others.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Kind of the listed resources.
    pub referrer: ResourceKind,
    /// Operation that lists them.
    pub list: &'static str,
    /// Arguments of the list.
    pub scope: ListScope,
    /// Field of the answer with the rows; empty if the answer is the only row.
    pub rows: &'static str,
    /// Field whose presence says that another source lists the row, too.
    pub without: Option<&'static str>,
    /// Places of references.
    pub references: &'static [Reference],
}

/// Arguments of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope {
    /// None: the whole organisation.
    Organisation,
    /// `workspace_id`, which Admin keys may need.
    Workspace,
    /// The target: the list is that of what uses it.
    Target(ResourceKind),
}

/// Places of references of one form, in the rows of a list or in what a further read returns.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Kinds that are referred to.
    pub targets: &'static [ResourceKind],
    /// Paths: names with dots, `items` for the rows of a list that a further read returns, `[]` for items, `[x]` for items whose `x` is not false, `*` for any
    /// field, `**` for any depth, `{}` for the names of fields.
    pub at: &'static [&'static str],
    /// Form of the reference.
    pub form: ReferenceForm,
    /// Read that shows the places; without it the rows of the list do.
    pub read: Option<DetailRead>,
}

/// Form in which a resource is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceForm {
    /// The id or the slug.
    Handle,
    /// `slug`, `@slug` or `@slug/model`.
    Provider,
    /// `{{>slug}}` inside a text.
    Template,
    /// A condition of a policy with one of these keys.
    Condition(&'static [&'static str]),
}

/// A read of one listed resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetailRead {
    /// Operation that reads it.
    pub operation: &'static str,
    /// Argument that names it.
    pub argument: &'static str,
    /// Field of the row with the value of the argument.
    pub field: &'static str,
}

use portkey_operation::JsonMap;
use serde_json::Value;

use ReferenceForm::{Condition, Handle, Provider as ProviderForm, Template};
use ResourceKind::{
    ApiKey, Collection, Config, Deployment, Guardrail, Integration, Label, McpIntegration,
    McpServer, Member, Organisation, Partial, PolicyGroup, Prompt, Provider, RatePolicy,
    ScimMapping, SecretReference, UsagePolicy, User, VirtualKey, Workspace,
};

impl ResourceKind {
    /// Returns the name in arguments and answers.
    pub const fn as_str(self) -> &'static str {
        self.names().0
    }

    /// Returns the noun for a number of resources.
    pub const fn noun(self, count: usize) -> &'static str {
        let (_, one, many) = self.names();
        if count == 1 { one } else { many }
    }

    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Workspace => ("workspace", "workspace", "workspaces"),
            Provider => ("provider", "provider", "providers"),
            VirtualKey => ("virtual_key", "virtual key", "virtual keys"),
            Config => ("config", "config", "configs"),
            Prompt => ("prompt", "prompt", "prompts"),
            Partial => ("partial", "partial", "partials"),
            Guardrail => ("guardrail", "guardrail", "guardrails"),
            ApiKey => ("api_key", "API key", "API keys"),
            Integration => ("integration", "integration", "integrations"),
            McpIntegration => ("mcp_integration", "MCP integration", "MCP integrations"),
            McpServer => ("mcp_server", "MCP server", "MCP servers"),
            SecretReference => ("secret_reference", "secret reference", "secret references"),
            UsagePolicy => ("usage_limits_policy", "budget policy", "budget policies"),
            RatePolicy => ("rate_limits_policy", "rate policy", "rate policies"),
            Deployment => ("deployment", "deployment", "deployments"),
            Organisation => (
                "organisation",
                "organisation default",
                "organisation defaults",
            ),
            Collection => ("collection", "collection", "collections"),
            Label => ("label", "label", "labels"),
            User => ("user", "user", "users"),
            Member => ("workspace_member", "workspace member", "workspace members"),
            PolicyGroup => ("policy_group", "counted group", "counted groups"),
            ScimMapping => ("scim_workspace_mapping", "SCIM mapping", "SCIM mappings"),
        }
    }
}

/// Finds the row of a kind, also of one whose usages only an impact shows.
pub fn row_of(kind: ResourceKind) -> Option<&'static KindRow> {
    KINDS
        .iter()
        .chain(IMPACT_KINDS)
        .find(|row| row.kind == kind)
}

/// Finds the row of a kind by its name.
pub fn find_kind(name: &str) -> Option<&'static KindRow> {
    KINDS.iter().find(|row| row.kind.as_str() == name)
}

const fn traffic(argument: &'static str) -> Option<TrafficFilter> {
    Some(TrafficFilter {
        argument,
        of_referrers: None,
        by_id: false,
    })
}

const fn traffic_of(argument: &'static str, referrers: ResourceKind) -> Option<TrafficFilter> {
    Some(TrafficFilter {
        argument,
        of_referrers: Some(referrers),
        by_id: false,
    })
}

const fn kind(
    kind: ResourceKind,
    read: &'static str,
    argument: &'static str,
    traffic: Option<TrafficFilter>,
) -> KindRow {
    KindRow {
        kind,
        read,
        argument,
        traffic,
        through: None,
        listed_in: None,
        is_in_workspace: false,
        serves: &[],
    }
}

/// All kinds whose usages can be found.
pub static KINDS: &[KindRow] = &[
    KindRow {
        through: Some(Provider),
        ..kind(
            Integration,
            "get-integration",
            "slug",
            traffic_of("virtual_keys", Provider),
        )
    },
    KindRow {
        is_in_workspace: true,
        ..kind(Provider, "get-provider", "slug", traffic("virtual_keys"))
    },
    kind(
        VirtualKey,
        "get-virtual-key",
        "slug",
        traffic("virtual_keys"),
    ),
    kind(Config, "get-config", "slug", traffic("configs")),
    kind(Prompt, "get-prompt", "prompt_id", traffic("prompt_slug")),
    kind(
        Partial,
        "get-prompt-partial",
        "prompt_partial_id",
        traffic_of("prompt_slug", Prompt),
    ),
    kind(
        Guardrail,
        "get-guardrail",
        "guardrail_id",
        traffic_of("configs", Config),
    ),
    kind(
        ApiKey,
        "get-api-key",
        "id",
        Some(TrafficFilter {
            argument: "api_key_ids",
            of_referrers: None,
            by_id: true,
        }),
    ),
    kind(
        McpIntegration,
        "get-mcp-integration",
        "mcp_integration_id",
        None,
    ),
    kind(McpServer, "get-mcp-server", "mcp_server_id", None),
    kind(
        SecretReference,
        "get-secret-reference",
        "secret_reference_id",
        None,
    ),
    kind(
        Workspace,
        "get-workspace",
        "workspace_id",
        traffic("workspace_slug"),
    ),
];

/// Kinds whose usages are looked up before they are deleted or restricted, and for nothing else.
pub static IMPACT_KINDS: &[KindRow] = &[
    kind(
        Collection,
        "get-collection",
        "collection_id",
        traffic_of("prompt_slug", Prompt),
    ),
    kind(Label, "get-label", "label_id", None),
    KindRow {
        serves: &[handles(&[Workspace], &["workspace_ids[]"])],
        ..kind(
            User,
            "get-user",
            "user_id",
            traffic_of("api_key_ids", ApiKey),
        )
    },
    KindRow {
        is_in_workspace: true,
        ..kind(
            Member,
            "get-workspace-member",
            "user_id",
            traffic_of("api_key_ids", ApiKey),
        )
    },
    KindRow {
        serves: CONDITIONS,
        ..kind(
            UsagePolicy,
            "get-usage-limits-policy",
            "policy_usage_limits_id",
            None,
        )
    },
    KindRow {
        serves: CONDITIONS,
        ..kind(
            RatePolicy,
            "get-rate-limits-policy",
            "rate_limits_policy_id",
            None,
        )
    },
    KindRow {
        serves: DEPLOYMENT_WORKSPACES,
        ..kind(Deployment, "get-deployment", "deployment_id", None)
    },
    KindRow {
        // Portkey has no read of one mapping.
        listed_in: Some("mappings"),
        serves: &[handles(&[Workspace], &["workspace_id"])],
        ..kind(
            ScimMapping,
            "list-scim-workspace-mappings",
            "scim_workspace_group_id",
            None,
        )
    },
];

const fn detail(
    operation: &'static str,
    argument: &'static str,
    field: &'static str,
) -> Option<DetailRead> {
    Some(DetailRead {
        operation,
        argument,
        field,
    })
}

const fn handles(targets: &'static [ResourceKind], at: &'static [&'static str]) -> Reference {
    Reference {
        targets,
        at,
        form: Handle,
        read: None,
    }
}

const fn list(
    referrer: ResourceKind,
    list: &'static str,
    scope: ListScope,
    references: &'static [Reference],
) -> Source {
    Source {
        referrer,
        list,
        scope,
        rows: "data",
        without: None,
        references,
    }
}

const CONFIG_DOCUMENT: Option<DetailRead> = detail("get-config", "slug", "slug");
const PROMPT_VERSION: Option<DetailRead> = detail("get-prompt", "prompt_id", "id");
const WORKSPACE_DEFAULTS: Option<DetailRead> = detail("get-workspace", "workspace_id", "id");

/// Workspaces that a deployment serves.
const DEPLOYMENT_WORKSPACES: &[Reference] = &[handles(
    &[Workspace],
    &[
        "auth_settings.workspaces_allowed[]",
        "auth_settings.jwt_sub_workspace_mapping.*",
    ],
)];

const SECRET_MAPPINGS: &[&str] = &["secret_mappings[].secret_reference_id"];

/// Conditions of policies on usage and on rates.
const CONDITIONS: &[Reference] = &[
    condition(&[Provider, VirtualKey], &["virtual_key", "provider"]),
    condition(&[Config], &["config"]),
    condition(&[Prompt], &["prompt"]),
    condition(&[ApiKey], &["api_key"]),
    condition(
        &[McpServer],
        &["mcp_server", "mcp_server_id", "mcp_server_slug"],
    ),
    condition(&[Workspace], &["workspace_id"]),
];

const fn condition(targets: &'static [ResourceKind], keys: &'static [&'static str]) -> Reference {
    Reference {
        targets,
        at: &["conditions[]"],
        form: Condition(keys),
        read: None,
    }
}

/// All lists that show references.
pub static SOURCES: &[Source] = &[
    Source {
        rows: "workspaces",
        ..list(
            Workspace,
            "list-integration-workspaces",
            ListScope::Target(Integration),
            &[],
        )
    },
    Source {
        rows: "workspaces",
        ..list(
            Workspace,
            "list-mcp-integration-workspaces",
            ListScope::Target(McpIntegration),
            &[],
        )
    },
    list(
        PolicyGroup,
        "list-usage-limits-policy-entities",
        ListScope::Target(UsagePolicy),
        &[],
    ),
    list(
        Workspace,
        "list-all-workspaces",
        ListScope::Organisation,
        &[
            Reference {
                read: WORKSPACE_DEFAULTS,
                ..handles(
                    &[Guardrail],
                    &[
                        "defaults.input_guardrails[]",
                        "defaults.input_guardrails[].id",
                        "defaults.output_guardrails[]",
                        "defaults.output_guardrails[].id",
                        "input_guardrails[]",
                        "input_guardrails[].id",
                        "output_guardrails[]",
                        "output_guardrails[].id",
                    ],
                )
            },
            Reference {
                read: WORKSPACE_DEFAULTS,
                ..handles(&[Config], &["defaults.user_api_key_config"])
            },
        ],
    ),
    list(
        Provider,
        "list-all-providers",
        ListScope::Workspace,
        &[handles(&[Integration], &["integration_id"])],
    ),
    Source {
        // Providers are listed as virtual keys, too.
        without: Some("integration_id"),
        ..list(
            VirtualKey,
            "list-all-virtual-keys",
            ListScope::Workspace,
            &[Reference {
                read: detail("get-virtual-key", "slug", "slug"),
                ..handles(&[SecretReference], SECRET_MAPPINGS)
            }],
        )
    },
    list(
        Config,
        "list-all-configs",
        ListScope::Workspace,
        &[
            Reference {
                form: ProviderForm,
                read: CONFIG_DOCUMENT,
                ..handles(
                    &[Provider, VirtualKey],
                    &["config.**.provider", "config.**.virtual_key"],
                )
            },
            Reference {
                read: CONFIG_DOCUMENT,
                ..handles(&[Integration], &["config.**.integration"])
            },
            Reference {
                read: CONFIG_DOCUMENT,
                ..handles(&[Config], &["config.**.config", "config.**.config_id"])
            },
            Reference {
                read: CONFIG_DOCUMENT,
                ..handles(&[Prompt], &["config.**.prompt_id"])
            },
            Reference {
                read: CONFIG_DOCUMENT,
                ..handles(
                    &[Guardrail],
                    &[
                        "config.**.input_guardrails[]",
                        "config.**.input_guardrails[].id",
                        "config.**.output_guardrails[]",
                        "config.**.output_guardrails[].id",
                        "config.**.before_request_hooks[]",
                        "config.**.before_request_hooks[].id",
                        "config.**.after_request_hooks[]",
                        "config.**.after_request_hooks[].id",
                    ],
                )
            },
        ],
    ),
    list(
        Prompt,
        "list-prompts",
        ListScope::Workspace,
        &[
            Reference {
                form: ProviderForm,
                read: PROMPT_VERSION,
                ..handles(&[Provider, VirtualKey], &["virtual_key"])
            },
            Reference {
                form: Template,
                read: PROMPT_VERSION,
                ..handles(&[Partial], &["string"])
            },
            handles(&[Collection], &["collection_id"]),
            Reference {
                read: detail("list-prompt-versions", "prompt_id", "id"),
                ..handles(&[Label], &["items[].label_id"])
            },
        ],
    ),
    list(
        Partial,
        "list-prompt-partials",
        ListScope::Workspace,
        &[
            Reference {
                form: Template,
                read: detail("get-prompt-partial", "prompt_partial_id", "id"),
                ..handles(&[Partial], &["string"])
            },
            handles(&[Collection], &["collection_id"]),
        ],
    ),
    list(
        Collection,
        "list-collections",
        ListScope::Workspace,
        &[handles(&[Collection], &["parent_collection_id"])],
    ),
    list(
        Guardrail,
        "list-guardrails",
        ListScope::Workspace,
        &[Reference {
            read: detail("list-guardrail-mcp-servers", "guardrail_id", "id"),
            ..handles(&[McpServer], &["mcp_servers.{}"])
        }],
    ),
    list(
        ApiKey,
        "list-all-api-keys",
        ListScope::Workspace,
        &[
            handles(&[Config], &["defaults.config_id"]),
            handles(&[User, Member], &["user_id"]),
        ],
    ),
    list(
        Integration,
        "list-all-integrations",
        ListScope::Organisation,
        &[
            Reference {
                read: detail("get-integration", "slug", "slug"),
                ..handles(&[SecretReference], SECRET_MAPPINGS)
            },
            Reference {
                read: detail("list-integration-workspaces", "slug", "slug"),
                ..handles(&[Workspace], &["workspaces[enabled].id"])
            },
        ],
    ),
    list(
        McpIntegration,
        "list-mcp-integrations",
        ListScope::Organisation,
        &[
            handles(&[SecretReference], SECRET_MAPPINGS),
            Reference {
                read: detail(
                    "list-mcp-integration-workspaces",
                    "mcp_integration_id",
                    "id",
                ),
                ..handles(&[Workspace], &["workspaces[enabled].id"])
            },
        ],
    ),
    list(
        McpServer,
        "list-mcp-servers",
        ListScope::Workspace,
        &[
            handles(
                &[McpIntegration],
                &["mcp_integration_id", "mcp_integration_slug"],
            ),
            Reference {
                // Everybody else has what the server has for all.
                read: detail("list-mcp-server-user-access", "mcp_server_id", "id"),
                ..handles(&[User, Member], &["items[has_override].user_id"])
            },
        ],
    ),
    list(
        SecretReference,
        "list-secret-references",
        ListScope::Organisation,
        &[Reference {
            read: detail("get-secret-reference", "secret_reference_id", "id"),
            ..handles(&[Workspace], &["allowed_workspaces[]"])
        }],
    ),
    list(
        UsagePolicy,
        "list-usage-limits-policies",
        ListScope::Workspace,
        CONDITIONS,
    ),
    list(
        RatePolicy,
        "list-rate-limits-policies",
        ListScope::Workspace,
        CONDITIONS,
    ),
    list(
        Deployment,
        "list-deployments",
        ListScope::Organisation,
        DEPLOYMENT_WORKSPACES,
    ),
    Source {
        rows: "",
        ..list(
            Organisation,
            "get-organisation-defaults",
            ListScope::Organisation,
            &[handles(
                &[Guardrail],
                &[
                    "input_guardrails[].id",
                    "input_guardrails[].slug",
                    "output_guardrails[].id",
                    "output_guardrails[].slug",
                ],
            )],
        )
    },
];

/// A write that removes or restricts what others use.
#[derive(Clone, Copy, Debug)]
pub struct Restriction {
    /// Name of the operation.
    pub operation: &'static str,
    /// Kind of the target.
    pub kind: ResourceKind,
    /// Argument that names the target.
    pub argument: &'static str,
    /// Arguments with which the write restricts.
    pub when: RestrictsWhen,
}

/// Arguments with which a write restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestrictsWhen {
    /// Any.
    Always,
    /// `status` other than `active`, or one of these fields, which may narrow what is permitted.
    Narrows(&'static [&'static str]),
    /// A permission that is false anywhere, or one of these flags, which replace a whole list.
    Disables(&'static [&'static str]),
}

const fn deletes(
    operation: &'static str,
    kind: ResourceKind,
    argument: &'static str,
) -> Restriction {
    Restriction {
        operation,
        kind,
        argument,
        when: RestrictsWhen::Always,
    }
}

const fn narrows(
    operation: &'static str,
    kind: ResourceKind,
    argument: &'static str,
    fields: &'static [&'static str],
) -> Restriction {
    Restriction {
        operation,
        kind,
        argument,
        when: RestrictsWhen::Narrows(fields),
    }
}

const fn disables(
    operation: &'static str,
    kind: ResourceKind,
    argument: &'static str,
    flags: &'static [&'static str],
) -> Restriction {
    Restriction {
        operation,
        kind,
        argument,
        when: RestrictsWhen::Disables(flags),
    }
}

/// Fields that permit something where they are true.
const PERMISSIONS: &[&str] = &["enabled", "allow_all_models", "allow_all_workspaces"];

/// Maximum depth at which arguments are searched for a permission.
const MAX_ARGUMENT_DEPTH: usize = 8;

impl Restriction {
    /// Finds the restriction that a call makes, if it makes one.
    pub fn of_call(operation: &str, args: &JsonMap) -> Option<&'static Self> {
        RESTRICTIONS
            .iter()
            .find(|row| row.operation == operation && row.applies_to(args))
    }

    fn applies_to(&self, args: &JsonMap) -> bool {
        let names_any = |names: &[&str]| names.iter().any(|name| args.contains_key(*name));
        match self.when {
            RestrictsWhen::Always => true,
            RestrictsWhen::Narrows(fields) => {
                let status = args.get("status").and_then(Value::as_str);
                status.is_some_and(|status| status != "active") || names_any(fields)
            }
            RestrictsWhen::Disables(flags) => {
                let is_set = |name: &&str| args.get(*name) == Some(&Value::Bool(true));
                flags.iter().any(is_set)
                    || args.values().any(|value| forbids(value, 0))
                    || PERMISSIONS
                        .iter()
                        .any(|name| args.get(*name) == Some(&Value::Bool(false)))
            }
        }
    }
}

/// Returns true if a value has a permission that is false.
fn forbids(value: &Value, depth: usize) -> bool {
    match value {
        _ if depth > MAX_ARGUMENT_DEPTH => false,
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let is_permission = PERMISSIONS.contains(&name.as_str());
            is_permission && *value == Value::Bool(false) || forbids(value, depth + 1)
        }),
        Value::Array(items) => items.iter().any(|item| forbids(item, depth + 1)),
        _ => false,
    }
}

/// All writes that delete or restrict.
pub static RESTRICTIONS: &[Restriction] = &[
    deletes("delete-integration", Integration, "slug"),
    deletes("delete-provider", Provider, "slug"),
    deletes("delete-virtual-key", VirtualKey, "slug"),
    deletes("delete-config", Config, "slug"),
    deletes("delete-prompt", Prompt, "prompt_id"),
    deletes("delete-prompt-partial", Partial, "prompt_partial_id"),
    deletes("delete-guardrail", Guardrail, "guardrail_id"),
    deletes("delete-api-key", ApiKey, "id"),
    deletes(
        "delete-mcp-integration",
        McpIntegration,
        "mcp_integration_id",
    ),
    deletes("delete-mcp-server", McpServer, "mcp_server_id"),
    deletes(
        "delete-secret-reference",
        SecretReference,
        "secret_reference_id",
    ),
    deletes("delete-workspace", Workspace, "workspace_id"),
    deletes("delete-collection", Collection, "collection_id"),
    deletes("delete-label", Label, "label_id"),
    deletes("delete-deployment", Deployment, "deployment_id"),
    deletes(
        "delete-usage-limits-policy",
        UsagePolicy,
        "policy_usage_limits_id",
    ),
    deletes(
        "delete-rate-limits-policy",
        RatePolicy,
        "rate_limits_policy_id",
    ),
    deletes(
        "delete-scim-workspace-mapping",
        ScimMapping,
        "scim_workspace_group_id",
    ),
    deletes("remove-user", User, "user_id"),
    deletes("remove-workspace-member", Member, "user_id"),
    // The secret that is in use ends.
    deletes("rotate-api-key", ApiKey, "id"),
    deletes("bulk-delete-integration-models", Integration, "slug"),
    disables("bulk-update-integration-models", Integration, "slug", &[]),
    disables(
        "bulk-update-integration-workspaces",
        Integration,
        "slug",
        &["override_existing_workspace_access"],
    ),
    disables(
        "bulk-update-mcp-integration-workspaces",
        McpIntegration,
        "mcp_integration_id",
        &["override_existing_workspace_access"],
    ),
    disables(
        "bulk-update-mcp-integration-capabilities",
        McpIntegration,
        "mcp_integration_id",
        &[],
    ),
    disables(
        "bulk-update-mcp-server-capabilities",
        McpServer,
        "mcp_server_id",
        &[],
    ),
    narrows(
        "bulk-update-mcp-server-user-access",
        McpServer,
        "mcp_server_id",
        &["default_user_access", "user_access"],
    ),
    narrows("update-integration", Integration, "slug", &[]),
    narrows(
        "update-provider",
        Provider,
        "slug",
        &["usage_limits", "rate_limits", "expires_at"],
    ),
    narrows(
        "update-virtual-key",
        VirtualKey,
        "slug",
        &["usage_limits", "rate_limits", "expires_at"],
    ),
    narrows("update-config", Config, "slug", &[]),
    narrows("update-guardrail", Guardrail, "guardrail_id", &[]),
    narrows(
        "update-api-key",
        ApiKey,
        "id",
        &["scopes", "usage_limits", "rate_limits", "expires_at"],
    ),
    narrows(
        "update-mcp-integration",
        McpIntegration,
        "mcp_integration_id",
        &[],
    ),
    narrows("update-mcp-server", McpServer, "mcp_server_id", &[]),
    narrows("update-prompt-partial", Partial, "prompt_partial_id", &[]),
    narrows(
        "update-deployment",
        Deployment,
        "deployment_id",
        &["auth_settings", "rotate_auth"],
    ),
    narrows(
        "update-usage-limits-policy",
        UsagePolicy,
        "policy_usage_limits_id",
        &["credit_limit", "conditions", "group_by"],
    ),
    narrows(
        "update-rate-limits-policy",
        RatePolicy,
        "rate_limits_policy_id",
        &["value", "unit", "conditions", "group_by"],
    ),
    narrows(
        "update-secret-reference",
        SecretReference,
        "secret_reference_id",
        &["allowed_workspaces", "allow_all_workspaces"],
    ),
    narrows(
        "update-workspace",
        Workspace,
        "workspace_id",
        &["usage_limits", "rate_limits"],
    ),
];

/// Writes that take something away and have no row in [`RESTRICTIONS`], each with the reason.
pub static WITHOUT_IMPACT: &[(&str, &str)] = &[
    (
        "update-organisation-defaults",
        "the changes name the guardrails; every workspace has the defaults",
    ),
    (
        "bulk-update-input-guardrail-exclusions",
        "the changes name the workspaces",
    ),
    (
        "bulk-update-output-guardrail-exclusions",
        "the changes name the workspaces",
    ),
    (
        "replace-guardrail-mcp-servers",
        "the changes name the servers",
    ),
    (
        "delete-mcp-server-connection",
        "the call names the user, and nobody else has the connection",
    ),
    ("delete-invite", "nobody has joined by it yet"),
    (
        "cancel-log-export",
        "nothing refers to an export, and another one can be made",
    ),
    (
        "reset-usage-limits-policy-entity",
        "a count begins anew, and nobody loses anything",
    ),
    (
        "delete-agent-integration",
        "preview: which reads show its users is not documented",
    ),
    (
        "delete-agent-server",
        "preview: which reads show its users is not documented",
    ),
    (
        "bulk-update-agent-integration-workspaces",
        "the changes name the workspaces",
    ),
    (
        "delete-prompt-tool",
        "preview: which reads show its users is not documented",
    ),
    (
        "migrate-virtual-keys",
        "preview: Portkey keeps the slugs by which others name the key",
    ),
    (
        "modify-mcp-gateway",
        "Enkrypt AI has no read of who uses a gateway; the changes name its servers",
    ),
];
