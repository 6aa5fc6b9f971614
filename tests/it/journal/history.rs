//! What the history has, who sees it, and on which way it came.

use serde_json::{Value, json};

use super::{HistoryServer, WITH_JOURNAL};
use crate::support::{
    policy::PolicyFile,
    process::command,
    requests::{call_request, client, send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
};

const CONFIG: &str = "pc-support-fallback";

fn rename(name: &str) -> Value {
    json!({ "slug": CONFIG, "name": name })
}

async fn listed_tools(server: &ServerProcess) -> Vec<Value> {
    let (_, message) = send_request(stateless_request(server, "tools/list", json!({}))).await;
    message["result"]["tools"].as_array().unwrap().clone()
}

#[tokio::test]
async fn history_is_listed_with_a_journal_only() {
    const NAMES: [&str; 3] = ["get-change", "list-changes", "undo-change"];
    let without = listed_tools(&serve_sandbox(&[])).await;
    assert!(
        without
            .iter()
            .all(|tool| !NAMES.contains(&tool["name"].as_str().unwrap()))
    );
    let server = HistoryServer::start(&[]);
    let with = listed_tools(&server.server).await;
    let ours: Vec<_> = with
        .iter()
        .filter(|tool| NAMES.contains(&tool["name"].as_str().unwrap()))
        .collect();
    assert_eq!(ours.len(), 3);
    let bytes: usize = ours.iter().map(|tool| tool.to_string().len()).sum();
    assert!(bytes <= 1_300, "{bytes} bytes: {ours:?}");
    let read_only = HistoryServer::start(&["--read-only"]);
    let names: Vec<_> = listed_tools(&read_only.server).await;
    assert!(names.iter().all(|tool| tool["name"] != "undo-change"));
}

#[tokio::test]
async fn server_without_a_journal_says_so() {
    let server = serve_sandbox(&[]);
    let (failed, text) = super::call(&server, "list-changes", json!({})).await;
    assert!(
        failed && text.contains("there is no history here"),
        "{text}"
    );
}

#[tokio::test]
async fn changes_are_filtered_and_paged() {
    let server = HistoryServer::start(&[]);
    for name in ["One", "Two", "Three"] {
        server.answer("update-config", rename(name)).await;
    }
    let label = json!({ "name": "new-label", "workspace_id": "ws-shared" });
    server.answer("create-label", label).await;
    let page = server.answer("list-changes", json!({ "limit": 3 })).await;
    let ids = |page: &Value| -> Vec<String> {
        let changes = page["changes"].as_array().unwrap();
        changes
            .iter()
            .map(|change| change["id"].to_string())
            .collect()
    };
    assert_eq!(ids(&page).len(), 3);
    assert_eq!(page["changes"][0]["tool"], "create-label");
    let rest = server.answer("list-changes", page["next"].clone()).await;
    assert_eq!(ids(&rest).len(), 1);
    assert!(rest.get("next").is_none());
    let count = async |filter: Value| server.changes(filter).await.len();
    assert_eq!(count(json!({ "tool": "update-config" })).await, 3);
    assert_eq!(count(json!({ "target": CONFIG })).await, 3);
    assert_eq!(count(json!({ "target": "pc-support" })).await, 0);
    assert_eq!(count(json!({ "outcome": "failed" })).await, 0);
    assert_eq!(
        count(json!({ "since": "1h", "until": "2999-01-01" })).await,
        4
    );
    assert_eq!(count(json!({ "until": "2001-01-01" })).await, 0);
    let error = server
        .error("list-changes", json!({ "outcome": "odd" }))
        .await;
    assert!(error.contains("pending, done"), "{error}");
    let error = server
        .error("list-changes", json!({ "before": "c-0" }))
        .await;
    assert!(error.contains("there is no such change"), "{error}");
}

#[tokio::test]
async fn change_is_shown_with_what_it_changed() {
    let server = HistoryServer::start(&[]);
    let before = server.answer("get-config", json!({ "slug": CONFIG })).await;
    server.answer("update-config", rename("Shown")).await;
    let id = server.last_change().await["id"].clone();
    let shown = server.answer("get-change", json!({ "id": id })).await;
    assert_eq!(shown["arguments"]["name"], "Shown");
    assert_eq!(shown["before"]["name"], before["name"]);
    assert_eq!(
        shown["changed"],
        json!([{ "path": "name", "old": before["name"], "new": "Shown" }])
    );
    assert_eq!(shown["caller"]["principal"], "local");
    assert_eq!(shown["caller"]["transport"], "http");
}

#[tokio::test]
async fn refused_write_is_rejected_and_a_denied_one_leaves_nothing() {
    let policy = PolicyFile::with(
        "version: '1'\nrules:\n- { name: no, action: deny, match: { tools: [delete-config] } }\n\
         - { name: dry, action: dry_run, match: { tools: [update-label] } }\n",
    );
    let server = HistoryServer::start(&["--policy", policy.path()]);
    server
        .error("update-config", json!({ "slug": "pc-none", "name": "x" }))
        .await;
    server
        .error("delete-config", json!({ "slug": CONFIG }))
        .await;
    server
        .error("update-config", json!({ "slug": CONFIG, "name": 3 }))
        .await;
    let changes = server.changes(json!({})).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["outcome"], "rejected");
    let error = server
        .error("undo-change", json!({ "id": changes[0]["id"] }))
        .await;
    assert!(error.contains("it changed nothing"), "{error}");
    let dry = HistoryServer::start(&["--dry-run"]);
    dry.answer("update-config", rename("Dry")).await;
    assert!(dry.changes(json!({})).await.is_empty());
}

