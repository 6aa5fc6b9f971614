//! Workflows: the state they leave, over the official client, and the steps that guards see.

use portkey_mcp::workflows::{Listing, WORKFLOWS};
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    form_client::{FormClient, FormReaction, TRANSPORTS_AND_GENERATIONS, connect},
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
};

/// The prompt of the sandbox, and the collection to which tests copy it.
const COLLECTION: &str = "co-customers";

/// Returns the UUID of the seeded prompt.
async fn source_id(client: &ConnectedClient) -> String {
    let listed = client
        .call("list-prompts", json!({ "workspace_id": "ws-support-bot" }))
        .await
        .unwrap();
    listed["data"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn steps_are_operations() {
    let catalog = default_catalog();
    for workflow in WORKFLOWS {
        let args = json!({ "publish": true, "label": "a", "source_version": "b" });
        for name in workflow.needs_for(args.as_object().unwrap()) {
            assert!(catalog.find(name).is_ok(), "{workflow:?}: {name}");
        }
    }
}

#[tokio::test]
async fn prompt_is_promoted_once_and_then_only_where_it_changed() {
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let source = source_id(&client).await;
        let promote = json!({ "source_prompt_id": source, "target_collection_id": COLLECTION,
            "target_env": "prod" });
        let planned = {
            let mut args = promote.clone();
            args["dry_run"] = true.into();
            client.call("promote-prompt", args).await.unwrap()
        };
        assert_eq!(
            planned["would_call"][0]["operation"], "create-prompt",
            "{way}"
        );
        let made = client
            .call("promote-prompt", promote.clone())
            .await
            .unwrap();
        assert_eq!(
            (
                &made["action"],
                &made["published"],
                &made["target"]["version"]
            ),
            (&json!("created"), &json!(true), &json!(1)),
            "{way}: {made}"
        );
        let copy = made["target"]["prompt_id"].as_str().unwrap();
        let original = client
            .call("get-prompt", json!({ "prompt_id": source }))
            .await
            .unwrap();
        let copied = client
            .call("get-prompt", json!({ "prompt_id": copy }))
            .await
            .unwrap();
        assert_eq!(copied["name"], "Refund Reply-prod", "{way}");
        for field in ["string", "parameters", "model", "virtual_key"] {
            assert_eq!(copied[field], original[field], "{way} {field}");
        }
        assert_eq!(copied["template_metadata"]["env"], "prod", "{way}");

        let again = client
            .call("promote-prompt", promote.clone())
            .await
            .unwrap();
        assert_eq!(again["action"], "unchanged", "{way}: {again}");

        let change = json!({ "prompt_id": source, "patch": true, "string": "Hello {{customer}}" });
        client.call("update-prompt", change).await.unwrap();
        let mut newer = promote;
        newer["source_version"] = "latest".into();
        newer["publish"] = true.into();
        let updated = client.call("promote-prompt", newer).await.unwrap();
        assert_eq!(
            (
                &updated["action"],
                &updated["target"]["version"],
                &updated["replaced_version"],
            ),
            (&json!("updated"), &json!(2), &json!(1)),
            "{way}: {updated}"
        );
        let live = client
            .call("get-prompt", json!({ "prompt_id": copy }))
            .await
            .unwrap();
        assert_eq!(live["string"], "Hello {{customer}}", "{way}");
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn version_is_published_and_labelled_in_its_prompt() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let source = source_id(&client).await;
    let change = json!({ "prompt_id": source, "patch": true, "string": "Hello" });
    client.call("update-prompt", change).await.unwrap();
    let promote = json!({ "source_prompt_id": source, "publish": true, "label": "night-shift" });
    let promoted = client.call("promote-prompt", promote).await.unwrap();
    assert_eq!(
        (&promoted["action"], &promoted["replaced_version"]),
        (&json!("published"), &json!(1)),
        "{promoted}"
    );
    let differences = promoted["differences"].as_array().unwrap();
    let text = differences.iter().find(|change| change["path"] == "string");
    let lines = text.unwrap()["diff"].as_str().unwrap();
    assert!(
        lines.contains("-system:") && lines.contains("+Hello"),
        "{promoted}"
    );
    let again = json!({ "source_prompt_id": source, "publish": true });
    let again = client.call("promote-prompt", again).await.unwrap();
    assert_eq!(
        (&again["action"], &again["differences"]),
        (&json!("unchanged"), &Value::Null),
        "{again}"
    );
    let live = client
        .call("get-prompt", json!({ "prompt_id": source }))
        .await
        .unwrap();
    assert_eq!(
        (&live["string"], &live["prompt_version_label_name"]),
        (&json!("Hello"), &json!("night-shift")),
        "{live}"
    );
    let back = json!({ "source_prompt_id": source, "source_version": 1, "publish": true });
    let back = client.call("promote-prompt", back).await.unwrap();
    assert_eq!(back["replaced_version"], 2, "{back}");
    let labelled = json!({ "source_prompt_id": source, "source_version": "night-shift",
        "target_name": "Night reply" });
    let copy = client.call("promote-prompt", labelled).await.unwrap();
    assert_eq!(copy["source"]["version"], 2, "{copy}");
    let none = json!({ "source_prompt_id": source });
    let error = client.call("promote-prompt", none).await.unwrap_err();
    assert!(error.contains("names no target"), "{error}");
}

#[tokio::test]
async fn prompt_in_code_is_created_changed_or_left() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let mut migrate = json!({ "name": "greeting", "collection_id": COLLECTION, "app": "desk", "env": "dev",
        "messages": [{ "role": "user", "content": "Hi" }], "parameters": { "temperature": 0 },
        "virtual_key": "openai-production", "model": "gpt-4o" });
    for expected in ["created", "unchanged"] {
        let done = client
            .call("migrate-prompt", migrate.clone())
            .await
            .unwrap();
        assert_eq!(done["action"], expected, "{done}");
        assert_eq!(done["published"], true, "{done}");
    }
    migrate["model"] = "gpt-4o-mini".into();
    migrate["dry_run"] = true.into();
    let planned = client
        .call("migrate-prompt", migrate.clone())
        .await
        .unwrap();
    assert_eq!(
        (&planned["dry_run"], &planned["changed"]),
        (&json!(true), &json!(["model"])),
        "{planned}"
    );
    migrate["dry_run"] = false.into();
    migrate["publish"] = true.into();
    let done = client.call("migrate-prompt", migrate).await.unwrap();
    assert_eq!(
        (&done["action"], &done["version"], &done["replaced_version"]),
        (&json!("updated"), &json!(2), &json!(1)),
        "{done}"
    );
}

#[tokio::test]
async fn metadata_is_checked_without_a_request() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    for (args, valid) in [
        (json!({ "client_id": "c", "app": "a", "env": "e" }), true),
        (json!({ "client_id": "c" }), false),
    ] {
        let checked = client
            .call("validate_completion_metadata", args.clone())
            .await
            .unwrap();
        assert_eq!(checked["valid"], valid, "{checked}");
        assert_eq!(checked["metadata"], args);
    }
    let names: Vec<_> = client
        .tools()
        .await
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    // Callable and not listed.
    for workflow in WORKFLOWS
        .iter()
        .filter(|workflow| matches!(workflow.listing, Listing::BySearch | Listing::Nowhere))
    {
        assert!(!names.iter().any(|name| name == workflow.operation.name()));
    }
}

