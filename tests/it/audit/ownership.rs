//! Ownership of the log file: one process locks it under every path, and replacements are noticed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::{Value, json};

use super::{AuditFolder, call_from_shell, create_arguments, run_verify};
use crate::support::{
    requests::{self, send_request},
    server::serve_sandbox,
};

#[tokio::test]
async fn log_in_use_is_locked_under_every_path() {
    let folder = AuditFolder::new();
    let server = serve_sandbox(&["--audit-log", &folder.log_path()]);
    requests::call_request(&server, "list-labels", json!({}))
        .send()
        .await
        .unwrap();
    let hard = folder.path("hard.jsonl");
    let soft = folder.path("soft.jsonl");
    fs::hard_link(folder.log_path(), &hard).unwrap();
    symlink(folder.log_path(), &soft).unwrap();
    let cases = [
        (hard, "is in use by another process"),
        (soft.clone(), "it is a symbolic link"),
    ];
    for (log, expected) in cases {
        let args = ["call", "list-labels", "--sandbox", "--audit-log", &log];
        let (ok, _, err) = crate::support::process::run_cli(&args);
        assert!(!ok && err.contains(expected), "{err}");
    }
    assert!(server.terminate().0.success());
    assert_eq!(folder.entries().len(), 1);
    // A link is not followed while the log is unused either.
    let (ok, _, err) = crate::support::process::run_cli(&[
        "call",
        "list-labels",
        "--sandbox",
        "--audit-log",
        &soft,
    ]);
    assert!(!ok && err.contains("it is a symbolic link"), "{err}");
}

#[tokio::test]
async fn dangling_link_creates_no_file() {
    let folder = AuditFolder::new();
    let target = folder.path("elsewhere");
    symlink(&target, folder.log_path()).unwrap();
    let (ok, output) = call_from_shell(&folder, "list-labels", &json!({}), &[]);
    assert!(!ok && output.contains("it is a symbolic link"), "{output}");
    assert!(fs::symlink_metadata(target).is_err());
}

/// Attempts a write while `place` is in effect, and another one after `repair`.
async fn assert_writes_denied_while(
    place: impl Fn(&AuditFolder),
    repair: impl Fn(&AuditFolder),
    expected_log: &str,
) {
    let folder = AuditFolder::new();
    let mut server = serve_sandbox(&["--audit-log", &folder.log_path()]);
    let write = async |server: &_, slug: &str| {
        let (_, response) = send_request(requests::call_request(
            server,
            "create-integration",
            create_arguments(slug),
        ))
        .await;
        response["result"].to_string()
    };
    let first = write(&server, "a").await;
    assert!(first.contains("\"isError\":false"), "{first}");
    place(&folder);
    let denied = write(&server, "b").await;
    assert!(
        denied.contains("nothing was sent: the audit log"),
        "{denied}"
    );
    let log = server.read_until("cannot be written");
    assert!(log.contains(expected_log), "{log}");
    let ready = requests::client()
        .get(server.url.replace("/mcp", "/readyz"))
        .send()
        .await
        .unwrap();
    let ready: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    let component = json!({ "status": "degraded", "reason": "cannot_be_written" });
    assert_eq!(ready["components"]["audit_log"], component, "{ready}");
    repair(&folder);
    server.read_until("the audit log is written again");
    let last = write(&server, "c").await;
    assert!(last.contains("\"isError\":false"), "{last}");
    assert!(server.terminate().0.success());
    let lines = folder.entries();
    assert_eq!(lines.last().unwrap()["outcome"], "answered", "{lines:?}");
}

#[tokio::test]
async fn link_in_place_of_the_log_is_not_followed() {
    let place = |folder: &AuditFolder| {
        fs::rename(folder.log_path(), folder.path("moved")).unwrap();
        symlink(folder.path("target"), folder.log_path()).unwrap();
        fs::write(folder.path("target"), "").unwrap();
    };
    let repair = |folder: &AuditFolder| {
        assert_eq!(fs::read_to_string(folder.path("target")).unwrap(), "");
        fs::remove_file(folder.log_path()).unwrap();
    };
    assert_writes_denied_while(place, repair, "no file is in the place of the audit log").await;
}

#[tokio::test]
async fn foreign_file_in_place_of_the_log_is_not_written() {
    let place = |folder: &AuditFolder| {
        fs::write(folder.path("other"), "not ours\n").unwrap();
        fs::rename(folder.path("other"), folder.log_path()).unwrap();
    };
    let repair = |folder: &AuditFolder| {
        assert_eq!(fs::read_to_string(folder.log_path()).unwrap(), "not ours\n");
        fs::remove_file(folder.log_path()).unwrap();
    };
    assert_writes_denied_while(
        place,
        repair,
        "another file that is not empty is in the place",
    )
    .await;
}

#[tokio::test]
async fn foreign_file_in_place_of_the_intents_is_not_written() {
    let intents = |folder: &AuditFolder| folder.path("audit.jsonl.intents");
    let place = |folder: &AuditFolder| {
        fs::write(folder.path("other"), "").unwrap();
        fs::rename(folder.path("other"), intents(folder)).unwrap();
    };
    let repair = |folder: &AuditFolder| {
        fs::remove_file(intents(folder)).unwrap();
    };
    assert_writes_denied_while(place, repair, "somebody else moved or replaced").await;
}

/// `logrotate` with `create` moves the file away and makes an empty one in its place.
#[tokio::test]
async fn empty_file_in_place_of_a_moved_log_continues_the_chain() {
    let folder = AuditFolder::new();
    let server = serve_sandbox(&["--audit-log", &folder.log_path()]);
    requests::call_request(&server, "create-label", json!({ "name": "a" }))
        .send()
        .await
        .unwrap();
    let moved = folder.path("moved");
    fs::rename(folder.log_path(), &moved).unwrap();
    fs::write(folder.log_path(), "").unwrap();
    fs::set_permissions(folder.log_path(), fs::Permissions::from_mode(0o600)).unwrap();
    requests::call_request(&server, "create-label", json!({ "name": "b" }))
        .send()
        .await
        .unwrap();
    // The new file is locked like the first one.
    let (ok, output) = call_from_shell(&folder, "list-labels", &json!({}), &[]);
    assert!(
        !ok && output.contains("in use by another process"),
        "{output}"
    );
    assert!(server.terminate().0.success());
    let (ok, output) = run_verify(&[&folder.log_path(), &moved]);
    assert!(ok && output.contains("lines 1 to 2"), "{output}");
}

/// The replacement is noticed without a call, and the next write is recorded from its intent on.
#[tokio::test]
async fn moved_log_is_recreated_without_a_call() {
    let folder = AuditFolder::new();
    let mut server = serve_sandbox(&["--audit-log", &folder.log_path()]);
    requests::call_request(&server, "list-labels", json!({}))
        .send()
        .await
        .unwrap();
    fs::rename(folder.log_path(), folder.path("moved")).unwrap();
    server.read_until("it goes on in a new file");
    assert!(fs::metadata(folder.log_path()).is_ok());
    assert!(server.terminate().0.success());
}
