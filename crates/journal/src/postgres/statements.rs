//! Statements about entries in PostgreSQL.

use sqlx::{Connection, PgConnection, Postgres, QueryBuilder, Row, postgres::PgRow};

use super::LOCK_CLASS;
use crate::{
    entry::{Change, ChangeOutcome},
    error::JournalError,
    filter::ChangeFilter,
    request::NewEntry,
    row::{HeadRow, caller_text, join_values, to_json, to_millis},
};

/// Columns of an entry without its documents, and the latest change that undoes it.
const HEAD_COLUMNS: &str = "c.id, c.time, c.outcome, c.undoes, c.head, c.result, c.upstream, \
     (SELECT u.id FROM portkey_mcp_changes u WHERE u.undoes = c.id \
     AND u.outcome IN ('pending', 'done', 'in_doubt') ORDER BY u.seq DESC LIMIT 1) AS undone_by";

/// Stores an entry; of several undos of a change, one.
pub(super) async fn begin(
    connection: &mut PgConnection,
    entry: &NewEntry,
) -> Result<(), JournalError> {
    let Some(undone) = &entry.change.undoes else {
        return insert(connection, entry).await;
    };
    let undone = to_text(undone);
    let mut transaction = connection.begin().await?;
    // Of several undos of a change at once, at all replicas, one is stored and sent. A statement sees
    // what others committed before it, so that the lock is a statement of its own.
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCK_CLASS)
        .bind(&undone)
        .execute(&mut *transaction)
        .await?;
    if !entry.change.is_forced {
        let by: Option<String> = sqlx::query_scalar(
            "SELECT id FROM portkey_mcp_changes WHERE undoes = $1 \
             AND outcome IN ('pending', 'done', 'in_doubt') ORDER BY seq DESC LIMIT 1",
        )
        .bind(&undone)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(by) = by {
            transaction.rollback().await?;
            return Err(JournalError::AlreadyUndone(by));
        }
    }
    insert(&mut transaction, entry).await?;
    Ok(transaction.commit().await?)
}

async fn insert(connection: &mut PgConnection, entry: &NewEntry) -> Result<(), JournalError> {
    let NewEntry { id, time, change } = entry;
    let caller = to_text(&caller_text(&change.head));
    let targets = to_text(&join_values(change.head.target.values()));
    let head = to_json(&change.head);
    let detail = to_json(&change.detail);
    let bytes = caller.len() + targets.len() + head.len() + detail.len();
    sqlx::query(
        "INSERT INTO portkey_mcp_changes \
         (id, time, owner, caller, operation, targets, outcome, undoes, head, detail, bytes, upstream) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(id)
    .bind(to_millis(*time))
    .bind(to_text(&change.owner))
    .bind(caller)
    .bind(to_text(&change.head.operation))
    .bind(targets)
    .bind(ChangeOutcome::Pending.as_str())
    .bind(change.undoes.as_deref().map(to_text))
    .bind(head)
    .bind(detail)
    .bind(to_count(bytes))
    .bind(&change.upstream)
    .execute(connection)
    .await?;
    Ok(())
}

/// Builds the query of a page, with one change more than fit on it.
pub(super) fn build_list(
    filter: &ChangeFilter,
    owner: Option<&String>,
    before: Option<i64>,
    limit: usize,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT ");
    query
        .push(HEAD_COLUMNS)
        .push(" FROM portkey_mcp_changes c WHERE TRUE");
    if let Some(owner) = owner {
        query.push(" AND c.owner = ").push_bind(owner.clone());
    }
    if let Some(upstreams) = &filter.upstreams {
        query
            .push(" AND (c.upstream IS NULL OR c.upstream = ANY(")
            .push_bind(upstreams.clone())
            .push("))");
    }
    if let Some(operation) = &filter.operation {
        query
            .push(" AND c.operation = ")
            .push_bind(to_text(operation));
    }
    if let Some(target) = &filter.target {
        let whole = format!("\n{}\n", to_text(target));
        query
            .push(" AND strpos(c.targets, ")
            .push_bind(whole)
            .push(") > 0");
    }
    if let Some(caller) = &filter.caller {
        query
            .push(" AND strpos(c.caller, ")
            .push_bind(to_text(caller))
            .push(") > 0");
    }
    if let Some(since) = filter.since {
        query.push(" AND c.time >= ").push_bind(to_millis(since));
    }
    if let Some(until) = filter.until {
        query.push(" AND c.time < ").push_bind(to_millis(until));
    }
    if let Some(outcome) = filter.outcome {
        query.push(" AND c.outcome = ").push_bind(outcome.as_str());
    }
    if let Some(before) = before {
        query.push(" AND c.seq < ").push_bind(before);
    }
    query
        .push(" ORDER BY c.seq DESC LIMIT ")
        .push_bind(limit as i64 + 1);
    query
}

/// Builds the query of a change with its documents.
pub(super) fn build_get(id: &str, owner: Option<&String>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT ");
    query
        .push(HEAD_COLUMNS)
        .push(", c.detail, c.answer FROM portkey_mcp_changes c WHERE c.id = ")
        .push_bind(to_text(id));
    if let Some(owner) = owner {
        query.push(" AND c.owner = ").push_bind(owner.clone());
    }
    query
}

/// Returns a change without its documents.
pub(super) fn read_head(row: &PgRow) -> Result<Change, JournalError> {
    HeadRow {
        id: row.try_get("id")?,
        time: row.try_get("time")?,
        outcome: row.try_get("outcome")?,
        undoes: row.try_get("undoes")?,
        head: row.try_get("head")?,
        result: row.try_get("result")?,
        upstream: row.try_get("upstream")?,
        undone_by: row.try_get("undone_by")?,
    }
    .into_change()
}

/// Returns a text as PostgreSQL can keep it, which is without the character 0. In JSON it is escaped.
pub(super) fn to_text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Returns a number of bytes for a column; documents are far below its maximum.
pub(super) fn to_count(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
