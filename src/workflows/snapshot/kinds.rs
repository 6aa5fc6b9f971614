//! The kinds of resources in a snapshot: which operations list, read and restore them.
//!
//! One table for all kinds. A new kind is a row here, not code.

/// A kind of resource.
#[derive(Debug)]
pub(crate) struct SnapshotKind {
    /// Name in arguments, and the folder of its files.
    pub(crate) name: &'static str,
    /// Operation that lists the resources, or returns the only one.
    pub(super) list: &'static str,
    /// Field of the answer with the rows.
    pub(super) rows: &'static str,
    /// Places whose lists are read.
    pub(super) scope: KindScope,
    /// Read of one resource; without it the rows of the list are whole.
    pub(super) detail: Option<ResourceRead>,
    /// Further lists that belong to a resource.
    pub(super) parts: &'static [KindPart],
    /// Lists in a document whose entries an operation of their own changes.
    pub(super) entries: &'static [EntryUpdate],
    /// Field and value of the rows that are settings; `None` if all are.
    pub(super) only: Option<(&'static str, &'static str)>,
    /// Field whose presence says that the row belongs to another kind.
    pub(super) without: Option<&'static str>,
    /// Field whose value names the file.
    pub(super) handle: &'static str,
    /// Operation that changes a resource, and its argument that names it.
    pub(super) update: Option<ResourceRead>,
    /// Operation that creates a resource.
    pub(super) create: Option<&'static str>,
    /// Step that has to follow an update before it has an effect.
    pub(super) publish: Option<&'static str>,
    /// True if it is about people, and therefore read only if it is asked for.
    pub(crate) is_personal: bool,
}

/// Places whose lists are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KindScope {
    /// The organisation has one of it.
    Single,
    /// The organisation.
    Organisation,
    /// Each workspace.
    Workspace,
    /// Each workspace, and the organisation.
    Both,
    /// The workspaces themselves.
    Workspaces,
}

/// An operation on one resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceRead {
    pub(super) operation: &'static str,
    /// Argument that names the resource.
    pub(super) argument: &'static str,
    /// Field with the value of the argument.
    pub(super) field: &'static str,
}

/// A list that belongs to a resource.
#[derive(Debug)]
pub(super) struct KindPart {
    /// Field of the document.
    pub(super) field: &'static str,
    pub(super) read: ResourceRead,
    /// Field of the answer with the rows.
    pub(super) rows: &'static str,
    /// Fields of a row that are kept; all if there are none.
    pub(super) keep: &'static [&'static str],
    /// Flag that a row has if it is a setting of its own.
    pub(super) only_if: Option<&'static str>,
    /// True if the rows are an object with a field for each.
    pub(super) is_map: bool,
    /// Fields of the answer that become fields of the document.
    pub(super) beside: &'static [&'static str],
    /// True if the document is of use without it.
    pub(super) is_optional: bool,
}

/// A list in a document whose entries an operation of their own changes.
#[derive(Debug)]
pub(super) struct EntryUpdate {
    /// Field of the document.
    pub(super) field: &'static str,
    pub(super) update: ResourceRead,
    /// Argument with the entries.
    pub(super) argument: &'static str,
    /// Fields that name an entry; none if the list is replaced as a whole.
    pub(super) keys: &'static [&'static str],
    /// Further fields of an entry that are sent.
    pub(super) sent: &'static [&'static str],
    /// Field that says whether an entry has an effect.
    pub(super) switch: &'static str,
    /// True if no entry and one that is switched off are the same. An entry that was added is then switched off.
    pub(super) is_off_by_default: bool,
    /// Fields that a new entry has beside these.
    pub(super) of_new: &'static [(&'static str, bool)],
    /// Fields of the document that the operation changes, too, each with its argument.
    pub(super) beside: &'static [(&'static str, &'static str)],
}

const fn part(field: &'static str, read: ResourceRead, rows: &'static str) -> KindPart {
    KindPart {
        field,
        read,
        rows,
        keep: &[],
        only_if: None,
        is_map: false,
        beside: &[],
        is_optional: false,
    }
}

const fn entries(
    field: &'static str,
    update: ResourceRead,
    keys: &'static [&'static str],
    sent: &'static [&'static str],
) -> EntryUpdate {
    EntryUpdate {
        field,
        update,
        argument: field,
        keys,
        sent,
        switch: "enabled",
        is_off_by_default: false,
        of_new: &[],
        beside: &[],
    }
}

