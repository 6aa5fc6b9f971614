//! Every argument of every write is declared as a risk, or listed here as harmless.

use std::collections::BTreeSet;

use portkey_api::domains::DOMAINS;
use portkey_operation::{CompiledOperation, Effect, JsonMap, Operation, Risk};
use serde_json::{Value, json};

/// Arguments of updates that give nobody more than before, and change no request of production.
struct HarmlessArguments {
    /// Names of the tools; none stands for all.
    tools: &'static [&'static str],
    names: &'static [&'static str],
}

const HARMLESS_ARGUMENTS: &[HarmlessArguments] = &[
    // What people see.
    HarmlessArguments {
        tools: &[],
        names: &[
            "name",
            "description",
            "note",
            "tags",
            "icon",
            "color_code",
            "version_description",
        ],
    },
    // Who is told, and of what.
    HarmlessArguments {
        tools: &["update-api-key", "update-usage-limits-policy"],
        names: &["alert_emails", "alert_threshold"],
    },
    HarmlessArguments {
        tools: &["update-feedback"],
        names: &["value", "weight", "metadata"],
    },
    // An export runs when it is started, and holds what reads show, too.
    HarmlessArguments {
        tools: &["update-log-export"],
        names: &["filters", "requested_data"],
    },
    // A new version, which serves nobody until it is published.
    HarmlessArguments {
        tools: &[
            "update-prompt-partial",
            "update-prompt-tool",
            "update-prompt",
        ],
        names: &[
            "string",
            "tool_def",
            "collection_id",
            "parameters",
            "model",
            "virtual_key",
            "functions",
            "tools",
            "tool_choice",
            "is_raw_template",
            "prompt_metadata",
        ],
    },
    // What reports count, and what a listed server says of itself.
    HarmlessArguments {
        tools: &["update-integration"],
        names: &["pricing_adjustments"],
    },
    HarmlessArguments {
        tools: &["update-mcp-integration"],
        names: &["transport"],
    },
    HarmlessArguments {
        tools: &[
            "sync-mcp-integration",
            "sync-mcp-server-capabilities",
            "sync-mcp-server-metadata",
        ],
        names: &[
            "server_info",
            "capabilities",
            "server_name",
            "server_version",
            "protocol_version",
            "title",
            "website_url",
            "icons",
            "capability_flags",
            "instructions",
        ],
    },
];

/// A write that makes something without a risk.
struct HarmlessCreation {
    tool: &'static str,
    reason: &'static str,
}

const fn harmless(tool: &'static str, reason: &'static str) -> HarmlessCreation {
    HarmlessCreation { tool, reason }
}

const UNUSED: &str = "nothing uses it yet";
const LIMIT: &str = "a new limit restricts";
const LENT: &str = "what it stands for was lent to the workspace before";

const HARMLESS_CREATIONS: &[HarmlessCreation] = &[
    harmless("create-agent-integration", UNUSED),
    harmless("create-agent-server", LENT),
    harmless("create-collection", UNUSED),
    harmless("create-config", UNUSED),
    harmless("create-feedback", "a record"),
    harmless("create-guardrail", UNUSED),
    harmless("create-integration", UNUSED),
    harmless("create-label", UNUSED),
    harmless("create-log-export", "it holds what reads show, too"),
    harmless("create-mcp-integration", UNUSED),
    harmless("create-mcp-server", LENT),
    harmless("create-plugin", UNUSED),
    harmless("create-prompt", UNUSED),
    harmless("create-prompt-completion", "a request like any of its key"),
    harmless("create-prompt-partial", UNUSED),
    harmless("create-prompt-tool", UNUSED),
    harmless("create-provider", LENT),
    harmless("create-rate-limits-policy", LIMIT),
    harmless("create-usage-limits-policy", LIMIT),
    harmless("create-workspace", "nobody is in it yet"),
    harmless("insert-logs", "a record"),
];

fn writes() -> impl Iterator<Item = &'static Operation> {
    let all = DOMAINS.iter().flat_map(|domain| domain.operations);
    all.filter(|operation| operation.effect() != Effect::Read)
}

/// Returns the risks of every call of an operation.
fn constant_risks(operation: &Operation) -> BTreeSet<Risk> {
    let possible = operation.possible_risks().into_iter();
    possible
        .filter_map(|(risk, argument)| argument.is_none().then_some(risk))
        .collect()
}

/// Returns the names of the arguments on which a risk depends.
fn risky_arguments(operation: &Operation) -> BTreeSet<&'static str> {
    let possible = operation.possible_risks().into_iter();
    let paths = possible.filter_map(|(_, path)| path);
    paths
        .filter_map(|path| path.split(['.', '[']).next())
        .collect()
}

