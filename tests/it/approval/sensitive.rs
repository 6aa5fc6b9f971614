//! `--approve-sensitive`: calls with a risk need approval, all others do not.

use portkey_api::domains::DOMAINS;
use portkey_operation::{CompiledOperation, Effect, Operation};
use serde_json::Value;

use crate::support::process::run_cli;

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
