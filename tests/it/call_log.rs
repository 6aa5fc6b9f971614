//! The call log: one line for each call, with identifiers and without arguments.

use serde_json::{Value, json};

use crate::support::{
    process::command,
    requests::{call_request, open_session, post_request, send_request, stateless_request},
    server::{ServerProcess, StdioServer, serve_sandbox},
};

/// Returns the next line about a call, in `--log-format json`.
fn next_call_line(server: &mut ServerProcess) -> Value {
    let line = server.read_until("\"portkey_mcp::call\"");
    serde_json::from_str::<Value>(line.trim()).unwrap()["fields"].take()
}

#[tokio::test]
async fn each_call_logs_one_line() {
    struct Case {
        tool: &'static str,
        arguments: Value,
        expected: Value,
    }

    let mut server = serve_sandbox(&["--log-format", "json"]);
    let cases = [
        Case {
            tool: "list-all-integrations",
            arguments: json!({}),
            expected: json!({ "outcome": "answered", "effect": "read" }),
        },
        Case {
            tool: "delete-integration",
            arguments: json!({ "slug": "no-such" }),
            expected: json!({ "outcome": "refused", "effect": "delete", "status": 404 }),
        },
        Case {
            tool: "get-integration",
            arguments: json!({}),
            expected: json!({ "outcome": "rejected", "effect": "read" }),
        },
        Case {
            tool: "made-up",
            arguments: json!({}),
            expected: json!({ "outcome": "rejected", "tool": "_unknown" }),
        },
    ];
    for Case {
        tool,
        arguments,
        expected,
    } in cases
    {
        let id = {
            let answer = call_request(&server, tool, arguments).send().await.unwrap();
            answer.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned()
        };
        let line = next_call_line(&mut server);
        let mut whole = json!({
            "message": "call",
            "request_id": id,
            "caller": "local",
            "auth": "local",
            "tool": tool,
            "protocol": "2026-07-28",
            "transport": "http",
        });
        whole
            .as_object_mut()
            .unwrap()
            .extend(expected.as_object().unwrap().clone());
        for (name, value) in whole.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} of {tool}: {line}");
        }
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0, "{line}");
        let asked = ["answered", "refused"].contains(&line["outcome"].as_str().unwrap());
        assert_eq!(line.get("upstream_request_id").is_some(), asked, "{line}");
    }
    // A second line for one of the calls would be read here.
    call_request(&server, "list-all-labels", json!({}))
        .send()
        .await
        .unwrap();
    call_request(&server, "list-labels", json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(next_call_line(&mut server)["tool"], "_unknown");
    assert_eq!(next_call_line(&mut server)["tool"], "list-labels");
}

#[tokio::test]
async fn caller_is_logged_by_a_name_without_its_key() {
    let mut server = serve_sandbox(&["--log-format", "json", "--auth", "key"]);
    let request = call_request(&server, "list-all-integrations", json!({}));
    send_request(request.header("x-portkey-api-key", "pk-secret")).await;
    let line = next_call_line(&mut server);
    assert_eq!(line["auth"], "key", "{line}");
    let name = line["caller"].as_str().unwrap();
    assert!(
        name.starts_with("key-") && !name.contains("secret"),
        "{line}"
    );
}

#[tokio::test]
async fn cancelled_call_is_logged() {
    let mut pipe = StdioServer::builder()
        .sandbox()
        .args(&["--sandbox-faults", "latency:60s"])
        .start();
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    pipe.send(
        &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string(),
    );
    pipe.receive();
    for message in [
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "list-all-integrations", "arguments": {} },
        }),
        json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
        }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }),
    ] {
        pipe.send(&message.to_string());
    }
    pipe.receive();
    let (status, _, log) = pipe.end();
    assert!(status.success(), "{log}");
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("portkey_mcp::call"))
        .collect();
    let [line] = lines[..] else { panic!("{log}") };
    for word in [
        "outcome=\"cancelled\"",
        "transport=\"stdio\"",
        "protocol=\"2025-11-25\"",
        "INFO",
    ] {
        assert!(line.contains(word), "no {word} in {line}");
    }
}

