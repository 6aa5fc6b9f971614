//! Workflows whose reads a policy redacts: each names the field that it could not see, or does not need it.

use std::collections::BTreeSet;

use portkey_mcp::workflows::WORKFLOWS;
use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    rotation::{STARTED, start_upstream_with_successor},
    upstream::MockUpstream,
};

/// A workflow, and a redaction of what it reads.
struct Case {
    workflow: &'static str,
    /// Operations whose answers are redacted, and the paths.
    reads: &'static str,
    paths: &'static str,
    /// Arguments, with `@prompt`, `@key` and `@virtual` for items of the sandbox.
    args: Value,
    /// Part of the answer or of the error that names the redaction.
    expected: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |workflow, reads, paths, args, expected| Case {
        workflow,
        reads,
        paths,
        args,
        expected,
    };
    let configs = json!({ "kinds": ["configs"], "workspaces": ["ws-research"] });
    let file =
        json!({ "workspaces/ws-research/configs/pc-trial-split.yaml": "name: Trial Split\n" });
    let graph = "data_points[].total";
    vec![
        case(
            "export-snapshot",
            "get-config",
            "config",
            configs,
            "\"redacted_by_policy\":[\"get-config\"]",
        ),
        case(
            "detect-drift",
            "get-config",
            "config",
            json!({ "files": file, "workspaces": ["ws-research"] }),
            "get-config",
        ),
        case(
            "diagnose-failures",
            "get-errors-graph",
            graph,
            json!({ "period": "7d", "workspace_slug": "ws-support-bot" }),
            "`data_points[].total`",
        ),
        case(
            "find-usages",
            "list-all-providers",
            "data[].integration_id",
            json!({ "kind": "integration", "id": "openai-production" }),
            "`data[].integration_id`",
        ),
        case(
            "migrate-prompt",
            "list-prompts",
            "data[].name",
            json!({ "name": "other", "collection_id": "co-customers", "string": "Hi",
                "virtual_key": "openai-production" }),
            "`search`",
        ),
        case(
            "promote-prompt",
            "get-prompt",
            "string",
            json!({ "source_prompt_id": "@prompt", "target_collection_id": "co-customers" }),
            "`string`",
        ),
        case(
            "onboard-team",
            "list-all-workspaces",
            "data[].name",
            json!({ "workspace": "Support Bot" }),
            "`data[].name`",
        ),
        case(
            "plan-provider-migration",
            "list-all-virtual-keys",
            "data[].name",
            json!({}),
            "`data[].name`",
        ),
        case(
            "plan-provider-migration",
            "get-config",
            "config",
            json!({ "virtual_keys": [{ "slug": "@virtual", "integration": "openai-production" }] }),
            "a policy redacts `config`",
        ),
        case(
            "read-log-export",
            "download-log-export",
            "rows[].metadata",
            json!({ "workspace_id": "ws-support-bot", "period": "7d", "limit": 1 }),
            "a policy may redact values of the rows",
        ),
        case(
            "register-mcp-server",
            "get-workspace",
            "slug",
            json!({ "workspace_id": "ws-research", "mcp_integration_id": "issue-tracker",
                "dry_run": true }),
            "`slug`",
        ),
        case(
            "report-budgets",
            "list-all-workspaces",
            "data[].usage_limits",
            json!({}),
            "`data[].usage_limits`",
        ),
        case(
            "report-costs",
            "get-cost-graph",
            graph,
            json!({ "period": "last month" }),
            "`data_points[].total`",
        ),
        case(
            "review-access",
            "list-all-api-keys",
            "data[].scopes",
            json!({}),
            "`data[].scopes`",
        ),
        case(
            "rotate-key-safely",
            "get-api-key",
            "scopes",
            json!({ "id": "@key", "phase": "start" }),
            "`scopes`",
        ),
    ]
}

/// Starts a server with the sandbox and a policy that redacts paths.
async fn connect_with_redaction(reads: &str, paths: &str) -> ConnectedClient {
    let policy = PolicyFile::with(&format!(
        "version: \"1\"\nrules:\n  - {{ name: r, redact: [\"{paths}\"], match: {{ tools: [{reads}] }} }}\n"
    ));
    let args = ["--sandbox", "--policy", policy.path()];
    connect_everywhere(&args, &[]).await.remove(0)
}

