//! Virtual keys: the former way to share a credential, still served.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn virtual_key_is_created_read_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({
        "name": "Azure East", "provider": "azure-openai", "key": "abcdefghijklxyz",
        "workspace_id": "ws-research", "note": null, "apiVersion": "2024-10-21",
        "deploymentConfig": [{ "apiVersion": "2024-10-21", "deploymentName": "gpt-4o" }],
        "rate_limits": { "type": "requests", "unit": "rph", "value": 7 },
        "usage_limits": { "type": "tokens", "credit_limit": 1000 },
    });
    let made = portkey.post("/virtual-keys", body).await;
    let slug = made["data"]["slug"].as_str().unwrap();
    assert_eq!(made, json!({ "success": true, "data": { "slug": slug } }));

    let path = format!("/virtual-keys/{slug}");
    let read = portkey.get(&path).await;
    assert_eq!(
        (read["key"].as_str(), read["masked_api_key"].as_str()),
        (Some(""), Some("ab*****xyz"))
    );
    assert_eq!(read["ai_provider_name"], "azure-openai");
    assert_eq!(
        read["model_config"]["deploymentConfig"][0]["deploymentName"],
        "gpt-4o"
    );
    assert_eq!(
        read["rate_limits"],
        json!([{ "type": "requests", "unit": "rph", "value": 7 }])
    );
    assert_eq!(read["status"], "active");
    let list = portkey.get("/virtual-keys?workspace_id=ws-research").await;
    assert_eq!(list["data"][0]["slug"], slug);
    assert_eq!(list["data"][0]["workspace_name"], "Research");
    assert!(!list.to_string().contains("abcdefghijklxyz"));

    assert_eq!(portkey.delete(&path).await, json!({}));
    let gone = portkey.refusal(Method::GET, &path, Value::Null).await;
    assert_eq!((gone.0, gone.1.as_str()), (404, "AB08"));
}

#[tokio::test]
async fn update_keeps_omitted_fields() {
    let portkey = Portkey::start().await;
    let path = "/virtual-keys/openai-before-integrations";
    let before = portkey.get(path).await;
    assert!(before["note"].is_string());
    let change = json!({ "key": "another-key-987", "provider": "anthropic" });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let after = portkey.get(path).await;
    assert_ne!(after["masked_api_key"], before["masked_api_key"]);
    assert_eq!(
        after["ai_provider_name"], before["ai_provider_name"],
        "a provider stays"
    );
    assert_eq!(after["note"], before["note"]);
    portkey.put(path, json!({ "note": null })).await;
    assert_eq!(portkey.get(path).await["note"], Value::Null);
}

#[tokio::test]
async fn invalid_virtual_key_is_rejected_with_its_field() {
    let portkey = Portkey::start().await;
    for (body, status, named) in [
        (
            json!({ "provider": "openai", "workspace_id": "ws-shared" }),
            400,
            "name",
        ),
        (
            json!({ "name": "V", "workspace_id": "ws-shared" }),
            400,
            "provider",
        ),
        (
            json!({ "name": "V", "provider": "openai", "workspace_id": "ws-shared",
                "rate_limits": { "unit": "rps" } }),
            400,
            "rate_limits.unit",
        ),
        (
            json!({ "name": "V", "provider": "openai", "workspace_id": "ws-shared",
                "secret_mappings": [{ "target_field": "note", "secret_reference_id": "x" }] }),
            400,
            "secret_mappings[0]",
        ),
    ] {
        let (got, _, message) = portkey
            .refusal(Method::POST, "/virtual-keys", body.clone())
            .await;
        assert!(
            got == status && message.contains(named),
            "{body}: {got} {message}"
        );
    }
}

#[tokio::test]
async fn list_without_page_parameters_is_complete() {
    let portkey = Portkey::start().await;
    let all = portkey.get("/virtual-keys").await;
    let total = all["total"].as_u64().unwrap();
    assert_eq!(all["data"].as_array().unwrap().len() as u64, total);
    let page = portkey
        .get("/virtual-keys?page_size=1&current_page=1")
        .await;
    assert_eq!(page["data"][0], all["data"][1]);
}

