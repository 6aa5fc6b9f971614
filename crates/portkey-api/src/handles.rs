//! Arguments that name another resource by its id or its slug, whichever the caller knows.
//!
//! Portkey stores one of the two and returns that one, so that an argument and the state that it made look different.

/// A place in the arguments of writes that takes the id or the slug of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    /// Path of names with dots; `[]` stands for the items of a list.
    pub at: &'static str,
    /// Operation that reads the resource by either.
    pub read: &'static str,
    /// Argument of the read.
    pub argument: &'static str,
}

const fn handle(at: &'static str, read: &'static str, argument: &'static str) -> Handle {
    Handle { at, read, argument }
}

const fn workspace(at: &'static str) -> Handle {
    handle(at, "get-workspace", "workspace_id")
}

const fn collection(at: &'static str) -> Handle {
    handle(at, "get-collection", "collection_id")
}

const fn guardrail(at: &'static str) -> Handle {
    handle(at, "get-guardrail", "guardrail_id")
}

/// All such places. The same name means the same kind in every operation.
pub static HANDLES: &[Handle] = &[
    workspace("workspaces[]"),
    workspace("workspaces[].id"),
    workspace("workspaces[].workspace_id"),
    workspace("allowed_workspaces[]"),
    collection("collection_id"),
    collection("parent_collection_id"),
    guardrail("input_guardrails[]"),
    guardrail("output_guardrails[]"),
    guardrail("defaults.input_guardrails[]"),
    guardrail("defaults.output_guardrails[]"),
    handle("defaults.user_api_key_config", "get-config", "slug"),
    handle("defaults.config_id", "get-config", "slug"),
    handle("virtual_key", "get-provider", "slug"),
    handle(
        "mcp_integration_id",
        "get-mcp-integration",
        "mcp_integration_id",
    ),
    handle("integration_id", "get-integration", "slug"),
    handle(
        "secret_mappings[].secret_reference_id",
        "get-secret-reference",
        "secret_reference_id",
    ),
];
