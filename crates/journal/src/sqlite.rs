//! The journal in a file of SQLite, which several processes share.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use portkey_bounded_file::open_without_links;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, ToSql, TransactionBehavior, params,
};

use super::{
    Retention,
    entry::{Change, ChangeOutcome},
    error::{JournalError, JournalStartError},
    filter::{ChangeFilter, ChangePage, ChangeScope, MAX_PAGE_CHANGES},
    request::{EntryEnd, NewEntry},
    row::{HeadRow, caller_text, from_json, join_values, to_json, to_millis},
};

/// Version of the schema below, in the header of the file.
const SCHEMA_VERSION: i64 = 2;

/// Version without the upstream of a change.
const VERSION_WITHOUT_UPSTREAM: i64 = 1;

/// Mark of this program's files in their header: `PkCj`.
const APPLICATION_ID: i64 = 0x506b_436a;

/// Maximum time that a statement waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Number of entries between two removals of old ones.
const ENTRIES_BETWEEN_REMOVALS: u32 = 64;

/// Divisor of the number of entries: the part that is removed at once from a file that is too large.
const REMOVED_PART: i64 = 20;

const SCHEMA: &str = "
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    owner TEXT NOT NULL,
    caller TEXT NOT NULL,
    operation TEXT NOT NULL,
    targets TEXT NOT NULL,
    outcome TEXT NOT NULL,
    undoes TEXT,
    head TEXT NOT NULL,
    detail TEXT NOT NULL,
    result TEXT,
    answer TEXT,
    upstream TEXT
) STRICT;
CREATE INDEX changes_by_owner ON changes (owner, seq);
CREATE INDEX changes_by_time ON changes (time);
CREATE INDEX changes_by_undone ON changes (undoes) WHERE undoes IS NOT NULL;
";

/// Columns of an entry without its documents, and the latest change that undoes it.
const HEAD_COLUMNS: &str = "c.id, c.time, c.outcome, c.undoes, c.head, c.result, c.upstream, \
    (SELECT u.id FROM changes u WHERE u.undoes = c.id AND u.outcome IN ('pending', 'done', 'in_doubt') \
     ORDER BY u.seq DESC LIMIT 1)";

/// An open file.
#[derive(Debug)]
pub(super) struct SqliteJournal {
    connection: Connection,
    retention: Retention,
    /// Number of entries until old ones are removed again.
    entries_until_removal: u32,
}

impl SqliteJournal {
    /// Opens a file, or creates it and its folder. Only their owner can read them.
    pub(super) fn open(path: &Path, retention: Retention) -> Result<Self, JournalStartError> {
        let error = |source| JournalStartError::Io {
            path: path.to_owned(),
            source,
        };
        create_private_folder(path).map_err(error)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Created here, because SQLite would create it for everybody to read.
        let file = open_without_links(path, options).map_err(error)?;
        if !file.metadata().map_err(error)?.is_file() {
            return Err(JournalStartError::NoJournal(path.to_owned()));
        }
        drop(file);
        let failure = |source| to_start_error(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failure)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
        prepare_schema(path, &mut connection)?;
        let mut journal = Self {
            connection,
            retention,
            entries_until_removal: 0,
        };
        // Old entries are no reason not to start.
        if let Err(error) = journal.remove_old() {
            tracing::warn!(%error, "old entries of the journal cannot be removed");
        }
        Ok(journal)
    }

    /// Stores an entry, and waits until it is on the disk.
    pub(super) fn begin(&mut self, entry: &NewEntry) -> Result<(), JournalError> {
        let NewEntry { id, time, change } = entry;
        // The write is sent next: after a power failure, its entry must still be there.
        self.set_synchronous("FULL")?;
        let head = &change.head;
        let caller = caller_text(head);
        let targets = join_values(head.target.values());
        // One statement, so that of several undos of a change at once only one is stored and sent.
        let stored = self.connection.execute(
            "INSERT INTO changes \
             (id, time, owner, caller, operation, targets, outcome, undoes, head, detail, upstream) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?12 WHERE ?11 OR ?8 IS NULL OR NOT EXISTS \
             (SELECT 1 FROM changes WHERE undoes = ?8 AND outcome IN ('pending', 'done', 'in_doubt'))",
            params![
                id,
                to_millis(*time),
                change.owner,
                caller,
                head.operation,
                targets,
                ChangeOutcome::Pending.as_str(),
                change.undoes,
                to_json(head),
                to_json(&change.detail),
                change.is_forced,
                change.upstream,
            ],
        )?;
        if stored == 0 {
            let by = self
                .connection
                .query_row(
                    "SELECT id FROM changes WHERE undoes = ?1 AND outcome IN ('pending', 'done', 'in_doubt') \
                     ORDER BY seq DESC LIMIT 1",
                    params![change.undoes],
                    |row| row.get(0),
                )
                .optional()?;
            let by: Option<String> = by;
            return Err(JournalError::AlreadyUndone(
                by.unwrap_or_else(|| "another change".to_owned()),
            ));
        }
        self.entries_until_removal = self.entries_until_removal.saturating_sub(1);
        Ok(())
    }

