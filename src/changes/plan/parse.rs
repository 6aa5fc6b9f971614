//! Plans as callers write them: a list of steps as JSON, or a YAML document.

use portkey_operation::{InputError, JsonMap, field_path};
use serde_json::Value;

/// Maximum number of steps of a plan.
pub const MAX_PLAN_STEPS: usize = 50;
/// Maximum length of a plan as text, in bytes.
pub const MAX_PLAN_BYTES: usize = 256 << 10;
/// Form of a plan, for errors.
const FORM: &str = "A plan is a list of steps such as {\"id\": \"a\", \"tool\": \"create-config\", \"arguments\": {…}}";
/// Text for a plan without steps.
const NO_STEPS: &str = "has no steps. A plan is a list of steps such as {\"id\": \"a\", \"tool\": \"create-config\", \
                        \"arguments\": {…}}";
/// Maximum length of the id of a step, in bytes.
const MAX_ID_BYTES: usize = 40;

/// A step as the caller wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepInput {
    /// Name by which other steps refer to it.
    pub id: Option<String>,
    /// Tool that the step calls.
    pub tool: String,
    /// Arguments of the call.
    pub arguments: JsonMap,
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
    if text.trim().is_empty() {
        return Err(InputError::new("document", NO_STEPS));
    }
    // YAML contains JSON.
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        InputError::new("document", format!("is neither YAML nor JSON: {error}"))
    })?;
    parse_value(document)
}

/// Parses steps that came as JSON.
///
/// # Errors
/// Returns an error that says what is wrong.
pub fn parse_value(document: Value) -> Result<Vec<StepInput>, InputError> {
    let steps = match document {
        Value::Array(steps) => steps,
        Value::Object(mut fields) => {
            let steps = fields.shift_remove("steps");
            if let Some(other) = fields.keys().next() {
                let what =
                    format!("is no part of a plan, which has `steps` and nothing else. {FORM}");
                return Err(InputError::new(other.as_str(), what));
            }
            match steps {
                Some(Value::Array(steps)) => steps,
                Some(other) => return Err(not_a_list(&other)),
                None => return Err(InputError::new("steps", NO_STEPS)),
            }
        }
        Value::Null => return Err(InputError::new("steps", NO_STEPS)),
        other => return Err(not_a_list(&other)),
    };
    let parsed = steps
        .into_iter()
        .enumerate()
        .map(|(i, step)| parse_step(i, step));
    parsed.collect()
}

fn not_a_list(value: &Value) -> InputError {
    let what = format!("is {}, and a list is expected. {FORM}", kind_of(value));
    InputError::new("steps", what)
}

fn parse_step(index: usize, step: Value) -> Result<StepInput, InputError> {
    let at = format!("steps[{index}]");
    let Value::Object(fields) = step else {
        let what = format!("is {}, and no step. {FORM}", kind_of(&step));
        return Err(InputError::new(at, what));
    };
    let mut parsed = StepInput {
        id: None,
        tool: String::new(),
        arguments: JsonMap::new(),
    };
    for (name, value) in fields {
        let at = || field_path(&at, &name);
        match (name.as_str(), value) {
            ("id" | "arguments", Value::Null) => {}
            ("id", Value::String(id)) => parsed.id = Some(id),
            ("tool", Value::String(tool)) => parsed.tool = tool,
            ("arguments", Value::Object(arguments)) => parsed.arguments = arguments,
            ("id" | "tool", value) => {
                let what = format!("takes a text, and is {}", kind_of(&value));
                return Err(InputError::new(at(), what));
            }
            ("arguments", value) => {
                let what = format!("takes names and values, and is {}", kind_of(&value));
                return Err(InputError::new(at(), what));
            }
            _ => {
                let what = "is no field of a step, which has `id`, `tool` and `arguments`";
                return Err(InputError::new(at(), what));
            }
        }
    }
    match parsed.tool.is_empty() {
        true => Err(InputError::new(format!("{at}.tool"), "is required")),
        false => Ok(parsed),
    }
}

/// Names the kind of a value in words.
const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
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
