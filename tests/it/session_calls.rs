//! Calls in an HTTP session: which responses are JSON, and which an event stream.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Method, Request, StatusCode, header};
use portkey_mcp::transport::http::DirectCallHandler;
use reqwest::RequestBuilder;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, InitializeRequestParams,
        InitializeResult, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{
    audit::read_entries,
    in_process::InProcessServer,
    mcp_client::{McpClient, McpResponse, send},
    requests::client_builder,
    server::ServerProcess,
    upstream::{MockUpstream, ResponseAction, json_response},
};

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

async fn start_session(url: &str) -> McpClient {
    let mut caller = McpClient::new(url, "pk-alice");
    assert_eq!(caller.initialize().await.status, StatusCode::OK);
    caller
}

fn call_request(caller: &McpClient, id: usize, tool: &str, arguments: &Value) -> RequestBuilder {
    let params = json!({ "name": tool, "arguments": arguments });
    caller.post(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
}

/// Builds a call that needs more than the fast path and so goes through rmcp.
fn rmcp_call_request(
    caller: &McpClient,
    id: usize,
    tool: &str,
    arguments: &Value,
) -> RequestBuilder {
    call_request(caller, id, tool, arguments)
        .header("accept", "application/json;q=0.9, text/event-stream")
}

fn content_type(answer: &McpResponse) -> &str {
    answer.headers["content-type"].to_str().unwrap()
}

/// Returns the message without the request id of Portkey, which differs for each call.
fn message_without_request_id(mut answer: McpResponse) -> Value {
    if let Some(Value::String(text)) = answer.message.pointer_mut("/result/content/0/text") {
        text.truncate(text.find("(request id").unwrap_or(text.len()));
    }
    answer.message
}

#[tokio::test]
async fn read_without_notifications_is_answered_in_json() {
    struct Case {
        tool: &'static str,
        args: Value,
        expected: &'static str,
    }

    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let policy = folder.path().join("policy.yaml");
    let rules = r#"{ rules: [{ name: ask, action: approve, when: "args.label_id == 'x'" }] }"#;
    std::fs::write(
        &policy,
        format!("version: \"1\"\ntools: {{ get-label: {rules} }}\n"),
    )
    .unwrap();
    let [audit, policy] = [&audit, &policy].map(|path| path.to_str().unwrap());
    let server = ServerProcess::http()
        .auth("key")
        .sandbox()
        .args(&["--audit-log", audit, "--policy", policy])
        .start();
    let caller = start_session(&server.url).await;
    let cases = [
        Case {
            tool: "get-integration",
            args: json!({ "slug": "openai-production" }),
            expected: JSON,
        },
        Case {
            tool: "get_integration",
            args: json!({ "slug": "openai-production" }),
            expected: JSON,
        },
        Case {
            tool: "get-integration",
            args: json!({ "slug": "no-such" }),
            expected: JSON,
        },
        Case {
            tool: "get-integration",
            args: json!({ "slgu": "x" }),
            expected: JSON,
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": 1 }),
            expected: JSON,
        },
        Case {
            tool: "whoami",
            args: json!({}),
            expected: JSON,
        },
        // Several pages: the client can get progress notifications.
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": 1, "all": true }),
            expected: EVENT_STREAM,
        },
        // A rule may require approval, which is requested on the stream.
        Case {
            tool: "get-label",
            args: json!({ "label_id": "no-such" }),
            expected: EVENT_STREAM,
        },
        // A client that lost the response must not simply repeat a write.
        Case {
            tool: "create-label",
            args: json!({ "name": "mine" }),
            expected: EVENT_STREAM,
        },
        // Any operation.
        Case {
            tool: "read-operation",
            args: json!({ "operation": "list-labels", "arguments": {} }),
            expected: EVENT_STREAM,
        },
        Case {
            tool: "no-such-tool",
            args: json!({}),
            expected: EVENT_STREAM,
        },
    ];
    for Case {
        tool,
        args,
        expected,
    } in &cases
    {
        let answer = send(call_request(&caller, 7, tool, args)).await.unwrap();
        assert_eq!(
            (content_type(&answer), answer.status),
            (*expected, StatusCode::OK),
            "{tool} {args}"
        );
        let answer = message_without_request_id(answer);
        assert_eq!(answer["id"], 7, "{answer}");
        if *tool != "create-label" {
            let other = send(rmcp_call_request(&caller, 7, tool, args))
                .await
                .unwrap();
            assert_eq!(content_type(&other), EVENT_STREAM, "{tool} {args}");
            assert_eq!(answer, message_without_request_id(other), "{tool} {args}");
        }
    }
    // Both calls have the same audit fields.
    let lines = read_entries(audit);
    let [plain, other] = [&lines[0], &lines[1]];
    for field in [
        "tool",
        "client",
        "session",
        "transport",
        "protocol",
        "outcome",
    ] {
        assert!(plain[field].is_string(), "{field} of {plain}");
        assert_eq!(plain[field], other[field], "{field}");
    }
    assert_eq!(plain["client"], "test");
}

