//! User invites: a link shown once, and no updates.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const PATH: &str = "/admin/users/invites";

fn invite_body(email: &str) -> Value {
    json!({ "email": email, "role": "member",
        "workspaces": [{ "id": "ws-research", "role": "manager" }] })
}

#[tokio::test]
async fn invite_is_sent_read_resent_and_withdrawn() {
    let portkey = Portkey::start().await;
    let made = portkey.post(PATH, invite_body("guest@example.com")).await;
    assert_eq!(
        made.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["id", "invite_link"]
    );
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());

    let read = portkey.get(&one).await;
    assert_eq!(
        (&read["email"], &read["status"]),
        (&json!("guest@example.com"), &json!("pending"))
    );
    assert_eq!(read["invited_by"], "0a5d0000-0000-4000-8000-00000000ada0");
    assert!(read["expires_at"].as_str() > read["created_at"].as_str());
    let listed = portkey
        .get(&format!("{PATH}?email=GUEST@example.com"))
        .await;
    assert_eq!(listed["data"], json!([read]));
    for answer in [&read, &listed] {
        assert!(
            !answer.to_string().contains("https://"),
            "the link is shown again: {answer}"
        );
    }

    let again = portkey.post(&format!("{one}/resend"), Value::Null).await;
    assert_eq!(
        again.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["inviteLink"]
    );
    assert_ne!(again["inviteLink"], made["invite_link"]);
    assert!(portkey.get(&one).await["expires_at"].as_str() > read["expires_at"].as_str());

    let change = json!({ "role": "admin" });
    assert_eq!(portkey.refusal(Method::PUT, &one, change).await.0, 404);
    assert_eq!(portkey.delete(&one).await, json!({}));
    assert_eq!(portkey.refusal(Method::GET, &one, Value::Null).await.0, 404);
    // After the withdrawal, the address can be invited again.
    portkey.post(PATH, invite_body("guest@example.com")).await;
}

#[tokio::test]
async fn invites_are_filtered_and_paged_in_camel_case() {
    let portkey = Portkey::start().await;
    for (query, emails) in [
        ("status=pending", vec!["new-analyst@example.com"]),
        ("status=expired", vec!["former-intern@example.com"]),
        ("status=accepted", vec![]),
        ("role=admin", vec!["agency-partner@example.com"]),
        (
            "pageSize=1&currentPage=1",
            vec!["former-intern@example.com"],
        ),
    ] {
        let list = portkey.get(&format!("{PATH}?{query}")).await;
        assert_eq!(string_column(&list["data"], "email"), emails, "{query}");
    }
    assert_eq!(
        portkey.get(&format!("{PATH}?page_size=1")).await["data"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn invalid_invite_is_rejected() {
    let portkey = Portkey::start().await;
    let with = |field: &str, value: Value| {
        let mut body = invite_body("guest@example.com");
        body[field] = value;
        body
    };
    for (body, status, code) in [
        (invite_body("platform-owner@example.com"), 409, "AB07"),
        (invite_body("New-Analyst@example.com"), 409, "AB07"),
        (invite_body("guest"), 400, "AB01"),
        (invite_body("guest@example"), 400, "AB01"),
        (with("role", json!("owner")), 400, "AB01"),
        (with("role", Value::Null), 400, "AB01"),
        (
            with("workspaces", json!([{ "id": "ws-research" }])),
            400,
            "AB01",
        ),
        (
            with("workspaces", json!([{ "id": "ws-none", "role": "member" }])),
            403,
            "AB03",
        ),
        (with("workspace_api_key_details", json!({})), 400, "AB01"),
    ] {
        let refusal = portkey.refusal(Method::POST, PATH, body.clone()).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (status, code), "{body}");
    }
}

#[tokio::test]
async fn only_pending_or_expired_invites_can_be_resent() {
    let portkey = Portkey::start().await;
    for (status, sent) in [("pending", true), ("expired", true), ("cancelled", false)] {
        let list = portkey.get(&format!("{PATH}?status={status}")).await;
        let one = format!("{PATH}/{}", list["data"][0]["id"].as_str().unwrap());
        let answer = portkey
            .send(Method::POST, &format!("{one}/resend"), Value::Null)
            .await;
        assert_eq!(answer.status() == 200, sent, "{status}");
        assert_eq!(
            portkey.get(&one).await["status"] == "pending",
            sent,
            "{status}"
        );
    }
}
