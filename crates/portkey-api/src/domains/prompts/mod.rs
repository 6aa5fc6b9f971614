//! Prompts: templates with versions, one of which is published.

mod run;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub use run::RunPrompt;

use portkey_operation::{
    ApiBase, ArgumentAlias, CompanionArgument, Effect, Findings, JsonMap, MovedLabel, Nullable,
    Open, Operation, Risk, TextOr, UpdateField, UpdateRules, alias, delete, get, json_text_alias,
    post, put, risk, spread_alias,
};

/// The note on arguments that `run` and `render` take beside the listed ones.
macro_rules! overrides {
    () => {
        "Other arguments override the template and may be any completion parameter, such as \
         {frequency,presence}_penalty, max_completion_tokens, n, seed, top_p, user."
    };
}

/// Operations of the domain `prompts`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListPrompts>("list-prompts", "/prompts")
        // Seen live: without a page, all prompts are returned, whatever the size of one.
        .with_companion_arguments(&[CompanionArgument {
            of: "page_size",
            name: "current_page",
            json: "0",
        }])
        .with_search_terms(&["browse", "find", "library", "Vorlagen"])
        .scopes(&["prompts.list"]),
    post::<CreatePrompt>("create-prompt", "/prompts")
        .with_argument_aliases(PROMPT_ALIASES)
        .with_search_terms(&[
            "new template",
            "author",
            "write",
            "system message",
            "Vorlage anlegen",
        ])
        .scopes(&["prompts.create"]),
    get::<GetPrompt>("get-prompt", "/prompts/{prompt_id}")
        .with_search_terms(&["show template", "content", "view text", "read", "Vorlage"])
        .returns_untrusted_content()
        .scopes(READ_SCOPES),
    // Each change of the template adds a version.
    put::<UpdatePrompt>("update-prompt", "/prompts/{prompt_id}")
        .with_update(
            UpdateRules::read_by("get-prompt")
                .with_read_arguments(&[("version", "latest")])
                .with_fields(&[
                    UpdateField::write_only("patch"),
                    UpdateField::replaced("prompt_metadata").read_as("template_metadata"),
                    UpdateField::replaced("version_description")
                        .read_as("prompt_version_description"),
                ])
                .with_version("prompt_version_id")
                .with_partial_flag("patch", &["name", "collection_id"]),
        )
        .with_argument_aliases(UPDATE_ALIASES)
        .with_search_terms(&[
            "edit template",
            "change system message",
            "reword",
            "revise",
            "Vorlage ändern",
        ])
        .not_idempotent()
        .with_rule(require_complete_version)
        .scopes(UPDATE_SCOPES),
    delete::<DeletePrompt>("delete-prompt", "/prompts/{prompt_id}")
        .with_search_terms(&["template", "bin", "throw away", "drop", "Vorlage löschen"])
        .scopes(&["prompts.delete"]),
    post::<RunPrompt>(
        "create-prompt-completion",
        "/prompts/{prompt_id}/completions",
    )
    .with_argument_aliases(RUN_ALIASES)
    .with_search_terms(&[
        "execute",
        "invoke",
        "generate",
        "try out",
        "ausführen",
        "inference",
    ])
    .with_docs(
        "Run a prompt",
        concat!(
            "Calls the prompt's model and returns its answer; each call costs money and is logged. \
                 Needs a workspace key. ",
            overrides!()
        ),
    )
    .with_base(ApiBase::Gateway)
    .with_rule(run::reject_ineffective_overrides)
    .open_world()
    .returns_untrusted_content()
    .with_sensitive_fields(&["choices"])
    .aliases(&["run-prompt-completion"])
    .scopes(&["prompts.render", "completions.write"]),
    put::<PublishPrompt>(
        "set-default-prompt-version",
        "/prompts/{prompt_id}/makeDefault",
    )
    .with_risks(&[risk(
        Risk::Production,
        "changes the version that requests get",
    )])
    .without_patch("it performs an action and changes no field")
    .with_undo_by_repeat(&[("version", "prompt_version")])
    .with_search_terms(&[
        "promote",
        "deploy",
        "rollback",
        "activate",
        "live",
        "veröffentlichen",
    ])
    .aliases(&["publish-prompt"])
    .scopes(&["prompts.publish"]),
    // The call is a POST only because it has a body: it stores nothing and calls no model.
    post::<RunPrompt>("render-prompt", "/prompts/{prompt_id}/render")
        .with_argument_aliases(RUN_ALIASES)
        .with_search_terms(&[
            "fill in",
            "dry run",
            "substitute",
            "preview",
            "placeholders",
            "vorschau",
        ])
        .with_docs(
            "Render a prompt",
            concat!(
                "Returns the request that running the prompt would send, without calling a model. ",
                overrides!()
            ),
        )
        .with_base(ApiBase::Gateway)
        .with_effect(Effect::Read)
        .returns_untrusted_content()
        .with_sensitive_fields(&["data"])
        .scopes(&["prompts.render"]),
    get::<ListVersions>("list-prompt-versions", "/prompts/{prompt_id}/versions")
        .with_search_terms(&["history", "revisions", "changes", "older", "Versionen"])
        .returns_untrusted_content()
        .scopes(READ_SCOPES),
    get::<GetVersion>(
        "get-prompt-version",
        "/prompts/{prompt_id}/versions/{version_id}",
    )
    .with_search_terms(&["revision", "old template", "specific", "compare", "frühere"])
    .returns_untrusted_content()
    .scopes(READ_SCOPES),
    put::<UpdateVersion>(
        "update-prompt-version",
        "/prompts/{prompt_id}/versions/{version_id}",
    )
    .with_risks(&[risk(
        Risk::Production,
        "changes the version that requests by this label get",
    )
    .if_given("label_id")])
    .with_update(
        UpdateRules::read_by("get-prompt-version")
            .with_fields(&[UpdateField::replaced("label_id").read_as("prompt_version_label_id")]),
    )
    .with_moved_label(MovedLabel {
        argument: "label_id",
        list: "list-prompt-versions",
        version: "version_id",
    })
    .with_search_terms(&[
        "tag revision",
        "mark as production",
        "staging",
        "assign environment",
        "kennzeichnen",
    ])
    .scopes(UPDATE_SCOPES),
];

