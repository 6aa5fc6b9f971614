//! `tool-schemas/<domain>/<tool>.json` contains every tool as published; built-in tools are under
//! `own`.

use std::{collections::BTreeSet, fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::{server, surface};

use crate::support::generated::{UPDATE_COMMAND, check_generated_file};

#[test]
fn published_tool_schemas_are_up_to_date() {
    let root = Path::new("tool-schemas");
    let mut expected = BTreeSet::new();
    for entry in Catalog::full().iter() {
        let name = entry.operation.name();
        let path = root.join(entry.domain.name).join(format!("{name}.json"));
        let tool =
            serde_json::to_string_pretty(&server::build_tool(entry.compiled())).unwrap() + "\n";
        check_generated_file(&path, &tool);
        expected.insert(path);
    }
    for own in surface::builtin_tools() {
        let path = root
            .join("own")
            .join(format!("{}.json", own.operation.name()));
        let tool =
            serde_json::to_string_pretty(&server::build_tool(&own.published)).unwrap() + "\n";
        check_generated_file(&path, &tool);
        expected.insert(path);
    }
    for domain in fs::read_dir(root).unwrap() {
        let domain = domain.unwrap().path();
        if domain.ends_with("SIZES.md") {
            continue;
        }
        for file in fs::read_dir(domain).unwrap() {
            let path = file.unwrap().path();
            if expected.contains(&path) {
                continue;
            }
            assert!(
                std::env::var_os("UPDATE").is_some(),
                "{} belongs to no tool; run `{UPDATE_COMMAND}`, which removes it",
                path.display()
            );
            fs::remove_file(path).unwrap();
        }
    }
}
