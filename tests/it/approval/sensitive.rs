//! `--approve-sensitive`: calls with a risk need approval, all others do not.

use std::fs;

use portkey_api::domains::DOMAINS;
use portkey_operation::{CompiledOperation, Effect, Operation};
use reqwest::Method;
use serde_json::Value;

use crate::support::{
    process::{command, run_cli},
    requests::client,
    server::{ServerProcess, serve_sandbox},
};

const SERVICE_KEY: &str = "id=850d3ff4-5bd6-4000-8000-000000000033";
const USAGE_POLICY: &str = "policy_usage_limits_id=efa6f4a6-5354-4000-8000-00000000003f";
const RATE_POLICY: &str = "rate_limits_policy_id=2c15e819-51e9-4000-8000-000000000041";
const MEMBER: &str = "user_id=0a5d0000-0000-4000-8000-00000000ada2";
const LABEL: &str = "label_id=3188ebe1-e0cd-4000-8000-00000000002c";

#[test]
fn only_calls_with_a_risk_need_approval() {
    let asked: &[&[&str]] = &[
        &["delete-label", LABEL],
        &["rotate-api-key", SERVICE_KEY],
        &["update-user", MEMBER, "role=admin"],
        &["update-user", MEMBER, "role=member"],
        &[
            "invite-user",
            "email=new@example.com",
            "role=member",
            "workspaces=[]",
        ],
        &["update-api-key", SERVICE_KEY, r#"scopes=["logs.list"]"#],
        &["update-api-key", SERVICE_KEY, "reset_usage=true"],
        &[
            "update-usage-limits-policy",
            USAGE_POLICY,
            "credit_limit=151",
        ],
        &[
            "update-usage-limits-policy",
            USAGE_POLICY,
            "conditions=[{\"key\":\"model\",\"value\":\"x\"}]",
        ],
        // An unknown policy: the limit cannot be compared.
        &[
            "update-usage-limits-policy",
            "policy_usage_limits_id=none",
            "credit_limit=1",
        ],
        &["update-rate-limits-policy", RATE_POLICY, "value=121"],
        &["update-label", LABEL, "name=production-eu"],
        &[
            "update-api-key",
            SERVICE_KEY,
            "expires_at=2030-01-01T00:00:00Z",
        ],
        &[
            "update-integration",
            "slug=openai-production",
            "key=sk-new-0123456789abcdef",
        ],
        // In a wrapper of the body, and under another name.
        &[
            "update-user",
            r#"{"id": "0a5d0000-0000-4000-8000-00000000ada2", "body": {"role": "admin"}}"#,
        ],
        // The same as a patch.
        &[
            "update-usage-limits-policy",
            USAGE_POLICY,
            r#"patch={"credit_limit":151}"#,
        ],
    ];
    let sent: &[&[&str]] = &[
        &["list-labels"],
        &["create-label", "name=canary"],
        &["update-label", LABEL, "color_code=#000000"],
        &["update-api-key", SERVICE_KEY, "name=Support bot"],
        &[
            "update-usage-limits-policy",
            USAGE_POLICY,
            "credit_limit=149",
        ],
        &[
            "update-usage-limits-policy",
            USAGE_POLICY,
            r#"patch={"credit_limit":149}"#,
        ],
        &["update-usage-limits-policy", USAGE_POLICY, "name=Projects"],
        &["update-rate-limits-policy", RATE_POLICY, "value=119"],
    ];
    for (calls, is_asked) in [(asked, true), (sent, false)] {
        for call in calls {
            let args = [&["call"], *call, &["--sandbox", "--approve-sensitive"]].concat();
            let (done, _, log) = run_cli(&args);
            let needs_approval = log.contains("needs the approval of a human");
            assert_eq!(needs_approval, is_asked, "{call:?}: {log}");
            assert_eq!(done, !is_asked, "{call:?}: {log}");
        }
    }
}

#[tokio::test]
async fn risks_are_seen_over_the_api_itself() {
    let server = serve_sandbox(&["--rest", "--approve-sensitive"]);
    let user = MEMBER.trim_start_matches("user_id=");
    let policy = USAGE_POLICY.trim_start_matches("policy_usage_limits_id=");
    let users = format!("/v1/admin/users/{user}");
    let policies = format!("/v1/policies/usage-limits/{policy}");
    let bodies = [
        (&users, r#"{"role":"admin"}"#, 403),
        (&users, r#"{"role":"ADMIN"}"#, 403),
        (&policies, r#"{"credit_limit":151}"#, 403),
        (&policies, r#"{"credit_limit":149}"#, 200),
    ];
    for (path, body, status) in bodies {
        let url = format!("{}{path}", server.url.trim_end_matches("/mcp"));
        let request = client()
            .request(Method::PUT, url)
            .header("content-type", "application/json")
            .body(body);
        let response = request.send().await.unwrap();
        let found = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(found, status, "{path} {body}: {text}");
        assert_eq!(text.contains("approval_required"), status == 403, "{text}");
    }
}

#[test]
fn risks_are_seen_in_steps_of_plans() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changes.yaml");
    let user = MEMBER.replace('=', ": ");
    let policy = USAGE_POLICY.replace('=', ": ");
    let document = format!(
        "- tool: update-user\n  arguments: {{{user}, role: admin}}\n\
         - tool: update-usage-limits-policy\n  arguments: {{{policy}, patch: {{credit_limit: 151}}}}\n\
         - tool: update-usage-limits-policy\n  arguments: {{{policy}, credit_limit: 149}}\n"
    );
    fs::write(&file, document).unwrap();
    let file = file.to_str().unwrap();
    let (done, shown, log) = run_cli(&["plan", file, "--sandbox", "--approve-sensitive"]);
    assert!(done, "{log}");
    assert_eq!(shown.matches("needs approval").count(), 2, "{shown}");
    let (done, shown, log) = run_cli(&["apply", file, "--sandbox", "--approve-sensitive"]);
    assert!(!done && log.contains("approval of a human"), "{shown}{log}");
}

#[test]
fn undo_that_raises_a_limit_needs_approval() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let sandbox = ServerProcess::sandbox_api().start();
    let run = |args: &[&str]| {
        let output = command(args)
            .env("PORTKEY_MCP_NO_JOURNAL", "false")
            .args(["--api-key", "any-key-of-the-sandbox"])
            .args(["--base-url", &sandbox.url])
            .args(["--journal", journal.to_str().unwrap()])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let lower = [
        "call",
        "update-usage-limits-policy",
        USAGE_POLICY,
        "credit_limit=149",
        "--approve-sensitive",
    ];
    let (done, text) = run(&lower);
    assert!(done, "{text}");
    let (_, list) = run(&["changes", "list"]);
    let id = list.split("  ").nth(1).unwrap();
    let (done, text) = run(&["changes", "undo", id, "--approve-sensitive"]);
    assert!(
        !done && text.contains("needs the approval of a human"),
        "{text}"
    );
}

/// Names of arguments that change privileges, limits or production, and have to be declared where
/// they are.
const SENSITIVE_ARGUMENTS: &[&str] = &[
    "role",
    "scopes",
    "security_settings",
    "label_id",
    "reset_usage",
    "reset_usage_for_value",
    "user_access",
    "global_workspace_access",
];
/// Names of limits, which an update may raise.
const LIMIT_ARGUMENTS: &[&str] = &["usage_limits", "rate_limits", "credit_limit"];

/// Calls that need approval for every write: with these, no argument has to be declared.
fn is_always_risky(operation: &Operation) -> bool {
    operation.effect() == Effect::Delete
        || operation.hints().destructive
        || operation
            .risk_rules()
            .iter()
            .any(|rule| rule.path().is_none())
}

/// Collects the paths of all arguments, such as `users[].role`.
fn collect_paths(schema: &Value, at: &str, found: &mut Vec<String>) {
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in fields {
        let path = match at {
            "" => name.clone(),
            at => format!("{at}.{name}"),
        };
        found.push(path.clone());
        collect_paths(field, &path, found);
        collect_paths(&field["items"], &format!("{path}[]"), found);
    }
}

#[test]
fn sensitive_arguments_are_declared_as_risks() {
    let mut missing = Vec::new();
    for domain in DOMAINS {
        let writes = domain
            .operations
            .iter()
            .filter(|operation| operation.effect() != Effect::Read);
        for operation in writes {
            let mut paths = Vec::new();
            let compiled = CompiledOperation::new(operation.clone());
            collect_paths(compiled.full_schema(), "", &mut paths);
            for rule in operation.risk_rules() {
                if let Some(path) = rule.path() {
                    assert!(
                        paths.iter().any(|known| known == path),
                        "{operation:?} declares a risk of `{path}`, which it does not take"
                    );
                }
            }
            if is_always_risky(operation) {
                continue;
            }
            // A new key is a risk as a whole.
            if !operation.one_time_secrets().is_empty() {
                continue;
            }
            let names: Vec<_> = SENSITIVE_ARGUMENTS
                .iter()
                .chain(
                    LIMIT_ARGUMENTS
                        .iter()
                        .filter(|_| operation.effect() == Effect::Update),
                )
                .collect();
            let is_address = |path: &str| operation.placeholders().any(|name| name == path);
            for path in paths.iter().filter(|path| !is_address(path)) {
                let name = path.rsplit('.').next().unwrap().trim_end_matches("[]");
                let is_sensitive = names.iter().any(|sensitive| **sensitive == name);
                let is_declared = operation.risk_rules().iter().any(|rule| {
                    let below = rule.path().and_then(|declared| path.strip_prefix(declared));
                    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                });
                if is_sensitive && !is_declared {
                    missing.push(format!(
                        "{}: `{}` takes `{path}`. Add to its row `.with_risks(&[risk(Risk::…, \"…\").if_given(\"{path}\")])`",
                        domain.name,
                        operation.name()
                    ));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
