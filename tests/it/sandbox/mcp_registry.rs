//! The registry: the same servers, in the format of registry clients.

use serde_json::{Value, json};

use super::{Portkey, read_json as body};

impl Portkey {
    /// Returns status and body of the registry's response.
    async fn registry(&self, query: &str) -> (u16, Value) {
        let url = format!("http://{}/v0.1/servers?{query}", self.sandbox.address());
        let request = self.client.get(url).header("x-portkey-api-key", "key");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), body(answer).await)
    }
}

#[tokio::test]
async fn registry_lists_the_servers_of_a_workspace() {
    let portkey = Portkey::start().await;
    let (_, answer) = portkey.registry("workspace_id=ws-shared").await;
    let listed = portkey.get("/mcp-servers?workspace_id=ws-shared").await;
    assert_eq!(answer["metadata"], json!({ "count": 1 }));
    let entry = &answer["servers"][0];
    let server = &listed["data"][0];
    assert_eq!(entry["server"]["title"], server["name"]);
    assert_eq!(entry["server"]["remotes"][0]["url"], server["url"]);
    assert_eq!(entry["server"]["remotes"][0]["type"], "streamable-http");
    assert_eq!(entry["_meta"]["publishedAt"], server["created_at"]);
}

#[tokio::test]
async fn cursor_leads_through_all_pages() {
    let portkey = Portkey::start().await;
    for number in 0..4 {
        let server = json!({ "name": format!("Server {number}"), "workspace_id": "ws-shared",
            "mcp_integration_id": "issue-tracker" });
        portkey.post("/mcp-servers", server).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("workspace_id=ws-shared&limit=2&search=server&cursor={cursor}");
        let (_, answer) = portkey.registry(&query).await;
        for entry in answer["servers"].as_array().unwrap() {
            seen.push(entry["server"]["title"].as_str().unwrap().to_owned());
        }
        match answer["metadata"]["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["Server 0", "Server 1", "Server 2", "Server 3"]);
}

#[tokio::test]
async fn invalid_registry_query_is_rejected() {
    let portkey = Portkey::start().await;
    for (query, status) in [
        ("workspace_id=ws-shared&limit=101", 400),
        ("workspace_id=ws-shared&cursor=nowhere", 400),
        ("workspace_id=ws-shared&updated_since=yesterday", 400),
    ] {
        assert_eq!(portkey.registry(query).await.0, status, "{query}");
    }
    let (_, none) = portkey
        .registry("workspace_id=ws-shared&updated_since=2027-01-01T00:00:00Z")
        .await;
    assert_eq!(none["metadata"]["count"], 0);
}
