//! Terminal output: no control sequences, and no lines that begin inside a value.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
};

use serde_json::json;

use crate::support::process::{command, run_cli};

/// Clears the screen, reverses the text direction, has a one-character control sequence, and starts
/// a line.
const TERMINAL_ESCAPES: &str = "evil\u{1b}[2J\u{202e}\u{9b}31m\nforged: line";

/// Checks that a text contains no control characters and no forged line.
fn assert_without_escapes(text: &str) {
    let is_plain = |c: char| c == '\n' || !c.is_control() && !matches!(c, '\u{200b}'..='\u{206f}');
    assert!(text.chars().all(is_plain), "{text:?}");
    assert!(
        text.lines().all(|line| !line.starts_with("forged")),
        "{text}"
    );
}

#[test]
fn invalid_command_line_is_shown_without_escapes() {
    let cases: &[&[&str]] = &[
        &["tools", "--format", TERMINAL_ESCAPES],
        &[TERMINAL_ESCAPES],
        &["--timeout", TERMINAL_ESCAPES],
        &["tools", &format!("--{TERMINAL_ESCAPES}")],
        &["call"],
        &["call", TERMINAL_ESCAPES, "--sandbox"],
        &["call", "list-labels", TERMINAL_ESCAPES, "--sandbox"],
        &[
            "call",
            "list-labels",
            &format!("{TERMINAL_ESCAPES}=1"),
            "--sandbox",
        ],
        &["--timezone", TERMINAL_ESCAPES],
        &["--toolsets", TERMINAL_ESCAPES, "tools"],
        &["state-key", "new", "--id", TERMINAL_ESCAPES],
        &[
            "token",
            "new",
            "--name",
            TERMINAL_ESCAPES,
            "--scope",
            "portkey:read",
        ],
        &["health", "--url", TERMINAL_ESCAPES],
    ];
    for args in cases {
        let (ok, out, err) = run_cli(args);
        assert!(!ok && !err.is_empty(), "{args:?}: {out}");
        assert_without_escapes(&out);
        assert_without_escapes(&err);
    }
}

#[test]
fn invalid_url_is_shown_without_its_password() {
    let options = [
        "--base-url",
        "--gateway-url",
        "--registry-url",
        "--enkrypt-base-url",
        "health",
    ];
    let addresses = [
        "https://user:hunter2@portkey.invalid:99999/v1",
        "https://user:hunter2@portkey.invalid:port",
        "user:hunter2@portkey.invalid",
        "ftp://user:hunter2@portkey.invalid",
        "https://user:hun/hunter2@portkey.invalid?x=1",
    ];
    let not_told = |(ok, out, err): (bool, String, String)| {
        assert!(!ok && !(out + &err).contains("hunter2"), "{err}");
    };
    for address in addresses {
        for option in options {
            not_told(match option {
                "health" => run_cli(&["health", "--url", address]),
                option => run_cli(&["call", "list-labels", "--api-key", "k", option, address]),
            });
        }
        let mut command = command(&["call", "list-labels", "--api-key", "k"]);
        let output = command.env("PORTKEY_BASE_URL", address).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        not_told((output.status.success(), String::new(), err));
    }
}

#[test]
fn policy_messages_contain_no_terminal_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let policy = at(&format!("{TERMINAL_ESCAPES}.yaml").replace('/', ""));
    let evil = json!(TERMINAL_ESCAPES);
    let text = format!(
        "version: \"1\"\nrules:\n  - name: {evil}\n    tools: [delete-label, {evil}]\n    action: deny\n    reason: {evil}\n"
    );
    fs::write(&policy, text).unwrap();
    let cases = at("cases.yaml");
    let text = format!(
        "cases:\n  - call: delete-label\n    name: {evil}\n    expect: allow\n    args: {{label_id: a}}\n"
    );
    fs::write(&cases, text).unwrap();
    let broken = at(&format!("broken{TERMINAL_ESCAPES}.yaml"));
    fs::write(&broken, format!("version: \"1\"\n{evil}: 1\n")).unwrap();
    let runs: &[&[&str]] = &[
        &["policy", "check", &policy],
        &[
            "policy",
            "explain",
            &policy,
            "--call",
            "delete-label",
            "{\"label_id\":\"a\"}",
        ],
        &["policy", "explain", &policy, "--call", TERMINAL_ESCAPES],
        &["policy", "test", &policy, &cases],
        &["policy", "check", &broken],
        &["policy", "check", &at(TERMINAL_ESCAPES)],
        &["tools", "--policy", &broken],
        &["audit", "verify", &policy],
        &[
            "call",
            "delete-label",
            "label_id=a",
            "--sandbox",
            "--policy",
            &policy,
        ],
        &["call", "list-labels", "--sandbox", "--policy", &policy],
    ];
    for args in runs {
        let (_, out, err) = run_cli(args);
        assert!(!(out.clone() + &err).is_empty(), "{args:?}");
        assert_without_escapes(&out);
        assert_without_escapes(&err);
    }
}

/// Starts a server in place of the approval server, for one request; `answer` writes the response.
fn start_admin_server(
    folder: &Path,
    answer: impl FnOnce(&mut dyn Write) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let file = folder.join("admin.json");
    let mut options = fs::OpenOptions::new();
    let mut opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .unwrap();
    write!(opened, "{}", json!({ "url": url, "token": "t" })).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        answer(&mut stream);
    });
    file.to_str().unwrap().to_owned()
}

#[test]
fn approvals_are_shown_without_terminal_escapes() {
    struct Case {
        args: &'static [&'static str],
        status: &'static str,
        body: String,
    }

    let folder = tempfile::tempdir().unwrap();
    let ticket = json!({
        "id": TERMINAL_ESCAPES, "digest": TERMINAL_ESCAPES, "text": "evil", "state": { TERMINAL_ESCAPES: TERMINAL_ESCAPES }, "principal": TERMINAL_ESCAPES, "tool": TERMINAL_ESCAPES, "expires": 1,
    });
    let page = json!({ "tickets": [ticket], "next": TERMINAL_ESCAPES });
    let cases = [
        Case {
            args: &["list"],
            status: "200 OK",
            body: page.to_string(),
        },
        Case {
            args: &["show", "3f9a51"],
            status: "200 OK",
            body: ticket.to_string(),
        },
        Case {
            args: &["show", TERMINAL_ESCAPES],
            status: "200 OK",
            body: ticket.to_string(),
        },
        Case {
            args: &["list"],
            status: "403 Forbidden",
            body: json!({ "error": TERMINAL_ESCAPES }).to_string(),
        },
    ];
    for Case { args, status, body } in cases {
        let length = body.len();
        let file = start_admin_server(folder.path(), move |stream| {
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        });
        let (_, out, err) = run_cli(&[&["approvals"], args, &["--admin-file", &file]].concat());
        assert!((out.clone() + &err).contains("evil"), "{out}{err}");
        assert_without_escapes(&out);
        assert_without_escapes(&err);
    }
}

#[test]
fn endless_response_of_the_approval_server_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let file = start_admin_server(folder.path(), |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").unwrap();
        // Until the client closes the connection.
        while stream.write_all(&[b' '; 64 << 10]).is_ok() {}
    });
    let (ok, _, err) = run_cli(&["approvals", "list", "--admin-file", &file]);
    assert!(!ok && err.contains("the answer has more than"), "{err}");
}
