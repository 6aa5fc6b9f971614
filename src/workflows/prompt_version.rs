//! Versions of prompts, as workflows find, compare and store them.

use portkey_merge_patch::{Diff, ListRules};
use portkey_operation::{InputError, JsonMap};
use serde_json::{Value, json};

use super::{Steps, arguments, list::List, writer::StepWriter};
use crate::{
    pipeline::CallError,
    security::{sanitize::sanitize_value, secrets::mask_undeclared},
};

/// Fields that make up a version, without its metadata.
pub(super) const CONTENT_FIELDS: [&str; 8] = [
    "string",
    "parameters",
    "model",
    "virtual_key",
    "functions",
    "tools",
    "tool_choice",
    RAW_FIELD,
];

/// Field that says that a template is raw text.
pub(super) const RAW_FIELD: &str = "is_raw_template";

const RAW_NOTE: &str = "version 1 is live, and it is not raw, because `create-prompt` takes no raw template; repeat the call with \
    `publish` to replace it.";

const MASKED_NOTE: &str = "the content has a text that looks like a key, which is masked in reads; another key in its place \
    is not noticed.";

/// Field of a version's metadata where it is read and created.
pub(super) const METADATA_FIELD: &str = "template_metadata";

/// A prompt, with one of its versions.
pub(super) struct PromptVersion {
    fields: JsonMap,
}

impl PromptVersion {
    /// Reads a prompt with the version that `version` names; the published one if it is null.
    pub(super) async fn read(
        steps: &Steps,
        prompt_id: &str,
        version: Value,
    ) -> Result<Self, CallError> {
        let args = arguments([("prompt_id", prompt_id.into()), ("version", version)]);
        let fields = match steps.read("get-prompt", args).await? {
            Value::Object(fields) => fields,
            _ => JsonMap::new(),
        };
        Ok(Self { fields })
    }

    pub(super) fn text(&self, name: &str) -> &str {
        super::text(&self.fields, name).unwrap_or_default()
    }

    pub(super) fn value(&self, name: &str) -> Value {
        self.fields.get(name).cloned().unwrap_or_default()
    }

    /// Returns the number of the version, if there is one.
    pub(super) fn number(&self) -> Option<u64> {
        self.fields.get("prompt_version")?.as_u64()
    }

    /// Returns true if the answer contains a template.
    pub(super) fn has_template(&self) -> bool {
        self.fields.get("string").is_some_and(Value::is_string)
    }

    /// Returns the fields of the version that have a value.
    pub(super) fn content(&self) -> JsonMap {
        let fields = CONTENT_FIELDS.map(|name| (name, self.value(name)));
        arguments(fields)
    }

    /// Returns the differences of other content from this version. Content without a model takes any.
    pub(super) fn compare(&self, content: &JsonMap) -> Diff {
        let mut old = self.content();
        old.retain(|name, _| name != "model" || content.contains_key(name));
        let mut diff = Diff::between(&old.into(), &content.clone().into(), ListRules::default());
        let is_empty = |value: &Option<Value>| value.as_ref().is_none_or(is_empty);
        diff.changes
            .retain(|change| !(is_empty(&change.old) && is_empty(&change.new)));
        diff
    }

    /// Returns the names of the fields in which other content differs from this version.
    ///
    /// This version was sanitized and masked when it was read, so the other content is compared in the
    /// same form. Metadata counts by the names that the other content has: Portkey may add some. Content without a
    /// model takes any.
    pub(super) fn differences(&self, content: &JsonMap, metadata: &JsonMap) -> Vec<&'static str> {
        let given = as_read(join_fields(content, metadata));
        let changed = |name: &&'static str| {
            let new = given.get(*name).cloned().unwrap_or_default();
            if *name == "model" && new.is_null() {
                return false;
            }
            let old = self.value(name);
            new != old && !(is_empty(&new) && is_empty(&old))
        };
        let mut names: Vec<_> = CONTENT_FIELDS
            .into_iter()
            .filter(|name| changed(name))
            .collect();
        let old = self.value(METADATA_FIELD);
        let new = given.get(METADATA_FIELD).and_then(Value::as_object);
        if new
            .into_iter()
            .flatten()
            .any(|(name, value)| old.get(name) != Some(value))
        {
            names.push(METADATA_FIELD);
        }
        names
    }
}

/// Returns true if a field counts as one that a version does not have.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// Returns a value in the form in which a read returns it: sanitized, and with keys masked.
fn as_read(mut value: Value) -> Value {
    sanitize_value(&mut value);
    mask_undeclared(&mut value);
    value
}

