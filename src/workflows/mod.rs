//! Workflows: tasks of an administrator that take several operations, each offered as one tool.
//!
//! A workflow is declared like an operation, with typed input. It reaches an upstream only through
//! [`Steps`], whose receiver makes every step a call of its own: policies, limits, approval and the
//! audit log see it. Knows neither the protocol nor an upstream.
//!
//! A workflow that is repeated goes on where it ended: it reads what is there and writes what is
//! missing. That is what an approval relies on, after which a client repeats the whole call.

mod chart;
mod completion_metadata;
mod detect_drift;
mod diagnose_failures;
mod export_snapshot;
mod find_usages;
mod list;
mod migrate_prompt;
mod money;
mod onboard_team;
mod partial_reads;
mod plan_draft;
mod plan_provider_migration;
mod promote_prompt;
mod prompt_version;
mod publication;
mod read_log_export;
mod register_mcp_server;
mod report_budgets;
mod report_costs;
mod review_access;
mod rotate_key_safely;
mod snapshot;
mod workspace_sight;
mod writer;

pub(crate) use self::snapshot::to_yaml as document_to_yaml;

use std::{collections::BTreeSet, fmt, sync::Arc};

use futures_util::future::{self, BoxFuture};
use portkey_operation::{Clock, InputError, JsonMap, Operation};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::pipeline::{
    CallError, LOG_READS, RowQuery,
    redacted_fields::{find_redacted_fields, name_fields},
};

/// Maximum number of steps that a workflow takes, unless it declares another.
pub const MAX_STEPS: usize = 30;

/// Name of the tool that a step calls to have changes planned. It is no operation: its answer is a plan,
/// and nothing is sent.
pub const PLAN_TOOL: &str = "plan-changes";

/// Name of the tool that a step calls to have the caller's changes of the journal listed. It is no operation:
/// nothing is sent. Its answer has `absent` with the reason if there is no journal for the caller.
pub const HISTORY_TOOL: &str = "list-changes";

/// The function of a workflow: takes the validated arguments and the way to its steps.
type RunFn = fn(JsonMap, Steps) -> BoxFuture<'static, Result<Value, CallError>>;

/// The surfaces on which a workflow is listed. On the others it is called by its name, or by a tool such as
/// `read-operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// On each surface.
    Everywhere,
    /// Beside the operations.
    WithOperations,
    /// On none: a search finds it.
    BySearch,
    /// On none: it is called by those who know its name, such as programs.
    Nowhere,
}

/// A task of several steps.
pub struct Workflow {
    /// The declaration: name, input, hints. No request is built from it.
    pub operation: Operation,
    /// Operations without which the workflow is not offered.
    pub needs: &'static [&'static str],
    /// Returns the operations that a call with these arguments needs beside them.
    pub needs_of_call: fn(&JsonMap) -> Vec<&'static str>,
    /// Surfaces on which it is listed.
    pub listing: Listing,
    /// Maximum number of steps.
    pub max_steps: usize,
    /// True if its answer has no content of what it reads but ids, names of lists and counts. Its reads
    /// then taint nobody and ask nobody.
    pub reads_quietly: bool,
    run: RunFn,
}

impl Workflow {
    /// Returns the operations that a call with these arguments needs.
    pub fn needs_for(&self, args: &JsonMap) -> impl Iterator<Item = &'static str> {
        self.needs.iter().copied().chain((self.needs_of_call)(args))
    }

    /// Begins the workflow. The steps that it takes arrive at the receiver, one at a time; quiet reads
    /// may arrive before the one before them has ended. `redacted` are the operations, of those that it needs
    /// and those that return logs, of whose results a policy can redact values.
    pub fn start(
        &self,
        args: JsonMap,
        clock: Clock,
        redacted: Vec<&'static str>,
    ) -> (
        BoxFuture<'static, Result<Value, CallError>>,
        mpsc::Receiver<Step>,
    ) {
        let (requests, steps) = mpsc::channel(1);
        let way = Steps {
            requests,
            clock,
            redacted,
        };
        ((self.run)(args, way), steps)
    }
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workflow {}", self.operation.name())
    }
}

impl PartialEq for Workflow {
    fn eq(&self, other: &Self) -> bool {
        self.operation.name() == other.operation.name()
    }
}

impl Eq for Workflow {}

/// All workflows, sorted by name.
pub static WORKFLOWS: &[Workflow] = &[
    detect_drift::WORKFLOW,
    diagnose_failures::WORKFLOW,
    export_snapshot::WORKFLOW,
    find_usages::WORKFLOW,
    migrate_prompt::WORKFLOW,
    onboard_team::WORKFLOW,
    plan_provider_migration::WORKFLOW,
    promote_prompt::WORKFLOW,
    read_log_export::WORKFLOW,
    register_mcp_server::WORKFLOW,
    report_budgets::WORKFLOW,
    report_costs::WORKFLOW,
    review_access::WORKFLOW,
    rotate_key_safely::WORKFLOW,
    completion_metadata::WORKFLOW,
];

