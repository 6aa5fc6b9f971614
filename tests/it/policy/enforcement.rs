//! The policy applies to calls over every transport, and hidden tools do not exist.

use std::fs;

use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    observability::request::RequestInfo,
    pipeline::{CallError, approval::ApprovalDefaults},
};
use rmcp::{
    ClientLifecycleMode,
    model::CallToolRequestParams,
    service::{ClientServiceExt, RunningService},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;

use super::*;
use crate::support::{
    approvals::dispatcher_with_approvals,
    official_client::client_lifecycles,
    policy::PolicyFile,
    process::{command, run_cli},
    requests::{call_request, client, send_request, stateless_request},
    server::{ServerProcess, StdioServer, serve_sandbox},
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

const POLICY: &str = r#"
version: "1"
hide: ["delete-*"]
tools:
  create-integration: { rules: [{ name: no more, action: deny, on_deny: we have enough }] }
  list-labels: { rules: [{ name: few, rate_limit: 1/hour }, { name: names, redact: ["data[].name"] }] }
  update-integration: { rules: [{ name: ask, action: approve }] }
"#;

type Client = RunningService<rmcp::RoleClient, ()>;

async fn connect_http(
    file: &PolicyFile,
    lifecycle: ClientLifecycleMode,
) -> (Client, ServerProcess) {
    let server = serve_sandbox(&["--policy", file.path()]);
    let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
    let transport = StreamableHttpClientTransport::with_client(client(), config);
    (
        ().serve_with_lifecycle(transport, lifecycle).await.unwrap(),
        server,
    )
}

async fn connect_stdio(file: &PolicyFile, lifecycle: ClientLifecycleMode) -> Client {
    let command = command(&["stdio", "--sandbox", "--policy", file.path()]);
    let transport = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
    ().serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

async fn call_text(client: &Client, tool: &'static str, args: Value) -> (bool, String) {
    let args = args.as_object().unwrap().clone();
    let result = client
        .call_tool(CallToolRequestParams::new(tool).with_arguments(args))
        .await
        .unwrap();
    let text = result.content[0].as_text().unwrap().text.clone();
    (result.is_error == Some(true), text)
}

async fn assert_policy_applies(client: Client) {
    struct Case {
        tool: &'static str,
        args: Value,
        words: &'static str,
    }

    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "update-integration"));
    // Denied unconditionally, so that no call of it could be permitted.
    assert!(!tools.iter().any(|tool| tool.name == "create-integration"));
    assert!(!tools.iter().any(|tool| tool.name.starts_with("delete-")));
    let hidden = "`delete-integration` is hidden by the policy of this server";
    for Case { tool, args, words } in [
        // Not even its arguments are shown.
        Case {
            tool: "delete-integration",
            args: json!({ "wrong": 1 }),
            words: hidden,
        },
        Case {
            tool: "delete_integration",
            args: json!({ "slug": "x" }),
            words: hidden,
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "openai" }),
            words: "we have enough",
        },
        Case {
            tool: "update-integration",
            args: json!({ "slug": "x", "name": "n" }),
            words: "approv",
        },
    ] {
        let (denied, text) = call_text(&client, tool, args).await;
        assert!(denied && text.contains(words), "{tool}: {text}");
    }
    assert!(
        !call_text(&client, "list-all-integrations", json!({}))
            .await
            .0
    );
    // A failed call is not counted; a successful one is.
    assert!(
        call_text(&client, "list-labels", json!({ "wrong": true }))
            .await
            .1
            .contains("wrong")
    );
    assert!(!call_text(&client, "list-labels", json!({})).await.0);
    let (denied, words) = call_text(&client, "list-labels", json!({})).await;
    assert!(
        denied && words.contains("the policy rule `few` limits this"),
        "{words}"
    );
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn policy_applies_over_http_in_both_protocols() {
    let file = PolicyFile::with(POLICY);
    for lifecycle in client_lifecycles() {
        let (client, _server) = connect_http(&file, lifecycle).await;
        assert_policy_applies(client).await;
    }
}

#[tokio::test]
async fn policy_applies_over_stdio_in_both_protocols() {
    let file = PolicyFile::with(POLICY);
    for lifecycle in client_lifecycles() {
        assert_policy_applies(connect_stdio(&file, lifecycle).await).await;
    }
}

#[test]
fn policy_applies_to_the_call_command() {
    let file = PolicyFile::with(POLICY);
    for (args, words) in [
        (
            &["delete-integration", "slug=x"] as &[&str],
            "is hidden by the policy",
        ),
        (
            &["create-integration", "name=n", "ai_provider_id=openai"],
            "we have enough",
        ),
    ] {
        let (ok, _, log) =
            run_cli(&[&["call"], args, &["--sandbox", "--policy", file.path()]].concat());
        assert!(!ok && log.contains(words), "{log}");
    }
    let (ok, _, log) = run_cli(&[
        "call",
        "list-all-integrations",
        "--sandbox",
        "--policy",
        file.path(),
    ]);
    assert!(ok, "{log}");
}

