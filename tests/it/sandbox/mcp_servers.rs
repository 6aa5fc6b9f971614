//! MCP servers: an integration in a workspace, its capability toggles and users.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const RESEARCH_USER: &str = "0a5d0000-0000-4000-8000-00000000ada2";
const SUPPORT_USER: &str = "0a5d0000-0000-4000-8000-00000000ada3";

#[tokio::test]
async fn mcp_server_is_created_updated_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Second Look", "mcp_integration_id": "issue-tracker",
        "workspace_id": "ws-shared" });
    let made = portkey.post("/mcp-servers", body).await;
    let id = made["id"].as_str().unwrap();
    let by_slug = format!("/mcp-servers/{}", made["slug"].as_str().unwrap());
    let read = portkey.get(&by_slug).await;
    assert_eq!(read, portkey.get(&format!("/mcp-servers/{id}")).await);
    let integration = portkey.get("/mcp-integrations/issue-tracker").await;
    assert_eq!(
        read["mcp_integration_id"], integration["id"],
        "an id, though a slug was sent"
    );
    let details = &read["mcp_integration_details"];
    for field in [
        "id",
        "slug",
        "url",
        "transport",
        "auth_type",
        "configurations",
    ] {
        assert_eq!(details[field], integration[field], "{field}");
    }
    assert_ne!(
        details["configurations"]["custom_headers"]["authorization"],
        Value::Null
    );

    // Each row continues from the previous one.
    for (change, name, description) in [
        (
            json!({ "description": "Twice" }),
            "Second Look",
            json!("Twice"),
        ),
        (json!({ "name": "Third" }), "Third", json!("Twice")),
        (
            json!({ "description": null, "slug": "other" }),
            "Third",
            Value::Null,
        ),
    ] {
        assert_eq!(
            portkey
                .put(&format!("/mcp-servers/{id}"), change.clone())
                .await,
            json!({})
        );
        let read = portkey.get(&by_slug).await;
        assert_eq!(
            (&read["name"], &read["description"]),
            (&json!(name), &description),
            "{change}"
        );
    }
    assert_eq!(portkey.delete(&by_slug).await, json!({}));
    let gone = portkey
        .refusal(Method::GET, &format!("/mcp-servers/{id}"), Value::Null)
        .await;
    assert_eq!((gone.0, gone.1.as_str()), (404, "AB08"));
}

#[tokio::test]
async fn servers_are_listed_by_workspace() {
    let portkey = Portkey::start().await;
    let nowhere = "/mcp-servers?workspace_id=ws-none";
    let refusal = portkey.refusal(Method::GET, nowhere, Value::Null).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (403, "AB03"));
    let papers = portkey.get("/mcp-servers/papers").await;
    let papers = papers["id"].as_str().unwrap();
    for (query, slugs) in [
        ("workspace_id=ws-shared".to_owned(), vec!["issues"]),
        (
            "workspace_id=ws-research&search=PAPER".to_owned(),
            vec!["papers"],
        ),
        ("workspace_id=ws-research&search=issue".to_owned(), vec![]),
        (
            format!("workspace_id=ws-research&id=x,{papers}"),
            vec!["papers"],
        ),
        (format!("workspace_id=ws-shared&id={papers}"), vec![]),
    ] {
        let list = portkey.get(&format!("/mcp-servers?{query}")).await;
        assert_eq!(string_column(&list["data"], "slug"), slugs, "{query}");
        assert_eq!(list["total"], slugs.len(), "{query}");
        assert!(
            list.get("object").is_none(),
            "this list does not call itself one"
        );
    }
    let listed = portkey.get("/mcp-servers?workspace_id=ws-shared").await;
    let server = &listed["data"][0];
    assert_eq!(server["workspace_slug"], "ws-shared");
    assert_eq!(server["mcp_integration_slug"], "issue-tracker");
    assert!(server["url"].as_str().unwrap().contains("issues"));
}

