//! Workspace members: membership and roles.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const PATH: &str = "/admin/workspaces/ws-research/users";
const SUPPORT_LEAD: &str = "0a5d0000-0000-4000-8000-00000000ada3";

fn grant_body(user: &str, role: &str) -> Value {
    json!({ "users": [{ "id": user, "role": role }] })
}

#[tokio::test]
async fn member_is_added_promoted_and_removed() {
    let portkey = Portkey::start().await;
    let before = portkey.get(PATH).await["total"].as_u64().unwrap();
    assert_eq!(
        portkey.post(PATH, grant_body(SUPPORT_LEAD, "member")).await,
        json!({})
    );
    let one = format!("{PATH}/{SUPPORT_LEAD}");
    let listed = portkey
        .get(&format!("{PATH}?email=Support-Lead@example.com"))
        .await;
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["data"][0]["id"], SUPPORT_LEAD);
    assert_eq!(listed["data"][0]["role"], "member");
    assert_eq!(listed["data"][0]["org_role"], "member");

    // A single member has no id, and a role with the prefix of workspace roles.
    assert_eq!(
        portkey.put(&one, json!({ "role": "manager" })).await,
        json!({})
    );
    let read = portkey.get(&one).await;
    assert_eq!(
        (read.get("id"), &read["role"]),
        (None, &json!("ws-manager"))
    );
    assert_eq!(read["email"], "support-lead@example.com");

    assert_eq!(portkey.delete(&one).await, json!({}));
    assert_eq!(portkey.get(PATH).await["total"], before);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(portkey.refusal(method, &one, Value::Null).await.0, 404);
    }
}

#[tokio::test]
async fn members_appear_in_their_workspace_and_user() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Nights", "users": [SUPPORT_LEAD] });
    let id = portkey.post("/admin/workspaces", body).await["id"].clone();
    let path = format!("/admin/workspaces/{}", id.as_str().unwrap());
    let workspace = portkey.get(&path).await;
    assert_eq!(string_column(&workspace["users"], "id"), [SUPPORT_LEAD]);
    assert_eq!(workspace["users"][0]["role"], "member");
    let user = format!("/admin/users/{SUPPORT_LEAD}");
    let ids = |user: Value| user["workspace_ids"].as_array().unwrap().contains(&id);
    assert!(ids(portkey.get(&user).await));
    // Members do not block the deletion of a workspace, and are deleted with it.
    portkey
        .call(Method::DELETE, &path, json!({ "name": "Nights" }))
        .await;
    assert!(!ids(portkey.get(&user).await));
}

#[tokio::test]
async fn members_are_filtered_and_paged() {
    let portkey = Portkey::start().await;
    for (query, roles) in [
        ("", vec!["admin", "member"]),
        ("?role=admin", vec!["admin"]),
        ("?role=manager", vec![]),
        ("?page_size=1&current_page=1", vec!["member"]),
        ("?page_size=1", vec!["admin"]),
    ] {
        let list = portkey.get(&format!("{PATH}{query}")).await;
        assert_eq!(string_column(&list["data"], "role"), roles, "{query}");
    }
}

#[tokio::test]
async fn invalid_members_are_rejected_and_none_is_added() {
    struct Case {
        path: &'static str,
        body: Value,
        status: u16,
        code: &'static str,
    }

    let portkey = Portkey::start().await;
    let member = "0a5d0000-0000-4000-8000-00000000ada2";
    let both = json!({ "users": [{ "id": SUPPORT_LEAD, "role": "member" },
        { "id": member, "role": "member" }] });
    for Case {
        path,
        body,
        status,
        code,
    } in [
        Case {
            path: PATH,
            body: both,
            status: 409,
            code: "AB07",
        },
        Case {
            path: PATH,
            body: grant_body("nobody", "member"),
            status: 404,
            code: "AB08",
        },
        Case {
            path: PATH,
            body: grant_body(SUPPORT_LEAD, "owner"),
            status: 400,
            code: "AB01",
        },
        Case {
            path: PATH,
            body: json!({ "users": [] }),
            status: 400,
            code: "AB01",
        },
        Case {
            path: PATH,
            body: json!({ "user_id": SUPPORT_LEAD, "role": "member" }),
            status: 400,
            code: "AB01",
        },
        Case {
            path: "/admin/workspaces/ws-none/users",
            body: grant_body(SUPPORT_LEAD, "member"),
            status: 403,
            code: "AB03",
        },
    ] {
        let refusal = portkey.refusal(Method::POST, path, body.clone()).await;
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (status, code),
            "{path} {body}"
        );
    }
    assert_eq!(portkey.get(PATH).await["total"], 2);
}

#[tokio::test]
async fn membership_of_a_deleted_user_is_forbidden() {
    let portkey = Portkey::start().await;
    let reader = "0a5d0000-0000-4000-8000-00000000ada4";
    let one = format!("{PATH}/{reader}");
    portkey.get(&one).await;
    portkey.delete(&format!("/admin/users/{reader}")).await;
    for (method, body) in [
        (Method::GET, Value::Null),
        (Method::PUT, json!({ "role": "manager" })),
        (Method::DELETE, Value::Null),
    ] {
        let refusal = portkey.refusal(method.clone(), &one, body).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (403, "AB03"), "{method}");
    }
}
