//! Integrations: their lifecycle, models and workspace access.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn integration_is_created_read_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "My  First, Key!", "ai_provider_id": "openai", "key": "sk-first",
        "tags": { "team": "a" } });
    let made = portkey.post("/integrations", body.clone()).await;
    let path = format!("/integrations/{}", made["slug"].as_str().unwrap());
    assert_ne!(
        portkey.post("/integrations", body).await["slug"],
        made["slug"]
    );

    let read = portkey.get(&path).await;
    assert_eq!(read["id"], made["id"]);
    assert_eq!(read["status"], "active");
    assert_eq!(read["object"], "integration");
    assert_eq!(read["allow_all_models"], false);
    assert_eq!(
        (&read["type"], &read["workspace_id"]),
        (&json!("organisation"), &Value::Null)
    );
    assert_eq!(read["workspace_count"], 0);
    assert_eq!(read["global_workspace_access_settings"]["enabled"], false);
    assert_eq!(read["tags"]["team"], "a");
    let listed = portkey.get("/integrations").await;
    let listed = listed["data"].as_array().unwrap();
    let listed = listed.iter().find(|item| item["id"] == made["id"]).unwrap();
    for (field, value) in listed.as_object().unwrap() {
        assert_eq!(read[field], *value, "{field}");
    }

    assert_eq!(portkey.delete(&path).await, json!({}));
    let gone = portkey.refusal(Method::GET, &path, Value::Null).await;
    assert_eq!(gone.0, 404);
}

