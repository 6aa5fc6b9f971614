//! Imported rules decide as the gateway that they are from.

use portkey_api::catalog::Catalog;

use super::{ImportFormat, Imported, import};
use crate::{Policy, cases::parse_cases};

fn imported(format: ImportFormat, text: &str) -> Imported {
    import(format, text).unwrap()
}

/// Checks that the imported policy decides as the cases expect.
fn assert_cases(imported: &Imported, cases: &str) {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };
    let catalog = Catalog::full();
    let policy = Policy::parse("p.yaml", &imported.text, &catalog).unwrap();
    for (line, case) in parse_cases(cases).unwrap() {
        let mut context = Context::from_waker(Waker::noop());
        let checked = pin!(case.check(&policy, &catalog)).poll(&mut context);
        assert_eq!(
            checked,
            Poll::Ready(Ok(())),
            "line {line}\n{}",
            imported.text
        );
    }
}

const AGENTGATEWAY: &str = r#"
binds:
- port: 3000
  listeners:
  - routes:
    - policies:
        mcpAuthorization:
          rules:
          - 'mcp.tool.name == "list_labels"'
          - 'jwt.sub == "alice" && mcp.tool.name in ["create_label", "update_label"]'
          - allow: 'mcp.tool.name.startsWith("get_") && (jwt.role == "admin" || "ops" in jwt.groups)'
          - deny: 'mcp.tool.name == "get_config" && jwt.contractor == true'
          - 'jwt.super && has(jwt.level)'
"#;

#[test]
fn agentgateway_rules_decide_as_there() {
    let imported = imported(ImportFormat::Agentgateway, AGENTGATEWAY);
    assert_eq!(imported.unmapped, Vec::<String>::new());
    let cases = r#"
cases:
  - { call: list-labels, expect: allow }
  - { prompt: access-review, expect: deny, rule: default }
  - { call: create-label, args: { name: a }, claims: { sub: alice }, expect: allow }
  - { call: create-label, args: { name: a }, claims: { sub: bob }, expect: deny, rule: default }
  - { call: create-label, args: { name: a }, expect: deny, rule: default }
  - { call: get-config, args: { slug: a }, claims: { groups: [ops] }, expect: allow }
  - { call: get-config, args: { slug: a }, claims: { role: admin }, expect: allow }
  - { call: get-config, args: { slug: a }, claims: { role: user, groups: [] }, expect: deny, rule: default }
  - { call: get-config, args: { slug: a }, claims: { role: admin, contractor: true }, expect: deny, rule: "agentgateway, line 12" }
  - { call: delete-label, args: { label_id: a }, claims: { super: true, level: 1 }, expect: allow }
  - { prompt: access-review, claims: { super: true, level: 1 }, expect: allow }
  - { call: delete-label, args: { label_id: a }, claims: { super: true }, expect: deny, rule: default }
"#;
    assert_cases(&imported, cases);
}

#[test]
fn agentgateway_rules_that_do_not_map_are_listed_and_denials_stay_closed() {
    let text = r#"
mcpAuthorization:
  rules:
  - 'mcp.tool.name == "list_labels"'
  - 'mcp.tool.target == "everything"'
  - 'request.headers["x"] == "y"'
  - require: 'jwt.aud == "portkey"'
  - deny: 'mcp.tool.name.matches("^x")'
  - { allow: 'true', when: 'x' }
"#;
    let imported = imported(ImportFormat::Agentgateway, text);
    let lines: Vec<_> = imported
        .unmapped
        .iter()
        .map(|unmapped| unmapped.split(':').next().unwrap())
        .collect();
    assert_eq!(lines, ["line 5", "line 6", "line 8", "line 8"]);
    assert!(
        imported
            .text
            .starts_with("# Not imported: line 5: `mcp.tool.target` does not map")
    );
    // A denial that is missing must not open anything.
    let cases = "cases:\n  - { call: list-labels, claims: { aud: portkey }, expect: deny }\n";
    assert_cases(&imported, cases);
}

#[test]
fn agentgateway_requirement_denies_others() {
    let text = "mcpAuthorization: { rules: [{ require: 'jwt.aud == \"portkey\"' }] }\n";
    let imported = imported(ImportFormat::Agentgateway, text);
    let cases = "cases:\n  - { call: list-labels, claims: { aud: portkey }, expect: allow }\n  \
                 - { call: list-labels, claims: { aud: other }, expect: deny }\n  \
                 - { call: list-labels, expect: deny }\n";
    assert_cases(&imported, cases);
}

const TOOLHIVE: &str = r#"
version: "1.0"
type: cedarv1
cedar:
  policies:
    - permit(principal, action == Action::"call_tool", resource == Tool::"list_labels");
    - permit(principal == Client::"alice", action == Action::"call_tool", resource);
    - permit(principal, action == Action::"get_prompt", resource == Prompt::"access-review");
    - |
      // Admins, but not in a trial.
      @id("admins")
      permit(principal, action in [Action::"call_tool", Action::"get_prompt"], resource)
      when { principal.claim_roles.contains("admin") }
      unless { principal has claim_trial && principal.claim_trial == true };
    - forbid(principal, action == Action::"call_tool", resource == Tool::"create_label") when { context.arg_name == "secret" };
    - permit(principal, action == Action::"list_tools", resource);
  entities_json: "[]"
"#;

