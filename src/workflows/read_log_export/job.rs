//! The export job: found, created, and waited for.

use std::time::Duration;

use jiff::Timestamp;
use portkey_operation::JsonMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::selection::{PERIOD_END, PERIOD_START, Selection};
use crate::{
    pipeline::CallError,
    workflows::{Steps, arguments, text, writer::StepWriter},
};

/// Description of exports that this workflow makes.
const DESCRIPTION: &str = "Made by read-log-export";
/// Maximum number of logs of an export.
const MAX_LOGS: u64 = 50_000;
/// Default time to wait for an export.
const DEFAULT_WAIT_SECONDS: u64 = 45;
/// Delay before the second look at a job, and maximum delay. Each delay is twice the one before.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Progress of a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JobState {
    /// It has to be started.
    Draft,
    Running,
    /// It has a file.
    Done,
    /// It failed or was stopped.
    Ended,
}

/// An export job.
pub(super) struct ExportJob {
    /// `None` if its creation was only described.
    pub(super) id: Option<String>,
    pub(super) state: JobState,
    /// State as Portkey names it.
    pub(super) status: String,
    is_created: bool,
    filters: Value,
    /// Number of logs according to the answer to its creation.
    total: Option<u64>,
    /// Number of calls so far.
    pub(super) calls: usize,
    /// What is missing, and why.
    pub(super) notes: Vec<Value>,
}

impl ExportJob {
    fn new(job: &Value) -> Self {
        let status = job.get("status").and_then(Value::as_str).unwrap_or("draft");
        Self {
            id: job.get("id").and_then(Value::as_str).map(str::to_owned),
            state: state_of(status),
            status: status.to_owned(),
            is_created: false,
            filters: job.get("filters").cloned().unwrap_or_default(),
            total: None,
            calls: 0,
            notes: Vec::new(),
        }
    }

    /// Reads a job that exists.
    pub(super) async fn read(id: &str, steps: &Steps) -> Result<Self, CallError> {
        let args = arguments([("export_id", id.into())]);
        let job = steps.read("get-log-export", args).await?;
        Ok(Self {
            id: Some(id.to_owned()),
            calls: 1,
            ..Self::new(&job)
        })
    }

    /// Returns a job with the filters and the fields of a selection: a recent one, or a new one.
    pub(super) async fn find_or_create(
        args: &JsonMap,
        selection: &mut Selection,
        steps: &Steps,
        writer: &mut StepWriter<'_>,
    ) -> Result<Self, CallError> {
        let workspace = || text(args, "workspace_id").map_or(Value::Null, Value::from);
        let scope = || arguments([("workspace_id", workspace())]);
        let restrictions = steps
            .read("get-log-export-field-restrictions", scope())
            .await;
        match restrictions {
            Ok(answer) => {
                let denied = answer.get("deniedFields").and_then(Value::as_array);
                let denied = denied.into_iter().flatten().filter_map(Value::as_str);
                selection.leave_out(&denied.collect::<Vec<_>>())?;
            }
            Err(error) => {
                let note = format!("fields that the workspace keeps out of exports: {error}");
                selection.notes.push(note.into());
            }
        }
        // Portkey tells only that a job exists if the list may be read; then a new one is made.
        if let Ok(list) = steps.read("list-all-log-exports", scope()).await {
            let jobs = list.get("data").and_then(Value::as_array);
            let is_same = |job: &&Value| is_same_job(job, selection);
            if let Some(job) = jobs.into_iter().flatten().find(is_same) {
                return Ok(Self {
                    calls: 2,
                    ..Self::new(job)
                });
            }
        }
        let create = arguments([
            ("workspace_id", workspace()),
            ("filters", selection.filters.clone().into()),
            ("requested_data", selection.requested.clone().into()),
            ("description", DESCRIPTION.into()),
        ]);
        let made = writer.write("create-log-export", create).await?;
        let job = json!({ "filters": selection.filters });
        Ok(Self {
            id: made
                .as_ref()
                .and_then(|made| Some(made.get("id")?.as_str()?.to_owned())),
            is_created: true,
            total: made.as_ref().and_then(|made| made.get("total")?.as_u64()),
            calls: 3,
            ..Self::new(&job)
        })
    }

