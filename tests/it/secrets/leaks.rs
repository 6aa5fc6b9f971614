//! No log line and no audit entry contains a secret of a caller or of an upstream.

use std::{collections::HashSet, fs, path::Path};

use serde_json::json;

use crate::support::{
    audit::read_entries,
    planted_secrets::{calls_with_secret, random_secrets, start_leaking_upstream},
    requests::{call_request, open_session, post_request},
    server::{ServerProcess, StdioServer},
};

const LEVELS: [&str; 2] = ["debug", "trace"];

fn assert_no_secrets(log: &str, secrets: &[String]) {
    assert!(log.contains("portkey_mcp::call"), "nothing was logged");
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}

/// Checks that the audit log contains every call and no secret. Entries of accepted calls have
/// arguments.
fn assert_not_audited(audit: &Path, secrets: &[String]) {
    let lines = read_entries(audit);
    // Reads that a call makes for itself have an entry of their own, under the id of its request.
    let requests: HashSet<_> = lines.iter().map(|line| &line["request_id"]).collect();
    let expected: usize = secrets
        .iter()
        .map(|secret| calls_with_secret(secret).len())
        .sum();
    assert_eq!(requests.len(), expected);
    assert!(
        lines
            .iter()
            .filter(|line| line["arguments"].is_object())
            .count()
            > expected / 3
    );
    for (line, secret) in lines
        .iter()
        .flat_map(|line| secrets.iter().map(move |one| (line, one)))
    {
        assert!(!line.to_string().contains(secret), "{secret} in {line}");
    }
}

#[tokio::test]
async fn logs_over_http_contain_no_secrets() {
    let secrets = random_secrets(4);
    let upstream = start_leaking_upstream(&secrets).await;
    for (level, format) in LEVELS.into_iter().zip(["text", "json"]) {
        let audit = tempfile::NamedTempFile::new().unwrap();
        let mut server = ServerProcess::http()
            .upstream(&upstream.base_url)
            .args(&["--log-level", level, "--log-format", format])
            .args(&["--audit-log", audit.path().to_str().unwrap()])
            .variables(&[("PORTKEY_API_KEY", &secrets[0])])
            .start();
        let session = open_session(&server).await;
        for (i, (tool, args)) in secrets
            .iter()
            .flat_map(|secret| calls_with_secret(secret))
            .enumerate()
        {
            // The protocols alternate.
            let request = match i % 2 {
                0 => call_request(&server, tool, args),
                _ => {
                    let params = json!({ "name": tool, "arguments": args });
                    let body = json!({ "jsonrpc": "2.0", "id": i, "method": "tools/call", "params": params });
                    post_request(&server, &body.to_string()).header("mcp-session-id", &session)
                }
            };
            request.send().await.unwrap().text().await.unwrap();
            if i % 16 == 0 {
                // Read in between, because lines are dropped once the pipe is full.
                let line = server.read_until("portkey_mcp::call");
                assert_no_secrets(&line, &secrets);
            }
        }
        assert_no_secrets(&(server.terminate().1 + "portkey_mcp::call"), &secrets);
        assert_not_audited(audit.path(), &secrets);
    }
}

#[test]
fn logs_over_stdio_contain_no_secrets() {
    let secrets = random_secrets(4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = runtime.block_on(start_leaking_upstream(&secrets));
    for (level, format) in LEVELS.into_iter().zip(["json", "text"]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let audit = tempfile::NamedTempFile::new().unwrap();
        let mut pipe = StdioServer::builder()
            .upstream(&upstream.base_url)
            .args(&["--log-level", level, "--log-format", format])
            .args(&["--audit-log", audit.path().to_str().unwrap()])
            .variables(&[("PORTKEY_API_KEY", &secrets[0])])
            .start();
        let mut log = pipe.child.stderr.take().unwrap();
        let mut copy = file.reopen().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut log, &mut copy).unwrap());
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let opening = ("initialize", params);
        let calls = secrets.iter().flat_map(|secret| calls_with_secret(secret));
        let calls =
            calls.map(|(tool, args)| ("tools/call", json!({ "name": tool, "arguments": args })));
        for (id, (method, params)) in std::iter::once(opening).chain(calls).enumerate() {
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            pipe.send(&body.to_string());
            assert_eq!(pipe.receive()["id"], id);
        }
        drop(pipe.input.take());
        pipe.child.wait().unwrap();
        reader.join().unwrap();
        assert_no_secrets(&fs::read_to_string(file.path()).unwrap(), &secrets);
        assert_not_audited(audit.path(), &secrets);
    }
}

/// A failure before the start of the server is reported on standard error as well.
#[test]
fn command_errors_contain_no_keys() {
    let secret = "sk-abcdefghijklmnopqrstuvwx";
    for args in [
        &["call", "get-config", "--sandbox", secret][..],
        &["call", secret, "--sandbox"],
        &["--ca-file", secret, "call", "list-labels"],
    ] {
        let (ok, out, log) = crate::support::process::run_cli(args);
        assert!(
            !ok && !out.contains(secret) && !log.contains(secret),
            "{log}"
        );
        assert!(log.contains("[masked by portkey-mcp]"), "{log}");
    }
}
