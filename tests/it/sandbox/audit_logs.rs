//! Audit logs: one entry per write, none per read, and no secrets in entries.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

/// The only organisation of a sandbox, determined by the key.
const ORGANISATION: &str = "0a5d0000-0000-4000-8000-000000000000";

const WHOLE_PERIOD: &str =
    "/audit-logs?start_time=2026-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z";

#[tokio::test]
async fn every_write_is_recorded_without_secrets() {
    let portkey = Portkey::start().await;
    assert_eq!(
        portkey.get(WHOLE_PERIOD).await["total"],
        0,
        "what a sandbox begins with"
    );
    let new = json!({ "name": "New", "slug": "new", "ai_provider_id": "openai",
        "key": "sk-not-to-be-told", "configurations": {
            "custom_headers": { "x-tenant": "tenant-not-to-be-told" } } });
    let made = portkey.send(Method::POST, "/integrations", new).await;
    let id = made.headers()["x-portkey-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    portkey
        .put("/integrations/new", json!({ "name": "Newer" }))
        .await;
    portkey.get("/integrations/new").await;
    portkey
        .refusal(Method::PUT, "/integrations/none", json!({ "name": "N" }))
        .await;
    portkey.delete("/integrations/new").await;
    let claude = "/providers/claude-trials?workspace_id=ws-research";
    portkey.put(claude, json!({ "note": "Later" })).await;
    portkey
        .send(Method::POST, "/no-such-route", Value::Null)
        .await;

    let all = portkey.get(WHOLE_PERIOD).await;
    assert_eq!(all["object"], "analytics-graph");
    assert_eq!(
        string_column(&all["records"], "action"),
        ["update", "delete", "update", "update", "create"]
    );
    assert!(!all.to_string().contains("not-to-be-told"), "{all}");
    assert!(!all.to_string().contains(portkey_sandbox::DEFAULT_API_KEY));
    let first = &all["records"][4];
    assert_eq!(
        (&first["uri"], &first["request_id"]),
        (&json!("/v1/integrations"), &json!(id))
    );
    let body: Value = serde_json::from_str(first["request_body"].as_str().unwrap()).unwrap();
    assert_eq!(body["name"], "New");

    let count = async |filter: &str| {
        portkey.get(&format!("{WHOLE_PERIOD}&{filter}")).await["total"]
            .as_u64()
            .unwrap()
    };
    for (filter, expected) in [
        ("method=PUT", 3),
        ("response_status_code=404", 1),
        ("response_status_code=200", 4),
        ("resource_type=integrations", 4),
        ("action=delete", 1),
        ("user_type=user", 0),
        ("workspace_id=ws-research", 1),
        ("uri=/v1/integrations/new", 2),
        (format!("request_id={id}").as_str(), 1),
    ] {
        assert_eq!(count(filter).await, expected, "{filter}");
    }
    let before = "/audit-logs?start_time=2024-01-01T00:00:00Z&end_time=2024-12-31T00:00:00Z";
    assert_eq!(portkey.get(before).await["total"], 0);
    let page = portkey
        .get(&format!("{WHOLE_PERIOD}&page_size=2&current_page=1"))
        .await;
    assert_eq!(page["records"][0], all["records"][2]);
    assert_eq!(
        (&page["total"], page["records"].as_array().unwrap().len()),
        (&json!(5), 2)
    );
}

#[tokio::test]
async fn change_before_the_incident_is_recorded() {
    let portkey = Portkey::start().await;
    let before = "/audit-logs?start_time=2025-12-01T00:00:00Z&end_time=2025-12-31T00:00:00Z";
    let records = portkey.get(before).await["records"].clone();
    let record = &records[0];
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert_eq!(record["timestamp"], "2025-12-29T13:09:00.000Z");
    assert_eq!(record["uri"], "/v1/integrations/openai-production");
}

#[tokio::test]
async fn period_is_required() {
    let portkey = Portkey::start().await;
    for (path, status, word) in [
        ("/audit-logs", 400, "start_time"),
        (
            "/audit-logs?start_time=2026-01-01T00:00:00Z",
            400,
            "end_time",
        ),
        (
            "/audit-logs?start_time=yesterday&end_time=today",
            400,
            "start_time",
        ),
        (&format!("{WHOLE_PERIOD}&page_size=101"), 400, "page_size"),
        (
            &format!("{WHOLE_PERIOD}&organisation_id=another"),
            403,
            "organisation",
        ),
        (
            &format!("{WHOLE_PERIOD}&organisation_id={ORGANISATION}"),
            401,
            "Unauthorised",
        ),
        (
            &format!("{WHOLE_PERIOD}&workspace_id=ws-none"),
            403,
            "workspace",
        ),
    ] {
        let (actual, _, message) = portkey.refusal(Method::GET, path, Value::Null).await;
        assert_eq!(actual, status, "{path}");
        assert!(message.contains(word), "{path}: {message}");
    }
}