/// Model parameters that other servers take in one object.
const RUN_ALIASES: &[ArgumentAlias] = &[spread_alias("hyperparameters", "")];

/// Fields of a version under their names in other servers.
const UPDATE_ALIASES: &[ArgumentAlias] = &[
    json_text_alias("messages", "string"),
    alias("template_metadata", "prompt_metadata"),
];

/// The messages of a chat in the form of other servers.
const PROMPT_ALIASES: &[ArgumentAlias] = &[json_text_alias("messages", "string")];

const READ_SCOPES: &[&str] = &["prompts.read"];
const UPDATE_SCOPES: &[&str] = &["prompts.update"];

/// List prompts
///
/// Returns the prompts of a workspace or collection without their templates; all of them unless paged. Also
/// return_last_used.
#[derive(Deserialize, JsonSchema)]
pub struct ListPrompts {
    /// Collection UUID or slug.
    pub collection_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Part of the name, in any case.
    pub search: Option<String>,
    /// Those that other workspaces share with this one.
    #[serde(rename = "type")]
    pub kind: Option<Open<PromptKind>>,
    /// Tell with whom they are shared.
    pub show_prompt_share: Option<bool>,
    /// Add when each was last used.
    #[schemars(extend("x-publish" = "hidden"))]
    pub return_last_used: Option<bool>,
}

/// Which prompts to list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the word says it")]
pub enum PromptKind {
    Shared,
}

/// Create a prompt
///
/// Stores a template with version 1 published; returns id, slug and version id. Its workspace is the
/// collection's.
#[derive(Deserialize, JsonSchema)]
pub struct CreatePrompt {
    /// Name.
    ///
    /// Required: OpenAPI; Terraform and the SDKs always send it.
    pub name: String,
    /// Collection UUID or slug.
    ///
    /// Required: OpenAPI; Terraform and the SDKs always send it.
    pub collection_id: String,
    /// Template with {{variables}}; for chat, a list of messages as JSON text.
    ///
    /// Required: OpenAPI; Terraform and the SDKs always send it.
    pub string: String,
    /// Model parameters, such as temperature.
    ///
    /// Required: OpenAPI; Terraform always sends it, if only as null.
    #[schemars(required)]
    pub parameters: Nullable<JsonMap>,
    /// Slug of the provider that runs it.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub virtual_key: String,
    /// Function definitions (legacy).
    pub functions: Option<Vec<JsonMap>>,
    /// Tool definitions.
    pub tools: Option<Vec<JsonMap>>,
    /// Which tool to use.
    pub tool_choice: Option<TextOr<JsonMap>>,
    /// Model; best given.
    pub model: Option<String>,
    /// About this version.
    pub version_description: Option<String>,
    /// Metadata of the version; `prompt_metadata` in an update.
    pub template_metadata: Option<JsonMap>,
}

