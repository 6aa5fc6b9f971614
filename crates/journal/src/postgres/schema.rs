//! Tables of the journal in PostgreSQL.

use sqlx::{Connection, PgConnection};

use super::LOCK_CLASS;
use crate::error::{JournalError, JournalStartError};

/// Version of the tables below, in one of them.
const SCHEMA_VERSION: i32 = 2;

/// Version without the upstream of a change.
const VERSION_WITHOUT_UPSTREAM: i32 = 1;

/// Second key of the lock under which tables are created.
const LOCK_KEY: i32 = 0;

/// Encodings of a database that can keep any text.
const ENCODINGS: [&str; 2] = ["UTF8", "SQL_ASCII"];

const SCHEMA: &str = "
CREATE TABLE portkey_mcp_changes (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    time BIGINT NOT NULL,
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
    bytes INTEGER NOT NULL,
    upstream TEXT
);
CREATE INDEX portkey_mcp_changes_by_owner ON portkey_mcp_changes (owner, seq);
CREATE INDEX portkey_mcp_changes_by_time ON portkey_mcp_changes (time);
CREATE INDEX portkey_mcp_changes_by_undone ON portkey_mcp_changes (undoes) WHERE undoes IS NOT NULL;
CREATE TABLE portkey_mcp_journal (version INTEGER NOT NULL);
";

/// Creates the tables where there are none, and checks the version of those that are there.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), JournalStartError> {
    let failure = |error: sqlx::Error| JournalStartError::Tables {
        reason: JournalError::from(error).to_string(),
    };
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
    if !ENCODINGS.contains(&encoding.as_str()) {
        let reason = format!("the encoding of the database is {encoding}; create one with UTF8");
        return Err(JournalStartError::Tables { reason });
    }
    let is_current = exists(connection).await.map_err(failure)?
        && read_version(connection).await.map_err(failure)? != VERSION_WITHOUT_UPSTREAM;
    if !is_current {
        create_or_update(connection).await.map_err(failure)?;
    }
    let found = read_version(connection).await.map_err(failure)?;
    if found != SCHEMA_VERSION {
        return Err(JournalStartError::OtherTables {
            found,
            expected: SCHEMA_VERSION,
        });
    }
    Ok(())
}

async fn exists(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('portkey_mcp_journal') IS NOT NULL")
        .fetch_one(connection)
        .await
}

async fn read_version(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let found: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM portkey_mcp_journal")
        .fetch_one(connection)
        .await?;
    Ok(found.unwrap_or_default())
}

/// Creates the tables, or adds what those of an older version lack, unless another replica has done
/// that meanwhile.
async fn create_or_update(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Of the session, which ends next: only a transaction that begins after the wait is sure to see what
    // another replica created.
    sqlx::query("SELECT pg_advisory_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(LOCK_KEY)
        .execute(&mut *connection)
        .await?;
    let mut transaction = connection.begin().await?;
    if !exists(&mut transaction).await? {
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO portkey_mcp_journal (version) VALUES ($1)")
            .bind(SCHEMA_VERSION)
            .execute(&mut *transaction)
            .await?;
    } else if read_version(&mut transaction).await? == VERSION_WITHOUT_UPSTREAM {
        // Older replicas that are running go on: they leave the column empty.
        sqlx::raw_sql("ALTER TABLE portkey_mcp_changes ADD COLUMN upstream TEXT")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE portkey_mcp_journal SET version = $1")
            .bind(SCHEMA_VERSION)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
