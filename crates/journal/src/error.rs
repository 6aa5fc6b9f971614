//! Errors of the journal.

use std::{io, path::PathBuf};

use portkey_bounded_file::display_path;
use rusqlite::ErrorCode;

/// A reason why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalStartError {
    /// The file or its folder cannot be created or opened.
    #[error("cannot use the journal {}: {source}", display_path(path))]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot use the journal {}: {reason}", display_path(path))]
    Database {
        /// Path of the file.
        path: PathBuf,
        /// Reason of the failure.
        reason: String,
    },
    /// The file is something else.
    #[error(
        "{} is no journal of portkey-mcp, or is damaged, and is left as it is. Move it away, name another \
         file with --journal, or start with --no-journal",
        display_path(.0)
    )]
    NoJournal(PathBuf),
    /// The file was written by another version.
    #[error(
        "the journal {} has the format {found}, and this version of portkey-mcp reads format {expected}; \
         the file is left as it is. Name another file with --journal, use the version that wrote it, or \
         start with --no-journal",
        display_path(path)
    )]
    OtherVersion {
        /// Path of the file.
        path: PathBuf,
        /// Version of the file.
        found: i64,
        /// Version that this program reads.
        expected: i64,
    },
    /// The address of PostgreSQL is invalid.
    #[error(
        "the address of the journal's PostgreSQL (--journal-url) cannot be read; give \
         postgres://host:5432/database?sslmode=verify-full with `user:password@` before the host, %-escapes where the \
         password has special characters, and only parameters that docs/changes.md names"
    )]
    InvalidAddress,
    /// A file that the address of PostgreSQL names cannot be used.
    #[error(
        "cannot use {path}, which `{parameter}` in the address of the journal's PostgreSQL (--journal-url) names: \
         {reason}. Name a file in PEM that this server may read"
    )]
    InvalidFile {
        /// Parameter of the address.
        parameter: &'static str,
        /// Path of the file, for people.
        path: String,
        /// Reason of the failure.
        reason: String,
    },
    /// A root certificate is named, and the certificate of the server would not be checked.
    #[error(
        "the address of the journal's PostgreSQL (--journal-url) has `sslrootcert`, and its `sslmode` checks no \
         certificate; give `sslmode=verify-full`"
    )]
    UnusedRoot,
    /// The certificate of PostgreSQL is not accepted.
    #[error(
        "the certificate of the journal's PostgreSQL (--journal-url) is not accepted: {reason}. Name the file of its \
         authority as `sslrootcert`, and the host that it is for"
    )]
    Untrusted {
        /// Reason of the rejection.
        reason: String,
    },
    /// PostgreSQL cannot be reached, or refuses the user.
    #[error(
        "cannot use the journal in PostgreSQL (--journal-url): {reason}. Start the database, correct the address, or \
         start without that option; without a journal, changes cannot be undone"
    )]
    NoConnection {
        /// Reason of the failure.
        reason: String,
    },
    /// The tables cannot be created or read.
    #[error(
        "cannot use the tables of the journal in PostgreSQL (--journal-url): {reason}. Its user needs the right to create \
         tables, or those on the tables that another user has created; docs/changes.md names them"
    )]
    Tables {
        /// Reason of the failure.
        reason: String,
    },
    /// The tables were made by another version.
    #[error(
        "the journal in PostgreSQL (--journal-url) has the format {found}, and this version of portkey-mcp reads format \
         {expected}; its tables are left as they are. Name another database or schema, use the version that made them, \
         or start without that option"
    )]
    OtherTables {
        /// Version of the tables.
        found: i32,
        /// Version that this program reads.
        expected: i32,
    },
    /// The program was built without PostgreSQL.
    #[error(
        "this build keeps no journal in PostgreSQL (--journal-url): use the image, build it with `--features postgres`, or \
         name a file with --journal"
    )]
    NoPostgres,
    /// The thread cannot be started.
    #[error("no thread for the journal: {0}")]
    NoThread(io::Error),
}

/// A reason why an open journal cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk or the limit of a file's size is reached.
    #[error("there is no space for it")]
    Full,
    /// Another process holds the file for too long.
    #[error("another process uses it for too long")]
    Locked,
    /// Too many calls wait for it.
    #[error("too many calls wait for it")]
    Busy,
    /// No answer came in time.
    #[error("it does not answer in time")]
    TimedOut,
    /// The server of the database cannot be reached.
    #[error("its database cannot be reached: {0}")]
    Unreachable(String),
    /// The certificate of the database's server is not accepted.
    #[error("the certificate of its database is not accepted: {0}")]
    Untrusted(String),
    /// An entry cannot be read.
    #[error("an entry of it cannot be read")]
    Unreadable,
    /// The change after which a page begins is not there.
    #[error("there is no such change")]
    NoSuchChange,
    /// Another change undoes the same one, or is about to.
    #[error("it is undone already, or is being undone, by `{0}`")]
    AlreadyUndone(String),
    /// Another failure of the database.
    #[error("{0}")]
    Database(String),
}

/// The entry of a write could not be stored, so that the write was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing was sent: the journal of changes cannot be written ({0}), and nothing is changed without it. Reads \
     still work; tell the operator of the server, who can repair it or start the server without it"
)]
pub struct JournalUnavailable(pub JournalError);

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Database(error.to_string()),
        }
    }
}