#[tokio::test]
async fn invalid_server_is_rejected() {
    let portkey = Portkey::start().await;
    let server = |slug: &str, integration: &str, workspace: &str| {
        json!({ "name": "New", "slug": slug, "mcp_integration_id": integration,
            "workspace_id": workspace })
    };
    let long = "n".repeat(51);
    for (body, status, code) in [
        (server("new", "none", "ws-shared"), 404, "AB08"),
        (server("new", "issue-tracker", "ws-none"), 403, "AB03"),
        (server("new", "issue-tracker", "ws-research"), 403, "AB03"),
        (server("issues", "issue-tracker", "ws-shared"), 409, "AB07"),
        (server("ab", "issue-tracker", "ws-shared"), 400, "AB01"),
        (server(&long, "issue-tracker", "ws-shared"), 400, "AB01"),
        (
            json!({ "name": "New", "workspace_id": "ws-shared" }),
            400,
            "AB01",
        ),
    ] {
        let refusal = portkey
            .refusal(Method::POST, "/mcp-servers", body.clone())
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (status, code), "{body}");
    }
    let long = json!({ "description": "d".repeat(501) });
    let refusal = portkey
        .refusal(Method::PUT, "/mcp-servers/issues", long)
        .await;
    assert_eq!(refusal.0, 400);
    assert!(refusal.2.contains("description"));
}