#[test]
fn toolhive_policies_decide_as_there() {
    let imported = imported(ImportFormat::Toolhive, TOOLHIVE);
    assert_eq!(imported.unmapped, Vec::<String>::new());
    assert_eq!(imported.notes.len(), 1);
    let cases = r#"
cases:
  - { call: list-labels, expect: allow }
  - { call: list-configs, expect: deny, rule: default }
  - { call: list-configs, claims: { sub: alice }, expect: allow }
  - { prompt: access-review, expect: allow }
  - { prompt: onboard-team, expect: deny, rule: default }
  - { prompt: onboard-team, claims: { roles: [admin] }, expect: allow }
  - { call: list-configs, claims: { roles: [admin] }, expect: allow }
  - { call: list-configs, claims: { roles: [admin], trial: true }, expect: deny }
  - { call: list-configs, claims: { roles: [user] }, expect: deny }
  - { resource: "portkey://guide/errors", claims: { sub: alice, roles: [admin] }, expect: deny }
  - { call: create-label, args: { name: a }, claims: { sub: alice }, expect: allow }
  - { call: create-label, args: { name: secret }, claims: { sub: alice }, expect: deny }
"#;
    assert_cases(&imported, cases);
}

#[test]
fn error_on_the_way_stops_a_cedar_policy() {
    let text = r#"permit(principal, action, resource) when { principal.claim_a == "x" || principal.claim_b == "y" };"#;
    let imported = imported(ImportFormat::Toolhive, text);
    let cases = r#"
cases:
  - { call: list-labels, claims: { a: x }, expect: allow }
  - { call: list-labels, claims: { a: z, b: y }, expect: allow }
  - { name: an error comes first, call: list-labels, claims: { b: y }, expect: deny }
"#;
    assert_cases(&imported, cases);
}

#[test]
fn toolhive_policies_that_do_not_map_are_listed() {
    let text = r#"permit(principal, action == Action::"call_tool", resource == Tool::"list_labels");
permit(principal in THVGroup::"g", action, resource);
permit(principal, action == Action::"read_resource", resource == Resource::"file___x");
forbid(principal, action, resource) when { principal.claim_name like "a*" };
permit(principal, action, resource) when { resource.name == "x" };
permit(principal, action == Action::"call_tool", resource) when { context.now > 3 };
deny(principal, action, resource);
"#;
    let imported = imported(ImportFormat::Toolhive, text);
    let lines: Vec<_> = imported
        .unmapped
        .iter()
        .map(|unmapped| unmapped.split(':').next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["line 2", "line 3", "line 4", "line 5", "line 6", "line 7"]
    );
    let cases = "cases:\n  - { call: list-labels, expect: deny, rule: 'not imported from line 4: replace it' }\n";
    assert_cases(&imported, cases);
}

#[test]
fn file_of_something_else_is_an_error() {
    assert!(import(ImportFormat::Agentgateway, "version: '1'\n").is_err());
    assert!(import(ImportFormat::Toolhive, "version: '1'\n").is_err());
    let broken = "cedar:\n  policies:\n  - 'permit(principal, action, resource);\n";
    let error = import(ImportFormat::Toolhive, broken).unwrap_err();
    assert!(!error.to_string().contains("permit"), "{error}");
}

/// Conditions that would take a stack or a memory without end.
#[test]
fn conditions_without_an_end_are_listed() {
    let levels = 23;
    let doubled = format!(
        "{}context.arg_a == 1{}",
        "((context.arg_b == 1 || ".repeat(levels / 2),
        ") && context.arg_c == 1)".repeat(levels / 2)
    );
    for (condition, reason) in [
        (format!("{}true", "!".repeat(100_000)), "too many levels"),
        (format!("{}true", "(".repeat(100_000)), "too many levels"),
        (
            vec!["context.arg_a == 1"; 100_000].join(" || "),
            "more than 500 parts",
        ),
        (vec!["context.arg_a == 1"; 400].join(" && "), "longer than"),
        (doubled, "longer than"),
    ] {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let imported = imported(ImportFormat::Toolhive, &text);
        assert_eq!(imported.unmapped.len(), 1);
        assert!(imported.unmapped[0].contains(reason), "{reason}");
        let condition = condition.replace("context.arg_", "jwt.");
        let quoted = serde_json::Value::from(condition);
        let text = format!("mcpAuthorization: {{ rules: [{{ require: {quoted} }}] }}\n");
        let imported = import(ImportFormat::Agentgateway, &text).unwrap();
        assert!(!imported.unmapped.is_empty(), "{reason}");
    }
}

#[test]
fn names_that_no_policy_takes_are_listed() {
    let long = "x".repeat(300);
    for name in ["", "  ", &long] {
        let text = format!(
            "forbid(principal, action == Action::\"call_tool\", resource == Tool::\"{name}\");"
        );
        let imported = imported(ImportFormat::Toolhive, &text);
        assert!(imported.unmapped[0].contains("a name has between 1"));
        let cases = "cases:\n  - { call: list-labels, expect: deny }\n";
        assert_cases(&imported, cases);
    }
}

/// A comment ends where YAML ends a line, and not only where Rust does.
#[test]
fn reasons_stay_in_their_comment() {
    let text = "permit(principal, action == Action::\"call_tool\", resource == Tool::\"a*\rdefault: allow\r#\");";
    let imported = imported(ImportFormat::Toolhive, text);
    assert_eq!(imported.unmapped.len(), 1);
    let cases = "cases:\n  - { call: list-labels, expect: deny, rule: default }\n";
    assert_cases(&imported, cases);
}
