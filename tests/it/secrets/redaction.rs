//! Redaction of arguments in dry runs, approvals and the audit log: everything but secrets is
//! shown.

use portkey_api::catalog::Catalog;
use portkey_mcp::security::secrets::{MASK, redact_arguments};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use crate::support::{
    planted_secrets::random_secrets,
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

fn redact_for_tool(tool: &str, args: &Value) -> Value {
    let catalog = Catalog::full();
    let published = catalog.find(tool).unwrap().compiled();
    Value::Object(redact_arguments(
        published,
        args.as_object().unwrap().clone(),
    ))
}

struct Case {
    tool: &'static str,
    args: Value,
    shown: Value,
}

#[test]
fn only_secrets_are_redacted_in_arguments() {
    let cases = [
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "config": {
                "strategy": { "mode": "loadbalance" },
                "targets": [
                    { "provider": "@a", "weight": 0.5, "virtual_key": "openai-5cd6b6",
                      "api_key": "plain", "custom_host": "https://user:pass@h/v1" },
                    { "api_key": "$env:OPENAI_KEY", "forward_headers": ["x-a"],
                      "request_headers": { "x-a": "v" }, "retry": { "attempts": 3 } },
                ],
                "metadata": { "team": "core" },
                "note": "the key sk-abcdefghijklmnopqrstuvwx is old",
                "models": ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "claude-3-5-sonnet-20241022"],
                "ids": ["183497e5-6d60-4f2f-9d6e-5f2cf2e2a001", "pg-guardrail-for-everyone-5cd6b6"],
                "other": "k3Jx9Qm2Zt7Lw4Vb8Ny1Rc6P",
                "pin": null, "api_secret": 1234,
            } }),
            shown: json!({ "slug": "s", "config": {
                "strategy": { "mode": "loadbalance" },
                "targets": [
                    { "provider": "@a", "weight": 0.5, "virtual_key": "openai-5cd6b6",
                      "api_key": "***", "custom_host": format!("https://{MASK}@h/v1") },
                    { "api_key": "$env:OPENAI_KEY", "forward_headers": ["x-a"],
                      "request_headers": { "x-a": "***" }, "retry": { "attempts": 3 } },
                ],
                "metadata": { "team": "core" },
                "note": format!("the key {MASK} is old"),
                "models": ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "claude-3-5-sonnet-20241022"],
                "ids": ["183497e5-6d60-4f2f-9d6e-5f2cf2e2a001", "pg-guardrail-for-everyone-5cd6b6"],
                "other": "***",
                "pin": null, "api_secret": "***",
            } }),
        },
        Case {
            tool: "create-guardrail",
            args: json!({ "name": "n", "checks": [{ "id": "default.webhook", "parameters": {
                "webhookURL": "https://h/p", "headers": { "X-Any": "v" }, "timeout": 5,
                "settings": [{ "name": "Authorization", "value": "v" }, { "name": "mode", "value": "w" }],
                "credentials": { "apiKey": "v", "domain": "d" },
            } }] }),
            shown: json!({ "name": "n", "checks": [{ "id": "default.webhook", "parameters": {
                "webhookURL": "https://h/p", "headers": { "X-Any": "***" }, "timeout": 5,
                "settings": [{ "name": "Authorization", "value": "***" }, { "name": "mode", "value": "w" }],
                "credentials": { "apiKey": "***", "domain": "***" },
            } }] }),
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "key": "k", "configurations": {
                "aws_region": "r", "aws_secret_access_key": "s", "custom_headers": { "a": "b" },
                "vertex_service_account_json": { "private_key": "v", "client_email": "e" },
                "unknown_field": "shown", "unknown_token": "v", "unknown": { "passphrase": "v", "zone": 1 },
            } }),
            shown: json!({ "name": "n", "key": "***", "configurations": {
                "aws_region": "r", "aws_secret_access_key": "***", "custom_headers": { "a": "***" },
                "vertex_service_account_json": "***",
                "unknown_field": "shown", "unknown_token": "***",
                "unknown": { "passphrase": "***", "zone": 1 },
            } }),
        },
        Case {
            tool: "insert-logs",
            args: json!({ "logs": [{
                "request": { "url": "u", "headers": { "a": "b" }, "body": { "messages": ["private"] } },
                "response": { "status": 200, "body": { "choices": [] } },
            }] }),
            shown: json!({ "logs": [{
                "request": { "url": "u", "headers": { "a": "***" }, "body": "***" },
                "response": { "status": 200, "body": "***" },
            }] }),
        },
        Case {
            tool: "create-usage-limits-policy",
            args: json!({ "conditions": [
                { "key": "api_key", "value": "183497e5-6d60-4f2f-9d6e-5f2cf2e2a001" }],
                "group_by": [{ "key": "api_key" }], "type": "cost", "credit_limit": 5 }),
            shown: json!({ "conditions": [
                { "key": "api_key", "value": "183497e5-6d60-4f2f-9d6e-5f2cf2e2a001" }],
                "group_by": [{ "key": "api_key" }], "type": "cost", "credit_limit": 5 }),
        },
        Case {
            tool: "create-secret-reference",
            args: json!({ "name": "n", "auth_config": { "vault_token": "t" }, "secret_key": "kept" }),
            shown: json!({ "name": "n", "auth_config": "***", "secret_key": "kept" }),
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "config": {
                "api_key": { "value": "v", "n": 7, "on": true }, "token": ["v", { "a": "v" }, 7],
                "request_token": { "price": 0.1 }, "is_secret": true,
                "headers": { "name": "v", "value": "v", "on": true, "k3Jx9Qm2Zt7Lw4Vb8Ny1Rc6P": 1 },
                "token_schema": { "token": { "type": "string", "default": "v" } },
            } }),
            shown: json!({ "slug": "s", "config": {
                "api_key": { "value": "***", "n": "***", "on": "***" }, "token": ["***", { "a": "***" }, "***"],
                "request_token": { "price": 0.1 }, "is_secret": true,
                "headers": { "name": "***", "value": "***", "on": "***", MASK: "***" },
                "token_schema": { "token": { "type": "string", "default": "***" } },
            } }),
        },
        Case {
            tool: "create-label",
            args: json!({ "name": "n", "pin": 1234, "keys": { "a": "v" }, "max_tokens": 5, "session": { "b": ["v"] } }),
            shown: json!({ "name": "n", "pin": "***", "keys": { "a": "***" }, "max_tokens": 5, "session": { "b": ["***"] } }),
        },
        Case {
            tool: "create-label",
            args: json!({ "name": "n", "api_key_2": "v", "token_value": 7, "tokens": "v", "more": {
                "tokens": 123, "max_tokens": "auto", "keyValue": "v", "total_tokens_2": 5 } }),
            shown: json!({ "name": "n", "api_key_2": "***", "token_value": "***", "tokens": "***", "more": {
                "tokens": 123, "max_tokens": "***", "keyValue": "***", "total_tokens_2": 5 } }),
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "config": {
                "api_key_2": "v", "tokens": "v", "more": { "tokens": 123, "max_tokens": "auto" },
                "params": [{ "name": "X-Api-Key-2", "value": "v" }, { "name": "tokens", "value": 9 }] } }),
            shown: json!({ "slug": "s", "config": {
                "api_key_2": "***", "tokens": "***", "more": { "tokens": 123, "max_tokens": "auto" },
                "params": [{ "name": "X-Api-Key-2", "value": "***" }, { "name": "tokens", "value": 9 }] } }),
        },
        Case {
            tool: "create-label",
            args: json!({ "name": "n", "sk-abcdefghijklmnopqrstuvwx": 1 }),
            shown: json!({ "name": "n", MASK: 1 }),
        },
    ];
    for Case {
        tool,
        args,
        shown: expected,
    } in cases
    {
        assert_eq!(redact_for_tool(tool, &args), expected, "{tool}");
    }
}

