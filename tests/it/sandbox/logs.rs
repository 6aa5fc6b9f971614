//! Logs: inserted singly or as a list, all or none, and read back.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

fn log_entry(trace: &str) -> Value {
    json!({
        "request": { "url": "https://api.openai.com/v1/chat/completions",
            "headers": { "Authorization": "Bearer sk-not-to-be-shown" },
            "body": { "model": "gpt-4o", "messages": [] } },
        "response": { "status": 200, "response_time": 640,
            "body": { "usage": { "prompt_tokens": 1000, "completion_tokens": 500 } } },
        "metadata": { "trace_id": trace, "team": "support" },
    })
}

#[tokio::test]
async fn inserted_log_is_returned_with_its_cost() {
    let portkey = Portkey::start().await;
    for (body, count) in [
        (log_entry("alone"), 1),
        (json!([log_entry("first"), log_entry("second")]), 2),
    ] {
        let made = portkey.post("/logs", body.clone()).await;
        assert_eq!(made["log_ids"].as_array().unwrap().len(), count);
        let id = made["log_ids"][0].as_str().unwrap();
        let log = portkey.get(&format!("/logs/{id}")).await;
        let sent = body.get(0).unwrap_or(&body);
        assert_eq!(log["_id"], id);
        assert_eq!(log["request"]["body"], sent["request"]["body"]);
        assert_eq!(log["response"]["responseTime"], 640);
        assert!(!log.to_string().contains("sk-not-to-be-shown"));
        let metrics = &log["metrics"];
        assert_eq!(metrics["trace_id"], sent["metadata"]["trace_id"]);
        assert_eq!(
            (&metrics["ai_org"], &metrics["ai_model"]),
            (&json!("openai"), &json!("gpt-4o"))
        );
        assert_eq!(metrics["total_units"], 1500);
        // 1,000 tokens at $2.50 and 500 tokens at $10 per million are three quarters of a cent.
        assert_eq!(metrics["cost"], 0.75);
    }
}

#[tokio::test]
async fn one_invalid_log_rejects_the_whole_batch() {
    let portkey = Portkey::start().await;
    let mut wrong = log_entry("wrong");
    wrong["response"]["status"] = json!(20);
    for (body, field) in [
        (json!([]), "no log"),
        (json!({}), "request"),
        (json!([log_entry("right"), wrong]), "[1].response.status"),
        (json!([1]), "[0]"),
        (
            json!({ "request": { "url": "x" }, "response": { "body": {} } }),
            "request.url",
        ),
    ] {
        let (status, code, message) = portkey.refusal(Method::POST, "/logs", body.clone()).await;
        assert_eq!((status, code.as_str()), (400, "AB01"), "{body}");
        assert!(message.contains(field), "{body}: {message}");
    }
    let refusal = portkey
        .refusal(Method::GET, "/logs/none", Value::Null)
        .await;
    assert_eq!((refusal.0, refusal.1.as_str()), (404, "AB08"));
}