/// A call that a workflow makes of an operation.
#[derive(Debug)]
pub struct Step {
    /// Name of the operation.
    pub operation: &'static str,
    /// Its arguments.
    pub args: JsonMap,
    /// Rows to read of the file whose signed address the operation returns. The address stays out of the
    /// answer.
    pub rows: Option<Arc<RowQuery>>,
    /// Where the result goes.
    pub reply: oneshot::Sender<Result<StepAnswer, CallError>>,
}

/// The result of a step.
#[derive(Debug)]
pub enum StepAnswer {
    /// The upstream answered.
    Answered(Value),
    /// The upstream answered, and a policy redacted values of the answer.
    Redacted(Value),
    /// A setting or a policy wants a dry run: the request is described and was not sent.
    DryRun(Value),
}

/// The way of a workflow to its steps.
#[derive(Debug)]
pub struct Steps {
    requests: mpsc::Sender<Step>,
    clock: Clock,
    /// Operations of whose results a policy can redact values.
    redacted: Vec<&'static str>,
}

impl Steps {
    /// Returns the clock and the time zone that words such as `last month` refer to.
    const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns true if a policy can redact values of logs.
    fn can_logs_be_redacted(&self) -> bool {
        LOG_READS.iter().any(|name| self.redacted.contains(name))
    }

    /// Calls an operation.
    async fn call(&self, operation: &'static str, args: JsonMap) -> Result<StepAnswer, CallError> {
        self.take(operation, args, None).await
    }

    async fn take(
        &self,
        operation: &'static str,
        args: JsonMap,
        rows: Option<Arc<RowQuery>>,
    ) -> Result<StepAnswer, CallError> {
        let (reply, answer) = oneshot::channel();
        let step = Step {
            operation,
            args,
            rows,
            reply,
        };
        if self.requests.send(step).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // The receiver of the steps has ended, and drops the workflow next.
        future::pending().await
    }

    /// Calls an operation that reads.
    ///
    /// # Errors
    /// Returns the error of the call. Returns `InvalidArguments` if a policy redacted the answer or
    /// wants a dry run: the workflow would take what stands there for the upstream's data.
    async fn read(&self, operation: &'static str, args: JsonMap) -> Result<Value, CallError> {
        let PartialAnswer { value, redacted } = self.read_partly(operation, args).await?;
        match redacted.is_empty() {
            true => Ok(value),
            false => Err(redacted_answer(operation, &redacted).into()),
        }
    }

    /// Calls an operation that reads, for a workflow that looks at the fields which a policy redacted.
    ///
    /// # Errors
    /// Returns the error of the call. Returns `InvalidArguments` if a policy wants a dry run.
    async fn read_partly(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<PartialAnswer, CallError> {
        match self.call(operation, args).await? {
            StepAnswer::Answered(value) => Ok(PartialAnswer {
                value,
                redacted: BTreeSet::new(),
            }),
            StepAnswer::Redacted(value) => {
                let mut redacted = find_redacted_fields(&value);
                if redacted.is_empty() {
                    // The whole of it, or a number that stands for it.
                    redacted.insert("*".to_owned());
                }
                Ok(PartialAnswer { value, redacted })
            }
            StepAnswer::DryRun(_) => Err(unusable_answer(operation, DRY_RUN_CAUSE).into()),
        }
    }

    /// Calls an operation that returns the signed address of a file, and reads rows of that file. Values
    /// that a policy redacts are redacted in the rows.
    ///
    /// # Errors
    /// Returns the error of the call. Returns `InvalidArguments` if a policy wants a dry run.
    async fn read_rows(
        &self,
        operation: &'static str,
        args: JsonMap,
        rows: RowQuery,
    ) -> Result<Value, CallError> {
        match self.take(operation, args, Some(Arc::new(rows))).await? {
            StepAnswer::Answered(value) | StepAnswer::Redacted(value) => Ok(value),
            StepAnswer::DryRun(_) => Err(unusable_answer(operation, DRY_RUN_CAUSE).into()),
        }
    }
}

/// An answer, and the paths of the fields that a policy redacted.
#[derive(Debug)]
struct PartialAnswer {
    value: Value,
    redacted: BTreeSet<String>,
}

/// Returns the error for a read of which a policy redacted fields that the workflow goes by.
fn redacted_answer(operation: &str, fields: &BTreeSet<String>) -> InputError {
    let cause = format!("a policy redacts {} in it", name_fields(fields));
    unusable_answer(operation, &cause)
}

const DRY_RUN_CAUSE: &str = "a policy wants a dry run of it, so that it was not sent";

/// Returns the error for a read whose answer is not the upstream's.
fn unusable_answer(operation: &str, cause: &str) -> InputError {
    let what = format!(
        "the workflow goes by what `{operation}` returns, and {cause}. Make the calls yourself with values that you \
         know, or ask the operator to except `{operation}` from that rule"
    );
    InputError::new("", what)
}

/// Builds arguments from pairs, without those that have no value.
fn arguments<const N: usize>(pairs: [(&str, Value); N]) -> JsonMap {
    let given = pairs.into_iter().filter(|(_, value)| !value.is_null());
    given
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Returns the text of an argument.
fn text<'a>(args: &'a JsonMap, name: &str) -> Option<&'a str> {
    args.get(name).and_then(Value::as_str)
}

/// Returns true if an argument is true.
fn is_set(args: &JsonMap, name: &str) -> bool {
    args.get(name) == Some(&Value::Bool(true))
}
