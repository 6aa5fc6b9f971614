//! Every given argument is in the request, or an error or warning names it.

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{JsonMap, ValidatedArguments, ValidationOptions};
use serde_json::{Value, json};

use crate::support::arguments::minimal_arguments;

/// Returns values that could get lost, and one that is valid.
fn sample_values(schema: &Value) -> Vec<Value> {
    let fitting = match schema["type"].as_str() {
        Some("object") => json!({ "sample": "text" }),
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        _ if schema["x-time"].is_string() => json!("2026-01-01T00:00:00Z"),
        _ => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
    };
    vec![
        fitting,
        json!(null),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!(0),
        json!(false),
    ]
}

/// Returns every field of a schema that is reachable through objects, with its schema.
fn field_paths(schema: &Value) -> Vec<(Vec<String>, &Value)> {
    fn walk<'a>(schema: &'a Value, at: &[String], found: &mut Vec<(Vec<String>, &'a Value)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = [at, std::slice::from_ref(name)].concat();
            found.push((at.clone(), field));
            walk(field, &at, found);
        }
    }
    let mut found = Vec::new();
    walk(schema, &[], &mut found);
    found.push((vec!["not_known".to_owned()], &Value::Null));
    found
}

fn set_at_path(args: &mut Value, at: &[String], value: Value) {
    let Some((last, above)) = at.split_last() else {
        return;
    };
    let place = above.iter().fold(args, |place, name| {
        if !place[name.as_str()].is_object() {
            place[name.as_str()] = json!({});
        }
        &mut place[name.as_str()]
    });
    place[last.as_str()] = value;
}

/// Returns true if the request contains the argument, or a warning names it.
fn is_sent_or_reported(
    entry: &CatalogEntry,
    validated: &ValidatedArguments,
    at: &[String],
) -> bool {
    let path = at.join(".");
    if validated
        .warnings
        .iter()
        .any(|warning| warning.contains(&format!("`{path}`")))
    {
        return true;
    }
    let [name, below @ ..] = at else { return true };
    let Ok(request) = entry.compiled().build_request(validated.args.clone()) else {
        return true;
    };
    if request.preview.is_some() || name == "preview" {
        return true;
    }
    let in_query = [format!("?{name}="), format!("&{name}=")];
    if in_query.iter().any(|part| request.target.contains(part)) {
        return true;
    }
    let operation = entry.operation;
    let in_header = operation
        .header_arguments()
        .iter()
        .any(|(argument, header)| argument == name && request.headers.contains_key(*header));
    let is_bare = !request.body.as_ref().is_some_and(Value::is_object)
        || request.body.as_ref() == validated.args.get(name);
    let in_body = || {
        let mut body = request.body.as_ref()?.get(name.as_str())?;
        for name in below {
            body = body.get(name.as_str())?;
        }
        Some(())
    };
    in_header
        || operation
            .placeholders()
            .any(|placeholder| placeholder == name)
        || (is_bare && request.body.is_some())
        || in_body().is_some()
}

#[test]
fn every_dropped_argument_is_reported() {
    let mut tried = 0;
    let mut lost = Vec::new();
    for entry in Catalog::full().iter() {
        let least = minimal_arguments(entry);
        for (at, schema) in field_paths(entry.compiled().full_schema()) {
            for value in sample_values(schema) {
                let mut args = least.clone();
                set_at_path(&mut args, &at, value.clone());
                let given: JsonMap = args.as_object().unwrap().clone();
                let options = ValidationOptions::default();
                let Ok(validated) = entry.compiled().validate(given, &options) else {
                    continue;
                };
                tried += 1;
                if !is_sent_or_reported(entry, &validated, &at) {
                    lost.push(format!(
                        "{} {} = {value}",
                        entry.operation.name(),
                        at.join(".")
                    ));
                }
            }
        }
    }
    assert!(tried > 3_000, "only {tried} calls passed");
    assert!(lost.is_empty(), "{} lost\n{}", lost.len(), lost.join("\n"));
}
