//! Valid arguments, made from schemas.

use portkey_api::domains::guardrails::catalogue::ParameterKind;
use serde_json::{Value, json};

use crate::{
    catalog::with_required_change,
    contract::{
        generate::{Extent, min_number},
        values::known_value,
    },
};

/// Returns valid arguments of an operation, so that only the tested one can be invalid.
pub(crate) fn minimal_arguments(entry: &portkey_api::catalog::CatalogEntry) -> Value {
    fn fill(schema: &Value) -> Value {
        match schema["type"].as_str() {
            Some("object") => {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                // For groups with alternatives, the first field of each group.
                let groups = ["x-exactly-one", "x-at-least-one"]
                    .into_iter()
                    .flat_map(|mark| {
                        let group = &schema[mark];
                        let many = group[0].is_array().then(|| group.as_array()).flatten();
                        many.map_or_else(
                            || vec![&group[0]],
                            |many| many.iter().map(|g| &g[0]).collect(),
                        )
                    });
                let names = required.iter().chain(groups).filter_map(Value::as_str);
                names
                    .map(|name| (name.to_owned(), fill(&schema["properties"][name])))
                    .collect()
            }
            Some("array") => json!([fill(&schema["items"])]),
            Some("integer" | "number") => min_number(schema),
            Some("boolean") => json!(true),
            _ if schema["x-time"].is_string() => json!("2026-01-01T00:00:00Z"),
            _ => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
        }
    }
    let args = fill(entry.compiled().full_schema());
    // A rule may accept only some values.
    let change = |name: &str, field: &Value| {
        let known = known_value(entry.operation.name(), name, Extent::Required);
        known.unwrap_or_else(|| fill(field))
    };
    let mut args = with_required_change(entry.compiled(), args, change);
    if entry.operation.name() == "bulk-update-integration-workspaces" {
        args["workspaces"] = json!([]);
    }
    args
}

/// Returns a valid value of a parameter.
pub(crate) fn example_value(takes: ParameterKind) -> Value {
    let first = |words: &str| words.split(' ').next().unwrap().to_owned();
    match takes {
        ParameterKind::Text | ParameterKind::Any => json!("text"),
        ParameterKind::Number => json!(3),
        ParameterKind::Fraction => json!(0.5),
        ParameterKind::Bool => json!(true),
        ParameterKind::Object => json!({}),
        ParameterKind::TextList => json!(["text"]),
        ParameterKind::OneOf(words) => json!(first(words)),
        ParameterKind::ValueList(words) => json!([first(words)]),
    }
}
