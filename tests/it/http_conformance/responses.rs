//! Properties of all responses: no caching, and compression of large ones if the client accepts it.

use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use crate::support::server::serve_sandbox;

fn decompress(reply: &RawResponse) -> String {
    let mut text = String::new();
    GzDecoder::new(&*reply.body)
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn tool_call(tool: &str, more: &[&str]) -> Vec<u8> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let name = format!("mcp-name: {tool}");
    let head = [
        "mcp-protocol-version: 2026-07-28",
        "mcp-method: tools/call",
        &name,
    ];
    raw_request(
        "POST",
        "/mcp",
        &[&head[..], more].concat(),
        body.to_string().as_bytes(),
    )
}

#[test]
fn tool_list_is_compressed_if_accepted() {
    let server = serve_sandbox(&[]);
    let plain = send_raw(&server, &list_request("/mcp", &[]));
    assert_eq!(
        (plain.header("content-encoding"), plain.header("vary")),
        (None, Some("accept-encoding"))
    );
    let none = send_raw(
        &server,
        &list_request("/mcp", &["accept-encoding: gzip;q=0, br"]),
    );
    assert_eq!(none.header("content-encoding"), None);
    let gzip = send_raw(
        &server,
        &list_request("/mcp", &["accept-encoding: br, gzip"]),
    );
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(decompress(&gzip), plain.text());
    assert!(
        gzip.body.len() * 4 < plain.body.len(),
        "{} of {}",
        gzip.body.len(),
        plain.body.len()
    );
}

/// The stream contains nothing but the list, so the list is sent as JSON instead.
#[test]
fn tool_list_is_compressed_in_a_session() {
    let server = serve_sandbox(&[]);
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let accept = "accept: application/json, text/event-stream";
    let opened = send_raw(
        &server,
        &raw_request("POST", "/mcp", &[accept], hello.to_string().as_bytes()),
    );
    let session = format!(
        "mcp-session-id: {}",
        opened.header("mcp-session-id").unwrap()
    );
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }).to_string();
    let lines = [accept, &session, "accept-encoding: gzip"];
    let gzip = send_raw(
        &server,
        &raw_request("POST", "/mcp", &lines, list.as_bytes()),
    );
    assert_eq!(gzip.header("content-type"), Some("application/json"));
    let listed: Value = serde_json::from_str(&decompress(&gzip)).unwrap();
    let plain = send_raw(
        &server,
        &raw_request("POST", "/mcp", &lines[..2], list.as_bytes()),
    );
    assert_eq!(plain.header("content-type"), Some("text/event-stream"));
    assert_eq!(listed, plain.message());
}

/// Covers the fast path and the path through rmcp.
#[test]
fn small_response_is_not_compressed() {
    let server = serve_sandbox(&[]);
    for accept in ["accept: application/json, text/event-stream", "accept: */*"] {
        let reply = send_raw(
            &server,
            &tool_call("whoami", &[accept, "accept-encoding: gzip"]),
        );
        assert_eq!(
            (reply.status, reply.header("content-encoding")),
            (200, None),
            "{accept}"
        );
        assert_eq!(reply.message()["result"]["isError"], false, "{accept}");
    }
}

#[test]
fn large_tool_result_is_compressed_on_both_paths() {
    let server = serve_sandbox(&["--max-result-bytes", "0"]);
    for accept in ["accept: application/json, text/event-stream", "accept: */*"] {
        let reply = send_raw(
            &server,
            &tool_call("list-guardrail-checks", &[accept, "accept-encoding: gzip"]),
        );
        let plain = send_raw(&server, &tool_call("list-guardrail-checks", &[accept]));
        assert_eq!(plain.status, 200, "{plain:?}");
        let expected = (plain.body.len() >= 8 << 10).then_some("gzip");
        assert_eq!(
            reply.header("content-encoding"),
            expected,
            "{accept}, {} bytes",
            plain.body.len()
        );
    }
}

#[test]
fn responses_are_not_cacheable() {
    let server = serve_sandbox(&[]);
    let stream = "accept: text/event-stream";
    for (what, request) in [
        ("JSON", list_request("/mcp", &[])),
        ("events", list_request("/mcp", &[stream])),
        ("a refusal", list_request("/mcp", &["host: evil.example"])),
        ("what is malformed", raw_request("POST", "/mcp", &[], b"{")),
    ] {
        let reply = send_raw(&server, &request);
        assert_eq!(
            reply.header("cache-control"),
            Some("no-store"),
            "{what}: {}",
            reply.head
        );
    }
}