/// Returns content and metadata as one object, as a prompt has them. Masking decides by names as they
/// are nested.
fn join_fields(content: &JsonMap, metadata: &JsonMap) -> Value {
    let mut fields = content.clone();
    fields.insert(METADATA_FIELD.to_owned(), metadata.clone().into());
    fields.into()
}

/// Returns true if content has keys, which are masked in a read.
fn has_keys(content: &JsonMap, metadata: &JsonMap) -> bool {
    let mut clean = join_fields(content, metadata);
    sanitize_value(&mut clean);
    as_read(clean.clone()) != clean
}

/// Returns the id of the prompt of this exact name in a collection, if there is one.
pub(super) async fn find_prompt(
    steps: &Steps,
    collection_id: &str,
    name: &str,
) -> Result<Option<String>, CallError> {
    let args = arguments([
        ("collection_id", collection_id.into()),
        ("search", name.into()),
    ]);
    let list = List::read_pages(steps, "list-prompts", args).await?;
    let shown_name = as_read(name.into());
    let is_named = |prompt: &&Value| prompt.get("name") == Some(&shown_name);
    let mut named = list.items.iter().filter(is_named);
    let id = |prompt: &Value| Some(prompt.get("id")?.as_str()?.to_owned());
    let first = named.next().and_then(id);
    if first.is_some() && named.next().is_some() {
        let what =
            format!("several prompts of the collection are named `{name}`; rename all but one");
        return Err(InputError::new("", what).into());
    }
    if first.is_none() {
        // Otherwise each call might create one more.
        list.require_complete(&format!("a prompt `{name}`"))?;
    }
    Ok(first)
}

/// Content to store in a prompt.
pub(super) struct NewVersion {
    pub(super) name: String,
    pub(super) collection_id: String,
    /// Fields of [`CONTENT_FIELDS`].
    pub(super) content: JsonMap,
    pub(super) metadata: JsonMap,
    pub(super) description: Value,
}

/// The place where content was stored.
pub(super) struct StoredVersion {
    /// `created`, `updated` or `unchanged`.
    pub(super) action: &'static str,
    /// Content of the version, as it is read.
    pub(super) content: JsonMap,
    /// Fields in which it differs from what was there.
    pub(super) changed: Vec<&'static str>,
    pub(super) prompt_id: Option<String>,
    pub(super) slug: Value,
    /// UUID and number, as far as they are known.
    pub(super) version_id: Value,
    pub(super) number: Option<u64>,
    /// True if the write was only described.
    pub(super) is_planned: bool,
    /// True if the version serves calls since it was stored.
    pub(super) is_live: bool,
    /// Notes for the caller.
    pub(super) notes: Vec<&'static str>,
}

impl StoredVersion {
    /// Returns true if the workflow stored it, and did not find it.
    pub(super) fn is_new(&self) -> bool {
        self.action != "unchanged"
    }
}

impl NewVersion {
    /// Stores the content, unless the latest version of the prompt has it.
    ///
    /// A prompt cannot be created with a raw template. If `publishes` is true, the raw version follows,
    /// to be published.
    pub(super) async fn store(
        self,
        steps: &Steps,
        existing: Option<String>,
        publishes: bool,
        writer: &mut StepWriter<'_>,
    ) -> Result<StoredVersion, CallError> {
        if let Some(id) = existing {
            return self.update(steps, id, writer).await;
        }
        let mut created = self.create(writer).await?;
        if !self.is_raw() {
            return Ok(created);
        }
        if !publishes {
            created.notes.push(RAW_NOTE);
            return Ok(created);
        }
        match created.prompt_id.clone() {
            Some(id) => {
                let updated = self.update(steps, id, writer).await?;
                Ok(StoredVersion {
                    action: created.action,
                    changed: created.changed,
                    ..updated
                })
            }
            None if !created.is_planned => {
                created.notes.push(RAW_NOTE);
                Ok(created)
            }
            None => {
                created.is_live = false;
                let args = arguments([
                    ("patch", true.into()),
                    (RAW_FIELD, 1.into()),
                    ("prompt_metadata", self.metadata.into()),
                ]);
                writer.plan("update-prompt", args);
                Ok(created)
            }
        }
    }

    /// Returns the content in the form in which a read returns it.
    fn readable_content(&self) -> JsonMap {
        match as_read(self.content.clone().into()) {
            Value::Object(content) => content,
            _ => JsonMap::new(),
        }
    }

