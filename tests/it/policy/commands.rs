//! `portkey-mcp policy check|explain|test|init`.

use std::fs;

use super::*;
use crate::support::process::run_cli;

fn write_file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const POLICY: &str = r#"version: "1"
hide: [delete-workspace]
tools:
  create-label:
    rules:
      - name: team labels
        conditions: [{ path: args.name, op: regex, value: "^team-" }]
        on_deny: labels begin with team-
      - { name: few, rate_limit: 1/hour }
  update-label: { rules: [{ name: ask, action: approve, when: tainted }] }
  made_up: { rules: [] }
"#;

#[test]
fn check_reports_errors_and_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let good = write_file(&folder, "good.yaml", POLICY);
    let (ok, out, _) = run_cli(&["policy", "check", &good]);
    assert!(
        ok && out.contains("good.yaml is valid: 3 rules, 1 of "),
        "{out}"
    );
    assert!(out.contains(" tools hidden, "), "{out}");
    assert!(
        out.contains("warning: tools.made_up: no tool of this server is called `made_up`"),
        "{out}"
    );
    let (ok, _, _) = run_cli(&["policy", "check", &good, "--strict"]);
    assert!(!ok);
    let one = write_file(
        &folder,
        "one.yaml",
        "version: '1'\nrules: [{ name: r, action: deny, match: { tools: [delete-workspace] } }]\n",
    );
    let (ok, out, _) = run_cli(&["policy", "check", &one]);
    assert!(ok && out.contains("one.yaml is valid: 1 rule, "), "{out}");
    let bad = write_file(
        &folder,
        "bad.yaml",
        "version: '1'\nrules:\n  - { name: r, action: block }\n",
    );
    let (ok, _, log) = run_cli(&["policy", "check", &bad]);
    assert!(
        !ok && log.contains("bad.yaml") && log.contains("line 3"),
        "{log}"
    );
}

