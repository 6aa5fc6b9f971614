//! `find-usages`: what refers to a resource, and its traffic.

use std::time::Duration;

use futures_util::FutureExt;
use portkey_api::references::find_kind;
use portkey_operation::{InputError, JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Listing, StepAnswer, Steps, Workflow, text};
use crate::pipeline::{
    CallError,
    usages::{
        MAX_NAMED_USERS, ReadAnswer, ReadFailure, UsageBounds, UsageQuery, UsageReads, find_usages,
    },
};

/// Bounds of the reads.
const BOUNDS: UsageBounds = UsageBounds {
    max_calls: 200,
    concurrency: 4,
    timeout: Duration::from_secs(60),
};

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<FindUsages>("find-usages", "/").with_search_terms(&[
        "who uses",
        "depends on",
        "what breaks",
        "references",
        "still needed",
        "wer nutzt",
    ]),
    needs: &["list-all-workspaces"],
    needs_of_call: |_| Vec::new(),
    listing: Listing::Everywhere,
    max_steps: BOUNDS.max_calls,
    reads_quietly: true,
    run: |args, steps| run(args, steps).boxed(),
};

/// Find usages
///
/// Everything that refers to a resource, with the place, and its requests in 30 days.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct FindUsages {
    /// Resource kind.
    ///
    /// Required: slugs are unique within a kind only.
    kind: Kind,
    /// Its id or slug.
    ///
    /// Required: the usages of one resource are found.
    id: String,
    /// Only within this workspace.
    #[schemars(extend("x-publish" = "hidden"))]
    workspace_id: Option<String>,
    /// Named users of each kind; up to 5 when left out.
    #[schemars(range(min = 1, max = 20), extend("x-publish" = "hidden"))]
    limit: Option<u32>,
}

/// Kind of a resource.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Integration,
    Provider,
    VirtualKey,
    Config,
    Prompt,
    Partial,
    Guardrail,
    ApiKey,
    McpIntegration,
    McpServer,
    SecretReference,
    Workspace,
}

impl UsageReads for Steps {
    async fn read(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<ReadAnswer, ReadFailure> {
        match self.call(operation, args).await? {
            StepAnswer::Answered(value) => Ok(ReadAnswer {
                value,
                is_redacted: false,
            }),
            StepAnswer::Redacted(value) => Ok(ReadAnswer {
                value,
                is_redacted: true,
            }),
            StepAnswer::DryRun(_) => Err(ReadFailure::DryRun),
        }
    }
}

async fn run(args: JsonMap, steps: Steps) -> Result<Value, CallError> {
    let name = text(&args, "kind").unwrap_or_default();
    let Some(kind) = find_kind(name) else {
        return Err(InputError::new("kind", "is no kind whose usages can be found").into());
    };
    let limit = args.get("limit").and_then(Value::as_u64);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let query = UsageQuery {
        kind,
        target: text(&args, "id").unwrap_or_default().to_owned(),
        workspace: text(&args, "workspace_id").map(str::to_owned),
        bounds: BOUNDS,
    };
    let report = find_usages(&steps, &query)
        .await
        .map_err(|error| InputError::new(error.argument, error))?;
    Ok(match limit {
        Some(limit) => report.to_json(limit.min(MAX_NAMED_USERS)),
        None => report.to_short_json(),
    })
}
