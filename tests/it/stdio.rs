//! MCP over stdio, with a real client and with invalid lines.

use portkey_mcp::mcp::{server, surface::Surface};
use portkey_operation::Upstream as Whose;
use rmcp::{
    ClientLifecycleMode, model::ProtocolVersion, service::ClientServiceExt,
    transport::TokioChildProcess,
};
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    official_client::{call_params, tool_count},
    process::command,
    server::StdioServer,
    stdio::{INITIALIZE, call_request, list_request, start_initialized},
    upstream::{self, MockUpstream, ResponseAction},
};

/// The embedded sandbox and the official client, with every way to open a connection.
#[tokio::test]
async fn client_lists_and_calls_tools_in_both_protocols() {
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
    for (lifecycle, expected) in
        lifecycles
            .into_iter()
            .zip(["2025-11-25", "2026-07-28", "2026-07-28"])
    {
        let command = tokio::process::Command::from(command(&["--sandbox"]));
        let client =
            ().serve_with_lifecycle(TokioChildProcess::new(command).unwrap(), lifecycle)
                .await
                .unwrap();
        assert_eq!(
            client.peer_info().unwrap().protocol_version.to_string(),
            expected
        );
        assert_eq!(client.list_all_tools().await.unwrap().len(), tool_count());
        let created = client
            .call_tool(call_params(
                "create-integration",
                json!({ "name": "Mine", "ai_provider_id": "openai", "key": "sk-1" }),
            ))
            .await
            .unwrap();
        let slug = created.structured_content.as_ref().unwrap()["slug"].clone();
        let text: Value =
            serde_json::from_str(&created.content[0].as_text().unwrap().text).unwrap();
        assert_eq!(Some(text), created.structured_content);
        let got = client
            .call_tool(call_params("get-integration", json!({ "slug": slug })))
            .await
            .unwrap();
        assert_eq!(got.structured_content.unwrap()["name"], "Mine");
        let deleted = client
            .call_tool(call_params("delete-integration", json!({ "slug": slug })))
            .await
            .unwrap();
        assert_eq!(deleted.is_error, Some(false));
        let gone = client
            .call_tool(call_params("get-integration", json!({ "slug": slug })))
            .await
            .unwrap();
        assert_eq!((gone.is_error, gone.structured_content), (Some(true), None));
        client.cancel().await.unwrap();
    }
}

#[test]
fn initialize_returns_server_info_and_capabilities() {
    let mut pipe = StdioServer::builder().start();
    pipe.send(INITIALIZE);
    let result = &pipe.receive()["result"];
    assert_eq!(result["serverInfo"]["name"], "portkey-mcp");
    assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        result["serverInfo"]["icons"][0]["src"]
            .as_str()
            .unwrap()
            .starts_with("data:image/svg+xml")
    );
    let capabilities = json!({
        "completions": {}, "prompts": {}, "resources": {}, "tools": { "listChanged": true },
        "extensions": { "io.modelcontextprotocol/ui": {} },
    });
    assert_eq!(result["capabilities"], capabilities);
    assert!(pipe.end().0.success());
}

