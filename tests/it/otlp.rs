//! Traces and metrics over OTLP, with a collector that stores what it receives.

use serde_json::{Value, json};

use crate::support::{
    planted_secrets,
    requests::{self, post_request, send_request},
    server::{ServerBuilder, ServerProcess, Spawn, StdioServer},
    upstream::{self, KEY, MockUpstream},
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
const OTHER_TRACE_ID: &str = "11111111111111111111111111111111";

/// Starts two scripted servers: the upstream and the collector.
async fn start_upstream_and_collector() -> (MockUpstream, MockUpstream) {
    let portkey = MockUpstream::start(|_| upstream::json_response(r#"{"data":[]}"#)).await;
    let collector = MockUpstream::start(|_| upstream::http_response("200 OK", "", "")).await;
    (portkey, collector)
}

/// Makes a server call `portkey` and export to `collector`.
fn with_collector<S: Spawn>(
    server: ServerBuilder<S>,
    portkey: &MockUpstream,
    collector: &MockUpstream,
) -> ServerBuilder<S> {
    let endpoint = collector.base_url.trim_end_matches("/v1");
    server
        .api_key(KEY)
        .upstream(&portkey.base_url)
        .variables(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)])
}

/// Makes a call whose metadata, and whose header, name a trace.
async fn call_with_trace(server: &ServerProcess, meta: Option<&str>, header: Option<&str>) {
    let mut params = json!({
        "name": "list-all-integrations",
        "arguments": { "workspace_id": "planted-argument" },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        },
    });
    if let Some(meta) = meta {
        params["_meta"]["traceparent"] = meta.into();
    }
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let mut request = post_request(server, &body)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "list-all-integrations");
    if let Some(header) = header {
        request = request.header("traceparent", header);
    }
    let (_, body) = send_request(request).await;
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
}

/// Returns the trace id and span id in the last request to Portkey.
fn propagated_trace(portkey: &MockUpstream) -> Option<(String, String)> {
    let last = portkey.requests().pop().unwrap();
    let header = last.header("traceparent")?.to_owned();
    let [version, trace, span, flags] = header.split('-').collect::<Vec<_>>()[..] else {
        panic!("{header}")
    };
    assert_eq!(
        (version, trace.len(), span.len(), flags),
        ("00", 32, 16, "01"),
        "{header}"
    );
    Some((trace.to_owned(), span.to_owned()))
}

/// Returns all that the collector received at this path.
fn exported_bytes(collector: &MockUpstream, path: &str) -> Vec<u8> {
    let requests = collector.requests();
    let bodies: Vec<u8> = requests
        .iter()
        .filter(|request| request.target == path)
        .flat_map(|request| request.body.clone())
        .collect();
    assert!(!bodies.is_empty(), "nothing at {path}: {requests:?}");
    bodies
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Stops the server while the collector keeps responding.
async fn stop_server(server: ServerProcess) {
    let (status, log) = tokio::task::spawn_blocking(|| server.terminate())
        .await
        .unwrap();
    assert!(status.success() && !log.contains("not exported"), "{log}");
}

#[tokio::test]
async fn trace_context_is_propagated_to_portkey() {
    struct Case<'a> {
        meta: Option<&'a str>,
        header: Option<&'a str>,
        expected: Option<&'static str>,
    }

    let (portkey, collector) = start_upstream_and_collector().await;
    let server = with_collector(ServerProcess::http(), &portkey, &collector).start();
    let own = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    let other = format!("00-{OTHER_TRACE_ID}-{SPAN_ID}-01");
    for Case {
        meta,
        header,
        expected,
    } in [
        Case {
            meta: None,
            header: Some(&other),
            expected: Some(OTHER_TRACE_ID),
        },
        // Proxies add headers; the message comes from the client.
        Case {
            meta: Some(&own),
            header: Some(&other),
            expected: Some(TRACE_ID),
        },
        Case {
            meta: Some(&format!("00-{TRACE_ID}-{SPAN_ID}-0")),
            header: Some(&other),
            expected: Some(OTHER_TRACE_ID),
        },
        Case {
            meta: None,
            header: None,
            expected: None,
        },
        Case {
            meta: None,
            header: Some(&format!("00-{}-{SPAN_ID}-01", "0".repeat(32))),
            expected: None,
        },
        Case {
            meta: None,
            header: Some(&format!("ff-{TRACE_ID}-{SPAN_ID}-01")),
            expected: None,
        },
        Case {
            meta: None,
            header: Some(&own.to_uppercase()),
            expected: None,
        },
    ] {
        call_with_trace(&server, meta, header).await;
        let (trace, span) = propagated_trace(&portkey).unwrap();
        match expected {
            Some(expected) => assert_eq!(trace, expected, "{meta:?} {header:?}"),
            None => assert!(
                trace != TRACE_ID && trace != OTHER_TRACE_ID,
                "{meta:?} {header:?}: {trace}"
            ),
        }
        assert_ne!(span, SPAN_ID, "the caller's own step goes on to Portkey");
    }
    stop_server(server).await;
    let traces = exported_bytes(&collector, "/v1/traces");
    let (last, _) = propagated_trace(&portkey).unwrap();
    for id in [TRACE_ID, OTHER_TRACE_ID, SPAN_ID, &last] {
        assert!(
            contains(&traces, &hex::decode(id).unwrap()),
            "{id} was not exported"
        );
    }
    for text in [
        "tools/call list-all-integrations",
        "mcp.method.name",
        "GET Portkey",
        "portkey-mcp",
    ] {
        assert!(
            contains(&traces, text.as_bytes()),
            "{text} was not exported"
        );
    }
}

