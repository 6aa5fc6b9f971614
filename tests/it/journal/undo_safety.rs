//! Undos that would take something from others, and that are refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{HistoryServer, WITH_JOURNAL, call};
use crate::support::{
    form_client::{FormClient, FormReaction, connect_to},
    policy::PolicyFile,
    process::command,
    server::ServerProcess,
    upstream::{MockUpstream, ResponseAction, http_response},
};

const CONFIG: &str = "pc-support-fallback";

fn rename(name: &str) -> Value {
    json!({ "slug": CONFIG, "name": name })
}

async fn name_of_config(server: &HistoryServer) -> Value {
    server.answer("get-config", json!({ "slug": CONFIG })).await["name"].clone()
}

#[tokio::test]
async fn created_collection_with_a_prompt_of_others_is_deleted_by_force_only() {
    let server = HistoryServer::start(&[]);
    let create = json!({ "name": "Shelf", "workspace_id": "ws-support-bot" });
    server.answer("create-collection", create.clone()).await;
    let change = server.last_change().await;
    let collection = change["created"]["id"].clone();
    let prompts = server
        .answer("list-prompts", json!({ "workspace_id": "ws-support-bot" }))
        .await;
    let prompt = prompts["data"][0]["id"].clone();
    let moved = json!({ "prompt_id": prompt, "patch": { "collection_id": collection } });
    server.answer("update-prompt", moved).await;
    let error = server
        .error("undo-change", json!({ "id": change["id"] }))
        .await;
    assert!(
        error.contains("in use") && error.contains("force"),
        "{error}"
    );
    server
        .answer("get-prompt", json!({ "prompt_id": prompt }))
        .await;
    // An empty one is deleted.
    server.answer("create-collection", create).await;
    let undone = server.undo_last().await;
    assert_eq!(undone["by"], "delete-collection", "{undone}");
}

#[tokio::test]
async fn created_workspace_with_a_config_is_not_deleted() {
    let server = HistoryServer::start(&[]);
    server
        .answer("create-workspace", json!({ "name": "Shared by now" }))
        .await;
    let change = server.last_change().await;
    let config = json!({ "name": "Inside", "workspace_id": change["created"]["id"],
        "config": { "retry": { "attempts": 2 } } });
    server.answer("create-config", config).await;
    let error = server
        .error("undo-change", json!({ "id": change["id"] }))
        .await;
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test]
async fn name_that_was_changed_again_is_kept() {
    let server = HistoryServer::start(&[]);
    server.answer("update-config", rename("One")).await;
    let id = server.last_change().await["id"].clone();
    server.answer("update-config", rename("Two")).await;
    let error = server.error("undo-change", json!({ "id": id })).await;
    assert!(error.contains("has changed since"), "{error}");
    assert!(error.contains("`name`"), "{error}");
    assert_eq!(name_of_config(&server).await, "Two");
}

#[tokio::test]
async fn deletion_is_not_undone_while_the_upstream_fails() {
    let sandbox = ServerProcess::sandbox_api().start();
    let address: SocketAddr = sandbox.url.split('/').nth(2).unwrap().parse().unwrap();
    let failure = Arc::new(Mutex::new(None));
    let fails = failure.clone();
    let upstream = MockUpstream::start_by(move |_, _| match *fails.lock().unwrap() {
        None => ResponseAction::Forward(address),
        Some(status) => {
            let headers = "content-type: application/json\r\n";
            http_response(status, headers, "{\"message\":\"no\"}")
        }
    })
    .await;
    let server = HistoryServer::start_from(
        ServerProcess::http()
            .upstream(&upstream.base_url)
            .api_key("any")
            .args(&["--retries", "0"]),
    );
    server
        .answer("delete-config", json!({ "slug": CONFIG }))
        .await;
    let id = server.last_change().await["id"].clone();
    for status in ["500 Internal Server Error", "403 Forbidden"] {
        let before = upstream.count();
        *failure.lock().unwrap() = Some(status);
        let text = server.error("undo-change", json!({ "id": id })).await;
        assert!(text.contains("not known that it is gone"), "{text}");
        let requests = upstream.requests_after(before);
        assert!(requests.iter().all(|request| request.method == "GET"));
    }
    *failure.lock().unwrap() = None;
    let undone = server.answer("undo-change", json!({ "id": id })).await;
    assert_eq!(undone["by"], "create-config", "{undone}");
}

