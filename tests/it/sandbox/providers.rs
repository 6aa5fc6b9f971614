//! Providers: the use of an integration by a workspace.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn provider_is_created_read_and_deleted_in_its_workspace() {
    let portkey = Portkey::start().await;
    let workspaces = portkey.get("/admin/workspaces").await;
    let research = workspaces["data"][1]["id"].as_str().unwrap();
    let body = json!({
        "name": "Trial Run", "integration_id": "openai-production", "workspace_id": research,
        "note": null, "rate_limits": { "type": "requests", "unit": "rpm", "value": 5 },
        "usage_limits": { "type": "cost", "credit_limit": 10, "alert_threshold": 8 },
    });
    let made = portkey.post("/providers", body).await;
    let slug = made["slug"].as_str().unwrap();

    let here = format!("/providers/{slug}?workspace_id=ws-research");
    let read = portkey.get(&here).await;
    assert_eq!(read["id"], made["id"]);
    let by_id = format!(
        "/providers/{}?workspace_id=ws-research",
        made["id"].as_str().unwrap()
    );
    assert_eq!(portkey.get(&by_id).await, read, "found by its UUID as well");
    assert_eq!(read["status"], "active");
    assert_eq!(read["integration_id"], "openai-production");
    assert_eq!(read["rate_limits"][0]["value"], 5);
    assert_eq!(read["usage_limits"]["credit_limit"], 10);
    assert_eq!(read["usage_limits"]["periodic_reset"], Value::Null);
    assert_eq!(read["note"], Value::Null);
    assert_eq!(read["expires_at"], Value::Null);
    let listed = portkey
        .get(&format!("/providers?workspace_id={research}"))
        .await;
    assert!(listed["data"].as_array().unwrap().contains(&read));

    let elsewhere = format!("/providers/{slug}?workspace_id=ws-shared");
    assert_eq!(
        portkey
            .refusal(Method::GET, &elsewhere, Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(portkey.delete(&here).await, json!({}));
    assert_eq!(
        portkey.refusal(Method::GET, &here, Value::Null).await.0,
        404
    );
}

#[tokio::test]
async fn invalid_provider_is_rejected() {
    let portkey = Portkey::start().await;
    let body = |integration: &str, workspace: &str, slug: &str| {
        json!({ "name": "P", "slug": slug, "integration_id": integration,
            "workspace_id": workspace })
    };
    for (body, status, code) in [
        (body("openai-legacy", "ws-shared", "p"), 403, "AB03"),
        (body("azure-eu", "ws-shared", "p"), 403, "AB03"),
        (body("bedrock-research", "ws-shared", "p"), 403, "AB03"),
        (body("anthropic", "ws-none", "p"), 403, "AB03"),
        (body("missing", "ws-shared", "p"), 404, "AB08"),
        (body("anthropic", "ws-research", "gemini"), 409, "AB07"),
        (body("anthropic", "ws-shared", "p q"), 400, "AB01"),
        (
            json!({ "workspace_id": "ws-shared", "integration_id": "anthropic" }),
            400,
            "AB01",
        ),
    ] {
        let refusal = portkey
            .refusal(Method::POST, "/providers", body.clone())
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (status, code), "{body}");
    }
    // A slug of one workspace is free in another.
    portkey
        .post("/providers", body("anthropic", "ws-shared", "gemini"))
        .await;
}

#[tokio::test]
async fn provider_status_follows_its_integration() {
    let portkey = Portkey::start().await;
    let path = "/providers/openai-production?workspace_id=ws-research";
    let access =
        |enabled: bool| json!({ "workspaces": [{ "id": "ws-research", "enabled": enabled }] });
    assert_eq!(portkey.get(path).await["status"], "active");
    portkey
        .put("/integrations/openai-production/workspaces", access(false))
        .await;
    assert_eq!(portkey.get(path).await["status"], "expired");
    portkey
        .put("/integrations/openai-production/workspaces", access(true))
        .await;
    assert_eq!(portkey.get(path).await["status"], "active");
    portkey.delete("/integrations/openai-production").await;
    assert_eq!(portkey.get(path).await["status"], "expired");
    let successor = json!({ "name": "O", "slug": "openai-production", "key": "k",
        "ai_provider_id": "openai", "workspace_id": "ws-research" });
    portkey.post("/integrations", successor).await;
    assert_eq!(
        portkey.get(path).await["status"],
        "expired",
        "a namesake is not the same"
    );
}

