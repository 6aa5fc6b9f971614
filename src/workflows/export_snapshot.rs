//! `export-snapshot`: the settings of an organisation as YAML, one document for each resource.

use futures_util::FutureExt;
use portkey_operation::{JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Listing, Steps, Workflow, arguments,
    snapshot::{
        MAX_CALLS, Snapshot, SnapshotScope, TerraformExport, count_hidden, not_covered,
        take_snapshot, to_terraform, to_yaml, unseen_to_json,
    },
    text,
};
use crate::pipeline::CallError;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<ExportSnapshot>("export-snapshot", "/")
        .with_search_terms(&[
            "backup settings",
            "configuration as code",
            "export everything for git",
            "dump all as yaml",
            "gitops",
            "Einstellungen sichern",
        ])
        // Prompts and names are written by others.
        .returns_untrusted_content(),
    needs: &["list-all-workspaces"],
    needs_of_call: |_| Vec::new(),
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Export snapshot
///
/// All settings as YAML without secrets or times, one file for each resource.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ExportSnapshot {
    /// Such as configs, prompts, api-keys. All but users and members when left out.
    kinds: Option<Vec<String>>,
    /// Slugs. All, and what belongs to none, when left out.
    workspaces: Option<Vec<String>>,
    /// `yaml` when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    format: Option<SnapshotFormat>,
}

/// A form of the files.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SnapshotFormat {
    Yaml,
    Terraform,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let scope = SnapshotScope::from_arguments(args)?;
    let snapshot = take_snapshot(steps, &scope).await;
    if text(args, "format") == Some("terraform") {
        return Ok(describe_terraform(&snapshot, &scope));
    }
    let mut masked = 0;
    let mut files = JsonMap::new();
    for (path, document) in &snapshot.documents {
        masked += count_hidden(&document.value);
        files.insert(path.clone(), to_yaml(&document.value).into());
    }
    let kinds: Value = scope.kinds.iter().map(|kind| kind.name).collect();
    let mut answer = arguments([
        ("counts", snapshot.counts().into()),
        ("kinds", kinds),
        ("masked_values", masked.into()),
        ("calls", snapshot.calls.into()),
    ]);
    if !snapshot.redacted.is_empty() {
        answer.insert(
            "redacted_by_policy".to_owned(),
            snapshot.redacted.clone().into(),
        );
    }
    if !snapshot.unseen.is_empty() {
        answer.insert("not_seen".to_owned(), unseen_to_json(&snapshot.unseen));
    }
    answer.insert("not_covered".to_owned(), not_covered(&scope.kinds).into());
    answer.insert("files".to_owned(), files.into());
    Ok(Value::Object(answer))
}

/// Returns the answer of an export for Terraform.
fn describe_terraform(snapshot: &Snapshot, scope: &SnapshotScope) -> Value {
    let TerraformExport {
        files,
        variables,
        left_out,
        unseen,
        counts,
    } = to_terraform(snapshot);
    let counts: JsonMap = counts
        .into_iter()
        .map(|(kind, count)| (kind.to_owned(), count.into()))
        .collect();
    let left_out: JsonMap = left_out
        .into_iter()
        .map(|(what, why)| (what, why.into()))
        .collect();
    let kinds: Value = scope.kinds.iter().map(|kind| kind.name).collect();
    let mut answer = arguments([
        ("counts", counts.into()),
        ("kinds", kinds),
        ("variables", variables.into()),
        ("calls", snapshot.calls.into()),
    ]);
    if !left_out.is_empty() {
        answer.insert("not_in_terraform".to_owned(), left_out.into());
    }
    if !snapshot.redacted.is_empty() {
        answer.insert(
            "redacted_by_policy".to_owned(),
            snapshot.redacted.clone().into(),
        );
    }
    if !unseen.is_empty() {
        answer.insert("not_seen".to_owned(), unseen_to_json(&unseen));
    }
    answer.insert("not_covered".to_owned(), not_covered(&scope.kinds).into());
    let files: JsonMap = files
        .into_iter()
        .map(|(path, text)| (path, text.into()))
        .collect();
    answer.insert("files".to_owned(), files.into());
    Value::Object(answer)
}
