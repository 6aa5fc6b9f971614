//! Users: filtered and paged in camelCase, with the role as the only mutable field.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const OWNER_PATH: &str = "/admin/users/0a5d0000-0000-4000-8000-00000000ada0";
const LEAD_PATH: &str = "/admin/users/0a5d0000-0000-4000-8000-00000000ada2";

#[tokio::test]
async fn users_are_filtered_and_paged_in_camel_case() {
    let portkey = Portkey::start().await;
    let all = portkey.get("/admin/users").await;
    let emails = string_column(&all["data"], "email");
    assert_eq!((all["total"].as_u64(), emails.len()), (Some(5), 5));
    for (query, expected) in [
        ("pageSize=2", &emails[..2]),
        ("pageSize=2&currentPage=2", &emails[4..]),
        // Snake case is ignored.
        ("page_size=2&current_page=1", &emails[..]),
        ("role=owner", &emails[..1]),
        ("email=Platform-Admin@example.com", &emails[1..2]),
        ("email=nobody@example.com", &[]),
    ] {
        let list = portkey.get(&format!("/admin/users?{query}")).await;
        assert_eq!(string_column(&list["data"], "email"), expected, "{query}");
    }
    for query in ["role=manager", "pageSize=0", "currentPage=-1"] {
        let path = format!("/admin/users?{query}");
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn user_role_can_be_changed_within_limits() {
    struct Case {
        path: &'static str,
        role: &'static str,
        status: u16,
        code: &'static str,
    }

    let portkey = Portkey::start().await;
    assert_eq!(
        portkey.put(LEAD_PATH, json!({ "role": "admin" })).await,
        json!({})
    );
    assert_eq!(portkey.get(LEAD_PATH).await["role"], "admin");
    for Case {
        path,
        role,
        status,
        code,
    } in [
        Case {
            path: LEAD_PATH,
            role: "admin",
            status: 400,
            code: "AB01",
        },
        Case {
            path: LEAD_PATH,
            role: "owner",
            status: 400,
            code: "AB01",
        },
        Case {
            path: OWNER_PATH,
            role: "member",
            status: 403,
            code: "AB03",
        },
        Case {
            path: "/admin/users/nobody",
            role: "member",
            status: 404,
            code: "AB08",
        },
    ] {
        let refusal = portkey
            .refusal(Method::PUT, path, json!({ "role": role }))
            .await;
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (status, code),
            "{path} {role}"
        );
    }
}

#[tokio::test]
async fn deleted_user_is_removed_from_every_workspace() {
    let portkey = Portkey::start().await;
    let joined = portkey.get(LEAD_PATH).await["workspace_ids"].clone();
    assert!(joined.as_array().unwrap().len() > 1);
    assert_eq!(portkey.delete(LEAD_PATH).await, json!({}));
    assert_eq!(
        portkey.refusal(Method::GET, LEAD_PATH, Value::Null).await.0,
        404
    );
    for workspace in joined.as_array().unwrap() {
        let path = format!("/admin/workspaces/{}/users", workspace.as_str().unwrap());
        let members = portkey
            .get(&format!("{path}?email=research-lead@example.com"))
            .await;
        assert_eq!(members["total"], 0, "{path}");
    }
    assert_eq!(
        portkey
            .refusal(Method::DELETE, OWNER_PATH, Value::Null)
            .await
            .0,
        403
    );
}
