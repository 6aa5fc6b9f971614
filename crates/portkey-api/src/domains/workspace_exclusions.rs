//! Workspace exclusions: workspaces that are exempt from the organisation's guardrails.

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{Operation, UpdateField, UpdateRules, get, put};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{REPLACES_LISTS, key_field};

/// Operations of the domain `workspace-exclusions`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListExclusions>(
        "list-input-guardrail-exclusions",
        "/workspace-exclusions/input-guardrails",
    ).with_search_terms(&["exempt", "bypass", "exceptions", "not checked", "unfiltered prompts", "Ausnahmen"])
    .with_docs(
        "List input guardrail exclusions",
        "Returns the workspaces whose requests skip the organisation's input guardrails. Admin key, \
         Enterprise plan.",
    )
    .aliases(&["list-input-guardrail-workspace-exclusions"])
    .enterprise()
    .scopes(LIST_SCOPES),
    put::<UpdateExclusions>(
        "bulk-update-input-guardrail-exclusions",
        "/workspace-exclusions/input-guardrails",
    ).with_update(INPUT_GUARDRAIL_EXCLUSIONS_UPDATE).with_search_terms(&["exempt", "bypass", "exception", "skip", "opt out", "Ausnahme"])
    .with_docs(
        "Update input guardrail exclusions",
        "Frees workspaces from the organisation's input guardrails, or puts them back; others stay. \
         Takes safety checks off live requests. Admin key, Enterprise plan.",
    )
    .destructive()
    .aliases(&["update-input-guardrail-workspace-exclusions"])
    .enterprise()
    .scopes(UPDATE_SCOPES),
    get::<ListExclusions>(
        "list-output-guardrail-exclusions",
        "/workspace-exclusions/output-guardrails",
    ).with_search_terms(&["exempt", "bypass", "exceptions", "not checked", "unfiltered answers", "Ausnahmen"])
    .with_docs(
        "List output guardrail exclusions",
        "Returns the workspaces whose responses skip the organisation's output guardrails. \
         Admin key, Enterprise plan.",
    )
    .aliases(&["list-output-guardrail-workspace-exclusions"])
    .enterprise()
    .scopes(LIST_SCOPES),
    put::<UpdateExclusions>(
        "bulk-update-output-guardrail-exclusions",
        "/workspace-exclusions/output-guardrails",
    ).with_update(OUTPUT_GUARDRAIL_EXCLUSIONS_UPDATE).with_search_terms(&["exempt", "bypass", "exception", "skip", "opt out", "Ausnahme"])
    .with_docs(
        "Update output guardrail exclusions",
        "Frees workspaces from the organisation's output guardrails, or puts them back; others stay. \
         Takes safety checks off live responses. Admin key, Enterprise plan.",
    )
    .destructive()
    .aliases(&["update-output-guardrail-workspace-exclusions"])
    .enterprise()
    .scopes(UPDATE_SCOPES),
];

/// Update rules of the resource that `list-input-guardrail-exclusions` returns.
const INPUT_GUARDRAIL_EXCLUSIONS_UPDATE: UpdateRules =
    UpdateRules::read_by("list-input-guardrail-exclusions")
        .with_fields(&[
            UpdateField::merged_entries("workspaces", "`excluded: false` puts a workspace back")
                .withdrawn_by("excluded"),
            UpdateField::excluded("override_existing", REPLACES_LISTS),
        ])
        .with_lists(&[KeyedList::new(
            "workspaces",
            &[EntryKey(&[key_field("workspace_id")])],
        )]);

/// Update rules of the resource that `list-output-guardrail-exclusions` returns.
const OUTPUT_GUARDRAIL_EXCLUSIONS_UPDATE: UpdateRules =
    UpdateRules::read_by("list-output-guardrail-exclusions")
        .with_fields(&[
            UpdateField::merged_entries("workspaces", "`excluded: false` puts a workspace back")
                .withdrawn_by("excluded"),
            UpdateField::excluded("override_existing", REPLACES_LISTS),
        ])
        .with_lists(&[KeyedList::new(
            "workspaces",
            &[EntryKey(&[key_field("workspace_id")])],
        )]);

const LIST_SCOPES: &[&str] = &["organisation_exclusions.list"];
const UPDATE_SCOPES: &[&str] = &["organisation_exclusions.update"];

/// List exclusions from either kind of guardrail.
#[derive(Deserialize, JsonSchema)]
pub struct ListExclusions {
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
}

/// Update exclusions from either kind of guardrail.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateExclusions {
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// Workspaces to free or put back.
    ///
    /// Required: the documents; it is what changes.
    pub workspaces: Vec<Exclusion>,
    /// True replaces the whole list.
    pub override_existing: Option<bool>,
}

/// workspace_id* (UUID or slug), excluded* (true frees, false puts back).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
pub struct Exclusion {
    /// Which.
    ///
    /// Required: the documents; their examples all have it.
    pub workspace_id: String,
    /// Freed or put back.
    ///
    /// Required: the documents; their examples all have it.
    pub excluded: bool,
}
