//! Every kind of undo on the sandbox.

use serde_json::{Value, json};

use super::HistoryServer;

const CONFIG: &str = "pc-support-fallback";

async fn config(server: &HistoryServer) -> Value {
    let answer = server.answer("get-config", json!({ "slug": CONFIG })).await;
    let text = answer["config"].as_str();
    text.map_or_else(
        || answer["config"].clone(),
        |text| serde_json::from_str(text).unwrap(),
    )
}

#[tokio::test]
async fn last_wrong_update_takes_two_calls() {
    let server = HistoryServer::start(&[]);
    let before = config(&server).await;
    // A fragment in place of the document.
    let wrong =
        json!({ "slug": CONFIG, "config": { "targets": [{ "provider": "@openai-production" }] } });
    server.answer("update-config", wrong).await;
    assert_ne!(config(&server).await, before);
    let list_args = json!({ "limit": 1 });
    let (failed, listed) = server.call("list-changes", list_args.clone()).await;
    assert!(!failed, "{listed}");
    let change: Value = serde_json::from_str(&listed).unwrap();
    let change = &change["changes"][0];
    assert_eq!(change["tool"], "update-config");
    assert_eq!(change["target"], json!({ "slug": CONFIG }));
    assert_eq!(change["fields"], json!(["config"]));
    assert_eq!(change["outcome"], "done");
    let undo_args = json!({ "id": change["id"] });
    let (failed, undone) = server.call("undo-change", undo_args.clone()).await;
    assert!(!failed, "{undone}");
    assert_eq!(config(&server).await, before);
    // What a model writes and reads for it, without the differences that it is shown.
    let undone: Value = serde_json::from_str(&undone).unwrap();
    let diff = undone["changed"].to_string().len();
    let written = ["list-changes", "undo-change"]
        .iter()
        .map(|name| name.len())
        .sum::<usize>()
        + list_args.to_string().len()
        + undo_args.to_string().len();
    let bytes = written + listed.len() + undone.to_string().len() - diff;
    assert!(bytes <= 800, "{bytes} bytes: {listed} {undone}");
}

#[tokio::test]
async fn patch_of_a_weight_is_undone_and_redone() {
    let server = HistoryServer::start(&[]);
    let before = config(&server).await;
    let patch = json!({ "slug": CONFIG, "patch": { "config": { "retry": { "attempts": 5 } } } });
    server.answer("update-config", patch).await;
    let after = config(&server).await;
    let undone = server.undo_last().await;
    assert_eq!(undone["changed"][0]["path"], "config.retry.attempts");
    assert_eq!(config(&server).await, before);
    let changes = server.changes(json!({})).await;
    assert_eq!(changes[0]["undoes"], changes[1]["id"]);
    assert_eq!(changes[1]["undone_by"], changes[0]["id"]);
    // An undo is a change of its own, so that undoing it makes the change again.
    server.undo_last().await;
    assert_eq!(config(&server).await, after);
}

#[tokio::test]
async fn change_is_undone_once() {
    let server = HistoryServer::start(&[]);
    let patch = json!({ "slug": CONFIG, "patch": { "name": "Renamed" } });
    server.answer("update-config", patch).await;
    let id = server.last_change().await["id"].clone();
    server.answer("undo-change", json!({ "id": id })).await;
    let error = server.error("undo-change", json!({ "id": id })).await;
    assert!(error.contains("has undone it already"), "{error}");
}

#[tokio::test]
async fn change_of_a_resource_that_moved_on_is_undone_by_force_only() {
    let server = HistoryServer::start(&[]);
    let before = config(&server).await;
    let attempts =
        |n: u32| json!({ "slug": CONFIG, "patch": { "config": { "retry": { "attempts": n } } } });
    server.answer("update-config", attempts(4)).await;
    let id = server.last_change().await["id"].clone();
    server.answer("update-config", attempts(5)).await;
    let error = server.error("undo-change", json!({ "id": id })).await;
    assert!(error.contains("has changed since"), "{error}");
    assert!(error.contains("`config.retry.attempts`"), "{error}");
    assert_eq!(server.changes(json!({})).await.len(), 2, "nothing was sent");
    server
        .answer("undo-change", json!({ "id": id, "force": true }))
        .await;
    assert_eq!(config(&server).await, before);
}

#[tokio::test]
async fn change_of_another_field_stays_when_one_is_undone() {
    let server = HistoryServer::start(&[]);
    let patch = |value: Value| json!({ "slug": CONFIG, "patch": value });
    let before = config(&server).await;
    server
        .answer(
            "update-config",
            patch(json!({ "config": { "retry": { "attempts": 4 } } })),
        )
        .await;
    let id = server.last_change().await["id"].clone();
    server
        .answer("update-config", patch(json!({ "name": "Kept" })))
        .await;
    server.answer("undo-change", json!({ "id": id })).await;
    assert_eq!(config(&server).await, before);
    let now = server.answer("get-config", json!({ "slug": CONFIG })).await;
    assert_eq!(now["name"], "Kept");
}

