//! Labels: names that point at a version of a prompt.

use portkey_operation::{
    Findings, JsonMap, Operation, Risk, UpdateRules, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `labels`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListLabels>("list-labels", "/labels")
        .with_search_terms(&["tags", "environments", "staging", "Etiketten", "markers"])
        .aliases(&["list-prompt-labels"])
        .scopes(&["prompts.list"]),
    post::<CreateLabel>("create-label", "/labels")
        .with_search_terms(&["tag", "staging", "environment", "marker", "Etikett anlegen"])
        .with_rule(check_label_name)
        .aliases(&["create-prompt-label"])
        .scopes(&["prompts.create"]),
    get::<GetLabel>("get-label", "/labels/{label_id}")
        .with_search_terms(&["tag", "marker", "details", "Etikett"])
        .aliases(&["get-prompt-label"])
        .scopes(&["prompts.read"]),
    put::<UpdateLabel>("update-label", "/labels/{label_id}")
        .with_risks(&[risk(
            Risk::Production,
            "changes the name by which requests find a version",
        )
        .if_given("name")])
        .with_update(UpdateRules::read_by("get-label"))
        .with_search_terms(&["tag", "rename", "colour", "recolour", "Etikett ändern"])
        .with_rule(check_label_name)
        .aliases(&["update-prompt-label"])
        .scopes(&["prompts.update"]),
    delete::<DeleteLabel>("delete-label", "/labels/{label_id}")
        .with_search_terms(&["tag", "marker", "drop", "untag", "Etikett löschen"])
        .aliases(&["delete-prompt-label"])
        .scopes(&["prompts.delete"]),
];

/// List labels
///
/// Returns a page of a workspace's labels, or of the organisation's.
#[derive(Deserialize, JsonSchema)]
pub struct ListLabels {
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Part of the name.
    pub search: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
}

/// Create a label
///
/// Adds a label such as `production` and returns its UUID. `update-prompt-version` attaches it.
#[derive(Deserialize, JsonSchema)]
pub struct CreateLabel {
    /// Without spaces or @; not `latest`, `default` or a number.
    ///
    /// Required: OpenAPI.
    pub name: String,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// What it stands for.
    pub description: Option<String>,
    /// Colour, such as #0a7d33.
    pub color_code: Option<String>,
}

/// Get a label
///
/// Returns one label.
#[derive(Deserialize, JsonSchema)]
pub struct GetLabel {
    /// Label UUID.
    pub label_id: String,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}

/// Update a label
///
/// Changes the fields given and keeps the rest.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateLabel {
    /// Label UUID.
    pub label_id: String,
    /// As in `create-label`.
    pub name: Option<String>,
    /// What it stands for.
    pub description: Option<String>,
    /// Colour, such as #0a7d33.
    pub color_code: Option<String>,
}

/// Delete a label
///
/// Removes the label from every version that has it. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteLabel {
    /// Label UUID.
    pub label_id: String,
}

/// Rejects a label that could mean a version.
///
/// A version is requested by number, as `latest`, as `default` or by label, so a label must be none
/// of the others. Portkey accepts a single unusual character.
fn check_label_name(args: &JsonMap, findings: &mut Findings) {
    let Some(name) = args.get("name").and_then(|name| name.as_str()) else {
        return;
    };
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || ["latest", "default"].contains(&name) {
        findings.add_error(
            "name",
            "is taken to mean a version; a label is not `latest`, `default` or a number",
        );
    }
    let is_unusual = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_');
    let unusual_chars: String = name.chars().filter(is_unusual).collect();
    if unusual_chars.chars().count() > 1
        || unusual_chars.contains(|c: char| c == '@' || c.is_whitespace())
    {
        findings.add_error("name", "takes letters, digits, `-` and `_`");
    }
}
