//! What a person sees who starts the server for the first time, or stops it early.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::support::{
    process::{command, run_cli},
    programs::is_missing,
    server::{ServerProcess, StdioServer, serve_sandbox},
};

const NO_KEY: &str = "there is no Portkey API key";

#[test]
fn server_in_a_terminal_says_what_it_waits_for() {
    if is_missing("script") {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_portkey-mcp");
    let start = format!("{binary} --sandbox --no-journal");
    let mut terminal = Command::new("script")
        .args(["-qec", &start, "/dev/null"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap());
    while !shown.contains("waits for an MCP client on standard input") {
        assert!(lines.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    assert!(shown.contains("portkey-mcp --help"), "{shown}");
    // Closes standard input.
    drop(terminal.stdin.take());
    terminal.kill().unwrap();
    terminal.wait().unwrap();
}

#[test]
fn client_gets_no_such_line() {
    let (_, _, log) = StdioServer::builder().sandbox().start().end();
    assert!(!log.contains("waits for an MCP client"), "{log}");
}

#[test]
fn start_without_a_key_is_warned_about() {
    let (_, _, log) = StdioServer::builder().start().end();
    assert!(log.contains("WARN") && log.contains(NO_KEY), "{log}");
    assert!(log.contains("`portkey-mcp login`"), "{log}");
    let (_, _, log) = StdioServer::builder().sandbox().start().end();
    assert!(!log.contains(NO_KEY), "{log}");
    let (_, _, log) = StdioServer::builder()
        .args(&["--api-key", "k"])
        .start()
        .end();
    assert!(!log.contains(NO_KEY), "{log}");
    for (args, is_warned) in [(&[][..], true), (&["--auth", "key"], false)] {
        let all = [&["http", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = command(&all)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !log.contains("serving MCP") {
            assert!(lines.read_line(&mut log).unwrap() > 0, "{log}");
        }
        assert_eq!(log.contains(NO_KEY), is_warned, "{args:?}: {log}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A client or a container runtime may stop a server that still waits for another one.
#[test]
fn signal_during_the_start_ends_the_process_cleanly() {
    for signal in ["TERM", "INT"] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = format!("redis://{}", silent.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("state.keys");
        let made = command(&["state-key", "new", "--id", "a"])
            .output()
            .unwrap();
        std::fs::write(&keys, made.stdout).unwrap();
        let mut server = command(&[
            "http",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--state-key-file",
            keys.to_str().unwrap(),
            "--redis-url",
            &redis,
            "--redis-timeout",
            "60",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        // The server is in the middle of its start.
        let _connection = silent.accept().unwrap();
        let sent = Command::new("kill")
            .args([format!("-{signal}"), server.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        let mut log = String::new();
        server
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        let status = server.wait().unwrap();
        assert!(status.success(), "{signal}: {status}: {log}");
        assert!(log.contains("stopped during the start"), "{log}");
    }
}

#[tokio::test]
async fn each_denied_request_is_one_log_line_with_its_reason() {
    const SECRET: &str = "planted-5Hq";
    let mut server = ServerProcess::http().auth("key").start();
    let url = format!("{}/mcp", server.url.trim_end_matches("/mcp"));
    let client = crate::support::requests::client_builder().build().unwrap();
    let cases = [
        (None, "send your Portkey API key"),
        (Some("${PLANTED_5HQ}"), "is a placeholder"),
        (Some("YOUR_API_KEY"), "is the text of an example"),
        (Some("Bearer planted-5Hq"), "begins with `Bearer`"),
        (Some("PORTKEY_API_KEY=planted-5Hq"), "begins with a name"),
        (Some("\"planted-5Hq\""), "is in quotes"),
        (Some("planted 5Hq"), "has blanks"),
        (Some("undefined"), "where they have no value"),
        (Some("{env:PLANTED_5HQ}"), "is a placeholder"),
        (Some("planted-5Hq#old"), "leave the comment out"),
    ];
    for (key, reason) in cases {
        let mut request = client.post(&url).body("{}");
        if let Some(key) = key {
            request = request.header("x-portkey-api-key", key);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{key:?}");
        let body = answer.text().await.unwrap();
        assert!(body.contains(reason), "{key:?}: {body}");
        let line = server.read_until("request rejected");
        for part in ["INFO", "status=401", "/mcp", "127.0.0.1", reason] {
            assert!(line.contains(part), "{key:?}: no `{part}` in {line}");
        }
        assert!(!line.contains(SECRET), "{line}");
    }
    let denied = client
        .post(&url)
        .header("x-portkey-api-key", "pk-alice")
        .header("host", "evil.example")
        .body("{}");
    assert_eq!(denied.send().await.unwrap().status(), 403);
    let line = server.read_until("request rejected");
    assert!(
        line.contains("INFO") && line.contains("status=403"),
        "{line}"
    );
}

/// The paths of the approval server hold keys.
#[tokio::test]
async fn denied_request_to_the_approval_server_is_logged_without_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    let named = file.to_str().unwrap();
    let mut server = serve_sandbox(&[
        "--approve-deletes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        named,
    ]);
    let access: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let url = access["url"].as_str().unwrap().trim_end_matches('/');
    let client = crate::support::requests::client_builder().build().unwrap();
    let denied = client
        .get(format!("{url}/approvals"))
        .bearer_auth("planted-5Hq");
    assert_eq!(denied.send().await.unwrap().status(), 401);
    let line = server.read_until("approval server: request rejected");
    for part in ["INFO", "status=401", "area=\"approvals\"", "127.0.0.1"] {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    let foreign = client
        .get(format!("{url}/waiting/planted-5Hq"))
        .header("host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let line = server.read_until("approval server: request rejected");
    assert!(line.contains("its host or its origin"), "{line}");
    assert!(!line.contains("planted-5Hq"), "{line}");
}

/// Every place of a key is looked at before anything is sent.
#[test]
fn malformed_key_stops_the_start_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let utf16 = write("utf16", b"\xff\xfep\0k\0-\x001\0");
    let unmarked = write("unmarked", b"p\0k\0-\x001\0");
    let marked = write("marked", "\u{feff}pk-1\n".as_bytes());
    let config = write("portkey-mcp.toml", b"api-key = \"${PORTKEY_API_KEY}\"\n");
    let commented = write("commented", b"abc#comment\n");
    for name in [&utf16, &unmarked, &marked, &config, &commented] {
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(name, private).unwrap();
    }
    struct Case<'a> {
        args: &'a [&'a str],
        place: &'a str,
        expected: &'static str,
    }
    let cases = [
        Case {
            args: &["--api-key", "YOUR_API_KEY"],
            place: "PORTKEY_API_KEY (--api-key)",
            expected: "give your own key",
        },
        Case {
            args: &["--enkrypt-api-key", "xxx"],
            place: "ENKRYPT_API_KEY (--enkrypt-api-key)",
            expected: "give your own key",
        },
        Case {
            args: &["--enkrypt-api-key", "Bearer abc"],
            place: "ENKRYPT_API_KEY (--enkrypt-api-key)",
            expected: "give the key alone",
        },
        Case {
            args: &["--api-key", "undefined"],
            place: "PORTKEY_API_KEY (--api-key)",
            expected: "where they have no value",
        },
        Case {
            args: &["--enkrypt-api-key", "null"],
            place: "ENKRYPT_API_KEY (--enkrypt-api-key)",
            expected: "where they have no value",
        },
        Case {
            args: &["--api-key", "{env:PORTKEY_API_KEY}"],
            place: "PORTKEY_API_KEY (--api-key)",
            expected: "is a placeholder",
        },
        Case {
            args: &["--api-key-file", &commented],
            place: &commented,
            expected: "leave the comment out",
        },
        Case {
            args: &["--api-key-file", &utf16],
            place: "PORTKEY_API_KEY_FILE (--api-key-file)",
            expected: "save it as UTF-8",
        },
        Case {
            args: &["--api-key-file", &unmarked],
            place: &unmarked,
            expected: "save the file as UTF-8",
        },
        Case {
            args: &["--enkrypt-api-key-file", &marked],
            place: &marked,
            expected: "byte order mark",
        },
        Case {
            args: &["--config", &config],
            place: "PORTKEY_API_KEY (--api-key)",
            expected: "is a placeholder",
        },
    ];
    for Case {
        args,
        place,
        expected,
    } in cases
    {
        for server in [&["stdio"][..], &["call", "list-labels"]] {
            let (ok, _, log) = run_cli(&[server, args].concat());
            assert!(
                !ok && log.contains(place) && log.contains(expected),
                "{args:?}: {log}"
            );
        }
    }
    let tokens = folder.path().join("tokens.toml");
    let tokens = tokens.to_str().unwrap();
    let (ok, _, log) = run_cli(&[
        "token",
        "new",
        "--name",
        "ci",
        "--scope",
        "portkey:read",
        "--portkey-key",
        "env:PLANTED_KEY",
        "--file",
        tokens,
    ]);
    assert!(ok, "{log}");
    let start = command(&["http", "--auth", "token", "--auth-file", tokens])
        .env("PLANTED_KEY", "${KEY}")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&start.stderr);
    let is_told = log.contains("env:PLANTED_KEY") && log.contains("is a placeholder");
    assert!(!start.status.success() && is_told, "{log}");
}