#[tokio::test]
async fn policy_about_a_step_holds_in_a_workflow() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: no-new\n    action: deny\n    match: { tools: [create-prompt] }\n    when: args.collection_id == \"co-customers\"\n",
    );
    let args = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let source = source_id(&client).await;
    let promote = json!({ "source_prompt_id": source, "target_collection_id": COLLECTION,
        "target_env": "prod" });
    let error = client.call("promote-prompt", promote).await.unwrap_err();
    assert!(error.contains("`no-new` denies `create-prompt`"), "{error}");
}

#[tokio::test]
async fn workflow_is_hidden_where_an_operation_is_not_offered() {
    let client = connect_everywhere(&["--sandbox", "--read-only"], &[])
        .await
        .remove(0);
    let names: Vec<_> = client
        .tools()
        .await
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    assert!(!names.iter().any(|name| name == "promote-prompt"));
    let error = client
        .call(
            "promote-prompt",
            json!({ "source_prompt_id": "p", "publish": true }),
        )
        .await
        .unwrap_err();
    assert!(error.contains("not on offer"), "{error}");
}

#[tokio::test]
async fn dry_run_of_the_server_describes_the_writes() {
    let client = connect_everywhere(&["--sandbox", "--dry-run"], &[])
        .await
        .remove(0);
    let source = source_id(&client).await;
    let promote = json!({ "source_prompt_id": source, "target_collection_id": COLLECTION,
        "target_env": "prod" });
    let planned = client.call("promote-prompt", promote).await.unwrap();
    assert_eq!(planned["dry_run"], true, "{planned}");
    assert_eq!(planned["would_call"].as_array().unwrap().len(), 1);
    let listed = client
        .call("list-prompts", json!({ "collection_id": COLLECTION }))
        .await
        .unwrap();
    assert_eq!(listed["total"], 0, "{listed}");
}