/// Generates a secret with a secret name, with a known format, or among headers, beside harmless
/// values.
fn any_planted_secret(secret: String) -> impl Strategy<Value = Value> {
    let names = [
        "api_key",
        "apiKey",
        "x-api-key",
        "token",
        "access_token",
        "client_secret",
        "password",
        "passwd",
        "authorization",
        "Authorization",
        "private_key",
        "aws_secret_access_key",
        "credentials",
        "signing_key",
        "passphrase",
        "cookie",
        "key",
        "connection_string",
    ];
    let key = format!("sk-{secret}");
    let bearer = format!("Bearer {secret}");
    let named = secret.clone();
    let leaf = prop_oneof![
        select(names.to_vec()).prop_map(move |name| json!({ name: named })),
        Just(json!({ "note": format!("use {key} today") })),
        Just(json!({ "note": [bearer] })),
        Just(json!({ "headers": { "x-any": secret.clone() } })),
        Just(json!({ "custom_headers": [{ "name": "x-any", "value": secret.clone() }] })),
        Just(json!({ "params": [{ "name": "X-Api-Key", "value": secret.clone() }] })),
        Just(json!({ "api_key": { "value": secret.clone() } })),
        Just(json!({ "api_key": ["plain", { "value": secret.clone() }] })),
        Just(json!({ "headers": { "name": secret.clone(), "value": "v" } })),
        Just(json!({ format!("{}_api_key", "x".repeat(70)): secret.clone() })),
        Just(json!({ "text": json!({ "api_key": secret.clone() }).to_string() })),
        Just(json!({ "url": format!("https://user:{secret}@host/path") })),
        Just(json!({ "query": format!("a=1&api_key={secret}") })),
        Just(json!({ "text": format!(r#"{{"api_key":"{secret}","api_key":1}}"#) })),
        Just(json!({ format!("sk-{secret}"): true })),
    ];
    leaf.prop_recursive(5, 20, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|below| json!({ "targets": [{ "weight": 1 }, below] })),
            inner
                .clone()
                .prop_map(|below| json!({ "strategy": below, "weight": 0.25 })),
            inner.clone().prop_map(|below| json!({ "metadata": below })),
            inner.prop_map(|below| json!([below, "plain"])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// In any document: the secret is not shown, and a number beside it is.
    #[test]
    fn planted_secret_is_redacted_and_its_siblings_are_not(
        document in "[A-Za-z0-9]{24,40}".prop_flat_map(|secret| {
            any_planted_secret(secret.clone()).prop_map(move |planted| (secret.clone(), planted))
        })
    ) {
        let (secret, planted) = document;
        let config = json!({ "weight": 7.25, "planted": planted });
        for (tool, args) in [
            ("update-config", json!({ "slug": "s", "config": config })),
            ("create-guardrail", json!({ "name": "n", "checks": [{ "id": "x", "parameters": config }] })),
            ("create-mcp-integration", json!({ "name": "n", "configurations": config })),
            ("create-integration", json!({ "name": "n", "unheard_of": config })),
        ] {
            let shown = redact_for_tool(tool, &args).to_string();
            prop_assert!(!shown.contains(&secret), "{tool}: {shown}");
            prop_assert!(shown.contains("7.25"), "{tool}: {shown}");
        }
    }
}

/// The report of a dry run contains no secret in any part, and shows the rest.
#[tokio::test]
async fn dry_run_shows_changes_without_secrets() {
    let [old, new] = &random_secrets(2)[..] else {
        panic!()
    };
    let document = json!({ "strategy": { "mode": "fallback" }, "targets": [
        { "provider": "@a", "weight": 0.3, "api_key": old }, { "provider": "@b", "weight": 0.7 },
    ] });
    let stored = json!({ "config": document.to_string(), "name": "c" }).to_string();
    let upstream = MockUpstream::start(move |_| json_response(&stored)).await;
    let dispatcher = dispatcher(&upstream).with_dry_run(true);
    let call = async |tool: &str, args: Value| {
        let args = args.as_object().unwrap().clone();
        dispatcher
            .call_as_local(&operator(), tool, args)
            .await
            .unwrap()
    };
    let config = json!({ "strategy": { "mode": "loadbalance" }, "targets": [
        { "provider": "@a", "weight": 0.5, "api_key": new }, { "provider": "@b", "weight": 0.5 },
    ] });
    let result = call("update-config", json!({ "slug": "s", "config": config })).await;
    let changes = json!([
        { "path": "config.strategy.mode", "from": "fallback", "to": "loadbalance" },
        { "path": "config.targets[provider=@a].weight", "from": 0.3, "to": 0.5 },
        { "path": "config.targets[provider=@b].weight", "from": 0.7, "to": 0.5 },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
    // Targets are compared by what they lead to, and shown without their secrets.
    let config = json!({ "strategy": { "mode": "fallback" }, "targets": [
        { "provider": "@a", "weight": 0.3, "api_key": new, "request_headers": { "x-any": new } },
    ] });
    let result = call("update-config", json!({ "slug": "s", "config": config })).await;
    let changes = json!([
        { "path": "config.targets[provider=@a].request_headers", "to": { "x-any": "***" } },
        { "path": "config.targets[provider=@b]", "from": { "provider": "@b", "weight": 0.7 } },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
    assert!(
        !result.to_string().contains(&**new) && !result.to_string().contains(&**old),
        "{result}"
    );
}
