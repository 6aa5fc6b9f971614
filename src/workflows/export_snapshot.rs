//! `export-snapshot`: the settings of an organisation as YAML, one document for each resource.

use futures_util::FutureExt;
use portkey_operation::{JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Listing, Steps, Workflow, arguments,
    snapshot::{MAX_CALLS, SnapshotScope, count_hidden, take_snapshot, to_yaml},
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
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let scope = SnapshotScope::from_arguments(args)?;
    let snapshot = take_snapshot(steps, &scope).await;
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
        answer.insert("not_seen".to_owned(), snapshot.unseen_to_json());
    }
    answer.insert("files".to_owned(), files.into());
    Ok(Value::Object(answer))
}