/// Fields that tell the tools, prompts and resources of an MCP server apart, and the switch. The rest comes from
/// the server.
const CAPABILITY: &[&str] = &["name", "type", "enabled"];
const CAPABILITY_KEYS: &[&str] = &["type", "name"];

/// Workspaces that are freed from the guardrails of the organisation.
const fn exclusions(update: &'static str) -> EntryUpdate {
    EntryUpdate {
        switch: "excluded",
        is_off_by_default: true,
        ..entries(
            "workspaces",
            by(update, "", ""),
            &["workspace_id"],
            &["excluded"],
        )
    }
}

const fn read(
    operation: &'static str,
    argument: &'static str,
    field: &'static str,
) -> Option<ResourceRead> {
    Some(by(operation, argument, field))
}

const fn by(operation: &'static str, argument: &'static str, field: &'static str) -> ResourceRead {
    ResourceRead {
        operation,
        argument,
        field,
    }
}

const fn kind(name: &'static str, list: &'static str, scope: KindScope) -> SnapshotKind {
    SnapshotKind {
        name,
        list,
        rows: "data",
        scope,
        detail: None,
        parts: &[],
        entries: &[],
        only: None,
        without: None,
        handle: "slug",
        update: None,
        create: None,
        publish: None,
        is_personal: false,
    }
}

use KindScope::{Both, Organisation, Single, Workspace, Workspaces};

