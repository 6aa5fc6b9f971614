//! No log line and no audit entry contains a secret of a caller or of an upstream.

use std::{fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_operation::JsonMap;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    audit::read_entries,
    metrics::open_session,
    support::{
        process::{ServerProcess, StdioServer},
        requests::{call_request, post_request},
        upstream::{MockUpstream, http_response, json_response},
    },
};

const LEVELS: [&str; 2] = ["debug", "trace"];

/// Generates a secret, with or without the prefix of a known issuer.
fn any_secret() -> impl Strategy<Value = String> {
    let alphabet: Vec<char> = ('a'..='z')
        .chain('A'..='Z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let begin = select(vec!["", "sk-", "pk-", "eyJ", "AKIA", "ghp_"]);
    (begin, vec(select(alphabet), 33..64))
        .prop_map(|(begin, rest)| begin.to_owned() + &String::from_iter(rest))
}

pub(crate) fn random_secrets(count: usize) -> Vec<String> {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    (0..count)
        .map(|_| any_secret().new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Returns the first example call of every tool, with the secret in each secret field.
pub(crate) fn calls_with_secret(secret: &str) -> Vec<(&'static str, Value)> {
    let catalog = Catalog::full();
    let mut calls = Vec::new();
    for entry in catalog.iter() {
        let tool = entry.operation.name();
        let shown = fs::read_to_string(format!("tests/data/calls/{tool}.json")).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let mut args: JsonMap = shown[0]["arguments"].as_object().unwrap().clone();
        let mut planted = 0;
        let plant = |_: &dyn std::fmt::Display, _, value: &mut Value| {
            *value = json!(secret);
            planted += 1;
            Ok::<_, ()>(())
        };
        entry.compiled().visit_secrets(&mut args, plant).unwrap();
        // An invalid call as well, so that it is rejected.
        if planted > 0 {
            calls.push((
                tool,
                json!({ "key": secret, "config": [secret], "auth_config": secret }),
            ));
        }
        if planted > 0
            || !entry.operation.secret_fields().is_empty()
            || !entry.operation.one_time_secrets().is_empty()
        {
            calls.push((tool, args.into()));
        }
    }
    assert!(calls.len() > 30, "{}", calls.len());
    calls
}

/// Returns a response with the secret in every field where an upstream could return one.
fn body_with_secret(secret: &str) -> String {
    let below =
        json!({ "key": secret, "api_key": secret, "note": secret, "list": [secret], secret: 1 });
    json!({
        "id": secret, "key": secret, "invite_link": secret, "signed_url": secret, "client_auth": secret,
        "data": [below], "config": below, "message": secret, "configurations": below,
    })
    .to_string()
}

fn error_with_secret(secret: &str) -> String {
    let inner =
        json!({ "message": format!("wrong key {secret}"), "errorCode": secret, "detail": secret });
    json!({ "success": false, "data": inner }).to_string()
}

pub(crate) async fn start_leaking_upstream(secrets: &[String]) -> MockUpstream {
    let secrets = secrets.to_vec();
    MockUpstream::start(move |before| {
        let secret = &secrets[before % secrets.len()];
        match before % 4 {
            0 | 1 => json_response(&body_with_secret(secret)),
            2 => http_response(
                "400 Bad Request",
                "content-type: application/json\r\n",
                &error_with_secret(secret),
            ),
            _ => http_response("403 Forbidden", "content-type: text/html\r\n", secret),
        }
    })
    .await
}

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
    let expected: usize = secrets
        .iter()
        .map(|secret| calls_with_secret(secret).len())
        .sum();
    assert_eq!(lines.len(), expected);
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
        let args = [
            "http",
            "--listen",
            "127.0.0.1:0",
            "--base-url",
            &upstream.base_url,
        ];
        let logging = ["--log-level", level, "--log-format", format];
        let key = [("PORTKEY_API_KEY", secrets[0].as_str())];
        let audit = tempfile::NamedTempFile::new().unwrap();
        let audited = ["--audit-log", audit.path().to_str().unwrap()];
        let mut server = ServerProcess::start_with(&[&args[..], &logging, &audited].concat(), &key);
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
        let mut command = crate::support::process::command(&[
            "--base-url",
            &upstream.base_url,
            "--log-level",
            level,
            "--log-format",
            format,
            "--audit-log",
            audit.path().to_str().unwrap(),
        ]);
        command.env("PORTKEY_API_KEY", &secrets[0]);
        let mut pipe = StdioServer::spawn(command);
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
