//! The effect of each rule action, for a real client over both transports and both protocols.

use serde_json::{Value, json};

use crate::support::{
    audit::read_entries,
    form_client::{FormClient, FormReaction, TRANSPORTS_AND_GENERATIONS, connect},
    policy::PolicyFile,
};

const POLICY: &str = r#"
version: "1"
hide: [delete-label]
tools:
  delete-integration: { rules: [{ name: ask, action: approve, on_deny: it is in use, confirm: true }] }
  update-integration: { rules: [{ name: tell, action: dry_run }] }
  create-integration: { rules: [{ name: enough, action: deny, on_deny: we have enough }] }
  create-label: { rules: [{ name: watch, action: shadow, when: "args.name != 'x'" }, { name: say yes, action: allow }] }
  list-labels: { rules: [{ name: few, rate_limit: 1/hour }] }
  list-all-integrations: { rules: [{ name: no names, redact: ["data[].name"] }] }
"#;

const SLUG: &str = "openai-production";

#[tokio::test]
async fn every_rule_action_takes_effect_for_real_clients() {
    struct Case {
        tool: &'static str,
        args: Value,
        is_done: bool,
        words: &'static str,
    }

    let file = PolicyFile::with(POLICY);
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let audit = file.beside(&format!("audit-{}-{}.jsonl", way.0, way.1));
        let options = ["--policy", file.path(), "--audit-log", &audit];
        let session = connect(way, &human, &options).await;
        let tools = session.client.list_all_tools().await.unwrap();
        assert!(
            !tools.iter().any(|tool| tool.name == "delete-label"),
            "{way:?}"
        );

        // A dry run, without an effect.
        let args = json!({ "slug": SLUG, "name": "Renamed", "key": "sk-planted" });
        let preview = session
            .call("update-integration", args)
            .await
            .structured_content
            .unwrap();
        assert_eq!(preview["dry_run"], true, "{way:?}: {preview}");
        assert_eq!(preview["request"]["method"], "PUT", "{way:?}: {preview}");
        assert_eq!(
            preview["request"]["body"],
            json!({ "name": "Renamed", "key": "***" }),
            "{way:?}"
        );
        assert_eq!(preview["changes"][0]["path"], "name", "{way:?}: {preview}");
        assert_eq!(preview["changes"][0]["to"], "Renamed", "{way:?}: {preview}");
        let now = session
            .call("get-integration", json!({ "slug": SLUG }))
            .await;
        assert_eq!(
            now.structured_content.unwrap()["name"],
            preview["current"]["name"],
            "{way:?}"
        );

        // Redacted.
        let list = session.call("list-all-integrations", json!({})).await;
        let list = list.structured_content.unwrap();
        let list = list["data"].as_array().unwrap();
        assert!(
            !list.is_empty() && list.iter().all(|one| one["slug"].is_string()),
            "{way:?}"
        );
        assert!(
            list.iter()
                .all(|one| one["name"] == portkey_policy::REDACTED),
            "{way:?}"
        );

        for Case {
            tool,
            args,
            is_done,
            words,
        } in [
            Case {
                tool: "create-integration",
                args: json!({ "name": "n", "ai_provider_id": "openai" }),
                is_done: false,
                words: "enough",
            },
            Case {
                tool: "create-label",
                args: json!({ "name": "a" }),
                is_done: true,
                words: "",
            },
            Case {
                tool: "delete-label",
                args: json!({ "label_id": "a" }),
                is_done: false,
                words: "hidden by the policy",
            },
            Case {
                tool: "list-labels",
                args: json!({}),
                is_done: true,
                words: "",
            },
            Case {
                tool: "list-labels",
                args: json!({}),
                is_done: false,
                words: "`few` limits this",
            },
        ] {
            let (did, text) = session.call_text(tool, args).await;
            assert!(
                did == is_done && text.contains(words),
                "{way:?} {tool}: {text}"
            );
        }

        // Approval required.
        for (does, done) in [
            (FormReaction::Decline, false),
            (FormReaction::AcceptWithName, true),
        ] {
            human.set_reaction(does);
            let (did, text) = session
                .call_text("delete-integration", json!({ "slug": SLUG }))
                .await;
            assert_eq!(
                (did, session.has_integration(SLUG).await),
                (done, !done),
                "{way:?}: {text}"
            );
            assert!(
                human.last_request().contains("it is in use"),
                "{way:?}: {}",
                human.last_request()
            );
        }
        session.client.cancel().await.unwrap();
        assert_audited(&audit, way);
    }
}

/// Checks the audit log: each approval request, each response, and no planted key.
fn assert_audited(audit: &str, way: (bool, bool)) {
    let lines = read_entries(audit);
    let has = |tool: &str, decision: &str, rule: Value, outcome: &str| {
        let is = |line: &&Value| {
            line["tool"] == tool
                && line["decision"] == decision
                && line["rule"] == rule
                && line["outcome"] == outcome
        };
        let found = lines.iter().filter(is).count();
        assert_eq!(
            found, 1,
            "{way:?} {tool} {decision} {outcome} in {lines:#?}"
        );
    };
    has("update-integration", "dry_run", json!("tell"), "dry_run");
    has("create-integration", "deny", json!("enough"), "forbidden");
    has("create-label", "allow", Value::Null, "answered");
    has("list-labels", "deny", json!("few"), "forbidden");
    has("delete-integration", "approve", json!("ask"), "denied");
    has("delete-integration", "approve", json!("ask"), "answered");
    assert!(
        !lines
            .iter()
            .any(|line| line.to_string().contains("sk-planted")),
        "{way:?}"
    );
}
