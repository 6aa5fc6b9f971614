//! SCIM: groups in v2, mappings in v1, one role per group.

use reqwest::Method;
use serde_json::{Value, json};

use super::{DEFAULT_API_KEY, Portkey, read_json as read, string_column};

const PATH: &str = "/scim/workspaces";

async fn list_groups(portkey: &Portkey, query: &str) -> Value {
    let url = portkey.sandbox.base_url().replace("/v1", "/v2/scim/groups") + query;
    read(
        portkey
            .client
            .get(url)
            .header("x-portkey-api-key", DEFAULT_API_KEY)
            .send()
            .await
            .unwrap(),
    )
    .await
}

fn mapping_body(workspace: &str, role: &str, group: &str) -> Value {
    json!({ "workspace_id": workspace, "role": role, "scim_group_name": group })
}

#[tokio::test]
async fn mapping_is_created_once_and_its_group_remains() {
    let portkey = Portkey::start().await;
    let before = portkey.get(PATH).await["total_count"].as_u64().unwrap();
    let made = portkey
        .post(PATH, mapping_body("ws-shared", "Member", "Auditors"))
        .await;
    assert_eq!(
        (&made["role"], &made["scim_group"]),
        (&json!("member"), &json!("Auditors"))
    );
    assert_eq!(
        portkey.get("/admin/workspaces/ws-shared").await["id"],
        made["workspace_id"]
    );
    assert_eq!(
        portkey
            .post(PATH, mapping_body("ws-shared", "member", "Auditors"))
            .await,
        made
    );
    let by_id = json!({ "workspace_id": "ws-research", "role": "member",
        "scim_group_id": made["scim_group_id"] });
    assert_ne!(portkey.post(PATH, by_id).await["id"], made["id"]);
    assert_eq!(portkey.get(PATH).await["total_count"], before + 2);

    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(portkey.delete(&one).await, json!({ "success": true }));
    assert_eq!(
        portkey.refusal(Method::DELETE, &one, Value::Null).await.0,
        404
    );
    assert_eq!(portkey.get(PATH).await["total_count"], before + 1);
    let found = list_groups(&portkey, "?search=audit").await;
    assert_eq!(
        found,
        json!({ "groups": [{ "id": made["scim_group_id"],
        "displayName": "Auditors" }], "total_count": 1 })
    );
}

#[tokio::test]
async fn invalid_mapping_is_rejected() {
    let portkey = Portkey::start().await;
    let with = |id: &str| {
        json!({ "workspace_id": "ws-shared", "role": "member",
            "scim_group_id": id, "scim_group_name": "Auditors" })
    };
    for (body, status, word) in [
        (
            mapping_body("ws-support-bot", "admin", "Research Engineers"),
            400,
            "'manager'",
        ),
        (mapping_body("ws-shared", "owner", "Auditors"), 400, "role"),
        (
            mapping_body("ws-none", "member", "Auditors"),
            403,
            "ws-none",
        ),
        (with("some-id"), 400, "scim_group_id"),
        (
            json!({ "workspace_id": "ws-shared", "role": "member" }),
            400,
            "scim_group_name",
        ),
        (
            json!({ "workspace_id": "ws-shared", "scim_group_name": "Auditors" }),
            400,
            "role",
        ),
        (
            json!({ "workspace_id": "ws-shared", "role": "member", "scim_group_id": "none" }),
            404,
            "none",
        ),
    ] {
        let refusal = portkey.refusal(Method::POST, PATH, body.clone()).await;
        assert_eq!(refusal.0, status, "{body}");
        assert!(refusal.2.contains(word), "{body}: {}", refusal.2);
    }
    let names = list_groups(&portkey, "").await;
    let names = string_column(&names["groups"], "displayName").join(", ");
    assert_eq!(
        names, "Support Agents, Research Engineers",
        "a refusal made a group"
    );
}

#[tokio::test]
async fn mappings_are_filtered_and_paged_from_zero() {
    let portkey = Portkey::start().await;
    let all = portkey.get(PATH).await;
    let first = &all["mappings"][0];
    let group = &first["scim_group_id"];
    let workspace = &first["workspace_id"];
    for (query, groups) in [
        ("?page_size=2", vec!["Support Agents", "Research Engineers"]),
        ("?page_size=2&page=1", vec!["Research Engineers"]),
        ("?page=0&page_size=1", vec!["Support Agents"]),
        ("?role=member", vec!["Support Agents"]),
        (
            &format!("?scim_group_id={}", group.as_str().unwrap()),
            vec!["Support Agents"],
        ),
        (
            &format!("?workspace_id={}", workspace.as_str().unwrap()),
            vec!["Support Agents"],
        ),
        // A slug is accepted and matches nothing.
        ("?workspace_id=ws-support-bot", vec![]),
    ] {
        let list = portkey.get(&format!("{PATH}{query}")).await;
        assert_eq!(
            string_column(&list["mappings"], "scim_group"),
            groups,
            "{query}"
        );
    }
    for query in ["?page_size=101", "?page=-1", "?role=owner"] {
        let path = format!("{PATH}{query}");
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn groups_and_mappings_are_served_by_different_versions() {
    let portkey = Portkey::start().await;
    let v1 = portkey.send(Method::GET, "/scim/groups", Value::Null).await;
    assert_eq!(read(v1).await["status"], "failure");
    let url = portkey
        .sandbox
        .base_url()
        .replace("/v1", "/v2/scim/workspaces");
    let v2 = portkey
        .client
        .get(url)
        .header("x-portkey-api-key", DEFAULT_API_KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(read(v2).await["status"], "failure");
    assert_eq!(
        list_groups(&portkey, "?page=1&page_size=1").await["groups"][0]["displayName"],
        "Research Engineers"
    );
}
