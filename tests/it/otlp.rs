//! Traces and metrics by OTLP, to a collector that keeps what it gets.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    process::{Pipe, Served, command},
    requests::{self, answer, post},
    secrets::leaks,
    upstream::{self, KEY, Upstream},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const OTHER: &str = "11111111111111111111111111111111";

/// Two scripted servers: Portkey, and the collector.
async fn both() -> (Upstream, Upstream) {
    let portkey = Upstream::start(|_| upstream::ok(r#"{"data":[]}"#)).await;
    let collector = Upstream::start(|_| upstream::answer("200 OK", "", "")).await;
    (portkey, collector)
}

/// A server that calls the one and exports to the other.
fn exporting(args: &[&str], portkey: &Upstream, collector: Option<&Upstream>) -> Command {
    let mut command = command(args);
    command.args(["--api-key", KEY, "--base-url", &portkey.base_url]);
    if let Some(collector) = collector {
        let endpoint = collector.base_url.trim_end_matches("/v1");
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    }
    command
}

fn over_http(portkey: &Upstream, collector: Option<&Upstream>) -> Served {
    Served::spawn(exporting(
        &["http", "--listen", "127.0.0.1:0"],
        portkey,
        collector,
    ))
}

/// A call whose metadata, and whose header, name a trace.
async fn call(server: &Served, meta: Option<&str>, header: Option<&str>) {
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
    let mut request = post(server, &body)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "list-all-integrations");
    if let Some(header) = header {
        request = request.header("traceparent", header);
    }
    let (_, body) = answer(request).await;
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
}

/// The trace and the span that the last request to Portkey names.
fn told(portkey: &Upstream) -> Option<(String, String)> {
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

/// All that the collector got at this path.
fn exported(collector: &Upstream, path: &str) -> Vec<u8> {
    let requests = collector.requests();
    let bodies: Vec<u8> = requests
        .iter()
        .filter(|request| request.target == path)
        .flat_map(|request| request.body.clone())
        .collect();
    assert!(!bodies.is_empty(), "nothing at {path}: {requests:?}");
    bodies
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Asks it to stop, and lets the collector answer meanwhile.
async fn stop(server: Served) {
    let (status, log) = tokio::task::spawn_blocking(|| server.terminate())
        .await
        .unwrap();
    assert!(status.success() && !log.contains("not exported"), "{log}");
}

#[tokio::test]
async fn trace_context_is_propagated_to_portkey() {
    let (portkey, collector) = both().await;
    let server = over_http(&portkey, Some(&collector));
    let own = format!("00-{TRACE}-{SPAN}-01");
    let other = format!("00-{OTHER}-{SPAN}-01");
    for (meta, header, expected) in [
        (None, Some(&other), Some(OTHER)),
        // What lies in between adds headers; the message is the client's own.
        (Some(&own), Some(&other), Some(TRACE)),
        (
            Some(&format!("00-{TRACE}-{SPAN}-0")),
            Some(&other),
            Some(OTHER),
        ),
        (None, None, None),
        (
            None,
            Some(&format!("00-{}-{SPAN}-01", "0".repeat(32))),
            None,
        ),
        (None, Some(&format!("ff-{TRACE}-{SPAN}-01")), None),
        (None, Some(&own.to_uppercase()), None),
    ] {
        call(
            &server,
            meta.map(String::as_str),
            header.map(String::as_str),
        )
        .await;
        let (trace, span) = told(&portkey).unwrap();
        match expected {
            Some(expected) => assert_eq!(trace, expected, "{meta:?} {header:?}"),
            None => assert!(
                trace != TRACE && trace != OTHER,
                "{meta:?} {header:?}: {trace}"
            ),
        }
        assert_ne!(span, SPAN, "the caller's own step goes on to Portkey");
    }
    stop(server).await;
    let traces = exported(&collector, "/v1/traces");
    let (last, _) = told(&portkey).unwrap();
    for id in [TRACE, OTHER, SPAN, &last] {
        assert!(
            has(&traces, &hex::decode(id).unwrap()),
            "{id} was not exported"
        );
    }
    for text in [
        "tools/call list-all-integrations",
        "mcp.method.name",
        "GET Portkey",
        "portkey-mcp",
    ] {
        assert!(has(&traces, text.as_bytes()), "{text} was not exported");
    }
}

#[tokio::test]
async fn exported_metrics_contain_no_secrets() {
    let (portkey, collector) = both().await;
    let server = over_http(&portkey, Some(&collector));
    call(&server, None, None).await;
    stop(server).await;
    let (traces, metrics) = (
        exported(&collector, "/v1/traces"),
        exported(&collector, "/v1/metrics"),
    );
    for text in [
        "mcp.server.operation.duration",
        "gen_ai.tool.name",
        "list-all-integrations",
        "portkey_mcp.calls",
        "portkey_mcp.connections",
        "portkey_mcp.upstream.request.duration",
    ] {
        assert!(has(&metrics, text.as_bytes()), "{text} was not exported");
    }
    for secret in [KEY, "planted-argument"] {
        let told = [&traces, &metrics]
            .iter()
            .any(|all| has(all, secret.as_bytes()));
        assert!(!told, "{secret} was exported");
    }
}

/// Whatever callers send and Portkey answers.
#[tokio::test]
async fn exported_spans_contain_no_secrets() {
    let secrets = leaks::secrets(2);
    let (portkey, (_, collector)) = (leaks::upstream(&secrets).await, both().await);
    let server = over_http(&portkey, Some(&collector));
    for (tool, args) in secrets.iter().flat_map(|secret| leaks::calls(secret)) {
        answer(requests::call(&server, tool, args)).await;
    }
    stop(server).await;
    let exported = [
        exported(&collector, "/v1/traces"),
        exported(&collector, "/v1/metrics"),
    ];
    assert!(
        has(&exported[0], b"tools/call create-integration"),
        "nothing was exported"
    );
    for secret in &secrets {
        assert!(
            !exported.iter().any(|all| has(all, secret.as_bytes())),
            "{secret} was exported"
        );
    }
}

/// A trace that nobody here takes part in is none of Portkey's business.
#[tokio::test]
async fn trace_context_is_not_propagated_without_a_collector() {
    let (portkey, _) = both().await;
    let server = over_http(&portkey, None);
    let own = format!("00-{TRACE}-{SPAN}-01");
    call(&server, Some(&own), Some(&own)).await;
    assert_eq!(told(&portkey), None);
}

/// Over a pipe, with a signal that is not wanted, and under another name.
#[tokio::test]
async fn opentelemetry_variables_are_honoured() {
    let (portkey, collector) = both().await;
    let mut command = exporting(&["stdio"], &portkey, Some(&collector));
    command
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_SERVICE_NAME", "admin-of-team-a");
    let mut pipe = Pipe::spawn(command);
    let pipe = tokio::task::spawn_blocking(move || {
        let opened = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let called = json!({
            "name": "list-all-integrations",
            "arguments": {},
            "_meta": { "traceparent": format!("00-{TRACE}-{SPAN}-01") },
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
    assert_eq!(told(&portkey).unwrap().0, TRACE);
    let traces = exported(&collector, "/v1/traces");
    assert!(has(&traces, b"admin-of-team-a"), "{log}");
    assert!(
        collector
            .requests()
            .iter()
            .all(|request| request.target == "/v1/traces")
    );
}
