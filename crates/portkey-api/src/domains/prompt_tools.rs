//! Prompt tools: definitions of functions that prompts offer to models, in versions.
//!
//! Preview, as in the domain `agent-integrations`.

use portkey_operation::{
    ApiBase, JsonMap, Operation, Risk, Stability, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `prompt-tools`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListTools>("list-prompt-tools", "/tools")
        .with_base(ApiBase::ControlPlaneV2)
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "function calling",
            "function library",
            "Funktionen anzeigen",
        ]),
    post::<CreateTool>("create-prompt-tool", "/tools")
        .with_base(ApiBase::ControlPlaneV2)
        .with_stability(Stability::Preview)
        .with_search_terms(&["function calling", "define function", "Funktion anlegen"]),
    put::<UpdateTool>("update-prompt-tool", "/tools/{tool_id}")
        .with_risks(&[
            risk(Risk::Production, "changes whether prompts can use it").if_given("status")
        ])
        .without_patch("no operation reads a single tool")
        .with_base(ApiBase::ControlPlaneV2)
        .with_stability(Stability::Preview)
        .with_search_terms(&["function calling", "edit function", "Funktion ändern"])
        .not_idempotent(),
    delete::<DeleteTool>("delete-prompt-tool", "/tools/{tool_id}")
        .with_base(ApiBase::ControlPlaneV2)
        .with_stability(Stability::Preview)
        .with_search_terms(&["function calling", "drop function", "Funktion löschen"]),
    put::<SetDefaultVersion>(
        "set-default-prompt-tool-version",
        "/tools/{tool_id}/makeDefault",
    )
    .with_risks(&[risk(
        Risk::Production,
        "changes the version that prompts use",
    )])
    .without_patch("it performs an action and changes no field")
    .with_base(ApiBase::ControlPlaneV2)
    .with_stability(Stability::Preview)
    .with_search_terms(&[
        "publish function",
        "roll back function",
        "Funktion veröffentlichen",
    ]),
    get::<ListVersions>("list-prompt-tool-versions", "/tools/{tool_id}/versions")
        .with_base(ApiBase::ControlPlaneV2)
        .with_stability(Stability::Preview)
        .with_search_terms(&["function history", "older function", "Funktion früher"]),
];

/// List prompt tools
///
/// Returns the function definitions of a collection.
#[derive(Deserialize, JsonSchema)]
pub struct ListTools {
    /// Collection UUID.
    ///
    /// Required: the description of the backend.
    pub collection_id: String,
}

/// Create a prompt tool
///
/// Stores a function definition with its first version; returns id and slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreateTool {
    /// Collection UUID.
    ///
    /// Required: the description of the backend.
    pub collection_id: String,
    /// Name.
    ///
    /// Required: the description of the backend.
    pub name: String,
    /// The definition, as models take it: name, description, parameters.
    ///
    /// Required: the description of the backend.
    pub tool_def: JsonMap,
    /// What the version is about.
    pub version_description: Option<String>,
}

/// Update a prompt tool
///
/// Changes the fields given; a new definition becomes a new version.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateTool {
    /// UUID or slug.
    pub tool_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// The definition.
    pub tool_def: Option<JsonMap>,
    /// Whether it is in use.
    pub status: Option<ToolStatus>,
    /// What the version is about.
    pub version_description: Option<String>,
}

/// Whether a prompt tool is in use.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum ToolStatus {
    Archived,
    Active,
}

/// Delete a prompt tool
///
/// Removes the definition and its versions. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteTool {
    /// UUID or slug.
    pub tool_id: String,
}

/// Set a prompt tool's default version
///
/// Publishes a version, which prompts then use.
#[derive(Deserialize, JsonSchema)]
pub struct SetDefaultVersion {
    /// UUID or slug.
    pub tool_id: String,
    /// Number of the version.
    ///
    /// Required: the description of the backend.
    #[schemars(range(min = 1))]
    pub version: u32,
}

/// List a prompt tool's versions
///
/// Returns every version of the definition, newest first.
#[derive(Deserialize, JsonSchema)]
pub struct ListVersions {
    /// UUID or slug.
    pub tool_id: String,
}