#[tokio::test]
async fn capability_toggles_of_a_server_are_its_own() {
    let portkey = Portkey::start().await;
    let path = "/mcp-servers/issues/capabilities";
    let find = |list: &Value, name: &str| {
        let data = list["data"].as_array().unwrap().clone();
        data.into_iter().find(|item| item["name"] == name).unwrap()
    };
    let before = portkey.get(path).await;
    let closed = find(&before, "close_issue");
    assert_eq!(
        (&closed["enabled"], &closed["integration_enabled"]),
        (&json!(true), &json!(false))
    );
    let switch = json!({ "capabilities": [
        { "name": "get_issue", "type": "tool", "enabled": false }] });
    assert_eq!(portkey.put(path, switch).await, json!({ "success": true }));
    let after = portkey.get(path).await;
    let off = find(&after, "get_issue");
    assert_eq!(
        (&off["enabled"], &off["integration_enabled"]),
        (&json!(false), &json!(true))
    );
    let enabled = |list: &Value| list["counts"]["tools"]["enabled"].as_u64().unwrap();
    assert_eq!(enabled(&after) + 1, enabled(&before));

    let other = portkey
        .get("/mcp-servers/support-issues/capabilities")
        .await;
    assert_eq!(find(&other, "get_issue")["enabled"], true, "another server");
    let above = portkey
        .get("/mcp-integrations/issue-tracker/capabilities")
        .await;
    assert_eq!(
        find(&above, "get_issue")["enabled"],
        true,
        "the integration"
    );

    let second = portkey
        .get(&format!("{path}?page=2&page_size=5&type=tool"))
        .await;
    assert_eq!(second["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&second["total"], &second["has_more"]),
        (&json!(8), &json!(false))
    );
    let unknown = json!({ "capabilities": [{ "name": "fly", "type": "tool", "enabled": true }] });
    assert_eq!(portkey.refusal(Method::PUT, path, unknown).await.0, 404);
    let zero = portkey
        .refusal(Method::GET, &format!("{path}?page=0"), Value::Null)
        .await;
    assert_eq!(zero.0, 400, "the first page is 1");
}

#[tokio::test]
async fn sync_gives_a_server_its_own_capabilities() {
    let portkey = Portkey::start().await;
    let path = "/mcp-servers/papers";
    let above = portkey.get("/mcp-integrations/documents/metadata").await;
    assert_eq!(portkey.get(&format!("{path}/metadata")).await, above);

    let news = json!({ "server_version": "1.0.0", "title": "Papers" });
    assert_eq!(
        portkey.post(&format!("{path}/metadata/sync"), news).await,
        json!({})
    );
    let own = portkey.get(&format!("{path}/metadata")).await;
    assert_eq!(own["server_version"], "1.0.0");
    assert_eq!(own["server_name"], above["server_name"]);
    assert_ne!(own["last_synced_at"], above["last_synced_at"]);
    assert_eq!(
        portkey.get("/mcp-integrations/documents/metadata").await,
        above
    );

    let offers = json!({ "capabilities": [{ "type": "tool", "name": "find_paper" }] });
    assert_eq!(
        portkey
            .post(&format!("{path}/capabilities/sync"), offers)
            .await,
        json!({})
    );
    let list = portkey.get(&format!("{path}/capabilities")).await;
    assert_eq!(string_column(&list["data"], "name"), ["find_paper"]);
    assert_eq!(list["data"][0]["integration_enabled"], Value::Null);
}

#[tokio::test]
async fn connection_test_reaches_the_integration() {
    let portkey = Portkey::start().await;
    let report = portkey.post("/mcp-servers/papers/test", Value::Null).await;
    assert_eq!(
        (&report["success"], &report["server_name"]),
        (&json!(true), &json!("Research Papers"))
    );
    portkey.delete("/mcp-integrations/documents").await;
    let report = portkey.post("/mcp-servers/papers/test", Value::Null).await;
    assert_eq!(report["success"], false);
    assert!(report["error"].is_string());
}

#[tokio::test]
async fn user_access_follows_overrides_and_the_default() {
    let portkey = Portkey::start().await;
    let path = "/mcp-servers/papers/user-access";
    let allowed = async |user: &str| {
        let list = portkey.get(path).await;
        let rows = list["data"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["user_id"] == user).unwrap();
        assert_eq!(row["object"], "user-acces");
        (row["enabled"] == true, row["has_override"] == true)
    };
    assert_eq!(portkey.get(path).await["default_user_access"], "deny");
    let grant = |user: &str| json!({ "user_access": [{ "user_id": user, "enabled": true }] });
    // Each row continues from the previous one.
    for (change, researcher, supporter) in [
        (grant(RESEARCH_USER), (true, true), (false, false)),
        (
            json!({ "default_user_access": "allow" }),
            (true, true),
            (true, false),
        ),
        (grant(SUPPORT_USER), (true, true), (true, true)),
        (
            json!({ "default_user_access": "deny" }),
            (true, true),
            (true, true),
        ),
    ] {
        assert_eq!(
            portkey.put(path, change.clone()).await,
            json!({ "success": true })
        );
        assert_eq!(allowed(RESEARCH_USER).await, researcher, "{change}");
        assert_eq!(allowed(SUPPORT_USER).await, supporter, "{change}");
    }
    let found = portkey.get(&format!("{path}?search=SUPPORT&page=1")).await;
    assert_eq!(string_column(&found["data"], "user_id"), [SUPPORT_USER]);
    let paged = portkey.get(&format!("{path}?page_size=2")).await;
    assert_eq!(paged["has_more"], true);
    assert_eq!(
        portkey.refusal(Method::PUT, path, grant("nobody")).await.0,
        404
    );
    let word = json!({ "default_user_access": "maybe" });
    assert_eq!(portkey.refusal(Method::PUT, path, word).await.0, 400);
}

#[tokio::test]
async fn deleted_connection_is_closed() {
    let portkey = Portkey::start().await;
    let path = "/mcp-servers/papers/connections";
    let list = portkey.get(path).await;
    assert_eq!(
        (&list["total"], &list["has_more"]),
        (&json!(2), &json!(false))
    );
    let one = portkey
        .get(&format!("{path}?user_id={RESEARCH_USER}"))
        .await;
    assert_eq!(string_column(&one["data"], "user_id"), [RESEARCH_USER]);

    let unnamed = portkey.refusal(Method::DELETE, path, Value::Null).await;
    assert_eq!(unnamed.0, 400);
    assert!(unnamed.2.contains("user_id"));
    let delete = format!("{path}?user_id={RESEARCH_USER}");
    assert_eq!(portkey.delete(&delete).await, json!({ "success": true }));
    assert_eq!(
        portkey
            .refusal(Method::DELETE, &delete, Value::Null)
            .await
            .0,
        404
    );
    let access = portkey
        .get("/mcp-servers/papers/user-access?search=Research")
        .await;
    assert_eq!(access["data"][0]["connection_status"], "not_connected");
}
