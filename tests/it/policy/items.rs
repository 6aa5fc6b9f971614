//! Prompts and resources under the policies: lists, reads, completions, audit and notes.

use std::fs;

use serde_json::json;

use super::*;
use crate::support::{
    policy::PolicyFile,
    process::run_cli,
    requests::{send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
};

const POLICY: &str = r#"
version: "1"
default: deny
rules:
  - { name: reads, action: allow, match: { effects: [read] } }
  - { name: texts, action: allow, match: { prompts: [access-review], resources: ["portkey://guide/errors", "portkey://configs/*"] } }
  - { name: not this config, action: deny, match: { resources: ["portkey://configs/pc-secret"] } }
"#;

async fn ask(server: &ServerProcess, method: &str, params: Value) -> Value {
    let uri = params["uri"].as_str().map(str::to_owned);
    let request = stateless_request(server, method, params);
    let request = match uri {
        Some(uri) => request.header("mcp-name", uri),
        None => request,
    };
    send_request(request).await.1
}

fn names<'a>(answer: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let items = answer["result"][list].as_array().unwrap();
    items
        .iter()
        .map(|item| item[field].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_leave_out_what_is_denied() {
    let file = PolicyFile::with(POLICY);
    let server = serve_sandbox(&["--policy", file.path()]);
    let prompts = ask(&server, "prompts/list", json!({})).await;
    assert_eq!(names(&prompts, "prompts", "name"), ["access-review"]);
    let resources = ask(&server, "resources/list", json!({})).await;
    assert_eq!(
        names(&resources, "resources", "uri"),
        ["portkey://guide/errors"]
    );
    let templates = ask(&server, "resources/templates/list", json!({})).await;
    assert_eq!(
        names(&templates, "resourceTemplates", "uriTemplate"),
        ["portkey://configs/{slug}"]
    );
}

#[tokio::test]
async fn reads_are_denied_with_their_rule_and_audited() {
    let file = PolicyFile::with(POLICY);
    let audit = file.beside("audit.jsonl");
    let server = serve_sandbox(&["--policy", file.path(), "--audit-log", &audit]);
    let get = |name: &str| json!({ "name": name, "arguments": {} });
    let read = |uri: &str| json!({ "uri": uri });
    let denied = ask(&server, "prompts/get", get("triage-failures")).await;
    let message = denied["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("does not permit the prompt `triage-failures`"),
        "{denied}"
    );
    let permitted = ask(&server, "resources/read", read("portkey://guide/errors")).await;
    assert!(permitted["result"]["contents"].is_array(), "{permitted}");
    for uri in [
        "portkey://guide/paging",
        "portkey://operations/list-labels",
        "portkey://configs/pc-secret",
        "portkey://configs/pc%2Dsecret",
        "portkey://results/none",
    ] {
        let denied = ask(&server, "resources/read", read(uri)).await;
        assert!(denied["error"]["message"].is_string(), "{uri}: {denied}");
        let message = denied["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("permit") || message.contains("not this config"),
            "{uri}: {message}"
        );
    }
    let entity = ask(
        &server,
        "resources/read",
        read("portkey://configs/pc-support-fallback"),
    )
    .await;
    assert!(entity["result"]["contents"].is_array(), "{entity}");
    server.terminate();
    let log = fs::read_to_string(&audit).unwrap();
    let entries: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let decisions: Vec<_> = entries
        .iter()
        .filter(|entry| entry["tool"] == "resources/read" || entry["tool"] == "prompts/get")
        .map(|entry| {
            (
                entry["target"].as_str().unwrap(),
                entry["decision"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        decisions,
        [
            ("triage-failures", "deny"),
            ("portkey://guide/errors", "allow"),
            ("portkey://guide/paging", "deny"),
            ("portkey://operations/list-labels", "deny"),
            ("portkey://configs/pc-secret", "deny"),
            ("portkey://configs/pc-secret", "deny"),
            ("portkey://results/none", "deny"),
        ]
    );
}

#[tokio::test]
async fn completion_leaves_out_what_is_denied() {
    let file = PolicyFile::with(
        "version: '1'\nrules: [{ name: r, action: deny, match: { resources: ['portkey://guide/e*', 'portkey://operations/*'] } }]\n",
    );
    let server = serve_sandbox(&["--policy", file.path()]);
    let complete = |uri: &str, name: &str| json!({ "ref": { "type": "ref/resource", "uri": uri }, "argument": { "name": name, "value": "" } });
    let topics = ask(
        &server,
        "completion/complete",
        complete("portkey://guide/{topic}", "topic"),
    )
    .await;
    let values = topics["result"]["completion"]["values"].as_array().unwrap();
    assert!(
        !values.is_empty() && !values.contains(&json!("errors")),
        "{topics}"
    );
    let denied = ask(
        &server,
        "completion/complete",
        complete("portkey://operations/{name}", "name"),
    )
    .await;
    assert!(denied["error"].is_object(), "{denied}");
}

#[test]
fn check_and_explain_say_what_is_closed() {
    let file = PolicyFile::with("version: '1'\ndefault: deny\n");
    let (ok, out, _) = run_cli(&["policy", "check", file.path(), "--strict"]);
    assert!(
        ok && out.contains("note: `default: deny` closes all prompts"),
        "{out}"
    );
    let (ok, out, _) = run_cli(&[
        "policy",
        "explain",
        file.path(),
        "--prompt",
        "access-review",
    ]);
    assert!(ok && out.starts_with("deny: "), "{out}");
    let (ok, out, _) = run_cli(&[
        "policy",
        "explain",
        file.path(),
        "--resource",
        "portkey://guide/x",
    ]);
    assert!(ok && out.contains("decided at: default"), "{out}");
}

#[test]
fn explain_takes_claims_source_and_earlier_calls() {
    let file = PolicyFile::with(
        r#"
version: "1"
default: deny
rules:
  - name: all of it
    action: allow
    source: 10.0.0.0/8
    after: list-labels
    when: has(principal.claims.role) && principal.claims.role == "admin"
    decide: https://pdp.example.com/
"#,
    );
    let call = ["policy", "explain", file.path(), "--call", "list-configs"];
    let facts = [
        "--claims",
        r#"{"role":"admin"}"#,
        "--source",
        "10.1.1.1",
        "--called",
        "list-labels",
        "--outside",
        "allow",
    ];
    let (ok, out, _) = run_cli(&[&call[..], &facts[..]].concat());
    assert!(ok && out.starts_with("allow"), "{out}");
    assert!(
        out.contains("https://pdp.example.com (authzen) permits"),
        "{out}"
    );
    for left_out in [0, 2, 4, 6] {
        let mut fewer = facts.to_vec();
        fewer.drain(left_out..left_out + 2);
        let (_, out, _) = run_cli(&[&call[..], &fewer[..]].concat());
        assert!(
            out.starts_with("deny"),
            "without {}: {out}",
            facts[left_out]
        );
    }
}