#[test]
fn client_that_reads_structured_content_gets_no_second_copy() {
    let call = call_request(
        1,
        "get-integration",
        &json!({ "slug": "openai-production" }),
    );
    for (client, options, is_brief) in [
        ("claude-code", &["--sandbox"][..], true),
        ("claude-code", &["--sandbox", "--results", "both"], false),
        ("test", &["--sandbox"], false),
    ] {
        let hello = INITIALIZE.replace(
            r#""test","version":"1""#,
            &format!(r#""{client}","version":"2.1.280""#),
        );
        let mut pipe = StdioServer::builder().args(options).start();
        pipe.send(&hello);
        pipe.receive();
        pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        pipe.send(&call);
        let result = pipe.receive()["result"].take();
        assert_eq!(
            result["structuredContent"]["slug"], "openai-production",
            "{result}"
        );
        let text = result["content"][0]["text"].as_str().unwrap();
        let whole = result["structuredContent"].to_string();
        assert_eq!(text != whole, is_brief, "{client} {options:?}: {text}");
        assert_eq!(result["content"].as_array().unwrap().len(), 1, "{result}");
    }
}

#[test]
fn client_of_a_revision_without_structured_content_gets_the_whole_text() {
    for (revision, is_brief) in [
        ("2024-11-05", false),
        ("2025-03-26", false),
        ("2025-06-18", true),
    ] {
        let hello = INITIALIZE.replace("2025-11-25", revision).replace(
            r#""test","version":"1""#,
            r#""claude-code","version":"2.1.0""#,
        );
        let mut pipe = StdioServer::builder().args(&["--sandbox"]).start();
        pipe.send(&hello);
        assert_eq!(pipe.receive()["result"]["protocolVersion"], revision);
        pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        pipe.send(&call_request(
            1,
            "get-integration",
            &json!({ "slug": "openai-production" }),
        ));
        let result = pipe.receive()["result"].take();
        let text = result["content"][0]["text"].as_str().unwrap();
        let document = serde_json::from_str::<Value>(text);
        let has_slug = document.is_ok_and(|document| document["slug"] == "openai-production");
        assert_eq!(!has_slug, is_brief, "{revision}: {text}");
    }
}

/// Tools of another product are described separately, if they are available.
#[test]
fn instructions_mention_only_available_upstreams() {
    for (args, enkrypt) in [
        (&[][..], false),
        (&["--enkrypt-api-key", "k"], true),
        (&["--sandbox"], true),
    ] {
        let mut pipe = StdioServer::builder().args(args).start();
        pipe.send(INITIALIZE);
        let answer = pipe.receive();
        let instructions = answer["result"]["instructions"].as_str().unwrap();
        assert!(
            instructions.len() < 1_050 && instructions.contains("current_page"),
            "{instructions}"
        );
        assert_eq!(
            instructions.contains("Enkrypt AI"),
            enkrypt,
            "{args:?}: {instructions}"
        );
    }
}

/// Each case: a line, and the id and code of its error response.
#[test]
fn invalid_lines_are_answered_with_errors() {
    struct Case {
        line: String,
        id: Value,
        code: i32,
    }

    let cases = [
Case { line: r#"{"jsonrpc":"#.to_owned(), id: Value::Null, code: -32700 },
Case { line: "hello".to_owned(), id: Value::Null, code: -32700 },
Case { line: "\u{0}\u{1}".to_owned(), id: Value::Null, code: -32700 },
Case { line: "[".repeat(100_000), id: Value::Null, code: -32700 },
Case { line: format!("[{}]", list_request(1)), id: Value::Null, code: -32600 },
Case { line: "7".to_owned(), id: Value::Null, code: -32600 },
Case { line: r#"{"method":"tools/list","id":8}"#.to_owned(), id: json!(8), code: -32600 },
Case { line: r#"{"jsonrpc":"1.0","method":"tools/list","id":9}"#.to_owned(), id: json!(9), code: -32600 },
Case { line: r#"{"jsonrpc":"2.0","id":10,"method":"no/such"}"#.to_owned(), id: json!(10), code: -32601 },
Case { line: r#"{"jsonrpc":"2.0","id":15,"method":"prompts/list","params":{"cursor":"c"}}"#.to_owned(), id: json!(15), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":16,"method":"resources/list","params":{"cursor":"c"}}"#.to_owned(), id: json!(16), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":17,"method":"resources/templates/list","params":{"cursor":"c"}}"#.to_owned(), id: json!(17), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":18,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"x"},"argument":{"name":"a","value":""}}}"#.to_owned(), id: json!(18), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":20,"method":"completion/complete","params":{"argument":{"name":"a"}}}"#.to_owned(), id: json!(20), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":21,"method":"resources/read","params":{"uri":"portkey://guide/none"}}"#.to_owned(), id: json!(21), code: -32002 },
Case { line: r#"{"jsonrpc":"2.0","id":22,"method":"resources/read","params":{"uri":[1]}}"#.to_owned(), id: json!(22), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":23,"method":"prompts/get","params":{"name":"none"}}"#.to_owned(), id: json!(23), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":19,"method":"subscriptions/listen","params":{"notifications":[1]}}"#.to_owned(), id: json!(19), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":"11","method":"tools/call","params":{"name":"list-all-integrations","arguments":[1]}}"#.to_owned(), id: json!("11"), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":12,"method":"tools/call"}"#.to_owned(), id: json!(12), code: -32602 },
Case { line: r#"{"jsonrpc":"2.0","id":13,"method":"tools/list","params":{"cursor":"nonsense"}}"#.to_owned(), id: json!(13), code: -32602 },
Case { line: call_request(14, "lst-all-integrations", &json!({})), id: json!(14), code: -32602 },
];
    let mut pipe = start_initialized(&["--sandbox"]);
    for Case { line, id, code } in cases {
        let shown: String = line.chars().take(80).collect();
        pipe.send(&line);
        let answer = pipe.receive();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&id, &json!(code)),
            "{shown}: {answer}"
        );
        assert!(
            !answer["error"]["message"].as_str().unwrap().is_empty(),
            "{shown}"
        );
        pipe.send(&list_request(99));
        assert_eq!(pipe.receive()["id"], 99, "no longer served after {shown}");
    }
    pipe.send("");
    pipe.send(r#"{"jsonrpc":"2.0","id":55,"result":{}}"#);
    pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/unheard_of"}"#);
    pipe.send(&list_request(100));
    assert_eq!(
        pipe.receive()["id"],
        100,
        "blank lines, stray answers and unknown notifications need no answer"
    );
    assert!(pipe.end().0.success());
}

#[test]
fn too_long_line_is_rejected() {
    let mut pipe = start_initialized(&["--sandbox"]);
    pipe.send(&"x".repeat(17 << 20));
    let answer = pipe.receive();
    assert_eq!(answer["error"]["code"], -32600);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("longer than 16777216 bytes"),
        "{answer}"
    );
    pipe.send(&list_request(1));
    assert_eq!(pipe.receive()["id"], 1);
}

#[test]
fn large_arguments_are_answered() {
    let mut pipe = start_initialized(&["--sandbox"]);
    let long = "x".repeat(10 << 20);
    pipe.send(&call_request(
        1,
        "get-integration",
        &json!({ "slug": long }),
    ));
    let answer = pipe.receive();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("10485760 characters, at most 255"), "{text}");
    pipe.send(&call_request(
        2,
        "create-integration",
        &json!({ "name": long, "ai_provider_id": "openai" }),
    ));
    let answer = pipe.receive();
    assert_eq!(
        (&answer["id"], &answer["result"]["isError"]),
        (&json!(2), &json!(true))
    );
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("413") && text.contains("too large"), "{text}");
    pipe.send(&list_request(3));
    assert_eq!(pipe.receive()["id"], 3);
}

/// The model can correct invalid arguments, so they are reported in a result, not as a protocol
/// error.
#[test]
fn invalid_arguments_are_reported_in_the_result() {
    let mut pipe = start_initialized(&["--sandbox"]);
    pipe.send(&call_request(1, "get-integration", &json!({ "slugg": 1 })));
    let result = pipe.receive()["result"].clone();
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("`slug`: is required") && text.contains("did you mean `slug`?"),
        "{text}"
    );
}

#[test]
fn tool_list_is_sorted_and_paged() {
    let names = |result: &Value| -> Vec<String> {
        let tools = result["tools"].as_array().unwrap();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut whole = start_initialized(&[]);
    whole.send(&list_request(1));
    let result = whole.receive()["result"].clone();
    let all = names(&result);
    assert!(all.is_sorted() && result.get("nextCursor").is_none());
    let page = all.len().div_ceil(3);
    let mut paged = start_initialized(&["--tools-page", &page.to_string()]);
    let mut collected = Vec::new();
    let mut cursor = Value::Null;
    for id in 1..=3 {
        let params = if cursor.is_null() {
            json!({})
        } else {
            json!({ "cursor": cursor })
        };
        paged.send(
            &json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": params })
                .to_string(),
        );
        let result = paged.receive()["result"].clone();
        assert!(names(&result).len() <= page);
        collected.extend(names(&result));
        cursor = result["nextCursor"].clone();
    }
    assert_eq!((collected, cursor), (all, Value::Null));
}

/// Without a key and without the sandbox, the tools are listed, and a call reports the missing key.
#[test]
fn server_starts_without_a_key_and_calls_report_it() {
    let mut pipe = start_initialized(&[]);
    pipe.send(&list_request(1));
    let listed = pipe.receive()["result"]["tools"].as_array().unwrap().len();
    let catalog = default_catalog().without_upstream(Whose::Enkrypt);
    assert_eq!(
        listed,
        server::build_tools(Surface::Operations, catalog.presentation(), catalog.iter()).len()
    );
    pipe.send(&call_request(
        3,
        "get-mcp-gateway",
        &json!({ "gateway": "g" }),
    ));
    let error = pipe.receive()["error"]["message"].to_string();
    assert!(
        error.contains("switched off") && error.contains("ENKRYPT_API_KEY"),
        "{error}"
    );
    pipe.send(&call_request(2, "list-all-integrations", &json!({})));
    let result = pipe.receive()["result"].clone();
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("PORTKEY_API_KEY") && text.contains("--sandbox"),
        "{text}"
    );
}

#[test]
fn closed_input_ends_the_server_after_pending_responses() {
    assert!(
        StdioServer::builder().start().end().0.success(),
        "hung up at once"
    );
    let mut early = StdioServer::builder().start();
    early.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    early.send(INITIALIZE);
    assert_eq!(
        early.receive()["id"],
        0,
        "a notification first does no harm"
    );
    let mut busy = start_initialized(&["--sandbox", "--sandbox-faults", "latency:100ms"]);
    busy.send(&call_request(7, "list-all-integrations", &json!({})));
    let (status, rest, log) = busy.end();
    assert!(status.success(), "{log}");
    let answer: Value = serde_json::from_str(rest.trim()).unwrap();
    assert_eq!(
        (&answer["id"], &answer["result"]["isError"]),
        (&json!(7), &json!(false))
    );
}

/// A cancelled call gets no response, and its upstream request is aborted.
#[tokio::test]
async fn cancelled_call_aborts_its_upstream_request() {
    let portkey = MockUpstream::start(|_| ResponseAction::Hang).await;
    let mut pipe = start_initialized(&["--api-key", "k", "--base-url", &portkey.base_url]);
    pipe.send(&call_request(7, "list-all-integrations", &json!({})));
    portkey.wait_for_requests(1).await;
    let params = json!({ "requestId": 7, "reason": "enough" });
    pipe.send(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })
            .to_string(),
    );
    portkey.disconnects.acquire().await.unwrap().forget();
    pipe.send(&list_request(8));
    assert_eq!(
        tokio::task::spawn_blocking(move || pipe.receive())
            .await
            .unwrap()["id"],
        8
    );
}

/// The call and the next one are answered, whatever Portkey does.
#[tokio::test]
async fn server_survives_a_misbehaving_upstream() {
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let portkey = MockUpstream::start(move |n| match n {
        0 => ResponseAction::Hang,
        1 => ResponseAction::Drop,
        2 => ResponseAction::Write(b"SSH-2.0\r\n".to_vec()),
        3 => ResponseAction::Flood(head.to_vec(), 50),
        4 => upstream::http_response("200 OK", "content-type: text/html\r\n", "<html>"),
        _ => upstream::json_response(r#"{"fine":true}"#),
    })
    .await;
    let args = [
        "--api-key",
        "k",
        "--base-url",
        &portkey.base_url,
        "--timeout",
        "1",
        "--retries",
        "0",
    ];
    let mut pipe = start_initialized(&args);
    let answers = tokio::task::spawn_blocking(move || {
        let mut answers = Vec::new();
        for id in 0..6 {
            pipe.send(&call_request(
                id,
                "get-integration",
                &json!({ "slug": "x" }),
            ));
            let answer = pipe.receive();
            assert_eq!(answer["id"], id);
            answers.push(
                answer["result"]["content"][0]["text"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        answers
    });
    let answers = answers.await.unwrap();
    let expected = [
        "did not answer within 1 s",
        "broke before",
        "broke before",
        "larger than",
        "no JSON",
        "fine",
    ];
    for (text, part) in answers.iter().zip(expected) {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The key and secret arguments are not logged, at any log level.
#[test]
fn trace_log_contains_no_secrets() {
    let closed = "http://127.0.0.1:1/v1";
    let mut pipe = start_initialized(&[
        "--api-key",
        "pk-planted-key",
        "--base-url",
        closed,
        "--log-level",
        "trace,rmcp=trace",
    ]);
    let arguments = json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-planted-secret" });
    pipe.send(&call_request(1, "create-integration", &arguments));
    let answer = pipe.receive().to_string();
    let (_, _, log) = pipe.end();
    assert!(
        log.contains("create-integration"),
        "nothing was logged: {log}"
    );
    for secret in ["pk-planted-key", "sk-planted-secret"] {
        assert!(
            !log.contains(secret) && !answer.contains(secret),
            "{secret} shows:\n{log}\n{answer}"
        );
    }
}

/// Some shells on Windows write a byte order mark.
#[test]
fn byte_order_mark_before_the_first_line_is_skipped() {
    let mut pipe = StdioServer::builder().sandbox().start();
    pipe.send(&format!("\u{feff}{INITIALIZE}"));
    assert_eq!(pipe.receive()["result"]["protocolVersion"], "2025-11-25");
}
