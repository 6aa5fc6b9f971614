//! `promote-prompt`: a version of a prompt, from one environment to the next.

use futures_util::FutureExt;
use portkey_operation::{Findings, InputError, JsonMap, TextOr, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Listing, MAX_STEPS, Steps, Workflow, arguments, is_set,
    prompt_version::{
        METADATA_FIELD, NewVersion, PromptVersion, StoredVersion, find_label, find_prompt,
        list_versions, version_number,
    },
    publication::{LABEL_OPERATION, PUBLISH_OPERATION, Publication, attach_label},
    text,
    writer::StepWriter,
};
use crate::pipeline::CallError;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: post::<PromotePrompt>("promote-prompt", "/")
        .with_search_terms(&[
            "from dev to prod",
            "staging to production",
            "release a tested prompt",
            "back to the version of before",
            "Prompt in Produktion bringen",
        ])
        .with_rule(require_target)
        .idempotent()
        .returns_untrusted_content(),
    needs: &[
        "get-prompt",
        "list-prompts",
        "list-prompt-versions",
        "create-prompt",
        "update-prompt",
    ],
    needs_of_call,
    // The list of tools has no space left.
    listing: Listing::BySearch,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, steps| run(args, steps).boxed(),
};

/// Endings of a prompt's name that stand for an environment.
const ENVIRONMENTS: [&str; 3] = ["-dev", "-staging", "-prod"];

/// Arguments that name another prompt as the target.
const COPY_ARGUMENTS: [&str; 3] = ["target_collection_id", "target_name", "target_env"];

/// Promote a prompt
///
/// Copies a version to a prompt of another collection or name, as from dev to prod; without a target it
/// stays in its prompt. Then `publish` makes it live and `label` moves there. Says what it replaces.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct PromotePrompt {
    /// UUID or slug, `pp-…`.
    ///
    /// Required: it is what is promoted.
    source_prompt_id: String,
    /// Number, `latest`, `default` or a label.
    source_version: Option<TextOr<u32>>,
    /// Collection of the copy.
    target_collection_id: Option<String>,
    /// Name; the source's, ending in `target_env`.
    target_name: Option<String>,
    /// Such as `prod`.
    target_env: Option<String>,
    /// Provider of the copy.
    virtual_key: Option<String>,
    /// Make it live.
    publish: Option<bool>,
    /// Label to move to it.
    label: Option<String>,
    /// Only say what it would do.
    dry_run: Option<bool>,
}

fn is_copy(args: &JsonMap) -> bool {
    COPY_ARGUMENTS.iter().any(|name| args.contains_key(*name))
}

/// Returns the name of the label that `source_version` gives, if it gives one.
fn source_label(args: &JsonMap) -> Option<&str> {
    text(args, "source_version").filter(|name| !["latest", "default"].contains(name))
}

fn needs_of_call(args: &JsonMap) -> Vec<&'static str> {
    let mut needs = Vec::new();
    if is_set(args, "publish") {
        needs.push(PUBLISH_OPERATION);
    }
    if args.contains_key("label") {
        needs.push(LABEL_OPERATION);
    }
    if args.contains_key("label") || source_label(args).is_some() {
        needs.push("list-labels");
    }
    needs
}

fn require_target(args: &JsonMap, findings: &mut Findings) {
    if !is_copy(args) && !is_set(args, "publish") && !args.contains_key("label") {
        findings.add_error(
            "",
            "names no target; give `target_collection_id`, `target_name` or `target_env` for a copy, or `publish` or `label` for the prompt itself",
        );
    }
    if !is_copy(args) && args.contains_key("virtual_key") {
        findings.add_error("virtual_key", "is that of a copy, and no target is named");
    }
}

async fn run(args: JsonMap, steps: Steps) -> Result<Value, CallError> {
    let source = read_source(&args, &steps).await?;
    // Before anything is written: a wrong name would end the workflow halfway.
    let label_id = match text(&args, "label") {
        Some(label) => Some(find_label(&steps, workspace_of(&source), label).await?),
        None => None,
    };
    let mut writer = StepWriter::new(&steps, is_set(&args, "dry_run"));
    let stored = match is_copy(&args) {
        true => store_copy(&args, &source, &steps, &mut writer).await?,
        false => StoredVersion {
            action: "unchanged",
            content: source.content(),
            changed: Vec::new(),
            prompt_id: Some(source.text("id").to_owned()),
            slug: source.value("slug"),
            version_id: source.value("prompt_version_id"),
            number: source.number(),
            is_planned: false,
            is_live: false,
            notes: Vec::new(),
        },
    };
    let publishes = is_set(&args, "publish");
    let publication = Publication::decide(publishes, &stored, &steps, &mut writer).await?;
    if let Some(id) = label_id {
        attach_label(&stored, id, &mut writer).await?;
    }
    Ok(writer.finish(arguments([
        ("action", publication.action(&stored).into()),
        ("changed", json!(stored.changed)),
        ("differences", publication.differences()),
        (
            "source",
            json!({
                "prompt_id": source.value("id"),
                "slug": source.value("slug"),
                "version": source.number(),
                "version_id": source.value("prompt_version_id"),
            }),
        ),
        (
            "target",
            json!({
                "prompt_id": stored.prompt_id,
                "slug": stored.slug,
                "version": stored.number,
                "version_id": stored.version_id,
            }),
        ),
        ("published", publication.is_published.into()),
        ("note", publication.note),
        ("replaced_version", publication.replaced.into()),
        ("label", text(&args, "label").into()),
    ])))
}