#[tokio::test]
async fn provider_of_an_access_grant_is_listed_as_a_virtual_key() {
    let portkey = Portkey::start().await;
    let list = portkey
        .get("/virtual-keys?workspace_id=ws-support-bot")
        .await;
    let of_grant = |slug: &str| {
        let rows = list["data"].as_array().unwrap();
        rows.iter()
            .find(|row| row["slug"] == slug)
            .cloned()
            .expect("a provider in the list")
    };
    let row = of_grant("azure");
    for (field, expected) in [
        ("integration_id", json!("azure-eu")),
        (
            "note",
            json!("Created automatically on integration access grant"),
        ),
        ("provider", json!("azure-openai")),
        ("model_config", Value::Null),
        ("rate_limits", Value::Null),
        ("reset_usage", Value::Null),
        ("object", json!("virtual-key")),
    ] {
        assert_eq!(row.get(field), Some(&expected), "{field}");
    }
    let slugs = string_column(&list["data"], "slug");
    let providers = portkey.get("/providers?workspace_id=ws-support-bot").await;
    assert!(
        string_column(&providers["data"], "slug")
            .iter()
            .all(|slug| slugs.contains(slug))
    );

    let path = "/virtual-keys/openai-production?workspace_id=ws-support-bot";
    let read = portkey.get(path).await;
    assert_eq!(
        read["masked_api_key"], "sk*****001",
        "the credential of its integration"
    );
    assert_eq!(
        (&read["model_config"], &read["rate_limits"]),
        (&json!({}), &json!([]))
    );
    for field in ["reset_usage", "secret_mappings"] {
        assert_eq!(read.get(field), None, "{field}");
    }
    assert_eq!(
        portkey.put(path, json!({ "note": "Shared" })).await,
        json!({})
    );
    let provider = "/providers/openai-production?workspace_id=ws-support-bot";
    assert_eq!(
        portkey.get(provider).await["note"],
        "Shared",
        "they are the same"
    );
    assert_eq!(portkey.delete(path).await, json!({}));
    assert_eq!(
        portkey.refusal(Method::GET, provider, Value::Null).await.0,
        404
    );
}

#[tokio::test]
async fn provider_settings_are_stored_with_masked_secrets() {
    let portkey = Portkey::start().await;
    let secret = "abcdefghijkl";
    for (settings, shown) in [
        (
            json!({ "awsAccessKeyId": secret, "awsSecretAccessKey": secret, "awsRegion": "r" }),
            json!({ "masked_awsAccessKeyId": "ab*****jkl", "masked_awsSecretAccessKey": "ab*****jkl",
                "awsRegion": "r" }),
        ),
        (
            json!({ "vertexProjectId": "p", "vertexRegion": "r" }),
            json!({ "vertexProjectId": "p", "vertexRegion": "r" }),
        ),
        (
            json!({ "azureAuthMode": "entra", "azureEntraClientSecret": secret }),
            json!({ "azureAuthMode": "entra", "masked_azureEntraClientSecret": "ab*****jkl" }),
        ),
        (
            json!({ "workersAiAccountId": "a" }),
            json!({ "workersAiAccountId": "a" }),
        ),
    ] {
        let mut body =
            json!({ "name": "V", "provider": "any", "key": secret, "workspace_id": "ws-shared" });
        body.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let made = portkey.post("/virtual-keys", body).await;
        let path = format!("/virtual-keys/{}", made["data"]["slug"].as_str().unwrap());
        assert_eq!(
            portkey.get(&path).await["model_config"],
            shown,
            "{settings}"
        );
        assert!(
            !portkey
                .get("/virtual-keys")
                .await
                .to_string()
                .contains(secret),
            "{settings}"
        );
    }
}

#[tokio::test]
async fn rate_limits_can_be_updated_as_an_object_or_a_list() {
    let portkey = Portkey::start().await;
    let path = "/virtual-keys/cohere-trial";
    let rate = |value: u8| json!({ "type": "requests", "unit": "rpm", "value": value });
    for given in [rate(5), json!([rate(6)])] {
        portkey.put(path, json!({ "rate_limits": given })).await;
        let expected = if given.is_array() {
            given
        } else {
            json!([given])
        };
        assert_eq!(portkey.get(path).await["rate_limits"], expected);
    }
}
