//! Log exports: permitted actions in each state of a job.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const EXPORTS_PATH: &str = "/logs/exports";

fn draft_job(workspace: &str) -> Value {
    json!({ "workspace_id": workspace, "requested_data": ["id", "cost"],
        "filters": { "time_of_generation_min": "2025-12-10T00:00:00Z",
            "time_of_generation_max": "2025-12-10T23:59:59Z" } })
}

#[tokio::test]
async fn export_job_is_drafted_started_and_downloaded() {
    let portkey = Portkey::start().await;
    let made = portkey.post(EXPORTS_PATH, draft_job("ws-research")).await;
    assert_eq!(made["object"], "export");
    let item = format!("{EXPORTS_PATH}/{}", made["id"].as_str().unwrap());
    let period =
        "time_of_generation_min=2025-12-10T00:00:00Z&time_of_generation_max=2025-12-10T23:59:59Z";
    let graph = format!("/analytics/graphs/requests?workspace_slug=ws-research&{period}");
    assert_eq!(made["total"], portkey.get(&graph).await["summary"]["total"]);

    let narrow = json!({ "filters": { "ai_model": "gemini-2.5-flash", "page_size": 7 } });
    assert_eq!(portkey.put(&item, narrow.clone()).await["total"], 7);
    let read = portkey.get(&item).await;
    assert_eq!(read["filters"], narrow["filters"]);
    assert_eq!(
        (&read["status"], &read["requested_data"]),
        (&json!("draft"), &json!(["id", "cost"]))
    );

    portkey.post(&format!("{item}/start"), Value::Null).await;
    for (method, path, body) in [
        (Method::PUT, item.clone(), narrow),
        (Method::POST, format!("{item}/start"), Value::Null),
        (Method::GET, format!("{item}/download"), Value::Null),
    ] {
        assert_eq!(portkey.refusal(method, &path, body).await.0, 400, "{path}");
    }
    assert_eq!(portkey.get(&item).await["status"], "in_progress");
    assert_eq!(portkey.get(&item).await["status"], "success");
    let download = format!("{item}/download");
    let urls = [portkey.get(&download).await, portkey.get(&download).await];
    assert!(
        urls[0]["signed_url"]
            .as_str()
            .unwrap()
            .starts_with("http://")
    );
    assert_ne!(urls[0], urls[1]);
    assert_eq!(
        portkey
            .refusal(Method::POST, &format!("{item}/cancel"), Value::Null)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn cancelled_export_job_cannot_be_restarted() {
    let portkey = Portkey::start().await;
    let made = portkey.post(EXPORTS_PATH, draft_job("ws-shared")).await;
    let item = format!("{EXPORTS_PATH}/{}", made["id"].as_str().unwrap());
    let cancel = format!("{item}/cancel");
    assert_eq!(
        portkey.refusal(Method::POST, &cancel, Value::Null).await.0,
        400,
        "a draft"
    );
    portkey.post(&format!("{item}/start"), Value::Null).await;
    for _ in 0..2 {
        portkey.post(&cancel, Value::Null).await;
        assert_eq!(portkey.get(&item).await["status"], "stopped");
    }
    let start = format!("{item}/start");
    assert_eq!(
        portkey.refusal(Method::POST, &start, Value::Null).await.0,
        400
    );
}

#[tokio::test]
async fn exports_are_listed_by_workspace_and_reject_denied_fields() {
    let portkey = Portkey::start().await;
    let mine = portkey.post(EXPORTS_PATH, draft_job("ws-shared")).await;
    portkey.post(EXPORTS_PATH, draft_job("ws-research")).await;
    let listed = portkey
        .get(&format!("{EXPORTS_PATH}?workspace_id=ws-shared"))
        .await;
    assert_eq!(
        string_column(&listed["data"], "id"),
        [mine["id"].as_str().unwrap()]
    );

    let restrictions = format!("{EXPORTS_PATH}/field-restrictions?workspace_id=");
    let denied =
        portkey.get(&format!("{restrictions}ws-support-bot")).await["deniedFields"].clone();
    assert_eq!(
        portkey.get(&format!("{restrictions}ws-shared")).await["deniedFields"],
        json!([])
    );
    let mut asking = draft_job("ws-support-bot");
    asking["requested_data"] = denied;
    let with = |field: &str, value: Value| {
        let mut body = draft_job("ws-shared");
        body[field] = value;
        body
    };
    for (body, status, word) in [
        (asking, 400, "request"),
        (
            with("requested_data", json!(["ai_provider"])),
            400,
            "requested_data[0]",
        ),
        (with("requested_data", json!([])), 400, "requested_data"),
        (with("filters", Value::Null), 400, "filters"),
        (
            with("filters", json!({ "page_size": 50_001 })),
            400,
            "filters.page_size",
        ),
        (
            with("filters", json!({ "cost_min": "much" })),
            400,
            "cost_min",
        ),
    ] {
        let (actual, _, message) = portkey
            .refusal(Method::POST, EXPORTS_PATH, body.clone())
            .await;
        assert_eq!(actual, status, "{body}: {message}");
        assert!(message.contains(word), "{body}: {message}");
    }
    let missing = format!("{EXPORTS_PATH}/none");
    assert_eq!(
        portkey.refusal(Method::GET, &missing, Value::Null).await.0,
        404
    );
}

#[tokio::test]
async fn description_and_times_without_a_zone_are_accepted() {
    let portkey = Portkey::start().await;
    let mut body = draft_job("ws-shared");
    body["description"] = json!("Nightly");
    body["filters"]["time_of_generation_min"] = json!("2025-12-10T00:00:00.048716");
    let made = portkey.post(EXPORTS_PATH, body).await;
    let item = format!("{EXPORTS_PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(portkey.get(&item).await["description"], "Nightly");
    portkey.put(&item, json!({ "description": "Hourly" })).await;
    assert_eq!(portkey.get(&item).await["description"], "Hourly");
    portkey.put(&item, json!({ "description": null })).await;
    assert_eq!(portkey.get(&item).await["description"], Value::Null);
}
