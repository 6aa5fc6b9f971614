//! Updates that change where requests go: no secret that is stored beside the address is sent to the new
//! one, unless the caller gives it anew.

use portkey_api::catalog::Catalog;
use portkey_operation::{Effect, is_destination};
use serde_json::{Value, json};

use crate::support::{
    form_client::{FormClient, connect},
    official_client::connect_everywhere,
    policy::PolicyFile,
    process::run_cli,
};

const EVIL: &str = "https://evil.example/mcp";

struct Case {
    tool: &'static str,
    args: Value,
    /// Path of the secret that would be sent to the new address; `None` if the call is accepted.
    secret: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let header = Some("configurations.custom_headers.authorization");
    let mcp = |change: Value, secret| {
        let mut args = json!({ "mcp_integration_id": "issue-tracker" });
        let fields = change.as_object().unwrap().clone();
        args.as_object_mut().unwrap().extend(fields);
        Case {
            tool: "update-mcp-integration",
            args,
            secret,
        }
    };
    let integration = |change: Value, secret| {
        let mut args = json!({ "slug": "openai-production" });
        let fields = change.as_object().unwrap().clone();
        args.as_object_mut().unwrap().extend(fields);
        Case {
            tool: "update-integration",
            args,
            secret,
        }
    };
    let new_header =
        json!({ "custom_headers": { "authorization": "Bearer new-token-of-the-host" } });
    vec![
        mcp(json!({ "url": EVIL }), header),
        mcp(json!({ "patch": { "url": EVIL } }), header),
        mcp(
            json!({ "patch": [{ "op": "replace", "path": "/url", "value": EVIL }] }),
            header,
        ),
        mcp(json!({ "url": EVIL, "configurations": { "x": 1 } }), header),
        mcp(
            json!({ "configurations": { "token_endpoint": EVIL } }),
            header,
        ),
        mcp(json!({ "name": "Tracker" }), None),
        mcp(
            json!({ "url": "https://mcp.example.com/issues", "name": "Issues" }),
            None,
        ),
        mcp(json!({ "url": EVIL, "configurations": new_header }), None),
        integration(
            json!({ "configurations": { "custom_host": EVIL } }),
            Some("key"),
        ),
        integration(
            json!({ "patch": { "configurations": { "custom_host": EVIL } } }),
            Some("key"),
        ),
        integration(json!({ "custom_host": EVIL }), Some("key")),
        integration(
            json!({ "key": "sk-new-key-of-this-host", "configurations": { "custom_host": EVIL } }),
            None,
        ),
        integration(
            json!({ "patch": { "key": "sk-new-key-of-this-host", "configurations": { "custom_host": EVIL } } }),
            None,
        ),
    ]
}

#[tokio::test]
async fn secret_beside_a_new_address_is_given_anew_or_the_call_is_refused() {
    for Case { tool, args, secret } in cases() {
        let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
        let outcome = client.call(tool, args.clone()).await;
        match (secret, outcome) {
            (None, outcome) => _ = outcome.unwrap_or_else(|error| panic!("{tool} {args}: {error}")),
            (Some(secret), Err(error)) => {
                assert!(
                    error.contains("changes where requests go"),
                    "{args}: {error}"
                );
                assert!(error.contains(&format!("(`{secret}`)")), "{args}: {error}");
            }
            (Some(_), Ok(answer)) => panic!("{tool} {args}: accepted: {answer}"),
        }
    }
}

#[tokio::test]
async fn dry_run_and_plan_refuse_what_the_call_would_refuse() {
    let args = json!({ "mcp_integration_id": "issue-tracker", "url": EVIL });
    let client = connect_everywhere(&["--sandbox", "--dry-run"], &[])
        .await
        .remove(0);
    let error = client
        .call("update-mcp-integration", args.clone())
        .await
        .unwrap_err();
    assert!(error.contains("changes where requests go"), "{error}");
    let steps = json!([{ "id": "move", "tool": "update-mcp-integration", "arguments": args }]);
    let error = client
        .call("plan-changes", json!({ "steps": steps }))
        .await
        .unwrap_err();
    assert!(
        error.contains("steps.move") && error.contains("changes where requests go"),
        "{error}"
    );
}

/// Without the state, nothing tells which secrets are kept.
#[tokio::test]
async fn caller_without_the_read_cannot_change_an_address() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [get-mcp-integration] } }\n",
    );
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path()], &[])
        .await
        .remove(0);
    let args = json!({ "mcp_integration_id": "issue-tracker", "url": EVIL });
    let error = client
        .call("update-mcp-integration", args)
        .await
        .unwrap_err();
    assert!(
        error.contains("cannot tell here which secrets") && error.contains("`closed`"),
        "{error}"
    );
    let args = json!({ "mcp_integration_id": "issue-tracker", "name": "Tracker" });
    client.call("update-mcp-integration", args).await.unwrap();
}

#[tokio::test]
async fn approver_is_told_that_an_address_changes() {
    let human = FormClient::new(true);
    let session = connect((false, false), &human, &["--approve-sensitive"]).await;
    let args = json!({ "mcp_integration_id": "old-wiki", "url": EVIL });
    session.call_text("update-mcp-integration", args).await;
    let request = human.last_request();
    assert!(
        request.contains("an address that stored keys and headers are sent to"),
        "{request}"
    );
    session.client.cancel().await.unwrap();
}

/// Every address among the arguments of an update is declared, so that it is known as a risk.
#[test]
fn addresses_among_the_arguments_of_updates_are_declared() {
    fn holds_address(schema: &Value) -> bool {
        match schema {
            Value::Object(fields) => fields.iter().any(|(name, value)| {
                let named = value.as_object().into_iter().flatten();
                let mut names = named.map(|(name, _)| name);
                (name == "properties" && names.any(|name| is_destination(name)))
                    || holds_address(value)
            }),
            Value::Array(items) => items.iter().any(holds_address),
            _ => false,
        }
    }

    let mut undeclared = Vec::new();
    for entry in Catalog::full().iter() {
        let operation = entry.operation;
        let Some(rules) = operation
            .update_rules()
            .filter(|_| operation.effect() == Effect::Update)
        else {
            continue;
        };
        let published = entry.compiled();
        let properties = published.full_schema()["properties"].as_object().unwrap();
        for (name, schema) in properties {
            let is_address = is_destination(name) || holds_address(schema);
            let is_declared = rules.addresses().contains(&name.as_str());
            if operation.is_change(name) && is_address && !is_declared {
                undeclared.push(format!("{}: {name}", operation.name()));
            }
        }
        for name in rules.addresses() {
            assert!(
                properties.contains_key(*name),
                "{}: {name}",
                operation.name()
            );
        }
    }
    assert_eq!(undeclared, Vec::<String>::new());
}

#[test]
fn reference_lists_the_addresses_as_risks() {
    let (_, out, _) = run_cli(&["tools", "--format", "markdown", "--sandbox"]);
    let row = out
        .lines()
        .find(|line| line.starts_with("| `update-mcp-integration`"))
        .unwrap();
    assert!(
        row.contains("secret (`configurations`, `secret_mappings`, `url`)"),
        "{row}"
    );
}
