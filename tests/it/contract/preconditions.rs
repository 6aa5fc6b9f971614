//! What must be so for a call to work, where the schema does not say it: which things arguments name,
//! and what has to be done before.

use http::Method;
use portkey_api::domains::DOMAINS;
use portkey_operation::{JsonMap, Operation};
use serde_json::Value;

use super::generate::Extent;

/// Where the value of an argument is found: a field of an item that a tool lists, or makes.
pub(super) struct ValueSource {
    pub(super) tool: &'static str,
    /// By name, or as a JSON pointer.
    pub(super) field: &'static str,
    /// Which item; the first, unless said.
    pub(super) filter: ItemFilter,
}

/// A field and the value an item must have in it.
type ItemFilter = Option<(&'static str, &'static str)>;

/// What arguments of these names refer to. The workspace is the one that has some of nearly everything.
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

/// The same of one tool's argument, where another item is meant than the first, or another in each set.
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
        // Only what was added by hand can be taken away.
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
    // The role somebody has is refused (quirks.md §6).
    (
        "update-user",
        "user_id",
        "list-users",
        "id",
        &[Some(("role", "member")), Some(("role", "admin"))],
    ),
    // Its configs are those that others are found among.
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

/// Optional arguments without which the API refuses all the same: an organisation's key cannot say
/// where a call plays (quirks.md §2.3, §7.2 to §7.4), or the document asks for less than the API
///. Lists are asked for one workspace, so that what they name goes together.
const REQUIRED_BY_API: &[(&str, &[&str])] = &[
    ("bulk-update-integration-workspaces", &["workspaces"]),
    ("create-collection", &["workspace_id"]),
    ("create-config", &["name", "config", "workspace_id"]),
    ("create-guardrail", &["workspace_id"]),
    ("create-integration", &["key"]),
    ("create-log-export", &["workspace_id"]),
    ("create-mcp-server", &["workspace_id"]),
    ("create-prompt-partial", &["workspace_id"]),
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
    ("get-provider", &["workspace_id"]),
    ("list-all-configs", &["workspace_id"]),
    ("list-all-providers", &["workspace_id"]),
    ("list-collections", &["workspace_id"]),
    ("list-guardrails", &["workspace_id"]),
    ("list-mcp-servers", &["workspace_id"]),
    ("list-prompt-partials", &["workspace_id"]),
    ("list-prompts", &["workspace_id"]),
    ("list-rate-limits-policies", &["workspace_id"]),
    ("list-registry-mcp-servers", &["workspace_id"]),
    ("list-usage-limits-policies", &["workspace_id"]),
    ("modify-mcp-gateway", &["is_active"]),
    ("update-provider", &["workspace_id"]),
];

/// What was not tried, and why.
const SKIPPED_PARTS: &[(&str, &str)] = &[
    // The API refuses it as it refuses a wrong key.
    ("list-audit-logs", "organisation_id"),
    // No list shows what is archived.
    ("get-rate-limits-policy", "status=archived"),
    ("get-usage-limits-policy", "status=archived"),
    // Where no override by workspaces is enabled, the API refuses them.
    ("update-workspace", "security_settings"),
    // Names of the open-source gateway for checks that are tried under Portkey's names.
    ("create-guardrail", "checks[].id=default.modelwhitelist"),
    ("create-guardrail", "checks[].id=panwPrismaAirs.intercept"),
    ("update-guardrail", "checks[].id=default.modelwhitelist"),
    ("update-guardrail", "checks[].id=panwPrismaAirs.intercept"),
];

/// See [`UNTRIED`].
pub(super) fn is_skipped(tool: &str, part: &str) -> bool {
    SKIPPED_PARTS.contains(&(tool, part))
}

/// How many sets it takes where values above decide it.
const MIN_SET_COUNTS: &[(&str, usize)] = &[
    ("create-integration", 44),
    ("update-integration", 44),
    ("create-secret-reference", 12),
    ("update-secret-reference", 12),
];

/// Updates that do not say of what kind a thing is, and take settings of one kind: those that the
/// create takes.
const CREATE_COUNTERPARTS: &[(&str, &str, &str)] = &[
    ("update-integration", "create-integration", "configurations"),
    (
        "update-secret-reference",
        "create-secret-reference",
        "auth_config",
    ),
];

/// See [`AS_CREATED`]: the create, and the argument.
pub(super) fn create_counterpart(tool: &str) -> Option<(&'static str, &'static str)> {
    CREATE_COUNTERPARTS
        .iter()
        .find(|(name, ..)| *name == tool)
        .map(|(_, create, field)| (*create, *field))
}

/// See [`SETS`].
pub(super) fn min_set_count(tool: &str) -> usize {
    MIN_SET_COUNTS
        .iter()
        .find(|(name, _)| *name == tool)
        .map_or(1, |(_, sets)| *sets)
}

/// What works once in a sandbox, and the tools to call first, about the same items.
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

/// See [`BEFORE`].
pub(super) fn prior_calls(tool: &str) -> Option<&'static [&'static str]> {
    PRIOR_CALLS
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, tools)| *tools)
}

/// Clears what a new value excludes and the policy has, and leaves out what is refused.
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

/// See [`NEEDED`].
pub(super) fn required_by_api(tool: &str) -> &'static [&'static str] {
    REQUIRED_BY_API
        .iter()
        .find(|(name, _)| *name == tool)
        .map_or(&[], |(_, names)| names)
}

/// Where a value is found: for a placeholder, in what is listed or made at the path before it; what is
/// to be deleted is made, as what others use cannot be.
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

/// The name at the end of a path, of a list the list's.
pub(super) fn last_segment(at: &str) -> &str {
    at.trim_end_matches("[]")
        .rsplit('.')
        .next()
        .unwrap_or_default()
}
