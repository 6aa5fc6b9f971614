//! Secret files that other users can read or write.

#![cfg(unix)]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use crate::support::process::run_cli;

struct Case {
    option: &'static str,
    mode: u32,
    starts: bool,
    warning: &'static str,
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn write_secret(folder: &TempDir, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn audit_key_file_readable_by_others_is_rejected() {
    let cases = [
        Case {
            option: "call",
            mode: 0o600,
            starts: true,
            warning: "",
        },
        Case {
            option: "call",
            mode: 0o400,
            starts: true,
            warning: "",
        },
        Case {
            option: "call",
            mode: 0o644,
            starts: false,
            warning: "other users may read it; run `chmod 600 ",
        },
        Case {
            option: "call",
            mode: 0o640,
            starts: false,
            warning: "other users may read it; run `chmod 600 ",
        },
        Case {
            option: "call",
            mode: 0o666,
            starts: false,
            warning: "everybody may write it; run `chmod 600 ",
        },
    ];
    for Case {
        mode,
        starts,
        warning,
        ..
    } in cases
    {
        let folder = tempfile::tempdir().unwrap();
        let key = write_secret(&folder, KEY, mode);
        let key = key.to_str().unwrap();
        let log = folder.path().join("audit.jsonl");
        let log = log.to_str().unwrap();
        let keyed = ["--audit-key-file", key];
        let call = ["call", "list-labels", "--sandbox", "--audit-log", log];
        let (ok, _, said_by_call) = run_cli(&[&call[..], &keyed].concat());
        assert_eq!(ok, starts, "{mode:o}: {said_by_call}");
        assert!(said_by_call.contains(warning), "{mode:o}: {said_by_call}");
        assert!(!said_by_call.contains(KEY), "{said_by_call}");
        if !starts {
            fs::write(log, "").unwrap();
        }
        let (ok, _, said_by_verify) = run_cli(&[&["audit", "verify", log][..], &keyed].concat());
        assert!(
            ok == starts && said_by_verify.contains(warning),
            "{mode:o}: {said_by_verify}"
        );
    }
}

/// Starts a server at an address that this machine does not have; returns its standard error.
fn run_with_secret_file(option: &str, text: &str, mode: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let secret = write_secret(&folder, text, mode);
    let auth = if option == "--auth-file" {
        "token"
    } else {
        "key"
    };
    let args = [
        "http",
        "--sandbox",
        "--listen",
        "192.0.2.1:1",
        "--auth",
        auth,
    ];
    let (ok, _, log) = run_cli(&[&args[..], &[option, secret.to_str().unwrap()]].concat());
    assert!(!ok, "{log}");
    log
}

#[test]
fn world_writable_secret_file_is_rejected_and_readable_one_warned() {
    let state_key = portkey_mcp::security::signed_state::Keyring::generate_line("k").unwrap();
    let readable = "other users may read it; `chmod 600 ";
    let writable = "everybody may write it; run `chmod 600 ";
    let cases = [
        Case {
            option: "--state-key-file",
            mode: 0o600,
            starts: true,
            warning: "",
        },
        Case {
            option: "--state-key-file",
            mode: 0o644,
            starts: true,
            warning: readable,
        },
        Case {
            option: "--state-key-file",
            mode: 0o666,
            starts: false,
            warning: writable,
        },
        Case {
            option: "--auth-file",
            mode: 0o644,
            starts: true,
            warning: "",
        },
        Case {
            option: "--auth-file",
            mode: 0o666,
            starts: false,
            warning: writable,
        },
    ];
    for Case {
        option,
        mode,
        starts,
        warning,
    } in cases
    {
        let text = if option == "--auth-file" {
            ""
        } else {
            &state_key
        };
        let log = run_with_secret_file(option, text, mode);
        // A server that accepts the file fails at the address.
        assert_eq!(
            log.contains("192.0.2.1"),
            starts,
            "{option} {mode:o}: {log}"
        );
        assert!(log.contains(warning), "{option} {mode:o}: {log}");
        assert_eq!(
            log.contains("chmod"),
            !warning.is_empty(),
            "{option} {mode:o}: {log}"
        );
    }
}

#[test]
fn admin_file_readable_by_others_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let admin = write_secret(
        &folder,
        r#"{"url":"http://127.0.0.1:1","token":"t"}"#,
        0o644,
    );
    let (ok, _, log) = run_cli(&["approvals", "list", "--admin-file", admin.to_str().unwrap()]);
    assert!(
        !ok && log.contains("other users may read it; run `chmod 600 "),
        "{log}"
    );
}
