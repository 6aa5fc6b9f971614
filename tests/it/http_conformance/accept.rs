//! Served `Accept` headers and the form of the response (RFC 9110 §12.5.1).

use serde_json::json;

use super::*;
use crate::support::server::serve_sandbox;

struct Case {
    name: &'static str,
    accept: &'static [&'static str],
    kind: &'static str,
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

const CASES: [Case; 9] = [
    Case {
        name: "none",
        accept: &[],
        kind: "",
    },
    Case {
        name: "anything",
        accept: &["accept: */*"],
        kind: "",
    },
    Case {
        name: "any application",
        accept: &["accept: application/*"],
        kind: JSON,
    },
    Case {
        name: "JSON alone",
        accept: &["accept: application/json"],
        kind: JSON,
    },
    Case {
        name: "JSON in capitals",
        accept: &["Accept:APPLICATION/Json ; q=0.5"],
        kind: JSON,
    },
    Case {
        name: "events excluded",
        accept: &["accept: */*, text/event-stream;q=0"],
        kind: JSON,
    },
    Case {
        name: "events alone",
        accept: &["accept: text/event-stream"],
        kind: EVENTS,
    },
    Case {
        name: "both in two lines",
        accept: &["accept: text/event-stream", "accept: application/json"],
        kind: "",
    },
    Case {
        name: "a browser's",
        accept: &["accept: text/html, */*;q=0.8"],
        kind: "",
    },
];

fn initialize_request(accept: &[&str]) -> Vec<u8> {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    raw_request("POST", "/mcp", accept, body.to_string().as_bytes())
}

#[test]
fn matching_accept_header_is_served_in_both_generations() {
    let server = serve_sandbox(&[]);
    for (number, Case { name, accept, kind }) in CASES.into_iter().enumerate() {
        let listed = send_raw(&server, &list_request("/mcp", accept));
        assert_eq!(listed.status, 200, "{name}: {listed:?}");
        assert!(listed.message()["result"]["tools"].is_array(), "{name}");
        let expected = if kind.is_empty() { JSON } else { kind };
        assert_eq!(listed.header("content-type"), Some(expected), "{name}");

        let opened = send_raw(&server, &initialize_request(accept));
        assert_eq!(opened.status, 200, "{name}: {opened:?}");
        let expected = if kind.is_empty() { EVENTS } else { kind };
        assert_eq!(opened.header("content-type"), Some(expected), "{name}");
        assert_eq!(
            opened.message()["result"]["protocolVersion"],
            "2025-11-25",
            "{name}"
        );
        let session = format!(
            "mcp-session-id: {}",
            opened.header("mcp-session-id").unwrap()
        );
        let lines = [&[&*session], accept].concat();

        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
        let acknowledged = send_raw(
            &server,
            &raw_request("POST", "/mcp", &lines, ready.as_bytes()),
        );
        assert_eq!(acknowledged.status, 202, "{name}");
        let params =
            json!({ "name": "create-label", "arguments": { "name": format!("l-{number}") } });
        let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
        let called = send_raw(
            &server,
            &raw_request("POST", "/mcp", &lines, call.to_string().as_bytes()),
        );
        assert_eq!(
            called.message()["result"]["isError"],
            false,
            "{name}: {called:?}"
        );
        assert_eq!(called.header("content-type"), Some(expected), "{name}");
    }
}

/// The client declares support for forms but reads no stream, so it cannot receive a form.
#[test]
fn approval_by_form_without_a_stream_returns_an_error() {
    let server = serve_sandbox(&["--approve-writes"]);
    let accept = "accept: application/json";
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let opened = send_raw(
        &server,
        &raw_request("POST", "/mcp", &[accept], hello.to_string().as_bytes()),
    );
    let session = format!(
        "mcp-session-id: {}",
        opened.header("mcp-session-id").unwrap()
    );
    let post = |message: Value| {
        raw_request(
            "POST",
            "/mcp",
            &[accept, &session],
            message.to_string().as_bytes(),
        )
    };
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(send_raw(&server, &post(ready)).status, 202);
    let params = json!({ "name": "create-label", "arguments": { "name": "l" } });
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
    let called = send_raw(&server, &post(call));
    assert_eq!(called.header("content-type"), Some(JSON));
    let message = called.message();
    assert_eq!(message["result"]["isError"], true, "{message}");
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("accepts no stream of events"), "{text}");
}

#[test]
fn unsupported_accept_header_is_rejected_with_advice() {
    let server = serve_sandbox(&[]);
    let html = send_raw(&server, &list_request("/mcp", &["accept: text/html"]));
    assert_eq!(html.status, 406);
    assert!(
        html.error_message()
            .contains("`application/json` or `text/event-stream`"),
        "{html:?}"
    );
    let get = send_raw(
        &server,
        &raw_request("GET", "/mcp", &["accept: application/json"], b""),
    );
    assert_eq!(get.status, 406);
    assert!(
        get.error_message().contains("Accept: text/event-stream"),
        "{get:?}"
    );
}

#[test]
fn session_stream_opens_with_any_matching_accept_header() {
    let server = serve_sandbox(&[]);
    let opened = send_raw(&server, &initialize_request(&[]));
    let session = format!(
        "mcp-session-id: {}",
        opened.header("mcp-session-id").unwrap()
    );
    for accept in ["accept: */*", "accept: text/*", "x-none: 1"] {
        let address = server.url.split('/').nth(2).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(&raw_request("GET", "/mcp", &[&session, accept], b""))
            .unwrap();
        let mut begun = [0; 15];
        stream.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK", "{accept}");
    }
}
