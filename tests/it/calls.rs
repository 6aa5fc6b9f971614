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
    for entry in Catalog::full().iter() {
        let path = folder.join(format!("{}.json", entry.operation.name()));
        let text = fs::read_to_string(&path).unwrap_or_else(|_| {
            panic!(
                "{} is missing: show a call of the tool, as in `[{{\"arguments\": {{…}}}}]`; \
                     `{UPDATE_COMMAND}` adds what it sends",
                path.display()
            )
        });
        let mut cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        for case in &mut cases {
            case["sends"] = request_summary(entry.compiled(), &case["arguments"]);
        }
        let passes = cases.iter().any(|case| case["sends"].get("line").is_some());
        assert!(passes, "{} shows no call that works", path.display());
        check_generated_file(
            &path,
            &(serde_json::to_string_pretty(&cases).unwrap() + "\n"),
        );
        expected.insert(path);
    }
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        assert!(
            expected.contains(&path),
            "{} belongs to no tool; remove it",
            path.display()
        );
    }
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
