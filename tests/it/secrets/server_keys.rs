//! Keys of the server and of a request: masked at any place and in any encoding, in responses and
//! arguments.

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::{Credentials, KeySource, MissingKey, Principal, UpstreamKey},
    mcp::reply,
    observability::{call_record::CallOutcome, request::RequestInfo},
    pipeline::{CallRecord, ToolCall},
    security::secrets::{MASK, learn_key, mask_line, mask_response, mask_text},
};
use serde_json::{Value, json};

use crate::support::upstream::{
    KEY, MockUpstream, dispatcher, http_response, json_response, operator,
};

/// Contains all characters with more than one encoding.
const KEY_WITH_ESCAPES: &str = "own/key+with=\"quotes\" \\ and ü, 4711";

fn mask_workspace(answer: &Value) -> Value {
    let catalog = Catalog::full();
    let mut answer = answer.clone();
    mask_response(
        catalog.find("get-workspace").unwrap().operation,
        &mut answer,
    );
    answer
}

#[test]
fn own_key_is_masked_in_every_encoding() {
    learn_key(KEY_WITH_ESCAPES);
    let json = json!(KEY_WITH_ESCAPES).to_string();
    let json = &json[1..json.len() - 1];
    let nested = json!(json).to_string();
    let nested = &nested[1..nested.len() - 1];
    for written in [
        KEY_WITH_ESCAPES,
        json,
        nested,
        &json.replace('/', r"\/"),
        &json.replace('ü', r"\u00fc"),
        "own%2Fkey%2Bwith%3D%22quotes%22%20%5C%20and%20%C3%BC%2C%204711",
        "own%2fkey%2bwith%3d%22quotes%22%20%5c%20and%20%c3%bc%2c%204711",
        "own%2Fkey%2Bwith%3D%22quotes%22+%5C+and+%C3%BC%2C+4711",
    ] {
        let text = format!("the key {written} is wrong");
        let expected = format!("the key {MASK} is wrong");
        assert_eq!(mask_text(&text), expected);
        assert_eq!(mask_line(&text), expected);
        assert_eq!(
            mask_workspace(&json!({ "note": [{ "a": text }] }))["note"][0]["a"],
            expected
        );
    }
}

#[test]
fn own_key_is_masked_in_names_numbers_and_nested_json() {
    learn_key("824753190264");
    learn_key(KEY_WITH_ESCAPES);
    let document = json!({ "note": [KEY_WITH_ESCAPES], KEY_WITH_ESCAPES: 1 }).to_string();
    let answer = json!({ KEY_WITH_ESCAPES: { "n": 824_753_190_264_u64 }, "list": [824_753_190_264_u64, 8], "text": document,
        "824753190264": KEY_WITH_ESCAPES, "plain": 8_247 });
    let shown = mask_workspace(&answer);
    let text = shown.to_string();
    assert!(
        !text.contains("own/key") && !text.contains("824753190264"),
        "{text}"
    );
    assert_eq!(shown[MASK]["n"], MASK, "{text}");
    assert_eq!(shown[format!("{MASK} (2)")], MASK, "{text}");
    assert_eq!(
        (&shown["list"], &shown["plain"]),
        (&json!([MASK, 8]), &json!(8_247))
    );
}

/// Further fields of an upstream error are logged and audited as well.
#[tokio::test]
async fn own_key_is_in_no_part_of_an_upstream_error() {
    let body = json!({ "success": false, "data": {
        "message": format!("no {KEY}"), "errorCode": KEY, "code": KEY,
        "details": [{ "path": [KEY], "message": format!("see {KEY}") }, { KEY: { "reason": "bad value" } }],
    }, "request_id": KEY })
    .to_string();
    let headers = format!("content-type: application/json\r\nx-request-id: {KEY}\r\n");
    let upstream =
        MockUpstream::start(move |_| http_response("400 Bad Request", &headers, &body)).await;
    let (principal, request_info, mut record) =
        (operator(), RequestInfo::local(), CallRecord::default());
    let args = json!({ "workspace_id": "w" }).as_object().unwrap().clone();
    let call = ToolCall {
        principal: &principal,
        request_info: &request_info,
        name: "get-workspace",
        args,
        approval_response: None,
    };
    let outcome = dispatcher(&upstream).call(call, &mut record).await;
    let error = outcome.unwrap_err();
    let words = reply::error_message(&error);
    assert!(words.contains(MASK), "{words}");
    let all = format!("{words} {error} {error:?} {record:?}");
    assert!(!all.contains(KEY), "{all}");
    assert_eq!(
        (record.upstream_request_id, record.outcome.code),
        (None, None)
    );
}

#[tokio::test]
async fn own_key_is_not_recorded_as_request_id() {
    let headers = format!("content-type: application/json\r\nx-request-id: {KEY}\r\n");
    let upstream = MockUpstream::start(move |_| http_response("200 OK", &headers, "{}")).await;
    let (principal, request_info, mut record) =
        (operator(), RequestInfo::local(), CallRecord::default());
    let args = json!({ "workspace_id": "w" }).as_object().unwrap().clone();
    let call = ToolCall {
        principal: &principal,
        request_info: &request_info,
        name: "get-workspace",
        args,
        approval_response: None,
    };
    dispatcher(&upstream).call(call, &mut record).await.unwrap();
    assert_eq!(record.upstream_request_id, None);
}

/// The process does not learn the key of a request. The key is masked in responses to its caller as
/// well.
#[tokio::test]
async fn request_key_is_masked_in_results_and_errors() {
    let key = "tenant-key/0123456789==";
    let body = json!({ "name": format!("yours is {key}"), key: { "x": [key] },
        "escaped": key.replace('/', "%2F").replace('=', "%3D") })
    .to_string();
    let refused = json!({ "success": false, "data": {
        "message": format!("no {key}"), "details": [{ "path": "a", "message": key }] } })
    .to_string();
    let upstream = MockUpstream::start(move |before| match before {
        0 => json_response(&body),
        _ => http_response("400 Bad Request", "", &refused),
    })
    .await;
    let key_of_request = UpstreamKey::new(KeySource::Request, &key.into()).unwrap();
    let credentials = Credentials {
        portkey: Some(key_of_request),
        enkrypt: None,
        missing_key: MissingKey::Server,
    };
    let principal = Principal {
        credentials,
        ..operator()
    };
    let dispatcher = dispatcher(&upstream);
    let args = json!({ "workspace_id": "w" }).as_object().unwrap().clone();
    let shown = dispatcher
        .call_as_local(&principal, "get-workspace", args.clone())
        .await
        .unwrap();
    let error = dispatcher
        .call_as_local(&principal, "get-workspace", args)
        .await
        .unwrap_err();
    let all = format!("{shown} {}", reply::error_message(&error));
    assert!(!all.contains("tenant-key") && all.contains(MASK), "{all}");
    let CallOutcome { code, error, .. } = error.outcome(false);
    assert_eq!((code, error), (None, None));
}
