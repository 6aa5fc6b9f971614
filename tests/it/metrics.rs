//! `/metrics` of the running binary: the counters, and that caller input never becomes a label.

use std::{collections::BTreeSet, io::Write, net::TcpStream};

use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;

use crate::support::{
    metered_server::MeteredServer,
    process::run_cli,
    requests::{
        client, end_session, open_session, post_request, send_request, stateless_request,
        stateless_request_by,
    },
    server::serve_sandbox,
};

fn assert_has_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|each| each == line),
        "no `{line}` in\n{text}"
    );
}

#[tokio::test]
async fn calls_and_rejections_are_counted() {
    let measured = MeteredServer::start(&["--max-request-bytes", "4096"]);
    send_request(stateless_request(&measured.server, "tools/list", json!({}))).await;
    for _ in 0..2 {
        send_request(measured.call("list-all-integrations", &json!({}))).await;
    }
    let described = json!({ "operation": "list-all-integrations" });
    send_request(measured.call("describe-operation", &described)).await;
    // By its alias, with an upstream error.
    send_request(measured.call("get_integration", &json!({ "slug": "no-such" }))).await;
    send_request(measured.call("get-integration", &json!({ "slug": 5, "made-up": true }))).await;
    send_request(measured.call("no-such-tool", &json!({}))).await;
    send_request(post_request(&measured.server, &"x".repeat(5000))).await;
    send_request(post_request(&measured.server, "{")).await;
    let text = measured.scrape().await;
    let operation = |tool: &str, error: &str| {
        let rest = r#"mcp_protocol_version="2026-07-28",network_transport="tcp"}"#;
        let series = "mcp_server_operation_duration_seconds_count";
        format!(r#"{series}{{mcp_method_name="tools/call",gen_ai_tool_name="{tool}"{error},{rest}"#)
    };
    let failed = r#",error_type="tool_error""#;
    assert_has_line(
        &text,
        &format!("{} 2", operation("list-all-integrations", "")),
    );
    assert_has_line(&text, &format!("{} 1", operation("describe-operation", "")));
    assert_has_line(
        &text,
        &format!("{} 2", operation("get-integration", failed)),
    );
    assert_has_line(
        &text,
        &format!("{} 1", operation("_unknown", r#",error_type="-32602""#)),
    );
    for line in [
        r#"mcp_server_operation_duration_seconds_count{mcp_method_name="tools/list",mcp_protocol_version="2026-07-28",network_transport="tcp"} 1"#,
        r#"portkey_mcp_calls_total{outcome="answered",effect="read"} 3"#,
        r#"portkey_mcp_calls_total{outcome="refused",effect="read"} 1"#,
        r#"portkey_mcp_calls_total{outcome="rejected",effect="read"} 1"#,
        r#"portkey_mcp_calls_total{outcome="rejected"} 1"#,
        r#"portkey_mcp_rejections_total{reason="arguments"} 1"#,
        r#"portkey_mcp_rejections_total{reason="unknown_tool"} 1"#,
        r#"portkey_mcp_rejections_total{reason="size"} 1"#,
        r#"portkey_mcp_rejections_total{reason="malformed"} 1"#,
        r#"portkey_mcp_upstream_request_duration_seconds_count{operation="list-all-integrations",upstream="portkey",status="2xx"} 2"#,
        r#"portkey_mcp_upstream_request_duration_seconds_count{operation="get-integration",upstream="portkey",status="4xx"} 1"#,
        "portkey_mcp_requests_in_flight 0",
        "portkey_mcp_sessions 0",
        concat!(
            r#"portkey_mcp_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
        "# EOF",
    ] {
        assert_has_line(&text, line);
    }
    assert!(text.contains("process_start_time_seconds 1"), "{text}");
    #[cfg(target_os = "linux")]
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}

#[tokio::test]
async fn open_sessions_and_connections_are_counted() {
    let measured = MeteredServer::start(&[]);
    let id = open_session(&measured.server).await;
    measured.scrape_until("portkey_mcp_sessions 1").await;
    end_session(&measured.server, &id).await;
    measured.scrape_until("portkey_mcp_sessions 0").await;
    let ended = r#"mcp_server_session_duration_seconds_count{mcp_protocol_version="2025-11-25",network_transport="tcp"} 1"#;
    measured.scrape_until(ended).await;
    measured.scrape_until("portkey_mcp_connections 0").await;
    let address = measured
        .server
        .url
        .trim_start_matches("http://")
        .trim_end_matches("/mcp");
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"POST").unwrap();
    measured.scrape_until("portkey_mcp_connections 1").await;
    drop(open);
    measured.scrape_until("portkey_mcp_connections 0").await;
}

#[tokio::test]
async fn upstream_retries_are_counted() {
    let measured = MeteredServer::start(&["--sandbox-faults", "503:0.5,seed:1", "--retries", "8"]);
    for _ in 0..4 {
        send_request(measured.call("list-all-integrations", &json!({}))).await;
    }
    let text = measured.scrape().await;
    let count = |series: &str| -> u32 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
            .trim()
            .parse()
            .unwrap()
    };
    let attempts = |status: &str| {
        count(&format!(
            r#"portkey_mcp_upstream_request_duration_seconds_count{{operation="list-all-integrations",upstream="portkey",status="{status}"}}"#
        ))
    };
    let retries = count(r#"portkey_mcp_upstream_retries_total{upstream="portkey"}"#);
    assert!(retries > 0, "{text}");
    assert_eq!((attempts("2xx"), attempts("5xx")), (4, retries), "{text}");
}

/// Callers choose names, ids, keys and addresses, so their number is unlimited.
#[tokio::test]
async fn caller_input_never_becomes_a_label() {
    const SECRET: &str = "pk-very-secret-key";
    let measured = MeteredServer::start(&["--auth", "key", "--rate-limit", "none"]);
    let with_key = |request: RequestBuilder| request.header("x-portkey-api-key", SECRET);
    let series = |text: &str| -> BTreeSet<String> {
        let series = text
            .lines()
            .filter(|line| line.contains("_count") || line.contains("_total"));
        series
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    };
    let call = |name: String| with_key(measured.call(&name, &json!({ "key": SECRET })));
    send_request(call("first-made-up".to_owned())).await;
    send_request(with_key(
        measured.call("list-all-integrations", &json!({ "workspace_id": SECRET })),
    ))
    .await;
    send_request(measured.call("list-all-integrations", &json!({}))).await;
    let before = series(&measured.scrape().await);
    // One client for all calls, because creating one takes longer than a call.
    let client = client();
    for i in 0..1000 {
        let name = format!("made-up-{i}\"}}=,\\{}", i * 7919);
        let params = json!({ "name": name, "arguments": { "key": SECRET } });
        let request = stateless_request_by(&client, &measured.server, "tools/call", params);
        let (_, body) = send_request(with_key(request)).await;
        assert_eq!(body["error"]["code"], -32602, "{body}");
    }
    let text = measured.scrape().await;
    assert_eq!(series(&text), before, "a label has what a caller wrote");
    assert_has_line(
        &text,
        r#"portkey_mcp_rejections_total{reason="unknown_tool"} 1001"#,
    );
    assert_has_line(&text, r#"portkey_mcp_rejections_total{reason="access"} 1"#);
    for word in [SECRET, "made-up", "key-", "127.0.0.1"] {
        assert!(!text.contains(word), "{word} in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_served_only_at_their_own_address() {
    for server in [serve_sandbox(&[]), MeteredServer::start(&[]).server] {
        let main = server.url.replace("/mcp", "/metrics");
        assert_eq!(
            client().get(main).send().await.unwrap().status(),
            StatusCode::NOT_FOUND
        );
    }
    let measured = MeteredServer::start(&[]);
    let other = measured.url.replace("/metrics", "/mcp");
    assert_eq!(
        client().get(other).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let taken = measured
        .url
        .trim_start_matches("http://")
        .trim_end_matches("/metrics");
    let (ok, _, log) = run_cli(&[
        "http",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        taken,
    ]);
    assert!(!ok && log.contains("`--metrics-listen`"), "{log}");
}

/// The log of this server is not read after its first lines.
#[tokio::test]
async fn lost_log_lines_are_counted() {
    let measured = MeteredServer::start(&["--log-level", "trace"]);
    let name = "portkey_mcp_log_lines_lost_total ";
    assert_has_line(&measured.scrape().await, &format!("{name}0"));
    let client = client();
    // The log is never read, and none of the other calls has as many lines in it.
    for _ in 0..100 {
        for _ in 0..25 {
            let call = stateless_request_by(
                &client,
                &measured.server,
                "tools/call",
                json!({ "name": "whoami" }),
            );
            call.send().await.unwrap();
        }
        let text = measured.scrape().await;
        let lost = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .to_owned();
        if lost != "0" {
            return;
        }
    }
    panic!("no line was lost, or none was counted");
}
