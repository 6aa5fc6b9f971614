//! `plan-provider-migration`: what the sandbox has after the plan, and what a human has to say.

use serde_json::{Value, json};

use crate::support::official_client::{ConnectedClient, connect_everywhere};

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

async fn config(client: &ConnectedClient, slug: &Value) -> Value {
    let answer = call(client, "get-config", json!({ "slug": slug })).await;
    let config = answer.get("data").unwrap_or(&answer)["config"].clone();
    match config {
        Value::String(text) => serde_json::from_str(&text).unwrap(),
        config => config,
    }
}

/// Returns the slugs of the virtual keys for OpenAI and Cohere.
async fn virtual_keys(client: &ConnectedClient) -> (String, String) {
    let listed = call(client, "list-all-virtual-keys", json!({})).await;
    let slug = |name: &str| {
        let rows = listed["data"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        row["slug"].as_str().unwrap().to_owned()
    };
    (slug("OpenAI before integrations"), slug("Cohere trial"))
}

#[tokio::test]
async fn plan_replaces_virtual_keys_in_configs_and_prompts() {
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let (openai, cohere) = virtual_keys(&client).await;
        let inventory = call(&client, "plan-provider-migration", json!({})).await;
        assert_eq!(
            inventory["left"].as_array().unwrap().len(),
            2,
            "{way}: {inventory}"
        );
        assert_eq!(inventory["steps"], json!([]), "{way}");

        let made = call(
            &client,
            "create-config",
            json!({ "name": "Legacy", "workspace_id": "ws-shared", "config": {
                "strategy": { "mode": "fallback" },
                "targets": [{ "virtual_key": openai, "weight": 1 }, { "provider": "@anthropic" }] } }),
        )
        .await;
        let slug = made.get("slug").unwrap_or(&made["data"]["slug"]);
        let migration = json!({ "virtual_keys": [
            { "slug": openai, "integration": "openai-production" },
            { "slug": cohere, "secret_reference": "support-mailbox" },
        ] });
        let plan = call(&client, "plan-provider-migration", migration.clone()).await;
        let tools: Vec<_> = plan["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["tool"].as_str().unwrap())
            .collect();
        assert_eq!(
            tools,
            ["create-integration", "create-provider", "update-config"],
            "{way}: {plan}"
        );
        let applied = call(&client, "apply-plan", json!({ "plan": plan["plan"] })).await;
        assert_eq!(applied["status"], "applied", "{way}: {applied}");
        let targets = config(&client, slug).await["targets"].clone();
        assert_eq!(
            targets,
            json!([{ "weight": 1, "provider": "@openai-production" }, { "provider": "@anthropic" }]),
            "{way}"
        );
        let provider = call(
            &client,
            "get-provider",
            json!({ "slug": cohere, "workspace_id": "ws-support-bot" }),
        )
        .await;
        assert_eq!(
            (
                &provider["integration_id"],
                &provider["usage_limits"]["credit_limit"]
            ),
            (&json!(cohere), &json!(20)),
            "{way}: {provider}"
        );
        let again = call(&client, "plan-provider-migration", migration).await;
        assert_eq!(again["steps"], json!([]), "{way}: {again}");
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn key_in_the_arguments_is_rejected() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let (openai, _) = virtual_keys(&client).await;
    for source in [
        json!({ "slug": openai, "key": "sk-0123456789abcdef0123456789abcdef" }),
        json!({ "slug": openai }),
        json!({ "slug": openai, "key": "$env:A", "integration": "anthropic" }),
    ] {
        let args = json!({ "virtual_keys": [source] });
        let error = client
            .call("plan-provider-migration", args)
            .await
            .unwrap_err();
        assert!(
            error.contains("no key passes through a model") || error.contains("takes one of"),
            "{error}"
        );
    }
}
