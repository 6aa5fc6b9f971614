//! The catalogue of guardrail checks: its publication, its completeness and the validation of
//! checks.

use std::{collections::BTreeSet, fs};

use portkey_api::{
    catalog::Catalog,
    domains::guardrails::catalogue::{CHECKS, ParameterKind},
};
use portkey_operation::CompiledOperation;
use serde_json::{Value, json};

use crate::{records, support::arguments::example_value};

fn compiled_operation(name: &str) -> CompiledOperation {
    let catalog = Catalog::full();
    catalog
        .iter()
        .find(|e| e.operation.name() == name)
        .unwrap()
        .compiled()
        .clone()
}

/// Returns the validation error of one check, or an empty text.
fn validation_error(check: Value) -> String {
    let arguments = json!({ "guardrail_id": "g", "checks": [check] });
    let outcome = compiled_operation("update-guardrail")
        .validate_and_build_request(arguments.as_object().unwrap().clone());
    outcome
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn every_check_is_named_in_the_tool_schema() {
    let text = Value::Object(
        compiled_operation("create-guardrail")
            .schema()
            .as_ref()
            .clone(),
    )
    .to_string();
    let mut named = BTreeSet::new();
    for word in text.split([' ', '"']) {
        let (family, names) = word.split_once(".{").unwrap_or(("", word));
        let names = names.trim_end_matches('}').split(',');
        named.extend(names.map(|name| format!("{family}.{name}").trim_matches('.').to_owned()));
    }
    for check in CHECKS {
        assert!(named.contains(check.id), "{}", check.id);
    }
}

#[test]
fn check_parameters_are_validated() {
    for check in CHECKS {
        let parameters = check.parameters.unwrap_or_default();
        let all: serde_json::Map<_, _> = parameters
            .iter()
            .map(|p| (p.name.to_owned(), example_value(p.kind)))
            .collect();
        assert_eq!(
            validation_error(json!({ "id": check.id, "parameters": all })),
            "",
            "{}",
            check.id
        );
        for parameter in parameters {
            let mut less = all.clone();
            less.remove(parameter.name);
            let error = validation_error(json!({ "id": check.id, "parameters": less }));
            assert_eq!(error.contains("is required"), parameter.required, "{error}");
            let mut wrong = all.clone();
            wrong[parameter.name] = json!(null);
            let error = validation_error(json!({ "id": check.id, "parameters": wrong }));
            let at = format!("`checks[0].parameters.{}`", parameter.name);
            let loose = matches!(parameter.kind, ParameterKind::Any);
            assert!(
                loose || error.contains(&at),
                "{} of {}: {error}",
                parameter.name,
                check.id
            );
        }
    }
}

#[test]
fn invalid_parameter_error_lists_the_accepted_parameters() {
    for (check, expected) in [
        (
            json!({ "id": "default.contains", "parameters": { "word": ["a"], "operator": "any" } }),
            "did you mean `words`?; `default.contains` takes `words`* (a list of texts), \
             `operator`* (one of any, all, none)",
        ),
        (
            json!({ "id": "portkey.pii" }),
            "`categories`* (a list of EMAIL_ADDRESS",
        ),
        (
            json!({ "id": "acuvity.scan", "parameters": { "toxic_threshold": 2 } }),
            "takes a number from 0 to 1",
        ),
    ] {
        let error = validation_error(check.clone());
        assert!(error.contains(expected), "{check}: {error}");
    }
    let partner = json!({ "id": "lasso.classify", "parameters": { "anything": 1 } });
    assert_eq!(validation_error(partner), "", "its parameters are open");
    let signed_in = json!({ "id": "bedrock.guard", "parameters": { "guardrailVersion": "1",
        "guardrailId": "g", "credentials": { "awsRegion": "eu-west-1" } } });
    assert_eq!(validation_error(signed_in), "");
}

#[test]
fn secret_parameter_is_not_repeated_in_the_error() {
    let secret = "do-not-show-this-anywhere";
    let error = validation_error(json!({ "id": "default.webhook",
        "parameters": { "webhookURL": 1, "headers": secret, "timeout": secret } }));
    assert!(
        error.contains("headers") && !error.contains(secret),
        "{error}"
    );
}

/// Compares the catalogue with the record of the API if a checkout has it beside it.
#[test]
fn catalogue_matches_the_recorded_checks() {
    if records::are_missing() {
        return;
    }
    let text = fs::read_to_string("../shared/portkey-api/guardrail-checks.json").unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    for (id, check) in recorded["checks"].as_object().unwrap() {
        let mine = CHECKS
            .iter()
            .find(|mine| mine.id == id)
            .unwrap_or_else(|| panic!("no {id}"));
        let schema = &check["schema"];
        let Some(properties) = schema["properties"].as_object() else {
            assert!(mine.parameters.is_none(), "{id} is open");
            continue;
        };
        let parameters = mine.parameters.unwrap();
        let names: BTreeSet<_> = parameters.iter().map(|parameter| parameter.name).collect();
        assert_eq!(
            names,
            properties.keys().map(String::as_str).collect(),
            "{id}"
        );
        for parameter in parameters {
            let schema = &properties[parameter.name];
            let needed = check["schema"]["required"].as_array();
            let needed = needed.is_some_and(|names| names.contains(&json!(parameter.name)));
            assert_eq!(parameter.required, needed, "{id} {}", parameter.name);
            let (words, kind) = match parameter.kind {
                ParameterKind::OneOf(words) => (Some((words, &schema["enum"])), "string"),
                ParameterKind::ValueList(words) => {
                    (Some((words, &schema["items"]["enum"])), "array")
                }
                ParameterKind::TextList => (None, "array"),
                ParameterKind::Text => (None, "string"),
                ParameterKind::Number | ParameterKind::Fraction => (None, "number"),
                ParameterKind::Bool => (None, "boolean"),
                ParameterKind::Object | ParameterKind::Any => (None, "object"),
            };
            assert_eq!(schema["type"], kind, "{id} {}", parameter.name);
            if let Some((words, recorded)) = words {
                assert_eq!(
                    json!(words.split(' ').collect::<Vec<_>>()),
                    *recorded,
                    "{id}"
                );
            }
            assert_eq!(
                matches!(parameter.kind, ParameterKind::Fraction),
                schema["maximum"] == 1,
                "{id}"
            );
        }
    }
}