/// A client of 2026-07-28 repeats the whole call with each response; one before it is asked while the
/// call waits. Both end in the same state.
#[tokio::test]
async fn each_write_of_a_workflow_is_approved() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-writes"]).await;
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let migrate = json!({ "name": "greeting", "collection_id": COLLECTION, "string": "Hi",
            "parameters": {}, "virtual_key": "openai-production" });
        let (done, text) = session.call_text("migrate-prompt", migrate.clone()).await;
        assert!(done && text.contains("created"), "{way:?}: {text}");
        assert_eq!(human.request_count(), 1, "{way:?}");
        let (mut changed, publish) = (migrate, json!(true));
        changed["string"] = "Hello".into();
        changed["publish"] = publish;
        let (done, text) = session.call_text("migrate-prompt", changed).await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(done && answer["version"] == 2, "{way:?}: {text}");
        assert_eq!(human.request_count(), 3, "{way:?}");
        session.client.cancel().await.unwrap();
    }
}

/// A workflow would take a redaction, or the report of a dry run, for data of Portkey.
#[tokio::test]
async fn workflow_stops_at_a_read_that_is_redacted_or_dry() {
    struct Case {
        rule: &'static str,
        read: &'static str,
    }
    let cases = [
        Case {
            rule: "redact: [string], match: { tools: [get-prompt] }",
            read: "`get-prompt`",
        },
        Case {
            rule: "redact: [\"data[].name\"], match: { tools: [list-prompts] }, when: 'has(args.collection_id) && args.collection_id == \"co-customers\"'",
            read: "`list-prompts`",
        },
        Case {
            rule: "action: dry_run, match: { tools: [list-prompts] }, when: 'has(args.collection_id) && args.collection_id == \"co-customers\"'",
            read: "`list-prompts`",
        },
    ];
    for Case { rule, read } in cases {
        let policy = PolicyFile::with(&format!(
            "version: \"1\"\nrules:\n  - {{ name: r, {rule} }}\n"
        ));
        let args = ["--sandbox", "--policy", policy.path()];
        let client = connect_everywhere(&args, &[]).await.remove(0);
        let source = source_id(&client).await;
        // Something to redact in the target's collection.
        let other = json!({ "name": "other", "collection_id": COLLECTION, "string": "Hi",
            "parameters": {}, "virtual_key": "openai-production" });
        client.call("create-prompt", other).await.unwrap();
        let promote = json!({ "source_prompt_id": source, "target_collection_id": COLLECTION,
            "target_name": "other", "publish": true });
        let promoted = client.call("promote-prompt", promote).await;
        let error = promoted.unwrap_err();
        assert!(error.contains(read), "{rule}: {error}");
        assert!(error.contains("ask the operator"), "{rule}: {error}");
        let listed = client
            .call("list-prompts", json!({ "workspace_id": "ws-support-bot" }))
            .await
            .unwrap();
        assert_eq!(listed["total"], 2, "{rule}: {listed}");
    }
}

#[tokio::test]
async fn redacted_value_is_rejected_in_a_write() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let source = source_id(&client).await;
    let gone = "[redacted by policy]";
    let change = json!({ "prompt_id": source, "patch": true, "string": gone });
    let error = client.call("update-prompt", change).await.unwrap_err();
    assert!(error.starts_with("`string`"), "{error}");
    let new = json!({ "name": gone, "collection_id": COLLECTION, "string": "Hi",
        "parameters": {}, "virtual_key": "openai-production" });
    let error = client.call("create-prompt", new).await.unwrap_err();
    assert!(error.starts_with("`name`"), "{error}");
}

#[tokio::test]
async fn promotion_that_cannot_be_completed_writes_nothing() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: r, action: deny, match: { tools: [set-default-prompt-version] } }\n",
    );
    let args = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let source = source_id(&client).await;
    for (argument, value, expected) in [
        ("label", json!("no-such-label"), "no label `no-such-label`"),
        (
            "publish",
            json!(true),
            "`set-default-prompt-version`, which is not on offer",
        ),
    ] {
        let mut promote = json!({ "source_prompt_id": source, "target_env": "prod" });
        promote[argument] = value;
        let error = client.call("promote-prompt", promote).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("Done before"), "{error}");
    }
    let listed = client
        .call("list-prompts", json!({ "workspace_id": "ws-support-bot" }))
        .await
        .unwrap();
    assert_eq!(listed["total"], 1, "{listed}");
}

