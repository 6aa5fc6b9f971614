//! Workflows with the key of a workspace, which answers for its own workspace whatever workspace a call names.

use std::collections::BTreeSet;

use portkey_mcp::workflows::WORKFLOWS;
use portkey_operation::CompiledOperation;
use portkey_sandbox::{DEFAULT_API_KEY, Faults, Sandbox};
use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
};

const OWN_KEY: &str = "sandbox-workspace-ws-support-bot";
const OTHER: &str = "ws-research";
const OWN: &str = "ws-support-bot";

/// A sandbox, and a server with a key in front of it.
struct Organisation {
    sandbox: Sandbox,
}

impl Organisation {
    async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let sandbox = Sandbox::start(listen, Faults::default()).await.unwrap();
        Self { sandbox }
    }

    async fn connect(&self, key: &str, more: &[&str]) -> ConnectedClient {
        let url = self.sandbox.base_url();
        let mut args = vec!["--base-url", &*url, "--api-key", key];
        args.extend(more);
        connect_everywhere(&args, &[]).await.remove(0)
    }
}

/// A call of a workflow that names a workspace.
struct NamedWorkspace {
    workflow: &'static str,
    /// Argument that names it.
    argument: &'static str,
    /// Other arguments.
    args: Value,
    /// True if its value is a list.
    is_list: bool,
}

fn named(workflow: &'static str, argument: &'static str, args: Value) -> NamedWorkspace {
    NamedWorkspace {
        workflow,
        argument,
        args,
        is_list: argument == "workspaces",
    }
}

impl NamedWorkspace {
    fn arguments(&self, workspace: &str) -> Value {
        let mut args = self.args.clone();
        args[self.argument] = match self.is_list {
            true => json!([workspace]),
            false => workspace.into(),
        };
        args
    }
}

fn cases() -> Vec<NamedWorkspace> {
    let usages = json!({ "kind": "provider", "id": "openai-production" });
    let server = json!({ "mcp_integration_id": "issue-tracker", "tools": [], "users": [] });
    let files = json!({ "workspaces/ws-research/configs/pc-trial-split.yaml": "name: a" });
    vec![
        named("detect-drift", "workspaces", json!({ "files": files })),
        named("diagnose-failures", "workspace_slug", json!({})),
        named(
            "export-snapshot",
            "workspaces",
            json!({ "kinds": ["configs"] }),
        ),
        named("find-usages", "workspace_id", usages),
        named(
            "onboard-team",
            "workspace",
            json!({ "key": { "name": "a" } }),
        ),
        named("plan-provider-migration", "workspace_id", json!({})),
        named(
            "read-log-export",
            "workspace_id",
            json!({ "period": "yesterday" }),
        ),
        named("register-mcp-server", "workspace_id", server),
        named("report-costs", "workspace_slug", json!({})),
        named("review-access", "workspace_id", json!({})),
    ]
}

/// Each workflow with an argument that names a workspace has a case.
#[test]
fn every_argument_that_names_a_workspace_has_a_case() {
    let cases = cases();
    let tested: BTreeSet<_> = cases
        .iter()
        .map(|case| (case.workflow, case.argument))
        .collect();
    let mut found = BTreeSet::new();
    for workflow in WORKFLOWS {
        let name = workflow.operation.name();
        let compiled = CompiledOperation::new(workflow.operation.clone());
        let schema = compiled.full_schema();
        for argument in ["workspace", "workspaces", "workspace_id", "workspace_slug"] {
            if schema["properties"].get(argument).is_some() {
                found.insert((name, argument));
            }
        }
    }
    assert_eq!(found, tested);
}

#[tokio::test]
async fn another_workspace_than_that_of_the_key_is_refused_or_not_seen() {
    let organisation = Organisation::start().await;
    let client = organisation.connect(OWN_KEY, &[]).await;
    for case in cases() {
        let name = case.workflow;
        match client.call(name, case.arguments(OTHER)).await {
            Err(error) => assert!(error.contains(OTHER), "{name}: {error}"),
            Ok(answer) => {
                assert!(
                    answer["not_seen"].to_string().contains(OTHER),
                    "{name}: {answer}"
                );
                assert!(!answer.to_string().contains(OWN), "{name}: {answer}");
            }
        }
    }
    let exports = client
        .call("list-all-log-exports", json!({}))
        .await
        .unwrap();
    assert_eq!(
        exports["data"],
        json!([]),
        "no export was made for another workspace"
    );
}