/// All kinds. Those that others refer to come first, so that a plan creates them first.
pub(crate) static KINDS: &[SnapshotKind] = &[
    SnapshotKind {
        detail: read("get-workspace", "workspace_id", "id"),
        update: read("update-workspace", "workspace_id", "id"),
        create: Some("create-workspace"),
        ..kind("workspaces", "list-all-workspaces", Workspaces)
    },
    SnapshotKind {
        detail: read("get-secret-reference", "secret_reference_id", "id"),
        update: read("update-secret-reference", "secret_reference_id", "id"),
        create: Some("create-secret-reference"),
        ..kind("secret-references", "list-secret-references", Organisation)
    },
    SnapshotKind {
        detail: read("get-integration", "slug", "slug"),
        parts: &[
            part(
                "models",
                by("list-integration-models", "slug", "slug"),
                "models",
            ),
            part(
                "workspaces",
                by("list-integration-workspaces", "slug", "slug"),
                "workspaces",
            ),
        ],
        entries: &[
            entries(
                "models",
                by("bulk-update-integration-models", "slug", "slug"),
                &["slug"],
                &[
                    "enabled",
                    "is_custom",
                    "is_finetune",
                    "base_model_slug",
                    "configurations",
                    "pricing_config",
                ],
            ),
            EntryUpdate {
                is_off_by_default: true,
                // Providers are resources of their own.
                of_new: &[("create_default_provider", false)],
                beside: &[(
                    "global_workspace_access_settings",
                    "global_workspace_access",
                )],
                ..entries(
                    "workspaces",
                    by("bulk-update-integration-workspaces", "slug", "slug"),
                    &["id"],
                    &["enabled", "usage_limits", "rate_limits"],
                )
            },
        ],
        update: read("update-integration", "slug", "slug"),
        create: Some("create-integration"),
        ..kind("integrations", "list-all-integrations", Organisation)
    },
    SnapshotKind {
        parts: &[
            part(
                "workspaces",
                by(
                    "list-mcp-integration-workspaces",
                    "mcp_integration_id",
                    "id",
                ),
                "workspaces",
            ),
            KindPart {
                keep: CAPABILITY,
                is_optional: true,
                ..part(
                    "capabilities",
                    by(
                        "list-mcp-integration-capabilities",
                        "mcp_integration_id",
                        "id",
                    ),
                    "data",
                )
            },
        ],
        entries: &[
            EntryUpdate {
                is_off_by_default: true,
                beside: &[("global_workspace_access", "global_workspace_access")],
                ..entries(
                    "workspaces",
                    by(
                        "bulk-update-mcp-integration-workspaces",
                        "mcp_integration_id",
                        "id",
                    ),
                    &["id"],
                    &["enabled"],
                )
            },
            entries(
                "capabilities",
                by(
                    "bulk-update-mcp-integration-capabilities",
                    "mcp_integration_id",
                    "id",
                ),
                CAPABILITY_KEYS,
                &["enabled"],
            ),
        ],
        update: read("update-mcp-integration", "mcp_integration_id", "id"),
        create: Some("create-mcp-integration"),
        ..kind("mcp-integrations", "list-mcp-integrations", Organisation)
    },
    SnapshotKind {
        update: read("update-label", "label_id", "id"),
        create: Some("create-label"),
        handle: "id",
        ..kind("labels", "list-labels", Both)
    },
    SnapshotKind {
        detail: read("get-deployment", "deployment_id", "id"),
        update: read("update-deployment", "deployment_id", "id"),
        ..kind("deployments", "list-deployments", Organisation)
    },
    SnapshotKind {
        detail: read("get-provider", "slug", "slug"),
        update: read("update-provider", "slug", "slug"),
        create: Some("create-provider"),
        ..kind("providers", "list-all-providers", Workspace)
    },
    SnapshotKind {
        detail: read("get-virtual-key", "slug", "slug"),
        // Providers are listed as virtual keys, too.
        without: Some("integration_id"),
        update: read("update-virtual-key", "slug", "slug"),
        create: Some("create-virtual-key"),
        ..kind("virtual-keys", "list-all-virtual-keys", Workspace)
    },
    SnapshotKind {
        detail: read("get-guardrail", "guardrail_id", "id"),
        parts: &[KindPart {
            is_map: true,
            is_optional: true,
            ..part(
                "mcp_servers",
                by("list-guardrail-mcp-servers", "guardrail_id", "id"),
                "mcp_servers",
            )
        }],
        entries: &[entries(
            "mcp_servers",
            by("replace-guardrail-mcp-servers", "guardrail_id", "id"),
            &[],
            &[],
        )],
        update: read("update-guardrail", "guardrail_id", "id"),
        create: Some("create-guardrail"),
        ..kind("guardrails", "list-guardrails", Both)
    },
    SnapshotKind {
        update: read("update-organisation-defaults", "", ""),
        ..kind("organisation-defaults", "get-organisation-defaults", Single)
    },
    SnapshotKind {
        entries: &[exclusions("bulk-update-input-guardrail-exclusions")],
        ..kind(
            "input-guardrail-exclusions",
            "list-input-guardrail-exclusions",
            Single,
        )
    },
    SnapshotKind {
        entries: &[exclusions("bulk-update-output-guardrail-exclusions")],
        ..kind(
            "output-guardrail-exclusions",
            "list-output-guardrail-exclusions",
            Single,
        )
    },
    SnapshotKind {
        detail: read("get-config", "slug", "slug"),
        update: read("update-config", "slug", "slug"),
        create: Some("create-config"),
        ..kind("configs", "list-all-configs", Workspace)
    },
    SnapshotKind {
        update: read("update-collection", "collection_id", "id"),
        create: Some("create-collection"),
        ..kind("collections", "list-collections", Workspace)
    },
    SnapshotKind {
        detail: read("get-prompt-partial", "prompt_partial_id", "id"),
        update: read("update-prompt-partial", "prompt_partial_id", "id"),
        create: Some("create-prompt-partial"),
        publish: Some("set-default-prompt-partial-version"),
        ..kind("prompt-partials", "list-prompt-partials", Workspace)
    },
    SnapshotKind {
        detail: read("get-prompt", "prompt_id", "id"),
        update: read("update-prompt", "prompt_id", "id"),
        create: Some("create-prompt"),
        publish: Some("set-default-prompt-version"),
        ..kind("prompts", "list-prompts", Workspace)
    },
    SnapshotKind {
        handle: "id",
        update: read("update-api-key", "id", "id"),
        // A new key has another secret, which nobody who uses the old one knows.
        ..kind("api-keys", "list-all-api-keys", Both)
    },
    SnapshotKind {
        parts: &[
            KindPart {
                keep: CAPABILITY,
                is_optional: true,
                ..part(
                    "capabilities",
                    by("list-mcp-server-capabilities", "mcp_server_id", "id"),
                    "data",
                )
            },
            KindPart {
                keep: &["user_id", "enabled"],
                // Everybody else has what the server has for all.
                only_if: Some("has_override"),
                beside: &["default_user_access"],
                is_optional: true,
                ..part(
                    "user_access",
                    by("list-mcp-server-user-access", "mcp_server_id", "id"),
                    "data",
                )
            },
        ],
        entries: &[
            entries(
                "capabilities",
                by("bulk-update-mcp-server-capabilities", "mcp_server_id", "id"),
                CAPABILITY_KEYS,
                &["enabled"],
            ),
            EntryUpdate {
                beside: &[("default_user_access", "default_user_access")],
                ..entries(
                    "user_access",
                    by("bulk-update-mcp-server-user-access", "mcp_server_id", "id"),
                    &["user_id"],
                    &["enabled"],
                )
            },
        ],
        update: read("update-mcp-server", "mcp_server_id", "id"),
        create: Some("create-mcp-server"),
        ..kind("mcp-servers", "list-mcp-servers", Workspace)
    },
    SnapshotKind {
        handle: "id",
        update: read("update-usage-limits-policy", "policy_usage_limits_id", "id"),
        create: Some("create-usage-limits-policy"),
        ..kind(
            "usage-limits-policies",
            "list-usage-limits-policies",
            Workspace,
        )
    },
    SnapshotKind {
        handle: "id",
        update: read("update-rate-limits-policy", "rate_limits_policy_id", "id"),
        create: Some("create-rate-limits-policy"),
        ..kind(
            "rate-limits-policies",
            "list-rate-limits-policies",
            Workspace,
        )
    },
    SnapshotKind {
        handle: "id",
        rows: "mappings",
        create: Some("create-scim-workspace-mapping"),
        ..kind(
            "scim-workspace-mappings",
            "list-scim-workspace-mappings",
            Workspace,
        )
    },
    SnapshotKind {
        handle: "id",
        is_personal: true,
        ..kind("users", "list-users", Organisation)
    },
    SnapshotKind {
        handle: "id",
        // The others have become users, or nothing.
        only: Some(("status", "pending")),
        is_personal: true,
        ..kind("user-invites", "list-all-invites", Organisation)
    },
    SnapshotKind {
        handle: "id",
        is_personal: true,
        ..kind("members", "list-workspace-members", Workspace)
    },
];