#[tokio::test]
async fn policy_hides_the_history() {
    let policy = PolicyFile::with("version: '1'\nhide: [undo-change, list-changes]\n");
    let server = HistoryServer::start(&["--policy", policy.path()]);
    let names = listed_tools(&server.server).await;
    assert!(names.iter().all(|tool| tool["name"] != "undo-change"));
    assert!(names.iter().any(|tool| tool["name"] == "get-change"));
    let error = server.error("list-changes", json!({})).await;
    assert!(error.contains("hidden by the policy"), "{error}");
}

#[tokio::test]
async fn undo_takes_the_policy_of_the_call_that_it_makes() {
    let policy = PolicyFile::with(
        "version: '1'\nrules:\n- { name: keep, action: deny, match: { tools: [delete-config] } }\n",
    );
    let server = HistoryServer::start(&["--policy", policy.path()]);
    let create = json!({ "name": "Mistake", "config": { "provider": "@openai-production" }, "workspace_id": "ws-shared" });
    server.answer("create-config", create).await;
    let id = server.last_change().await["id"].clone();
    let error = server.error("undo-change", json!({ "id": id })).await;
    assert!(error.contains("`keep`"), "{error}");
}

#[tokio::test]
async fn callers_see_the_changes_of_their_own_key() {
    let server = HistoryServer::start_from(ServerProcess::http().sandbox().auth("key"));
    let call = async |key: &str, tool: &str, args: Value| {
        let request = call_request(&server.server, tool, args).header("x-portkey-api-key", key);
        let (_, message) = send_request(request).await;
        message["result"].clone()
    };
    let first = "sandbox-key-first-0123456789";
    let second = "sandbox-key-second-0123456789";
    let update = call(first, "update-config", rename("First")).await;
    assert_ne!(update["isError"], true, "{update}");
    let listed = call(first, "list-changes", json!({})).await;
    let id = listed["structuredContent"]["changes"][0]["id"].clone();
    assert!(id.is_string(), "{listed}");
    let other = call(second, "list-changes", json!({})).await;
    assert_eq!(other["structuredContent"]["changes"], json!([]), "{other}");
    for tool in ["get-change", "undo-change"] {
        let refused = call(second, tool, json!({ "id": id })).await;
        let text = refused["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("no such change"), "{text}");
    }
}

#[tokio::test]
async fn rest_writes_are_in_the_history() {
    let server = HistoryServer::start(&["--rest"]);
    let base = server.server.url.trim_end_matches("/mcp").to_owned();
    let sent = client()
        .put(format!("{base}/v1/configs/{CONFIG}"))
        .header("content-type", "application/json")
        .body(r#"{"name":"By REST"}"#)
        .send()
        .await
        .unwrap();
    assert!(sent.status().is_success(), "{}", sent.status());
    let change = server.last_change().await;
    assert_eq!(change["tool"], "update-config");
    let shown = server
        .answer("get-change", json!({ "id": change["id"] }))
        .await;
    assert_eq!(shown["caller"]["transport"], "rest");
    server.undo_last().await;
    let now = server.answer("get-config", json!({ "slug": CONFIG })).await;
    assert_ne!(now["name"], "By REST");
}

#[tokio::test]
async fn shell_lists_shows_and_undoes() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = ServerProcess::sandbox_api().start();
    let run = |args: &[&str]| {
        let mut command = command(args);
        command
            .envs(WITH_JOURNAL.iter().copied())
            .env("XDG_STATE_HOME", folder.path())
            .env("HOME", folder.path())
            .args(["--api-key", "any", "--base-url", &sandbox.url]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {text}{error}");
        text
    };
    run(&[
        "call",
        "update-config",
        "slug=pc-support-fallback",
        "name=Shell",
    ]);
    let list = run(&["changes", "list"]);
    assert!(
        list.contains("update-config  slug=pc-support-fallback"),
        "{list}"
    );
    let id = list.split("  ").nth(1).unwrap().to_owned();
    assert!(run(&["changes", "show", &id]).contains("\"Shell\""));
    assert!(run(&["changes", "undo", &id]).contains(&format!("\"undid\": \"{id}\"")));
    let list = run(&["changes", "list", "--all"]);
    assert!(list.contains(&format!("undoes {id}")), "{list}");
    // The hint at older ones is on standard error.
    let list = run(&["changes", "list", "--all", "--limit", "1"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    let read = run(&["call", "get-config", "slug=pc-support-fallback"]);
    assert!(!read.contains("\"Shell\""), "{read}");
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let state = folder.path().join("portkey-mcp");
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("journal.db")), 0o600);
    }
}
