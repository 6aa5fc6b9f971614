//! The audit log: one entry for each call on every path, without secrets.

mod chain;
mod compact;
mod damage;
mod failure;
mod masking;
#[cfg(unix)]
mod ownership;

use std::{fs, io::Write};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    audit::read_entries,
    mcp_client::McpClient,
    process::{command, run_cli},
    requests,
    server::{ServerProcess, StdioServer, serve_sandbox},
    upstream::{MockUpstream, ResponseAction},
};

/// A temporary folder for an audit log.
struct AuditFolder(TempDir);

impl AuditFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Returns the path of the log.
    fn log_path(&self) -> String {
        self.path("audit.jsonl")
    }

    fn entries(&self) -> Vec<Value> {
        read_entries(self.log_path())
    }

    /// Writes a new key file that only its owner may read, and returns its path.
    fn write_key_file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    }

    /// Returns the sorted file names in the folder.
    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Makes an audited call from the shell in the sandbox. Returns its success and its output.
fn call_from_shell(
    folder: &AuditFolder,
    tool: &str,
    arguments: &Value,
    more: &[&str],
) -> (bool, String) {
    let log = folder.log_path();
    let arguments = arguments.to_string();
    let args = ["call", tool, &arguments, "--sandbox", "--audit-log", &log];
    let (ok, out, err) = run_cli(&[&args, more].concat());
    (ok, out + &err)
}

/// Runs `portkey-mcp audit verify` and returns its success and its output.
fn run_verify(args: &[&str]) -> (bool, String) {
    let (ok, out, err) = run_cli(&[&["audit", "verify"], args].concat());
    (ok, out + &err)
}

/// Checks that an entry has all of these fields.
fn assert_fields(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name} of {line}");
    }
}

fn create_arguments(slug: &str) -> Value {
    json!({ "name": "Mine", "slug": slug, "ai_provider_id": "openai", "key": "sk-planted" })
}

#[tokio::test]
async fn each_call_has_one_entry_whatever_its_outcome() {
    struct Case {
        tool: &'static str,
        arguments: Value,
        expected: Value,
    }

    let folder = AuditFolder::new();
    let server = serve_sandbox(&["--audit-log", &folder.log_path()]);
    let cases = [
        Case {
            tool: "list_integrations",
            arguments: json!({ "page_size": "2" }),
            expected: json!({
                "tool": "list-all-integrations", "effect": "read", "decision": "allow",
                "target": "GET /integrations?page_size=2", "arguments": { "page_size": 2 },
                "outcome": "answered", "status": 200, "retries": 0,
            }),
        },
        Case {
            tool: "create-integration",
            arguments: create_arguments("mine"),
            expected: json!({
                "tool": "create-integration", "effect": "create", "target": "POST /integrations",
                "arguments": { "name": "Mine", "slug": "mine", "ai_provider_id": "openai", "key": "***" },
                "outcome": "answered", "status": 200,
            }),
        },
        Case {
            tool: "delete-integration",
            arguments: json!({ "slug": "no-such" }),
            expected: json!({
                "target": "DELETE /integrations/no-such", "effect": "delete",
                "outcome": "refused", "status": 404, "code": "AB08",
            }),
        },
        Case {
            tool: "get-integration",
            arguments: json!({ "slugg": "sk-planted" }),
            expected: json!({
                "tool": "get-integration", "outcome": "rejected",
                "arguments": null, "target": null, "status": null,
            }),
        },
        Case {
            tool: "sk-planted",
            arguments: json!({}),
            expected: json!({ "tool": "_unknown", "effect": null, "outcome": "rejected" }),
        },
    ];
    for Case {
        tool, arguments, ..
    } in &cases
    {
        requests::call_request(&server, tool, arguments.clone())
            .send()
            .await
            .unwrap();
    }
    assert!(server.terminate().0.success());
    let lines = folder.entries();
    assert_eq!(lines.len(), cases.len());
    for ((line, Case { expected, .. }), seq) in lines.iter().zip(&cases).zip(1..) {
        assert_fields(line, expected);
        let common = json!({
            "seq": seq, "principal": "local", "auth": "local", "client": "test",
            "transport": "http", "protocol": "2026-07-28", "session": null,
        });
        assert_fields(line, &common);
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0, "{line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        for name in ["request_id", "call", "arguments_hmac", "prev", "hash"] {
            assert!(
                line[name].as_str().is_some_and(|text| text.len() >= 16),
                "{name} of {line}"
            );
        }
    }
    assert!(
        !fs::read_to_string(folder.log_path())
            .unwrap()
            .contains("sk-planted")
    );
    assert!(run_verify(&[&folder.log_path()]).0);
}