/// Settings that a snapshot does not have, although the API tells them.
#[derive(Debug)]
pub(super) struct NotCovered {
    /// Name, a colon, and the reason for leaving it out.
    pub(super) what: &'static str,
    /// Operations that read it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test compares them with the catalog")
    )]
    pub(super) operations: &'static [&'static str],
}

/// All such settings.
pub(super) static NOT_COVERED: &[NotCovered] = &[
    NotCovered {
        what: "secrets: the API masks them",
        operations: &[],
    },
    NotCovered {
        what: "older versions: those of configs, prompts and partials, and their labels",
        operations: &[
            "get-config-version",
            "list-config-versions",
            "get-prompt-version",
            "list-prompt-versions",
            "list-prompt-partial-versions",
        ],
    },
    NotCovered {
        what: "agents and prompt tools: their API is in preview",
        operations: &[
            "get-agent-integration",
            "list-agent-integrations",
            "list-agent-integration-skills",
            "list-agent-integration-workspaces",
            "list-agent-servers",
            "list-agent-server-skills",
            "list-agent-server-user-access",
            "list-prompt-tools",
            "list-prompt-tool-versions",
        ],
    },
    NotCovered {
        what: "MCP sign-ins: they belong to users",
        operations: &["list-mcp-server-connections"],
    },
    NotCovered {
        what: "log field restrictions: no operation changes them",
        operations: &["get-log-export-field-restrictions"],
    },
    NotCovered {
        what: "SCIM groups: the identity provider manages them",
        operations: &["list-scim-groups"],
    },
];