#[tokio::test]
async fn workspace_integration_creates_a_default_provider() {
    let portkey = Portkey::start().await;
    for (slug, extra, provider) in [
        ("plain", json!({}), Some("plain")),
        (
            "named",
            json!({ "default_provider_slug": "mine" }),
            Some("mine"),
        ),
        ("none", json!({ "create_default_provider": false }), None),
    ] {
        let mut body = json!({ "name": slug, "slug": slug, "ai_provider_id": "openai",
            "key": "k", "workspace_id": "ws-research" });
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        portkey.post("/integrations", body).await;
        let providers = portkey.get("/providers?workspace_id=ws-research").await;
        let made: Vec<&str> = providers["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["integration_id"] == slug)
            .map(|item| item["slug"].as_str().unwrap())
            .collect();
        assert_eq!(made, Vec::from_iter(provider), "{slug}");
        let read = portkey.get(&format!("/integrations/{slug}")).await;
        assert_eq!(read["type"], "workspace", "{slug}");
        assert!(read["workspace_id"].is_string(), "{slug}");
        let open = portkey
            .get(&format!("/integrations/{slug}/workspaces"))
            .await;
        assert_eq!(
            string_column(&open["workspaces"], "id"),
            ["ws-research"],
            "{slug}"
        );
    }
    let taken = json!({ "name": "T", "ai_provider_id": "openai", "key": "k",
        "workspace_id": "ws-research", "default_provider_slug": "mine" });
    assert_eq!(
        portkey
            .refusal(Method::POST, "/integrations", taken)
            .await
            .0,
        409
    );
    let nowhere = json!({ "name": "T", "ai_provider_id": "openai", "key": "k",
        "workspace_id": "ws-nowhere" });
    assert_eq!(
        portkey
            .refusal(Method::POST, "/integrations", nowhere)
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn models_are_disabled_unless_all_are_allowed() {
    let portkey = Portkey::start().await;
    for (given, allowed) in [(None, false), (Some(false), false), (Some(true), true)] {
        let mut body = json!({ "name": "Models", "ai_provider_id": "openai", "key": "k" });
        if let Some(given) = given {
            body["allow_all_models"] = json!(given);
        }
        let made = portkey.post("/integrations", body).await;
        let path = format!("/integrations/{}", made["slug"].as_str().unwrap());
        assert_eq!(
            portkey.get(&path).await["allow_all_models"],
            allowed,
            "{given:?}"
        );
        let models = portkey.get(&format!("{path}/models")).await;
        assert_eq!(models["allow_all_models"], allowed, "{given:?}");
        let models = models["models"].as_array().unwrap();
        assert!(
            models.iter().all(|model| model["enabled"] == allowed),
            "{given:?}: {models:?}"
        );
    }
}

#[tokio::test]
async fn settings_of_any_provider_are_stored_with_masked_secrets() {
    let portkey = Portkey::start().await;
    for (provider, settings, shown) in [
        (
            "azure-openai",
            json!({ "azure_auth_mode": "workload", "azure_resource_name": "r",
                "azure_workload_tenant_id": "t", "azure_workload_client_id": "c",
                "is_key_required": false, "azure_deployment_config": [{
                    "azure_deployment_name": "d", "azure_api_version": "v",
                    "azure_model_slug": "gpt-4o" }] }),
            vec!["azure_workload_tenant_id", "is_key_required"],
        ),
        (
            "vertex-ai",
            json!({ "vertex_auth_type": "workload", "vertex_region": "us-east1",
                "vertex_skip_ptu_cost_attribution": true }),
            vec!["vertex_auth_type", "vertex_skip_ptu_cost_attribution"],
        ),
        (
            "bedrock",
            json!({ "aws_auth_type": "serviceRole", "aws_region": "eu-west-1" }),
            vec!["aws_auth_type"],
        ),
        (
            "a-provider-of-tomorrow",
            json!({ "endpoint": "e", "apiKey": "abcdefghijkl", "session_token": "abcdefghijkl" }),
            vec!["endpoint", "masked_apiKey", "masked_session_token"],
        ),
    ] {
        let body = json!({ "name": "Any", "ai_provider_id": provider, "configurations": settings });
        let made = portkey.post("/integrations", body).await;
        let read = portkey
            .get(&format!("/integrations/{}", made["slug"].as_str().unwrap()))
            .await;
        let read = &read["configurations"];
        for field in shown {
            assert!(!read[field].is_null(), "{provider}: {field} in {read}");
            assert!(!read.to_string().contains("abcdefghijkl"), "{read}");
        }
    }
}

#[tokio::test]
async fn models_are_merged_by_slug() {
    let portkey = Portkey::start().await;
    let path = "/integrations/anthropic/models";
    let before = portkey.get(path).await;
    let first = string_column(&before["models"], "slug")[0].to_owned();
    let change = json!({ "allow_all_models": false, "models": [
        { "slug": first, "enabled": false },
        { "slug": "ours", "enabled": true, "is_custom": true, "base_model_slug": first,
            "pricing_config": { "pay_as_you_go": { "request_token": { "price": 0.5 } } } },
    ] });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let again = json!({ "models": [{ "slug": "ours", "enabled": false }] });
    portkey.put(path, again).await;

    let after = portkey.get(path).await;
    assert_eq!(after["total"], before["total"].as_u64().unwrap() + 1);
    let models = after["models"].as_array().unwrap();
    let model = |slug: &str| models.iter().find(|model| model["slug"] == slug).unwrap();
    assert_eq!(model(&first)["enabled"], false);
    assert_eq!(model("ours")["enabled"], false);
    assert_eq!(model("ours")["is_custom"], true);
    assert_eq!(model("ours")["pricing_config"]["type"], "static");
    assert_eq!(
        portkey.get("/integrations/anthropic").await["allow_all_models"],
        false
    );
    for other in models
        .iter()
        .filter(|model| model["slug"] != first && model["slug"] != "ours")
    {
        assert_eq!(other["enabled"], true, "{other}");
    }
}

#[tokio::test]
async fn removal_of_models_is_atomic_and_for_custom_models_only() {
    let portkey = Portkey::start().await;
    let path = "/integrations/anthropic/models";
    let custom = |slug: &str| json!({ "slug": slug, "enabled": true, "is_custom": true });
    portkey
        .put(
            path,
            json!({ "models": [custom("a"), custom("b"), custom("c")] }),
        )
        .await;
    let before = portkey.get(path).await;
    for slugs in [
        "",
        "?slugs=",
        "?slugs=a,claude-haiku-4-5",
        "?slugs=a,missing",
    ] {
        let refusal = portkey
            .refusal(Method::DELETE, &format!("{path}{slugs}"), Value::Null)
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{slugs}");
        assert_eq!(portkey.get(path).await, before, "{slugs}");
    }
    let body = json!({ "models": ["a"] });
    let refusal = portkey
        .refusal(Method::DELETE, &format!("{path}?slugs=a"), body)
        .await;
    assert_eq!(
        (refusal.0, refusal.1.as_str()),
        (400, "AB01"),
        "a body is refused"
    );
    assert_eq!(
        portkey.delete(&format!("{path}?slugs=a,b")).await,
        json!({})
    );
    let left = portkey.get(path).await;
    let left = string_column(&left["models"], "slug");
    assert!(
        left.contains(&"c") && !left.contains(&"a") && !left.contains(&"b"),
        "{left:?}"
    );
}

#[tokio::test]
async fn workspace_access_is_merged_revoked_limited_and_replaced() {
    let portkey = Portkey::start().await;
    let path = "/integrations/openai-production/workspaces";
    let limit = json!({ "type": "tokens", "credit_limit": 1000, "alert_threshold": 900 });
    let row = |answer: &Value, slug: &str| {
        let rows = answer["workspaces"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == slug).cloned()
    };
    let before = portkey.get(path).await;
    assert!(row(&before, "ws-support-bot").unwrap()["rate_limits"][0]["value"].is_number());

    let change = json!({ "workspaces": [
        { "id": "ws-shared", "enabled": false },
        { "id": "ws-research", "enabled": true, "usage_limits": [limit] },
        { "id": "ws-support-bot", "enabled": true, "rate_limits": null },
    ] });
    assert_eq!(portkey.put(path, change).await, json!({}));
    let after = portkey.get(path).await;
    assert_eq!(row(&after, "ws-shared").unwrap()["enabled"], false);
    assert_eq!(
        row(&after, "ws-research").unwrap()["usage_limits"][0]["credit_limit"],
        1000
    );
    assert_eq!(
        row(&after, "ws-support-bot").unwrap()["rate_limits"],
        Value::Null
    );
    assert_eq!(
        portkey.get("/integrations/openai-production").await["workspace_count"],
        2
    );

    let keeps = json!({ "workspaces": [{ "id": "ws-research", "enabled": true }] });
    portkey.put(path, keeps.clone()).await;
    let kept = portkey.get(path).await;
    assert_eq!(kept["total"], 3);
    assert_eq!(
        row(&kept, "ws-research").unwrap()["usage_limits"][0]["credit_limit"],
        1000
    );

    let mut replaces = keeps;
    replaces["override_existing_workspace_access"] = json!(true);
    portkey.put(path, replaces).await;
    assert_eq!(
        string_column(&portkey.get(path).await["workspaces"], "id"),
        ["ws-research"]
    );

    let stranger = json!({ "workspaces": [{ "id": "ws-stranger", "enabled": true }] });
    let refusal = portkey.refusal(Method::PUT, path, stranger).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (403, "AB03"));
}

#[tokio::test]
async fn granting_access_creates_a_provider_once() {
    let portkey = Portkey::start().await;
    let path = "/integrations/azure-eu/workspaces";
    let providers = "/providers?workspace_id=ws-shared";
    let row = |enabled: bool, slug: &str| {
        json!({ "workspaces": [
            { "id": "ws-shared", "enabled": enabled, "default_provider_slug": slug }] })
    };
    portkey.put(path, row(true, "eu")).await;
    portkey.put(path, row(false, "eu")).await;
    portkey.put(path, row(true, "eu")).await;
    portkey.put(path, row(false, "eu")).await;
    portkey.put(path, row(true, "eu-again")).await;
    let slugs = portkey.get(providers).await;
    let slugs = string_column(&slugs["data"], "slug");
    assert!(
        slugs.contains(&"eu") && !slugs.contains(&"eu-again"),
        "{slugs:?}"
    );

    let taken = json!({ "workspaces": [
        { "id": "ws-research", "enabled": true, "default_provider_slug": "gemini" }] });
    assert_eq!(portkey.refusal(Method::PUT, path, taken).await.0, 409);
    let open = portkey.get(path).await;
    assert!(
        !string_column(&open["workspaces"], "id").contains(&"ws-research"),
        "nothing was granted"
    );

    let quiet = json!({ "create_default_provider": false,
        "workspaces": [{ "id": "ws-research", "enabled": true }] });
    let before = portkey.get("/providers?workspace_id=ws-research").await["total"].clone();
    portkey.put(path, quiet).await;
    assert_eq!(
        portkey.get("/providers?workspace_id=ws-research").await["total"],
        before
    );
}

#[tokio::test]
async fn global_access_applies_to_workspaces_without_their_own_entry() {
    let portkey = Portkey::start().await;
    let shared = "/integrations?workspace_id=ws-research";
    assert!(!string_column(&portkey.get(shared).await["data"], "slug").contains(&"azure-eu"));
    let change = json!({ "global_workspace_access": { "enabled": true } });
    portkey
        .put("/integrations/azure-eu/workspaces", change)
        .await;
    assert!(string_column(&portkey.get(shared).await["data"], "slug").contains(&"azure-eu"));
    let refused = portkey.get("/integrations?workspace_id=ws-shared").await;
    assert!(
        !string_column(&refused["data"], "slug").contains(&"azure-eu"),
        "its row says no"
    );
    let read = portkey.get("/integrations/azure-eu").await;
    assert_eq!(read["global_workspace_access_settings"]["enabled"], true);
}
