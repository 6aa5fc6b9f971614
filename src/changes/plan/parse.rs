//! Plans as callers write them: a list of steps as JSON, or a YAML document.

use portkey_operation::{InputError, JsonMap};
use serde::Deserialize;
use serde_json::Value;

/// Maximum number of steps of a plan.
pub const MAX_PLAN_STEPS: usize = 50;
/// Maximum length of a plan as text, in bytes.
pub const MAX_PLAN_BYTES: usize = 256 << 10;
/// Maximum length of the id of a step, in bytes.
const MAX_ID_BYTES: usize = 40;

/// A step as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepInput {
    /// Name by which other steps refer to it.
    pub id: Option<String>,
    /// Tool that the step calls.
    pub tool: String,
    /// Arguments of the call.
    #[serde(default)]
    pub arguments: JsonMap,
}

/// A document with steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanInput {
    steps: Vec<StepInput>,
}

/// A step with an id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlanStep {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) arguments: JsonMap,
}

/// Parses a YAML or JSON document: a list of steps, or an object with `steps`.
///
/// # Errors
/// Returns an error that says what is wrong, and where.
pub fn parse_document(text: &str) -> Result<Vec<StepInput>, InputError> {
    if text.len() > MAX_PLAN_BYTES {
        let what = format!("is larger than {MAX_PLAN_BYTES} bytes");
        return Err(InputError::new("document", what));
    }
    // YAML contains JSON.
    let document: Value = serde_saphyr::from_str(text)
        .map_err(|error| InputError::new("document", format!("is no YAML: {error}")))?;
    parse_value(document)
}

/// Parses steps that came as JSON.
///
/// # Errors
/// Returns an error that says what is wrong.
pub fn parse_value(document: Value) -> Result<Vec<StepInput>, InputError> {
    let parsed = match document {
        Value::Array(_) => serde_json::from_value(document),
        document => serde_json::from_value(document).map(|plan: PlanInput| plan.steps),
    };
    parsed.map_err(|error| {
        let what = format!(
            "is no plan: {error}. A plan is a list of steps such as {{\"id\": \"a\", \"tool\": \"create-config\", \
             \"arguments\": {{…}}}}"
        );
        InputError::new("steps", what)
    })
}

/// Gives each step an id, and checks their number.
pub(super) fn with_ids(steps: Vec<StepInput>) -> Result<Vec<PlanStep>, InputError> {
    if steps.is_empty() || steps.len() > MAX_PLAN_STEPS {
        let what = format!("takes 1 to {MAX_PLAN_STEPS} steps, not {}", steps.len());
        return Err(InputError::new("steps", what));
    }
    let mut named: Vec<PlanStep> = Vec::with_capacity(steps.len());
    for (i, step) in steps.into_iter().enumerate() {
        let id = step.id.unwrap_or_else(|| format!("step{}", i + 1));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > MAX_ID_BYTES || !id.chars().all(is_plain) {
            let what = "has to be 1 to 40 letters, digits, `-` or `_`";
            return Err(InputError::new(format!("steps[{i}].id"), what));
        }
        if named.iter().any(|other| other.id == id) {
            let what = format!("`{id}` is the id of two steps");
            return Err(InputError::new(format!("steps[{i}].id"), what));
        }
        named.push(PlanStep {
            id,
            tool: step.tool,
            arguments: step.arguments,
        });
    }
    Ok(named)
}
