//! `whoami`: its conclusions from the responses to its reads.

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    process::{StdioServer, run, run_cli},
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
    let enterprise = "enterprise";
    let refused = "unknown";
    let workspace = json!("0f0e0d0c-0000-4000-8000-000000000001");
    let cases: [(&[&str], &str, Value, &str); 6] = [
        (
            &[
                "/workspaces",
                "/integrations",
                "/users",
                "/organisation/defaults",
            ],
            "organisation_admin",
            Value::Null,
            enterprise,
        ),
        (
            &["/configs", "/integrations"],
            "workspace_or_admin",
            workspace.clone(),
            refused,
        ),
        (
            &["/configs", "/users"],
            "workspace_or_admin",
            workspace.clone(),
            enterprise,
        ),
        // The only workspace that the key lists.
        (
            &["/workspaces", "/configs"],
            "workspace",
            json!("a"),
            refused,
        ),
        (
            &["/workspaces", "/configs", "/users"],
            "workspace_or_admin",
            workspace.clone(),
            enterprise,
        ),
        (&[], "unknown", Value::Null, refused),
    ];
    for (open, key, workspace, plan) in cases {
        let told = call_whoami(open).await;
        assert_eq!(told["portkey_key"], key, "{told}");
        assert_eq!(told["workspace_id"], workspace, "{told}");
        assert_eq!(told["plan"], plan, "{told}");
        assert!(
            told["plan_note"]
                .as_str()
                .unwrap()
                .contains("needs Enterprise"),
            "{told}"
        );
        let opened = told["may_read"]
            .as_object()
            .unwrap()
            .values()
            .filter(|one| *one == "yes");
        assert_eq!(opened.count(), open.len(), "{told}");
        let errors = told["read_errors"].as_object().unwrap();
        assert!(errors.values().all(|error| error == "403 AB03"), "{told}");
        assert_eq!(
            errors.len() + open.len(),
            told["may_read"].as_object().unwrap().len()
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
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["key_refused"], true, "{told}");
    assert!(
        told["portkey_key_note"]
            .as_str()
            .unwrap()
            .starts_with("refused by Portkey (401)"),
        "{told}"
    );
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("Portkey refuses the key"), "{log}");
}

/// `whoami` reads no untrusted content, so it does not taint the session.
#[test]
fn whoami_does_not_taint_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let rules = "version: '1'\nrules: [{ name: wary, action: deny, when: tainted }]";
    std::fs::write(&policy, rules).unwrap();
    let mut pipe =
        StdioServer::start(&["stdio", "--sandbox", "--policy", policy.to_str().unwrap()]);
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
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sandbox-workspace-ws-support-bot\n").unwrap();
    let listed = run(&["call", "list-all-workspaces", "--sandbox"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let workspaces = listed["data"].as_array().unwrap();
    let id_of =
        |slug: &str| workspaces.iter().find(|one| one["slug"] == slug).unwrap()["id"].clone();
    let (admin, one) = ("organisation_admin", "workspace");
    let in_file = ["--api-key-file", file.to_str().unwrap()];
    for (key, kind, workspace) in [
        (&[][..], admin, Value::Null),
        (&["--api-key", "a-real-key"], admin, Value::Null),
        (&["--api-key", "sandbox-admin"], admin, Value::Null),
        (
            &["--api-key", "sandbox-workspace-ws-research"],
            one,
            id_of("ws-research"),
        ),
        (&in_file, one, id_of("ws-support-bot")),
        (
            &["--api-key", "sandbox-workspace-none"],
            "refused",
            Value::Null,
        ),
    ] {
        let output = run(&[&["call", "whoami", "--sandbox"], key].concat());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&told["portkey_key"], &told["workspace_id"]),
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
    let (file, absent) = (file.to_str().unwrap(), folder.path().join("none"));
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
    let (ok, out, log) = run_cli(&["call", "whoami", "--sandbox", "--api-key", "Bearer pk-live"]);
    assert!(ok && out.contains("Admin key"), "{out}{log}");
}
