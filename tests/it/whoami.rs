//! `whoami`: its conclusions from the responses to its reads.

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    policy::PolicyFile,
    process::{command, run, run_cli},
    server::StdioServer,
    upstream::{MockUpstream, http_response},
};

/// Starts an upstream that permits some lists, and rejects the rest.
async fn start_upstream(open: &'static [&'static str]) -> String {
    let answer = async move |uri: Uri| {
        if open.iter().any(|path| uri.path().ends_with(path)) {
            let item = json!({ "id": "a", "workspace_id": "0f0e0d0c-0000-4000-8000-000000000001" });
            return (StatusCode::OK, Json(json!({ "data": [item], "total": 1 })));
        }
        let refused = json!({ "message": "no", "errorCode": "AB03" });
        (
            StatusCode::FORBIDDEN,
            Json(json!({ "success": false, "data": refused })),
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    format!("http://{address}/v1")
}

async fn call_whoami(open: &'static [&'static str]) -> Value {
    let url = start_upstream(open).await;
    let asked = move || run(&["call", "whoami", "--api-key", "k", "--base-url", &url]);
    let output = tokio::task::spawn_blocking(asked).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn key_kind_follows_from_its_readable_lists() {
    struct Case {
        readable: &'static [&'static str],
        key: &'static str,
        workspace: Value,
        plan: &'static str,
    }

    let enterprise = "enterprise";
    let refused = "unknown";
    let workspace = json!("0f0e0d0c-0000-4000-8000-000000000001");
    let cases = [
        Case {
            readable: &[
                "/workspaces",
                "/integrations",
                "/users",
                "/organisation/defaults",
            ],
            key: "organisation_admin",
            workspace: Value::Null,
            plan: enterprise,
        },
        Case {
            readable: &["/configs", "/integrations"],
            key: "workspace_or_admin",
            workspace: workspace.clone(),
            plan: refused,
        },
        Case {
            readable: &["/configs", "/users"],
            key: "workspace_or_admin",
            workspace: workspace.clone(),
            plan: enterprise,
        },
        // The only workspace that the key lists.
        Case {
            readable: &["/workspaces", "/configs"],
            key: "workspace",
            workspace: json!("a"),
            plan: refused,
        },
        Case {
            readable: &["/workspaces", "/configs", "/users"],
            key: "workspace_or_admin",
            workspace: workspace.clone(),
            plan: enterprise,
        },
        Case {
            readable: &[],
            key: "unknown",
            workspace: Value::Null,
            plan: refused,
        },
    ];
    for Case {
        readable,
        key,
        workspace,
        plan,
    } in cases
    {
        let result = call_whoami(readable).await;
        assert_eq!(result["portkey_key"], key, "{result}");
        assert_eq!(result["workspace_id"], workspace, "{result}");
        assert_eq!(result["plan"], plan, "{result}");
        assert!(
            result["plan_note"]
                .as_str()
                .unwrap()
                .contains("needs Enterprise"),
            "{result}"
        );
        let opened = result["may_read"]
            .as_object()
            .unwrap()
            .values()
            .filter(|one| *one == "yes");
        assert_eq!(opened.count(), readable.len(), "{result}");
        let errors = result["read_errors"].as_object().unwrap();
        assert!(errors.values().all(|error| error == "403 AB03"), "{result}");
        assert_eq!(
            errors.len() + readable.len(),
            result["may_read"].as_object().unwrap().len()
        );
    }
}

/// An invalid key is reported, and fails the command.
#[tokio::test]
async fn rejected_key_is_reported_and_fails_the_command() {
    let body = r#"{"success":false,"data":{"message":"Unauthorised Request","errorCode":"AB05"}}"#;
    let json = "content-type: application/json\r\n";
    let upstream =
        MockUpstream::start(move |_| http_response("401 Unauthorized", json, body)).await;
    let url = upstream.base_url.clone();
    let asked = move || run(&["call", "whoami", "--api-key", "k", "--base-url", &url]);
    let output = tokio::task::spawn_blocking(asked).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["key_refused"], true, "{result}");
    assert!(
        result["portkey_key_note"]
            .as_str()
            .unwrap()
            .starts_with("refused by Portkey (401)"),
        "{result}"
    );
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("Portkey rejected the key"), "{log}");
}