/// Get a prompt
///
/// Returns a prompt with the template of its published version, or of another.
#[derive(Deserialize, JsonSchema)]
pub struct GetPrompt {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
    /// `latest`, `default` (the published one) or a number.
    pub version: Option<TextOr<u32>>,
}

/// Update a prompt
///
/// Renames or moves a prompt, or adds a version, which serves nobody until
/// `set-default-prompt-version` publishes it. A version takes all of string, parameters, model,
/// virtual_key unless `patch` is true.
#[derive(Deserialize, JsonSchema)]
pub struct UpdatePrompt {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
    /// True: copy what is left out from the latest version.
    pub patch: Option<bool>,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// UUID or slug of the collection to move it to.
    pub collection_id: Option<String>,
    /// Template; for chat, a list of messages as JSON text.
    pub string: Option<String>,
    /// Model parameters, such as temperature.
    ///
    /// Terraform sends null beside a new name alone.
    pub parameters: Nullable<JsonMap>,
    /// Model.
    pub model: Option<String>,
    /// Slug of the provider that runs it.
    pub virtual_key: Option<String>,
    /// What the new version is about.
    pub version_description: Option<String>,
    /// Function definitions (legacy).
    pub functions: Option<Vec<JsonMap>>,
    /// Tool definitions.
    pub tools: Option<Vec<JsonMap>>,
    /// Which tool to use.
    pub tool_choice: Option<TextOr<JsonMap>>,
    /// 1 for raw text.
    #[schemars(range(min = 0, max = 1))]
    pub is_raw_template: Option<u8>,
    /// Metadata of the version; reads call it `template_metadata`.
    pub prompt_metadata: Option<JsonMap>,
}

/// Delete a prompt
///
/// Removes the prompt and its versions; calls of it fail. Refused while it is shared. This cannot be
/// undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeletePrompt {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
}

/// Publish a prompt version
///
/// Makes a version the one that calls get by default. Publish the old number to go back.
#[derive(Deserialize, JsonSchema)]
pub struct PublishPrompt {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
    /// Version number, not its UUID.
    ///
    /// Required: OpenAPI; nothing else is sent.
    #[schemars(range(min = 1))]
    pub version: u32,
}

/// List a prompt's versions
///
/// Returns every version, newest first, with number, template and label.
#[derive(Deserialize, JsonSchema)]
pub struct ListVersions {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
}

/// Get a prompt version
///
/// Returns the prompt with the template of one version.
#[derive(Deserialize, JsonSchema)]
pub struct GetVersion {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
    /// Version UUID, from `list-prompt-versions`.
    pub version_id: String,
}

/// Label a prompt version
///
/// Attaches a label to one version, or takes it off; the template stays as it is.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateVersion {
    /// UUID or slug, `pp-…`.
    pub prompt_id: String,
    /// Version UUID, from `list-prompt-versions`.
    pub version_id: String,
    /// Label UUID, from `list-labels`.
    pub label_id: Nullable<String>,
}

/// Fields of a version. An update of one of them creates a version.
const VERSION_FIELDS: [&str; 10] = [
    "string",
    "parameters",
    "model",
    "virtual_key",
    "version_description",
    "functions",
    "tools",
    "tool_choice",
    "is_raw_template",
    "prompt_metadata",
];

/// Requires all parts of a new version. Portkey copies missing ones from the latest version only if
/// `patch` is true.
fn require_complete_version(args: &JsonMap, findings: &mut Findings) {
    let is_change = |(name, value): (&String, &Value)| name != "prompt_id" && !value.is_null();
    if args.contains_key("parameters") && !args.iter().any(is_change) {
        findings.add_error("parameters", "null alone changes nothing");
    }
    let patches = args.get("patch").is_some_and(|patch| *patch == true);
    // Terraform sends `parameters: null` beside a new name, and where a version has none.
    let is_given = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
    if patches || !VERSION_FIELDS.iter().any(|&name| is_given(name)) {
        return;
    }
    let needed = ["string", "parameters", "model", "virtual_key"];
    for name in needed.into_iter().filter(|name| !args.contains_key(*name)) {
        findings.add_error(
            name,
            "is required for a new version; or set `patch` to copy the latest one",
        );
    }
}
