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
            KindPart {
                field: "models",
                read: by("list-integration-models", "slug", "slug"),
                rows: "models",
            },
            KindPart {
                field: "workspaces",
                read: by("list-integration-workspaces", "slug", "slug"),
                rows: "workspaces",
            },
        ],
        update: read("update-integration", "slug", "slug"),
        create: Some("create-integration"),
        ..kind("integrations", "list-all-integrations", Organisation)
    },
    SnapshotKind {
        parts: &[KindPart {
            field: "workspaces",
            read: by(
                "list-mcp-integration-workspaces",
                "mcp_integration_id",
                "id",
            ),
            rows: "workspaces",
        }],
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
        update: read("update-guardrail", "guardrail_id", "id"),
        create: Some("create-guardrail"),
        ..kind("guardrails", "list-guardrails", Both)
    },
    SnapshotKind {
        update: read("update-organisation-defaults", "", ""),
        ..kind("organisation-defaults", "get-organisation-defaults", Single)
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
        is_personal: true,
        ..kind("users", "list-users", Organisation)
    },
    SnapshotKind {
        handle: "id",
        is_personal: true,
        ..kind("members", "list-workspace-members", Workspace)
    },
];

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

    use super::*;

    #[test]
    fn operations_of_every_kind_exist_and_take_their_arguments() {
        let catalog = Catalog::full();
        for kind in KINDS {
            catalog.find(kind.list).unwrap();
            let parts = kind.parts.iter().map(|part| part.read);
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
}
