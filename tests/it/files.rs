//! Files named by an operator: irregular or oversized files are errors, and no read blocks.

use std::{fs, io::Write, path::Path, process::Command};

use crate::support::process::run_cli;

/// Returns paths of a device, a named pipe, a link to a device, and a folder.
fn non_regular_files(folder: &Path) -> Vec<String> {
    let pipe = folder.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let link = folder.join("link");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    vec![
        "/dev/zero".to_owned(),
        text(&pipe),
        text(&link),
        text(folder),
    ]
}

#[test]
fn every_file_option_rejects_non_regular_files() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    fs::write(&good, "version: \"1\"\n").unwrap();
    let good = good.to_str().unwrap();
    // `{}` stands for the path.
    let commands: &[&[&str]] = &[
        &["call", "list-labels", "--sandbox", "--policy", "{}"],
        &["tools", "--descriptions", "{}"],
        &["call", "list-labels", "--sandbox", "--ca-file", "{}"],
        &["call", "list-labels", "--api-key-file", "{}"],
        &["call", "list-labels", "--enkrypt-api-key-file", "{}"],
        &["call", "list-labels", "--sandbox", "--api-key-file", "{}"],
        &[
            "call",
            "list-labels",
            "--sandbox",
            "--audit-log",
            "-",
            "--audit-key-file",
            "{}",
        ],
        &["http", "--sandbox", "--auth", "token", "--auth-file", "{}"],
        &["http", "--sandbox", "--auth", "oauth", "--auth-file", "{}"],
        &["http", "--sandbox", "--tls-cert", "{}", "--tls-key", good],
        &["http", "--sandbox", "--tls-cert", good, "--tls-key", "{}"],
        &["http", "--sandbox", "--state-key-file", "{}"],
        &["approvals", "list", "--admin-file", "{}"],
        &[
            "token",
            "new",
            "--name",
            "a",
            "--scope",
            "portkey:read",
            "--file",
            "{}",
        ],
        &["policy", "check", "{}"],
        &["policy", "test", good, "{}"],
        &["audit", "verify", "{}"],
        &["audit", "verify", good, "--audit-key-file", "{}"],
    ];
    let places = non_regular_files(folder.path());
    for args in commands {
        for place in &places {
            let args: Vec<_> = args
                .iter()
                .map(|arg| if *arg == "{}" { place } else { *arg })
                .collect();
            let (ok, out, err) = run_cli(&args);
            // For a world-writable device, the permissions are reported first.
            let expected = [
                "regular file",
                "permission",
                "everybody may write",
                "holds no PEM",
            ];
            assert!(
                !ok && expected.iter().any(|part| err.contains(part)),
                "{args:?}: {out}{err}"
            );
        }
    }
}

/// The cause appears once for every option, however many errors wrap it.
#[test]
fn file_error_states_its_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("none").join("file");
    let place = place.to_str().unwrap();
    let commands: &[&[&str]] = &[
        &["call", "list-labels", "--sandbox", "--policy", place],
        &["tools", "--descriptions", place],
        &["call", "list-labels", "--sandbox", "--ca-file", place],
        &["call", "list-labels", "--api-key-file", place],
        &["call", "list-labels", "--enkrypt-api-key-file", place],
        &["call", "list-labels", "--sandbox", "--audit-log", place],
        &[
            "call",
            "list-labels",
            "--sandbox",
            "--audit-log",
            "-",
            "--audit-key-file",
            place,
        ],
        &["stdio", "--sandbox", "--prompts", place],
        &[
            "call",
            "list-labels",
            "--sandbox",
            "--secrets",
            "file",
            "--secrets-dir",
            "/proc/none/a",
        ],
        &["call", "list-labels", "--sandbox", "--secret-dir", place],
        &["http", "--sandbox", "--auth", "token", "--auth-file", place],
        &["http", "--sandbox", "--auth", "oauth", "--auth-file", place],
        &["http", "--sandbox", "--tls-cert", place, "--tls-key", place],
        &["http", "--sandbox", "--state-key-file", place],
        &[
            "http",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--approve-deletes",
            "--admin-listen",
            "127.0.0.1:0",
            "--admin-file",
            place,
        ],
        &[
            "token",
            "new",
            "--name",
            "a",
            "--scope",
            "portkey:read",
            "--file",
            place,
        ],
        &["policy", "check", place],
        &["audit", "verify", place],
    ];
    for args in commands {
        let (ok, out, err) = run_cli(args);
        let last = err.lines().last().unwrap_or_default();
        assert!(
            !ok && last.starts_with("portkey-mcp: "),
            "{args:?}: {out}{err}"
        );
        assert!(last.matches("os error").count() == 1, "{args:?}: {err}");
    }
}

