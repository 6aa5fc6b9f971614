//! HTTP sessions: ownership, lifetime and limits.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{
    mcp_client::{McpClient, McpResponse},
    server::{ServerProcess, serve_sandbox},
};

async fn start_session(server: &ServerProcess, key: &'static str) -> McpClient {
    let mut caller = McpClient::new(&server.url, key);
    let answer = caller.initialize().await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(caller.session.is_some());
    caller
}

fn assert_unknown_session(answer: &McpResponse) {
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    let message = answer.message["error"]["message"].as_str().unwrap();
    assert!(message.contains("no such session"), "{message}");
}

#[tokio::test]
async fn session_is_usable_only_by_its_caller() {
    let server = serve_sandbox(&["--auth", "key"]);
    let alice = start_session(&server, "pk-alice").await;
    let session = alice.session.clone().unwrap();
    assert!(alice.lists_tools().await);
    let thief = alice.taken_over_by("pk-bob");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let answer = thief.request(method.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method}");
    }
    assert_unknown_session(&thief.call("tools/list", json!({})).await);
    // No other text is a session id, including the id inside the signed one.
    let inside = inner_id(&session);
    for id in ["", "x", &inside, &session[1..]] {
        let mut other = alice.clone();
        other.session = Some(id.to_owned());
        assert_unknown_session(&other.call("tools/list", json!({})).await);
    }
    assert!(alice.lists_tools().await, "it has outlived all of that");
}

/// Returns the id that rmcp gave the session, which is readable in the signed id.
fn inner_id(sealed: &str) -> String {
    let body = URL_SAFE_NO_PAD
        .decode(sealed.split('.').nth(2).unwrap())
        .unwrap();
    String::from_utf8(body[body.len() - 36..].to_vec()).unwrap()
}

/// The protocol of 2026-07-28 has no sessions, and must not bypass the signature either.
#[tokio::test]
async fn session_id_is_ignored_in_stateless_requests() {
    let server = serve_sandbox(&["--auth", "key"]);
    let mut caller = start_session(&server, "pk-alice").await;
    let inside = inner_id(caller.session.as_ref().unwrap());
    for id in ["anything", &inside] {
        caller.session = Some(id.to_owned());
        let answer = caller
            .modern("list-all-integrations", &json!({}))
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        // A request with the new protocol header and an `initialize` opens a session, and enters
        // none.
        let params = json!({
            "protocolVersion": "2026-07-28",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let request = caller
            .request(Method::POST)
            .header("content-type", "application/json");
        let request = request.header("mcp-protocol-version", "2026-07-28");
        let answer = request.body(message.to_string()).send().await.unwrap();
        assert!(
            answer.headers()["mcp-session-id"]
                .to_str()
                .unwrap()
                .starts_with("rs2.")
        );
    }
}

#[tokio::test]
async fn ended_session_is_unknown() {
    let server = serve_sandbox(&["--auth", "key"]);
    let caller = start_session(&server, "pk-alice").await;
    assert_eq!(caller.end().await.status, StatusCode::NO_CONTENT);
    assert_unknown_session(&caller.call("tools/list", json!({})).await);
    assert_unknown_session(&caller.end().await);
}

#[tokio::test]
async fn session_expires_after_its_ttl() {
    let server = serve_sandbox(&["--auth", "key", "--session-ttl", "2"]);
    let mut caller = McpClient::new(&server.url, "pk-alice");
    caller.initialize().await;
    let start = Instant::now();
    while caller.lists_tools().await {
        assert!(start.elapsed() < Duration::from_secs(20), "it never ends");
    }
    assert_unknown_session(&caller.call("tools/list", json!({})).await);
}

/// Opens a stream of a session, which lasts as long as the response is kept.
async fn open_stream(caller: &McpClient) -> reqwest::Response {
    let stream = caller.request(Method::GET).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    stream
}

async fn assert_session_rejected(server: &ServerProcess, key: &'static str) {
    let mut caller = McpClient::new(&server.url, key);
    let answer = caller.initialize().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "30");
    assert!(
        answer.message["error"]["message"]
            .as_str()
            .unwrap()
            .contains("too many sessions")
    );
    assert!(caller.session.is_none());
}

#[tokio::test]
async fn session_beyond_the_limit_is_rejected() {
    let mut server = serve_sandbox(&[
        "--auth",
        "key",
        "--max-sessions",
        "3",
        "--max-sessions-per-principal",
        "2",
    ]);
    let first = start_session(&server, "pk-alice").await;
    let second = start_session(&server, "pk-alice").await;
    let streams = (open_stream(&first).await, open_stream(&second).await);
    assert_session_rejected(&server, "pk-alice").await;
    let line = server.read_until("session refused");
    assert!(
        line.contains(" WARN ") && line.contains("--max-sessions-per-principal"),
        "{line}"
    );
    assert!(line.contains("caller=\"key-"), "{line}");
    let third = start_session(&server, "pk-bob").await;
    let _stream = open_stream(&third).await;
    assert_session_rejected(&server, "pk-bob").await;
    let line = server.read_until("session refused");
    assert!(line.contains("bound=\"--max-sessions\""), "{line}");
    // Sessions in use are not disturbed, and neither are stateless calls.
    assert!(first.lists_tools().await && second.lists_tools().await);
    let modern = McpClient::new(&server.url, "pk-bob");
    let answer = modern
        .modern("list-all-integrations", &json!({}))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // An ended session frees its slot.
    assert_eq!(first.end().await.status, StatusCode::NO_CONTENT);
    let fourth = start_session(&server, "pk-bob").await;
    let _stream = open_stream(&fourth).await;
    assert_session_rejected(&server, "pk-alice").await;
    drop(streams);
    let (_, log) = server.terminate();
    assert!(!log.contains("Internal server error"), "{log}");
}

/// The official TypeScript client does not end its sessions.
#[tokio::test]
async fn evicted_idle_session_can_be_resumed() {
    let server = serve_sandbox(&[
        "--auth",
        "key",
        "--max-sessions",
        "3",
        "--max-sessions-per-principal",
        "2",
    ]);
    let bob = start_session(&server, "pk-bob").await;
    let mut alices = Vec::new();
    for _ in 0..10 {
        let alice = start_session(&server, "pk-alice").await;
        // The client has disconnected.
        drop(open_stream(&alice).await);
        alices.push(alice);
    }
    // Each session continues, in place of another one of the same caller.
    for alice in &alices {
        assert!(alice.lists_tools().await);
        let answer = alice.call("tools/call", json!({ "name": "whoami" })).await;
        assert_eq!(answer.message["result"]["isError"], false, "{answer:?}");
    }
    assert!(bob.lists_tools().await);
    // The global limit evicts sessions of other callers as well.
    let carol = start_session(&server, "pk-carol").await;
    assert!(carol.lists_tools().await && bob.lists_tools().await);
    assert_eq!(alices[0].end().await.status, StatusCode::NO_CONTENT);
    assert_unknown_session(&alices[0].call("tools/list", json!({})).await);
    let (_, log) = server.terminate();
    assert!(
        !log.contains("Internal server error") && !log.contains(" WARN "),
        "{log}"
    );
}

/// Returns the resident memory of a process, in megabytes.
fn resident_megabytes(server: &ServerProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Client information can have megabytes, of which little is used.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn large_initialize_does_not_enlarge_the_session() {
    let server = serve_sandbox(&["--auth", "key"]);
    let large = "x".repeat(3_500_000);
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "experimental": { "a": { "b": large } } },
        "clientInfo": { "name": "test", "version": "1" },
    });
    // Verified by a call, so that none of its sessions is evicted.
    let caller = McpClient::new(&server.url, "pk-alice");
    assert!(
        caller
            .modern("list-all-integrations", &json!({}))
            .await
            .unwrap()
            .status
            .is_success()
    );
    for _ in 0..60 {
        assert_eq!(
            caller.call("initialize", params.clone()).await.status,
            StatusCode::OK
        );
    }
    let resident = resident_megabytes(&server);
    assert!(resident < 150, "60 sessions of 3.5 MB: {resident} MB");
}