#[tokio::test]
async fn change_is_undone_once_by_several_callers() {
    let server = HistoryServer::start(&[]);
    server
        .answer("delete-config", json!({ "slug": CONFIG }))
        .await;
    let id = server.last_change().await["id"].clone();
    let undo = || server.call("undo-change", json!({ "id": id }));
    let results: [(bool, String); 4] = tokio::join!(undo(), undo(), undo(), undo()).into();
    let done = results.iter().filter(|(failed, _)| !failed).count();
    assert_eq!(done, 1, "{results:?}");
    let refused = results.iter().filter(|(failed, _)| *failed);
    for (_, text) in refused {
        assert!(text.contains("undone"), "{text}");
    }
    let sent = server.changes(json!({ "tool": "create-config" })).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
}

/// Makes a call that waits for a form, changes the config meanwhile, and approves.
async fn approve_after(
    server: &HistoryServer,
    (tool, args): (&'static str, Value),
    meanwhile: Value,
) -> (bool, String) {
    let human = FormClient::new(true);
    let permits = Arc::new(Semaphore::new(0));
    human.set_reaction(FormReaction::ApproveLater(permits.clone()));
    let session = connect_to(&server.server, &human).await;
    let waiting = session.call_text(tool, args);
    let change = async {
        while human.request_count() == 0 {
            tokio::task::yield_now().await;
        }
        server.answer("update-config", meanwhile).await;
        permits.add_permits(1);
    };
    tokio::join!(waiting, change).0
}

#[tokio::test]
async fn undo_that_waits_for_approval_keeps_what_changed_meanwhile() {
    let server = HistoryServer::start(&[]);
    let first = name_of_config(&server).await;
    drop(server);
    let policy = PolicyFile::with(&format!(
        "version: '1'\nrules:\n- {{ name: ask, action: approve, match: {{ tools: [update-config] }}, \
         when: 'has(args.name) && args.name == {first}' }}\n"
    ));
    let server = HistoryServer::start(&["--policy", policy.path()]);
    server.answer("update-config", rename("One")).await;
    let id = server.last_change().await["id"].clone();
    let undo = ("undo-change", json!({ "id": id }));
    let (done, text) = approve_after(&server, undo, rename("Two")).await;
    assert!(!done && text.contains("has changed"), "{text}");
    assert_eq!(name_of_config(&server).await, "Two");
}

#[tokio::test]
async fn patch_that_waits_for_approval_keeps_what_changed_meanwhile() {
    let policy = PolicyFile::with(
        "version: '1'\nrules:\n- { name: ask, action: approve, match: { tools: [update-config] }, \
         when: 'has(args.name) && args.name == \"Asked\"' }\n",
    );
    let server = HistoryServer::start(&["--policy", policy.path()]);
    let attempts = |n: u32| json!({ "config": { "retry": { "attempts": n } } });
    let mut patch = attempts(2);
    patch["name"] = "Asked".into();
    let update = ("update-config", json!({ "slug": CONFIG, "patch": patch }));
    let mut meanwhile = attempts(3);
    meanwhile["config"]["request_timeout"] = 9_000.into();
    let meanwhile = json!({ "slug": CONFIG, "patch": meanwhile });
    let (done, text) = approve_after(&server, update, meanwhile).await;
    assert!(!done && text.contains("while the call waited"), "{text}");
    let now = server.answer("get-config", json!({ "slug": CONFIG })).await;
    assert!(now["config"].to_string().contains("9000"), "{now}");
}

#[tokio::test]
async fn change_is_shown_as_the_policies_of_now_permit() {
    let sandbox = ServerProcess::sandbox_api().start();
    let server =
        HistoryServer::start_from(ServerProcess::http().upstream(&sandbox.url).api_key("any"));
    server.answer("update-config", rename("Shown")).await;
    let id = server.last_change().await["id"].clone();
    let show = async |rule: &str| {
        let policy = PolicyFile::with(&format!("version: '1'\nrules:\n- {rule}\n"));
        let other = ServerProcess::http()
            .upstream(&sandbox.url)
            .api_key("any")
            .variables(WITH_JOURNAL)
            .args(&["--journal", server.file.to_str().unwrap()])
            .args(&["--policy", policy.path()])
            .start();
        let (failed, text) = call(&other, "get-change", json!({ "id": id })).await;
        assert!(!failed, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let denied = show(
        "{ name: no, action: deny, match: { tools: [get-config] }, \
         when: 'args.slug == \"pc-support-fallback\"' }",
    )
    .await;
    assert!(denied.get("before").is_none(), "{denied}");
    assert!(denied.get("changed").is_none(), "{denied}");
    let redacted =
        show("{ name: mask, match: { tools: [get-config, update-config] }, redact: [name] }").await;
    assert_eq!(
        redacted["before"]["name"], "[redacted by policy]",
        "{redacted}"
    );
    assert_eq!(
        redacted["arguments"]["name"], "[redacted by policy]",
        "{redacted}"
    );
    assert!(!redacted.to_string().contains("Shown"), "{redacted}");
}

#[tokio::test]
async fn shell_says_what_it_does_not_find() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = ServerProcess::sandbox_api().start();
    let file = folder.path().join("journal.db");
    let run = |key: &str, args: &[&str]| {
        let output = command(args)
            .envs(WITH_JOURNAL.iter().copied())
            .env("HOME", folder.path())
            .args(["--api-key", key, "--base-url", &sandbox.url])
            .args(["--journal", file.to_str().unwrap()])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (done, text) = run("first", &["changes", "list"]);
    assert!(!done && text.contains("there is no journal"), "{text}");
    assert!(!file.exists());
    let update = [
        "call",
        "update-config",
        "slug=pc-support-fallback",
        "name=Shell",
    ];
    assert!(run("first", &update).0);
    let (_, text) = run("second", &["changes", "list"]);
    assert!(text.contains("--all shows those of all keys"), "{text}");
    let (done, text) = run("first", &["changes", "list", "--tool", "no-such-tool"]);
    assert!(!done && text.contains("no-such-tool"), "{text}");
    let (_, list) = run("first", &["changes", "list"]);
    let id = list.split("  ").nth(1).unwrap().to_owned();
    let (done, text) = run("first", &["changes", "undo", &id[..6]]);
    assert!(done && text.contains(&id), "{text}");
}

#[tokio::test]
async fn undo_without_an_id_names_it() {
    let server = HistoryServer::start(&[]);
    let error = server.error("undo-change", json!({})).await;
    assert!(error.contains("`id`") || error.contains("id: "), "{error}");
    assert!(!error.contains("nothing to change"), "{error}");
}

#[tokio::test]
async fn values_that_a_policy_redacts_are_not_stored() {
    let policy = PolicyFile::with(
        "version: '1'\nrules:\n- { name: mask, match: { tools: [get-guardrail] }, \
         redact: ['checks[].parameters', 'data.checks[].parameters'] }\n",
    );
    let server = HistoryServer::start(&["--policy", policy.path()]);
    let guardrail = json!({ "guardrail_id": "guard_personal-data" });
    server.answer("get-guardrail", guardrail).await;
    let patch = json!({ "guardrail_id": "guard_personal-data",
        "patch": [{ "op": "replace", "path": "/checks/1/name", "value": "Shorter" }] });
    server.answer("update-guardrail", patch).await;
    let id = server.last_change().await["id"].clone();
    let shown = server.answer("get-change", json!({ "id": id })).await;
    let checks = shown["arguments"]["checks"].as_array().unwrap();
    assert!(!checks.is_empty());
    for check in checks {
        assert_eq!(check["parameters"], "[redacted by policy]", "{shown}");
    }
    assert!(
        !shown["changed"].to_string().contains("maxWords"),
        "{shown}"
    );
    let undone = server.answer("undo-change", json!({ "id": id })).await;
    assert_eq!(undone["changed"].as_array().unwrap().len(), 1, "{undone}");
}