/// A client can request progress notifications for a read that has one step.
#[tokio::test]
async fn read_with_a_progress_token_is_answered() {
    let server = crate::support::server::serve_sandbox(&["--auth", "key"]);
    let caller = start_session(&server.url).await;
    for (args, expected) in [(json!({}), JSON), (json!({ "all": true }), EVENT_STREAM)] {
        let meta = json!({ "progressToken": "p" });
        let params = json!({ "name": "list-all-integrations", "arguments": args, "_meta": meta });
        let answer = caller.call("tools/call", params).await;
        assert_eq!(
            (content_type(&answer), answer.status),
            (expected, StatusCode::OK),
            "{args}"
        );
        assert_eq!(answer.message["result"]["isError"], false, "{args}");
    }
}

/// Half of the calls take the path on which rmcp answers only one of two calls with one id.
#[tokio::test]
async fn duplicate_request_id_on_both_paths_is_rejected() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let url = upstream.base_url.as_str();
    let server = ServerProcess::http()
        .auth("key")
        .upstream(url)
        .args(&["--timeout", "1", "--retries", "0"])
        .start();
    let caller = start_session(&server.url).await;
    let slug = json!({ "slug": "x" });
    let make = |n: usize| match n % 2 {
        0 => call_request(&caller, 7, "get-integration", &slug),
        _ => rmcp_call_request(&caller, 7, "get-integration", &slug),
    };
    let answers = futures_util::future::join_all((0..8).map(|n| send(make(n)))).await;
    let answers: Vec<McpResponse> = answers.into_iter().map(Result::unwrap).collect();
    let (refused, answered): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.message["error"].is_object());
    // One on each of the two paths of a call.
    assert!(
        (1..=2).contains(&answered.len()),
        "{} were answered",
        answered.len()
    );
    assert_eq!(refused.len() + answered.len(), 8);
    assert!(
        answered
            .iter()
            .all(|answer| answer.message["result"]["isError"] == true)
    );
    for answer in refused {
        let error = &answer.message["error"];
        assert_eq!(
            (&answer.message["id"], &error["code"]),
            (&json!(7), &json!(-32600))
        );
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("under way already"),
            "{error}"
        );
    }
    // The id is free after the response, on both paths.
    for n in 0..2 {
        let again = send(make(n)).await.unwrap();
        assert_eq!(
            again.message["result"]["isError"], true,
            "{:?}",
            again.message
        );
    }
}

/// HTTP/2 names the host in the `:authority` field.
#[tokio::test]
async fn read_over_http2_is_answered_in_json() {
    let server = crate::support::server::serve_sandbox(&["--auth", "key"]);
    let client = client_builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let mut caller = McpClient::by(client, &server.url, "pk-alice");
    assert_eq!(caller.initialize().await.status, StatusCode::OK);
    let answer = caller.call("tools/call", json!({ "name": "whoami" })).await;
    assert_eq!(
        (content_type(&answer), answer.status),
        (JSON, StatusCode::OK)
    );
}

#[tokio::test]
async fn cancelled_read_aborts_its_upstream_request() {
    let portkey = MockUpstream::start(|n| {
        if n == 1 {
            json_response("{}")
        } else {
            ResponseAction::Hang
        }
    })
    .await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&portkey.base_url)
        .start();
    let caller = start_session(&server.url).await;
    let slug = json!({ "slug": "x" });
    let read = |id| tokio::spawn(call_request(&caller, id, "get-integration", &slug).send());
    let cancelled = read(7);
    portkey.wait_for_requests(1).await;
    // A second call with the id is answered, and does not abort the first.
    let answer = send(call_request(&caller, 7, "get-integration", &slug))
        .await
        .unwrap();
    assert_eq!(
        (content_type(&answer), &answer.message["result"]["isError"]),
        (EVENT_STREAM, &json!(false))
    );
    let params = json!({ "requestId": 7, "reason": "enough" });
    let enough = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(
        send(caller.post(&enough)).await.unwrap().status,
        StatusCode::ACCEPTED
    );
    portkey.disconnects.acquire().await.unwrap().forget();
    // Aborted with its session.
    let ended = read(8);
    portkey.wait_for_requests(3).await;
    assert_eq!(caller.end().await.status, StatusCode::NO_CONTENT);
    portkey.disconnects.acquire().await.unwrap().forget();
    for given_up in [cancelled, ended] {
        let answer = given_up.await.unwrap().unwrap();
        assert_eq!(
            (answer.status(), answer.headers()["content-type"].as_bytes()),
            (StatusCode::OK, EVENT_STREAM.as_bytes())
        );
        assert_eq!(answer.text().await.unwrap(), "", "no answer is to come");
    }
}

/// Counts its initializations.
#[derive(Clone, Default)]
struct CountingHandler(Arc<AtomicUsize>);

