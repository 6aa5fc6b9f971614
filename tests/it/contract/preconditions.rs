//! Conditions of a successful call that the schema does not express: referenced resources and prior
//! calls.

use http::Method;
use portkey_api::domains::DOMAINS;
use portkey_operation::{JsonMap, Operation};
use serde_json::Value;

use super::generate::Extent;

/// The source of an argument value: a field of an item that a tool lists or creates.
pub(super) struct ValueSource {
    pub(super) tool: &'static str,
    /// A field name or a JSON pointer.
    pub(super) field: &'static str,
    /// The item to use. The default is the first one.
    pub(super) filter: ItemFilter,
}

/// A field and its required value in an item.
type ItemFilter = Option<(&'static str, &'static str)>;

/// The targets of arguments: the argument's name, the tool, the field, and the filter of items.
///
/// The workspace is the one that has nearly every kind of resource.
const REFERENCES: &[(&str, &str, &str, ItemFilter)] = &[
    (
        "workspace_id",
        "list-all-workspaces",
        "id",
        Some(("slug", "ws-support-bot")),
    ),
    (
        "workspace_slug",
        "list-all-workspaces",
        "slug",
        Some(("slug", "ws-support-bot")),
    ),
    ("allowed_workspaces", "list-all-workspaces", "slug", None),
    ("workspaces_allowed", "list-all-workspaces", "slug", None),
    (
        "remove_workspaces_allowed",
        "list-all-workspaces",
        "slug",
        None,
    ),
    (
        "organisation_id",
        "list-all-api-keys",
        "organisation_id",
        None,
    ),
    ("collection_id", "list-collections", "id", None),
    ("parent_collection_id", "list-collections", "id", None),
    ("user_id", "list-users", "id", None),
    ("users", "list-users", "id", None),
    ("integration_id", "list-all-integrations", "slug", None),
    ("mcp_integration_id", "list-mcp-integrations", "id", None),
    ("mcp_server_id", "list-mcp-servers", "id", None),
    (
        "agent_integration_id",
        "list-agent-integrations",
        "id",
        None,
    ),
    ("organisation_integration_id", "create-plugin", "id", None),
    ("virtual_key_id", "list-all-virtual-keys", "id", None),
    ("guardrail_id", "list-guardrails", "id", None),
    ("input_guardrails", "list-guardrails", "id", None),
    ("output_guardrails", "list-guardrails", "id", None),
    ("label_id", "list-labels", "id", None),
    ("config_id", "list-all-configs", "slug", None),
    ("user_api_key_config", "list-all-configs", "slug", None),
    (
        "secret_reference_id",
        "list-all-secret-references",
        "id",
        None,
    ),
    ("scim_group_id", "list-scim-groups", "id", None),
    ("virtual_key", "list-all-providers", "slug", None),
    ("log_id", "insert-logs", "/log_ids/0", None),
    ("cursor", "list-mcp-servers", "id", None),
];

/// The tool, the argument's path, the other tool, its field, and the filter for each set, in turn.
///
/// Targets of single arguments of one tool that need another item than the first, or another item
/// in each set.
const TOOL_REFERENCES: &[(&str, &str, &str, &str, &[ItemFilter])] = &[
    (
        "add-workspace-member",
        "users[].id",
        "list-users",
        "id",
        &[None],
    ),
    (
        "bulk-delete-integration-models",
        "slugs[]",
        "list-integration-models",
        "slug",
        // Only a model that was added by hand can be removed.
        &[Some(("slug", "support-classifier"))],
    ),
    (
        "bulk-update-integration-workspaces",
        "workspaces[].id",
        "list-all-workspaces",
        "slug",
        &[None],
    ),
    (
        "bulk-update-mcp-integration-workspaces",
        "workspaces[].id",
        "list-all-workspaces",
        "slug",
        &[None],
    ),
    (
        "bulk-update-mcp-server-user-access",
        "user_access[].user_id",
        "list-mcp-server-user-access",
        "user_id",
        &[None],
    ),
    (
        "get-config-version",
        "version_id",
        "list-config-versions",
        "version_id",
        &[None],
    ),
    (
        "delete-mcp-server-connection",
        "user_id",
        "list-mcp-server-connections",
        "user_id",
        &[None],
    ),
    (
        "invite-user",
        "workspaces[].id",
        "list-all-workspaces",
        "slug",
        &[None],
    ),
    ("remove-user", "user_id", "list-users", "id", MEMBER_ROLE),
    (
        "remove-workspace-member",
        "user_id",
        "list-workspace-members",
        "id",
        MEMBER_ROLE,
    ),
    (
        "set-guardrail-mcp-server",
        "guardrail_id",
        "list-guardrails",
        "id",
        TOOL_CALLS_GUARDRAIL,
    ),
    (
        "replace-guardrail-mcp-servers",
        "guardrail_id",
        "list-guardrails",
        "id",
        TOOL_CALLS_GUARDRAIL,
    ),
    (
        "update-feedback",
        "id",
        "create-feedback",
        "/feedback_ids/0",
        &[None],
    ),
    // The API refuses the role that the user already has (docs/portkey-api-notes.md#updates).
    (
        "update-user",
        "user_id",
        "list-users",
        "id",
        &[Some(("role", "member")), Some(("role", "admin"))],
    ),
    // Other references are resolved in the configs of this workspace.
    (
        "update-workspace",
        "workspace_id",
        "list-all-workspaces",
        "id",
        &[Some(("slug", "ws-support-bot"))],
    ),
    (
        "set-guardrail-mcp-server",
        "mcp_server_id",
        "list-mcp-servers",
        "id",
        &[None],
    ),
    (
        "create-scim-workspace-mapping",
        "scim_group_id",
        "list-scim-groups",
        "id",
        &[
            Some(("displayName", "Support Agents")),
            None,
            Some(("displayName", "Research Engineers")),
            None,
            Some(("displayName", "Support Agents")),
            None,
        ],
    ),
];