#[test]
fn invalid_policy_fails_the_start() {
    let file = PolicyFile::with(
        "version: '1'\nrules:\n  - { name: r, action: deny, when: 'toool == 1' }\n",
    );
    for args in [
        &["stdio"] as &[&str],
        &["http", "--listen", "127.0.0.1:0"],
        &["call", "list-labels"],
    ] {
        let (ok, _, log) = run_cli(&[args, &["--sandbox", "--policy", file.path()]].concat());
        assert!(!ok && log.contains(file.path()), "{args:?}: {log}");
        assert!(
            log.contains("line 3: rules[0]: `when`: there is no `toool`"),
            "{args:?}: {log}"
        );
    }
    let (ok, _, log) = run_cli(&[
        "call",
        "list-labels",
        "--sandbox",
        "--policy",
        "/no/such.yaml",
    ]);
    assert!(!ok && log.contains("/no/such.yaml"), "{log}");
}

#[tokio::test]
async fn upstream_error_is_not_counted_against_a_limit() {
    let file = PolicyFile::with("version: '1'\nrules: [{ name: once, rate_limit: 1/hour }]");
    let server = serve_sandbox(&["--policy", file.path()]);
    for tool in ["get-integration", "get-integration"] {
        let (_, body) =
            send_request(call_request(&server, tool, json!({ "slug": "no-such" }))).await;
        assert!(body.to_string().contains("404"), "{body}");
    }
    let (_, body) = send_request(call_request(&server, "list-labels", json!({}))).await;
    assert_eq!(body["result"]["isError"], false, "{body}");
    let (_, body) = send_request(call_request(&server, "list-labels", json!({}))).await;
    assert!(
        body.to_string()
            .contains("the policy rule `once` limits this"),
        "{body}"
    );
}

#[tokio::test]
async fn changed_policy_is_reloaded_and_an_invalid_one_ignored() {
    let file = PolicyFile::with("version: '1'");
    let mut server = serve_sandbox(&["--policy", file.path(), "--log-format", "json"]);
    let listed = async |server: &ServerProcess| {
        let (_, body) = send_request(stateless_request(server, "tools/list", json!({}))).await;
        body["result"]["tools"]
            .to_string()
            .contains("\"delete-integration\"")
    };
    assert!(listed(&server).await);
    fs::write(&file.path, "version: '1'\nhide: ['delete-*']").unwrap();
    server.read_until("reloaded the changed file");
    assert!(!listed(&server).await);
    fs::write(&file.path, "version: '1'\nhide: 5").unwrap();
    // The file may be read while it is still empty.
    while !server
        .read_until("the previous content remains in use")
        .contains("line 2")
    {}
    assert!(!listed(&server).await);
}

#[test]
fn policy_change_sends_list_changed() {
    for change in [
        "hide: [delete-integration]",
        "rules: [{ name: a, action: deny, match: { tools: [delete-integration] } }]",
        "default: deny\ntools: { delete-integration: {} }",
    ] {
        assert_list_changed(change);
    }
}

