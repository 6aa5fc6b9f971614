//! Tools that no rule can permit are not listed; calls of them are denied.

use std::fs;

use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_mcp::auth::principal::Principal;
use rmcp::model::{ArgumentInfo, CompleteRequestParams, Reference};
use serde_json::json;

use super::*;
use crate::support::{
    official_client::connect_everywhere,
    policy::PolicyFile,
    process::run_cli,
    requests::{call_request, send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

/// Returns the ones of five operations that a policy can permit.
fn permitted_operations(text: &str) -> Vec<&'static str> {
    let policy = parse_policy(text);
    let catalog = Catalog::full();
    let some = [
        "list-labels",
        "create-label",
        "update-label",
        "delete-label",
        "get-config",
    ];
    let can = |name: &&str| policy.can_permit(catalog.find(name).unwrap().operation);
    some.into_iter().filter(can).collect()
}

#[test]
fn permitted_operations_follow_from_the_rules() {
    struct Case {
        policy: &'static str,
        permitted: &'static [&'static str],
    }
    const ALL: &[&str] = &[
        "list-labels",
        "create-label",
        "update-label",
        "delete-label",
        "get-config",
    ];
    const LABELS: &[&str] = &[
        "list-labels",
        "create-label",
        "update-label",
        "delete-label",
    ];
    let cases = [
        Case {
            policy: "default: allow",
            permitted: ALL,
        },
        Case {
            policy: "default: deny",
            permitted: &[],
        },
        Case {
            policy: "default: deny\ntools: { list_labels: {} }",
            permitted: &["list-labels"],
        },
        Case {
            policy: "default: deny\ntools: { '*-label*': {} }",
            permitted: LABELS,
        },
        Case {
            policy: "default: deny\ntools: { '*': { rules: [{ name: a, action: allow }] } }",
            permitted: &[],
        },
        Case {
            policy: "default: deny\nrules: [{ name: a, action: allow, match: { domains: [labels] } }]",
            permitted: LABELS,
        },
        Case {
            policy: "default: deny\nrules: [{ name: a, action: approve, match: { effects: [delete] } }]",
            permitted: &["delete-label"],
        },
        Case {
            policy: "default: deny\nrules: [{ name: a, action: dry_run, match: { effects: [update] } }]",
            permitted: &["update-label"],
        },
        // A condition may be satisfied by some call.
        Case {
            policy: "default: deny\nrules: [{ name: a, action: allow, when: 'tool == \"get-config\"' }]",
            permitted: ALL,
        },
        Case {
            policy: "default: deny\nrules: [{ name: a, action: shadow, would: allow }]",
            permitted: &[],
        },
        Case {
            policy: "default: deny\nrules: [{ name: a, cap: { x: 1 }, match: { domains: [labels] } }]",
            permitted: &[],
        },
        Case {
            policy: "rules: [{ name: a, action: deny, match: { effects: [create, delete] } }]",
            permitted: &["list-labels", "update-label", "get-config"],
        },
        Case {
            policy: "rules: [{ name: a, action: deny, when: tainted }]",
            permitted: ALL,
        },
        Case {
            policy: "rules: [{ name: a, action: shadow, would: deny }]",
            permitted: ALL,
        },
        Case {
            policy: "default: deny\ntools: { 'list-*': {}, list-labels: { rules: [{ name: a, action: deny }] } }",
            permitted: &[],
        },
        Case {
            policy: "tools: { get-config: { rules: [{ name: a, rate_limit: { max: 0, window: 60 } }] } }",
            permitted: LABELS,
        },
        Case {
            policy: "tools: { get-config: { rules: [{ name: a, rate_limit: { max: 0, window: 60 }, when: tainted }] } }",
            permitted: ALL,
        },
        Case {
            policy: "tools: { get-config: { deny_if: [{ path: args.slug, op: eq, value: a }] } }",
            permitted: ALL,
        },
        Case {
            policy: "hide: ['*-label']",
            permitted: &["list-labels", "get-config"],
        },
    ];
    for Case {
        policy,
        permitted: expected,
    } in cases
    {
        assert_eq!(
            permitted_operations(&format!("version: '1'\n{policy}")),
            expected,
            "{policy}"
        );
    }
}

const TWO_TOOLS_POLICY: &str = r#"
version: "1"
default: deny
rules:
  - { name: labels, action: allow, match: { tools: [list-labels] } }
  - { name: configs, action: approve, match: { tools: [update-config] }, when: '!tainted' }
  - { name: texts, action: allow, match: { prompts: ['*'], resources: ['*'] } }
"#;

