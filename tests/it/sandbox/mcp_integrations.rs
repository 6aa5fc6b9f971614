//! MCP integrations: upstream servers, their capabilities and workspace access.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn mcp_integration_is_found_by_id_and_by_slug() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "New Server", "url": "https://example.com/mcp",
        "auth_type": "none", "transport": "http", "workspace_id": "ws-shared",
        "configurations": { "custom_headers": { "x-tenant": "tenant-0001" }, "timeout": 5 } });
    let made = portkey.post("/mcp-integrations", body).await;
    let id = made["id"].as_str().unwrap();
    let slug = made["slug"].as_str().unwrap();
    let read = portkey.get(&format!("/mcp-integrations/{slug}")).await;
    assert_eq!(read, portkey.get(&format!("/mcp-integrations/{id}")).await);
    assert_eq!(read["type"], "workspace");
    assert_eq!(read["status"], "active");
    assert_eq!(read["description"], Value::Null);
    assert_eq!(
        read["configurations"]["timeout"], 5,
        "what is not declared is kept"
    );
    assert_ne!(
        read["configurations"]["custom_headers"]["x-tenant"],
        "tenant-0001"
    );

    let listed = portkey.get("/mcp-integrations?search=new+server").await;
    assert_eq!(listed["data"][0]["workspaces_count"], 1);
    assert_eq!(
        portkey.delete(&format!("/mcp-integrations/{id}")).await,
        json!({})
    );
    for handle in [id, slug] {
        let path = format!("/mcp-integrations/{handle}");
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn capabilities_are_counted_by_type_and_toggled_by_name() {
    let portkey = Portkey::start().await;
    let path = "/mcp-integrations/issue-tracker/capabilities";
    let all = portkey.get(path).await;
    let counts = all["counts"].as_object().unwrap();
    let sum: u64 = counts
        .values()
        .map(|count| count["total"].as_u64().unwrap())
        .sum();
    assert_eq!(all["total"], sum);
    for (kind, count) in [
        ("tool", "tools"),
        ("prompt", "prompts"),
        ("resource_template", "resource_templates"),
    ] {
        let some = portkey.get(&format!("{path}?type={kind}")).await;
        assert_eq!(some["total"], counts[count]["total"], "{kind}");
        assert!(
            string_column(&some["data"], "type")
                .iter()
                .all(|given| *given == kind)
        );
        assert_eq!(some["counts"], all["counts"], "the counts are of all");
    }

    let switch = |name: &str, enabled: bool| json!({ "capabilities": [{ "name": name, "type": "tool", "enabled": enabled }] });
    let enabled = |answer: &Value| answer["counts"]["tools"]["enabled"].as_u64().unwrap();
    assert_eq!(
        portkey.put(path, switch("get_issue", false)).await,
        json!({ "success": true })
    );
    assert_eq!(enabled(&portkey.get(path).await) + 1, enabled(&all));
    portkey.put(path, switch("get_issue", true)).await;
    assert_eq!(enabled(&portkey.get(path).await), enabled(&all));

    let partly = json!({ "capabilities": [
        { "name": "get_issue", "type": "tool", "enabled": false },
        { "name": "get_issue", "type": "prompt", "enabled": false },
    ] });
    let refusal = portkey.refusal(Method::PUT, path, partly).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (404, "AB08"));
    assert_eq!(
        enabled(&portkey.get(path).await),
        enabled(&all),
        "nothing was switched"
    );
    let template = json!({ "capabilities": [
        { "name": "issue", "type": "resource_template", "enabled": false }] });
    assert_eq!(portkey.refusal(Method::PUT, path, template).await.0, 400);
}

#[tokio::test]
async fn sync_replaces_capabilities_and_keeps_their_toggles() {
    let portkey = Portkey::start().await;
    let path = "/mcp-integrations/issue-tracker";
    let before = portkey.get(&format!("{path}/metadata")).await;
    assert_eq!(before["server_version"], "2.4.0");
    let news = json!({
        "server_info": { "name": "issue-tracker", "version": "3.0.0" },
        "capabilities": [
            { "name": "close_issue", "type": "tool", "title": "Close" },
            { "name": "reopen_issue", "type": "tool" },
        ],
    });
    assert_eq!(portkey.post(&format!("{path}/sync"), news).await, json!({}));
    let after = portkey.get(&format!("{path}/metadata")).await;
    assert_eq!(after["server_version"], "3.0.0");
    assert_eq!(after["protocol_version"], before["protocol_version"]);
    assert_eq!(after["sync_status"], "synced");
    assert_ne!(after["last_synced_at"], before["last_synced_at"]);

    let capabilities = portkey.get(&format!("{path}/capabilities")).await;
    assert_eq!(
        string_column(&capabilities["data"], "name"),
        ["close_issue", "reopen_issue"]
    );
    assert_eq!(
        capabilities["data"][0]["enabled"], false,
        "it was off before"
    );
    assert_eq!(capabilities["data"][0]["title"], "Close");
    assert_eq!(capabilities["data"][1]["enabled"], true);

    portkey.post(&format!("{path}/sync"), Value::Null).await;
    assert_eq!(
        portkey.get(&format!("{path}/capabilities")).await["total"],
        2
    );
}

#[tokio::test]
async fn connection_test_reports_its_outcome() {
    let portkey = Portkey::start().await;
    for (slug, reached) in [("issue-tracker", true), ("old-wiki", false)] {
        let path = format!("/mcp-integrations/{slug}");
        let report = portkey.post(&format!("{path}/test"), Value::Null).await;
        assert_eq!(report["success"], reached, "{slug}");
        assert_eq!(report["url"], portkey.get(&path).await["url"], "{slug}");
        assert_eq!(report["error"].is_null(), reached, "{slug}");
        assert_eq!(report["status_code"].is_null(), !reached, "{slug}");
    }
}

#[tokio::test]
async fn workspace_access_has_two_formats_and_merges_or_replaces() {
    let portkey = Portkey::start().await;
    let path = "/mcp-integrations/issue-tracker/workspaces";
    let change = json!({ "workspaces": [{ "id": "ws-research", "enabled": true },
        { "id": "ws-shared", "enabled": false }],
        "global_workspace_access": { "enabled": true } });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let old = portkey.get(path).await;
    let new = portkey.get(&format!("{path}?version=2")).await;
    assert_eq!(old["workspaces"], new["data"]);
    assert_eq!(new["total"], 3);
    assert_eq!(new["global_workspace_access"]["enabled"], true);
    let read = portkey.get("/mcp-integrations/issue-tracker").await;
    assert_eq!(read["global_workspace_access"]["enabled"], true);
    let enabled: Vec<bool> = new["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["enabled"].as_bool().unwrap())
        .collect();
    let workspaces = portkey.get("/admin/workspaces").await;
    let [shared, research, support] = string_column(&workspaces["data"], "id")[..] else {
        panic!()
    };
    assert_eq!(
        string_column(&new["data"], "id"),
        [shared, support, research],
        "UUIDs"
    );
    assert_eq!(enabled, [false, true, true]);

    let replace = json!({ "workspaces": [{ "id": "ws-shared", "enabled": true }],
        "override_existing_workspace_access": true, "global_workspace_access": null });
    portkey.put(path, replace).await;
    let left = portkey.get(path).await;
    assert_eq!(string_column(&left["workspaces"], "id"), [shared]);
    assert_eq!(left["global_workspace_access"], Value::Null);
}