#[tokio::test]
async fn label_is_found_on_any_page() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let source = source_id(&client).await;
    let create = async |name: String| {
        let label = json!({ "name": name, "workspace_id": "ws-support-bot" });
        client.call("create-label", label).await.unwrap();
    };
    create("tag".to_owned()).await;
    for number in 0..110 {
        create(format!("tag-{number}")).await;
    }
    create("z-tag".to_owned()).await;
    let args = json!({ "workspace_id": "ws-support-bot", "search": "tag" });
    let first_page = client.call("list-labels", args).await.unwrap();
    assert!(first_page["data"].as_array().unwrap().len() < 112);
    for label in ["tag", "z-tag"] {
        let promote = json!({ "source_prompt_id": source, "label": label });
        let promoted = client.call("promote-prompt", promote).await.unwrap();
        assert_eq!(promoted["label"], label, "{promoted}");
    }
}

#[tokio::test]
async fn large_result_of_a_workflow_is_truncated_and_read_in_parts() {
    let args = ["--sandbox", "--max-result-bytes", "2000"];
    for client in connect_everywhere(&args, &[]).await {
        let way = client.way;
        let string = "long ".repeat(2_000);
        let migrate = json!({ "name": "greeting", "collection_id": COLLECTION, "string": string,
            "virtual_key": "openai-production", "dry_run": true });
        let planned = client.call("migrate-prompt", migrate).await.unwrap();
        assert!(planned.to_string().len() <= 2_000, "{way}: {planned}");
        let handle = &planned["truncated"]["handle"];
        let rest = json!({ "handle": handle, "pointer": "/would_call/0/operation" });
        let rest = client.call("read-result", rest).await.unwrap();
        assert!(rest.to_string().contains("create-prompt"), "{way}: {rest}");
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn raw_template_is_published_only_if_asked_for_and_otherwise_noted() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let mut migrate = json!({ "name": "raw", "collection_id": COLLECTION, "string": "{{as it is}}",
        "virtual_key": "openai-production", "model": "gpt-4o", "is_raw_template": true });
    let noted = client
        .call("migrate-prompt", migrate.clone())
        .await
        .unwrap();
    assert!(
        noted["note"].as_str().unwrap().contains("not raw"),
        "{noted}"
    );
    migrate["publish"] = true.into();
    for (name, action, writes) in [("raw", "updated", 2), ("raw at once", "created", 3)] {
        migrate["name"] = name.into();
        migrate["dry_run"] = true.into();
        let planned = client
            .call("migrate-prompt", migrate.clone())
            .await
            .unwrap();
        assert_eq!(
            planned["would_call"].as_array().unwrap().len(),
            writes,
            "{planned}"
        );
        migrate["dry_run"] = false.into();
        let done = client
            .call("migrate-prompt", migrate.clone())
            .await
            .unwrap();
        assert_eq!(
            (&done["action"], &done["published"], &done["version"]),
            (&json!(action), &json!(true), &json!(2)),
            "{done}"
        );
        let live = client
            .call("get-prompt", json!({ "prompt_id": done["prompt_id"] }))
            .await
            .unwrap();
        assert_eq!(live["is_raw_template"], 1, "{live}");
        let again = client
            .call("migrate-prompt", migrate.clone())
            .await
            .unwrap();
        assert_eq!(again["action"], "unchanged", "{again}");
    }
}

/// Reads are sanitized and masked, which is no change.
#[tokio::test]
async fn content_that_reads_alter_is_stored_once() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let migrate = json!({ "name": "odd\u{200b}name", "collection_id": COLLECTION,
        "string": "Use\u{200b} sk-abcdefghijklmnopqrstuvwxyz0123456789abcdefghijkl",
        "template_metadata": { "note": "a\u{202e}b" },
        "virtual_key": "openai-production", "model": "gpt-4o" });
    for expected in ["created", "unchanged"] {
        let done = client
            .call("migrate-prompt", migrate.clone())
            .await
            .unwrap();
        assert_eq!(done["action"], expected, "{done}");
        let is_noted = done["note"].to_string().contains("looks like a key");
        assert_eq!(is_noted, expected == "unchanged", "{done}");
    }
}