    /// Removes an entry whose write was not sent.
    pub(super) fn remove(&mut self, id: &str) -> Result<(), JournalError> {
        self.connection
            .execute("DELETE FROM changes WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Stores the end of a change. A power failure may lose it, a killed process does not.
    pub(super) fn finish(&mut self, end: &EntryEnd) -> Result<(), JournalError> {
        let EntryEnd {
            id,
            outcome,
            result,
            answer,
        } = end;
        self.set_synchronous("NORMAL")?;
        let created = join_values(result.created.values());
        self.connection.execute(
            "UPDATE changes SET outcome = ?2, result = ?3, answer = ?4, targets = targets || ?5 WHERE id = ?1",
            params![id, outcome.as_str(), to_json(result), answer.as_ref().map(to_json), created],
        )?;
        if self.entries_until_removal == 0 {
            self.remove_old()?;
        }
        Ok(())
    }

    /// Returns a page of changes.
    pub(super) fn list(&mut self, filter: &ChangeFilter) -> Result<ChangePage, JournalError> {
        let mut conditions = Vec::new();
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut add = |condition: &'static str, value: Box<dyn ToSql>| {
            conditions.push(condition);
            values.push(value);
        };
        match &filter.scope {
            ChangeScope::Nobody => return Ok(ChangePage::default()),
            ChangeScope::Owner(owner) => add("c.owner = ?", Box::new(owner.clone())),
            ChangeScope::Everybody => {}
        }
        if let Some(upstreams) = &filter.upstreams {
            add(
                "(c.upstream IS NULL OR c.upstream IN (SELECT value FROM json_each(?)))",
                Box::new(to_json(upstreams)),
            );
        }
        if let Some(operation) = &filter.operation {
            add("c.operation = ?", Box::new(operation.clone()));
        }
        if let Some(target) = &filter.target {
            add(
                "instr(c.targets, char(10) || ? || char(10)) > 0",
                Box::new(target.clone()),
            );
        }
        if let Some(caller) = &filter.caller {
            add("instr(c.caller, ?) > 0", Box::new(caller.clone()));
        }
        if let Some(since) = filter.since {
            add("c.time >= ?", Box::new(to_millis(since)));
        }
        if let Some(until) = filter.until {
            add("c.time < ?", Box::new(to_millis(until)));
        }
        if let Some(outcome) = filter.outcome {
            add("c.outcome = ?", Box::new(outcome.as_str()));
        }
        if let Some(before) = &filter.before {
            let seq: Option<i64> = self
                .connection
                .query_row("SELECT seq FROM changes WHERE id = ?1", [before], |row| {
                    row.get(0)
                })
                .optional()?;
            let seq = seq.ok_or(JournalError::NoSuchChange)?;
            add("c.seq < ?", Box::new(seq));
        }
        let limit = filter.limit.clamp(1, MAX_PAGE_CHANGES);
        values.push(Box::new(limit as i64 + 1));
        let conditions = match conditions.is_empty() {
            true => "TRUE".to_owned(),
            false => conditions.join(" AND "),
        };
        let query = format!(
            "SELECT {HEAD_COLUMNS} FROM changes c WHERE {conditions} ORDER BY c.seq DESC LIMIT ?"
        );
        let mut statement = self.connection.prepare(&query)?;
        let values = rusqlite::params_from_iter(values.iter());
        let rows = statement.query_map(values, |row| Ok(read_head(row)))?;
        let mut changes = Vec::new();
        for row in rows {
            changes.push(row??);
        }
        let has_more = changes.len() > limit;
        changes.truncate(limit);
        Ok(ChangePage { changes, has_more })
    }

    /// Returns a change with its documents.
    pub(super) fn get(
        &mut self,
        id: &str,
        scope: &ChangeScope,
    ) -> Result<Option<Change>, JournalError> {
        let owner = match scope {
            ChangeScope::Nobody => return Ok(None),
            ChangeScope::Owner(owner) => Some(owner),
            ChangeScope::Everybody => None,
        };
        let query = format!(
            "SELECT {HEAD_COLUMNS}, c.detail, c.answer FROM changes c \
             WHERE c.id = ?1 AND (?2 IS NULL OR c.owner = ?2)"
        );
        let found = self
            .connection
            .query_row(&query, params![id, owner], |row| {
                let documents = (row.get::<_, String>(8)?, row.get::<_, Option<String>>(9)?);
                Ok((read_head(row), documents))
            })
            .optional()?;
        let Some((change, (detail, answer))) = found else {
            return Ok(None);
        };
        Ok(Some(Change {
            detail: Some(from_json(&detail)?),
            answer: answer.as_deref().map(from_json).transpose()?,
            ..change?
        }))
    }

    /// Removes entries that are too old, and the oldest ones of a file that is too large.
    fn remove_old(&mut self) -> Result<(), JournalError> {
        self.entries_until_removal = ENTRIES_BETWEEN_REMOVALS;
        let Retention { max_age, max_bytes } = self.retention;
        if let Some(oldest) = SystemTime::now().checked_sub(max_age) {
            self.connection
                .execute("DELETE FROM changes WHERE time < ?1", [to_millis(oldest)])?;
        }
        while self.used_bytes()? > max_bytes {
            let removed = self.connection.execute(
                "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes ORDER BY seq LIMIT \
                 max(1, (SELECT count(*) FROM changes) / ?1))",
                [REMOVED_PART],
            )?;
            if removed == 0 {
                break;
            }
        }
        // Gives the space of what was removed back: a page with each step.
        let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    }

    /// Returns the size of the pages that hold something, in bytes.
    fn used_bytes(&self) -> Result<u64, JournalError> {
        let pragma = |name: &str| -> Result<u64, rusqlite::Error> {
            let value: i64 = self
                .connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
            Ok(value.unsigned_abs())
        };
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        Ok(pages.saturating_mul(pragma("page_size")?))
    }

    fn set_synchronous(&self, mode: &'static str) -> Result<(), JournalError> {
        self.connection
            .execute_batch(&format!("PRAGMA synchronous = {mode}"))?;
        Ok(())
    }
}

/// Creates the folder of a file, for its owner alone, if it does not exist.
fn create_private_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Creates the schema in an empty file, and checks that of another one.
fn prepare_schema(path: &Path, connection: &mut Connection) -> Result<(), JournalStartError> {
    let failure = |source| to_start_error(path, source);
    let pragma = |connection: &Connection, name: &str| -> rusqlite::Result<i64> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
    };
    let is_empty = |connection: &Connection| -> rusqlite::Result<bool> {
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(tables == 0)
    };
    if is_empty(connection).map_err(failure)? {
        // Both apply only before the first table, and outside of a transaction.
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
            .map_err(failure)?;
    }
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .map_err(failure)?;
    // Of several processes that find the file empty or old, one creates or changes the schema.
    let prepared = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failure)?;
    if is_empty(&prepared).map_err(failure)? {
        prepared.execute_batch(SCHEMA).map_err(failure)?;
        let header = format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
        );
        prepared.execute_batch(&header).map_err(failure)?;
    } else if pragma(&prepared, "application_id").map_err(failure)? == APPLICATION_ID
        && pragma(&prepared, "user_version").map_err(failure)? == VERSION_WITHOUT_UPSTREAM
    {
        // An older process that has the file open goes on: it leaves the column empty.
        let change = format!(
            "ALTER TABLE changes ADD COLUMN upstream TEXT; PRAGMA user_version = {SCHEMA_VERSION}"
        );
        prepared.execute_batch(&change).map_err(failure)?;
    }
    prepared.commit().map_err(failure)?;
    if pragma(connection, "application_id").map_err(failure)? != APPLICATION_ID {
        return Err(JournalStartError::NoJournal(path.to_owned()));
    }
    let found = pragma(connection, "user_version").map_err(failure)?;
    if found != SCHEMA_VERSION {
        return Err(JournalStartError::OtherVersion {
            path: path.to_owned(),
            found,
            expected: SCHEMA_VERSION,
        });
    }
    Ok(())
}

fn to_start_error(path: &Path, source: rusqlite::Error) -> JournalStartError {
    let path: PathBuf = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            JournalStartError::NoJournal(path)
        }
        _ => JournalStartError::Database {
            path,
            reason: JournalError::from(source).to_string(),
        },
    }
}

fn read_head(row: &Row<'_>) -> Result<Change, JournalError> {
    HeadRow {
        id: row.get(0)?,
        time: row.get(1)?,
        outcome: row.get(2)?,
        undoes: row.get(3)?,
        head: row.get(4)?,
        result: row.get(5)?,
        upstream: row.get(6)?,
        undone_by: row.get(7)?,
    }
    .into_change()
}
