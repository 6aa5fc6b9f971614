//! Removal of old entries in PostgreSQL, in small steps and at one replica at a time.

use std::time::SystemTime;

use sqlx::{Connection, PgConnection};

use super::LOCK_CLASS;
use crate::{Retention, error::JournalError, row::to_millis};

/// Number of entries between two removals of old ones.
pub(super) const ENTRIES_BETWEEN_REMOVALS: u32 = 64;

/// Maximum number of steps of a removal.
pub(super) const MAX_ROUNDS: u32 = 50;

/// Maximum number of entries that a step removes for one reason.
const MAX_REMOVED: i64 = 500;

/// Second key of the lock under which entries are removed.
const LOCK_KEY: i32 = 1;

/// Removes some entries. Returns true if more of them are too old or too many.
pub(super) async fn remove_some(
    connection: &mut PgConnection,
    retention: Retention,
) -> Result<bool, JournalError> {
    let mut transaction = connection.begin().await?;
    // Two replicas that see the same surplus would remove twice as much.
    let is_alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(LOCK_KEY)
        .fetch_one(&mut *transaction)
        .await?;
    if !is_alone {
        transaction.rollback().await?;
        return Ok(false);
    }
    let mut removed = 0;
    if let Some(oldest) = SystemTime::now().checked_sub(retention.max_age) {
        let done = sqlx::query(
            "DELETE FROM portkey_mcp_changes WHERE seq IN \
             (SELECT seq FROM portkey_mcp_changes WHERE time < $1 ORDER BY time LIMIT $2)",
        )
        .bind(to_millis(oldest))
        .bind(MAX_REMOVED)
        .execute(&mut *transaction)
        .await?;
        removed = removed.max(done.rows_affected());
    }
    let bytes: i64 =
        sqlx::query_scalar("SELECT COALESCE(sum(bytes), 0)::BIGINT FROM portkey_mcp_changes")
            .fetch_one(&mut *transaction)
            .await?;
    let max_bytes = i64::try_from(retention.max_bytes).unwrap_or(i64::MAX);
    if bytes > max_bytes {
        let done = sqlx::query(
            "DELETE FROM portkey_mcp_changes WHERE seq IN (SELECT seq FROM \
             (SELECT seq, sum(bytes) OVER (ORDER BY seq DESC) AS up_to_here FROM portkey_mcp_changes) c \
             WHERE up_to_here > $1 ORDER BY seq LIMIT $2)",
        )
        .bind(max_bytes)
        .bind(MAX_REMOVED)
        .execute(&mut *transaction)
        .await?;
        removed = removed.max(done.rows_affected());
    }
    transaction.commit().await?;
    Ok(removed >= MAX_REMOVED.unsigned_abs())
}
