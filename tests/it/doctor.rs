//! `portkey-mcp doctor`: its findings and its exit code.

use std::{fs, process::Output};

use serde_json::Value;

use crate::support::{
    process::command,
    programs::is_missing,
    redis::{RedisServer, documented_rights},
    upstream::{MockUpstream, ResponseAction},
};

/// What a doctor found.
struct Diagnosis {
    is_success: bool,
    report: Value,
    output: String,
}

impl Diagnosis {
    fn new(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        Self {
            is_success: output.status.success(),
            report: serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{errors}")),
            output: format!("{text}{errors}"),
        }
    }

    /// Returns status, message and advice of a check.
    #[track_caller]
    fn find(&self, check: &str) -> (&str, &str, &str) {
        let findings = self.report["checks"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no {check} in {}", self.output));
        let text = |field: &str| finding[field].as_str().unwrap_or_default();
        (text("status"), text("message"), text("advice"))
    }

    #[track_caller]
    fn assert_found(&self, check: &str, status: &str, part: &str) {
        let (found, message, advice) = self.find(check);
        let is_told = message.contains(part) || advice.contains(part);
        assert!(
            found == status && is_told,
            "{check}: {found}: {message} -> {advice}"
        );
    }
}

/// Runs a doctor whose home folder is empty or given.
async fn diagnose(args: &[&str], home: Option<&std::path::Path>) -> Diagnosis {
    let empty = tempfile::tempdir().unwrap();
    let home = home.unwrap_or(empty.path());
    let mut doctor = command(&[&["doctor", "--json"], args].concat());
    doctor
        .env("HOME", home)
        .env_remove("PORTKEY_MCP_NO_LOGIN")
        .current_dir(home);
    for variable in [
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
    ] {
        doctor
            .env_remove(variable)
            .env_remove(variable.to_lowercase());
    }
    let output = tokio::task::spawn_blocking(move || doctor.output().unwrap())
        .await
        .unwrap();
    Diagnosis::new(&output)
}

async fn upstream(status: &'static str, headers: &'static str, body: &'static str) -> MockUpstream {
    MockUpstream::start(move |_| {
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        ResponseAction::Write(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn doctor_in_the_sandbox_finds_no_failure() {
    let found = diagnose(&["--sandbox"], None).await;
    assert!(found.is_success, "{}", found.output);
    assert_eq!(found.report["failures"], 0);
    found.assert_found("version", "ok", env!("CARGO_PKG_VERSION"));
    found.assert_found("options", "ok", "--sandbox = true (command line)");
    found.assert_found("key", "ok", "organisation_admin");
    found.assert_found("connection", "skipped", "sandbox");
    found.assert_found("clients", "skipped", "no configuration");
}

#[tokio::test]
async fn doctor_without_a_key_names_the_variable() {
    let upstream = upstream("401 Unauthorized", "", "{}").await;
    let found = diagnose(&["--base-url", &upstream.base_url], None).await;
    assert!(!found.is_success);
    found.assert_found("connection", "ok", "401");
    found.assert_found("key", "failure", "PORTKEY_API_KEY");
    let keys = upstream.requests();
    assert!(
        keys.iter()
            .all(|request| request.header("x-portkey-api-key").is_none())
    );
}

#[tokio::test]
async fn doctor_reports_a_rejected_key_without_showing_it() {
    const KEY: &str = "pk-secret-Zu3rT7yWq9";
    let upstream = upstream("401 Unauthorized", "", "{}").await;
    let found = diagnose(&["--base-url", &upstream.base_url, "--api-key", KEY], None).await;
    assert!(!found.is_success);
    found.assert_found("key", "failure", "rejects");
    found.assert_found("options", "ok", "");
    assert!(!found.output.contains(KEY), "{}", found.output);
    // The first request of the connection check carries no key.
    assert_eq!(upstream.requests()[0].header("x-portkey-api-key"), None);
}

#[tokio::test]
async fn doctor_names_the_cause_of_a_failed_connection() {
    let found = diagnose(
        &["--base-url", "http://127.0.0.1:1/v1", "--api-key", "pk-1"],
        None,
    )
    .await;
    assert!(!found.is_success);
    found.assert_found("connection", "failure", "nothing listens there");
    found.assert_found("key", "skipped", "connection");
    // What is missing is told without asking.
    let found = diagnose(&["--base-url", "http://127.0.0.1:1/v1"], None).await;
    found.assert_found("key", "failure", "portkey-mcp login");
}

#[tokio::test]
async fn doctor_warns_of_a_wrong_clock() {
    let late = "date: Tue, 01 Jan 2019 00:00:00 GMT\r\n";
    let upstream = upstream("401 Unauthorized", late, "{}").await;
    let found = diagnose(&["--base-url", &upstream.base_url], None).await;
    found.assert_found("clock", "warning", "NTP");
}

#[tokio::test]
async fn doctor_names_options_that_contradict_each_other() {
    let args = ["--sandbox", "--journal", "a.db", "--no-journal"];
    let found = diagnose(&args, None).await;
    assert!(!found.is_success);
    found.assert_found("settings", "failure", "--no-journal");
    found.assert_found("key", "skipped", "settings");
    // The first finding of the check stands alone.
    let found = diagnose(&["--sandbox", "--admin-file", "a"], None).await;
    found.assert_found("settings", "failure", "--admin-file");
    let text = "the options can be used together";
    assert!(!found.output.contains(text), "{}", found.output);
}

#[tokio::test]
async fn doctor_checks_policy_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("broken.yaml"), "rules: 5").unwrap();
    let (policy, audit) = (path("broken.yaml"), path("none/audit.jsonl"));
    let args = ["--sandbox", "--policy", &policy, "--audit-log", &audit];
    let found = diagnose(&args, None).await;
    assert!(!found.is_success);
    found.assert_found("policy", "failure", "policy check");
    found.assert_found("audit log", "ok", "does not exist yet");
    assert!(
        !folder.path().join("none").exists(),
        "a check writes nothing"
    );
}

#[tokio::test]
async fn doctor_lists_the_clients_that_use_the_server() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = home.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write(
        ".cursor/mcp.json",
        r#"{"mcpServers":{"portkey":{"command":"portkey-mcp"}}}"#,
    );
    write(
        ".codex/config.toml",
        "[mcp_servers.other]\ncommand = \"other\"\n",
    );
    let found = diagnose(&["--sandbox"], Some(home.path())).await;
    found.assert_found("clients", "ok", "Cursor");
    assert!(!found.find("clients").1.contains("Codex"));
}

#[tokio::test]
async fn doctor_warns_of_a_client_file_that_is_invalid() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".claude.json"), "{\"mcpServers\": {").unwrap();
    let found = diagnose(&["--sandbox"], Some(home.path())).await;
    assert!(found.is_success, "{}", found.output);
    found.assert_found("clients", "warning", ".claude.json is invalid: line 1");
    let text = "no configuration of a known client";
    assert!(!found.output.contains(text), "{}", found.output);
}

