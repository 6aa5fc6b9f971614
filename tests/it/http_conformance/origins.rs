//! Hosts of the server, and origins of web pages.

use super::*;
use crate::support::server::{ServerProcess, serve_sandbox};

#[test]
fn local_origins_may_call_a_loopback_listener() {
    let server = serve_sandbox(&[]);
    for (origin, status) in [
        ("http://localhost:6274", 200),
        ("http://127.0.0.1:1", 200),
        ("http://[::1]:3000", 200),
        ("https://localhost", 200),
        ("http://localhost.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let reply = send_raw(
            &server,
            &list_request("/mcp", &[&format!("origin: {origin}")]),
        );
        assert_eq!(reply.status, status, "{origin}: {reply:?}");
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!(allowed, (status == 200).then_some(origin), "{origin}");
    }
    let ask = [
        "origin: http://localhost:6274",
        "access-control-request-method: POST",
    ];
    let asked = send_raw(&server, &raw_request("OPTIONS", "/mcp", &ask, b""));
    assert_eq!(
        asked.header("access-control-allow-origin"),
        Some("http://localhost:6274")
    );
}

#[test]
fn local_origins_may_not_call_a_public_listener() {
    let mut server = ServerProcess::http()
        .listen("0.0.0.0:0")
        .sandbox()
        .args(&["--allow-unauthenticated"])
        .start();
    server.url = server.url.replace("0.0.0.0", "127.0.0.1");
    let reply = send_raw(
        &server,
        &list_request("/mcp", &["origin: http://localhost:6274"]),
    );
    assert_eq!(reply.status, 403);
    assert!(
        reply
            .error_message()
            .contains("--allowed-origin http://localhost:6274"),
        "{}",
        reply.error_message()
    );
    assert_eq!(send_raw(&server, &list_request("/mcp", &[])).status, 200);
}

#[test]
fn unknown_host_is_rejected() {
    let server = serve_sandbox(&["--allowed-host", "mcp.example.com"]);
    for (host, status) in [
        ("mcp.example.com", 200),
        ("mcp.example.com.", 200),
        ("mcp.example.com.:8787", 200),
        ("MCP.Example.COM", 200),
        ("localhost.", 200),
        ("evil.example", 403),
        ("mcp.example.com.evil.example", 403),
        ("user@localhost", 400),
        ("", 400),
    ] {
        let reply = send_raw(&server, &list_request("/mcp", &[&format!("host: {host}")]));
        assert_eq!(reply.status, status, "{host}: {reply:?}");
        if status == 403 {
            assert!(
                reply
                    .error_message()
                    .contains(&format!("--allowed-host {host}")),
                "{}",
                reply.error_message()
            );
        }
    }
}