#[test]
fn explain_shows_the_matched_rule_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let policy = write_file(&folder, "policy.yaml", POLICY);
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["create-label", r#"{"name":"x"}"#],
            &[
                "deny: the policy rule `team labels` denies `create-label`: labels begin with team-\n",
                "decided at: deny\n",
                "decided by: `team labels` (policy.yaml, tools.create-label.rules[0], line 6)\n",
                "`few` (policy.yaml, tools.create-label.rules[1], line 9) [evaluate]: holds\n",
            ],
        ),
        (
            &["create_label", r#"{"name":"team-a"}"#],
            &["allow\n", "`team labels`"],
        ),
        (&["list-labels"], &["allow\n"]),
        (
            &["delete-workspace", r#"{"workspace_id":"a","name":"A"}"#],
            &["deny: `delete-workspace` is hidden", "decided at: hidden"],
        ),
        (
            &["update-label", r#"{"label_id":"a","name":"b"}"#],
            &["allow\n", "[approve]: does not apply"],
        ),
        (
            &[
                "update-label",
                r#"{"label_id":"a","name":"b"}"#,
                "--tainted",
            ],
            &["approve: the policy rule `ask`\n", "[approve]: applies"],
        ),
    ];
    for (call, words) in cases {
        let (ok, out, log) = run_cli(&[&["policy", "explain", &policy, "--call"], *call].concat());
        assert!(
            ok && words.iter().all(|word| out.contains(word)),
            "{call:?}: {out}{log}"
        );
    }
    for (call, words) in [
        (&["no-such", "{}"] as &[&str], "there is no tool `no-such`"),
        (&["create-label", "[]"], "not a JSON object"),
        (&["create-label", r#"{"nam":"x"}"#], "did you mean `name`"),
    ] {
        let (ok, _, log) = run_cli(&[&["policy", "explain", &policy, "--call"], call].concat());
        assert!(!ok && log.contains(words), "{call:?}: {log}");
    }
}

#[test]
fn test_command_reports_failed_cases() {
    let folder = tempfile::tempdir().unwrap();
    let policy = write_file(&folder, "policy.yaml", POLICY);
    let good = r#"
cases:
  - { call: create-label, args: { name: team-a }, expect: allow }
  - { name: the second, call: create-label, args: { name: team-a }, times: 2, expect: deny, rule: few }
  - { call: create-label, args: { name: x }, expect: deny, rule: team labels }
  - { call: update-label, args: { label_id: a, name: b }, tainted: true, expect: approve, principal: ci, transport: stdio }
  - { call: delete_workspace, args: { workspace_id: a, name: A }, expect: deny, time: 2026-07-28T22:00:00Z }
"#;
    let (ok, out, log) = run_cli(&[
        "policy",
        "test",
        &policy,
        &write_file(&folder, "good.yaml", good),
    ]);
    assert!(ok && out == "5 of 5 cases passed\n", "{out}{log}");
    let bad = good
        .replace("expect: approve", "expect: allow")
        .replace("rule: few", "rule: many");
    let (ok, out, _) = run_cli(&[
        "policy",
        "test",
        &policy,
        &write_file(&folder, "bad.yaml", &bad),
    ]);
    assert!(!ok && out.ends_with("3 of 5 cases passed\n"), "{out}");
    assert!(
        out.contains("line 4: the second: expected deny by `many`, got deny by `few` ("),
        "{out}"
    );
    assert!(
        out.contains("line 6: update-label: expected allow, got approve by `ask`"),
        "{out}"
    );
    for (text, words) in [
        (
            "cases: [{ call: list-labels, expect: maybe }]",
            "unknown variant `maybe`",
        ),
        ("cases: [{ call: list-labels, expects: allow }]", "expects"),
    ] {
        let (ok, _, log) = run_cli(&[
            "policy",
            "test",
            &policy,
            &write_file(&folder, "odd.yaml", text),
        ]);
        assert!(!ok && log.contains(words), "{log}");
    }
}

#[test]
fn former_spelling_of_dry_run_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let rules =
        "version: '1'\nrules: [{ name: a, action: dry-run, match: { effects: [update] } }]\n";
    let policy = write_file(&folder, "policy.yaml", rules);
    let cases = r#"
cases:
  - { call: update-label, args: { label_id: a, name: b }, expect: dry-run, rule: a }
  - { call: update-label, args: { label_id: a, name: b }, expect: dry_run, rule: a }
"#;
    let (ok, out, log) = run_cli(&[
        "policy",
        "test",
        &policy,
        &write_file(&folder, "cases.yaml", cases),
    ]);
    assert!(ok && out == "2 of 2 cases passed\n", "{out}{log}");
    let call = ["--call", "update-label", r#"{"label_id":"a","name":"b"}"#];
    let (ok, out, log) = run_cli(&[&["policy", "explain", &policy][..], &call].concat());
    assert!(ok && out.starts_with("dry_run: "), "{out}{log}");
}

#[test]
fn init_prints_a_valid_policy_that_names_every_tool() {
    let folder = tempfile::tempdir().unwrap();
    for preset in [
        &[] as &[&str],
        &["--preset", "read-only"],
        &["--preset", "careful"],
        &["--preset", "ci"],
    ] {
        let (ok, out, log) = run_cli(&[&["policy", "init"], preset].concat());
        assert!(ok, "{log}");
        let parsed = parse_policy(&out);
        assert!(parsed.warnings().is_empty(), "{:?}", parsed.warnings());
        let (before, listed) = out.split_once("# tools:\n").unwrap();
        for entry in Catalog::full().iter() {
            assert!(listed.contains(&format!(
                "#   {}: {{ rules: [] }} # ",
                entry.operation.name()
            )));
        }
        // The commented part is valid after removal of the comment marks.
        let opened: String = listed
            .lines()
            .map(|line| format!("{}\n", &line[2..]))
            .collect();
        let whole = parse_policy(&format!("{before}tools:\n{opened}"));
        assert!(whole.warnings().is_empty());
        let checked = write_file(&folder, "begun.yaml", &out);
        assert!(run_cli(&["policy", "check", &checked, "--strict"]).0);
    }
}

#[test]
fn import_prints_the_policy_and_lists_what_does_not_map() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "mcpAuthorization:\n  rules:\n  - 'mcp.tool.name == \"list_labels\"'\n";
    let good = write_file(&folder, "good.yaml", gateway);
    let (ok, out, log) = run_cli(&["policy", "import", "--from", "agentgateway", &good]);
    assert!(ok && log.is_empty(), "{log}");
    let policy = write_file(&folder, "policy.yaml", &out);
    let (ok, out, _) = run_cli(&["policy", "explain", &policy, "--call", "list-labels"]);
    assert!(ok && out.starts_with("allow"), "{out}");
    let other = format!("{gateway}  - 'mcp.tool.target == \"x\"'\n");
    let partly = write_file(&folder, "partly.yaml", &other);
    let (ok, out, log) = run_cli(&["policy", "import", "--from", "agentgateway", &partly]);
    assert!(!ok && out.contains("list_labels"), "{out}");
    assert!(
        log.contains("not imported: line 4: `mcp.tool.target` does not map"),
        "{log}"
    );
    let cedar =
        "permit(principal, action == Action::\"call_tool\", resource == Tool::\"list_labels\");\n";
    let cedar = write_file(&folder, "authz.cedar", cedar);
    let (ok, out, _) = run_cli(&["policy", "import", "--from", "toolhive", &cedar]);
    assert!(ok && out.contains("default: deny"), "{out}");
    let (ok, _, log) = run_cli(&["policy", "import", "--from", "toolhive", &good]);
    assert!(!ok && log.contains("cedar.policies"), "{log}");
}

#[test]
fn check_counts_every_tool_once_and_names_what_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_file(
        &folder,
        "policy.yaml",
        "version: '1'\nhide: [delete-workspace]\nrules:\n\
         \x20 - { name: a, action: deny, match: { tools: [delete-config, report-costs, undo-change] } }\n\
         \x20 - { name: b, action: deny, match: { prompts: [nope], resources: ['portkey://nope/*', 'portkey://conf*', 'ui://nope/*', 'ui://portkey-mcp/*'] } }\n",
    );
    let (ok, out, _) = run_cli(&["policy", "check", &file]);
    assert!(ok, "{out}");
    let all = Catalog::full().iter().count();
    let counts = format!(
        "1 of {all} tools hidden, {} listed, 1 denied in any case, ",
        all - 2
    );
    for words in [
        &*counts,
        "`report-costs` is a workflow, and rules are about operations",
        "`undo-change` is a tool of the history",
        "this server has no prompt `nope`",
        "this server has no resource `portkey://nope/*`",
        "this server has no resource `ui://nope/*`",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("portkey://conf*"), "{out}");
    assert!(!out.contains("ui://portkey-mcp"), "{out}");
}

#[test]
fn errors_of_files_have_no_names_of_types() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |part: &str| {
        format!(
            "version: '1'\nrules: [{{ name: a, match: {{ tools: [delete-config] }}, {part} }}]\n"
        )
    };
    for (part, words) in [
        (
            "concurrency: x",
            "`concurrency` takes a number, or an object",
        ),
        (
            "decide: 5",
            "`decide` takes the address of a decision point",
        ),
        (
            "rate_limit: [1]",
            "`rate_limit` takes a rate such as 5/hour",
        ),
        ("timeout: [1]", "a duration such as hour"),
        ("action: deny, after: {}", "a text or a list of texts"),
        ("action: deny, after: []", "`after` names no tool"),
        ("action: deny, before: []", "`before` names no tool"),
        (
            "action: deny, before: 'get-*'",
            "`get-*` is a glob, and takes the name of one tool",
        ),
        (
            "action: deny, before: report-costs",
            "`report-costs` is a workflow",
        ),
    ] {
        let file = write_file(&folder, "bad.yaml", &rule(part));
        let (ok, _, log) = run_cli(&["policy", "check", &file]);
        assert!(!ok && log.contains(words), "{part}: {log}");
        assert!(
            log.contains("line 2") && !log.contains("untagged") && !log.contains("Raw"),
            "{log}"
        );
    }
    let empty = write_file(&folder, "empty.yaml", "\n");
    for args in [
        &["policy", "check", &*empty][..],
        &["policy", "import", "--from", "agentgateway", &*empty],
        &["policy", "import", "--from", "toolhive", &*empty],
    ] {
        let (ok, out, log) = run_cli(args);
        assert!(!ok && log.contains("the file is empty"), "{args:?}: {log}");
        assert_eq!(out, "", "{args:?}");
    }
}

#[test]
fn explain_says_what_it_assumes_of_a_decision_point() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_file(
        &folder,
        "policy.yaml",
        "version: '1'\nrules: [{ name: a, decide: 'https://pdp.example.com/x' }]\n",
    );
    let explain = ["policy", "explain", &*file, "--call", "list-labels"];
    let (_, out, _) = run_cli(&explain);
    assert!(
        out.contains("assumed: the decision point gives no decision")
            && out.contains("--outside allow"),
        "{out}"
    );
    let (_, out, _) = run_cli(&[&explain[..], &["--outside", "allow"]].concat());
    assert!(
        out.starts_with("allow") && !out.contains("assumed"),
        "{out}"
    );
}
