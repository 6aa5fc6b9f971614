//! `validate-completion-metadata`: a check of metadata before a prompt is run. Takes no step.

use futures_util::FutureExt;
use portkey_operation::{JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Listing, MAX_STEPS, Workflow, text};

/// The names that requests carry by the convention of `portkey-admin-mcp`.
const REQUIRED: [&str; 3] = ["client_id", "app", "env"];

/// The name that it recommends.
const RECOMMENDED: &str = "project_id";

/// Not listed: Portkey has no such rule, and only callers who come from that server follow it.
pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<CompletionMetadata>("validate-completion-metadata", "/"),
    needs: &[],
    needs_of_call: |_| Vec::new(),
    listing: Listing::Nowhere,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, _| async move { Ok(validate(&args)) }.boxed(),
};

/// Validate completion metadata
///
/// Says which of the names are missing by which that server attributes cost. Sends nothing, and
/// `create-prompt-completion` takes any metadata.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct CompletionMetadata {
    /// Who pays.
    client_id: Option<String>,
    /// Application.
    app: Option<String>,
    /// Environment, such as `prod`.
    env: Option<String>,
    /// Project.
    project_id: Option<String>,
    /// Feature.
    feature: Option<String>,
}

fn validate(args: &JsonMap) -> Value {
    let is_missing = |name: &&str| text(args, name).is_none_or(|value| value.trim().is_empty());
    let errors: Vec<_> = REQUIRED
        .into_iter()
        .filter(is_missing)
        .map(|name| format!("`{name}` is missing"))
        .collect();
    let warnings: Vec<_> = [RECOMMENDED]
        .into_iter()
        .filter(is_missing)
        .map(|name| format!("`{name}` is best given, to tell projects apart"))
        .collect();
    json!({
        "valid": errors.is_empty(),
        "errors": errors,
        "warnings": warnings,
        "metadata": args,
    })
}