#[test]
fn each_write_without_a_risk_is_known() {
    let known = |tool: &str| HARMLESS_CREATIONS.iter().any(|one| one.tool == tool);
    let is_creation = |operation: &&Operation| {
        operation.effect() == Effect::Create && constant_risks(operation).is_empty()
    };
    let missing: Vec<_> = writes()
        .filter(is_creation)
        .filter(|operation| !known(operation.name()))
        .map(Operation::name)
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} make something, and have no risk of every call: declare one with `.with_risks`, or add a row \
         to HARMLESS_CREATIONS with the reason"
    );
    for row in HARMLESS_CREATIONS {
        assert!(
            writes()
                .filter(is_creation)
                .any(|operation| operation.name() == row.tool),
            "{} has a risk of every call, or is gone; remove its row ({})",
            row.tool,
            row.reason
        );
    }
}

#[test]
fn each_argument_of_an_update_is_declared_or_harmless() {
    let mut missing = Vec::new();
    let mut used = BTreeSet::new();
    let updates = writes().filter(|operation| operation.effect() == Effect::Update);
    for operation in updates.filter(|operation| constant_risks(operation).is_empty()) {
        let tool = operation.name();
        let compiled = CompiledOperation::new(operation.clone());
        let arguments = compiled.full_schema()["properties"].as_object().unwrap();
        // A patch is judged by the request that it becomes.
        let risky = risky_arguments(operation);
        for name in arguments.keys() {
            let harmless = HARMLESS_ARGUMENTS.iter().enumerate().find(|(_, row)| {
                (row.tools.is_empty() || row.tools.contains(&tool))
                    && row.names.contains(&name.as_str())
            });
            if let Some((row, _)) = harmless {
                used.insert((row, name.clone()));
            } else if name != "patch" && operation.is_change(name) && !risky.contains(name.as_str())
            {
                missing.push(format!("{tool}: {name}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "declare these arguments as risks with `.with_risks`, or add them to HARMLESS_ARGUMENTS:\n{}",
        missing.join("\n")
    );
    for (row, table) in HARMLESS_ARGUMENTS.iter().enumerate() {
        for name in table.names {
            assert!(
                used.contains(&(row, (*name).to_owned())),
                "no update of {:?} takes `{name}`; remove it",
                table.tools
            );
        }
    }
}

/// Adds the paths of secrets in a schema, such as `configurations.client_secret`.
fn add_secret_paths(schema: &Value, path: &str, paths: &mut Vec<String>) {
    if schema.get("x-secret").is_some() {
        paths.push(path.to_owned());
        return;
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        let separator = if path.is_empty() { "" } else { "." };
        add_secret_paths(property, &format!("{path}{separator}{name}"), paths);
    }
    if schema["items"].is_object() {
        add_secret_paths(&schema["items"], &format!("{path}[]"), paths);
    }
}

/// Returns arguments with a text at a path.
fn args_with(path: &str) -> Value {
    path.rsplit('.')
        .fold(json!("new"), |inner, step| match step.strip_suffix("[]") {
            Some(name) => json!({ name: [inner] }),
            None => json!({ step: inner }),
        })
}

#[test]
fn each_secret_that_an_update_replaces_is_a_risk() {
    let mut missing = Vec::new();
    let mut count = 0;
    for operation in writes().filter(|operation| operation.effect() == Effect::Update) {
        let compiled = CompiledOperation::new(operation.clone());
        let mut paths = Vec::new();
        add_secret_paths(compiled.full_schema(), "", &mut paths);
        count += paths.len();
        for path in paths {
            let args = args_with(&path);
            let risks = operation.risks(args.as_object().unwrap(), Some(&json!({})));
            if risks.is_empty() {
                missing.push(format!("{}: {path}", operation.name()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "declare these as risks with `.with_risks`:\n{}",
        missing.join("\n")
    );
    assert!(count >= 20, "only {count} secrets");
}

/// A call with the risks that it has without knowing the state.
struct RiskyCall {
    tool: &'static str,
    args: Value,
    risks: &'static [Risk],
}

#[test]
fn calls_have_the_risks_of_their_arguments() {
    use Risk::{Budget, Deletion, Privilege, Production, Secret};
    let call = |tool, args, risks| RiskyCall { tool, args, risks };
    let limits = json!([{ "type": "cost", "credit_limit": 9 }]);
    let calls = [
        // Roles and invitations.
        call("update-user", json!({ "role": "admin" }), &[Privilege][..]),
        call("update-user", json!({ "role": "member" }), &[Privilege]),
        call(
            "invite-user",
            json!({ "role": "admin", "workspace_api_key_details": { "scopes": ["logs.list"] } }),
            &[Privilege, Secret],
        ),
        call(
            "update-workspace-member",
            json!({ "role": "member" }),
            &[Privilege],
        ),
        call(
            "add-workspace-member",
            json!({ "users": [{ "role": "admin" }] }),
            &[Privilege],
        ),
        call(
            "create-scim-workspace-mapping",
            json!({ "role": "member" }),
            &[Privilege],
        ),
        call("create-workspace", json!({ "name": "a" }), &[]),
        call("create-workspace", json!({ "users": ["u"] }), &[Privilege]),
        // Keys.
        call("create-api-key", json!({ "type": "workspace" }), &[Secret]),
        call(
            "create-api-key",
            json!({ "type": "organisation" }),
            &[Privilege, Secret],
        ),
        call("rotate-api-key", json!({}), &[Deletion, Secret]),
        call("update-api-key", json!({ "name": "a" }), &[]),
        call("update-api-key", json!({ "scopes": [] }), &[Privilege]),
        call(
            "update-api-key",
            json!({ "expires_at": null }),
            &[Privilege],
        ),
        call(
            "update-api-key",
            json!({ "rotation_policy": null }),
            &[Privilege],
        ),
        call("update-api-key", json!({ "defaults": {} }), &[Production]),
        call("update-api-key", json!({ "reset_usage": true }), &[Budget]),
        call("update-api-key", json!({ "reset_usage": false }), &[]),
        call(
            "update-api-key",
            json!({ "usage_limits": limits }),
            &[Budget],
        ),
        call("update-virtual-key", json!({ "key": "k" }), &[Secret]),
        call("update-integration", json!({ "key": "k" }), &[Secret]),
        call(
            "update-integration",
            json!({ "secret_mappings": [] }),
            &[Secret],
        ),
        call(
            "update-integration",
            json!({ "allow_all_models": true }),
            &[Privilege],
        ),
        call("create-integration", json!({ "name": "a" }), &[]),
        call(
            "create-integration",
            json!({ "secret_mappings": [{}] }),
            &[Secret],
        ),
        call("create-secret-reference", json!({ "name": "a" }), &[Secret]),
        call(
            "update-secret-reference",
            json!({ "secret_path": "a" }),
            &[Secret],
        ),
        call(
            "update-secret-reference",
            json!({ "allow_all_workspaces": true }),
            &[Privilege],
        ),
        call("update-plugin", json!({ "credentials": {} }), &[Secret]),
        // Access.
        call(
            "bulk-update-integration-workspaces",
            json!({ "workspaces": [{ "id": "w", "usage_limits": limits, "reset_usage": true }] }),
            &[Deletion, Privilege, Budget],
        ),
        call(
            "bulk-update-integration-models",
            json!({ "models": [{ "slug": "a", "enabled": false }] }),
            &[],
        ),
        call(
            "bulk-update-integration-models",
            json!({ "models": [{ "enabled": false }, { "enabled": true }] }),
            &[Privilege],
        ),
        call(
            "bulk-update-mcp-server-capabilities",
            json!({ "capabilities": [{ "enabled": true }] }),
            &[Privilege],
        ),
        call(
            "bulk-update-mcp-server-capabilities",
            json!({ "capabilities": [{ "enabled": false }] }),
            &[],
        ),
        call(
            "bulk-update-mcp-server-user-access",
            json!({}),
            &[Privilege],
        ),
        call(
            "update-mcp-integration",
            json!({ "auth_type": "none" }),
            &[Privilege],
        ),
        call("update-workspace", json!({ "settings": {} }), &[Privilege]),
        call(
            "update-workspace",
            json!({ "security_settings": {} }),
            &[Privilege],
        ),
        // Limits.
        call(
            "update-workspace",
            json!({ "usage_limits": null }),
            &[Budget],
        ),
        call("update-provider", json!({ "rate_limits": [] }), &[Budget]),
        call(
            "update-usage-limits-policy",
            json!({ "credit_limit": 1 }),
            &[Budget],
        ),
        call(
            "update-rate-limits-policy",
            json!({ "unit": "rpd" }),
            &[Budget],
        ),
        call(
            "reset-usage-limits-policy-entity",
            json!({}),
            &[Deletion, Budget],
        ),
        // Production.
        call(
            "update-prompt-version",
            json!({ "label_id": "l" }),
            &[Production],
        ),
        call(
            "update-label",
            json!({ "name": "production" }),
            &[Production],
        ),
        call(
            "set-default-prompt-version",
            json!({ "version": 1 }),
            &[Production],
        ),
        call("update-workspace", json!({ "defaults": {} }), &[Production]),
        call(
            "update-organisation-defaults",
            json!({}),
            &[Deletion, Production],
        ),
        call(
            "set-guardrail-mcp-server",
            json!({ "run_on": ["input"] }),
            &[Production],
        ),
        call(
            "update-prompt-partial",
            json!({ "status": "archived" }),
            &[Production],
        ),
        // Deletions.
        call("delete-label", json!({}), &[Deletion]),
        call("bulk-delete-integration-models", json!({}), &[Deletion]),
        call(
            "bulk-update-input-guardrail-exclusions",
            json!({}),
            &[Deletion],
        ),
    ];
    for RiskyCall { tool, args, risks } in calls {
        let operation = writes().find(|operation| operation.name() == tool);
        let operation = operation.unwrap_or_else(|| panic!("{tool}"));
        let args: JsonMap = args.as_object().unwrap().clone().into_iter().collect();
        let found = operation.risks(&args, None);
        let mut found: Vec<_> = found.into_iter().map(|found| found.risk).collect();
        // A kind of a risk has its place in the order of kinds.
        found.sort();
        let mut expected = risks.to_vec();
        expected.sort();
        assert_eq!(found, expected, "{tool} {args:?}");
    }
}
