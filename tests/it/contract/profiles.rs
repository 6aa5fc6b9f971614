//! Arguments in the form of each schema profile, with an unchanged meaning.

use jsonschema::Validator;
use portkey_operation::{CompiledOperation, JsonMap, Operation, Presentation, Profile};
use serde_json::{Value, json};

/// A tool in one schema profile.
pub(super) struct ProfiledTool {
    profile: Profile,
    full: CompiledOperation,
    published: CompiledOperation,
    validator: Validator,
}

/// Returns a tool in every schema profile.
pub(super) fn profiled_tools(operation: &Operation) -> Vec<ProfiledTool> {
    let form = |profile| {
        let presentation = Presentation {
            profile,
            ..Presentation::default()
        };
        let published = CompiledOperation::with_presentation(operation.clone(), &presentation);
        let validator = jsonschema::validator_for(&json!(published.schema())).unwrap();
        ProfiledTool {
            profile,
            full: CompiledOperation::new(operation.clone()),
            published,
            validator,
        }
    };
    Profile::ALL.map(form).into()
}

impl ProfiledTool {
    /// Checks that the profile's schema accepts the arguments, and that they have the same meaning
    /// as usual.
    pub(super) fn check(&self, arguments: &JsonMap) -> Result<(), String> {
        let mut cleared = Vec::new();
        let schema = json!(self.published.schema());
        let mut given = express_by_schema(&schema, &json!(arguments), "", &mut cleared);
        let strict = self.profile == Profile::OpenAiStrict;
        if strict && schema["properties"].get("clear").is_some() {
            given["clear"] = if cleared.is_empty() {
                Value::Null
            } else {
                json!(cleared)
            };
        }
        // Values that the profile cannot express are explained in descriptions.
        let is_described = !strict && self.profile != Profile::Full && !cleared.is_empty();
        if !is_described {
            let fits = self.validator.validate(&given);
            fits.map_err(|error| format!("{}: {error} in {given}", self.profile.as_str()))?;
        }
        let given = given.as_object().unwrap().clone();
        let (meant, usual) = (
            self.published.validate_with_defaults(given),
            self.full.validate_with_defaults(arguments.clone()),
        );
        match (meant, usual) {
            (Ok(meant), Ok(usual)) if meant == usual => Ok(()),
            (meant, usual) => Err(format!(
                "{}: {meant:?} for {usual:?}",
                self.profile.as_str()
            )),
        }
    }
}

/// Converts a value to the form of a schema, and collects the paths of cleared fields.
fn express_by_schema(schema: &Value, value: &Value, at: &str, cleared: &mut Vec<String>) -> Value {
    let text = schema["type"] == "string" || schema["type"] == json!(["string", "null"]);
    match value {
        Value::Null => {
            cleared.push(at.to_owned());
            Value::Null
        }
        Value::Object(_) if text => json!(value.to_string()),
        Value::Object(fields) => {
            let mut given = JsonMap::new();
            for (name, value) in fields {
                let value = express_by_schema(
                    &schema["properties"][name],
                    value,
                    &format!("{at}/{name}"),
                    cleared,
                );
                given.insert(name.clone(), value);
            }
            // A required field that may be omitted is `null`.
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                given.entry(name).or_insert(Value::Null);
            }
            given.into()
        }
        Value::Array(items) => {
            let item = |(i, value): (usize, &Value)| {
                express_by_schema(&schema["items"], value, &format!("{at}/{i}"), cleared)
            };
            items.iter().enumerate().map(item).collect()
        }
        other => other.clone(),
    }
}
