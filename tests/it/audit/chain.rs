//! The hash chain across starts and files.

use std::fs;

use serde_json::{Value, json};

use super::{AuditFolder, assert_fields, call_from_shell, run_verify};
use crate::support::{process::run_cli, server::serve_sandbox};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn make_calls(folder: &AuditFolder, count: usize, more: &[&str]) {
    for _ in 0..count {
        let (ok, said) = call_from_shell(folder, "list-labels", &json!({}), more);
        assert!(ok, "{said}");
    }
}

#[test]
fn chain_continues_across_starts() {
    for sync in ["always", "interval", "never"] {
        let folder = AuditFolder::new();
        make_calls(&folder, 3, &["--audit-sync", sync]);
        let lines = folder.entries();
        let hash = |at: usize| lines[at]["hash"].as_str().unwrap();
        assert_eq!(lines[0]["prev"], "0".repeat(64));
        assert_eq!(lines[1]["prev"], hash(0));
        assert_eq!(lines[2]["prev"], hash(1));
        let (ok, output) = run_verify(&[&folder.log_path()]);
        assert!(
            ok && output.contains("lines 1 to 3") && output.contains(hash(2)),
            "{output}"
        );
    }
}

#[test]
fn partial_entry_is_quarantined_and_recorded() {
    let folder = AuditFolder::new();
    make_calls(&folder, 2, &[]);
    let whole = fs::read(folder.log_path()).unwrap();
    let half = &whole[..whole.len() - 30];
    fs::write(folder.log_path(), half).unwrap();
    let (ok, output) = run_verify(&[&folder.log_path()]);
    assert!(
        !ok && output.contains(":2: this line was cut off"),
        "{output}"
    );
    make_calls(&folder, 1, &[]);
    let lines = folder.entries();
    let start = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let torn = json!({ "seq": 2, "event": "torn", "kept": "audit.jsonl.torn-2", "bytes": half.len() - start });
    assert_fields(&lines[1], &torn);
    assert_eq!(
        fs::read(folder.path("audit.jsonl.torn-2")).unwrap(),
        &half[start..]
    );
    assert_eq!(lines.len(), 3);
    // The recovery is recorded once.
    make_calls(&folder, 1, &[]);
    assert_eq!(folder.entries().len(), 4);
    assert!(run_verify(&[&folder.log_path()]).0);
}

#[test]
fn rotated_files_form_one_chain() {
    let folder = AuditFolder::new();
    make_calls(&folder, 5, &["--audit-max-bytes", "1500"]);
    let names = folder.file_names();
    assert!(names.contains(&"audit.jsonl.2".to_owned()), "{names:?}");
    let files: Vec<String> = names
        .iter()
        .filter(|name| !name.ends_with("intents"))
        .map(|name| folder.path(name))
        .collect();
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() <= 1500, "{file}");
    }
    let mut given: Vec<&str> = files.iter().map(String::as_str).collect();
    // The order of the files on the command line makes no difference.
    for _ in 0..2 {
        let (ok, output) = run_verify(&given);
        assert!(ok && output.contains("lines 1 to 5"), "{output}");
        given.reverse();
    }
    let (ok, output) = run_verify(&[&folder.log_path()]);
    assert!(
        !ok && output.contains("missing before this one"),
        "{output}"
    );
    assert!(run_verify(&[&folder.log_path(), "--partial"]).0);
    let without_second: Vec<&str> = given
        .iter()
        .copied()
        .filter(|file| !file.ends_with(".2"))
        .collect();
    assert!(!run_verify(&without_second).0);
    // The process may end between two files.
    fs::remove_file(folder.log_path()).unwrap();
    let last = super::read_entries(folder.path("audit.jsonl.2"))
        .pop()
        .unwrap();
    make_calls(&folder, 1, &[]);
    assert_eq!(folder.entries()[0]["prev"], last["hash"]);
}

#[test]
fn rotated_files_beyond_the_limit_are_deleted() {
    let folder = AuditFolder::new();
    make_calls(
        &folder,
        6,
        &["--audit-max-bytes", "10", "--audit-keep", "2"],
    );
    let expected = [
        "audit.jsonl",
        "audit.jsonl.4",
        "audit.jsonl.5",
        "audit.jsonl.intents",
    ];
    assert_eq!(folder.file_names(), expected);
}

#[test]
fn log_in_use_is_closed_to_a_second_process() {
    let folder = AuditFolder::new();
    let log = folder.log_path();
    let server = serve_sandbox(&["--audit-log", &log]);
    let (ok, output) = call_from_shell(&folder, "list-labels", &json!({}), &[]);
    assert!(
        !ok && output.contains("in use by another process"),
        "{output}"
    );
    assert!(server.terminate().0.success());
    make_calls(&folder, 1, &[]);
}

