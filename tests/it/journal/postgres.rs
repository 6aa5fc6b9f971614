//! The journal in PostgreSQL: shared by replicas, and clear about a server that fails.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use portkey_journal::{
    ChangeOutcome, ChangeScope, Journal, JournalError, JournalPlace, JournalSettings,
    JournalStartError,
};
use serde_json::{Value, json};

use super::{
    WITH_JOURNAL, call, file_settings,
    store::{change, finish, of},
};
use crate::support::{
    postgres::{PASSWORD, PostgresServer},
    process::command,
    programs::is_missing,
    server::ServerProcess,
};

/// Returns settings for a database.
pub(super) fn url_settings(url: &str) -> JournalSettings {
    JournalSettings {
        place: JournalPlace::Postgres {
            address: url.into(),
        },
        ..file_settings("unused".as_ref())
    }
}

async fn open_error(url: &str) -> JournalStartError {
    let error = Journal::open(&url_settings(url)).await.unwrap_err();
    assert!(!error.to_string().contains(PASSWORD), "{error}");
    assert!(error.to_string().contains("--journal-url"), "{error}");
    error
}

async fn answer(server: &ServerProcess, tool: &str, args: Value) -> Value {
    let (failed, text) = call(server, tool, args).await;
    assert!(!failed, "{tool}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn replica_undoes_what_a_killed_one_changed() {
    if is_missing("postgres") {
        return;
    }
    const SLUG: &str = "pc-support-fallback";
    let database = PostgresServer::start();
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("journal-url");
    std::fs::write(&address, format!("{}\n", database.url())).unwrap();
    let address = address.to_str().unwrap();
    let sandbox = ServerProcess::sandbox_api().start();
    let start = || {
        ServerProcess::http()
            .upstream(&sandbox.url)
            .api_key("any-key-of-the-sandbox")
            .variables(WITH_JOURNAL)
            .variables(&[("PORTKEY_MCP_JOURNAL_URL_FILE", address)])
            .start()
    };
    let mut first = start();
    let second = start();
    let before = answer(&second, "get-config", json!({ "slug": SLUG })).await;
    let rename = json!({ "slug": SLUG, "name": "Oops" });
    answer(&first, "update-config", rename).await;
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let listed = answer(&second, "list-changes", json!({})).await;
    assert_eq!(listed["changes"][0]["outcome"], "done", "{listed}");
    let id = listed["changes"][0]["id"].clone();
    let undone = answer(&second, "undo-change", json!({ "id": id })).await;
    assert_eq!(undone["undid"], id);
    let after = answer(&second, "get-config", json!({ "slug": SLUG })).await;
    assert_eq!(after["name"], before["name"]);
    let (failed, text) = call(&second, "undo-change", json!({ "id": id })).await;
    assert!(failed && text.contains("undone"), "{text}");
    // The shell reads the same history.
    let output = command(&["changes", "list", "--all"])
        .envs(WITH_JOURNAL.iter().copied())
        .args(["--api-key", "any-key-of-the-sandbox"])
        .args(["--base-url", &sandbox.url, "--journal-url", &database.url()])
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(text.matches("update-config").count(), 2, "{text}");
    let (_, log) = second.terminate();
    assert!(!log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn killed_database_stops_writes_and_keeps_what_it_acknowledged() {
    if is_missing("postgres") {
        return;
    }
    let mut database = PostgresServer::start();
    let journal = Journal::open(&url_settings(&database.url())).await.unwrap();
    finish(journal.begin(change("a", "pc-1")).await.unwrap()).await;
    let cut = journal.begin(change("a", "pc-2")).await.unwrap();
    database.kill();
    let refused = journal.begin(change("a", "pc-3")).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("nothing was sent"), "{text}");
    assert!(text.contains("database cannot be reached"), "{text}");
    // Its answer stays as it is, and its entry says `pending`.
    finish(cut).await;
    database.restart();
    finish(journal.begin(change("a", "pc-4")).await.unwrap()).await;
    let all = journal.list(of(ChangeScope::Everybody)).await.unwrap();
    let all: Vec<_> = all
        .changes
        .iter()
        .map(|change| (change.head.target["slug"].as_str(), change.outcome))
        .collect();
    assert_eq!(
        all,
        [
            ("pc-4", ChangeOutcome::Done),
            ("pc-2", ChangeOutcome::Pending),
            ("pc-1", ChangeOutcome::Done)
        ]
    );
}

#[tokio::test]
async fn locked_table_denies_a_begin_and_leaves_no_entry() {
    if is_missing("postgres") {
        return;
    }
    let database = PostgresServer::start();
    let journal = Journal::open(&url_settings(&database.url())).await.unwrap();
    let mut holder = database.shell();
    holder
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut holder = holder.spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    writeln!(
        input,
        "BEGIN; LOCK TABLE portkey_mcp_changes; SELECT 'held';"
    )
    .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(holder.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let refused = journal.begin(change("a", "pc-1")).await.unwrap_err();
    assert_eq!(refused.0, JournalError::Locked);
    writeln!(input, "ROLLBACK;").unwrap();
    drop(input);
    holder.wait().unwrap();
    finish(journal.begin(change("a", "pc-2")).await.unwrap()).await;
    let all = journal.list(of(ChangeScope::Everybody)).await.unwrap();
    assert_eq!(all.changes.len(), 1);
}

#[tokio::test]
async fn unusable_database_fails_the_start_and_says_why() {
    if is_missing("postgres") {
        return;
    }
    let mut database = PostgresServer::start();
    let url = database.url();
    // Of replicas that start at the same time, one creates the tables.
    let settings = url_settings(&url);
    let opened = futures_util::future::join_all((0..6).map(|_| Journal::open(&settings))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    drop(opened);

    // A user without rights to create tables can use those that are there, or else is told.
    database.run("CREATE ROLE clerk LOGIN PASSWORD 'clerk-password'");
    database.run("GRANT SELECT, INSERT, UPDATE, DELETE ON portkey_mcp_changes TO clerk");
    database.run("GRANT SELECT ON portkey_mcp_journal TO clerk");
    let of_clerk = url.replace(&format!("portkey:{PASSWORD}"), "clerk:clerk-password");
    let clerk = Journal::open(&url_settings(&of_clerk)).await.unwrap();
    finish(clerk.begin(change("a", "pc-1")).await.unwrap()).await;
    drop(clerk);
    database.run("CREATE DATABASE empty");
    let error = open_error(&of_clerk.replace("/postgres?", "/empty?")).await;
    assert!(matches!(error, JournalStartError::Tables { .. }), "{error}");
    assert!(error.to_string().contains("permission denied"), "{error}");

    database.run("UPDATE portkey_mcp_journal SET version = 9");
    let error = open_error(&url).await;
    assert!(
        matches!(error, JournalStartError::OtherTables { found: 9, .. }),
        "{error}"
    );
    assert_eq!(
        database.run("SELECT count(*) FROM portkey_mcp_changes"),
        "1"
    );

    let error = open_error(&url.replace(PASSWORD, "wrong-password")).await;
    assert!(
        error.to_string().contains("authentication failed"),
        "{error}"
    );
    let error = open_error(&url.replace("/postgres?", "/absent?")).await;
    assert!(error.to_string().contains("does not exist"), "{error}");
    for invalid in [
        format!("mysql://portkey:{PASSWORD}@localhost/postgres"),
        format!("postgres://portkey:{PASSWORD}@localhost:port/postgres"),
        format!("{url}&sslmode=sometimes"),
        format!("{url}&pasword={PASSWORD}"),
        PASSWORD.to_owned(),
    ] {
        let error = open_error(&invalid).await;
        assert!(
            matches!(error, JournalStartError::InvalidAddress),
            "{error}"
        );
    }
    database.kill();
    let error = open_error(&url).await;
    assert!(
        matches!(error, JournalStartError::NoConnection { .. }),
        "{error}"
    );
}

#[test]
fn journal_url_contradicts_other_places() {
    for (more, expected) in [
        (&["--no-journal"][..], "--no-journal wants none"),
        (&["--journal", "file.db"], "give one of them"),
        (&["--journal-url-file", "file"], "set only one of"),
    ] {
        let output = command(&["http", "--sandbox"])
            .envs(WITH_JOURNAL.iter().copied())
            .args(["--journal-url", "postgres://a:very-secret-word@localhost/b"])
            .args(more)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(expected), "{log}");
        assert!(!log.contains("very-secret-word"), "{log}");
    }
}
