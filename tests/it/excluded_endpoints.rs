//! Endpoints that must not become tools: undocumented ones, and those that return or revoke data of
//! people, such as the tokens of signed-in users. Preview operations may send to undocumented ones.

use std::{collections::BTreeSet, fs};

use portkey_api::domains::{DOMAINS, Domain};
use serde_json::Value;

use crate::records;

/// The records beside a checkout, if there are any.
const RECORD_PATH: &str = "../shared/portkey-api/not-shipped.json";

/// Method, and path with empty placeholders.
const EXCLUDED_ENDPOINTS: &[(&str, &str)] = &[
    ("GET", "/agent-integrations"),
    ("POST", "/agent-integrations"),
    ("POST", "/agent-integrations/fetch-agent-card"),
    ("DELETE", "/agent-integrations/{}"),
    ("GET", "/agent-integrations/{}"),
    ("PUT", "/agent-integrations/{}"),
    ("GET", "/agent-servers"),
    ("POST", "/agent-servers"),
    ("DELETE", "/agent-servers/{}"),
    ("GET", "/agent-servers/{}"),
    ("PUT", "/agent-servers/{}"),
    ("GET", "/logs/groups/{}"),
    ("GET", "/mcp-servers/{}/client-info"),
    ("DELETE", "/mcp-servers/{}/tokens"),
    ("GET", "/mcp-servers/{}/tokens"),
    ("PUT", "/mcp-servers/{}/tokens"),
    ("GET", "/mcp-servers/{}/user-access/check"),
    ("POST", "/prompts/partials/{}/fork"),
    ("DELETE", "/prompts/partials/{}/share"),
    ("POST", "/prompts/partials/{}/share"),
    ("PUT", "/prompts/partials/{}/share"),
    ("POST", "/prompts/partials/{}/unshare"),
    ("POST", "/prompts/{}/fork"),
    ("POST", "/prompts/{}/generate"),
    ("DELETE", "/prompts/{}/share"),
    ("POST", "/prompts/{}/share"),
    ("PUT", "/prompts/{}/share"),
    ("POST", "/prompts/{}/unshare"),
];

#[test]
fn excluded_endpoints_are_not_tools() {
    let shipped: BTreeSet<_> = DOMAINS
        .iter()
        .flat_map(Domain::stable_operations)
        .map(|operation| {
            (
                operation.method().as_str(),
                clear_placeholders(operation.path()),
            )
        })
        .collect();
    for (method, path) in EXCLUDED_ENDPOINTS {
        assert!(
            !shipped.contains(&(*method, (*path).to_owned())),
            "{method} {path} is a tool, and EXCLUDED_ENDPOINTS in tests/it/excluded_endpoints.rs excludes it; only a \
             maintainer removes the row"
        );
    }
}

#[test]
fn excluded_endpoints_match_the_records() {
    if records::are_missing() {
        return;
    }
    let text = fs::read_to_string(RECORD_PATH).unwrap();
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let recorded: BTreeSet<_> = records
        .iter()
        .map(|record| {
            (
                text(record, "method"),
                clear_placeholders(&text(record, "path")),
            )
        })
        .collect();
    let listed: BTreeSet<_> = EXCLUDED_ENDPOINTS
        .iter()
        .map(|(m, path)| ((*m).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(listed, recorded);
}

/// Empties the placeholders of a path: `/prompts/{prompt_id}/fork` becomes `/prompts/{}/fork`.
fn clear_placeholders(path: &str) -> String {
    let parts = path.split(['{', '}']).enumerate();
    parts
        .map(|(i, part)| if i % 2 == 0 { part } else { "{}" })
        .collect()
}