    fn is_raw(&self) -> bool {
        self.content
            .get(RAW_FIELD)
            .is_some_and(|raw| *raw == true || *raw == 1)
    }

    async fn create(&self, writer: &mut StepWriter<'_>) -> Result<StoredVersion, CallError> {
        let mut args = arguments([
            ("name", self.name.as_str().into()),
            ("collection_id", self.collection_id.as_str().into()),
            ("version_description", self.description.clone()),
            (METADATA_FIELD, self.metadata.clone().into()),
        ]);
        args.extend(self.content.clone());
        // The operation that creates has no such field.
        args.shift_remove(RAW_FIELD);
        args.entry("parameters").or_insert_with(|| json!({}));
        let made = writer.write("create-prompt", args).await?;
        let field = |name: &str| made.as_ref().and_then(|made| made.get(name)).cloned();
        Ok(StoredVersion {
            action: "created",
            content: self.readable_content(),
            changed: Vec::new(),
            prompt_id: field("id").and_then(|id| id.as_str().map(str::to_owned)),
            slug: field("slug").unwrap_or_default(),
            version_id: field("version_id").unwrap_or_default(),
            number: made.is_some().then_some(1),
            is_planned: made.is_none(),
            is_live: true,
            notes: Vec::new(),
        })
    }

    async fn update(
        self,
        steps: &Steps,
        id: String,
        writer: &mut StepWriter<'_>,
    ) -> Result<StoredVersion, CallError> {
        let latest = PromptVersion::read(steps, &id, "latest".into()).await?;
        let changed = latest.differences(&self.content, &self.metadata);
        let mut stored = StoredVersion {
            action: "unchanged",
            content: self.readable_content(),
            changed,
            slug: latest.value("slug"),
            version_id: latest.value("prompt_version_id"),
            number: latest.number(),
            prompt_id: Some(id.clone()),
            is_planned: false,
            is_live: false,
            notes: Vec::new(),
        };
        if stored.changed.is_empty() {
            if has_keys(&self.content, &self.metadata) {
                stored.notes.push(MASKED_NOTE);
            }
            return Ok(stored);
        }
        let mut args = arguments([
            ("prompt_id", id.as_str().into()),
            ("version_description", self.description),
            ("prompt_metadata", self.metadata.into()),
        ]);
        args.extend(self.content);
        args.entry("parameters").or_insert_with(|| json!({}));
        // A whole version names a model, and this content says nothing about it.
        if !args.contains_key("model") {
            match latest.value("model") {
                Value::Null => args.insert("patch".to_owned(), true.into()),
                model => args.insert("model".to_owned(), model),
            };
        }
        stored.action = "updated";
        stored.version_id = Value::Null;
        stored.number = None;
        stored.is_planned = true;
        if let Some(answer) = writer.write("update-prompt", args).await? {
            stored.is_planned = false;
            stored.version_id = answer.get("prompt_version_id").cloned().unwrap_or_default();
            // The answer has no number.
            let listed = list_versions(steps, &id).await?;
            let is_new = |version: &&Value| version.get("id") == Some(&stored.version_id);
            let new = listed.items.iter().find(is_new);
            stored.number = new.and_then(version_number);
        }
        Ok(stored)
    }
}

/// Lists the versions of a prompt.
pub(super) async fn list_versions(steps: &Steps, prompt_id: &str) -> Result<List, CallError> {
    let args = arguments([("prompt_id", prompt_id.into())]);
    List::read(steps, "list-prompt-versions", args).await
}

/// Returns the number of a version in a list.
pub(super) fn version_number(version: &Value) -> Option<u64> {
    version.get("prompt_version")?.as_u64()
}

/// Returns the UUID of the label of a name.
pub(super) async fn find_label(
    steps: &Steps,
    workspace_id: Value,
    name: &str,
) -> Result<String, CallError> {
    let args = arguments([("workspace_id", workspace_id), ("search", name.into())]);
    let list = List::read_pages(steps, "list-labels", args).await?;
    let is_named = |label: &&Value| label.get("name").is_some_and(|found| found == name);
    let named = list.items.iter().find(is_named);
    let id = named.and_then(|label| label.get("id")?.as_str());
    match id {
        Some(id) => Ok(id.to_owned()),
        None => {
            list.require_complete(&format!("a label `{name}`"))?;
            let what = format!("there is no label `{name}`; `list-labels` finds them");
            Err(InputError::new("label", what).into())
        }
    }
}
