//! Headers that repeat parts of a message: equivalent names, and headers removed by a proxy.

use super::*;
use crate::support::server::serve_sandbox;

fn tool_call(named: &str, called: &str) -> Vec<u8> {
    tool_call_with(
        &[
            "mcp-protocol-version: 2026-07-28",
            "mcp-method: tools/call",
            &format!("mcp-name: {named}"),
        ],
        called,
    )
}

fn tool_call_with(lines: &[&str], called: &str) -> Vec<u8> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let params = json!({ "name": called, "arguments": {}, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    raw_request("POST", "/mcp", lines, body.to_string().as_bytes())
}

#[test]
fn header_that_names_another_tool_is_rejected() {
    struct Case {
        in_header: &'static str,
        in_body: &'static str,
        status: u16,
    }

    let server = serve_sandbox(&[]);
    for Case {
        in_header,
        in_body,
        status,
    } in [
        Case {
            in_header: "list-all-integrations",
            in_body: "list-all-integrations",
            status: 200,
        },
        Case {
            in_header: "list_all_integrations",
            in_body: "list-all-integrations",
            status: 200,
        },
        Case {
            in_header: "list-all-integrations",
            in_body: "list_all_integrations",
            status: 200,
        },
        Case {
            in_header: "=?base64?bGlzdF9hbGxfaW50ZWdyYXRpb25z?=",
            in_body: "list-all-integrations",
            status: 200,
        },
        Case {
            in_header: "delete-integration",
            in_body: "list-all-integrations",
            status: 400,
        },
        Case {
            in_header: "list-all-integrations",
            in_body: "delete_integration",
            status: 400,
        },
        Case {
            in_header: "no-such-tool",
            in_body: "list-all-integrations",
            status: 400,
        },
        Case {
            in_header: "no-such-tool",
            in_body: "another-one",
            status: 400,
        },
    ] {
        let reply = send_raw(&server, &tool_call(in_header, in_body));
        assert_eq!(reply.status, status, "{in_header}, {in_body}: {reply:?}");
        if status == 400 {
            assert_eq!(
                reply.message()["error"]["code"],
                -32020,
                "{in_header}, {in_body}"
            );
        }
    }
}

#[test]
fn alias_in_the_header_matches_its_tool() {
    let server = serve_sandbox(&[]);
    let catalog = portkey_api::catalog::Catalog::full();
    let aliased = catalog
        .iter()
        .find(|entry| !entry.operation.alias_names().is_empty());
    let operation = aliased.unwrap().operation;
    let alias = operation.alias_names()[0];
    let reply = send_raw(&server, &tool_call(alias, operation.name()));
    assert_eq!(
        reply.status,
        200,
        "{alias}, {}: {reply:?}",
        operation.name()
    );
}

#[test]
fn missing_headers_are_named_in_the_error() {
    let server = serve_sandbox(&[]);
    let version = "mcp-protocol-version: 2026-07-28";
    let method = "mcp-method: tools/call";
    for (lines, missing) in [
        (
            &[] as &[&str],
            "`MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name`",
        ),
        (&[version], "`Mcp-Method`, `Mcp-Name`"),
        (&[version, method], "`Mcp-Name`"),
    ] {
        let reply = send_raw(&server, &tool_call_with(lines, "whoami"));
        assert_eq!(
            (reply.status, &reply.message()["error"]["code"]),
            (400, &json!(-32020))
        );
        let message = reply.error_message();
        assert!(
            message.contains(&format!("arrived without {missing}.")),
            "{message}"
        );
        assert!(
            message.contains("a proxy on the way removes it"),
            "{message}"
        );
    }
    // No header is missing here.
    let reply = send_raw(&server, &tool_call("whoami", "list-labels"));
    assert!(
        !reply.error_message().contains("proxy"),
        "{}",
        reply.error_message()
    );
}

#[test]
fn request_without_a_session_id_gets_advice() {
    let server = serve_sandbox(&[]);
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }).to_string();
    let post = send_raw(&server, &raw_request("POST", "/mcp", &[], list.as_bytes()));
    assert_eq!(post.status, 400);
    assert!(
        post.error_message().contains("Begin one with `initialize`"),
        "{}",
        post.error_message()
    );
    let get = send_raw(
        &server,
        &raw_request("GET", "/mcp", &["accept: text/event-stream"], b""),
    );
    assert_eq!(get.status, 400);
    assert!(
        get.error_message().contains("HTTP+SSE (`sse`)"),
        "{}",
        get.error_message()
    );
}

#[test]
fn byte_order_mark_before_a_body_is_skipped() {
    let server = serve_sandbox(&[]);
    let plain = list_request("/mcp", &["accept: application/json, text/event-stream"]);
    let at = plain
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let body = [b"\xef\xbb\xbf", &plain[at..]].concat();
    let head = ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/list"];
    let reply = send_raw(&server, &raw_request("POST", "/mcp", &head, &body));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.message()["result"]["tools"].is_array());
}
