//! Secret references: masked, merged field by field, and protected while in use.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

fn vault_reference(more: Value) -> Value {
    let mut body = json!({
        "name": "Mistral", "slug": "mistral", "manager_type": "hashicorp_vault", "secret_path": "kv/data/mistral",
        "auth_config": { "vault_auth_type": "token", "vault_addr": "https://vault.example.com",
            "vault_token": "hvs.abcdefghxyz" },
    });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn reference_is_created_read_and_deleted() {
    let portkey = Portkey::start().await;
    let made = portkey
        .post(
            "/secret-references",
            vault_reference(json!({ "description": null })),
        )
        .await;
    assert_eq!(
        (made["slug"].as_str(), made["object"].as_str()),
        (Some("mistral"), Some("secret-reference"))
    );
    let by_id = format!("/secret-references/{}", made["id"].as_str().unwrap());
    let read = portkey.get("/secret-references/mistral").await;
    assert_eq!(portkey.get(&by_id).await, read);
    assert_eq!(read["status"], "ACTIVE");
    assert_eq!(read["allow_all_workspaces"], true);
    assert_eq!(read["created_by"], "system");
    assert_eq!(read["auth_config"]["masked_vault_token"], "hv*****xyz");
    assert_eq!(
        read["auth_config"]["vault_addr"],
        "https://vault.example.com"
    );
    assert_eq!(read["auth_config"].get("vault_token"), None);

    assert_eq!(portkey.delete(&by_id).await, json!({}));
    let gone = portkey.refusal(Method::GET, &by_id, Value::Null).await;
    assert_eq!((gone.0, gone.1.as_str()), (404, "AB08"));
}

#[tokio::test]
async fn each_manager_validates_its_auth_config() {
    let portkey = Portkey::start().await;
    let with = |manager: &str, config: Value| {
        vault_reference(json!({ "manager_type": manager, "auth_config": config }))
    };
    let url = "https://example.vault.azure.net";
    for (manager, config, named) in [
        ("aws_sm", json!({ "aws_auth_type": "serviceRole" }), None),
        (
            "aws_sm",
            json!({ "aws_auth_type": "accessKey", "aws_region": "x" }),
            Some("aws_access_key_id"),
        ),
        (
            "aws_sm",
            json!({ "aws_auth_type": "assumedRole", "aws_region": "x" }),
            Some("aws_role_arn"),
        ),
        (
            "aws_sm",
            json!({ "azure_auth_mode": "default", "azure_vault_url": url }),
            Some("auth_config"),
        ),
        (
            "azure_kv",
            json!({ "azure_auth_mode": "default", "azure_vault_url": url }),
            None,
        ),
        (
            "azure_kv",
            json!({ "azure_auth_mode": "entra", "azure_vault_url": url }),
            Some("azure_entra_tenant_id"),
        ),
        (
            "azure_kv",
            json!({ "azure_vault_url": url }),
            Some("auth_config"),
        ),
        (
            "hashicorp_vault",
            json!({ "vault_auth_type": "kubernetes", "vault_addr": "a", "vault_role": "r" }),
            None,
        ),
        (
            "hashicorp_vault",
            json!({ "vault_auth_type": "approle", "vault_addr": "a" }),
            Some("vault_role_id"),
        ),
        ("gcp_sm", json!({}), Some("manager_type")),
    ] {
        let body = with(manager, config);
        match named {
            None => {
                let mut body = body;
                body["slug"] = format!("{manager}-reference").into();
                assert!(portkey.post("/secret-references", body).await["id"].is_string());
            }
            Some(named) => {
                let refusal = portkey
                    .refusal(Method::POST, "/secret-references", body.clone())
                    .await;
                assert!(
                    refusal.0 == 400 && refusal.2.contains(named),
                    "{body}: {refusal:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn update_sets_keeps_or_clears_and_merges_auth_config() {
    let portkey = Portkey::start().await;
    let path = "/secret-references/mistral";
    let full = json!({ "description": "One", "secret_key": "api_key", "tags": { "a": "b" } });
    portkey
        .post("/secret-references", vault_reference(full))
        .await;
    let change = json!({ "manager_type": "aws_sm", "auth_config": { "vault_namespace": "research",
        "masked_vault_token": "not a mask" } });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let read = portkey.get(path).await;
    assert_eq!(
        read["manager_type"], "hashicorp_vault",
        "a manager stays, and silently so"
    );
    assert_eq!(read["auth_config"]["vault_namespace"], "research");
    assert_eq!(read["auth_config"]["masked_vault_token"], "hv*****xyz");
    for (field, value) in [
        ("description", json!("One")),
        ("secret_key", json!("api_key")),
        ("tags", json!({ "a": "b" })),
    ] {
        assert_eq!(read[field], value, "{field}");
        portkey.put(path, json!({ (field): null })).await;
        assert_eq!(portkey.get(path).await[field], Value::Null, "{field}");
    }
    let broken = json!({ "auth_config": { "vault_auth_type": "approle" } });
    assert_eq!(portkey.refusal(Method::PUT, path, broken).await.0, 400);
}

#[tokio::test]
async fn allowed_workspaces_are_all_or_some_but_never_none() {
    let portkey = Portkey::start().await;
    portkey
        .post("/secret-references", vault_reference(json!({})))
        .await;
    let path = "/secret-references/mistral";
    for body in [
        json!({ "allowed_workspaces": [] }),
        json!({ "allow_all_workspaces": false }),
        json!({ "allow_all_workspaces": true, "allowed_workspaces": ["ws-shared"] }),
    ] {
        let refusal = portkey.refusal(Method::PUT, path, body.clone()).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{body}");
    }
    portkey
        .put(
            path,
            json!({ "allowed_workspaces": ["ws-shared", "ws-research"] }),
        )
        .await;
    portkey
        .put(path, json!({ "allowed_workspaces": ["ws-research"] }))
        .await;
    let read = portkey.get(path).await;
    assert_eq!(read["allow_all_workspaces"], false);
    assert_eq!(
        read["allowed_workspaces"].as_array().unwrap().len(),
        1,
        "a list is replaced"
    );
    portkey
        .put(path, json!({ "allow_all_workspaces": true }))
        .await;
    let read = portkey.get(path).await;
    assert_eq!(
        (
            &read["allow_all_workspaces"],
            read.get("allowed_workspaces")
        ),
        (&json!(true), None)
    );
}

#[tokio::test]
async fn reference_in_use_cannot_be_deleted_and_slugs_are_unique() {
    let portkey = Portkey::start().await;
    let path = "/secret-references/vertex-service-account";
    let refusal = portkey.refusal(Method::DELETE, path, Value::Null).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"));
    assert!(refusal.2.contains("vertex-ai"), "{}", refusal.2);
    portkey
        .put("/integrations/vertex-ai", json!({ "secret_mappings": [] }))
        .await;
    assert_eq!(portkey.delete(path).await, json!({}));

    let taken = vault_reference(json!({ "slug": "support-mailbox" }));
    let refusal = portkey
        .refusal(Method::POST, "/secret-references", taken)
        .await;
    assert!(
        refusal.0 == 400 && refusal.2.contains("slug"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn references_are_filtered_and_listed_without_auth_config() {
    let portkey = Portkey::start().await;
    for (query, slugs) in [
        (
            "",
            &[
                "vertex-service-account",
                "research-providers",
                "support-mailbox",
            ][..],
        ),
        ("?manager_type=azure_kv", &["support-mailbox"]),
        ("?search=RESEARCH", &["research-providers"]),
        (
            "?tags=%7B%22team%22%3A%22platform%22%7D",
            &["vertex-service-account"],
        ),
        ("?page_size=1&current_page=1", &["research-providers"]),
    ] {
        let list = portkey.get(&format!("/secret-references{query}")).await;
        assert_eq!(string_column(&list["data"], "slug"), slugs, "{query}");
        assert_eq!(list["data"][0].get("auth_config"), None);
    }
    for query in ["page_size=101", "manager_type=gcp_sm"] {
        let path = format!("/secret-references?{query}");
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            400,
            "{query}"
        );
    }
}
