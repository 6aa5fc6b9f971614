//! `register-mcp-server`: who reaches which tools of the sandbox afterwards.

use serde_json::{Value, json};

use crate::support::{
    form_client::{FormClient, FormReaction, TRANSPORTS_AND_GENERATIONS, connect},
    official_client::{ConnectedClient, connect_everywhere},
};

fn registration() -> Value {
    json!({
        "workspace_id": "ws-research", "mcp_integration_id": "issue-tracker", "slug": "research-issues",
        "tools": ["search_issues", "get_issue"], "users": ["research-lead@example.com"],
    })
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

/// Returns the names of what is enabled, and of the users that are allowed.
async fn reach(client: &ConnectedClient, server: &str) -> (Vec<String>, Vec<String>, Value) {
    let names = |answer: &Value, field: &str| {
        let rows = answer["data"].as_array().unwrap();
        let on = rows.iter().filter(|row| row["enabled"] == true);
        on.map(|row| row[field].as_str().unwrap().to_owned())
            .collect()
    };
    let server = json!({ "mcp_server_id": server, "page_size": 500 });
    let offered = call(client, "list-mcp-server-capabilities", server.clone()).await;
    let access = call(client, "list-mcp-server-user-access", server).await;
    (
        names(&offered, "name"),
        names(&access, "last_name"),
        access["default_user_access"].clone(),
    )
}

#[tokio::test]
async fn only_named_users_reach_only_named_tools() {
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let mut dry_run = registration();
        dry_run["dry_run"] = true.into();
        let planned = call(&client, "register-mcp-server", dry_run).await;
        let operations: Vec<_> = planned["would_call"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["operation"].as_str().unwrap())
            .collect();
        assert_eq!(
            operations,
            [
                "bulk-update-mcp-integration-workspaces",
                "create-mcp-server",
                "bulk-update-mcp-server-user-access",
                "bulk-update-mcp-server-capabilities",
                "bulk-update-mcp-server-user-access",
            ],
            "{way}: {planned}"
        );
        let registered = call(&client, "register-mcp-server", registration()).await;
        assert_eq!(registered["server"]["created"], true, "{way}: {registered}");
        let (on, users, default) = reach(&client, "research-issues").await;
        // Templates have no switch.
        assert_eq!(on, ["search_issues", "get_issue", "issue"], "{way}");
        assert_eq!(
            (users, default),
            (vec!["Lead".to_owned()], json!("deny")),
            "{way}"
        );
        let told = &registered["reach"];
        assert_eq!(
            (
                &told["tools"],
                &told["users_without_setting"],
                &told["users"][0]["name"]
            ),
            (
                &json!(["search_issues", "get_issue"]),
                &json!("deny"),
                &json!("Research Lead")
            ),
            "{way}: {told}"
        );

        let mut changed = registration();
        changed["tools"] = json!(["get_issue", "close_issue"]);
        changed["users"] = json!(["finance-reader@example.com"]);
        let again = call(&client, "register-mcp-server", changed).await;
        assert_eq!(again["server"]["created"], false, "{way}: {again}");
        let (on, users, _) = reach(&client, "research-issues").await;
        assert_eq!(on, ["get_issue", "close_issue", "issue"], "{way}");
        assert_eq!(users, ["Reader"], "{way}");
        assert_eq!(
            again["reach"]["tools"],
            json!(["get_issue"]),
            "{way}: {again}"
        );
        assert!(
            again["notes"][0]
                .as_str()
                .unwrap()
                .contains("`close_issue` is off"),
            "{way}"
        );
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn new_integration_is_closed_until_its_tools_are_known() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let mut registration = json!({
        "workspace_id": "ws-support-bot", "mcp_integration_id": "parcels",
        "url": "https://parcels.example.com/mcp", "tools": ["track"], "users": ["*"],
    });
    let closed = call(&client, "register-mcp-server", registration.clone()).await;
    assert_eq!(closed["unknown_tools"], json!(["track"]), "{closed}");
    let server = closed["server"]["id"].as_str().unwrap().to_owned();
    let (on, users, default) = reach(&client, &server).await;
    assert_eq!((on.len(), users.len(), default), (0, 0, json!("deny")));

    registration["capabilities"] = json!([{ "type": "tool", "name": "track" },
        { "type": "tool", "name": "cancel" }, { "type": "prompt", "name": "apologise" }]);
    let open = call(&client, "register-mcp-server", registration.clone()).await;
    assert_eq!(open["server"]["id"], server.as_str(), "{open}");
    let (on, _, default) = reach(&client, &server).await;
    assert_eq!(
        (on, default),
        (vec!["track".to_owned()], json!("allow")),
        "{open}"
    );

    registration["users"] = json!(["research-lead@example.com"]);
    let error = client
        .call("register-mcp-server", registration)
        .await
        .unwrap_err();
    assert!(error.contains("is no member of the workspace"), "{error}");
}

#[tokio::test]
async fn each_write_is_approved() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-writes"]).await;
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let (done, text) = session
            .call_text("register-mcp-server", registration())
            .await;
        assert!(done && text.contains("Research Lead"), "{way:?}: {text}");
        assert_eq!(human.request_count(), 5, "{way:?}");
        session.client.cancel().await.unwrap();
    }
}