#[test]
fn doctor_prints_text_with_a_summary() {
    let home = tempfile::tempdir().unwrap();
    let output = command(&["doctor", "--sandbox"])
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("ok       version"), "{text}");
    assert!(text.ends_with("no failures, no warnings\n"), "{text}");
}

#[tokio::test]
async fn doctor_asks_redis_what_a_server_needs() {
    let unreachable = [
        "--sandbox",
        "--redis-url",
        "redis://:planted-7f3d9a@127.0.0.1:1/0",
    ];
    let found = diagnose(&unreachable, None).await;
    assert!(!found.is_success);
    found.assert_found("redis", "failure", "127.0.0.1:1 cannot be used");
    found.assert_found("options", "ok", "");
    assert!(
        found.output.contains("--redis-url is set (a secret)"),
        "{}",
        found.output
    );
    assert!(!found.output.contains("planted"), "{}", found.output);

    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::documented();
    let address = server.documented_url(0);
    let args = ["--sandbox", "--redis-timeout", "5", "--redis-url"];
    let found = diagnose(&[&args[..], &[&address]].concat(), None).await;
    found.assert_found("redis", "ok", "has the rights");
    let limited = RedisServer::with_user(&documented_rights().replacen(" +getex", "", 1));
    let address = limited.documented_url(0);
    let found = diagnose(&[&args[..], &[&address]].concat(), None).await;
    assert!(!found.is_success, "{}", found.output);
    found.assert_found("redis", "failure", "lacks a right");
    assert!(found.output.contains("GETEX"), "{}", found.output);
}
