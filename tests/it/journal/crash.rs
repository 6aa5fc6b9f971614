//! Killed processes and full disks lose nothing.

use std::process::Command;

use portkey_journal::{ChangeFilter, ChangeOutcome, ChangeScope, Journal};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{HistoryServer, WITH_JOURNAL, file_settings};
use crate::support::{
    requests::{client, stateless_request_by},
    server::{ServerProcess, Spawn},
};

/// Variable with the number of rounds of the kill test.
const ROUNDS_VARIABLE: &str = "PORTKEY_MCP_TEST_KILL_ROUNDS";

/// Default number of rounds.
const ROUNDS: u32 = 12;

/// Number of answers before which a server is killed.
const MAX_ANSWERS: u32 = 24;

/// Number of the latest entries that are read in full: more than a round writes.
const MAX_READ_IN_FULL: usize = 250;

/// Reads every entry in full; returns their outcomes, latest first.
async fn read_all(file: &std::path::Path) -> Vec<ChangeOutcome> {
    let journal = Journal::open(&file_settings(file)).await.unwrap();
    let mut outcomes = Vec::new();
    let mut before = None;
    loop {
        let filter = ChangeFilter {
            scope: ChangeScope::Everybody,
            limit: 100,
            before,
            ..ChangeFilter::default()
        };
        let page = journal.list(filter).await.unwrap();
        for change in &page.changes {
            // In full where the last round left them.
            if outcomes.len() >= MAX_READ_IN_FULL {
                outcomes.push(change.outcome);
                continue;
            }
            let whole = journal.get(&change.id, ChangeScope::Everybody).await;
            let whole = whole.unwrap().unwrap();
            assert!(whole.detail.unwrap().arguments.is_some());
            outcomes.push(whole.outcome);
        }
        before = page.changes.last().map(|change| change.id.clone());
        if !page.has_more {
            return outcomes;
        }
    }
}

#[tokio::test]
async fn killed_server_leaves_readable_entries() {
    let rounds = std::env::var(ROUNDS_VARIABLE).ok();
    let rounds: u32 = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("journal.db");
    let client = client();
    let mut known = 0;
    let mut pending = 0;
    for round in 0..rounds {
        let mut server = ServerProcess::http()
            .sandbox()
            .variables(WITH_JOURNAL)
            .args(&["--journal", file.to_str().unwrap()])
            .start();
        let (answered, mut answers) = mpsc::unbounded_channel();
        // Four writers at once, so that the kill meets every step of a write.
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let requests: Vec<_> = (0..50)
                    .map(|n| {
                        let name = format!("{round}-{writer}-{n}");
                        let args = json!({ "slug": "pc-support-fallback", "name": name });
                        let params = json!({ "name": "update-config", "arguments": args });
                        stateless_request_by(&client, &server, "tools/call", params)
                    })
                    .collect();
                let answered = answered.clone();
                tokio::spawn(async move {
                    for request in requests {
                        if request.send().await.is_err() {
                            break;
                        }
                        answered.send(()).unwrap();
                    }
                })
            })
            .collect();
        // After another write in each round, while the other writers are at any step of theirs.
        for _ in 0..round % MAX_ANSWERS {
            answers.recv().await.unwrap();
        }
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        let outcomes = read_all(&file).await;
        assert!(outcomes.len() >= known, "round {round} lost entries");
        known = outcomes.len();
        pending = outcomes
            .iter()
            .filter(|outcome| **outcome == ChangeOutcome::Pending)
            .count();
        let is_known = |outcome: &ChangeOutcome| {
            matches!(
                outcome,
                ChangeOutcome::Pending | ChangeOutcome::Done | ChangeOutcome::InDoubt
            )
        };
        assert!(outcomes.iter().all(is_known), "{outcomes:?}");
    }
    assert!(known > 0);
    // At most the four writes under way of each round have no end.
    assert!(pending <= 4 * rounds as usize, "{pending} of {known}");
}

/// A server whose files cannot grow beyond a limit, as on a full disk.
fn spawn_with_file_limit(command: Command, kibibytes: u32) -> ServerProcess {
    let mut limited = Command::new("/bin/bash");
    limited
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\""),
        ])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    ServerProcess::spawn(limited)
}

#[tokio::test]
async fn full_disk_stops_writes_before_they_are_sent_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("journal.db");
    let command = ServerProcess::http()
        .sandbox()
        .variables(WITH_JOURNAL)
        .args(&["--journal", file.to_str().unwrap()])
        .command();
    let server = spawn_with_file_limit(command, 200);
    let mut sent = 0;
    let refused = loop {
        let name = format!("{sent}-{}", "x".repeat(200));
        let args = json!({ "slug": "pc-support-fallback", "name": name });
        let (failed, text) = super::call(&server, "update-config", args).await;
        if failed {
            break text;
        }
        sent += 1;
        assert!(sent < 500, "the disk is never full");
    };
    assert!(refused.contains("nothing was sent"), "{refused}");
    assert!(refused.contains("journal"), "{refused}");
    let read = json!({ "slug": "pc-support-fallback" });
    let (failed, text) = super::call(&server, "get-config", read).await;
    assert!(
        !failed && text.contains(&format!("{}-xxx", sent - 1)),
        "{text}"
    );
    drop(server);
    let outcomes = read_all(&file).await;
    assert_eq!(outcomes.len(), sent);
}

#[tokio::test]
async fn processes_share_a_file_while_they_write() {
    let first = HistoryServer::start(&[]);
    let second = ServerProcess::http()
        .sandbox()
        .variables(WITH_JOURNAL)
        .args(&["--journal", first.file.to_str().unwrap()])
        .start();
    let write = async |server: &ServerProcess, name: &str| {
        for n in 0..15 {
            let args = json!({ "slug": "pc-support-fallback", "name": format!("{name}{n}") });
            let (failed, text) = super::call(server, "update-config", args).await;
            assert!(!failed, "{text}");
        }
    };
    tokio::join!(write(&first.server, "a"), write(&second, "b"));
    let outcomes = read_all(&first.file).await;
    assert_eq!(outcomes, vec![ChangeOutcome::Done; 30]);
}
