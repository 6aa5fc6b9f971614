//! The journal in PostgreSQL, which the replicas of a server share.
//!
//! A thread of its own runs the connections, so that what was submitted is written before the last
//! handle is gone. A connection that does not answer in time is closed, and never used again.

mod address;
mod failure;
mod retention;
mod schema;
mod statements;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use self::{
    retention::ENTRIES_BETWEEN_REMOVALS,
    statements::{begin, build_get, build_list, read_head, to_count, to_text},
};
use crate::{
    Retention,
    entry::Change,
    error::{JournalError, JournalStartError},
    filter::{ChangeFilter, ChangePage, ChangeScope, MAX_PAGE_CHANGES},
    request::{EntryEnd, NewEntry, Request, send_or_log},
    row::{from_json, join_values, to_json},
};

pub(crate) use self::address::parse_address;

/// Maximum number of connections, and of requests that are served at the same time.
const MAX_CONNECTIONS: u32 = 4;

/// Maximum time to connect at the start.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time that the statements of a request take. The server ends a statement earlier.
const WORK_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time to close the connections at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// First key of this program's advisory locks: the mark that files of the journal have, too.
const LOCK_CLASS: i32 = 0x506b_436a;

/// Settings of each connection. The end of the statement comes from the server, so that none runs on
/// after its caller gave up. A server that acknowledges before it stores would lose entries of writes.
const SESSION_SETTINGS: &str = "SELECT set_config('statement_timeout', '4000', false), \
     set_config('lock_timeout', '2000', false), \
     set_config('idle_in_transaction_session_timeout', '10000', false), \
     set_config('default_transaction_isolation', 'read committed', false), \
     CASE WHEN current_setting('synchronous_commit') = 'off' \
     THEN set_config('synchronous_commit', 'on', false) END";

/// Opens the journal, and does its work until nobody can ask for more.
pub(crate) fn run(
    options: PgConnectOptions,
    retention: Retention,
    reply: oneshot::Sender<Result<(), JournalStartError>>,
    requests: mpsc::Receiver<Request>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            _ = reply.send(Err(JournalStartError::NoThread(error)));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async move {
        match PostgresJournal::open(options, retention).await {
            Ok(journal) => {
                if reply.send(Ok(())).is_ok() {
                    journal.serve(requests).await;
                }
            }
            Err(error) => _ = reply.send(Err(error)),
        }
    });
}

/// An open journal.
#[derive(Debug)]
struct PostgresJournal {
    pool: PgPool,
    retention: Retention,
    /// Number of entries until old ones are removed again.
    entries_until_removal: AtomicU32,
}

