//! Configs: documents that are replaced as a whole, and their versions.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const SEEDED_CONFIG: &str = "/configs/pc-support-fallback";

fn parse_document(config: &Value) -> Value {
    serde_json::from_str(config["config"].as_str().expect("a text")).unwrap()
}

#[tokio::test]
async fn config_is_created_read_and_deleted() {
    let portkey = Portkey::start().await;
    let written = json!({ "retry": { "attempts": 2 }, "targets": [{ "api_key": "sk-inline" }] });
    let body = json!({ "name": "Two Tries", "workspace_id": "ws-shared", "config": written });
    let made = portkey.post("/configs", body).await;
    assert_eq!(made["success"], true);
    let slug = made["slug"].as_str().unwrap();

    let path = format!("/configs/{slug}");
    let path = path.as_str();
    let read = portkey.get(path).await;
    for field in ["id", "slug", "version_id"] {
        assert_eq!(read[field], made[field], "{field} at the top");
        assert_eq!(read[field], made["data"][field], "{field} under `data`");
    }
    assert_eq!(
        parse_document(&read),
        written,
        "the document comes back as text, and in clear"
    );
    assert_eq!(
        (read["is_default"].as_u64(), read["type"].as_str()),
        (Some(0), Some("ORG_CONFIG"))
    );
    let workspace = portkey.get("/admin/workspaces/ws-shared").await;
    assert_eq!(
        read["workspace_id"], workspace["id"],
        "a slug went in, an id comes out"
    );

    let listed = portkey.get("/configs?workspace_id=ws-shared").await;
    assert_eq!(string_column(&listed["data"], "slug"), [slug]);
    assert_eq!(
        listed["data"][0].get("config"),
        None,
        "a list has no documents"
    );
    let by_id = format!("/configs/{}", read["id"].as_str().unwrap());
    assert_eq!(
        portkey.refusal(Method::GET, &by_id, Value::Null).await.0,
        404
    );

    assert_eq!(portkey.delete(path).await, json!({}));
    for path in [path.to_owned(), format!("{path}/versions")] {
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn changed_document_adds_a_version_and_a_rename_does_not() {
    let portkey = Portkey::start().await;
    let versions = format!("{SEEDED_CONFIG}/versions");
    let before = portkey.get(&versions).await;
    // Each row continues from the previous one.
    for (change, more) in [
        (json!({ "name": "Renamed" }), 0),
        (json!({ "config": { "cache": { "mode": "simple" } } }), 1),
        (json!({ "config": { "cache": { "mode": "simple" } } }), 2),
        (json!({ "status": "archived" }), 2),
    ] {
        let answer = portkey.put(SEEDED_CONFIG, change.clone()).await;
        let listed = portkey.get(&versions).await;
        assert_eq!(
            listed["total"],
            before["total"].as_u64().unwrap() + more,
            "{change}"
        );
        let config = portkey.get(SEEDED_CONFIG).await;
        assert_eq!(
            answer["data"]["version_id"], listed["data"][0]["version_id"],
            "{change}"
        );
        for field in ["id", "slug", "version_id"] {
            assert_eq!(answer[field], config[field], "{change}: {field}");
        }
    }
    let read = portkey.get(SEEDED_CONFIG).await;
    assert_eq!(
        parse_document(&read),
        json!({ "cache": { "mode": "simple" } }),
        "nothing is merged"
    );
    assert_eq!(
        (read["name"].as_str(), read["status"].as_str()),
        (Some("Renamed"), Some("archived"))
    );
    let listed = portkey.get(&versions).await;
    let oldest = listed["data"].as_array().unwrap().last().unwrap();
    assert_eq!(
        parse_document(oldest).get("retry"),
        None,
        "the first version is as it was"
    );
    assert_eq!(oldest["name"], "Support Fallback");
}

#[tokio::test]
async fn is_default_is_ignored() {
    let portkey = Portkey::start().await;
    for field in ["isDefault", "is_default"] {
        let body = json!({ "name": "New", "workspace_id": "ws-shared", (field): 1, "config": {} });
        let made = portkey.post("/configs", body).await;
        let path = format!("/configs/{}", made["slug"].as_str().unwrap());
        portkey.put(&path, json!({ (field): 1 })).await;
        assert_eq!(portkey.get(&path).await["is_default"], 0, "{field}");
    }
}

#[tokio::test]
async fn invalid_document_is_rejected_without_a_change() {
    let portkey = Portkey::start().await;
    let before = portkey.get(SEEDED_CONFIG).await;
    for config in [
        json!({ "targets": [{ "weight": 0.5 }] }),
        json!({ "targets[0].weight": 0.5 }),
        json!({ "weight": 0.5 }),
        json!({ "strategy": { "mode": "roundrobin" }, "targets": [{ "provider": "@a" }] }),
        json!({ "cache": { "mode": "exact" } }),
    ] {
        let body = json!({ "config": config });
        let refusal = portkey.refusal(Method::PUT, SEEDED_CONFIG, body).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{config}");
        let body = json!({ "name": "N", "workspace_id": "ws-shared", "config": config });
        assert_eq!(
            portkey.refusal(Method::POST, "/configs", body).await.0,
            400,
            "{config}"
        );
    }
    assert_eq!(portkey.get(SEEDED_CONFIG).await, before);
    let unknown = json!({ "cache": { "mode": "simple" }, "budget": { "daily_limit_usd": 500.0 } });
    portkey
        .put(SEEDED_CONFIG, json!({ "config": unknown }))
        .await;
    let kept = json!({ "cache": { "mode": "simple" }, "budget": { "daily_limit_usd": 500 } });
    assert_eq!(
        parse_document(&portkey.get(SEEDED_CONFIG).await),
        kept,
        "a whole float is an integer"
    );
}

#[tokio::test]
async fn config_of_user_keys_cannot_be_deleted() {
    let portkey = Portkey::start().await;
    let workspace = "/admin/workspaces/ws-support-bot";
    let give = |config: Value| json!({ "defaults": { "user_api_key_config": config } });
    portkey
        .put(workspace, give(json!("pc-support-fallback")))
        .await;
    let refusal = portkey
        .refusal(Method::DELETE, SEEDED_CONFIG, Value::Null)
        .await;
    assert_eq!((refusal.0, refusal.1.as_str()), (409, "AB07"));
    portkey.put(workspace, give(Value::Null)).await;
    portkey.delete(SEEDED_CONFIG).await;
}

#[tokio::test]
async fn invalid_config_requests_are_rejected() {
    let portkey = Portkey::start().await;
    let create = |body: Value| (Method::POST, "/configs", body);
    for ((method, path, body), status, part) in [
        (
            create(json!({ "name": "N", "config": {}, "workspace_id": "ws-none" })),
            403,
            "ws-none",
        ),
        (
            create(json!({ "config": {}, "workspace_id": "ws-shared" })),
            400,
            "`name`",
        ),
        (
            create(json!({ "name": "N", "workspace_id": "ws-shared" })),
            400,
            "`config`",
        ),
        (
            (Method::PUT, SEEDED_CONFIG, json!({ "config": [] })),
            400,
            "`config`",
        ),
        (
            (Method::PUT, SEEDED_CONFIG, json!({ "name": null })),
            400,
            "`name`",
        ),
        (
            (Method::PUT, "/configs/pc-none", json!({ "name": "N" })),
            400,
            "No update fields provided",
        ),
        (
            (Method::GET, "/configs?workspace_id=ws-none", Value::Null),
            403,
            "ws-none",
        ),
    ] {
        let (got, _, message) = portkey.refusal(method, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {message}");
        assert!(message.contains(part), "{path} {body}: {message}");
    }
}
