//! The journal in PostgreSQL over TLS: a certificate is checked, and what is wrong is said.

use std::fs;

use portkey_journal::{Journal, JournalStartError};

use super::{
    WITH_JOURNAL,
    postgres::url_settings,
    store::{change, finish},
};
use crate::support::{
    postgres::{PASSWORD, PostgresServer},
    process::command,
    programs::is_missing,
};

async fn open_error(url: &str) -> JournalStartError {
    let error = Journal::open(&url_settings(url)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        !text.contains(PASSWORD) && text.contains("--journal-url"),
        "{text}"
    );
    error
}

#[tokio::test]
async fn certificate_is_checked_by_the_named_root() {
    if is_missing("postgres") {
        return;
    }
    let mut database = PostgresServer::start_with_tls();
    let root = |name: &str| format!("sslrootcert={}", database.certificate(name).display());
    let checked = database.tls_url(
        "localhost",
        &format!("sslmode=verify-full&{}", root("server")),
    );
    let journal = Journal::open(&url_settings(&checked)).await.unwrap();
    finish(journal.begin(change("a", "pc-1")).await.unwrap()).await;
    let used = database.run(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'portkey-mcp'",
    );
    assert_eq!(used, "t");

    struct Case {
        host: &'static str,
        parameters: String,
        reason: &'static str,
    }
    let cases = [
        Case {
            host: "localhost",
            parameters: "sslmode=verify-full".to_owned(),
            reason: "its authority is not one of those that are trusted",
        },
        Case {
            host: "localhost",
            parameters: format!("sslmode=verify-ca&{}", root("other")),
            reason: "its authority is not one of those that are trusted",
        },
        Case {
            host: "127.0.0.1",
            parameters: format!("sslmode=verify-full&{}", root("server")),
            reason: "it is for another host than the address names",
        },
    ];
    for Case {
        host,
        parameters,
        reason,
    } in cases
    {
        let error = open_error(&database.tls_url(host, &parameters)).await;
        let text = error.to_string();
        assert!(
            matches!(error, JournalStartError::Untrusted { .. }),
            "{text}"
        );
        assert!(
            text.contains(reason) && text.contains("sslrootcert"),
            "{text}"
        );
    }
    // The name alone is not checked.
    let authority = format!("sslmode=verify-ca&{}", root("server"));
    Journal::open(&url_settings(&database.tls_url("127.0.0.1", &authority)))
        .await
        .unwrap();
    // A connection that is made again is checked again.
    database.kill();
    database.restart();
    finish(journal.begin(change("a", "pc-2")).await.unwrap()).await;
}

#[tokio::test]
async fn settings_of_tls_that_protect_nothing_are_refused() {
    if is_missing("postgres") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pem = file("root.pem", "-----BEGIN CERTIFICATE-----\n");
    let text = file("notes.txt", "a note");
    let absent = folder.path().join("absent.pem").display().to_string();
    let database = PostgresServer::start_with_tls();
    for mode in ["", "sslmode=prefer&", "sslmode=require&"] {
        let url = database.tls_url("localhost", &format!("{mode}sslrootcert={pem}"));
        let error = open_error(&url).await;
        assert!(matches!(error, JournalStartError::UnusedRoot), "{error}");
    }
    for (path, reason) in [(&text, "nothing in PEM"), (&absent, "No such file")] {
        let url = database.tls_url(
            "localhost",
            &format!("sslmode=verify-full&sslrootcert={path}"),
        );
        let error = open_error(&url).await.to_string();
        assert!(error.contains(path) && error.contains(reason), "{error}");
        assert!(error.contains("`sslrootcert`"), "{error}");
    }
    // A server without TLS.
    let plain = PostgresServer::start();
    let url = format!("{}&sslmode=require", plain.url());
    let error = open_error(&url).await.to_string();
    assert!(error.contains("does not support TLS"), "{error}");
}

#[test]
fn unprotected_connection_to_another_machine_is_warned_of() {
    let warning = "give its address `sslmode=verify-full`";
    for (host, is_warned) in [("192.0.2.1", true), ("127.0.0.1", false)] {
        // Nothing listens there, so that the start fails.
        let url = format!("postgres://a:{PASSWORD}@{host}:1/b?sslmode=require");
        let output = command(&["http", "--sandbox", "--journal-url", &url])
            .envs(WITH_JOURNAL.iter().copied())
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(log.contains(warning), is_warned, "{log}");
        assert!(!log.contains(PASSWORD), "{log}");
    }
}
