//! MCP over streamable HTTP: both protocol generations and invalid requests.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use reqwest::{Client, StatusCode};
use rmcp::{
    ClientLifecycleMode,
    model::ProtocolVersion,
    service::ClientServiceExt,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    official_client::{call_params, tool_count},
    process::run_cli,
    requests::{
        client, initialize_request, post_request, send_request, stateless_request,
        stateless_request_by,
    },
    server::{ServerProcess, serve_sandbox},
    upstream::{MockUpstream, ResponseAction},
};

/// Returns a transport of the official client.
fn client_transport(server: &ServerProcess) -> StreamableHttpClientTransport<Client> {
    let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
    StreamableHttpClientTransport::with_client(client(), config)
}

#[tokio::test]
async fn client_lists_and_calls_in_both_generations() {
    let server = serve_sandbox(&["--threads", "2"]);
    let modern = || vec![ProtocolVersion::V_2026_07_28];
    let lifecycles = [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover {
            preferred_versions: modern(),
        },
        ClientLifecycleMode::Auto {
            preferred_versions: modern(),
            legacy_version: None,
        },
    ];
    for (i, lifecycle) in lifecycles.into_iter().enumerate() {
        let transport = client_transport(&server);
        let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
        assert_eq!(client.list_all_tools().await.unwrap().len(), tool_count());
        let args =
            json!({ "name": format!("Client {i}"), "ai_provider_id": "openai", "key": "sk-1" });
        let created = client
            .call_tool(call_params("create-integration", args))
            .await
            .unwrap();
        let slug = created.structured_content.unwrap()["slug"].clone();
        let got = client
            .call_tool(call_params("get_integration", json!({ "slug": slug })))
            .await
            .unwrap();
        assert_eq!(
            got.structured_content.unwrap()["name"],
            format!("Client {i}")
        );
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn ended_session_is_not_found() {
    let server = serve_sandbox(&[]);
    let opened = initialize_request(&server).send().await.unwrap();
    let session = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let end = client()
        .delete(&server.url)
        .header("mcp-session-id", &session);
    assert_eq!(end.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }).to_string();
    let (status, _) =
        send_request(post_request(&server, &list).header("mcp-session-id", session)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stateless_request_gets_plain_json() {
    let server = serve_sandbox(&[]);
    let response = stateless_request(&server, "server/discover", json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert!(
        body["result"]["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!("2026-07-28")),
        "{body}"
    );
    let (status, body) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
    assert_eq!(
        (status, body["result"]["tools"].as_array().unwrap().len()),
        (StatusCode::OK, tool_count())
    );
    let call = json!({ "name": "list-all-integrations", "arguments": { "page_size": 1 } });
    let (_, body) = send_request(stateless_request(&server, "tools/call", call)).await;
    assert_eq!(
        body["result"]["structuredContent"]["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// A client that waits for `100 Continue`, or that would send without end, need not send the body.
#[test]
fn declared_oversized_body_is_rejected_unread() {
    let server = serve_sandbox(&["--max-request-bytes", "1000"]);
    let address = server
        .url
        .strip_prefix("http://")
        .and_then(|url| url.strip_suffix("/mcp"))
        .unwrap();
    for headers in [
        "content-length: 2000\r\nexpect: 100-continue",
        "content-length: 100000000",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n"
        )
        .unwrap();
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 413 "), "{headers}: {status}");
    }
}

#[tokio::test]
async fn invalid_request_gets_a_json_rpc_error() {
    struct Case {
        what: &'static str,
        request: reqwest::RequestBuilder,
        status: u16,
        code: i32,
    }

    let server = serve_sandbox(&["--max-request-bytes", "4194304"]);
    let good = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let cases = [
        Case {
            what: "no JSON",
            request: post_request(&server, "{"),
            status: 400,
            code: -32700,
        },
        Case {
            what: "a batch",
            request: post_request(&server, &format!("[{good}]")),
            status: 400,
            code: -32700,
        },
        Case {
            what: "10 MB",
            request: post_request(&server, &"x".repeat(10 << 20)),
            status: 413,
            code: -32600,
        },
        Case {
            what: "no form there is",
            request: client().post(&server.url).header("accept", "text/html"),
            status: 406,
            code: -32600,
        },
        Case {
            what: "another site",
            request: post_request(&server, &good).header("origin", "https://evil.example"),
            status: 403,
            code: -32600,
        },
        Case {
            what: "another host",
            request: post_request(&server, &good).header("host", "evil.example"),
            status: 403,
            code: -32600,
        },
        Case {
            what: "no session",
            request: post_request(&server, &good),
            status: 400,
            code: -32600,
        },
        Case {
            what: "an unknown session",
            request: post_request(&server, &good).header("mcp-session-id", "nope"),
            status: 404,
            code: -32600,
        },
        Case {
            what: "an unknown method",
            request: stateless_request(&server, "no/such", json!({})),
            status: 404,
            code: -32601,
        },
        Case {
            what: "an unknown tool",
            request: stateless_request(
                &server,
                "tools/call",
                json!({ "name": "x", "arguments": {} }),
            ),
            status: 400,
            code: -32602,
        },
        Case {
            what: "arguments that are none",
            request: stateless_request(
                &server,
                "tools/call",
                json!({ "name": "list-all-integrations", "arguments": [1] }),
            ),
            status: 400,
            code: -32602,
        },
    ];
    for Case {
        what,
        request,
        status,
        code,
    } in cases
    {
        let (got, body) = send_request(request).await;
        assert_eq!(body["error"]["code"], code, "{what}: {got} {body}");
        assert_eq!(body["jsonrpc"], "2.0", "{what}");
        if !["an unknown tool", "arguments that are none"].contains(&what) {
            assert_eq!(got.as_u16(), status, "{what}: {body}");
        }
        let (status, _) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
        assert_eq!(status, StatusCode::OK, "no longer served after {what}");
    }
}

#[tokio::test]
async fn probes_are_served_and_other_paths_are_not_found() {
    let server = serve_sandbox(&[]);
    let base = server.url.trim_end_matches("/mcp").to_owned();
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 404),
        ("/mcp/x", 404),
    ] {
        assert_eq!(
            client()
                .get(format!("{base}{path}"))
                .send()
                .await
                .unwrap()
                .status()
                .as_u16(),
            status,
            "{path}"
        );
    }
    let ready = client().get(format!("{base}/readyz")).send().await.unwrap();
    assert_eq!(ready.headers()["content-type"], "application/json");
    let report: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    assert_eq!(report, json!({ "status": "ready", "components": {} }));
    let healthy = format!("{base}/healthz");
    assert!(run_cli(&["health", "--url", &healthy]).0);
    let (up, _, log) = run_cli(&["health", "--url", "http://127.0.0.1:1/healthz"]);
    assert!(!up && log.contains("is down"), "{log}");
}

/// Readiness is independent of Portkey, so the probe sends no request to it.
#[tokio::test]
async fn readiness_does_not_depend_on_portkey() {
    let server = ServerProcess::http()
        .api_key("k")
        .upstream("http://127.0.0.1:1/v1")
        .args(&["--retries", "0"])
        .start();
    let ready = server.url.replace("/mcp", "/readyz");
    assert_eq!(
        client().get(ready).send().await.unwrap().status(),
        StatusCode::OK
    );
    let (_, body) = send_request(stateless_request(
        &server,
        "tools/call",
        json!({ "name": "list-all-integrations", "arguments": {} }),
    ))
    .await;
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("could not be reached"), "{text}");
}

#[tokio::test]
async fn only_allowed_origins_and_hosts_are_served() {
    struct Case {
        header: &'static str,
        value: &'static str,
        status: u16,
    }

    let server = serve_sandbox(&[
        "--allowed-origin",
        "https://one.example:8443",
        "--allowed-host",
        "mcp.example",
    ]);
    let list = || stateless_request(&server, "tools/list", json!({}));
    for Case {
        header,
        value,
        status,
    } in [
        Case {
            header: "origin",
            value: "https://one.example:8443",
            status: 200,
        },
        Case {
            header: "origin",
            value: "https://one.example:8444",
            status: 403,
        },
        Case {
            header: "host",
            value: "mcp.example",
            status: 200,
        },
        Case {
            header: "host",
            value: "other.example",
            status: 403,
        },
    ] {
        assert_eq!(
            send_request(list().header(header, value)).await.0.as_u16(),
            status,
            "{header}: {value}"
        );
    }
}

#[test]
fn unauthenticated_public_listener_needs_an_option() {
    let (ok, _, log) = run_cli(&["http", "--sandbox", "--listen", "0.0.0.0:0"]);
    assert!(!ok && log.contains("--allow-unauthenticated"), "{log}");
    let server = ServerProcess::http()
        .listen("0.0.0.0:0")
        .sandbox()
        .args(&["--allow-unauthenticated"])
        .start();
    assert!(server.url.starts_with("http://0.0.0.0:"), "{}", server.url);
}

/// A disconnected caller cancels its request to Portkey.
#[tokio::test]
async fn client_disconnect_aborts_the_upstream_request() {
    let portkey = MockUpstream::start(|_| ResponseAction::Hang).await;
    let server = ServerProcess::http()
        .api_key("k")
        .upstream(&portkey.base_url)
        .start();
    let call = stateless_request(
        &server,
        "tools/call",
        json!({ "name": "list-all-integrations", "arguments": {} }),
    );
    tokio::select! {
        outcome = call.send() => panic!("{outcome:?}"),
        () = portkey.wait_for_requests(1) => {}
    }
    portkey.disconnects.acquire().await.unwrap().forget();
    let (status, _) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
    assert_eq!(status, StatusCode::OK);
}

/// The server gets the stop signal while Portkey is slow, and the callers still get their
/// responses.
#[tokio::test]
async fn shutdown_lets_calls_finish() {
    let release = Arc::new(Semaphore::new(0));
    let held = release.clone();
    let portkey =
        MockUpstream::start(move |_| ResponseAction::Later(held.clone(), r#"{"data":[]}"#)).await;
    let mut server = ServerProcess::http()
        .api_key("k")
        .upstream(&portkey.base_url)
        .start();
    let call = stateless_request(
        &server,
        "tools/call",
        json!({ "name": "list-all-integrations", "arguments": {} }),
    );
    let legacy = client_transport(&server);
    let legacy = ().serve_with_lifecycle(legacy, ClientLifecycleMode::Initialize).await.unwrap();
    let calling = tokio::spawn(send_request(call));
    let calling_too = tokio::spawn(async move {
        legacy
            .call_tool(call_params("list-all-integrations", json!({})))
            .await
    });
    portkey.wait_for_requests(2).await;
    server.signal("TERM");
    let server = tokio::task::spawn_blocking(move || {
        server.read_until("stopping");
        server
    });
    let server = server.await.unwrap();
    release.add_permits(2);
    let (status, log) = tokio::task::spawn_blocking(|| server.end()).await.unwrap();
    assert!(status.success(), "{log}");
    assert!(!log.contains("cut off"), "{log}");
    let (status, body) = calling.await.unwrap();
    assert_eq!(
        (status, &body["result"]["isError"]),
        (StatusCode::OK, &json!(false)),
        "{body}"
    );
    assert_eq!(calling_too.await.unwrap().unwrap().is_error, Some(false));
}

/// The connection was open before the signal, and no byte had arrived on it.
#[test]
fn shutdown_answers_a_request_on_an_open_connection() {
    let mut server = serve_sandbox(&[]);
    let address = server
        .url
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/mcp")
        .unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    // This connection is accepted after the first, so the first has been accepted as well.
    let (healthy, ..) = run_cli(&["health", "--url", &server.url.replace("/mcp", "/healthz")]);
    assert!(healthy);
    server.signal("TERM");
    server.read_until("stopping");
    connection
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains(r#""status":"stopping""#),
        "{answer:?}"
    );
    let (status, log) = server.end();
    assert!(status.success() && !log.contains("cut off"), "{log}");
}

/// The server keeps serving until proxies have noticed the shutdown.
#[tokio::test]
async fn drain_delay_keeps_serving_after_the_stop_signal() {
    let mut server = serve_sandbox(&["--drain-delay", "600"]);
    let kept = client();
    let list =
        |client: &reqwest::Client| stateless_request_by(client, &server, "tools/list", json!({}));
    let before = list(&kept).send().await.unwrap();
    assert!(!before.headers().contains_key("connection"), "{before:?}");
    drop(before.bytes().await.unwrap());
    server.signal("TERM");
    let server = tokio::task::spawn_blocking(move || {
        server.read_until("stopping");
        server
    });
    let server = server.await.unwrap();
    let list =
        |client: &reqwest::Client| stateless_request_by(client, &server, "tools/list", json!({}));
    let ready = kept
        .get(server.url.replace("/mcp", "/readyz"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Covers the existing connection and a new one.
    for client in [kept, client()] {
        let answer = list(&client).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["connection"], "close");
    }
    // A second signal stops at once.
    let (status, log) = tokio::task::spawn_blocking(|| server.terminate())
        .await
        .unwrap();
    assert!(status.success() && !log.contains("cut off"), "{log}");
}

/// Identical faults hit both servers, and only the server with retries hides them.
#[tokio::test]
async fn retries_hide_upstream_faults_from_the_caller() {
    let faults = ["--sandbox-faults", "503:0.3,reset:0.3,seed:1"];
    let patient = serve_sandbox(&[&faults[..], &["--retries", "8"]].concat());
    let hasty = serve_sandbox(&[&faults[..], &["--retries", "0"]].concat());
    let mut failures = 0;
    for _ in 0..3 {
        let call = json!({ "name": "list-all-integrations", "arguments": {} });
        let (_, body) = send_request(stateless_request(&patient, "tools/call", call.clone())).await;
        assert_eq!(body["result"]["isError"], false, "{body}");
        let (_, body) = send_request(stateless_request(&hasty, "tools/call", call)).await;
        failures += usize::from(body["result"]["isError"] == true);
    }
    assert!(failures > 0, "no fault struck, so nothing was hidden");
}
