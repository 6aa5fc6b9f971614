//! Compares fields of answers that are named like secrets with the declarations of the tools.

use portkey_api::catalog::Catalog;
use portkey_mcp::security::secrets::is_secret_name;
use portkey_operation::Operation;
use serde_json::{Value, json};

/// Fields that are named like a secret and hold none: the tool, or an empty name for every tool, and the end of
/// the field's path.
const NO_SECRETS: &[(&str, &str)] = &[
    // The name of a field of requests.
    ("", "conditions[].key"),
    ("", "group_by[].key"),
    // The name of a parameter.
    ("get-general-model-config", "params[].key"),
];

/// Returns the fields of an answer that are named like a secret, hold a text, and are not declared as a secret or
/// as personal data on the tool's row.
pub(super) fn undeclared_secrets(operation: &Operation, answer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_secret_names("", answer, &mut found);
    let declared = [
        operation.one_time_secrets(),
        operation.secret_fields(),
        operation.sensitive_fields(),
    ]
    .concat();
    let is_declared = |field: &str| {
        declared.iter().any(|path| {
            let below = field.strip_prefix(path.trim_end_matches(".*"));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    let is_excepted = |field: &str| {
        let fits = |(tool, end): &(&str, &str)| {
            (tool.is_empty() || *tool == operation.name()) && field.ends_with(end)
        };
        NO_SECRETS.iter().any(fits)
    };
    found.retain(|field| !is_declared(field) && !is_excepted(field));
    found
}

fn collect_secret_names(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let at = match at {
                    "" => name.clone(),
                    at => format!("{at}.{name}"),
                };
                if value.as_str().is_some_and(|text| !text.is_empty()) && is_secret_name(name) {
                    found.push(at.clone());
                }
                collect_secret_names(&at, value, found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_secret_names(&format!("{at}[]"), item, found)),
        _ => {}
    }
}

#[test]
fn undeclared_secret_in_an_answer_is_found() {
    let catalog = Catalog::full();
    let answer = json!({ "id": "i", "data": [{ "key": "shown once", "name": "n" }], "token": "" });
    for (tool, expected) in [
        ("create-label", &["data[].key"] as &[&str]),
        // Masked in lists.
        ("list-all-api-keys", &[]),
    ] {
        let operation = catalog.find(tool).unwrap().operation;
        assert_eq!(undeclared_secrets(operation, &answer), expected, "{tool}");
    }
    let answer = json!({ "id": "i", "key": "shown once" });
    let operation = catalog.find("create-api-key").unwrap().operation;
    assert!(undeclared_secrets(operation, &answer).is_empty());
}