#[test]
fn log_with_a_key_rejects_other_keys() {
    let folder = AuditFolder::new();
    let (key, other) = (
        folder.write_key_file("key", KEY),
        folder.write_key_file("other", &KEY.replace('0', "1")),
    );
    let log = folder.log_path();
    let keyed = ["--audit-key-file", &key];
    make_calls(&folder, 3, &keyed);
    assert!(folder.entries()[0]["hmac"].is_string());
    assert!(run_verify(&[&log, keyed[0], keyed[1]]).0);
    for (more, expected) in [
        (&[] as &[&str], "give the key"),
        (&["--audit-key-file", &other], "was changed"),
    ] {
        let (ok, output) = run_verify(&[&[log.as_str()], more].concat());
        assert!(!ok && output.contains(expected), "{output}");
        // The server does not continue such a log either.
        let (ok, output) = call_from_shell(&folder, "list-labels", &json!({}), more);
        assert!(!ok && output.contains("another key"), "{output}");
    }
    // A chain rebuilt without the key.
    let plain = AuditFolder::new();
    make_calls(&plain, 3, &[]);
    let (ok, output) = run_verify(&[&plain.log_path(), keyed[0], keyed[1]]);
    assert!(
        !ok && output.contains("not written with the key"),
        "{output}"
    );
}

/// The file alone does not show a truncation. A hash recorded elsewhere does.
#[test]
fn truncated_end_is_detected_by_a_known_hash() {
    let folder = AuditFolder::new();
    make_calls(&folder, 3, &[]);
    let log = folder.log_path();
    let hash = folder.entries()[2]["hash"].as_str().unwrap().to_owned();
    assert!(run_verify(&[&log, "--contains", &hash]).0);
    let text = fs::read_to_string(&log).unwrap();
    let two: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&log, two).unwrap();
    assert!(run_verify(&[&log]).0);
    let (ok, output) = run_verify(&[&log, "--contains", &hash]);
    assert!(!ok && output.contains("lines were removed"), "{output}");
}

/// The log of the process states the end of the chain, for collection elsewhere.
#[tokio::test]
async fn end_of_the_chain_is_logged() {
    let folder = AuditFolder::new();
    make_calls(&folder, 1, &[]);
    let hash = |line: &Value| line["hash"].as_str().unwrap().to_owned();
    let first = hash(&folder.entries()[0]);
    let server = serve_sandbox(&["--log-format", "json"]);
    assert!(!server.terminate().1.contains("audit"));
    let (_, _, log) = run_cli(&[
        "call",
        "list-labels",
        "--sandbox",
        "--audit-log",
        &folder.log_path(),
    ]);
    assert!(
        log.contains(&first) && log.contains(&hash(&folder.entries()[1])),
        "{log}"
    );
}

#[test]
fn unusable_audit_settings_stop_the_start() {
    struct Case<'a> {
        file: &'static str,
        more: &'a [&'a str],
        expected: &'static str,
    }

    let folder = AuditFolder::new();
    let short = folder.write_key_file("short", "secret");
    fs::write(folder.path("garbage"), "not a line\n").unwrap();
    for Case {
        file,
        more,
        expected,
    } in [
        Case {
            file: "no/such/folder",
            more: &[],
            expected: "cannot use the audit log",
        },
        Case {
            file: "garbage",
            more: &[],
            expected: "was changed",
        },
        Case {
            file: "audit",
            more: &["--audit-key-file", &short],
            expected: "32 characters",
        },
        Case {
            file: "audit",
            more: &["--audit-key-file", "/no/such"],
            expected: "cannot read it",
        },
        Case {
            file: "audit",
            more: &["--audit-max-bytes", "0"],
            expected: "--audit-max-bytes",
        },
    ] {
        let path = folder.path(file);
        let args = ["call", "list-labels", "--sandbox", "--audit-log", &path];
        let (ok, _, output) = run_cli(&[&args, more].concat());
        assert!(!ok && output.contains(expected), "{output}");
    }
}

/// Earlier versions wrote other values (`turned back`, `dry run`, `tcp`), and an approval was one
/// text.
#[test]
fn log_with_former_values_is_verified_and_continued() {
    let folder = AuditFolder::new();
    let former = fs::read_to_string("tests/data/audit/former_values.jsonl").unwrap();
    fs::write(folder.log_path(), &former).unwrap();
    let (ok, output) = run_verify(&[&folder.log_path()]);
    assert!(ok && output.contains("lines 1 to 4"), "{output}");
    assert!(output.contains("7 calls have no entry"), "{output}");
    make_calls(&folder, 1, &[]);
    let lines = folder.entries();
    assert!(
        fs::read_to_string(folder.log_path())
            .unwrap()
            .starts_with(&former)
    );
    assert_eq!((lines.len(), &lines[4]["prev"]), (5, &lines[3]["hash"]));
    assert_fields(
        &lines[4],
        &json!({ "seq": 5, "transport": "stdio", "outcome": "answered" }),
    );
    let (ok, output) = run_verify(&[&folder.log_path()]);
    assert!(ok && output.contains("lines 1 to 5"), "{output}");
}