#[tokio::test]
async fn creation_is_undone_by_deletion() {
    let server = HistoryServer::start(&[]);
    let create = json!({ "name": "Mistake", "config": { "provider": "@openai-production" }, "workspace_id": "ws-shared" });
    let created = server.answer("create-config", create).await;
    let undone = server.undo_last().await;
    assert_eq!(undone["by"], "delete-config", "{undone}");
    let change = server
        .changes(json!({ "tool": "create-config" }))
        .await
        .remove(0);
    let slug = change["created"]["slug"].clone();
    assert!(slug.is_string(), "{change} {created}");
    let error = server.error("get-config", json!({ "slug": slug })).await;
    assert!(error.contains("404"), "{error}");
    // Found by what it created, too.
    let found = server.changes(json!({ "target": slug })).await;
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test]
async fn created_workspace_label_and_key_are_deleted() {
    let creations = [
        ("create-workspace", json!({ "name": "Mistake" })),
        (
            "create-label",
            json!({ "name": "mistake", "workspace_id": "ws-shared" }),
        ),
        (
            "create-api-key",
            json!({ "type": "workspace", "sub_type": "service", "name": "Mistake",
                "workspace_id": "ws-shared", "scopes": ["logs.list"] }),
        ),
    ];
    let server = HistoryServer::start(&[]);
    for (tool, args) in creations {
        server.answer(tool, args).await;
        let undone = server.undo_last().await;
        assert_eq!(undone["by"], tool.replace("create", "delete"), "{undone}");
    }
}

#[tokio::test]
async fn created_resource_that_was_changed_is_not_deleted() {
    let server = HistoryServer::start(&[]);
    let create = json!({ "name": "Mine", "config": { "provider": "@openai-production" }, "workspace_id": "ws-shared" });
    server.answer("create-config", create).await;
    let change = server.last_change().await;
    let slug = change["created"]["slug"].clone();
    server
        .answer(
            "update-config",
            json!({ "slug": slug, "patch": { "name": "In use" } }),
        )
        .await;
    let error = server
        .error("undo-change", json!({ "id": change["id"] }))
        .await;
    assert!(error.contains("has changed since"), "{error}");
}

#[tokio::test]
async fn deletion_is_undone_by_creation() {
    let server = HistoryServer::start(&[]);
    let before = config(&server).await;
    let name = server.answer("get-config", json!({ "slug": CONFIG })).await["name"].clone();
    server
        .answer("delete-config", json!({ "slug": CONFIG }))
        .await;
    let undone = server.undo_last().await;
    assert_eq!(undone["by"], "create-config", "{undone}");
    assert!(
        undone["notes"][0].as_str().unwrap().contains("made anew"),
        "{undone}"
    );
    let change = server.last_change().await;
    let slug = change["created"]["slug"].clone();
    let restored = server.answer("get-config", json!({ "slug": slug })).await;
    assert_eq!(restored["name"], name);
    let document = match &restored["config"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        document => document.clone(),
    };
    assert_eq!(document, before);
}

#[tokio::test]
async fn deletion_of_what_needs_a_secret_says_how_to_make_it_again() {
    struct Case {
        resource: &'static str,
        create: Value,
        /// Argument of the deletion.
        handle: &'static str,
    }
    let cases = [
        Case {
            resource: "integration",
            create: json!({ "name": "Trial", "ai_provider_id": "openai", "key": "sk-trial-0123456789abcdef",
                "workspace_id": "ws-shared", "slug": "trial-openai" }),
            handle: "slug",
        },
        Case {
            resource: "virtual-key",
            create: json!({ "name": "Trial", "provider": "openai", "key": "sk-trial-0123456789abcdef",
                "workspace_id": "ws-shared", "slug": "trial-key" }),
            handle: "slug",
        },
        Case {
            resource: "secret-reference",
            create: json!({ "name": "Trial", "slug": "trial-reference", "manager_type": "hashicorp_vault",
                "secret_path": "kv/trial", "auth_config": { "vault_auth_type": "token",
                "vault_addr": "https://vault.example.com", "vault_token": "sk-trial-0123456789abcdef" } }),
            handle: "secret_reference_id",
        },
    ];
    for case in cases {
        let server = HistoryServer::start(&[]);
        let create = format!("create-{}", case.resource);
        server.answer(&create, case.create).await;
        let created = server.last_change().await["created"].clone();
        let handle = created.get("slug").unwrap_or(&created["id"]);
        assert!(handle.is_string(), "{created}");
        server
            .answer(
                &format!("delete-{}", case.resource),
                json!({ case.handle: handle }),
            )
            .await;
        let id = server.last_change().await["id"].clone();
        let error = server.error("undo-change", json!({ "id": id })).await;
        assert!(
            error.contains("The journal does not keep secrets"),
            "{error}"
        );
        assert!(error.contains(&create), "{error}");
        // No secret is in the file.
        for entry in std::fs::read_dir(server.file.parent().unwrap()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let found = bytes
                .windows(17)
                .any(|window| window == b"sk-trial-01234567");
            assert!(!found, "the key is in the journal");
        }
    }
}

