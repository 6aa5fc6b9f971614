//! Agent servers: the card of an agent.

use reqwest::Method;
use serde_json::Value;

use super::Portkey;

#[tokio::test]
async fn agent_server_returns_its_card() {
    let portkey = Portkey::start().await;
    for slug in ["travel-desk", "archivist"] {
        let card = portkey
            .get(&format!("/agent-servers/{slug}/agent-card"))
            .await;
        assert!(card["url"].as_str().unwrap().ends_with(slug), "{card}");
        assert_eq!(card["skills"][0]["id"], slug);
    }
    let path = "/agent-servers/nobody/agent-card";
    let refusal = portkey.refusal(Method::GET, path, Value::Null).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (404, "AB08"));
}
