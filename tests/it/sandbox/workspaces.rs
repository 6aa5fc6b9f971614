//! Workspaces: found by id or slug, and protected from accidental deletion.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

#[tokio::test]
async fn workspace_is_found_by_id_and_by_slug() {
    let portkey = Portkey::start().await;
    let listed = portkey.get("/admin/workspaces").await;
    for workspace in listed["data"].as_array().unwrap() {
        let id = workspace["id"].as_str().unwrap();
        let slug = workspace["slug"].as_str().unwrap();
        assert!(slug.starts_with("ws-"), "{slug}");
        let read = portkey.get(&format!("/admin/workspaces/{slug}")).await;
        assert_eq!(read, portkey.get(&format!("/admin/workspaces/{id}")).await);
        assert_eq!(read["id"], id);
    }
}

#[tokio::test]
async fn icon_precedes_the_name_unless_the_plain_format_is_requested() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Ops", "icon": "🛠" });
    let made = portkey.post("/admin/workspaces", body).await;
    let path = format!("/admin/workspaces/{}", made["slug"].as_str().unwrap());
    let path = path.as_str();
    assert_eq!(portkey.get(path).await["name"], "🛠 Ops");
    assert_eq!(
        portkey.get(&format!("{path}?name_format=plain")).await["name"],
        "Ops"
    );
    portkey.put(path, json!({ "icon": "" })).await;
    assert_eq!(portkey.get(path).await["name"], "Ops");
}

#[tokio::test]
async fn limits_can_be_cleared_and_defaults_are_replaced_as_a_whole() {
    let portkey = Portkey::start().await;
    let path = "/admin/workspaces/ws-research";
    let change = json!({ "usage_limits": null, "defaults": { "input_guardrails": ["guard_plain-language"] } });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let read = portkey.get(path).await;
    assert_eq!(read["usage_limits"], Value::Null);
    assert_eq!(
        read["defaults"],
        json!({ "input_guardrails": ["guard_plain-language"] })
    );
    let output = json!({ "output_guardrails": ["guard_plain-language"] });
    portkey.put(path, json!({ "defaults": output })).await;
    assert_eq!(
        portkey.get(path).await["defaults"],
        output,
        "what is not sent is gone"
    );
    portkey.put(path, json!({ "description": "Trials" })).await;
    assert_eq!(
        portkey.get(path).await["defaults"],
        output,
        "without `defaults` they stay"
    );
}

#[tokio::test]
async fn security_settings_cannot_be_overridden() {
    let portkey = Portkey::start().await;
    let settings = json!({ "security_settings": { "membersViewLogs": false }, "name": "W" });
    for (method, path) in [
        (Method::PUT, "/admin/workspaces/ws-research"),
        (Method::POST, "/admin/workspaces"),
    ] {
        let refusal = portkey.refusal(method, path, settings.clone()).await;
        let expected = (
            400,
            "AB01".to_owned(),
            "Workspace override is not enabled".to_owned(),
        );
        assert_eq!(refusal, expected, "{path}");
    }
}

#[tokio::test]
async fn creation_source_marks_the_default_workspace() {
    let portkey = Portkey::start().await;
    for (slug, source) in [("ws-shared", "default"), ("ws-research", "api")] {
        let read = portkey.get(&format!("/admin/workspaces/{slug}")).await;
        assert_eq!(read["creation_source"], source, "{slug}");
        assert_eq!(
            read.get("status"),
            Some(&Value::Null),
            "a status is in lists only"
        );
    }
    let listed = portkey
        .get("/admin/workspaces?status=active,archived")
        .await;
    assert_eq!(
        (&listed["data"][0]["status"], &listed["total"]),
        (&json!("active"), &json!(3))
    );
}