#[tokio::test]
async fn entry_names_caller_transport_and_protocol() {
    let folder = AuditFolder::new();
    let log = folder.log_path();
    let server = ServerProcess::http()
        .sandbox()
        .auth("key")
        .args(&["--audit-log", &log])
        .start();
    let mut caller = McpClient::new(&server.url, "pk-planted");
    caller.modern("list-labels", &json!({})).await.unwrap();
    caller.initialize().await;
    let params = json!({ "name": "list-labels", "arguments": {} });
    caller.call("tools/call", params).await;
    assert!(server.terminate().0.success());

    let mut pipe = StdioServer::builder()
        .sandbox()
        .args(&["--audit-log", &log])
        .start();
    pipe.send(&initialize_request().to_string());
    pipe.receive();
    let params = json!({ "name": "list-labels", "arguments": {} });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    pipe.send(&request.to_string());
    pipe.receive();
    assert!(pipe.end().0.success());

    assert!(call_from_shell(&folder, "list-labels", &json!({}), &[]).0);

    let lines = folder.entries();
    let ours = format!("portkey-mcp/{}", env!("CARGO_PKG_VERSION"));
    let expected = [
        json!({ "auth": "key", "transport": "http", "protocol": "2026-07-28", "client": "test", "session": null }),
        json!({ "auth": "key", "transport": "http", "protocol": "2025-11-25", "client": "test" }),
        json!({ "auth": "local", "transport": "stdio", "protocol": "2025-11-25", "session": "stdio" }),
        json!({ "auth": "local", "transport": "stdio", "protocol": null, "client": ours, "session": null }),
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(&expected) {
        assert_fields(line, expected);
        assert_eq!(line["outcome"], "answered");
    }
    // The recorded session identifier opens no session.
    let session = lines[1]["session"].as_str().unwrap();
    assert!(session.len() == 16 && !caller.session.unwrap().contains(session));
    assert!(lines[0]["principal"].as_str().unwrap().starts_with("key-"));
    assert!(run_verify(&[&log]).0);
}

fn initialize_request() -> Value {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

#[tokio::test]
async fn failed_and_cancelled_calls_have_an_entry() {
    let folder = AuditFolder::new();
    let log = folder.log_path();
    // No upstream key is configured.
    let (ok, said) = {
        let (ok, out, err) = run_cli(&["call", "create-label", "name=a", "--audit-log", &log]);
        (ok, out + &err)
    };
    assert!(!ok && said.contains("PORTKEY_API_KEY"), "{said}");

    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let url = upstream.base_url.as_str();
    let mut pipe = StdioServer::builder()
        .upstream(url)
        .api_key("pk-x")
        .args(&["--audit-log", &log])
        .start();
    pipe.send(&initialize_request().to_string());
    pipe.receive();
    let params = json!({ "name": "delete-label", "arguments": { "label_id": "x" } });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    pipe.send(&request.to_string());
    upstream.wait_for_requests(1).await;
    for message in [
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }),
    ] {
        pipe.send(&message.to_string());
    }
    pipe.receive();
    assert!(pipe.end().0.success());
    let lines = folder.entries();
    let [keyless, cancelled] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_fields(
        keyless,
        &json!({ "tool": "create-label", "outcome": "failed", "status": null }),
    );
    assert!(
        keyless["error"]
            .as_str()
            .unwrap()
            .contains("PORTKEY_API_KEY"),
        "{keyless}"
    );
    assert_fields(
        cancelled,
        &json!({ "tool": "delete-label", "outcome": "unknown", "status": null }),
    );
}

