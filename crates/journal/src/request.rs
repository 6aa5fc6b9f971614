//! Work that a journal hands to the thread of its store.

use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::{
    entry::{Change, ChangeOutcome, ChangeResult, NewChange},
    error::JournalError,
    filter::{ChangeFilter, ChangePage, ChangeScope},
    sqlite::SqliteJournal,
};

/// The way on which a result comes back. The call that asked may have ended.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// An entry to store before its write is sent.
pub(crate) struct NewEntry {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) change: NewChange,
}

/// The end of a change.
pub(crate) struct EntryEnd {
    pub(crate) id: String,
    pub(crate) outcome: ChangeOutcome,
    pub(crate) result: ChangeResult,
    pub(crate) answer: Option<Value>,
}

/// One piece of work.
pub(crate) enum Request {
    /// Stores an entry before its write.
    Begin(Box<NewEntry>, Reply<()>),
    /// Stores the end of a change. Without a reply, a failure is logged.
    Finish(Box<EntryEnd>, Option<Reply<()>>),
    /// Lists changes.
    List(Box<ChangeFilter>, Reply<ChangePage>),
    /// Returns a change with its documents.
    Get(String, ChangeScope, Reply<Option<Change>>),
}

/// Does the work for a file, one piece after the other, until nobody can ask for more.
pub(crate) fn serve_file(mut database: SqliteJournal, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.blocking_recv() {
        match request {
            // Nobody waits any more, so that nothing is sent either.
            Request::Begin(_, reply) if reply.is_closed() => {}
            Request::Begin(entry, reply) => {
                let begun = database.begin(&entry);
                let is_begun = begun.is_ok();
                if reply.send(begun).is_err() && is_begun {
                    // Best effort: what stays says `pending`.
                    _ = database.remove(&entry.id);
                }
            }
            Request::Finish(end, reply) => send_or_log(reply, database.finish(&end)),
            Request::List(filter, reply) => _ = reply.send(database.list(&filter)),
            Request::Get(id, scope, reply) => _ = reply.send(database.get(&id, &scope)),
        }
    }
}

/// Replies to a request for the end of a change, or logs that it is missing.
pub(crate) fn send_or_log(reply: Option<Reply<()>>, ended: Result<(), JournalError>) {
    match (reply, ended) {
        (Some(reply), ended) => _ = reply.send(ended),
        (None, Err(reason)) => {
            tracing::error!(%reason, "the end of a cancelled write is missing in the journal");
        }
        (None, Ok(())) => {}
    }
}
