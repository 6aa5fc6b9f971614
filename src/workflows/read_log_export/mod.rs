//! `read-log-export`: logs of a workspace, exported, fetched and filtered, without a link in the answer.

mod job;
mod selection;

use futures_util::FutureExt;
use portkey_operation::{EndTime, InputError, JsonMap, StartTime, TextOrList, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    job::{ExportJob, JobState},
    selection::Selection,
};
use super::{
    Listing, Steps, Workflow, arguments, is_set, text,
    workspace_sight::{IfAbsent, look_up_workspace},
    writer::StepWriter,
};
use crate::pipeline::CallError;

/// Maximum number of calls: seven, and one look at the job every few seconds.
const MAX_CALLS: usize = 100;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: post::<ReadLogExport>("read-log-export", "/")
        .with_search_terms(&[
            "what is in the export",
            "search exported logs",
            "failed requests with their prompts",
            "what the failed requests say",
            "answers of failed requests",
            "look into the dump",
            "JSONL without a link",
            "exportierte Logs durchsuchen",
        ])
        .idempotent()
        .enterprise()
        .returns_untrusted_content(),
    needs: &[
        "create-log-export",
        "start-log-export",
        "get-log-export",
        "download-log-export",
    ],
    needs_of_call: |_| Vec::new(),
    // The list of tools has no space left, and exports are in one plan only.
    listing: Listing::BySearch,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Read a log export
///
/// Exports logs, waits, fetches the file and returns rows of it. Also from, to, provider, cost_min (US
/// cents), response_time_min (ms), trace_id, metadata, offset.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReadLogExport {
    /// One that exists; else one is made.
    export_id: Option<String>,
    /// UUID or slug; Admin keys need it.
    workspace_id: Option<String>,
    /// Such as `6h` or `yesterday`; `24h` when left out.
    period: Option<String>,
    /// From, in place of `period`.
    #[schemars(extend("x-publish" = "hidden"))]
    from: Option<StartTime>,
    /// Until, with `from`; now when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    to: Option<EndTime>,
    /// Such as `429` or `5xx`.
    status: Option<TextOrList>,
    /// Models.
    model: Option<TextOrList>,
    /// Providers, such as `openai`.
    #[schemars(extend("x-publish" = "hidden"))]
    provider: Option<TextOrList>,
    /// US cents.
    #[schemars(range(min = 0), extend("x-publish" = "hidden"))]
    cost_min: Option<f64>,
    /// US cents.
    #[schemars(range(min = 0), extend("x-publish" = "hidden"))]
    cost_max: Option<f64>,
    /// Tokens of prompt and answer.
    #[schemars(extend("x-publish" = "hidden"))]
    total_units_min: Option<u64>,
    /// Milliseconds.
    #[schemars(extend("x-publish" = "hidden"))]
    response_time_min: Option<u64>,
    /// Traces.
    #[schemars(extend("x-publish" = "hidden"))]
    trace_id: Option<TextOrList>,
    /// Slugs of prompts.
    #[schemars(extend("x-publish" = "hidden"))]
    prompt_slug: Option<TextOrList>,
    /// Slugs of configs.
    #[schemars(extend("x-publish" = "hidden"))]
    config: Option<TextOrList>,
    /// Labels that a row has.
    #[schemars(extend("x-publish" = "hidden"))]
    metadata: Option<JsonMap>,
    /// Text in a row.
    #[schemars(length(min = 1, max = 200))]
    contains: Option<String>,
    /// Such as `request.body.messages`.
    #[schemars(length(max = 30))]
    fields: Option<Vec<String>>,
    /// Rows; 20 when left out.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Rows to pass over.
    #[schemars(extend("x-publish" = "hidden"))]
    offset: Option<u32>,
    /// Seconds to wait for the export; 45 when left out.
    #[schemars(range(min = 0, max = 300), extend("x-publish" = "hidden"))]
    wait_seconds: Option<u32>,
    /// Only say what it would do.
    dry_run: Option<bool>,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let mut selection = Selection::from_arguments(args, steps)?;
    let workspace = text(args, "workspace_id");
    let sight = look_up_workspace(steps, "workspace_id", workspace, IfAbsent::Refuse).await?;
    selection.notes.extend(sight.doubt.clone().map(Value::from));
    let mut writer = StepWriter::new(steps, is_set(args, "dry_run"));
    let mut job = match text(args, "export_id") {
        Some(id) => ExportJob::read(id, steps).await?,
        None => ExportJob::find_or_create(args, &mut selection, steps, &mut writer).await?,
    };
    job.calls += sight.calls;
    let query = selection.query;
    let mut result = JsonMap::new();
    let Some(id) = job.id.clone() else {
        writer.plan("start-log-export", json_object("(of the new export)"));
        writer.plan("download-log-export", json_object("(of the new export)"));
        return Ok(writer.finish(result));
    };
    if job.state == JobState::Draft {
        let start = arguments([("export_id", id.as_str().into())]);
        if writer
            .write("start-log-export", start.clone())
            .await?
            .is_none()
        {
            writer.plan("download-log-export", start);
            result.insert("export".to_owned(), job.describe());
            return Ok(writer.finish(result));
        }
        job.calls += 1;
        job.state = JobState::Running;
    }
    if is_set(args, "dry_run") {
        writer.plan("download-log-export", json_object(&id));
        result.insert("export".to_owned(), job.describe());
        return Ok(writer.finish(result));
    }
    job.wait(args, steps).await?;
    match job.state {
        JobState::Done => {}
        JobState::Draft | JobState::Running => {
            let next = format!("the export goes on: call again with `export_id` {id}");
            result.insert("export".to_owned(), job.describe());
            result.insert("next".to_owned(), next.into());
            result.insert("calls".to_owned(), job.calls.into());
            return Ok(Value::Object(result));
        }
        JobState::Ended => {
            let what = format!(
                "the export {id} is {}, so that it has no file. Call without `export_id` for a new one",
                job.status
            );
            return Err(InputError::new("export_id", what).into());
        }
    }
    let download = arguments([("export_id", id.as_str().into())]);
    let (limit, offset) = (query.limit as u64, query.offset);
    let mut report = steps
        .read_rows("download-log-export", download, query)
        .await?;
    let count = |report: &Value, name: &str| report.get(name).and_then(Value::as_u64);
    let matched = count(&report, "matched").unwrap_or_default();
    let returned = count(&report, "returned").unwrap_or_default();
    job.compare_with(count(&report, "read").unwrap_or_default());
    result.insert("export".to_owned(), job.describe());
    for name in ["read", "matched", "returned", "skipped", "rows"] {
        let value = report.get_mut(name).map(Value::take);
        result.insert(name.to_owned(), value.unwrap_or_default());
    }
    if offset + returned < matched && returned > 0 {
        let next = format!(
            "{} more rows match: call again with `export_id` {id} and `offset` {}{}",
            matched - offset - returned,
            offset + returned,
            if limit < 500 {
                ", or a larger `limit`"
            } else {
                ""
            }
        );
        result.insert("next".to_owned(), next.into());
    }
    let mut notes = selection.notes;
    notes.append(&mut job.notes);
    if let Some(Value::Array(more)) = report.get_mut("not_seen").map(Value::take) {
        notes.extend(more);
    }
    if !notes.is_empty() {
        result.insert("not_seen".to_owned(), notes.into());
    }
    result.insert("calls".to_owned(), (job.calls + 1).into());
    Ok(Value::Object(result))
}

fn json_object(id: &str) -> JsonMap {
    arguments([("export_id", json!(id))])
}