#[tokio::test]
async fn denied_call_has_an_entry_with_its_rule() {
    let folder = AuditFolder::new();
    let tokens = folder.path("tokens.toml");
    let scope = ["--scope", "portkey:read", "--toolset", "labels"];
    let new = ["token", "new", "--name", "reader", "--file", &tokens];
    let (ok, token, err) = run_cli(&[&new[..], &scope].concat());
    assert!(ok, "{err}");
    let server = serve_sandbox(&[
        "--auth",
        "token",
        "--auth-file",
        &tokens,
        "--audit-log",
        &folder.log_path(),
    ]);
    for (tool, arguments) in [
        ("create-label", json!({ "name": "a" })),
        ("list-all-integrations", json!({})),
    ] {
        let request = requests::call_request(&server, tool, arguments).bearer_auth(token.trim());
        request.send().await.unwrap();
    }
    assert!(server.terminate().0.success());
    let lines = folder.entries();
    for (line, rule) in lines.iter().zip(["scope", "toolset"]) {
        let expected = json!({
            "principal": "reader", "auth": "token", "decision": "deny", "rule": rule,
            "outcome": "withheld", "status": null,
        });
        assert_fields(line, &expected);
    }
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn entry_has_upstream_status_and_retries() {
    use crate::support::upstream::{http_response, json_response};
    let upstream = MockUpstream::start(|n| match n {
        0 | 1 => http_response("503 Service Unavailable", "", ""),
        2 => json_response("{}"),
        _ => http_response(
            "409 Conflict",
            "x-portkey-request-id: req-7\r\n",
            r#"{"errorCode":"AB07"}"#,
        ),
    })
    .await;
    let folder = AuditFolder::new();
    let url = upstream.base_url.clone();
    let log = folder.log_path();
    let run = move |tool: &'static str, argument: &'static str| {
        let args = [
            "call",
            tool,
            argument,
            "--base-url",
            &url,
            "--api-key",
            "pk-x",
            "--audit-log",
            &log,
        ];
        command(&args).output().unwrap()
    };
    tokio::task::spawn_blocking(move || {
        run("get-integration", "slug=a");
        run("delete-integration", "slug=a");
    })
    .await
    .unwrap();
    let lines = folder.entries();
    assert_fields(
        &lines[0],
        &json!({ "outcome": "answered", "status": 200, "retries": 2 }),
    );
    let refused = json!({
        "outcome": "refused", "status": 409, "code": "AB07", "retries": 0,
        "upstream_request_id": "req-7",
    });
    assert_fields(&lines[1], &refused);
    assert!(
        !fs::read_to_string(folder.log_path())
            .unwrap()
            .contains("pk-x")
    );
}

#[test]
fn equal_arguments_have_equal_digests_under_one_key() {
    let digests = |folder: &AuditFolder, more: &[&str]| -> Vec<String> {
        for arguments in [
            r#"{"page_size":1,"current_page":0}"#,
            r#"{"current_page":0,"page_size":1}"#,
            "{}",
        ] {
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert!(call_from_shell(folder, "list-all-integrations", &arguments, more).0);
        }
        let lines = folder.entries();
        lines
            .iter()
            .map(|line| line["arguments_hmac"].as_str().unwrap().to_owned())
            .collect()
    };
    let plain = AuditFolder::new();
    let keyed = AuditFolder::new();
    let key = keyed.write_key_file("audit.key", "0123456789abcdef0123456789abcdef\n");
    let found = digests(&keyed, &["--audit-key-file", &key]);
    assert!(found[0] == found[1] && found[0] != found[2], "{found:?}");
    // Without a key that outlives the process, nobody can test guesses, not even the server.
    let found = digests(&plain, &[]);
    assert!(found[0] != found[1], "{found:?}");
}

#[test]
fn log_on_standard_streams_goes_to_standard_error() {
    let (ok, out, err) = run_cli(&["call", "list-labels", "--sandbox", "--audit-log", "-"]);
    assert!(ok && !out.contains("\"seq\""), "{out}");
    let line = err
        .lines()
        .find(|line| line.starts_with("{\"seq\":2,"))
        .unwrap();
    assert_fields(
        &serde_json::from_str(line).unwrap(),
        &json!({ "tool": "list-labels" }),
    );
}

#[test]
fn long_arguments_are_omitted_and_counted() {
    let folder = AuditFolder::new();
    let description = "x".repeat(70_000);
    let arguments = json!({ "name": "a", "description": description });
    call_from_shell(&folder, "create-label", &arguments, &[]);
    let line = folder.entries().remove(0);
    assert!(line["arguments"].is_null(), "{line}");
    assert!(
        line["arguments_omitted_bytes"].as_u64().unwrap() > 70_000,
        "{line}"
    );
}

/// A write is sent, its response never arrives, and the process is killed.
#[tokio::test]
async fn write_interrupted_by_a_kill_is_recorded_at_the_next_start() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let folder = AuditFolder::new();
    let log = folder.log_path();
    for sync in ["always", "never"] {
        let mut server = ServerProcess::http()
            .upstream(&upstream.base_url)
            .api_key("pk-x")
            .args(&["--audit-log", &log, "--audit-sync", sync])
            .start();
        let before = upstream.count();
        let request =
            requests::call_request(&server, "create-integration", create_arguments("mine"));
        let asked = tokio::spawn(request.send());
        upstream.wait_for_requests(before + 1).await;
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        asked.abort();
    }
    // The next start records the interrupted writes, once.
    for _ in 0..2 {
        assert!(call_from_shell(&folder, "list-labels", &json!({}), &[]).0);
    }
    let lines = folder.entries();
    let outcomes: Vec<_> = lines
        .iter()
        .map(|line| (&line["tool"], &line["outcome"], &line["duration_ms"]))
        .collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    for (at, (tool, outcome, took)) in outcomes.into_iter().enumerate() {
        let interrupted = at < 2;
        let expected = if interrupted {
            "create-integration"
        } else {
            "list-labels"
        };
        assert_eq!(tool, expected);
        assert_eq!(outcome == "unknown", interrupted);
        assert_eq!(took.is_null(), interrupted);
    }
    assert_eq!(lines[0]["arguments"]["key"], "***");
    assert!(run_verify(&[&log]).0);
}
