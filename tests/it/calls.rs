//! For every tool, `tests/data/calls/<tool>.json` shows the requests that its calls send.
//!
//! A case is `{"arguments": …, "sends": …}`. The arguments are written by hand, `sends` by
//! `UPDATE=1`.

use std::{collections::BTreeSet, fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_operation::CompiledOperation;
use serde_json::{Value, json};

use crate::support::generated::{UPDATE_COMMAND, check_generated_file};

#[test]
fn recorded_requests_are_up_to_date() {
    let folder = Path::new("tests/data/calls");
    let mut expected = BTreeSet::new();
    let mut faults = Vec::new();
    for entry in Catalog::full().iter() {
        let path = folder.join(format!("{}.json", entry.operation.name()));
        match read_calls(&path) {
            Ok(mut cases) => {
                for case in &mut cases {
                    case["sends"] = request_summary(entry.compiled(), &case["arguments"]);
                }
                faults.extend(find_missing_success(&path, &cases));
                let text = serde_json::to_string_pretty(&cases).unwrap() + "\n";
                check_generated_file(&path, &text);
            }
            Err(why) => faults.push(why),
        }
        expected.insert(path);
    }
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if !expected.contains(&path) {
            faults.push(format!("{} belongs to no tool; remove it", path.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Reads the calls of a tool, each with its arguments.
fn read_calls(path: &Path) -> Result<Vec<Value>, String> {
    const FORM: &str = "write a list of calls, `[{\"arguments\": {…}}]`";
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|_| {
        format!(
            "{shown} is missing: {FORM}, and one that works; `{UPDATE_COMMAND}` adds what it sends"
        )
    })?;
    let cases: Vec<Value> = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} cannot be read: {error}; {FORM}"))?;
    match cases.iter().all(|case| case["arguments"].is_object()) {
        true => Ok(cases),
        false => Err(format!("{shown} has a call without `arguments`: {FORM}")),
    }
}

/// Returns a fault if no call is sent, with the reasons of the refused ones.
fn find_missing_success(path: &Path, cases: &[Value]) -> Option<String> {
    if cases.iter().any(|case| case["sends"].get("line").is_some()) {
        return None;
    }
    let lines = cases
        .iter()
        .filter_map(|case| case["sends"]["refused"].as_array());
    let lines = lines.flatten().filter_map(Value::as_str);
    let reasons: String = lines.map(|line| format!("\n    {line}")).collect();
    Some(format!(
        "{} shows no call that works: add one, or correct its arguments. The calls are refused:{reasons}",
        path.display()
    ))
}

fn request_summary(published: &CompiledOperation, arguments: &Value) -> Value {
    match published.validate_and_build_request(arguments.as_object().unwrap().clone()) {
        Ok(request) => {
            let line = format!("{} {}", request.method, request.target);
            let mut sends = json!({ "line": line, "body": request.body });
            for (name, value) in &request.headers {
                sends["headers"][name.as_str()] = json!(value.to_str().unwrap());
            }
            sends
        }
        Err(error) => json!({ "refused": error.to_string().lines().collect::<Vec<_>>() }),
    }
}
