//! `all_workspaces`: the lists of every workspace as one, each read by itself.

use serde_json::{Value, json};

use crate::support::{
    audit::read_entries,
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    process::run_cli,
};

async fn sandbox_clients(options: &[&str]) -> Vec<ConnectedClient> {
    let options = [&["--sandbox"], options].concat();
    let key = [("PORTKEY_API_KEY", "sandbox-admin")];
    connect_everywhere(&options, &key).await
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

fn slugs(workspaces: &Value) -> Vec<String> {
    let items = workspaces["data"].as_array().unwrap().iter();
    items
        .map(|item| item["slug"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn rows_are_those_of_each_workspace() {
    for client in sandbox_clients(&[]).await {
        let workspaces = slugs(&call(&client, "list-all-workspaces", json!({})).await);
        for tool in [
            "list-all-configs",
            "list-all-providers",
            "list-collections",
            "list-workspace-members",
        ] {
            let mut expected = Vec::new();
            for workspace in &workspaces {
                let list = call(&client, tool, json!({ "workspace_id": workspace })).await;
                for row in list["data"].as_array().unwrap() {
                    let id = row["id"].clone();
                    expected.push(json!({ "workspace": workspace, "id": id }));
                }
            }
            let args = json!({ "all_workspaces": true, "fields": ["id"] });
            let all = call(&client, tool, args).await;
            assert_eq!(all["data"], json!(expected), "{} {tool}", client.way);
            assert_eq!(all["returned"], expected.len());
            assert_eq!(
                all["workspaces"].as_array().unwrap().len(),
                workspaces.len(),
                "{all}"
            );
        }
        let args = json!({ "all_workspaces": true, "page_size": 1 });
        let first = call(&client, "list-all-providers", args).await;
        assert_eq!(first["returned"], workspaces.len(), "{first}");
        assert!(first["workspaces"][1]["next"].is_object(), "{first}");
        let args = json!({ "all_workspaces": true, "page_size": 1, "all": true });
        let all = call(&client, "list-all-providers", args).await;
        assert!(all["returned"].as_u64() > first["returned"].as_u64());
        assert!(all["workspaces"][1]["next"].is_null(), "{all}");
    }
}

#[test]
fn each_read_is_audited_and_decided_by_policy() {
    let shell = |args: &[&str]| -> Value {
        let key = ["--sandbox", "--api-key", "sandbox-admin"];
        let (ok, out, log) = run_cli(&[args, &key].concat());
        assert!(ok, "{log}");
        serde_json::from_str(&out).unwrap()
    };
    let all = shell(&["call", "list-all-workspaces"]);
    let mut all = all["data"].as_array().unwrap().iter();
    let research = all.find(|item| item["slug"] == "ws-research").unwrap();
    let policy = PolicyFile::with(&format!(
        "version: \"1\"\nrules:\n  - {{ name: closed, action: deny, match: {{ tools: [list-all-configs] }}, \
         when: 'has(args.workspace_id) && args.workspace_id == {}' }}\n",
        research["id"]
    ));
    let log = policy.beside("audit.jsonl");
    let all = shell(&[
        "call",
        "list-all-configs",
        "all_workspaces=true",
        "--policy",
        policy.path(),
        "--audit-log",
        &log,
    ]);
    assert_eq!(all["not_read"][0]["workspace"], "ws-research", "{all}");
    let error = all["not_read"][0]["error"].as_str().unwrap();
    assert!(error.contains("closed"), "{error}");
    assert_eq!(all["workspaces"].as_array().unwrap().len(), 2, "{all}");
    let rows = all["data"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["workspace"] == "ws-support-bot"));
    let entries = read_entries(&log);
    let tools = |name: &str| entries.iter().filter(|entry| entry["tool"] == name).count();
    assert_eq!(tools("list-all-workspaces"), 1, "{entries:?}");
    assert_eq!(tools("list-all-configs"), 3, "{entries:?}");
}

#[tokio::test]
async fn unclear_calls_are_rejected() {
    let client = sandbox_clients(&[]).await.remove(0);
    for (tool, args, says) in [
        (
            "list-all-configs",
            json!({ "all_workspaces": true, "workspace_id": "ws-shared" }),
            "excludes `workspace_id`",
        ),
        (
            "list-all-providers",
            json!({ "all_workspaces": true, "current_page": 1 }),
            "first page of each workspace",
        ),
        (
            "list-users",
            json!({ "all_workspaces": true }),
            "take `workspace_id`",
        ),
        (
            "list-all-configs",
            json!({ "all_workspaces": 7 }),
            "true or false",
        ),
        (
            "get-config",
            json!({ "slug": "pc-support-fallback", "all_workspaces": true }),
            "only tools that list take it",
        ),
    ] {
        let error = client.call(tool, args.clone()).await.unwrap_err();
        assert!(error.contains(says), "{args}: {error}");
    }
}
