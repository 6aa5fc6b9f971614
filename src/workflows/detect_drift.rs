//! `detect-drift`: what changed since a snapshot, and the steps that take it back.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use portkey_operation::{InputError, JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Listing, Steps, Workflow, arguments, is_set,
    snapshot::{
        MAX_CALLS, SnapshotScope, compare, not_covered, parse_yaml, plan_restore, take_snapshot,
        unseen_to_json,
    },
};
use crate::pipeline::CallError;

/// Maximum number of files of a snapshot.
const MAX_FILES: usize = 20_000;
/// Maximum size of one file, in bytes.
const MAX_FILE_BYTES: usize = 4 << 20;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<DetectDrift>("detect-drift", "/")
        .with_search_terms(&[
            "what changed since the export",
            "compare with git",
            "differs from the snapshot",
            "restore settings",
            "configuration drift",
            "Abweichungen finden",
        ])
        .returns_untrusted_content(),
    needs: &["list-all-workspaces"],
    needs_of_call: |_| Vec::new(),
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Detect drift
///
/// Says what was added, removed and changed since a snapshot.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct DetectDrift {
    /// Files of `export-snapshot` by path. Only their kinds are compared.
    ///
    /// Required: what is compared.
    files: serde_json::Map<String, Value>,
    /// As in `export-snapshot`. Those of the files when left out.
    kinds: Option<Vec<String>>,
    /// As in `export-snapshot`.
    workspaces: Option<Vec<String>>,
    /// Also returns steps for `plan-changes` that take it back.
    plan: Option<bool>,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let scope = SnapshotScope::from_arguments(args)?;
    let old = read_files(args, &scope)?;
    let scope = match args.get("kinds") {
        Some(kinds) if !kinds.is_null() => scope,
        _ => scope.with_kinds_of(old.keys()),
    };
    let now = take_snapshot(steps, &scope).await;
    let drift = compare(&old, &now, &scope);
    let mut answer = arguments([
        ("drift", (!drift.is_empty()).into()),
        ("added", drift.added.clone().into()),
        ("removed", drift.removed.clone().into()),
        ("changed", drift.changed_to_json()),
        ("unchanged", drift.unchanged.into()),
        ("calls", now.calls.into()),
    ]);
    if !now.redacted.is_empty() {
        answer.insert("redacted_by_policy".to_owned(), now.redacted.clone().into());
    }
    if !drift.partly_hidden.is_empty() {
        let paths = drift.partly_hidden.clone();
        answer.insert("partly_hidden".to_owned(), paths.into());
    }
    if !now.unseen.is_empty() {
        answer.insert("not_seen".to_owned(), unseen_to_json(&now.unseen));
    }
    answer.insert("not_covered".to_owned(), not_covered(&scope.kinds).into());
    if is_set(args, "plan") {
        let plan = plan_restore(&old, &now, &drift);
        answer.insert("steps".to_owned(), plan.steps.into());
        answer.insert("not_restored".to_owned(), plan.not_restored.into());
    }
    Ok(Value::Object(answer))
}

/// Parses the files of a snapshot.
fn read_files(
    args: &JsonMap,
    scope: &SnapshotScope,
) -> Result<BTreeMap<String, Value>, InputError> {
    let files = args.get("files").and_then(Value::as_object);
    let files = files.filter(|files| !files.is_empty() && files.len() <= MAX_FILES);
    let Some(files) = files else {
        let what = format!("takes 1 to {MAX_FILES} files, each with its path and its text");
        return Err(InputError::new("files", what));
    };
    let mut documents = BTreeMap::new();
    for (path, text) in files {
        let error = |what: &str| InputError::new(format!("files[{path:?}]"), what);
        if scope.covers(path).is_none() {
            return Err(error(
                "is no path of a snapshot, such as `workspaces/a/configs/b.yaml`",
            ));
        }
        let document = match text {
            Value::String(text) if text.len() > MAX_FILE_BYTES => {
                return Err(error(&format!("is larger than {MAX_FILE_BYTES} bytes")));
            }
            Value::String(text) => {
                parse_yaml(text).map_err(|cause| error(&format!("is no YAML: {cause}")))?
            }
            document => document.clone(),
        };
        if !document.is_object() {
            return Err(error("is no document of a snapshot"));
        }
        documents.insert(path.clone(), document);
    }
    Ok(documents)
}
