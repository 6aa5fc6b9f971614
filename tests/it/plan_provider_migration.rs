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

/// A source of a key that cannot be right.
struct WrongSource {
    /// True for the virtual key for OpenAI, false for that for Cohere.
    is_openai: bool,
    /// Argument for the source of its key.
    source: Value,
    /// Argument and reason of the error.
    expected: [&'static str; 2],
}

#[tokio::test]
async fn integration_that_cannot_have_the_key_is_rejected() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let (openai, cohere) = virtual_keys(&client).await;
    // An integration that has the slug of the virtual key is taken for its integration.
    let same_slug = json!({ "name": "Another vendor", "slug": openai, "ai_provider_id": "anthropic", "key": "k" });
    call(&client, "create-integration", same_slug).await;
    let own = json!({ "name": "Of a workspace", "slug": "cohere-research", "ai_provider_id": "cohere", "key": "k",
        "workspace_id": "ws-research" });
    call(&client, "create-integration", own).await;
    for case in [
        WrongSource {
            is_openai: true,
            source: json!({ "integration": "anthropic" }),
            expected: ["`virtual_keys[0].integration`", "for `anthropic`"],
        },
        WrongSource {
            is_openai: true,
            source: json!({ "secret_reference": "support-mailbox" }),
            expected: ["`virtual_keys[0].slug`", "for `anthropic`"],
        },
        WrongSource {
            is_openai: false,
            source: json!({ "integration": "openai-production" }),
            expected: ["`virtual_keys[0].integration`", "for `openai`"],
        },
        WrongSource {
            is_openai: false,
            source: json!({ "integration": "cohere-research" }),
            expected: ["`virtual_keys[0].integration`", "belongs to workspace"],
        },
        WrongSource {
            is_openai: false,
            source: json!({ "integration": "none" }),
            expected: ["`virtual_keys[0].integration`", "is no integration"],
        },
    ] {
        let mut source = case.source;
        source["slug"] = match case.is_openai {
            true => openai.as_str().into(),
            false => cohere.as_str().into(),
        };
        let args = json!({ "virtual_keys": [source] });
        let error = client
            .call("plan-provider-migration", args.clone())
            .await
            .unwrap_err();
        for expected in case.expected {
            assert!(error.contains(expected), "{args}: {error}");
        }
    }
}