fn assert_list_changed(change: &str) {
    let file = PolicyFile::with("version: '1'");
    let mut pipe = StdioServer::builder()
        .args(&["stdio"])
        .sandbox()
        .args(&["--policy", file.path()])
        .start();
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    pipe.send(
        &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string(),
    );
    pipe.receive();
    pipe.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    pipe.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string());
    pipe.receive();
    fs::write(&file.path, format!("version: '1'\n{change}")).unwrap();
    assert_eq!(pipe.receive()["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn decisions_and_shadow_matches_are_logged() {
    let file = PolicyFile::with(
        "version: '1'\nrules:\n  - { name: no configs, action: deny, match: { domains: [configs] } }\n  \
         - { name: watch, action: shadow, when: 'effect == \"read\"' }",
    );
    let mut server = serve_sandbox(&["--policy", file.path(), "--log-format", "json"]);
    let fields =
        |line: String| serde_json::from_str::<Value>(line.trim()).unwrap()["fields"].take();
    send_request(call_request(&server, "list-all-configs", json!({}))).await;
    let line = fields(server.read_until("portkey_mcp::call"));
    for (name, value) in [
        ("outcome", "forbidden"),
        ("decision", "deny"),
        ("rule", "no configs"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    let line = fields(server.read_until("portkey_mcp::shadow"));
    for (name, value) in [
        ("rule", "watch"),
        ("would", "deny"),
        ("tool", "list-all-configs"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    send_request(call_request(&server, "list-labels", json!({}))).await;
    let line = fields(server.read_until("portkey_mcp::call"));
    assert_eq!(
        (line.get("decision"), line.get("rule")),
        (None, None),
        "{line}"
    );
}

#[tokio::test]
async fn policy_of_a_token_applies_in_addition_to_the_servers() {
    let file = PolicyFile::with("version: '1'\nhide: ['delete-*']");
    let tokens = file.path.with_file_name("tokens.toml");
    fs::write(
        file.path.with_file_name("own.yaml"),
        "version: '1'\nhide: ['create-*']",
    )
    .unwrap();
    let mut made = Vec::new();
    for name in ["free", "bound"] {
        let args = [
            "token",
            "new",
            "--name",
            name,
            "--scope",
            "portkey:read,portkey:write,portkey:delete",
        ];
        let mut args = [&args[..], &["--file", tokens.to_str().unwrap()]].concat();
        if name == "bound" {
            args.extend(["--policy", "own.yaml"]);
        }
        let (ok, token, log) = run_cli(&args);
        assert!(ok, "{log}");
        made.push(token.trim().to_owned());
    }
    let args = [
        "token",
        "new",
        "--name",
        "lost",
        "--scope",
        "portkey:read",
        "--policy",
        "no.yaml",
    ];
    let (ok, _, log) = run_cli(&[&args[..], &["--file", tokens.to_str().unwrap()]].concat());
    assert!(!ok && log.contains("no.yaml"), "{log}");
    let server = serve_sandbox(&[
        "--policy",
        file.path(),
        "--auth",
        "token",
        "--auth-file",
        tokens.to_str().unwrap(),
    ]);
    for (token, creates) in made.iter().zip([true, false]) {
        let (_, body) =
            send_request(stateless_request(&server, "tools/list", json!({})).bearer_auth(token))
                .await;
        let listed = body["result"]["tools"].to_string();
        assert_eq!(listed.contains("\"create-label\""), creates);
        assert!(!listed.contains("\"delete-label\"") && listed.contains("\"list-labels\""));
        for (tool, may) in [("create-label", creates), ("delete-label", false)] {
            let request =
                call_request(&server, tool, json!({ "name": "a", "wrong": 1 })).bearer_auth(token);
            let (_, body) = send_request(request).await;
            let text = body["result"]["content"][0]["text"].to_string();
            assert_eq!(
                text.contains("hidden by the policy"),
                !may,
                "{tool}: {text}"
            );
        }
    }
    // An unreadable policy fails the start.
    fs::remove_file(file.path.with_file_name("own.yaml")).unwrap();
    let args = [
        "http",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "token",
        "--auth-file",
    ];
    let (ok, _, log) = run_cli(&[&args[..], &[tokens.to_str().unwrap()]].concat());
    assert!(
        !ok && log.contains("token `bound`") && log.contains("own.yaml"),
        "{log}"
    );
}

#[tokio::test]
async fn reading_untrusted_content_taints_later_calls() {
    let wary = parse_policy(
        "version: '1'\nrules: [{ name: wary, action: deny, match: { effects: [create] }, when: tainted }]",
    );
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream).with_policy(WatchedValue::fixed(wary));
    let calls = async |tool: &str, args: Value| {
        dispatcher
            .call_as_local(&operator(), tool, args.as_object().unwrap().clone())
            .await
    };
    calls("create-label", json!({ "name": "a" })).await.unwrap();
    calls("get-prompt", json!({ "prompt_id": "p" }))
        .await
        .unwrap();
    let outcome = calls("create-label", json!({ "name": "b" })).await;
    assert!(
        matches!(outcome, Err(CallError::PolicyDenied(_))),
        "{outcome:?}"
    );
    calls("list-labels", json!({})).await.unwrap();
}

/// An approval request is shown to a human; a dry run is shown to the agent.
#[tokio::test]
async fn dry_run_taints_and_an_approval_request_does_not() {
    let update = |action: &str| {
        parse_policy(&format!(
            "version: '1'\nrules:\n  - {{ name: r, action: {action}, match: {{ tools: [update-prompt] }} }}\n  \
             - {{ name: wary, action: deny, when: tainted }}"
        ))
    };
    for (action, taints) in [("approve", false), ("dry_run", true)] {
        let upstream = MockUpstream::start(|_| json_response("{}")).await;
        let dispatcher = dispatcher_with_approvals(&upstream, ApprovalDefaults::default())
            .with_policy(WatchedValue::fixed(update(action)));
        let args = json!({ "prompt_id": "p", "name": "n" })
            .as_object()
            .unwrap()
            .clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "update-prompt", args)
            .await;
        let went_on = matches!(outcome, Err(CallError::ApprovalRequired(_)) | Ok(_));
        assert!(went_on && upstream.count() == 1, "{action}: {outcome:?}");
        let tainted = dispatcher
            .taint()
            .is_tainted(&operator(), &RequestInfo::local())
            .await;
        assert_eq!(tainted, taints, "{action}");
    }
}