#[tokio::test]
async fn workspace_is_created_updated_and_deleted() {
    let portkey = Portkey::start().await;
    let limit = json!({ "type": "requests", "unit": "rpm", "value": 5 });
    let body = json!({ "name": "Night Shift", "description": "Batch jobs", "rate_limits": [limit],
        "defaults": { "metadata": { "cost_centre": "9" } } });
    let made = portkey.post("/admin/workspaces", body).await;
    let path = format!("/admin/workspaces/{}", made["id"].as_str().unwrap());
    let read = portkey.get(&path).await;
    for field in [
        "id",
        "slug",
        "name",
        "defaults",
        "rate_limits",
        "is_default",
        "icon",
    ] {
        assert_eq!(read[field], made[field], "{field}");
    }
    let config = json!({ "name": "Nights", "config": {}, "workspace_id": made["id"] });
    let config = portkey.post("/configs", config).await["slug"].clone();
    let pinned = json!({ "defaults": { "user_api_key_config": config } });
    for (change, field, expected) in [
        (json!({ "name": "Nights" }), "/name", json!("Nights")),
        (json!({}), "/description", json!("Batch jobs")),
        (json!({}), "/defaults/metadata/cost_centre", json!("9")),
        (pinned, "/defaults/user_api_key_config", config.clone()),
        (
            json!({ "defaults": { "user_api_key_config": null } }),
            "/defaults/user_api_key_config",
            Value::Null,
        ),
        (json!({ "rate_limits": null }), "/rate_limits", Value::Null),
    ] {
        assert_eq!(
            portkey.put(&path, change.clone()).await,
            json!({}),
            "{change}"
        );
        assert_eq!(
            portkey.get(&path).await.pointer(field),
            Some(&expected),
            "{change} {field}"
        );
    }
    portkey
        .delete(&format!("/configs/{}", config.as_str().unwrap()))
        .await;
    portkey
        .call(Method::DELETE, &path, json!({ "name": "Nights" }))
        .await;
    let refusal = portkey.refusal(Method::GET, &path, Value::Null).await;
    assert_eq!(
        (refusal.0, refusal.1.as_str()),
        (404, "AB08"),
        "deleted, it is not found"
    );
    let users = format!("{path}/users");
    assert_eq!(
        portkey.refusal(Method::GET, &users, Value::Null).await.0,
        403,
        "nor is it open"
    );
    assert_eq!(
        portkey.get("/admin/workspaces?exact_name=Nights").await["total"],
        0
    );
}

#[tokio::test]
async fn invalid_workspace_is_rejected_with_its_field() {
    let portkey = Portkey::start().await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (
            json!({ "name": "W", "usage_limits": [{ "credit_limit": 0 }] }),
            "credit_limit",
        ),
        (
            json!({ "name": "W", "usage_limits": { "credit_limit": 5 } }),
            "usage_limits",
        ),
        (
            json!({ "name": "W", "rate_limits": [{ "unit": "rpc" }] }),
            "unit",
        ),
        (
            json!({ "name": "W", "defaults": { "metadata": { "n": 1 } } }),
            "metadata",
        ),
    ] {
        let refusal = portkey
            .refusal(Method::POST, "/admin/workspaces", body.clone())
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{body}");
        assert!(refusal.2.contains(field), "{body}: {}", refusal.2);
    }
}

#[tokio::test]
async fn deletion_requires_the_name_and_an_empty_workspace() {
    let portkey = Portkey::start().await;
    let path = "/admin/workspaces/ws-research";
    for (path, body, status) in [
        (path, Value::Null, 400),
        (path, json!({ "name": "research" }), 400),
        (path, json!({ "name": "🔬 Research" }), 400),
        (path, json!({ "name": "Research" }), 409),
        (
            path,
            json!({ "name": "Research", "force_delete": true }),
            409,
        ),
        (
            "/admin/workspaces/ws-shared",
            json!({ "name": "Shared", "force_delete": true }),
            400,
        ),
    ] {
        let refusal = portkey.refusal(Method::DELETE, path, body.clone()).await;
        assert_eq!(refusal.0, status, "{path} {body}: {}", refusal.2);
    }
    let body = json!({ "name": "Research", "force_delete": true });
    let refusal = portkey.refusal(Method::DELETE, path, body).await;
    let text = "Unable to delete. Please ensure that all Virtual Keys are deleted";
    assert_eq!((refusal.1.as_str(), refusal.2.as_str()), ("AB07", text));
    portkey.get(path).await;
}