/// A report about the right workspace has no doubts.
#[tokio::test]
async fn own_workspace_is_answered_for() {
    let organisation = Organisation::start().await;
    for key in [OWN_KEY, DEFAULT_API_KEY] {
        let client = organisation.connect(key, &[]).await;
        for case in cases() {
            // Their other arguments are those of another workspace.
            if ["detect-drift", "onboard-team", "register-mcp-server"].contains(&case.workflow) {
                continue;
            }
            let answer = client
                .call(case.workflow, case.arguments(OWN))
                .await
                .unwrap();
            let doubts = format!(
                "{} {} {}",
                answer["not_seen"], answer["notes"], answer["not_included"]
            );
            assert!(
                !doubts.contains("whether this is about"),
                "{}: {answer}",
                case.workflow
            );
        }
    }
}

/// The answer says so if Portkey does not tell which workspaces a key sees.
#[tokio::test]
async fn key_that_may_not_read_workspaces_leaves_a_doubt() {
    let organisation = Organisation::start().await;
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [get-workspace, list-all-workspaces] } }\n",
    );
    let client = organisation
        .connect(OWN_KEY, &["--policy", policy.path()])
        .await;
    for (workflow, argument, field) in [
        ("diagnose-failures", "workspace_slug", "not_seen"),
        ("plan-provider-migration", "workspace_id", "notes"),
        ("read-log-export", "workspace_id", "not_seen"),
        ("report-costs", "workspace_slug", "not_included"),
        ("review-access", "workspace_id", "not_seen"),
    ] {
        let args = json!({ argument: OTHER });
        let answer = client.call(workflow, args).await.unwrap();
        let doubt = answer[field].to_string();
        assert!(
            doubt.contains("whether this is about workspace `ws-research`"),
            "{workflow}: {answer}"
        );
    }
}

#[tokio::test]
async fn unknown_workspace_is_refused_to_the_key_of_an_organisation() {
    let organisation = Organisation::start().await;
    let client = organisation.connect(DEFAULT_API_KEY, &[]).await;
    for case in cases() {
        let name = case.workflow;
        match client.call(name, case.arguments("ws-deleted")).await {
            Err(error) => assert!(error.contains("`ws-deleted`"), "{name}: {error}"),
            Ok(answer) => {
                let unseen = answer["not_seen"].to_string();
                assert!(unseen.contains("ws-deleted"), "{name}: {answer}");
            }
        }
    }
}

/// A report about everything says that the key of a workspace does not see everything.
#[tokio::test]
async fn reports_of_a_key_of_a_workspace_name_what_is_beyond_it() {
    let organisation = Organisation::start().await;
    let beyond = "other workspaces, if there are any: this key sees `ws-support-bot` alone";
    for (workflow, field) in [
        ("report-budgets", "not_included"),
        ("review-access", "not_seen"),
    ] {
        for (key, is_limited) in [(OWN_KEY, true), (DEFAULT_API_KEY, false)] {
            let client = organisation.connect(key, &[]).await;
            let answer = client.call(workflow, json!({})).await.unwrap();
            let unseen = answer[field].to_string();
            assert_eq!(unseen.contains(beyond), is_limited, "{workflow}: {answer}");
        }
    }
}

/// The answer names the limits of a workspace key for every kind, and a key of the organisation sees everything.
#[tokio::test]
async fn usages_say_that_other_workspaces_were_not_seen() {
    let organisation = Organisation::start().await;
    let own = organisation.connect(OWN_KEY, &["--dry-run"]).await;
    let admin = organisation.connect(DEFAULT_API_KEY, &["--dry-run"]).await;
    for (kind, id) in [
        ("config", "pc-support-fallback"),
        ("integration", "openai-production"),
        ("mcp_integration", "issue-tracker"),
        ("provider", "openai-production"),
        ("prompt", "pp-refund-reply"),
    ] {
        let args = json!({ "kind": kind, "id": id });
        let answer = own.call("find-usages", args.clone()).await.unwrap();
        let unseen = answer["not_seen"].to_string();
        assert!(
            unseen.contains(
                "other workspaces, if there are any: this key sees `ws-support-bot` alone"
            ),
            "{kind}: {answer}"
        );
        let summary = answer["summary"].as_str().unwrap();
        assert!(
            summary.contains("not everything could be seen"),
            "{kind}: {answer}"
        );
        let answer = admin.call("find-usages", args).await.unwrap();
        assert_eq!(answer.get("not_seen"), None, "{kind}: {answer}");
    }
    let args = json!({ "slug": "pc-support-fallback" });
    let report = own.call("delete-config", args).await.unwrap();
    let unseen = report["impact"]["not_seen"].to_string();
    assert!(unseen.contains("other workspaces"), "{report}");
}
