//! Paths: trailing slashes, a prefix kept by a proxy, and the paths of the HTTP+SSE transport.

use super::*;
use crate::support::{
    process::run_cli,
    server::{ServerProcess, serve_sandbox},
};

fn tool_names(reply: &RawResponse) -> Vec<String> {
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
    let server = serve_sandbox(&[]);
    for path in [
        "/mcp",
        "/mcp/readonly",
        "/mcp/x/prompts",
        "/mcp/x/prompts,labels/readonly",
    ] {
        let without = tool_names(&send_raw(&server, &list_request(path, &[])));
        let with = tool_names(&send_raw(&server, &list_request(&format!("{path}/"), &[])));
        assert_eq!(without, with, "{path}");
    }
    let whole = tool_names(&send_raw(&server, &list_request("/mcp/", &[])));
    let narrow = tool_names(&send_raw(&server, &list_request("/mcp/readonly/", &[])));
    assert!(
        narrow.len() < whole.len(),
        "{} of {}",
        narrow.len(),
        whole.len()
    );
}

#[test]
fn path_prefix_applies_to_every_path() {
    let server = ServerProcess::http()
        .sandbox()
        .args(&["--path-prefix", "/portkey/"])
        .start();
    assert!(server.url.ends_with("/portkey/mcp"), "{}", server.url);
    for path in [
        "/portkey/mcp",
        "/portkey/mcp/",
        "/portkey/mcp/x/prompts/readonly",
    ] {
        assert!(
            !tool_names(&send_raw(&server, &list_request(path, &[]))).is_empty(),
            "{path}"
        );
    }
    for (path, status) in [
        ("/portkey/healthz", 200),
        ("/portkey/readyz", 200),
        // Probes on the same machine do not pass through the proxy.
        ("/healthz", 200),
        ("/readyz", 200),
        ("/mcp", 404),
        ("/portkey", 404),
        ("/portkeymcp", 404),
    ] {
        assert_eq!(
            send_raw(&server, &raw_request("GET", path, &[], b"")).status,
            status,
            "{path}"
        );
    }
    let lost = send_raw(&server, &list_request("/mcp", &[]));
    assert_eq!(
        (lost.status, lost.text()),
        (404, "MCP is served at /portkey/mcp\n")
    );
    let old = send_raw(&server, &raw_request("GET", "/portkey/sse", &[], b""));
    assert!(old.error_message().contains("`/portkey/mcp`"), "{old:?}");
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
        let (ok, _, log) = run_cli(&["http", "--sandbox", "--path-prefix", prefix]);
        assert!(
            !ok && log.contains("give a path such as /portkey"),
            "{prefix}: {log}"
        );
    }
    let (ok, _, log) = run_cli(&["http", "--sandbox", "--allowed-origin", "localhost:6274"]);
    assert!(!ok && log.contains("give scheme and host"), "{log}");
    for host in ["https://mcp.example.com", "*.example.com"] {
        let (ok, _, log) = run_cli(&["http", "--sandbox", "--allowed-host", host]);
        assert!(!ok && log.contains("give the name alone"), "{log}");
    }
}

#[test]
fn clients_of_the_sse_transport_get_advice() {
    let server = serve_sandbox(&[]);
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
        let reply = send_raw(
            &server,
            &raw_request(method, path, &["accept: text/event-stream"], body),
        );
        assert_eq!(reply.status, 404, "{method} {path}");
        let message = reply.error_message();
        assert!(
            message.contains("streamable HTTP, at `/mcp`") && message.contains("(`sse`)"),
            "{message}"
        );
    }
}