impl DirectCallHandler for CountingHandler {
    fn is_direct_read(&self, _: &CallToolRequestParams, _: &http::request::Parts) -> bool {
        true
    }
}

impl ServerHandler for CountingHandler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        Some(Tool::new(name.to_owned(), "", Arc::default()))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.0.fetch_add(1, Ordering::Relaxed);
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let client = context.peer.peer_info().unwrap().client_info.name.clone();
        let version = context.protocol_version().unwrap().as_str().to_owned();
        Ok(CallToolResult::structured(json!({ "is": [client, version] })).into())
    }
}

/// Sends a request without a connection, so that only the paused clock passes time.
async fn exchange(routes: &Router, session: Option<&str>, message: Value) -> http::Response<Body> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/mcp")
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, JSON)
        .header(header::ACCEPT, "application/json, text/event-stream")
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
        request = request.header("mcp-protocol-version", "2025-11-25");
    }
    let request = request.body(Body::from(message.to_string())).unwrap();
    routes.clone().oneshot(request).await.unwrap()
}

/// Opens a session; returns its id.
async fn open_session(routes: &Router) -> String {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let response = exchange(routes, None, hello).await;
    let session = response.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(
        exchange(routes, Some(&session), ready).await.status(),
        StatusCode::ACCEPTED
    );
    session
}

/// Makes a call in a session.
async fn call_in_session(routes: &Router, session: &str) {
    let call =
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "x" } });
    let answer = exchange(routes, Some(session), call).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap();
    let text = str::from_utf8(&body).unwrap();
    assert!(text.contains(r#""is":["test","2025-11-25"]"#), "{text}");
}

/// Advances the clock by four minutes, less than the idle timeout of a session.
async fn advance_four_minutes() {
    tokio::time::advance(Duration::from_secs(4 * 60)).await;
    // Woken tasks run first.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// rmcp ends sessions after five minutes without a message, and fast-path calls bypass rmcp.
#[tokio::test]
async fn session_with_fast_path_calls_does_not_time_out() {
    let handler = CountingHandler::default();
    let routes = InProcessServer::new(handler.clone()).routes().await;
    tokio::time::pause();
    let session = open_session(&routes).await;
    for _ in 0..3 {
        advance_four_minutes().await;
        call_in_session(&routes, &session).await;
    }
    assert_eq!(
        handler.0.load(Ordering::Relaxed),
        1,
        "the session ended and a new one was started"
    );
}

#[tokio::test]
async fn idle_session_times_out_unless_a_stream_is_open() {
    let handler = CountingHandler::default();
    let routes = InProcessServer::new(handler.clone()).routes().await;
    tokio::time::pause();
    let held = open_session(&routes).await;
    let left = open_session(&routes).await;
    let request = Request::builder()
        .uri("/mcp")
        .header(header::HOST, "localhost")
        .header("mcp-session-id", &held)
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
    let stream = routes
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    for _ in 0..3 {
        advance_four_minutes().await;
    }
    call_in_session(&routes, &held).await;
    assert_eq!(
        handler.0.load(Ordering::Relaxed),
        2,
        "the one with a stream ended"
    );
    call_in_session(&routes, &left).await;
    assert_eq!(
        handler.0.load(Ordering::Relaxed),
        3,
        "the one without did not end"
    );
    // A session without a stream times out when idle.
    drop(stream);
    for _ in 0..3 {
        advance_four_minutes().await;
    }
    call_in_session(&routes, &held).await;
    assert_eq!(
        handler.0.load(Ordering::Relaxed),
        4,
        "it went on without a stream"
    );
}

/// Otherwise one of them would get a response, and the other responses would never be delivered.
#[tokio::test]
async fn duplicate_request_id_through_rmcp_is_rejected() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let portkey = MockUpstream::start(move |_| ResponseAction::Later(held.clone(), "{}")).await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&portkey.base_url)
        .start();
    let caller = start_session(&server.url).await;
    let slug = json!({ "slug": "x" });
    let first = tokio::spawn(send(rmcp_call_request(
        &caller,
        7,
        "get-integration",
        &slug,
    )));
    portkey.wait_for_requests(1).await;
    for _ in 0..3 {
        let answer = send(rmcp_call_request(&caller, 7, "get-integration", &slug))
            .await
            .unwrap();
        assert_eq!(
            (answer.status, &answer.message["id"]),
            (StatusCode::OK, &json!(7))
        );
        let message = answer.message["error"]["message"].as_str().unwrap();
        assert!(message.contains("under way already"), "{message}");
    }
    gate.add_permits(100);
    let answer = first.await.unwrap().unwrap();
    assert_eq!(answer.message["result"]["isError"], false, "{answer:?}");
    // The id is free after the response.
    let again = send(rmcp_call_request(&caller, 7, "get-integration", &slug))
        .await
        .unwrap();
    assert_eq!(again.message["result"]["isError"], false, "{again:?}");
    assert_eq!(portkey.count(), 2);
}