#[tokio::test]
async fn rate_limits_are_accepted_as_an_object_or_a_list() {
    let portkey = Portkey::start().await;
    let rate = |value: u8| json!({ "type": "requests", "unit": "rpm", "value": value });
    let body = json!({ "name": "Rated", "integration_id": "anthropic", "rate_limits": [rate(5)],
        "workspace_id": "ws-shared" });
    let made = portkey.post("/providers", body).await;
    let path = format!(
        "/providers/{}?workspace_id=ws-shared",
        made["slug"].as_str().unwrap()
    );
    assert_eq!(portkey.get(&path).await["rate_limits"], json!([rate(5)]));
    portkey.put(&path, json!({ "rate_limits": rate(6) })).await;
    assert_eq!(portkey.get(&path).await["rate_limits"], json!([rate(6)]));
}

#[tokio::test]
async fn usage_reset_reactivates_an_exhausted_provider() {
    let portkey = Portkey::start().await;
    let path = "/providers/claude-trials?workspace_id=ws-research";
    for (change, status) in [
        (json!({ "name": "Claude" }), "exhausted"),
        (json!({ "reset_usage": false }), "exhausted"),
        (json!({ "reset_usage": true }), "active"),
    ] {
        portkey.put(path, change.clone()).await;
        assert_eq!(portkey.get(path).await["status"], status, "{change}");
    }
}

#[tokio::test]
async fn update_names_its_workspace_in_the_query_or_the_body() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "One", "workspace_id": "ws-research" });
    portkey.put("/providers/gemini", body).await;
    portkey
        .put(
            "/providers/gemini?workspace_id=ws-research",
            json!({ "note": "two" }),
        )
        .await;
    let read = portkey
        .get("/providers/gemini?workspace_id=ws-research")
        .await;
    assert_eq!(
        (read["name"].as_str(), read["note"].as_str()),
        (Some("One"), Some("two"))
    );
    for (field, value) in [("note", Value::Null), ("usage_limits", Value::Null)] {
        let body = json!({ (field): value, "workspace_id": "ws-research" });
        assert_eq!(
            portkey
                .refusal(Method::PUT, "/providers/gemini", body)
                .await
                .0,
            400,
            "{field}"
        );
    }
}

#[tokio::test]
async fn configurations_are_included_only_on_request() {
    let portkey = Portkey::start().await;
    let path = "/providers/azure?workspace_id=ws-support-bot";
    assert_eq!(portkey.get(path).await.get("configurations"), None);
    let read = portkey
        .get(&format!("{path}&include_configurations=true"))
        .await;
    assert_eq!(read["configurations"]["azure_resource_name"], "example-eu");
    let list = portkey.get("/providers?workspace_id=ws-support-bot").await;
    assert!(string_column(&list["data"], "slug").contains(&"azure"));
}

#[tokio::test]
async fn expiry_must_be_a_date_with_a_time() {
    let portkey = Portkey::start().await;
    let path = "/providers/gemini?workspace_id=ws-research";
    for (instant, status) in [
        ("2027-01-31T12:00:00Z", 200),
        ("2027-01-31T12:00:00.123Z", 200),
        ("2027-01-31T12:00:00+05:30", 200),
        ("2027-01-31T12:00:00", 400),
        ("2027-01-31", 400),
        ("2027-13-31T12:00:00Z", 400),
        ("2027-01-31T24:00:00Z", 400),
        ("2027-01-31T12:00:00.Z", 400),
        ("2027-01-31T12:00:00+0530", 400),
        ("tomorrow", 400),
        ("", 400),
    ] {
        let answer = portkey
            .send(Method::PUT, path, json!({ "expires_at": instant }))
            .await;
        assert_eq!(answer.status(), status, "{instant}");
    }
}
