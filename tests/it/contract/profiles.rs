//! Arguments in the form of each schema profile, with an unchanged meaning.

use jsonschema::Validator;
use portkey_api::catalog::Catalog;
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
    /// Checks that the arguments are valid, that the profile's schema accepts them, and that they
    /// have the same meaning as usual.
    pub(super) fn check(&self, arguments: &JsonMap) -> Result<(), String> {
        let usual = self.full.validate_with_defaults(arguments.clone());
        let usual = usual.map_err(|error| explain_refusal(&error.to_string()))?;
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
        let profile = self.profile.as_str();
        match self.published.validate_with_defaults(given) {
            Ok(meant) if meant == usual => Ok(()),
            Ok(meant) => Err(format!(
                "{profile}: means {} instead of {}",
                json!(meant),
                json!(usual)
            )),
            Err(error) => Err(format!("{profile}: {error} in {}", json!(usual))),
        }
    }
}

/// Says what to do about generated arguments that the validation refuses.
fn explain_refusal(error: &str) -> String {
    let advice = if error.contains("nothing to change is given") {
        "Every argument that names a change is optional, and the samples for them were left out or are empty. \
         Declare `.allows_empty_update()` if the call has an effect without them. Otherwise name an argument that is \
         always given in REQUIRED_BY_API in tests/it/contract/preconditions.rs, or give it a value that is accepted \
         in VALUES in tests/it/contract/values.rs"
    } else {
        "Give values that are accepted in VALUES in tests/it/contract/values.rs, or name the arguments that the API \
         requires in REQUIRED_BY_API in tests/it/contract/preconditions.rs"
    };
    format!("the generated arguments are refused: {error}. {advice}")
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

#[test]
fn refused_update_without_a_change_names_what_to_declare() {
    let catalog = Catalog::full();
    let operation = catalog.find("update-label").unwrap().operation;
    let arguments = json!({ "label_id": "a" });
    for form in profiled_tools(operation) {
        let error = form.check(arguments.as_object().unwrap()).unwrap_err();
        for name in ["`.allows_empty_update()`", "REQUIRED_BY_API"] {
            assert!(error.contains(name), "{error}");
        }
    }
}