/// `whoami` reads no untrusted content, so it does not taint the session.
#[test]
fn whoami_does_not_taint_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let rules = "version: '1'\nrules: [{ name: wary, action: deny, when: tainted }]";
    std::fs::write(&policy, rules).unwrap();
    let mut pipe = StdioServer::builder()
        .args(&["stdio"])
        .sandbox()
        .args(&["--policy", policy.to_str().unwrap()])
        .start();
    pipe.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#);
    pipe.receive();
    let mut failed = |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        pipe.send(&call.to_string());
        pipe.receive()["result"]["isError"].take()
    };
    assert_eq!(failed("whoami", json!({})), false);
    assert_eq!(failed("list-all-workspaces", json!({})), false);
    let second =
        json!({ "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z" });
    assert_eq!(failed("list-audit-logs", second), false);
    // A tainting call has an effect.
    assert_eq!(failed("list-all-workspaces", json!({})), true);
}

/// The embedded sandbox simulates the kind of key that its text names; a real key is not passed to
/// it.
#[test]
fn sandbox_key_kind_is_reported() {
    struct Case<'a> {
        key: &'a [&'a str],
        kind: &'static str,
        workspace: Value,
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sandbox-workspace-ws-support-bot\n").unwrap();
    let listed = run(&["call", "list-all-workspaces", "--sandbox"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let workspaces = listed["data"].as_array().unwrap();
    let id_of =
        |slug: &str| workspaces.iter().find(|one| one["slug"] == slug).unwrap()["id"].clone();
    let admin = "organisation_admin";
    let one = "workspace";
    let in_file = ["--api-key-file", file.to_str().unwrap()];
    for Case {
        key,
        kind,
        workspace,
    } in [
        Case {
            key: &[],
            kind: admin,
            workspace: Value::Null,
        },
        Case {
            key: &["--api-key", "sandbox-admin"],
            kind: admin,
            workspace: Value::Null,
        },
        Case {
            key: &["--api-key", "sandbox-workspace-ws-research"],
            kind: one,
            workspace: id_of("ws-research"),
        },
        Case {
            key: &in_file,
            kind: one,
            workspace: id_of("ws-support-bot"),
        },
        Case {
            key: &["--api-key", "sandbox-workspace-none"],
            kind: "refused",
            workspace: Value::Null,
        },
    ] {
        let output = run(&[&["call", "whoami", "--sandbox"], key].concat());
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&result["portkey_key"], &result["workspace_id"]),
            (&json!(kind), &workspace),
            "{key:?}"
        );
    }
}

/// A malformed sandbox key would otherwise have access to everything.
#[test]
fn malformed_sandbox_key_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "\"sandbox-admin\"\n").unwrap();
    let file = file.to_str().unwrap();
    let absent = folder.path().join("none");
    for given in [
        ["--api-key", "'sandbox-admin'"],
        ["--api-key", "Bearer sandbox-admin"],
        ["--api-key", "PORTKEY_API_KEY=sandbox-admin"],
        ["--api-key-file", file],
        ["--api-key-file", absent.to_str().unwrap()],
    ] {
        let (ok, _, log) = run_cli(&[&["call", "whoami", "--sandbox"], &given[..]].concat());
        assert!(!ok && log.contains("key"), "{given:?}: {log}");
    }
    // A configured real key is not passed to the sandbox.
    let output = command(&["call", "whoami", "--sandbox"])
        .env("PORTKEY_API_KEY", "Bearer pk-live")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && out.contains("Admin key"),
        "{output:?}"
    );
}

#[test]
fn missing_key_is_reported_once_and_fails_the_command() {
    let output = run(&["call", "whoami", "--base-url", "http://127.0.0.1:9/v1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["portkey_key"], "missing", "{answer}");
    assert_eq!(answer["read_errors"], json!({}), "{answer}");
    let note = answer["portkey_key_note"].as_str().unwrap();
    assert!(note.contains("PORTKEY_API_KEY"), "{note}");
    let log = String::from_utf8(output.stderr).unwrap();
    for text in [note, log.as_str()] {
        assert!(text.contains("`portkey-mcp login`"), "{text}");
    }
}

/// The report of a dry run is no response of Portkey.
#[tokio::test]
async fn reads_that_a_policy_runs_dry_tell_nothing() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: r, action: dry_run, match: { effects: [read] } }\n",
    );
    let path = policy.path().to_owned();
    let asked = move || run(&["call", "whoami", "--sandbox", "--policy", &path]);
    let output = tokio::task::spawn_blocking(asked).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["portkey_key"], &result["plan"]),
        (&json!("unknown"), &json!("unknown")),
        "{result}"
    );
    for (subject, access) in result["may_read"].as_object().unwrap() {
        assert_eq!(access, "unknown", "{subject}");
        let error = result["read_errors"][subject].as_str().unwrap();
        assert!(error.contains("dry run"), "{subject}: {error}");
    }
}
