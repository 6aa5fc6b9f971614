//! Undo and differences of calls that name other resources in another form than the state has.

use serde_json::{Value, json};

use super::HistoryServer;

/// A call that changes a field of a resource on the sandbox.
struct HandleCase {
    tool: &'static str,
    args: Value,
    read: &'static str,
    field: &'static str,
}

const SHARED: &str = "9e3779b9-7f4a-4000-8000-000000000001";

fn update_cases() -> Vec<HandleCase> {
    vec![
        HandleCase {
            tool: "bulk-update-mcp-integration-workspaces",
            args: json!({ "mcp_integration_id": "issue-tracker",
                "workspaces": [{ "id": "ws-shared", "enabled": false }] }),
            read: "list-mcp-integration-workspaces",
            field: "workspaces",
        },
        HandleCase {
            tool: "bulk-update-integration-workspaces",
            args: json!({ "slug": "openai-production",
                "workspaces": [{ "id": SHARED, "enabled": false }] }),
            read: "list-integration-workspaces",
            field: "workspaces",
        },
        HandleCase {
            tool: "bulk-update-input-guardrail-exclusions",
            args: json!({ "workspaces": [{ "workspace_id": "ws-research", "excluded": false }] }),
            read: "list-input-guardrail-exclusions",
            field: "workspaces",
        },
        HandleCase {
            tool: "update-prompt",
            args: json!({ "prompt_id": "pp-refund-reply", "collection_id": "co-customers" }),
            read: "get-prompt",
            field: "collection_id",
        },
        HandleCase {
            tool: "update-secret-reference",
            args: json!({ "secret_reference_id": "vertex-service-account",
                "allowed_workspaces": ["ws-research"] }),
            read: "get-secret-reference",
            field: "allowed_workspaces",
        },
    ]
}

impl HandleCase {
    /// Returns the field of the resource.
    async fn value(&self, server: &HistoryServer) -> Value {
        let mut args = self.args.clone();
        let location = [
            "mcp_integration_id",
            "slug",
            "prompt_id",
            "secret_reference_id",
        ];
        args.as_object_mut()
            .unwrap()
            .retain(|name, _| location.contains(&name.as_str()));
        server.answer(self.read, args).await[self.field].clone()
    }
}

/// Returns a list of states without what each write changes.
fn without_times(mut value: Value) -> Value {
    for item in value.as_array_mut().into_iter().flatten() {
        if let Some(fields) = item.as_object_mut() {
            fields.retain(|name, _| !name.ends_with("_at"));
        }
    }
    value
}

#[tokio::test]
async fn update_by_another_handle_is_undone_and_redone() {
    let server = HistoryServer::start(&[]);
    for case in update_cases() {
        let before = without_times(case.value(&server).await);
        server.answer(case.tool, case.args.clone()).await;
        let after = without_times(case.value(&server).await);
        assert_ne!(before, after, "{}", case.tool);
        let undone = server.undo_last().await;
        assert_eq!(
            without_times(case.value(&server).await),
            before,
            "{}: {undone}",
            case.tool
        );
        if case.field != "workspaces" || case.tool != "bulk-update-input-guardrail-exclusions" {
            server.undo_last().await;
            let redone = without_times(case.value(&server).await);
            assert_eq!(redone, after, "{}", case.tool);
        }
    }
}

#[tokio::test]
async fn all_workspaces_of_a_secret_are_restored_after_a_selection_and_before() {
    let server = HistoryServer::start(&[]);
    let read_args = json!({ "secret_reference_id": "vertex-service-account" });
    let state = async || {
        let state = server
            .answer("get-secret-reference", read_args.clone())
            .await;
        json!([state["allow_all_workspaces"], state["allowed_workspaces"]])
    };
    let update = |name: &str, value: Value| {
        let mut args = read_args.clone();
        args[name] = value;
        args
    };
    let all = json!([true, null]);
    assert_eq!(state().await, all);
    let selection = update("allowed_workspaces", json!([SHARED]));
    server.answer("update-secret-reference", selection).await;
    let some = json!([false, [SHARED]]);
    assert_eq!(state().await, some);
    server.undo_last().await;
    assert_eq!(state().await, all);
    server.undo_last().await;
    assert_eq!(state().await, some);
    let everything = update("allow_all_workspaces", json!(true));
    server.answer("update-secret-reference", everything).await;
    assert_eq!(state().await, all);
    server.undo_last().await;
    assert_eq!(state().await, some);
}

#[tokio::test]
async fn resource_created_by_another_handle_is_deleted() {
    let server = HistoryServer::start(&[]);
    for (tool, args) in [
        (
            "create-collection",
            json!({ "name": "Handles", "workspace_id": "ws-support-bot",
                "parent_collection_id": "co-customers" }),
        ),
        (
            "create-secret-reference",
            json!({ "name": "Handles", "slug": "handles", "manager_type": "aws_sm", "secret_path": "a/b",
                "auth_config": { "aws_auth_type": "serviceRole" }, "allowed_workspaces": ["ws-research"] }),
        ),
    ] {
        server.answer(tool, args).await;
        let undone = server.undo_last().await;
        assert!(
            undone["by"].as_str().unwrap().starts_with("delete-"),
            "{undone}"
        );
    }
}

