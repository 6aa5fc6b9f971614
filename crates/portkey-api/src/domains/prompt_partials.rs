//! Prompt partials: texts that prompts share, published version by version.

use portkey_operation::{
    ArgumentAlias, Operation, Risk, TextOr, UpdateField, UpdateRules, alias, delete, get, post,
    put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `prompt-partials`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListPartials>("list-prompt-partials", "/prompts/partials")
        .with_search_terms(&[
            "snippets",
            "fragments",
            "reusable blocks",
            "includes",
            "Bausteine",
        ])
        .scopes(&["prompts.list"]),
    post::<CreatePartial>("create-prompt-partial", "/prompts/partials")
        .with_search_terms(&[
            "snippet",
            "fragment",
            "reusable block",
            "shared text",
            "Baustein anlegen",
        ])
        .scopes(&["prompts.create"]),
    get::<GetPartial>(
        "get-prompt-partial",
        "/prompts/partials/{prompt_partial_id}",
    )
    .with_search_terms(&[
        "snippet",
        "fragment",
        "reusable block",
        "show contents",
        "Baustein",
    ])
    .returns_untrusted_content()
    .scopes(&["prompts.read"]),
    // Each change of the text adds a version.
    put::<UpdatePartial>(
        "update-prompt-partial",
        "/prompts/partials/{prompt_partial_id}",
    )
    .with_risks(&[
        risk(Risk::Production, "changes whether prompts can include it").if_given("status"),
    ])
    .with_update(
        UpdateRules::read_by("get-prompt-partial")
            .with_read_arguments(&[("version", "latest")])
            .with_fields(&[UpdateField::write_only("version_description")])
            .with_version("prompt_partial_version_id"),
    )
    .with_search_terms(&[
        "snippet",
        "fragment",
        "edit reusable block",
        "reword",
        "Baustein ändern",
    ])
    .with_argument_aliases(UPDATE_ALIASES)
    .not_idempotent()
    .scopes(&["prompts.update"]),
    delete::<DeletePartial>(
        "delete-prompt-partial",
        "/prompts/partials/{prompt_partial_id}",
    )
    .with_search_terms(&[
        "snippet",
        "fragment",
        "reusable block",
        "drop",
        "Baustein löschen",
    ])
    .scopes(&["prompts.delete"]),
    put::<PublishPartial>(
        "set-default-prompt-partial-version",
        "/prompts/partials/{prompt_partial_id}/makeDefault",
    )
    .with_risks(&[risk(
        Risk::Production,
        "changes the version that prompts include",
    )])
    .without_patch("it performs an action and changes no field")
    .with_undo_by_repeat(&[("version", "version")])
    .with_search_terms(&[
        "promote",
        "roll back snippet",
        "activate",
        "rollback",
        "deploy",
        "veröffentlichen",
    ])
    .aliases(&["publish-partial"])
    .scopes(&["prompts.publish"]),
    get::<ListVersions>(
        "list-prompt-partial-versions",
        "/prompts/partials/{prompt_partial_id}/versions",
    )
    .with_search_terms(&[
        "history",
        "revisions",
        "older snippets",
        "changes",
        "Versionen",
    ])
    .returns_untrusted_content()
    .aliases(&["list-partial-versions"])
    .scopes(&["prompts.read"]),
];

/// The specification's name. Terraform sends the other, which is the one that is read back.
const UPDATE_ALIASES: &[ArgumentAlias] = &[alias("description", "version_description")];

/// List prompt partials
///
/// Returns a page of partials of a workspace or collection, without their texts.
#[derive(Deserialize, JsonSchema)]
pub struct ListPartials {
    /// UUID or slug.
    pub collection_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Part of the name.
    pub search: Option<String>,
}

/// Create a prompt partial
///
/// Stores a text that prompts include as {{>slug}}, version 1 published; returns its ids and
/// slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreatePartial {
    /// Name.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub name: String,
    /// With {{variables}}.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub string: String,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// About this version.
    pub version_description: Option<String>,
}

/// Get a prompt partial
///
/// Returns one partial with the text of its published version, or of another.
#[derive(Deserialize, JsonSchema)]
pub struct GetPartial {
    /// UUID or slug.
    pub prompt_partial_id: String,
    /// `latest`, `default` (the published one) or a number.
    pub version: Option<TextOr<u32>>,
}

/// Update a prompt partial
///
/// Renames a partial or adds a version. A new text is not used until
/// `set-default-prompt-partial-version` publishes it.
#[derive(Deserialize, JsonSchema)]
pub struct UpdatePartial {
    /// UUID or slug.
    pub prompt_partial_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Text of the new version.
    pub string: Option<String>,
    /// State, such as `active`.
    pub status: Option<String>,
    /// What the new version is about.
    pub version_description: Option<String>,
}

/// Delete a prompt partial
///
/// Removes the partial and its versions; prompts that include it lose its text. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeletePartial {
    /// UUID or slug.
    pub prompt_partial_id: String,
}

/// Publish a prompt partial version
///
/// Makes a version the one that live prompts include. Publish the old number to go back.
#[derive(Deserialize, JsonSchema)]
pub struct PublishPartial {
    /// UUID or slug.
    pub prompt_partial_id: String,
    /// Version number, not its UUID.
    ///
    /// Required: OpenAPI; nothing else is sent.
    #[schemars(range(min = 1))]
    pub version: u32,
}

/// List a prompt partial's versions
///
/// Returns every version with its number, text and description.
#[derive(Deserialize, JsonSchema)]
pub struct ListVersions {
    /// UUID or slug.
    pub prompt_partial_id: String,
}