#[tokio::test]
async fn exported_metrics_contain_no_secrets() {
    let (portkey, collector) = start_upstream_and_collector().await;
    let server = with_collector(ServerProcess::http(), &portkey, &collector).start();
    call_with_trace(&server, None, None).await;
    stop_server(server).await;
    let traces = exported_bytes(&collector, "/v1/traces");
    let metrics = exported_bytes(&collector, "/v1/metrics");
    for text in [
        "mcp.server.operation.duration",
        "gen_ai.tool.name",
        "list-all-integrations",
        "portkey_mcp.calls",
        "portkey_mcp.connections",
        "portkey_mcp.upstream.request.duration",
    ] {
        assert!(
            contains(&metrics, text.as_bytes()),
            "{text} was not exported"
        );
    }
    for secret in [KEY, "planted-argument"] {
        let is_exported = [&traces, &metrics]
            .iter()
            .any(|all| contains(all, secret.as_bytes()));
        assert!(!is_exported, "{secret} was exported");
    }
}

/// The secrets are in arguments and in responses.
#[tokio::test]
async fn exported_spans_contain_no_secrets() {
    let secrets = planted_secrets::random_secrets(2);
    let (portkey, (_, collector)) = (
        planted_secrets::start_leaking_upstream(&secrets).await,
        start_upstream_and_collector().await,
    );
    let server = with_collector(ServerProcess::http(), &portkey, &collector).start();
    for (tool, args) in secrets
        .iter()
        .flat_map(|secret| planted_secrets::calls_with_secret(secret))
    {
        send_request(requests::call_request(&server, tool, args)).await;
    }
    stop_server(server).await;
    let exported = [
        exported_bytes(&collector, "/v1/traces"),
        exported_bytes(&collector, "/v1/metrics"),
    ];
    assert!(
        contains(&exported[0], b"tools/call create-integration"),
        "nothing was exported"
    );
    for secret in &secrets {
        assert!(
            !exported.iter().any(|all| contains(all, secret.as_bytes())),
            "{secret} was exported"
        );
    }
}

/// A server without a collector takes no part in a trace, so Portkey does not see it.
#[tokio::test]
async fn trace_context_is_not_propagated_without_a_collector() {
    let (portkey, _) = start_upstream_and_collector().await;
    let server = ServerProcess::http()
        .api_key(KEY)
        .upstream(&portkey.base_url)
        .start();
    let own = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    call_with_trace(&server, Some(&own), Some(&own)).await;
    assert_eq!(propagated_trace(&portkey), None);
}

/// Over stdio, with metrics switched off and another service name.
#[tokio::test]
async fn opentelemetry_variables_are_honoured() {
    let (portkey, collector) = start_upstream_and_collector().await;
    let mut pipe = with_collector(StdioServer::builder(), &portkey, &collector)
        .variables(&[
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_SERVICE_NAME", "admin-of-team-a"),
        ])
        .start();
    let pipe = tokio::task::spawn_blocking(move || {
        let opened = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let called = json!({
            "name": "list-all-integrations",
            "arguments": {},
            "_meta": { "traceparent": format!("00-{TRACE_ID}-{SPAN_ID}-01") },
        });
        let say = |id: u32, method: &str, params: &Value| {
            json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
        };
        for line in [say(0, "initialize", &opened), say(1, "tools/call", &called)] {
            pipe.send(&line);
            pipe.receive();
        }
        pipe.end()
    });
    let (status, _, log) = pipe.await.unwrap();
    assert!(status.success(), "{log}");
    assert_eq!(propagated_trace(&portkey).unwrap().0, TRACE_ID);
    let traces = exported_bytes(&collector, "/v1/traces");
    assert!(contains(&traces, b"admin-of-team-a"), "{log}");
    assert!(
        collector
            .requests()
            .iter()
            .all(|request| request.target == "/v1/traces")
    );
}