#[tokio::test]
async fn changes_without_a_way_back_say_why() {
    let server = HistoryServer::start(&[]);
    let keys = server
        .answer("list-all-api-keys", json!({ "workspace_id": "ws-shared" }))
        .await;
    let key = keys["data"][0]["id"].clone();
    server.answer("rotate-api-key", json!({ "id": key })).await;
    let change = server.last_change().await;
    let error = server
        .error("undo-change", json!({ "id": change["id"] }))
        .await;
    assert!(
        error.contains("the old key cannot be brought back"),
        "{error}"
    );
    let shown = server
        .answer("get-change", json!({ "id": change["id"] }))
        .await;
    assert!(
        shown.get("answer").is_none(),
        "a key is shown once: {shown}"
    );
    server.answer("delete-api-key", json!({ "id": key })).await;
    let id = server.last_change().await["id"].clone();
    let error = server.error("undo-change", json!({ "id": id })).await;
    assert!(error.contains("the key itself is gone"), "{error}");
}

#[tokio::test]
async fn budget_of_a_workspace_is_restored() {
    let server = HistoryServer::start(&[]);
    let args = json!({ "workspace_id": "ws-research" });
    let before = server.answer("get-workspace", args.clone()).await;
    let update = json!({ "workspace_id": "ws-research", "description": "wrong",
        "usage_limits": [{ "type": "cost", "credit_limit": 12, "alert_threshold": 3 }] });
    server.answer("update-workspace", update).await;
    server.undo_last().await;
    let after = server.answer("get-workspace", args).await;
    assert_eq!(after["description"], before["description"]);
    let limits = |state: &Value| match &state["usage_limits"] {
        Value::Array(limits) if limits.is_empty() => Value::Null,
        limits => limits.clone(),
    };
    assert_eq!(limits(&after), limits(&before), "{after}");
}

#[tokio::test]
async fn prompt_version_and_live_version_are_restored() {
    let server = HistoryServer::start(&[]);
    let prompts = server
        .answer("list-prompts", json!({ "workspace_id": "ws-support-bot" }))
        .await;
    let prompt = prompts["data"][0]["id"].clone();
    let read = |version: &str| json!({ "prompt_id": prompt, "version": version });
    let before = server.answer("get-prompt", read("latest")).await;
    let live = server.answer("get-prompt", read("default")).await;
    let patch = json!({ "prompt_id": prompt, "patch": { "string": "Wrong {{name}}" } });
    server.answer("update-prompt", patch).await;
    let update = server.last_change().await;
    let wrong = server.answer("get-prompt", read("latest")).await;
    assert_eq!(wrong["string"], "Wrong {{name}}");
    let publish = json!({ "prompt_id": prompt, "version": wrong["prompt_version"] });
    server.answer("set-default-prompt-version", publish).await;
    let published = server.last_change().await;
    let shown = server
        .answer("get-change", json!({ "id": published["id"] }))
        .await;
    let changed = shown["changed"].as_array().unwrap();
    let version =
        json!({ "path": "version", "old": live["prompt_version"], "new": wrong["prompt_version"] });
    assert_eq!(changed[0], version, "{shown}");
    let text = changed.iter().find(|change| change["path"] == "string");
    let lines = text.unwrap()["diff"].as_str().unwrap();
    assert!(
        lines.contains("+Wrong {{name}}") && lines.contains("-system:"),
        "{shown}"
    );
    let undone = server.undo_last().await;
    assert_eq!(undone["by"], "set-default-prompt-version", "{undone}");
    let now = server.answer("get-prompt", read("default")).await;
    assert_eq!(now["prompt_version"], live["prompt_version"]);
    server
        .answer("undo-change", json!({ "id": update["id"] }))
        .await;
    let restored = server.answer("get-prompt", read("latest")).await;
    assert_eq!(restored["string"], before["string"]);
    assert_eq!(restored["parameters"], before["parameters"]);
}