#[tokio::test]
async fn entry_by_another_handle_is_shown_with_its_old_value() {
    let args = json!({ "slug": "openai-production",
        "workspaces": [{ "id": SHARED, "enabled": false }] });
    let dry = HistoryServer::start(&["--dry-run"]);
    let preview = dry
        .answer("bulk-update-integration-workspaces", args.clone())
        .await;
    assert_eq!(
        preview["changes"],
        json!([{ "path": "workspaces[id=ws-shared].enabled", "from": true, "to": false }]),
    );
    // What is sent stays as it was given.
    assert_eq!(preview["request"]["body"]["workspaces"][0]["id"], SHARED);

    let server = HistoryServer::start(&[]);
    server
        .answer("bulk-update-integration-workspaces", args)
        .await;
    let id = server.last_change().await["id"].clone();
    let change = server.answer("get-change", json!({ "id": id })).await;
    assert_eq!(
        change["changed"],
        json!([{ "path": "workspaces[id=ws-shared].enabled", "old": true, "new": false }]),
        "{change}"
    );
}

#[tokio::test]
async fn entry_that_no_state_has_is_no_successful_undo() {
    let server = HistoryServer::start(&[]);
    // A policy that hides the read of workspaces: the handle cannot be matched.
    let hidden = HistoryServer::start(&["--exclude-tools", "get-workspace"]);
    let args = json!({ "mcp_integration_id": "issue-tracker",
        "workspaces": [{ "id": "ws-shared", "enabled": false }] });
    for (server, is_undone) in [(&server, true), (&hidden, false)] {
        server
            .answer("bulk-update-mcp-integration-workspaces", args.clone())
            .await;
        let id = server.last_change().await["id"].clone();
        let (failed, text) = server.call("undo-change", json!({ "id": id })).await;
        assert_eq!(failed, !is_undone, "{text}");
        if failed {
            assert!(text.contains("has changed since"), "{text}");
        }
    }
}

#[tokio::test]
async fn new_entry_is_withdrawn() {
    let server = HistoryServer::start(&[]);
    for (tool, args, read, flag) in [
        (
            "bulk-update-integration-workspaces",
            json!({ "slug": "anthropic", "workspaces": [{ "id": "ws-research", "enabled": true }] }),
            "list-integration-workspaces",
            "enabled",
        ),
        (
            "bulk-update-output-guardrail-exclusions",
            json!({ "workspaces": [{ "workspace_id": "ws-shared", "excluded": true }] }),
            "list-output-guardrail-exclusions",
            "excluded",
        ),
    ] {
        server.answer(tool, args.clone()).await;
        let undone = server.undo_last().await;
        let changed = &undone["changed"][0];
        assert!(
            changed["path"].as_str().unwrap().ends_with(flag),
            "{undone}"
        );
        let mut args = args;
        args.as_object_mut().unwrap().shift_remove("workspaces");
        let state = server.answer(read, args).await;
        let entries = state["workspaces"].as_array().unwrap();
        let names = ["ws-research", SHARED];
        let is_new = |entry: &&Value| {
            let id = entry.get("id").or_else(|| entry.get("workspace_id"));
            names.contains(&id.unwrap().as_str().unwrap())
        };
        let entry = entries.iter().find(is_new).unwrap();
        assert_eq!(entry[flag], false, "{tool}: {state}");
    }
}

#[tokio::test]
async fn new_member_is_removed() {
    let server = HistoryServer::start(&[]);
    let members = async || {
        let args = json!({ "workspace_id": "ws-research" });
        server.answer("list-workspace-members", args).await["total"].clone()
    };
    let users = server.answer("list-users", json!({})).await;
    let users = users["data"].as_array().unwrap();
    let outsider = &users.iter().find(|user| user["role"] == "admin").unwrap()["id"];
    let before = members().await;
    let args =
        json!({ "workspace_id": "ws-research", "users": [{ "id": outsider, "role": "member" }] });
    server.answer("add-workspace-member", args).await;
    assert_ne!(members().await, before);
    let undone = server.undo_last().await;
    assert_eq!(undone["by"], "remove-workspace-member");
    assert_eq!(members().await, before);
}

#[tokio::test]
async fn first_limit_that_nothing_removes_is_told() {
    let server = HistoryServer::start(&[]);
    let keys = server.answer("list-all-virtual-keys", json!({})).await;
    let keys = keys["data"].as_array().unwrap();
    let key = keys
        .iter()
        .find(|key| key["usage_limits"].is_null())
        .unwrap();
    let limit = json!({ "type": "cost", "credit_limit": 10 });
    let args = json!({ "slug": key["slug"], "usage_limits": limit });
    server.answer("update-virtual-key", args).await;
    let id = server.last_change().await["id"].clone();
    let text = server.error("undo-change", json!({ "id": id })).await;
    assert!(
        text.contains("`usage_limits` had no value before"),
        "{text}"
    );
}

#[tokio::test]
async fn deletion_that_archives_is_told_as_such() {
    let server = HistoryServer::start(&[]);
    let deployments = server.answer("list-deployments", json!({})).await;
    let deployments = deployments["data"].as_array().unwrap();
    let other = deployments
        .iter()
        .find(|one| one["is_default"] == 0)
        .unwrap();
    let args = json!({ "deployment_id": other["id"] });
    server.answer("delete-deployment", args).await;
    let id = server.last_change().await["id"].clone();
    let text = server.error("undo-change", json!({ "id": id })).await;
    assert!(text.contains("Portkey has archived it"), "{text}");
    assert!(text.contains("`create-deployment` makes another"), "{text}");
}
