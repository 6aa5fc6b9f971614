//! Identifiers stay in their segment of the path; others are rejected before anything is sent.

use portkey_api::catalog::Catalog;
use portkey_mcp::pipeline::CallError;
use serde_json::json;

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