fn workspace_of(prompt: &PromptVersion) -> Value {
    match prompt.value("prompt_owning_workspace_id") {
        Value::Null => prompt.value("workspace_id"),
        workspace => workspace,
    }
}

/// Reads the version to promote.
async fn read_source(args: &JsonMap, steps: &Steps) -> Result<PromptVersion, CallError> {
    let prompt_id = text(args, "source_prompt_id").unwrap_or_default();
    let wanted = match args.get("source_version") {
        Some(version) => version.clone(),
        None if is_copy(args) => Value::Null,
        None => "latest".into(),
    };
    let source = match source_label(args) {
        None => PromptVersion::read(steps, prompt_id, wanted).await?,
        Some(label) => {
            let prompt = PromptVersion::read(steps, prompt_id, Value::Null).await?;
            let id = find_label(steps, workspace_of(&prompt), label).await?;
            let versions = list_versions(steps, prompt_id).await?;
            let has_label = |version: &&Value| version.get("label_id").is_some_and(|at| *at == id);
            let labelled = versions.items.iter().find(has_label);
            let Some(number) = labelled.and_then(version_number) else {
                versions.require_complete(&format!("one with the label `{label}`"))?;
                let what = format!("no version has the label `{label}`");
                return Err(InputError::new("source_version", what).into());
            };
            PromptVersion::read(steps, prompt_id, number.into()).await?
        }
    };
    if !source.has_template() {
        let what = "has no such version; `list-prompt-versions` lists them";
        return Err(InputError::new("source_prompt_id", what).into());
    }
    Ok(source)
}

/// Stores a copy of the source under the target's name.
async fn store_copy(
    args: &JsonMap,
    source: &PromptVersion,
    steps: &Steps,
    writer: &mut StepWriter<'_>,
) -> Result<StoredVersion, CallError> {
    let collection_id = match text(args, "target_collection_id") {
        Some(collection) => collection,
        None => source.text("collection_id"),
    };
    let name = target_name(args, source.text("name"));
    let existing = find_prompt(steps, collection_id, &name).await?;
    if existing.as_deref() == Some(source.text("id")) {
        let what = format!("`{name}` is the source itself; name another target");
        return Err(InputError::new("target_name", what).into());
    }
    let mut content = source.content();
    if let Some(provider) = text(args, "virtual_key") {
        content.insert("virtual_key".to_owned(), provider.into());
    }
    if !content.contains_key("virtual_key") {
        let what = "is required, because the source names no provider";
        return Err(InputError::new("virtual_key", what).into());
    }
    let number = source
        .number()
        .map_or_else(String::new, |number| number.to_string());
    let slug = source.text("slug");
    let mut metadata = match source.value(METADATA_FIELD) {
        Value::Object(metadata) => metadata,
        _ => JsonMap::new(),
    };
    // Without a time, so that a repeated call finds the same.
    metadata.extend(arguments([
        ("env", text(args, "target_env").into()),
        ("promoted_from", slug.into()),
        ("promoted_from_version", number.as_str().into()),
    ]));
    let new = NewVersion {
        name,
        collection_id: collection_id.to_owned(),
        content,
        metadata,
        description: format!("Promoted from {slug}, version {number}").into(),
    };
    let publishes = is_set(args, "publish");
    new.store(steps, existing, publishes, writer).await
}

/// Returns the name of the copy.
fn target_name(args: &JsonMap, source: &str) -> String {
    if let Some(name) = text(args, "target_name") {
        return name.to_owned();
    }
    let Some(environment) = text(args, "target_env") else {
        return source.to_owned();
    };
    let base = ENVIRONMENTS
        .iter()
        .find_map(|ending| source.strip_suffix(ending))
        .unwrap_or(source);
    format!("{base}-{environment}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn target_name_ends_in_the_environment() {
        for (args, source, expected) in [
            (json!({ "target_env": "prod" }), "reply-dev", "reply-prod"),
            (json!({ "target_env": "prod" }), "reply", "reply-prod"),
            (
                json!({ "target_env": "prod", "target_name": "Live" }),
                "reply",
                "Live",
            ),
            (json!({}), "reply-dev", "reply-dev"),
        ] {
            let args = args.as_object().cloned().unwrap_or_default();
            assert_eq!(target_name(&args, source), expected, "{args:?}");
        }
    }
}
