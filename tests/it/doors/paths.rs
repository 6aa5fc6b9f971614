//! Paths: a slash at the end, a prefix that a proxy keeps, and those of the older transport.

use super::*;
use crate::{
    http::served,
    process::{Served, said},
};

fn tools(reply: &Reply) -> Vec<String> {
    let message = reply.message();
    let tools = message["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{reply:?}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn trailing_slash_of_an_endpoint_is_ignored() {
    let server = served(&[]);
    for path in [
        "/mcp",
        "/mcp/readonly",
        "/mcp/x/prompts",
        "/mcp/x/prompts,labels/readonly",
    ] {
        let without = tools(&exchange(&server, &list(path, &[])));
        let with = tools(&exchange(&server, &list(&format!("{path}/"), &[])));
        assert_eq!(without, with, "{path}");
    }
    let whole = tools(&exchange(&server, &list("/mcp/", &[])));
    let narrow = tools(&exchange(&server, &list("/mcp/readonly/", &[])));
    assert!(
        narrow.len() < whole.len(),
        "{} of {}",
        narrow.len(),
        whole.len()
    );
}

#[test]
fn path_prefix_applies_to_every_path() {
    let args = [
        "http",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--path-prefix",
        "/portkey/",
    ];
    let server = Served::start(&args);
    assert!(server.url.ends_with("/portkey/mcp"), "{}", server.url);
    for path in [
        "/portkey/mcp",
        "/portkey/mcp/",
        "/portkey/mcp/x/prompts/readonly",
    ] {
        assert!(
            !tools(&exchange(&server, &list(path, &[]))).is_empty(),
            "{path}"
        );
    }
    for (path, status) in [
        ("/portkey/healthz", 200),
        ("/portkey/readyz", 200),
        // Probes on the same machine pass no proxy.
        ("/healthz", 200),
        ("/readyz", 200),
        ("/mcp", 404),
        ("/portkey", 404),
        ("/portkeymcp", 404),
    ] {
        assert_eq!(
            exchange(&server, &raw("GET", path, &[], b"")).status,
            status,
            "{path}"
        );
    }
    let lost = exchange(&server, &list("/mcp", &[]));
    assert_eq!(
        (lost.status, lost.text()),
        (404, "MCP is served at /portkey/mcp\n")
    );
    let old = exchange(&server, &raw("GET", "/portkey/sse", &[], b""));
    assert!(old.error().contains("`/portkey/mcp`"), "{old:?}");
}

#[test]
fn invalid_prefix_origin_and_host_are_rejected() {
    for prefix in [
        "portkey",
        "/a//b",
        "/a b",
        "/{a}",
        "https://a.example/portkey",
    ] {
        let (ok, _, log) = said(&["http", "--sandbox", "--path-prefix", prefix]);
        assert!(
            !ok && log.contains("give a path such as /portkey"),
            "{prefix}: {log}"
        );
    }
    let (ok, _, log) = said(&["http", "--sandbox", "--allowed-origin", "localhost:6274"]);
    assert!(!ok && log.contains("give scheme and host"), "{log}");
    for host in ["https://mcp.example.com", "*.example.com"] {
        let (ok, _, log) = said(&["http", "--sandbox", "--allowed-host", host]);
        assert!(!ok && log.contains("give the name alone"), "{log}");
    }
}

#[test]
fn clients_of_the_sse_transport_get_advice() {
    let server = served(&[]);
    for (method, path) in [
        ("GET", "/sse"),
        ("GET", "/sse/"),
        ("POST", "/sse"),
        ("POST", "/messages?session_id=1"),
        ("POST", "/messages/?session_id=1"),
        ("POST", "/message"),
        ("GET", "/mcp/sse"),
    ] {
        let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
        let reply = exchange(
            &server,
            &raw(method, path, &["accept: text/event-stream"], body),
        );
        assert_eq!(reply.status, 404, "{method} {path}");
        let told = reply.error();
        assert!(
            told.contains("streamable HTTP, at `/mcp`") && told.contains("(`sse`)"),
            "{told}"
        );
    }
}