const MEMBER_ROLE: &[ItemFilter] = &[Some(("role", "member"))];
const TOOL_CALLS_GUARDRAIL: &[ItemFilter] = &[Some(("slug", "guard_tool-calls"))];

/// Optional arguments that the API requires all the same. A key of an organisation does not imply a
/// workspace (docs/portkey-api-notes.md#authentication-and-scopes), or the document requires less
/// than the API (#required-fields). Lists are requested for one workspace, so that the referenced
/// resources belong together.
const REQUIRED_BY_API: &[(&str, &[&str])] = &[
    ("bulk-update-integration-workspaces", &["workspaces"]),
    ("create-agent-server", &["workspace_id"]),
    ("create-collection", &["workspace_id"]),
    ("create-config", &["name", "config", "workspace_id"]),
    ("create-guardrail", &["checks", "actions", "workspace_id"]),
    ("create-integration", &["key"]),
    ("create-log-export", &["workspace_id"]),
    ("create-mcp-server", &["workspace_id"]),
    ("create-prompt-partial", &["workspace_id"]),
    ("create-prompt-completion", &["variables"]),
    ("create-provider", &["workspace_id"]),
    ("create-rate-limits-policy", &["workspace_id"]),
    ("create-usage-limits-policy", &["workspace_id"]),
    (
        "create-virtual-key",
        &["name", "provider", "key", "workspace_id"],
    ),
    ("create-workspace", &["name"]),
    ("delete-mcp-server-connection", &["user_id"]),
    ("delete-provider", &["workspace_id"]),
    ("get-log-export-field-restrictions", &["workspace_id"]),
    ("get-provider", &["workspace_id"]),
    ("list-all-configs", &["workspace_id"]),
    ("list-all-providers", &["workspace_id"]),
    ("list-audit-logs", &["start_time", "end_time"]),
    ("list-collections", &["workspace_id"]),
    ("list-guardrails", &["workspace_id"]),
    ("list-mcp-servers", &["workspace_id"]),
    ("list-prompt-partials", &["workspace_id"]),
    ("list-prompts", &["workspace_id"]),
    ("list-rate-limits-policies", &["workspace_id"]),
    ("list-registry-mcp-servers", &["workspace_id"]),
    ("list-usage-limits-policies", &["workspace_id"]),
    ("render-prompt", &["variables"]),
    ("modify-mcp-gateway", &["is_active"]),
    ("update-provider", &["workspace_id"]),
];

/// A part of a schema that is not tried.
pub(super) struct SkippedPart {
    pub(super) tool: &'static str,
    /// A path or an enum value, as in [`super::generate::parts_of_schema`].
    pub(super) part: &'static str,
    pub(super) reason: &'static str,
}

/// Parts that are not tried.
pub(super) const SKIPPED_PARTS: &[SkippedPart] = &[
    SkippedPart {
        tool: "list-audit-logs",
        part: "organisation_id",
        reason: "the API refuses it like a wrong key",
    },
    SkippedPart {
        tool: "get-rate-limits-policy",
        part: "status=archived",
        reason: "no list returns archived policies",
    },
    SkippedPart {
        tool: "get-usage-limits-policy",
        part: "status=archived",
        reason: "no list returns archived policies",
    },
    SkippedPart {
        tool: "update-workspace",
        part: "security_settings",
        reason: "the API refuses overrides by workspaces unless they are enabled",
    },
    SkippedPart {
        tool: "create-guardrail",
        part: "checks[].id=default.modelwhitelist",
        reason: OTHER_NAME,
    },
    SkippedPart {
        tool: "create-guardrail",
        part: "checks[].id=panwPrismaAirs.intercept",
        reason: OTHER_NAME,
    },
    SkippedPart {
        tool: "update-guardrail",
        part: "checks[].id=default.modelwhitelist",
        reason: OTHER_NAME,
    },
    SkippedPart {
        tool: "update-guardrail",
        part: "checks[].id=panwPrismaAirs.intercept",
        reason: OTHER_NAME,
    },
];

const OTHER_NAME: &str =
    "a name in the open-source gateway for a check that is tried under Portkey's name";

