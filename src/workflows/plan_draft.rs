//! Plans that workflows propose: the same signed plans that `plan-changes` makes.

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{PLAN_TOOL, StepAnswer, Steps, arguments};
use crate::pipeline::CallError;

/// Steps that a workflow proposes. It sends none of them.
#[derive(Default)]
pub(super) struct PlanDraft {
    steps: Vec<Value>,
    notes: Vec<String>,
}

impl PlanDraft {
    /// Adds a step. `id` is what other steps refer to.
    pub(super) fn add(&mut self, id: impl Into<String>, tool: &'static str, args: JsonMap) {
        self.steps
            .push(json!({ "id": id.into(), "tool": tool, "arguments": args }));
    }

    /// Adds something that the caller has to know.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Makes the plan, and adds it to a result. A document has the steps alone, as `portkey-mcp apply`
    /// takes them.
    ///
    /// # Errors
    /// Returns the error of the step that is invalid or not permitted.
    pub(super) async fn finish(
        self,
        steps: &Steps,
        is_document: bool,
        mut result: JsonMap,
    ) -> Result<Value, CallError> {
        if is_document {
            return Ok(json!({ "steps": self.steps }));
        }
        if !self.notes.is_empty() {
            result.insert("notes".to_owned(), self.notes.into());
        }
        if self.steps.is_empty() {
            result.insert("steps".to_owned(), json!([]));
            result.insert("note".to_owned(), "nothing to change".into());
            return Ok(Value::Object(result));
        }
        let args = arguments([("steps", self.steps.into())]);
        match steps.call(PLAN_TOOL, args).await? {
            StepAnswer::Answered(Value::Object(plan)) => result.extend(plan),
            StepAnswer::Answered(other)
            | StepAnswer::Redacted(other)
            | StepAnswer::DryRun(other) => {
                result.insert("plan".to_owned(), other);
            }
        }
        Ok(Value::Object(result))
    }
}

/// Returns true if a state has all that is wanted. A wanted `null` is met by nothing, an empty list and
/// an empty text, which stand for the same in answers.
pub(super) fn covers(state: &Value, wanted: &Value) -> bool {
    match (state, wanted) {
        (Value::Null, Value::Null) => true,
        (Value::Array(items), Value::Null) => items.is_empty(),
        (Value::String(text), Value::Null) => text.is_empty(),
        (Value::Object(fields), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, value)| covers(fields.get(name).unwrap_or(&Value::Null), value)),
        (Value::Array(items), Value::Array(wanted)) => {
            items.len() == wanted.len()
                && items
                    .iter()
                    .zip(wanted)
                    .all(|(item, wanted)| covers(item, wanted))
        }
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => state == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_with_more_than_is_wanted_covers_it() {
        let state = json!([{ "type": "cost", "credit_limit": 20, "periodic_reset": "" }]);
        for (wanted, expected) in [
            (json!([{ "type": "cost", "credit_limit": 20.0 }]), true),
            (json!([{ "periodic_reset": null }]), true),
            (json!([{ "credit_limit": 21 }]), false),
            (json!([{ "alert_threshold": 1 }]), false),
            (json!([]), false),
            (Value::Null, false),
        ] {
            assert_eq!(covers(&state, &wanted), expected, "{wanted}");
        }
        assert!(covers(&Value::Null, &json!([])));
    }
}
