//! Identifiers stay in their segment of the path; others are rejected before anything is sent.

use std::collections::BTreeSet;

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_mcp::pipeline::CallError;
use portkey_operation::{ApiBase, Operation};
use serde_json::{Value, json};

use crate::support::{
    arguments::minimal_arguments,
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

const PATH_TRAVERSALS: &[&str] = &[
    "",
    " ",
    "\t",
    ".",
    "..",
    " .. ",
    "../x",
    "x/../y",
    "/",
    "a/b",
    "\\",
    "a\\b",
    "..\\x",
    "%2e",
    "%2E%2e",
    "%2e.",
    ".%2E",
    "%252e%252e",
    "%25252E%25252E",
    "%2f",
    "a%2Fb",
    "a%5cb",
    "a%252fb",
    "%00",
    "a\0b",
    "a\nb",
    "a\r\nHost: x",
    "a\u{7f}b",
    "a%0ab",
    "\u{85}",
];

#[tokio::test]
async fn path_traversal_in_identifiers_is_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream);
    let long = "x".repeat(256);
    let mut swept = 0;
    for entry in Catalog::full().iter() {
        let operation = entry.operation;
        for argument in operation.placeholders() {
            for value in PATH_TRAVERSALS.iter().copied().chain([long.as_str()]) {
                let mut args = minimal_arguments(entry);
                args[argument] = json!(value);
                let outcome = dispatcher
                    .call_as_local(
                        &operator(),
                        operation.name(),
                        args.as_object().unwrap().clone(),
                    )
                    .await;
                let Err(CallError::InvalidArguments(error)) = outcome else {
                    panic!("{operation:?} with `{argument}` = {value:?}: {outcome:?}");
                };
                let text = error.to_string();
                assert!(
                    text.contains(&format!("`{argument}`")),
                    "{operation:?}: {text}"
                );
                swept += 1;
            }
        }
    }
    assert!(swept > 500, "only {swept} cases");
    assert_eq!(upstream.requests().len(), 0, "something was sent");
}

#[tokio::test]
async fn unusual_identifiers_are_encoded_into_one_segment() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream);
    let cases = [
        ("plain-slug_1", "/v1/integrations/plain-slug_1"),
        ("a.b", "/v1/integrations/a.b"),
        ("...", "/v1/integrations/..."),
        ("a b?c#d&e", "/v1/integrations/a%20b%3Fc%23d%26e"),
        ("ü", "/v1/integrations/%C3%BC"),
        ("100%", "/v1/integrations/100%25"),
    ];
    for (slug, path) in cases {
        let args = json!({ "slug": slug }).as_object().unwrap().clone();
        dispatcher
            .call_as_local(&operator(), "get-integration", args)
            .await
            .unwrap();
        assert_eq!(upstream.requests().last().unwrap().target, path);
    }
}

/// Returns the operations whose addresses have the same host and version.
fn operations_of_host(base: ApiBase) -> impl Iterator<Item = &'static Operation> + Clone {
    let host = |base| match base {
        ApiBase::Gateway => ApiBase::ControlPlane,
        base => base,
    };
    Catalog::operations().filter(move |operation| host(operation.base()) == host(base))
}

/// Returns for each segment of a pattern whether it is a text, if the pattern matches the path.
fn match_pattern(pattern: &str, path: &str) -> Option<Vec<bool>> {
    if pattern.split('/').count() != path.split('/').count() {
        return None;
    }
    let segments = pattern.split('/').zip(path.split('/'));
    segments
        .map(|(own, given)| match own.split_once('{') {
            None => (own.eq_ignore_ascii_case(given)).then_some(true),
            Some(_) => Some(false),
        })
        .collect()
}

/// Asserts that a path leads to the operation that it was built for: no other pattern is more
/// specific.
fn assert_own_path(entry: &CatalogEntry, path: &str, documented: &str) -> usize {
    let operation = entry.operation;
    let own = match_pattern(operation.path(), path);
    assert!(own.is_some(), "{path} is not of {operation:?}");
    if path == documented {
        return 0;
    }
    for other in operations_of_host(operation.base()) {
        assert!(
            match_pattern(other.path(), path) <= own,
            "{path} of {} leads to {}",
            operation.name(),
            other.name()
        );
    }
    1
}

#[test]
fn no_value_turns_a_path_into_that_of_another_operation() {
    let mut refused = 0;
    let mut built = 0;
    for entry in Catalog::full().iter() {
        let operation = entry.operation;
        let names: Vec<_> = operation.placeholders().collect();
        let length = operation.path().split('/').count();
        let same_length = operations_of_host(operation.base())
            .map(Operation::path)
            .filter(|path| path.split('/').count() == length);
        let mut texts: BTreeSet<_> = same_length
            .flat_map(|path| path.split('/'))
            .filter(|segment| !segment.is_empty() && !segment.contains('{'))
            .collect();
        texts.insert("an-id");
        let mut values = vec![Vec::new()];
        for _ in &names {
            let longer = values.iter().flat_map(|before: &Vec<&str>| {
                let with = |text: &&'static str| [before.as_slice(), &[*text]].concat();
                texts.iter().map(with).collect::<Vec<_>>()
            });
            values = longer.collect();
        }
        for values in values.iter().filter(|values| !values.is_empty()) {
            let args = names.iter().zip(values);
            let args = args.map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            let request = match entry.compiled().build_request(args.collect()) {
                Ok(request) => request,
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("is not an id"), "{text}");
                    refused += 1;
                    continue;
                }
            };
            let path = request.target.split('?').next().unwrap();
            // The API documents this value of the dimension.
            built += assert_own_path(entry, path, "/analytics/groups/provider");
        }
    }
    assert!(
        built > 500 && refused > 20,
        "{built} built, {refused} refused"
    );
}

#[tokio::test]
async fn id_that_is_part_of_another_address_is_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream);
    let call = async |tool: &str, name: &str, value: &str| {
        let entry = Catalog::full();
        let entry = entry.find(tool).unwrap();
        let mut args = minimal_arguments(entry);
        args[name] = json!(value);
        let args = args.as_object().unwrap().clone();
        dispatcher.call_as_local(&operator(), tool, args).await
    };
    for (tool, name, value) in [
        ("get-user", "user_id", "invites"),
        ("get-user", "user_id", "Invites"),
        ("get-user", "user_id", "%69nvites"),
        ("delete-user", "user_id", "invites"),
        ("get-prompt", "prompt_id", "partials"),
        ("list-prompt-versions", "prompt_id", "partials"),
        ("get-log", "log_id", "exports"),
        ("get-log-export", "export_id", "field-restrictions"),
    ] {
        let outcome = call(tool, name, value).await;
        let Err(CallError::InvalidArguments(error)) = outcome else {
            panic!("{tool} with {value:?}: {outcome:?}");
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!("`{name}`")) && text.contains("is not an id"),
            "{text}"
        );
    }
    assert_eq!(upstream.count(), 0);
    for (tool, name, value) in [
        ("get-analytics-grouped-data", "group_by", "provider"),
        ("get-user", "user_id", "invites-2"),
        ("get-prompt", "prompt_id", "invites"),
    ] {
        let outcome = call(tool, name, value).await;
        assert!(outcome.is_ok(), "{tool} with {value:?}: {outcome:?}");
    }
}