#[tokio::test]
async fn unpermitted_tools_are_not_listed_on_any_surface() {
    let file = PolicyFile::with(TWO_TOOLS_POLICY);
    let policy = ["--sandbox", "--policy", file.path()];
    for client in connect_everywhere(&policy, &[]).await {
        let names: Vec<_> = client
            .tools()
            .await
            .iter()
            .map(|tool| tool.name.to_string())
            .collect();
        assert_eq!(
            names,
            [
                "apply-plan",
                "list-labels",
                "plan-changes",
                "read-result",
                "update-config",
                "whoami"
            ],
            "{}",
            client.way
        );
        // Prompts name only other tools, and no resource kind can be read.
        let prompts = client.client.list_all_prompts().await.unwrap();
        assert!(
            prompts
                .iter()
                .all(|prompt| prompt.name != "rotate-api-keys"),
            "{prompts:?}"
        );
        let templates = client.client.list_all_resource_templates().await.unwrap();
        let templates: Vec<_> = templates
            .iter()
            .map(|one| one.uri_template.as_str())
            .collect();
        assert!(
            !templates.contains(&"portkey://configs/{slug}"),
            "{templates:?}"
        );
        let operations = Reference::for_resource("portkey://operations/{name}");
        let argument = ArgumentInfo::new("name", "");
        let completed = client
            .client
            .complete(CompleteRequestParams::new(operations, argument))
            .await;
        assert_eq!(
            completed.unwrap().completion.values,
            ["list-labels", "update-config"]
        );
    }
    let compact = [&policy[..], &["--surface", "compact"]].concat();
    for client in connect_everywhere(&compact, &[]).await {
        let names: Vec<_> = client
            .tools()
            .await
            .iter()
            .map(|tool| tool.name.to_string())
            .collect();
        let expected = [
            "apply-plan",
            "describe-operation",
            "plan-changes",
            "read-operation",
            "read-result",
            "search-operations",
            "update-operation",
            "whoami",
        ];
        assert_eq!(names, expected, "{}", client.way);
        let found = client
            .call("search-operations", json!({ "query": "delete a label" }))
            .await;
        let found = found.unwrap().to_string();
        assert!(!found.contains("delete-label"), "{found}");
        let described = json!({ "operation": "delete-label" });
        let described = client.call("describe-operation", described).await;
        assert!(
            described.unwrap_err().contains("not on offer here"),
            "{}",
            client.way
        );
    }
}

#[tokio::test]
async fn unlisted_tool_is_denied_instead_of_unknown() {
    let file = PolicyFile::with(TWO_TOOLS_POLICY);
    let server = serve_sandbox(&["--policy", file.path()]);
    let (_, body) = send_request(call_request(&server, "list-all-workspaces", json!({}))).await;
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("the policy of this server does not permit `list-all-workspaces`"),
        "{text}"
    );
}

/// The list follows both policies of a caller.
#[tokio::test]
async fn policy_of_a_caller_restricts_only_its_own_list() {
    struct Case {
        tool: &'static str,
        by_free: bool,
        by_bound: bool,
    }

    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream).with_policy(WatchedValue::fixed(parse_policy(
        "version: '1'\nrules: [{ name: a, action: deny, match: { effects: [delete] } }]",
    )));
    let own = parse_policy("version: '1'\ndefault: deny\ntools: { '*-label': {} }");
    let free = operator();
    let bound = Principal {
        policy: Some(own.into()),
        ..free.clone()
    };
    let catalog = Catalog::full();
    let sees = |principal: &Principal, tool: &str| {
        dispatcher.is_listed(principal, catalog.find(tool).unwrap())
    };
    for Case {
        tool,
        by_free,
        by_bound,
    } in [
        Case {
            tool: "create-label",
            by_free: true,
            by_bound: true,
        },
        Case {
            tool: "delete-label",
            by_free: false,
            by_bound: false,
        },
        Case {
            tool: "create-config",
            by_free: true,
            by_bound: false,
        },
    ] {
        assert_eq!(
            (sees(&free, tool), sees(&bound, tool)),
            (by_free, by_bound),
            "{tool}"
        );
    }
}

#[tokio::test]
async fn changed_permissions_update_the_tool_list() {
    let before = parse_policy("version: '1'\ndefault: deny\ntools: { get-config: {} }");
    for (text, is_same) in [
        (
            "version: '1'\ndefault: deny\ntools: { get_config: { rules: [{ name: a, action: approve }] } }",
            true,
        ),
        (
            "version: '1'\ndefault: deny\ntools: { get-config: {}, list-labels: {} }",
            false,
        ),
        ("version: '1'", false),
        (
            "version: '1'\ndefault: deny\ntools: { get-config: { rules: [{ name: a, action: deny }] } }",
            false,
        ),
    ] {
        let now = parse_policy(text);
        assert_eq!(
            (
                before.lists_same_operations_as(&now),
                now.lists_same_operations_as(&before)
            ),
            (is_same, is_same),
            "{text}"
        );
    }
    let file = PolicyFile::with("version: '1'\ndefault: deny\ntools: { get-config: {} }");
    let mut server = serve_sandbox(&["--policy", file.path()]);
    let listed = async |server: &ServerProcess| {
        let (_, body) = send_request(stateless_request(server, "tools/list", json!({}))).await;
        body["result"]["tools"]
            .to_string()
            .contains("\"list-labels\"")
    };
    assert!(!listed(&server).await);
    fs::write(
        file.path(),
        "version: '1'\ndefault: deny\ntools: { list-labels: {} }",
    )
    .unwrap();
    server.read_until("reloaded the changed file");
    assert!(listed(&server).await);
}

#[test]
fn commands_report_unlisted_tools() {
    let file = PolicyFile::with(TWO_TOOLS_POLICY);
    let (ok, out, _) = run_cli(&["policy", "check", file.path()]);
    assert!(
        ok && out.contains("3 rules, 0 of ") && out.contains(" tools hidden, 2 listed, "),
        "{out}"
    );
    let (ok, out, log) = run_cli(&[
        "tools",
        "--sandbox",
        "--format",
        "json",
        "--policy",
        file.path(),
    ]);
    assert!(ok, "{log}");
    let tools: Vec<Value> = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "apply-plan",
            "list-labels",
            "plan-changes",
            "read-result",
            "update-config",
            "whoami"
        ]
    );
    for (tool, is_listed) in [("list-labels", true), ("list-all-workspaces", false)] {
        let (ok, out, log) = run_cli(&["policy", "explain", file.path(), "--call", tool]);
        assert!(ok, "{log}");
        assert_eq!(
            out.contains("not listed: no call of it can be permitted"),
            !is_listed,
            "{out}"
        );
    }
}
