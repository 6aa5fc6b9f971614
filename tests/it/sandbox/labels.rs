//! Labels: names for versions, different from reserved names of versions.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn label_is_created_updated_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "canary", "workspace_id": "ws-research", "color_code": "#f00" });
    let made = portkey.post("/labels", body).await;
    let path = format!("/labels/{}", made["id"].as_str().unwrap());
    let read = portkey.get(&path).await;
    assert_eq!(read["name"], "canary");
    assert_eq!(
        (&read["is_universal"], &read["status"]),
        (&json!(false), &json!("active"))
    );
    assert_eq!(
        portkey
            .refusal(Method::GET, "/labels/canary", Value::Null)
            .await
            .0,
        404
    );

    let change = json!({ "description": "One in twenty" });
    assert_eq!(portkey.put(&path, change).await, json!({}));
    let read = portkey.get(&path).await;
    assert_eq!(
        (&read["description"], &read["color_code"]),
        (&json!("One in twenty"), &json!("#f00"))
    );
    let listed = portkey
        .get("/labels?workspace_id=ws-research&search=CANARY")
        .await;
    assert_eq!(listed["data"], json!([read]));

    assert_eq!(portkey.delete(&path).await, json!({}));
    assert_eq!(
        portkey.refusal(Method::GET, &path, Value::Null).await.0,
        404
    );
}

#[tokio::test]
async fn workspace_lists_its_own_and_organisation_labels() {
    let portkey = Portkey::start().await;
    for (query, names) in [
        ("", vec!["production", "staging", "night-shift"]),
        (
            "?workspace_id=ws-support-bot",
            vec!["production", "staging", "night-shift"],
        ),
        ("?workspace_id=ws-research", vec!["production", "staging"]),
        (
            "?workspace_id=ws-research&page_size=1&current_page=1",
            vec!["staging"],
        ),
    ] {
        let listed = portkey.get(&format!("/labels{query}")).await;
        assert_eq!(string_column(&listed["data"], "name"), names, "{query}");
        let fields: Vec<&String> = listed.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["total", "data"], "{query}");
    }
}

#[tokio::test]
async fn reserved_or_taken_label_name_is_rejected() {
    let portkey = Portkey::start().await;
    let listed = portkey.get("/labels").await;
    let staging = format!("/labels/{}", listed["data"][1]["id"].as_str().unwrap());
    for (name, status) in [
        ("latest", 400),
        ("default", 400),
        ("7", 400),
        ("on call", 400),
        ("a@b", 400),
        ("a+b+c", 400),
        ("", 400),
        ("production", 409),
        ("latest-2", 200),
        ("v7.1", 200),
        ("staging", 200),
    ] {
        let created = json!({ "name": name, "workspace_id": null });
        let answer = portkey.send(Method::PUT, &staging, created.clone()).await;
        assert_eq!(answer.status(), status, "update to `{name}`");
        if status != 200 {
            assert_eq!(
                portkey.refusal(Method::POST, "/labels", created).await.0,
                status,
                "{name}"
            );
        }
    }
    // A workspace may have a label with the name of an organisation label.
    portkey
        .post(
            "/labels",
            json!({ "name": "production", "workspace_id": "ws-shared" }),
        )
        .await;
    let stranger =
        json!({ "name": "a", "organisation_id": "5c0f6b7e-0000-4000-8000-000000000001" });
    assert_eq!(
        portkey.refusal(Method::POST, "/labels", stranger).await.0,
        403
    );
}
