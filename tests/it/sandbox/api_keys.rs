//! API keys: shown once, masked afterwards, one rotation at a time.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

/// Creates a key in a workspace; returns the response.
async fn create_key(portkey: &Portkey, more: Value) -> Value {
    let mut body =
        json!({ "name": "Nightly", "scopes": ["logs.list"], "workspace_id": "ws-shared" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    portkey.post("/api-keys/workspace/service", body).await
}

fn key_path(answer: &Value) -> String {
    format!("/api-keys/{}", answer["id"].as_str().unwrap())
}

#[tokio::test]
async fn key_is_shown_once_and_masked_afterwards() {
    let portkey = Portkey::start().await;
    let answer = create_key(&portkey, json!({})).await;
    assert_eq!(answer["object"], "api-key");
    let secret = answer["key"].as_str().unwrap();
    let path = key_path(&answer);
    let mut read = portkey.get(&path).await;
    let head = &secret[..2];
    let tail = &secret[secret.len() - 3..];
    assert_eq!(read["key"], format!("{head}*****{tail}"));
    assert_eq!(read["type"], "workspace-service");
    assert_eq!(read["status"], "active");
    assert_eq!(read["expiry_enforced"], 0);
    assert_eq!(read["allow_config_override"], Value::Null);
    assert_eq!(
        read["defaults"],
        json!({ "metadata": null, "config_id": null })
    );
    assert_ne!(read["workspace_id"], "ws-shared", "a slug becomes a UUID");
    // The live API does not list when usage is reset.
    assert_eq!(
        read.as_object_mut()
            .unwrap()
            .shift_remove("next_usage_reset_at"),
        Some(json!(null))
    );
    let list = portkey.get("/api-keys?workspace_id=ws-shared").await;
    assert_eq!(
        (list["total"].as_u64(), list["data"][1].clone()),
        (Some(2), read)
    );
    assert!(!list.to_string().contains(secret));

    assert_eq!(portkey.delete(&path).await, json!({}));
    assert_eq!(
        portkey.refusal(Method::GET, &path, Value::Null).await.1,
        "AB08"
    );
}

#[tokio::test]
async fn invalid_key_types_and_bodies_are_rejected() {
    let portkey = Portkey::start().await;
    let body = |more: Value| {
        let mut body = json!({ "name": "K", "scopes": ["logs.list"] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let user = json!({ "workspace_id": "ws-shared", "user_id": "a-user" });
    for (pair, body, status, named) in [
        ("organisation/user", body(user.clone()), 400, "sub-type"),
        ("team/service", body(json!({})), 400, "type"),
        (
            "workspace/user",
            body(json!({ "workspace_id": "ws-shared" })),
            400,
            "user_id",
        ),
        (
            "workspace/service",
            body(json!({ "workspace_id": "ws-none" })),
            403,
            "workspace",
        ),
        (
            "organisation/service",
            json!({ "name": "K" }),
            400,
            "scopes",
        ),
        ("organisation/service", json!({ "scopes": [] }), 400, "name"),
        (
            "organisation/service",
            body(json!({ "alert_emails": ["nobody"] })),
            400,
            "alert_emails",
        ),
        (
            "organisation/service",
            body(json!({ "rate_limits": [{ "type": "requests", "unit": "tpd", "value": 1 }] })),
            400,
            "rate_limits[0].unit",
        ),
        (
            "organisation/service",
            body(json!({ "rotation_policy": { "key_transition_period_ms": 1_799_999 } })),
            400,
            "key_transition_period_ms",
        ),
    ] {
        let path = format!("/api-keys/{pair}");
        let (got, _, message) = portkey.refusal(Method::POST, &path, body.clone()).await;
        assert_eq!(got, status, "{pair}: {body}");
        assert!(message.contains(named), "{pair}: {message}");
    }
    let answer = portkey.post("/api-keys/workspace/user", body(user)).await;
    assert_eq!(portkey.get(&key_path(&answer)).await["user_id"], "a-user");
}

#[tokio::test]
async fn update_sets_keeps_or_clears_fields() {
    let portkey = Portkey::start().await;
    let full = json!({
        "rate_limits": [{ "type": "tokens", "unit": "rpw", "value": 9 }],
        "usage_limits": { "type": "cost", "credit_limit": 10 },
        "alert_emails": ["platform-team@example.com"],
        "expires_at": "2027-01-31T12:00:00Z",
        "rotation_policy": { "rotation_period": "weekly" },
        "defaults": { "metadata": { "stage": "test" }, "config_id": "pc-trial-split" },
    });
    let path = key_path(&create_key(&portkey, full.clone()).await);
    assert_eq!(
        portkey.put(&path, json!({ "name": "Kept" })).await,
        json!({})
    );
    let kept = portkey.get(&path).await;
    assert_eq!(kept["usage_limits"]["credit_limit"], 10);
    for field in ["rate_limits", "alert_emails", "expires_at"] {
        assert_eq!(kept[field], full[field], "{field}");
    }
    assert_eq!(kept["rotation_policy"]["rotation_period"], "weekly");
    for field in [
        "rate_limits",
        "usage_limits",
        "alert_emails",
        "expires_at",
        "rotation_policy",
    ] {
        portkey.put(&path, json!({ (field): null })).await;
        assert_eq!(portkey.get(&path).await[field], Value::Null, "{field}");
    }
    let change = json!({ "defaults": { "config_id": null, "allow_config_override": false }, "scopes": ["a"] });
    portkey.put(&path, change).await;
    let read = portkey.get(&path).await;
    let defaults = json!({ "metadata": { "stage": "test" }, "config_id": null,
        "allow_config_override": false });
    assert_eq!(read["defaults"], defaults);
    assert_eq!(read["allow_config_override"], 0);
    assert_eq!(read["scopes"], json!(["a"]));
    for field in ["name", "scopes", "defaults"] {
        let refusal = portkey
            .refusal(Method::PUT, &path, json!({ (field): null }))
            .await;
        assert!(refusal.0 == 400 && refusal.2.contains(field), "{refusal:?}");
    }
}

#[tokio::test]
async fn second_rotation_during_a_transition_is_rejected() {
    let portkey = Portkey::start().await;
    let answer = create_key(&portkey, json!({})).await;
    let path = key_path(&answer);
    let rotate = format!("{path}/rotate");
    let short = json!({ "key_transition_period_ms": 1_000 });
    assert_eq!(portkey.refusal(Method::POST, &rotate, short).await.0, 400);

    let half_an_hour = json!({ "key_transition_period_ms": 1_800_000 });
    let rotated = portkey.post(&rotate, half_an_hour).await;
    assert_eq!(rotated["id"], answer["id"]);
    assert_ne!(rotated["key"], answer["key"]);
    let until = rotated["key_transition_expires_at"].as_str().unwrap();
    let refusal = portkey.refusal(Method::POST, &rotate, json!({})).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (409, "AB07"));
    assert!(refusal.2.contains(until), "{}", refusal.2);

    let masked = portkey.get(&path).await["key"].clone();
    assert!(
        rotated["key"]
            .as_str()
            .unwrap()
            .ends_with(&masked.as_str().unwrap()[7..])
    );
    // Each write takes a second of the sandbox's time.
    for _ in 0..1_800 {
        portkey.put(&path, json!({ "name": "Busy" })).await;
    }
    assert_ne!(
        portkey.post(&rotate, json!({})).await["key"],
        rotated["key"]
    );
}

#[tokio::test]
async fn keys_are_filtered_and_served_under_both_versions() {
    let portkey = Portkey::start().await;
    let all = portkey.get("/api-keys").await;
    let names = string_column(&all["data"], "name");
    assert!(names.contains(&"Platform automation") && names.contains(&"Evaluation runs"));
    let research = portkey.get("/api-keys?workspace_id=ws-research").await;
    assert_eq!(
        string_column(&research["data"], "name"),
        ["Evaluation runs", "Research notebooks"]
    );
    let id = research["data"][0]["id"].as_str().unwrap();
    let found = portkey.get(&format!("/api-keys?ids=none,{id}")).await;
    assert_eq!(found["data"], json!([research["data"][0]]));
    assert_eq!(
        portkey
            .refusal(Method::GET, "/api-keys/evaluation-runs", Value::Null)
            .await
            .0,
        404
    );
    let v2 = portkey
        .sandbox
        .base_url()
        .replace("/v1", &format!("/v2/api-keys/{id}"));
    let key = ("x-portkey-api-key", portkey_sandbox::DEFAULT_API_KEY);
    let answer = portkey
        .client
        .get(v2)
        .header(key.0, key.1)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn usage_reset_reactivates_an_exhausted_key() {
    let portkey = Portkey::start().await;
    let list = portkey.get("/api-keys?workspace_id=ws-research").await;
    let path = key_path(&list["data"][0]);
    for (change, status) in [
        (json!({ "name": "Runs" }), "exhausted"),
        (json!({ "reset_usage": false }), "exhausted"),
        (json!({ "reset_usage": true }), "active"),
    ] {
        portkey.put(&path, change.clone()).await;
        assert_eq!(portkey.get(&path).await["status"], status, "{change}");
    }
    assert!(portkey.get(&path).await["last_reset_at"].is_string());
}

#[tokio::test]
async fn key_of_a_deleted_user_is_forbidden() {
    let portkey = Portkey::start().await;
    let reader = "0a5d0000-0000-4000-8000-00000000ada4";
    let body = json!({ "name": "Own", "scopes": ["logs.list"], "workspace_id": "ws-research",
        "user_id": reader });
    let path = key_path(&portkey.post("/api-keys/workspace/user", body).await);
    let before = portkey.get("/api-keys").await["total"].as_u64().unwrap();
    portkey.delete(&format!("/admin/users/{reader}")).await;
    assert_eq!(portkey.get("/api-keys").await["total"], before - 1);
    for (method, path, body) in [
        (Method::GET, path.clone(), Value::Null),
        (Method::PUT, path.clone(), json!({ "name": "N" })),
        (Method::POST, format!("{path}/rotate"), Value::Null),
    ] {
        let refusal = portkey.refusal(method.clone(), &path, body).await;
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (403, "AB03"),
            "{method} {path}"
        );
    }
    let never = portkey
        .refusal(Method::GET, "/api-keys/none", Value::Null)
        .await;
    assert_eq!(never.0, 404, "a key that never was is missing");
}