/// Minimum numbers of sets where values decide it.
const MIN_SET_COUNTS: &[(&str, usize)] = &[
    ("create-integration", 44),
    ("update-integration", 44),
    ("create-secret-reference", 12),
    ("update-secret-reference", 12),
];

/// Updates that do not name the type of the resource and take the settings of one type: the
/// settings of the create call.
const CREATE_COUNTERPARTS: &[(&str, &str, &str)] = &[
    ("update-integration", "create-integration", "configurations"),
    (
        "update-secret-reference",
        "create-secret-reference",
        "auth_config",
    ),
];

/// Returns the create call and the argument from [`CREATE_COUNTERPARTS`].
pub(super) fn create_counterpart(tool: &str) -> Option<(&'static str, &'static str)> {
    CREATE_COUNTERPARTS
        .iter()
        .find(|(name, ..)| *name == tool)
        .map(|(_, create, field)| (*create, *field))
}

/// Returns the number of sets from [`MIN_SET_COUNTS`].
pub(super) fn min_set_count(tool: &str) -> usize {
    MIN_SET_COUNTS
        .iter()
        .find(|(name, _)| *name == tool)
        .map_or(1, |(_, sets)| *sets)
}

/// Calls that work once per sandbox, and the prior calls about the same items.
const PRIOR_CALLS: &[(&str, &[&str])] = &[
    ("add-workspace-member", &[]),
    ("bulk-delete-integration-models", &[]),
    ("invite-user", &[]),
    ("list-audit-logs", &["create-collection"]),
    (
        "list-output-guardrail-exclusions",
        &["bulk-update-output-guardrail-exclusions"],
    ),
    ("rotate-api-key", &[]),
    ("start-log-export", &[]),
    ("update-rate-limits-policy", &[]),
    ("update-usage-limits-policy", &[]),
    ("cancel-log-export", &["start-log-export"]),
    (
        "download-log-export",
        &["start-log-export", "get-log-export", "get-log-export"],
    ),
];

/// Returns the prior calls from [`PRIOR_CALLS`].
pub(super) fn prior_calls(tool: &str) -> Option<&'static [&'static str]> {
    PRIOR_CALLS
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, tools)| *tools)
}

/// Clears fields that a new value excludes, and removes arguments that the API refuses.
pub(super) fn adjust_arguments(tool: &str, arguments: &mut JsonMap) {
    let refused = [
        ("list-audit-logs", "organisation_id"),
        ("update-workspace", "security_settings"),
    ];
    for (_, name) in refused.iter().filter(|(of, _)| *of == tool) {
        arguments.shift_remove(*name);
    }
    if tool == "update-usage-limits-policy" && arguments.contains_key("periodic_reset_days") {
        arguments.insert("periodic_reset".to_owned(), Value::Null);
    }
}

/// Returns the arguments from [`REQUIRED_BY_API`].
pub(super) fn required_by_api(tool: &str) -> &'static [&'static str] {
    REQUIRED_BY_API
        .iter()
        .find(|(name, _)| *name == tool)
        .map_or(&[], |(_, names)| names)
}

/// Returns the source of a value. A placeholder refers to an item that is listed or created at the
/// path before it. A resource to delete is created, because others may depend on an existing one.
pub(super) fn find_source(operation: &Operation, at: &str, extent: Extent) -> Option<ValueSource> {
    let own = TOOL_REFERENCES
        .iter()
        .find(|(tool, path, ..)| *tool == operation.name() && *path == at);
    if let Some(&(_, _, tool, field, picks)) = own {
        return Some(ValueSource {
            tool,
            field,
            filter: picks[extent.set() % picks.len()],
        });
    }
    let path = operation.path();
    let before = path.split_once(&format!("/{{{at}}}"));
    let field = if at == "slug" { "slug" } else { "id" };
    if let Some((before, after)) = before {
        let at_path = |method: Method| {
            let operations = DOMAINS.iter().flat_map(|domain| domain.operations);
            let mut there = operations.filter(move |o| o.path() == before && *o.method() == method);
            there.next().map(Operation::name)
        };
        let made = (*operation.method() == Method::DELETE && after.is_empty())
            .then(|| at_path(Method::POST))
            .flatten();
        if let Some(tool) = made.or_else(|| at_path(Method::GET)) {
            return Some(ValueSource {
                tool,
                field,
                filter: None,
            });
        }
    }
    let found = REFERENCES
        .iter()
        .find(|(name, ..)| *name == last_segment(at));
    found.map(|&(_, tool, field, pick)| ValueSource {
        tool,
        field,
        filter: pick,
    })
}

/// Returns the operation that creates the items that a list at the same path returns.
pub(super) fn find_create(list: &Operation) -> Option<&'static str> {
    let mut operations = DOMAINS.iter().flat_map(|domain| domain.operations);
    let is_create = |other: &&Operation| {
        *list.method() == Method::GET
            && *other.method() == Method::POST
            && other.path() == list.path()
    };
    operations.find(is_create).map(Operation::name)
}

/// Returns the last name of a path, without list brackets.
pub(super) fn last_segment(at: &str) -> &str {
    at.trim_end_matches("[]")
        .rsplit('.')
        .next()
        .unwrap_or_default()
}
