//! A log that cannot be written: writes are denied, reads continue, and each loss is reported.

use std::{
    fs::{self, File},
    io::Read,
    process::{Command, Stdio},
    thread,
};

use portkey_mcp::observability::audit::{
    AuditLog, AuditSettings, AuditTarget, SyncPolicy, Verifier,
};
use serde_json::{Value, json};

use super::{AuditFolder, assert_fields, call_from_shell, create_arguments, run_verify};
use crate::support::{
    audit::read_entries,
    process::run_cli,
    programs::is_missing,
    requests::{self, send_request},
    server::{ServerProcess, Spawn},
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

#[test]
fn full_device_denies_writes_and_allows_reads() {
    let run = |tool: &str, argument: &str, more: &[&str]| {
        let args = [
            "call",
            tool,
            argument,
            "--sandbox",
            "--audit-log",
            "/dev/full",
        ];
        run_cli(&[&args, more].concat())
    };
    let (ok, _, log) = run("create-label", "name=a", &[]);
    assert!(
        !ok && log.contains("nothing was sent: the audit log"),
        "{log}"
    );
    assert!(!log.contains("--audit-failure"), "{log}");
    let (ok, out, log) = run("list-labels", "{}", &[]);
    assert!(ok && out.contains("data"), "{log}");
    // The failure is reported.
    assert!(
        log.contains("cannot be written") && log.contains("ends without lines"),
        "{log}"
    );
    let (ok, _, log) = run("create-label", "name=a", &["--audit-failure", "allow"]);
    assert!(ok, "{log}");
}

/// Starts a server whose files may grow to `blocks` of 512 bytes.
fn serve_with_file_limit(blocks: u32, folder: &AuditFolder, base_url: &str) -> ServerProcess {
    let log = folder.log_path();
    let server = ServerProcess::http()
        .upstream(base_url)
        .api_key("pk-x")
        .args(&["--audit-log", &log])
        .command();
    let mut shell = Command::new("sh");
    // With the signal ignored, a write beyond the limit fails as on a full disk.
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -S -f $0; exec \"$@\"",
        &blocks.to_string(),
    ]);
    shell.arg(server.get_program()).args(server.get_args());
    ServerProcess::spawn(shell)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn entries_are_held_until_there_is_space_again() {
    if is_missing("prlimit") {
        return;
    }
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let folder = AuditFolder::new();
    // The intents of writes fit, so the log is the file that is full.
    let mut server = serve_with_file_limit(64, &folder, &upstream.base_url);
    let big = json!({ "name": "x".repeat(6000), "ai_provider_id": "openai", "key": "sk-1" });
    let mut sent = 0;
    loop {
        let before = upstream.count();
        let (_, response) = send_request(requests::call_request(
            &server,
            "create-integration",
            big.clone(),
        ))
        .await;
        if upstream.count() == before {
            let text = response["result"]["content"][0]["text"].as_str().unwrap();
            assert!(
                response["result"]["isError"] == true && text.contains("nothing was sent"),
                "{response}"
            );
            break;
        }
        sent += 1;
        assert!(sent < 100, "the disk is never full");
    }
    server.read_until("the audit log cannot be written");
    for _ in 0..3 {
        let (_, response) =
            send_request(requests::call_request(&server, "list-labels", json!({}))).await;
        assert_eq!(response["result"]["isError"], false, "{response}");
    }
    // An entry that does not fit stays until it is removed again, and is retried.
    let held = loop {
        let text = fs::read_to_string(folder.log_path()).unwrap();
        if text.ends_with('\n') {
            break text.lines().count();
        }
        thread::yield_now();
    };
    assert!(held <= sent, "{held} lines for {sent} calls");

    let pid = server.child.id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:"])
        .status();
    assert!(raised.unwrap().success());
    server.read_until("the audit log is written again");
    let (_, response) = send_request(requests::call_request(
        &server,
        "create-integration",
        create_arguments("a"),
    ))
    .await;
    assert_eq!(response["result"]["isError"], false, "{response}");
    assert!(server.terminate().0.success());
    let lines = read_entries(folder.log_path());
    // The sent calls, the denied call, the reads and the last call.
    assert_eq!(lines.len(), sent + 1 + 3 + 1);
    let denied = json!({
        "outcome": "denied", "decision": "deny", "rule": "audit", "status": null,
        "tool": "create-integration",
    });
    assert_fields(&lines[sent], &denied);
    assert!(run_verify(&[&folder.log_path()]).0);
}

fn audit_settings(target: AuditTarget) -> AuditSettings {
    AuditSettings {
        target,
        key: None,
        sync: SyncPolicy::Always,
        allow_unrecorded_writes: false,
        max_bytes: None,
        max_full_files: None,
    }
}

/// The log goes to a pipe whose reader waits.
#[tokio::test]
async fn lost_entries_are_counted_in_a_gap_entry() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let folder = AuditFolder::new();
    let pipe = folder.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .stdin(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let path = pipe.clone();
    let (read, go) = std::sync::mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let mut file = File::open(path).unwrap();
        go.recv().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    });
    let audit = AuditLog::start(audit_settings(AuditTarget::File(pipe.into()))).unwrap();
    let dispatcher = dispatcher(&upstream).with_audit(audit);
    let args = json!({ "search": "x".repeat(60_000) });
    let calls = 300;
    for _ in 0..calls {
        let args = args.as_object().unwrap().clone();
        dispatcher
            .call_as_local(&operator(), "list-prompts", args)
            .await
            .unwrap();
    }
    read.send(()).unwrap();
    drop(dispatcher);
    let text = reader.join().unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let gap = lines.iter().find(|line| line["event"] == "gap").unwrap();
    let lost = gap["lost"].as_u64().unwrap();
    // Two entries are written by the log itself.
    assert_eq!(lines.len() as u64 - 2 + lost, calls);
    let mut verifier = Verifier::new(None, false);
    verifier.verify_reader("pipe", text.as_bytes()).unwrap();
    let report = verifier.into_report();
    assert!(
        report.findings.is_empty() && report.lost_calls == lost,
        "{report:?}"
    );
}

/// The file is moved away, as log rotation tools do.
#[tokio::test]
async fn moved_log_continues_in_a_new_file_of_the_same_chain() {
    let folder = AuditFolder::new();
    let server = crate::support::server::serve_sandbox(&["--audit-log", &folder.log_path()]);
    let moved = folder.path("moved");
    requests::call_request(&server, "create-label", json!({ "name": "a" }))
        .send()
        .await
        .unwrap();
    requests::call_request(&server, "create-label", json!({ "name": "b" }))
        .send()
        .await
        .unwrap();
    std::fs::rename(folder.log_path(), &moved).unwrap();
    requests::call_request(&server, "create-label", json!({ "name": "c" }))
        .send()
        .await
        .unwrap();
    assert!(server.terminate().0.success());
    let (ok, output) = run_verify(&[&folder.log_path(), &moved]);
    assert!(ok && output.contains("lines 1 to 3"), "{output}");
    assert!(call_from_shell(&folder, "list-labels", &json!({}), &[]).0);
}
