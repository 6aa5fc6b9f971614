//! Publishing and labelling of versions that workflows stored.

use portkey_merge_patch::Diff;
use portkey_operation::InputError;
use serde_json::Value;

use super::{
    Steps, arguments,
    prompt_version::{PromptVersion, StoredVersion},
    writer::StepWriter,
};
use crate::{changes::change_to_json, pipeline::CallError};

/// Operation that publishes a version.
pub(super) const PUBLISH_OPERATION: &str = "set-default-prompt-version";

/// Operation that attaches a label to a version.
pub(super) const LABEL_OPERATION: &str = "update-prompt-version";

const UNPUBLISHED_NOTE: &str = "the new version serves nobody until it is published: `publish`, or `set-default-prompt-version`.";

/// The published version of a prompt, after a workflow stored one.
pub(super) struct Publication {
    /// True if calls of the prompt get the stored version.
    pub(super) is_published: bool,
    /// Number of the version that was published before.
    pub(super) replaced: Option<u64>,
    /// Differences for calls of the prompt.
    differences: Diff,
    /// Notes for the caller; null if there are none.
    pub(super) note: Value,
}

impl Publication {
    /// Publishes a stored version if that is `wanted`, or finds out whether it is published.
    pub(super) async fn decide(
        wanted: bool,
        stored: &StoredVersion,
        steps: &Steps,
        writer: &mut StepWriter<'_>,
    ) -> Result<Self, CallError> {
        let mut before = None;
        let is_published = match (stored.is_live, &stored.prompt_id) {
            (true, _) => true,
            (false, _) if wanted => {
                before = publish(steps, stored, writer).await?;
                true
            }
            // A version that is there already may have been published before.
            (false, Some(id)) if stored.action == "unchanged" => {
                published_number(steps, id).await? == stored.number
            }
            (false, _) => false,
        };
        let mut notes = stored.notes.clone();
        if stored.action == "updated" && !is_published {
            notes.push(UNPUBLISHED_NOTE);
        }
        let differences = match (&before, &stored.content) {
            (Some(before), content) => before.compare(content),
            (None, _) => Diff::default(),
        };
        Ok(Self {
            is_published,
            replaced: before.as_ref().and_then(PromptVersion::number),
            differences,
            note: match notes.is_empty() {
                true => Value::Null,
                false => notes.join(" ").into(),
            },
        })
    }
}

impl Publication {
    /// Returns what the workflow did: `published` if it stored nothing, and another version is live now.
    pub(super) fn action(&self, stored: &StoredVersion) -> &'static str {
        match (stored.is_new(), self.replaced) {
            (false, Some(_)) => "published",
            _ => stored.action,
        }
    }

    /// Returns the differences of the published version from the one that it replaces; null if there are
    /// none.
    pub(super) fn differences(&self) -> Value {
        match self.differences.is_empty() {
            true => Value::Null,
            false => self
                .differences
                .changes
                .iter()
                .map(change_to_json)
                .collect(),
        }
    }
}

/// Returns the number of the published version.
async fn published_number(steps: &Steps, prompt_id: &str) -> Result<Option<u64>, CallError> {
    let published = PromptVersion::read(steps, prompt_id, Value::Null).await?;
    Ok(published.number())
}

/// Publishes a version, unless it is published. Returns the one that it replaces.
async fn publish(
    steps: &Steps,
    stored: &StoredVersion,
    writer: &mut StepWriter<'_>,
) -> Result<Option<PromptVersion>, CallError> {
    let published = match &stored.prompt_id {
        Some(id) => Some(PromptVersion::read(steps, id, Value::Null).await?),
        None => None,
    };
    let mut args = arguments([("prompt_id", stored.prompt_id.clone().into())]);
    if stored.is_planned {
        // The new version has no number yet.
        writer.plan(PUBLISH_OPERATION, args);
        return Ok(published);
    }
    let number = stored.number.ok_or_else(unknown_version)?;
    let is_live = |version: &PromptVersion| version.number() == Some(number);
    if !published.as_ref().is_some_and(is_live) {
        args.insert("version".to_owned(), number.into());
        writer.write(PUBLISH_OPERATION, args).await?;
    }
    Ok(published.filter(|before| before.number().is_some() && !is_live(before)))
}

/// Builds the error for a version that was stored and that the lists do not show.
fn unknown_version() -> InputError {
    let what =
        "the version was stored, and its number is not known; `list-prompt-versions` shows it";
    InputError::new("", what)
}

/// Moves a label to a version.
pub(super) async fn attach_label(
    stored: &StoredVersion,
    label_id: String,
    writer: &mut StepWriter<'_>,
) -> Result<(), CallError> {
    let args = arguments([
        ("prompt_id", stored.prompt_id.clone().into()),
        ("version_id", stored.version_id.clone()),
        ("label_id", label_id.into()),
    ]);
    if stored.is_planned {
        writer.plan(LABEL_OPERATION, args);
        return Ok(());
    }
    if stored.version_id.is_null() {
        return Err(unknown_version().into());
    }
    writer.write(LABEL_OPERATION, args).await?;
    Ok(())
}