/// If the permissions are the problem, the error does not ask about a running server.
#[test]
fn admin_file_readable_by_others_is_rejected() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    let path = file.to_str().unwrap();
    let list = || run_cli(&["approvals", "list", "--admin-file", path]);
    let (ok, _, err) = list();
    assert!(!ok && err.contains("does the server run?"), "{err}");
    fs::write(&file, "{}").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (ok, _, err) = list();
    assert!(!ok && err.contains("other users may read it"), "{err}");
    assert!(!err.contains("does the server run?"), "{err}");
}

#[test]
fn oversized_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large");
    // A sparse file uses no disk space.
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let file = file.to_str().unwrap();
    let commands: &[&[&str]] = &[
        &["policy", "check", file],
        &["tools", "--descriptions", file],
        &["call", "list-labels", "--sandbox", "--ca-file", file],
        &["http", "--sandbox", "--auth", "token", "--auth-file", file],
    ];
    for args in commands {
        let (ok, _, err) = run_cli(args);
        assert!(
            !ok && err.contains("more than 4194304 bytes"),
            "{args:?}: {err}"
        );
    }
}

#[test]
fn prompt_that_is_not_a_regular_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(folder.path().join("own.md"))
            .status()
            .unwrap()
            .success()
    );
    let path = folder.path().to_str().unwrap();
    let (ok, _, err) = run_cli(&[
        "http",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--prompts",
        path,
    ]);
    assert!(
        !ok && err.contains("own.md") && err.contains("it is a named pipe"),
        "{err}"
    );
}

#[test]
fn audit_log_with_an_oversized_line_is_reported_as_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let file = fs::File::create(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    writeln!(
        fs::OpenOptions::new().append(true).open(&path).unwrap(),
        "\n{{}}"
    )
    .unwrap();
    let args = ["audit", "verify", path.to_str().unwrap()];
    let (ok, out, err) = run_cli(&args);
    let lines: Vec<_> = out
        .lines()
        .filter(|line| line.contains("no line of an audit log"))
        .collect();
    assert!(!ok && lines.len() == 2, "{out}{err}");
    let (ok, _, err) = run_cli(&["call", "list-labels", "--sandbox", "--audit-log", args[2]]);
    assert!(
        !ok && err.contains("its end is no line") || err.contains("the last line"),
        "{err}"
    );
}

/// Each process reads the entries that the others have added.
#[test]
fn concurrently_created_tokens_are_all_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let made: usize = std::thread::scope(|scope| {
        let make = |name: &'static str| {
            scope.spawn(move || {
                run_cli(&[
                    "token",
                    "new",
                    "--name",
                    name,
                    "--scope",
                    "portkey:read",
                    "--file",
                    file,
                ])
                .0
            })
        };
        let runs: Vec<_> = ["a", "a", "a", "b"].into_iter().map(make).collect();
        runs.into_iter()
            .filter(|_| true)
            .map(|run| usize::from(run.join().unwrap()))
            .sum()
    });
    assert_eq!(made, 2, "of three of one name only the first is added");
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches("[[token]]").count(), 2, "{text}");
}

/// Two servers write their address to the same file. The first one that stops leaves the other's
/// address.
#[test]
fn admin_file_is_removed_only_by_its_own_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    let path = file.to_str().unwrap();
    let args = [
        "--approve-deletes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        path,
    ];
    let first = crate::support::server::serve_sandbox(&args);
    let second = crate::support::server::serve_sandbox(&args);
    assert!(first.terminate().0.success());
    assert!(run_cli(&["approvals", "list", "--admin-file", path]).0);
    assert!(second.terminate().0.success());
    assert!(!file.exists());
}
