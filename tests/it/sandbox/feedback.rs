//! Feedback: created singly or as a list, updated by id.

use reqwest::Method;
use serde_json::json;

use super::Portkey;

#[tokio::test]
async fn feedback_is_created_and_updated() {
    let portkey = Portkey::start().await;
    let one = json!({ "trace_id": "t", "value": 5, "weight": 0.5, "metadata": { "a": [1] } });
    let list = json!([one, { "trace_id": "t", "value": -10 }]);
    let first = portkey.post("/feedback", one).await;
    assert_eq!(first["feedback_ids"].as_array().unwrap().len(), 1);
    let more = portkey.post("/feedback", list).await;
    let ids = more["feedback_ids"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
    assert!(!ids.contains(&first["feedback_ids"][0]));
    let path = format!("/feedback/{}", ids[1].as_str().unwrap());
    let changed = portkey
        .put(&path, json!({ "value": 10, "weight": 0 }))
        .await;
    assert_eq!(changed["feedback_ids"], json!([ids[1]]));
}

#[tokio::test]
async fn invalid_score_is_rejected() {
    struct Case<'a> {
        method: Method,
        path: &'a str,
        body: serde_json::Value,
        status: u16,
        field: &'a str,
    }

    let portkey = Portkey::start().await;
    let made = portkey
        .post("/feedback", json!({ "trace_id": "t", "value": 1 }))
        .await;
    let item = format!("/feedback/{}", made["feedback_ids"][0].as_str().unwrap());
    for Case {
        method,
        path,
        body,
        status,
        field,
    } in [
        Case {
            method: Method::POST,
            path: "/feedback",
            body: json!({ "value": 1 }),
            status: 400,
            field: "trace_id",
        },
        Case {
            method: Method::POST,
            path: "/feedback",
            body: json!({ "trace_id": "t" }),
            status: 400,
            field: "value",
        },
        Case {
            method: Method::POST,
            path: "/feedback",
            body: json!({ "trace_id": "t", "value": 11 }),
            status: 400,
            field: "value",
        },
        Case {
            method: Method::POST,
            path: "/feedback",
            body: json!({ "trace_id": "t", "value": 1.5 }),
            status: 400,
            field: "value",
        },
        Case {
            method: Method::POST,
            path: "/feedback",
            body: json!([{ "trace_id": "t", "value": 1 }, { "trace_id": "t", "value": 1, "weight": 2 }]),
            status: 400,
            field: "[1].weight",
        },
        Case {
            method: Method::PUT,
            path: &item,
            body: json!({ "weight": 2 }),
            status: 400,
            field: "weight",
        },
        Case {
            method: Method::PUT,
            path: "/feedback/none",
            body: json!({ "value": 1 }),
            status: 404,
            field: "none",
        },
    ] {
        let (actual, _, message) = portkey.refusal(method, path, body.clone()).await;
        assert_eq!(actual, status, "{path} {body}");
        assert!(message.contains(field), "{path} {body}: {message}");
    }
}

#[tokio::test]
async fn score_is_accepted_as_text() {
    let portkey = Portkey::start().await;
    let made = portkey
        .post("/feedback", json!({ "trace_id": "t", "value": "7" }))
        .await;
    let path = format!("/feedback/{}", made["feedback_ids"][0].as_str().unwrap());
    portkey.put(&path, json!({ "value": "-3" })).await;
    for value in ["11", "seven", ""] {
        let refusal = portkey
            .refusal(Method::PUT, &path, json!({ "value": value }))
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{value}");
    }
}
