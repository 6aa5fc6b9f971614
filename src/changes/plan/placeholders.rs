//! Values that stand for answers of steps that are not made yet.

use portkey_operation::InputError;
use serde_json::Value;

use super::{
    parse::PlanStep,
    references::{self, OPEN, StepReference, StepValues},
};

/// Beginning of a value that stands for one that an earlier step will answer. It has the form of a
/// UUID, which every id and slug may have.
pub(super) const PLACEHOLDER: &str = "00000000-0000-4000-8000-";

/// Values that stand for answers of steps that are not made yet.
pub(super) struct Placeholders<'a> {
    unknown: Vec<StepReference>,
    values: &'a StepValues,
}

impl<'a> Placeholders<'a> {
    pub(super) fn new(step: &PlanStep, values: &'a StepValues) -> Result<Self, InputError> {
        let found = references::find(&format!("steps.{}.arguments", step.id), &step.arguments)?;
        let is_unknown = |reference: &StepReference| {
            let known = values.get(&reference.step);
            known
                .and_then(|fields| fields.get(&reference.field))
                .is_none()
        };
        Ok(Self {
            unknown: found.into_iter().filter(is_unknown).collect(),
            values,
        })
    }

    pub(super) fn are_used(&self) -> bool {
        !self.unknown.is_empty()
    }

    pub(super) fn value(&self, reference: &StepReference) -> Result<Value, String> {
        let known = self.values.get(&reference.step);
        if let Some(value) = known.and_then(|fields| fields.get(&reference.field)) {
            return Ok(value.clone());
        }
        let index = self.unknown.iter().position(|other| other == reference);
        Ok(format!("{PLACEHOLDER}{:012x}", index.unwrap_or_default()).into())
    }

    /// Replaces the stand-ins in a value by the references. The characters of a reference that a text
    /// has itself are written as in a plan, so that each reference which is shown is one.
    pub(super) fn restore(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                let mut text = text.replace(OPEN, &format!("${OPEN}"));
                for (i, StepReference { step, field }) in self.unknown.iter().enumerate() {
                    text = text.replace(
                        &format!("{PLACEHOLDER}{i:012x}"),
                        &format!("${{{step}.{field}}}"),
                    );
                }
                text.into()
            }
            Value::Array(items) => items.into_iter().map(|item| self.restore(item)).collect(),
            Value::Object(fields) => {
                let restored = fields
                    .into_iter()
                    .map(|(name, inner)| (name, self.restore(inner)));
                Value::Object(restored.collect())
            }
            other => other,
        }
    }
}