#[tokio::test]
async fn request_id_is_taken_only_from_trusted_proxies() {
    struct Case<'a> {
        more: &'a [&'a str],
        given: &'a str,
        is_kept: bool,
    }

    let trusting = &["--trusted-proxies", "127.0.0.0/8"] as &[_];
    let long = "x".repeat(129);
    for Case {
        more,
        given,
        is_kept,
    } in [
        Case {
            more: trusting,
            given: "proxy-17",
            is_kept: true,
        },
        Case {
            more: trusting,
            given: &long,
            is_kept: false,
        },
        Case {
            more: trusting,
            given: &long[..128],
            is_kept: true,
        },
        Case {
            more: trusting,
            given: "two words",
            is_kept: false,
        },
        Case {
            more: trusting,
            given: "",
            is_kept: false,
        },
        Case {
            more: trusting,
            given: "t\u{e4}g",
            is_kept: false,
        },
        Case {
            more: &[],
            given: "proxy-17",
            is_kept: false,
        },
    ] {
        let mut server = serve_sandbox(&[&["--log-format", "json"], more].concat());
        let request = call_request(&server, "list-labels", json!({}))
            .header("x-request-id", given.as_bytes());
        let answer = request.send().await.unwrap();
        let name = answer.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(name == given, is_kept, "{given} became {name}");
        assert_eq!(next_call_line(&mut server)["request_id"], name);
        // Rejections have a request id as well, each a different one.
        let refused = post_request(&server, "{").send().await.unwrap();
        assert!(refused.status().is_client_error());
        assert_ne!(refused.headers()["x-request-id"].to_str().unwrap(), name);
    }
}

/// Failing calls are also logged by rmcp, whose texts are not under our control.
#[tokio::test]
async fn secrets_of_failing_calls_are_not_logged() {
    const SECRET: &str = "sk-never-to-be-logged";
    const ASKED: &str = "rmcp=trace,portkey_mcp=trace";
    let params = [
        json!({ "name": "create-integration", "arguments": { "name": 5, "key": SECRET } }),
        json!({ "name": "create-integration", "arguments": { "key": { "inside": SECRET } } }),
        json!({ "name": "create-integration", "arguments": [SECRET] }),
        json!({ "name": "create-integration", "arguments": SECRET }),
        json!({ "name": "made-up", "arguments": { "key": SECRET } }),
        json!({ "name": "get-integration", "arguments": { "slug": SECRET } }),
        json!({ "name": ["get-integration"], "arguments": { "slug": SECRET } }),
    ];
    let others = [
        ("no/such", json!({ "key": SECRET })),
        ("tools/list", json!({ "cursor": SECRET })),
        ("tools/list", json!({ "cursor": [SECRET] })),
        ("resources/read", json!({ "uri": SECRET })),
        (
            "prompts/get",
            json!({ "name": SECRET, "arguments": { "a": SECRET } }),
        ),
        (
            "completion/complete",
            json!({ "argument": { "name": SECRET } }),
        ),
    ];
    let requests: Vec<(&str, Value)> = params
        .into_iter()
        .map(|params| ("tools/call", params))
        .chain(others)
        .collect();

    let mut server = serve_sandbox(&["--log-level", ASKED]);
    let session = open_session(&server).await;
    for (method, params) in &requests {
        stateless_request(&server, method, params.clone())
            .send()
            .await
            .unwrap();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let legacy = post_request(&server, &body.to_string()).header("mcp-session-id", &session);
        legacy.send().await.unwrap().text().await.unwrap();
    }
    let mut log = server.read_until("get-integration");
    log += &server.terminate().1;
    assert!(
        log.contains("portkey_mcp::call") && !log.contains(SECRET),
        "{log}"
    );
    // No line has a value in Rust's debug format.
    for debug in ["ErrorData {", "Some(", "Err(", "ErrorCode("] {
        assert!(!log.contains(debug), "{debug} in {log}");
    }

    let mut pipe = StdioServer::builder()
        .sandbox()
        .args(&["--log-level", ASKED])
        .start();
    let opened = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let opening = [("initialize", opened)];
    for (id, (method, params)) in opening.iter().chain(&requests).enumerate() {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        pipe.send(&body.to_string());
        pipe.receive();
    }
    let (_, _, log) = pipe.end();
    assert!(
        log.contains("portkey_mcp::call") && !log.contains(SECRET),
        "{log}"
    );
}

/// The log has far more lines than a pipe buffers, and the client never reads them.
#[test]
fn unread_log_does_not_block_the_server() {
    let options = ["--log-level", "trace"];
    let mut pipe = StdioServer::builder().sandbox().args(&options).start();
    for id in 0..100 {
        let method = if id == 0 { "initialize" } else { "tools/call" };
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
            "name": "whoami",
        });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        pipe.send(&body.to_string());
        assert_eq!(pipe.receive()["id"], id);
    }
    let (status, _, log) = pipe.end();
    assert!(status.success() && log.lines().count() > 100, "{log}");
}

/// A call from the shell prints the result and no log.
#[test]
fn shell_call_is_not_logged() {
    let call = command(&["call", "list-labels", "--sandbox"])
        .output()
        .unwrap();
    assert!(call.status.success() && call.stderr.is_empty(), "{call:?}");
}
