//! Workspaces: looked up by id or slug, and hard to delete by accident.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

#[tokio::test]
async fn a_workspace_is_found_by_id_and_by_slug() {
    let portkey = Portkey::start().await;
    let listed = portkey.get("/admin/workspaces").await;
    for workspace in listed["data"].as_array().unwrap() {
        let (id, slug) = (workspace["id"].as_str().unwrap(), workspace["slug"].as_str().unwrap());
        assert!(slug.starts_with("ws-"), "{slug}");
        let read = portkey.get(&format!("/admin/workspaces/{slug}")).await;
        assert_eq!(read, portkey.get(&format!("/admin/workspaces/{id}")).await);
        assert_eq!(read["id"], id);
    }
}

#[tokio::test]
async fn the_icon_stands_before_the_name_unless_plain_is_asked_for() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Ops", "icon": "🛠" });
    let made = portkey.post("/admin/workspaces", body).await;
    assert_eq!(made["slug"], "ws-ops");
    let path = "/admin/workspaces/ws-ops";
    assert_eq!(portkey.get(path).await["name"], "🛠 Ops");
    assert_eq!(portkey.get(&format!("{path}?name_format=plain")).await["name"], "Ops");
    portkey.put(path, json!({ "icon": "" })).await;
    assert_eq!(portkey.get(path).await["name"], "Ops");
}

#[tokio::test]
async fn limits_clear_and_defaults_merge() {
    let portkey = Portkey::start().await;
    let path = "/admin/workspaces/ws-research";
    let change = json!({ "usage_limits": null, "defaults": { "input_guardrails": ["pii"] } });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let read = portkey.get(path).await;
    assert_eq!(read["usage_limits"], Value::Null);
    assert_eq!(read["defaults"]["input_guardrails"], json!(["pii"]));
    assert_eq!(read["defaults"]["metadata"]["stage"], "experiment");
}

#[tokio::test]
async fn deletion_wants_the_name_and_force() {
    let portkey = Portkey::start().await;
    let path = "/admin/workspaces/ws-research";
    for (path, body, status) in [
        (path, Value::Null, 400),
        (path, json!({ "name": "research" }), 400),
        (path, json!({ "name": "🔬 Research" }), 400),
        (path, json!({ "name": "Research" }), 409),
        ("/admin/workspaces/ws-shared", json!({ "name": "Shared", "force_delete": true }), 400),
    ] {
        let refusal = portkey.refusal(Method::DELETE, path, body.clone()).await;
        assert_eq!(refusal.0, status, "{path} {body}: {}", refusal.2);
    }
    let body = json!({ "name": "Research", "force_delete": true });
    assert_eq!(portkey.call(Method::DELETE, path, body).await, json!({}));
    assert_eq!(portkey.refusal(Method::GET, path, Value::Null).await.0, 403);
}
