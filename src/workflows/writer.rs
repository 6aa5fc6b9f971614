//! The writes of a workflow, which a dry run only describes.

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{StepAnswer, Steps};
use crate::pipeline::CallError;

/// Makes the writes of a workflow, or describes them.
pub(super) struct StepWriter<'a> {
    steps: &'a Steps,
    /// True if the caller wants no write.
    is_dry_run: bool,
    planned: Vec<Value>,
}

impl<'a> StepWriter<'a> {
    pub(super) fn new(steps: &'a Steps, is_dry_run: bool) -> Self {
        Self {
            steps,
            is_dry_run,
            planned: Vec::new(),
        }
    }

    /// Calls an operation that writes. Returns `None` if the write is only described.
    pub(super) async fn write(
        &mut self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Option<Value>, CallError> {
        if self.is_dry_run {
            self.plan(operation, args);
            return Ok(None);
        }
        match self.steps.call(operation, args).await? {
            // The ids in it are used, and a write rejects those that are redacted.
            StepAnswer::Answered(answer) | StepAnswer::Redacted(answer) => Ok(Some(answer)),
            StepAnswer::DryRun(report) => {
                self.planned.push(report);
                Ok(None)
            }
        }
    }

    /// Describes a write that depends on one that was only described.
    pub(super) fn plan(&mut self, operation: &'static str, args: JsonMap) {
        self.planned
            .push(json!({ "operation": operation, "arguments": args }));
    }

    /// Adds the writes that were only described to a result.
    pub(super) fn finish(self, mut result: JsonMap) -> Value {
        if self.is_dry_run || !self.planned.is_empty() {
            result.insert("dry_run".to_owned(), true.into());
            result.insert("would_call".to_owned(), self.planned.into());
        }
        Value::Object(result)
    }
}