/// Returns what a snapshot of some kinds does not have, in words.
pub(crate) fn not_covered(kinds: &[&'static SnapshotKind]) -> Vec<String> {
    let is_left_out =
        |kind: &&SnapshotKind| !kinds.iter().any(|chosen| std::ptr::eq(*chosen, *kind));
    let left_out: Vec<_> = KINDS
        .iter()
        .filter(is_left_out)
        .map(|kind| kind.name)
        .collect();
    let general = NOT_COVERED.iter().map(|one| one.what.to_owned());
    let kinds = format!("{}: name them in `kinds`", left_out.join(", "));
    let kinds = (!left_out.is_empty()).then_some(kinds);
    kinds.into_iter().chain(general).collect()
}

/// Finds a kind by its name.
pub(crate) fn find_kind(name: &str) -> Option<&'static SnapshotKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Finds the kind of the file at a path.
pub(super) fn kind_of_path(path: &str) -> Option<&'static SnapshotKind> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["workspaces", _, "workspace.yaml"] => find_kind("workspaces"),
        ["workspaces", _, kind, _] => find_kind(kind)
            .filter(|kind| matches!(kind.scope, KindScope::Workspace | KindScope::Both)),
        [kind, _] => find_kind(kind)
            .filter(|kind| matches!(kind.scope, KindScope::Organisation | KindScope::Both)),
        [file] => {
            find_kind(file.strip_suffix(".yaml")?).filter(|kind| kind.scope == KindScope::Single)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portkey_api::catalog::Catalog;
    use portkey_operation::Effect;

    use super::*;

    #[test]
    fn operations_of_every_kind_exist_and_take_their_arguments() {
        let catalog = Catalog::full();
        for kind in KINDS {
            catalog.find(kind.list).unwrap();
            let parts = kind.parts.iter().map(|part| part.read);
            let entries = kind.entries.iter().map(|entries| entries.update);
            let parts = parts.chain(entries);
            for entries in kind.entries {
                let entry = catalog.find(entries.update.operation).unwrap();
                let known = &entry.compiled().full_schema()["properties"];
                let besides = entries.beside.iter().map(|(_, argument)| argument);
                for argument in besides.chain([&entries.argument]) {
                    assert!(
                        known.get(argument).is_some(),
                        "{} {argument}",
                        entries.update.operation
                    );
                }
            }
            for read in kind.detail.iter().chain(&kind.update).copied().chain(parts) {
                let entry = catalog.find(read.operation).unwrap();
                let known = &entry.compiled().full_schema()["properties"];
                let is_known = read.argument.is_empty() || known.get(read.argument).is_some();
                assert!(is_known, "{} {}", read.operation, read.argument);
            }
            for operation in kind.create.iter().chain(&kind.publish) {
                catalog.find(operation).unwrap();
            }
        }
    }

    /// Domains of data, and of other upstreams, which have no settings.
    const DATA: &[&str] = &[
        "analytics-graphs",
        "analytics-groups",
        "analytics-summary",
        "audit-logs",
        "enkrypt-mcp-gateway",
        "feedback",
        "logs",
        "mcp-registry",
        "metadata-values",
        "model-pricing",
    ];
    /// Reads that tell nothing but what another read of the same resource tells, or no setting.
    const SAME: &[&str] = &[
        "download-log-export",
        "fetch-agent-card",
        "get-agent-server-card",
        "get-api-key",
        "get-collection",
        "get-invite",
        "get-label",
        "get-log-export",
        "get-mcp-integration",
        "get-mcp-integration-metadata",
        "get-mcp-server",
        "get-mcp-server-metadata",
        "get-rate-limits-policy",
        "get-usage-limits-policy",
        "get-user",
        "get-workspace-member",
        "list-all-log-exports",
        "list-usage-limits-policy-entities",
        "ping-deployment",
        "render-prompt",
        "test-agent-server",
        "test-mcp-integration",
        "test-mcp-server",
    ];

    /// A read that is in no table is of settings that a snapshot would lack without saying so.
    #[test]
    fn every_read_is_of_a_kind_or_is_named_as_not_covered() {
        let mut covered: Vec<&str> = SAME.to_vec();
        for kind in KINDS {
            covered.push(kind.list);
            covered.extend(kind.detail.iter().map(|read| read.operation));
            covered.extend(kind.parts.iter().map(|part| part.read.operation));
        }
        for one in NOT_COVERED {
            covered.extend(one.operations);
        }
        let catalog = Catalog::full();
        // Tables may have other names of an operation.
        let covered: Vec<&str> = covered
            .into_iter()
            .map(|name| catalog.find(name).unwrap().operation.name())
            .collect();
        let missing: Vec<_> = Catalog::operations()
            .filter(|operation| operation.effect() == Effect::Read)
            .map(|operation| operation.name())
            .filter(|name| !covered.contains(name))
            .filter(|name| !DATA.contains(&catalog.find(name).unwrap().domain.name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