impl PostgresJournal {
    /// Connects, and creates the tables if there are none.
    async fn open(
        options: PgConnectOptions,
        retention: Retention,
    ) -> Result<Self, JournalStartError> {
        let options = options
            .application_name("portkey-mcp")
            .disable_statement_logging();
        let prepared = timeout(START_TIMEOUT, prepare(&options)).await;
        prepared.map_err(|_| {
            let reason = format!("no answer within {} s", START_TIMEOUT.as_secs());
            JournalStartError::NoConnection { reason }
        })??;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| Box::pin(set_up(connection)))
            .connect_lazy_with(options);
        let journal = Self {
            pool,
            retention,
            entries_until_removal: AtomicU32::new(0),
        };
        // Old entries are no reason not to start.
        let removed = timeout(START_TIMEOUT, journal.remove_old()).await;
        if let Err(error) = removed.unwrap_or(Err(JournalError::TimedOut)) {
            tracing::warn!(%error, "old entries of the journal cannot be removed");
        }
        Ok(journal)
    }

    /// Does the work, several pieces at the same time, until nobody can ask for more.
    async fn serve(self, mut requests: mpsc::Receiver<Request>) {
        let journal = Arc::new(self);
        let mut jobs = JoinSet::new();
        while let Some(request) = requests.recv().await {
            // Each job is bounded by the timeouts of its statements.
            while jobs.len() >= MAX_CONNECTIONS as usize {
                jobs.join_next().await;
            }
            jobs.spawn_local(Arc::clone(&journal).handle(request));
        }
        while jobs.join_next().await.is_some() {}
        _ = timeout(CLOSE_TIMEOUT, journal.pool.close()).await;
    }

    async fn handle(self: Arc<Self>, request: Request) {
        match request {
            // Nobody waits any more, so that nothing is sent either.
            Request::Begin(_, reply) if reply.is_closed() => {}
            Request::Begin(entry, reply) => {
                let begun = self.begin(&entry).await;
                // After a lost answer the entry may be there, and would be in the way of an undo.
                let is_unclear = begun.as_ref().is_err_and(JournalError::is_of_connection);
                let is_begun = begun.is_ok();
                let is_told = reply.send(begun).is_ok();
                if is_unclear || (is_begun && !is_told) {
                    // Best effort: what stays says `pending`.
                    _ = self.remove(&entry.id).await;
                }
            }
            Request::Finish(end, reply) => {
                send_or_log(reply, self.finish(&end).await);
                if self.entries_until_removal.load(Ordering::Relaxed) == 0
                    && let Err(error) = self.remove_old().await
                {
                    tracing::warn!(%error, "old entries of the journal cannot be removed");
                }
            }
            Request::List(filter, reply) => _ = reply.send(self.list(&filter).await),
            Request::Get(id, scope, reply) => _ = reply.send(self.get(&id, &scope).await),
        }
    }

    /// Stores an entry, and waits until the server has it on its disk.
    async fn begin(&self, entry: &NewEntry) -> Result<(), JournalError> {
        self.run(async |connection| begin(connection, entry).await)
            .await?;
        let count = &self.entries_until_removal;
        _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        Ok(())
    }

    /// Removes an entry whose write was not sent.
    async fn remove(&self, id: &str) -> Result<(), JournalError> {
        self.run(async |connection| {
            sqlx::query("DELETE FROM portkey_mcp_changes WHERE id = $1")
                .bind(id)
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// Stores the end of a change.
    async fn finish(&self, end: &EntryEnd) -> Result<(), JournalError> {
        let result = to_json(&end.result);
        let answer = end.answer.as_ref().map(to_json);
        let created = to_text(&join_values(end.result.created.values()));
        let bytes = result.len() + answer.as_ref().map_or(0, String::len) + created.len();
        self.run(async |connection| {
            sqlx::query(
                "UPDATE portkey_mcp_changes SET outcome = $2, result = $3, answer = $4, \
                 targets = targets || $5, bytes = bytes + $6 WHERE id = $1",
            )
            .bind(&end.id)
            .bind(end.outcome.as_str())
            .bind(&result)
            .bind(&answer)
            .bind(&created)
            .bind(to_count(bytes))
            .execute(connection)
            .await?;
            Ok(())
        })
        .await
    }

    /// Returns a page of changes.
    async fn list(&self, filter: &ChangeFilter) -> Result<ChangePage, JournalError> {
        match &filter.scope {
            ChangeScope::Nobody => Ok(ChangePage::default()),
            ChangeScope::Owner(owner) => self.list_of(filter, Some(owner)).await,
            ChangeScope::Everybody => self.list_of(filter, None).await,
        }
    }

    async fn list_of(
        &self,
        filter: &ChangeFilter,
        owner: Option<&String>,
    ) -> Result<ChangePage, JournalError> {
        let limit = filter.limit.clamp(1, MAX_PAGE_CHANGES);
        let rows = self
            .run(async |connection| {
                let before = match &filter.before {
                    None => None,
                    Some(id) => {
                        let seq: Option<i64> =
                            sqlx::query_scalar("SELECT seq FROM portkey_mcp_changes WHERE id = $1")
                                .bind(to_text(id))
                                .fetch_optional(&mut *connection)
                                .await?;
                        Some(seq.ok_or(JournalError::NoSuchChange)?)
                    }
                };
                let mut query = build_list(filter, owner, before, limit);
                Ok(query.build().fetch_all(connection).await?)
            })
            .await?;
        let changes: Result<Vec<_>, _> = rows.iter().map(read_head).collect();
        let mut changes = changes?;
        let has_more = changes.len() > limit;
        changes.truncate(limit);
        Ok(ChangePage { changes, has_more })
    }

    /// Returns a change with its documents.
    async fn get(&self, id: &str, scope: &ChangeScope) -> Result<Option<Change>, JournalError> {
        let owner = match scope {
            ChangeScope::Nobody => return Ok(None),
            ChangeScope::Owner(owner) => Some(owner),
            ChangeScope::Everybody => None,
        };
        let mut query = build_get(id, owner);
        let row = self
            .run(async |connection| Ok(query.build().fetch_optional(connection).await?))
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let detail: String = row.try_get("detail")?;
        let answer: Option<String> = row.try_get("answer")?;
        Ok(Some(Change {
            detail: Some(from_json(&detail)?),
            answer: answer.as_deref().map(from_json).transpose()?,
            ..read_head(&row)?
        }))
    }

    /// Removes entries that are too old, and the oldest ones of a journal that is too large.
    async fn remove_old(&self) -> Result<(), JournalError> {
        self.entries_until_removal
            .store(ENTRIES_BETWEEN_REMOVALS, Ordering::Relaxed);
        for _ in 0..retention::MAX_ROUNDS {
            let has_more = self
                .run(async |connection| retention::remove_some(connection, self.retention).await)
                .await?;
            if !has_more {
                break;
            }
        }
        Ok(())
    }

    /// Runs statements on a connection. One that fails or takes too long is closed: a statement may
    /// be under way on it.
    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut connection = self.pool.acquire().await?;
        let done = timeout(WORK_TIMEOUT, work(&mut connection)).await;
        let done = done.unwrap_or(Err(JournalError::TimedOut));
        if done.as_ref().is_err_and(JournalError::is_of_connection) {
            drop(connection.detach());
        }
        done
    }
}

/// Connects once, for an error that says more than that of a pool, and prepares the tables.
async fn prepare(options: &PgConnectOptions) -> Result<(), JournalStartError> {
    let no_connection = |error: sqlx::Error| match JournalError::from(error) {
        JournalError::Untrusted(reason) => JournalStartError::Untrusted { reason },
        error => JournalStartError::NoConnection {
            reason: error.to_string(),
        },
    };
    let mut connection = options.connect().await.map_err(no_connection)?;
    set_up(&mut connection).await.map_err(no_connection)?;
    schema::prepare(&mut connection).await?;
    // The server notices the end by itself.
    _ = connection.close().await;
    Ok(())
}

async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(SESSION_SETTINGS).execute(connection).await?;
    Ok(())
}