/// Returns a field of the first item that a list of the sandbox returns.
async fn first(client: &ConnectedClient, list: &'static str, field: &str, here: Value) -> String {
    let listed = client.call(list, here).await.unwrap();
    listed["data"][0][field]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn every_workflow_names_what_a_policy_hides_from_it() {
    let mut tested = BTreeSet::new();
    let mut failures = Vec::new();
    for case in cases() {
        tested.insert(case.workflow);
        let client = connect_with_redaction(case.reads, case.paths).await;
        let here = json!({ "workspace_id": "ws-support-bot" });
        let prompt = first(&client, "list-prompts", "id", here.clone()).await;
        let key = first(&client, "list-all-api-keys", "id", here).await;
        let virtual_key = first(&client, "list-all-virtual-keys", "slug", json!({})).await;
        // Something to redact in the collection.
        let other = json!({ "name": "other", "collection_id": "co-customers", "string": "Hi",
            "parameters": {}, "virtual_key": "openai-production" });
        client.call("create-prompt", other).await.unwrap();
        let args = case.args.to_string();
        let args = args
            .replace("@prompt", &prompt)
            .replace("@key", &key)
            .replace("@virtual", &virtual_key);
        let args: Value = serde_json::from_str(&args).unwrap();
        let said = match client.call(case.workflow, args).await {
            Ok(answer) => answer.to_string(),
            Err(error) => error,
        };
        if !said.contains(case.expected) || !said.contains("policy") {
            failures.push(format!(
                "{} without {} of {}: {said}",
                case.workflow, case.paths, case.reads
            ));
        }
        client.client.cancel().await.unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // It reads nothing.
    tested.insert("validate-completion-metadata");
    for workflow in WORKFLOWS {
        let name = workflow.operation.name();
        assert!(tested.contains(name), "no case for {name}");
    }
}

/// A field that a policy hides is no difference to a snapshot that was taken without the policy.
#[tokio::test]
async fn drift_leaves_out_what_a_policy_hides() {
    let scope = json!({ "kinds": ["configs"], "workspaces": ["ws-research"] });
    let plain = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let exported = plain.call("export-snapshot", scope.clone()).await.unwrap();
    plain.client.cancel().await.unwrap();
    let client = connect_with_redaction("get-config", "config").await;
    let mut args = scope;
    args["files"] = exported["files"].clone();
    let answer = client.call("detect-drift", args).await.unwrap();
    let path = "workspaces/ws-research/configs/pc-trial-split.yaml";
    assert!(exported["files"][path].is_string(), "{exported}");
    assert_eq!(answer["drift"], false, "{answer}");
    assert_eq!(answer["redacted_by_policy"], json!(["get-config"]));
    let hidden = answer["partly_hidden"].as_array().unwrap();
    assert!(hidden.contains(&json!(path)), "{answer}");
    client.client.cancel().await.unwrap();
}

/// An upstream with a key whose requests have moved to its successor.
async fn start_upstream() -> MockUpstream {
    let key = json!({ "type": "workspace-service", "scopes": ["logs.list"], "user_id": "u" });
    let successor = json!({ "user_id": "u" });
    start_upstream_with_successor(key, successor, |target| {
        let total = if target.contains("api_key_ids=new") {
            7
        } else {
            0
        };
        json!({ "data_points": [{ "timestamp": STARTED, "total": total }] })
    })
    .await
}

#[tokio::test]
async fn rotation_goes_on_without_fields_that_it_does_not_need() {
    struct Rotation {
        reads: &'static str,
        path: &'static str,
        /// State that `status` tells; empty if it fails.
        state: &'static str,
        /// Text about the field in the answer of `status`, and of `finish` where that fails.
        said: &'static str,
    }
    let cases = [
        Rotation {
            reads: "get-api-key",
            path: "scopes",
            state: "moved",
            said: "",
        },
        Rotation {
            reads: "get-api-key",
            path: "workspace_id",
            state: "moved",
            said: "",
        },
        Rotation {
            reads: "list-all-api-keys",
            path: "data[].user_id",
            state: "moved",
            said: "`data[].user_id`",
        },
        Rotation {
            reads: "list-all-api-keys",
            path: "data[].created_at",
            state: "not_seen",
            said: "`created_at`",
        },
        Rotation {
            reads: "list-all-api-keys",
            path: "data[].description",
            state: "",
            said: "`data[].description`",
        },
        // Nobody may select by what is hidden in logs.
        Rotation {
            reads: "get-log",
            path: "api_key",
            state: "not_seen",
            said: "`api_key_ids`",
        },
        Rotation {
            reads: "get-requests-graph",
            path: "data_points[].total",
            state: "not_seen",
            said: "`data_points[].total`",
        },
        Rotation {
            reads: "get-requests-graph",
            path: "data_points",
            state: "not_seen",
            said: "`data_points`",
        },
    ];
    for case in cases {
        let upstream = start_upstream().await;
        let policy = PolicyFile::with(&format!(
            "version: \"1\"\nrules:\n  - {{ name: r, redact: [\"{}\"], match: {{ tools: [{}] }} }}\n",
            case.path, case.reads
        ));
        let url = &*upstream.base_url;
        let args = [
            "--base-url",
            url,
            "--api-key",
            "pk-any-key-0123456789",
            "--policy",
            policy.path(),
        ];
        let client = connect_everywhere(&args, &[]).await.remove(0);
        let rotate = |phase: &str| json!({ "id": "old", "phase": phase });
        let deletes = || {
            let requests = upstream.requests().into_iter();
            requests
                .filter(|request| request.method == "DELETE")
                .count()
        };
        let path = case.path;
        let status = client.call("rotate-key-safely", rotate("status")).await;
        let (state, said) = match &status {
            Ok(status) => (
                status["state"].as_str().unwrap_or_default(),
                status.to_string(),
            ),
            Err(error) => ("", error.clone()),
        };
        assert_eq!(state, case.state, "{path}: {said}");
        assert!(said.contains(case.said), "{path}: {said}");
        if case.state == "moved" {
            client
                .call("rotate-key-safely", rotate("finish"))
                .await
                .unwrap();
            assert_eq!(deletes(), 1, "{path}");
            continue;
        }
        for phase in ["finish", "cancel"] {
            let error = client
                .call("rotate-key-safely", rotate(phase))
                .await
                .unwrap_err();
            assert!(error.contains(case.said), "{path} {phase}: {error}");
            assert_eq!(deletes(), 0, "{path} {phase}");
        }
        let mut forced = rotate("finish");
        forced["force"] = true.into();
        let is_finished = client.call("rotate-key-safely", forced).await.is_ok();
        // A successor that cannot be found is not taken for granted.
        assert_eq!(is_finished, case.state == "not_seen", "{path}");
    }
}