    /// Waits until the job has ended, or until the time is over.
    pub(super) async fn wait(&mut self, args: &JsonMap, steps: &Steps) -> Result<(), CallError> {
        let seconds = args.get("wait_seconds").and_then(Value::as_u64);
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(DEFAULT_WAIT_SECONDS));
        let mut delay = FIRST_DELAY;
        while self.state == JobState::Running {
            let read = Self::read(self.id.as_deref().unwrap_or_default(), steps).await?;
            self.calls += 1;
            self.state = read.state;
            self.status = read.status;
            if self.state != JobState::Running || Instant::now() + delay > until {
                return Ok(());
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
        Ok(())
    }

    /// Notes if the file has fewer rows than Portkey has logs.
    pub(super) fn compare_with(&mut self, read: u64) {
        if read >= MAX_LOGS || self.total.is_some_and(|total| total >= MAX_LOGS) {
            let note =
                "an export has at most 50,000 logs, and there may be more: take a shorter period";
            self.notes.push(note.into());
        } else if let Some(total) = self.total.filter(|total| *total > read) {
            let note = format!("{read} of {total} logs that Portkey counted are in the file");
            self.notes.push(note.into());
        }
    }

    /// Describes the job, for an answer.
    pub(super) fn describe(&self) -> Value {
        let time = |name: &str| self.filters.get(name).cloned().unwrap_or_default();
        Value::Object(arguments([
            ("id", self.id.as_deref().map_or(Value::Null, Value::from)),
            ("created", self.is_created.into()),
            ("status", self.status.as_str().into()),
            ("from", time(PERIOD_START)),
            ("to", time(PERIOD_END)),
            ("logs", self.total.map_or(Value::Null, Value::from)),
        ]))
    }
}

fn state_of(status: &str) -> JobState {
    match status {
        "draft" => JobState::Draft,
        "success" => JobState::Done,
        // Portkey's documents call it `failure`.
        "failed" | "failure" | "stopped" => JobState::Ended,
        _ => JobState::Running,
    }
}

/// Returns true for a job of this workflow with the fields and the filters of a selection.
fn is_same_job(job: &Value, selection: &Selection) -> bool {
    let status = job
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if status.is_empty()
        || state_of(status) == JobState::Ended
        || job.get("description").and_then(Value::as_str) != Some(DESCRIPTION)
    {
        return false;
    }
    let fields = job.get("requested_data").and_then(Value::as_array);
    let mut fields: Vec<_> = fields
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut wanted = selection.requested.clone();
    fields.sort_unstable();
    wanted.sort_unstable();
    let Some(Value::Object(filters)) = job.get("filters") else {
        return false;
    };
    let is_stale = state_of(status) == JobState::Done && !is_complete(job, filters);
    let is_same = |(name, wanted): (&String, &Value)| {
        filters
            .get(name)
            .is_some_and(|value| is_same_value(value, wanted))
    };
    fields == wanted
        && filters.len() == selection.filters.len()
        && selection.filters.iter().all(is_same)
        && !is_stale
}

/// Returns true if the period of a job was over when the job was created. Its file otherwise lacks what
/// was logged since.
fn is_complete(job: &Value, filters: &JsonMap) -> bool {
    let end = filters.get(PERIOD_END).and_then(time_of);
    let created = job.get("created_at").and_then(time_of);
    end.zip(created).is_some_and(|(end, created)| end < created)
}

/// Returns true for equal values, and for equal times in two forms.
fn is_same_value(left: &Value, right: &Value) -> bool {
    left == right || time_of(left).is_some_and(|left| time_of(right) == Some(left))
}

fn time_of(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