/// A subscription filter can have megabytes as well.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn large_subscription_filter_does_not_enlarge_the_stream() {
    let server = serve_sandbox(&["--auth", "key"]);
    let uris: Vec<_> = (0..900)
        .map(|i| format!("test://{i}/{}", "x".repeat(3_800)))
        .collect();
    let filter = json!({ "notifications": {
        "toolsListChanged": true, "resourceSubscriptions": uris,
    } });
    let mut streams = Vec::new();
    for _ in 0..60 {
        let listen = crate::support::requests::stateless_request(
            &server,
            "subscriptions/listen",
            filter.clone(),
        );
        let stream = listen
            .header("x-portkey-api-key", "pk-alice")
            .send()
            .await
            .unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push(stream);
    }
    let resident = resident_megabytes(&server);
    assert!(resident < 150, "60 streams of 3.4 MB: {resident} MB");
}

/// The id of a subscription is stored, and sent with each of its notifications.
#[tokio::test]
async fn subscription_with_a_long_id_is_rejected() {
    let server = serve_sandbox(&["--auth", "key"]);
    let caller = McpClient::new(&server.url, "pk-alice");
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for (bytes, expected) in [(256, StatusCode::OK), (257, StatusCode::BAD_REQUEST)] {
        let message = json!({
            "jsonrpc": "2.0", "id": "i".repeat(bytes), "method": "subscriptions/listen",
            "params": { "_meta": meta, "notifications": {} },
        });
        let request = caller
            .request(Method::POST)
            .header("content-type", "application/json");
        let request = request.header("mcp-protocol-version", "2026-07-28");
        let request = request.header("mcp-method", "subscriptions/listen");
        let stream = request.body(message.to_string()).send().await.unwrap();
        assert_eq!(stream.status(), expected, "{bytes}");
    }
}

#[tokio::test]
async fn stream_beyond_the_limit_of_a_caller_is_rejected() {
    let server = serve_sandbox(&[
        "--auth",
        "key",
        "--concurrency",
        "2",
        "--max-sessions-per-principal",
        "2",
    ]);
    let listen = |key: &'static str| {
        let filter = json!({ "notifications": { "toolsListChanged": true } });
        let request =
            crate::support::requests::stateless_request(&server, "subscriptions/listen", filter);
        request.header("x-portkey-api-key", key).send()
    };
    let alice = start_session(&server, "pk-alice").await;
    let first = open_stream(&alice).await;
    let bob = start_session(&server, "pk-bob").await;
    let _bobs = (open_stream(&bob).await, open_stream(&bob).await);
    let refused = bob.request(Method::GET).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let text = refused.text().await.unwrap();
    assert!(text.contains("too many streams"), "{text}");
    let second = listen("pk-alice").await.unwrap();
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::OK)
    );
}
