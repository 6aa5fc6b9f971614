//! Secrets: stored by writes, and never returned.

use serde_json::json;

use super::Portkey;

#[tokio::test]
async fn responses_contain_no_secrets() {
    let portkey = Portkey::start().await;
    let secret = "do-not-show-this-anywhere";
    let credentials = json!({
        "name": "Secretive", "slug": "secretive", "ai_provider_id": "bedrock", "key": secret,
        "workspace_id": "ws-shared",
        "configurations": {
            "aws_auth_type": "accessKey", "aws_region": "eu-west-1",
            "aws_access_key_id": secret, "aws_secret_access_key": secret, "aws_external_id": secret,
        },
    });
    let server = json!({
        "name": "Secretive", "slug": "secretive", "url": "https://example.com/mcp",
        "auth_type": "headers", "transport": "http",
        "configurations": { "custom_headers": { "authorization": secret, "nested": [secret] } },
    });
    let made = [
        portkey.post("/integrations", credentials).await,
        portkey.post("/mcp-integrations", server).await,
    ];
    for answer in made {
        assert!(!answer.to_string().contains(secret));
    }
    for path in [
        "/integrations",
        "/integrations/secretive",
        "/providers?workspace_id=ws-shared",
        "/providers/secretive?workspace_id=ws-shared&include_configurations=true",
        "/mcp-integrations",
        "/mcp-integrations/secretive",
    ] {
        let answer = portkey.get(path).await.to_string();
        assert!(answer.contains("secretive"), "{path}: {answer}");
        assert!(!answer.contains(secret), "{path}: {answer}");
    }
}

#[tokio::test]
async fn masked_secret_keeps_its_first_and_last_characters() {
    let portkey = Portkey::start().await;
    let body = json!({
        "name": "Masked", "slug": "masked", "ai_provider_id": "bedrock",
        "key": "abcdefghijklxyz",
        "configurations": {
            "aws_auth_type": "assumedRole", "aws_region": "eu-west-1",
            "aws_external_id": "short", "aws_role_arn": "arn:aws:iam::1:role/seen",
        },
    });
    portkey.post("/integrations", body).await;
    let read = portkey.get("/integrations/masked").await;
    assert_eq!(read["masked_key"], "ab*****xyz");
    let settings = read["configurations"].as_object().unwrap();
    assert_eq!(settings["masked_aws_external_id"], "*****");
    assert!(!settings.contains_key("aws_external_id"));
    assert_eq!(settings["aws_role_arn"], "arn:aws:iam::1:role/seen");
}

#[tokio::test]
async fn masked_value_sent_back_changes_nothing() {
    let portkey = Portkey::start().await;
    let before = portkey.get("/integrations/azure-eu").await;
    let mut settings = before["configurations"].clone();
    assert!(settings["masked_azure_entra_client_secret"].is_string());
    settings["masked_azure_entra_client_secret"] = json!("not a mask at all");
    portkey
        .put(
            "/integrations/azure-eu",
            json!({ "configurations": settings }),
        )
        .await;
    let after = portkey.get("/integrations/azure-eu").await;
    assert_eq!(before["configurations"], after["configurations"]);
}
