//! `migrate-prompt`: a prompt as a program has it, stored where it differs.

use futures_util::FutureExt;
use portkey_operation::{ArgumentAlias, JsonMap, TextOr, json_text_alias, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Listing, MAX_STEPS, Steps, Workflow, arguments, is_set,
    prompt_version::{CONTENT_FIELDS, METADATA_FIELD, NewVersion, RAW_FIELD, find_prompt},
    publication::{PUBLISH_OPERATION, Publication},
    text,
    writer::StepWriter,
};
use crate::pipeline::CallError;

const ALIASES: &[ArgumentAlias] = &[json_text_alias("messages", "string")];

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: post::<MigratePrompt>("migrate-prompt", "/")
        .with_argument_aliases(ALIASES)
        .idempotent()
        .returns_untrusted_content(),
    needs: &[
        "list-prompts",
        "get-prompt",
        "list-prompt-versions",
        "create-prompt",
        "update-prompt",
    ],
    needs_of_call: |args| match is_set(args, "publish") {
        true => vec![PUBLISH_OPERATION],
        false => Vec::new(),
    },
    // Programs call it by name, and every client would pay for its many fields.
    listing: Listing::Nowhere,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, steps| run(args, steps).boxed(),
};

/// Migrate a prompt
///
/// Brings a prompt, found by its name in a collection, to this content: creates it, adds a version, or
/// changes nothing. For prompts kept as code.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct MigratePrompt {
    /// Its exact name.
    ///
    /// Required: the prompt is found by it.
    name: String,
    /// Collection UUID or slug.
    ///
    /// Required: the prompt is found in it.
    collection_id: String,
    /// Template; for chat, a list of messages as JSON text.
    ///
    /// Required: as in `create-prompt`.
    string: String,
    /// Model parameters.
    parameters: Option<JsonMap>,
    /// Slug of the provider that runs it.
    ///
    /// Required: as in `create-prompt`.
    virtual_key: String,
    /// Model.
    model: Option<String>,
    /// About this version.
    version_description: Option<String>,
    /// Metadata of the version.
    template_metadata: Option<JsonMap>,
    /// Kept in the metadata.
    app: Option<String>,
    /// Kept in the metadata.
    env: Option<String>,
    /// Function definitions (legacy).
    #[schemars(extend("x-publish" = "hidden"))]
    functions: Option<Vec<JsonMap>>,
    /// Tool definitions.
    tools: Option<Vec<JsonMap>>,
    /// Which tool to use.
    tool_choice: Option<TextOr<JsonMap>>,
    /// True for raw text.
    #[schemars(extend("x-publish" = "hidden"))]
    is_raw_template: Option<bool>,
    /// Make the version live.
    publish: Option<bool>,
    /// Only say what would be done.
    dry_run: Option<bool>,
}

async fn run(args: JsonMap, steps: Steps) -> Result<Value, CallError> {
    let given = |name: &str| args.get(name).cloned().unwrap_or_default();
    let owned = |name: &str| text(&args, name).unwrap_or_default().to_owned();
    let mut content = arguments(CONTENT_FIELDS.map(|name| (name, given(name))));
    if let Some(raw) = content.get_mut(RAW_FIELD) {
        *raw = u8::from(*raw == true).into();
    }
    let mut metadata = match given(METADATA_FIELD) {
        Value::Object(metadata) => metadata,
        _ => JsonMap::new(),
    };
    metadata.extend(arguments([("app", given("app")), ("env", given("env"))]));
    let new = NewVersion {
        name: owned("name"),
        collection_id: owned("collection_id"),
        content,
        metadata,
        description: given("version_description"),
    };
    let mut writer = StepWriter::new(&steps, is_set(&args, "dry_run"));
    let existing = find_prompt(&steps, &new.collection_id, &new.name).await?;
    let publishes = is_set(&args, "publish");
    let stored = new.store(&steps, existing, publishes, &mut writer).await?;
    let publication = Publication::decide(publishes, &stored, &steps, &mut writer).await?;
    Ok(writer.finish(arguments([
        ("action", publication.action(&stored).into()),
        ("changed", json!(stored.changed)),
        ("differences", publication.differences()),
        ("prompt_id", stored.prompt_id.into()),
        ("slug", stored.slug),
        ("version", stored.number.into()),
        ("version_id", stored.version_id),
        ("published", publication.is_published.into()),
        ("note", publication.note),
        ("replaced_version", publication.replaced.into()),
    ])))
}
