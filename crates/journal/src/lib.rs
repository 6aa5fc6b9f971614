//! The journal: a history of the writes that were sent, each with the state before it.
//!
//! An entry is stored before its write is sent, and completed after it, so that a killed process
//! leaves an entry that says `pending`. A thread of its own does the work of the store: of a SQLite
//! file, or of PostgreSQL for replicas. Knows neither how a call is made nor how one is undone.

mod entry;
mod error;
mod filter;
#[cfg(feature = "postgres")]
mod postgres;
mod request;
mod row;
mod sqlite;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use portkey_bounded_file::display_path;
use secrecy::SecretString;
use serde_json::Value;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};
use tracing::error;

use self::{
    request::{EntryEnd, NewEntry, Reply, Request, serve_file},
    sqlite::SqliteJournal,
};

pub use self::{
    entry::{
        Change, ChangeCaller, ChangeDetail, ChangeHead, ChangeOutcome, ChangeResult,
        MAX_ANSWER_BYTES, MAX_DOCUMENT_BYTES, NewChange, json_bytes, truncate,
    },
    error::{JournalError, JournalStartError, JournalUnavailable},
    filter::{ChangeFilter, ChangePage, ChangeScope, MAX_PAGE_CHANGES},
};

/// Maximum number of calls that wait for the journal's thread.
const MAX_WAITING: usize = 256;

/// Maximum time that a call waits for the journal.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Limits on what the journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age after which an entry is removed.
    pub max_age: Duration,
    /// Size of the file, or of the entries in PostgreSQL, above which the oldest ones are removed, in
    /// bytes.
    pub max_bytes: u64,
}

/// Settings of a journal.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// The store.
    pub place: JournalPlace,
    /// Limits on what is kept.
    pub retention: Retention,
}

/// The store of a journal.
#[derive(Clone, Debug)]
pub enum JournalPlace {
    /// A file of SQLite.
    File {
        /// Path of the file.
        path: PathBuf,
        /// True if the file was chosen by default, so that a machine without a place for it is no
        /// error.
        is_default: bool,
    },
    /// A database of PostgreSQL.
    Postgres {
        /// The address, such as `postgres://user:password@host:5432/database`.
        address: SecretString,
    },
}

/// A handle to the journal; clones share it. Dropping the last one writes what waits.
#[derive(Clone)]
pub struct Journal(Arc<JournalHandle>);

type FailureListener = Box<dyn Fn(&'static str) + Send + Sync>;

struct JournalHandle {
    /// The store, for people.
    place: String,
    requests: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    on_failure: OnceLock<FailureListener>,
}

impl Journal {
    /// Opens or creates the store, and starts its thread.
    ///
    /// # Errors
    /// Returns an error if the store cannot be used, or is none of this version.
    pub async fn open(settings: &JournalSettings) -> Result<Self, JournalStartError> {
        match &settings.place {
            JournalPlace::File { path, .. } => {
                let database = SqliteJournal::open(path, settings.retention)?;
                let place = display_path(path).to_string();
                Self::start(place, move |requests| serve_file(database, requests))
            }
            JournalPlace::Postgres { address } => {
                Self::open_postgres(address, settings.retention).await
            }
        }
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(
        address: &SecretString,
        retention: Retention,
    ) -> Result<Self, JournalStartError> {
        let options = postgres::parse_address(address)?;
        let (reply, opened) = oneshot::channel();
        let journal = Self::start("PostgreSQL".to_owned(), move |requests| {
            postgres::run(options, retention, reply, requests);
        })?;
        let ended = || JournalStartError::NoThread(std::io::ErrorKind::BrokenPipe.into());
        opened.await.unwrap_or_else(|_| Err(ended()))?;
        Ok(journal)
    }

    #[cfg(not(feature = "postgres"))]
    async fn open_postgres(_: &SecretString, _: Retention) -> Result<Self, JournalStartError> {
        Err(JournalStartError::NoPostgres)
    }

    fn start(
        place: String,
        serve: impl FnOnce(mpsc::Receiver<Request>) + Send + 'static,
    ) -> Result<Self, JournalStartError> {
        let (requests, waiting) = mpsc::channel(MAX_WAITING);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || serve(waiting))
            .map_err(JournalStartError::NoThread)?;
        Ok(Self(Arc::new(JournalHandle {
            place,
            requests: Some(requests),
            thread: Mutex::new(Some(thread)),
            on_failure: OnceLock::new(),
        })))
    }

    /// Opens the journal that settings ask for. Without a place for the default file, there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_if_possible(
        settings: &JournalSettings,
    ) -> Result<Option<Self>, JournalStartError> {
        let is_default = matches!(
            &settings.place,
            JournalPlace::File {
                is_default: true,
                ..
            }
        );
        match Self::open(settings).await {
            Err(error @ JournalStartError::Io { .. }) if is_default => {
                tracing::warn!(
                    %error,
                    "there is no history of changes; name a file with --journal, or start with --no-journal"
                );
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Reports failures to a listener: `begin` for an entry before its write, which was not sent
    /// then, and `finish` for the end of one. Only the first listener counts.
    pub fn set_failure_listener(&self, listener: impl Fn(&'static str) + Send + Sync + 'static) {
        _ = self.0.on_failure.set(Box::new(listener));
    }

    /// Stores the entry of a write before it is sent.
    ///
    /// # Errors
    /// Returns an error if the entry cannot be stored, or the change is undone already; the write must
    /// not be sent then.
    pub async fn begin(&self, change: NewChange) -> Result<PendingChange, JournalUnavailable> {
        let begun = self.try_begin(change).await;
        begun.map_err(|error| {
            if !matches!(error, JournalError::AlreadyUndone(_)) {
                self.report_failure("begin", &error);
            }
            JournalUnavailable(error)
        })
    }

    async fn try_begin(&self, change: NewChange) -> Result<PendingChange, JournalError> {
        let mut bytes = [0; 6];
        getrandom::fill(&mut bytes).map_err(|error| JournalError::Database(error.to_string()))?;
        let id = format!("c-{}", hex::encode(bytes));
        let entry = NewEntry {
            id: id.clone(),
            time: SystemTime::now(),
            change,
        };
        self.run(|reply| Request::Begin(Box::new(entry), reply))
            .await?;
        Ok(PendingChange {
            journal: self.clone(),
            id,
            is_finished: false,
        })
    }

    /// Lists changes, the latest first.
    ///
    /// # Errors
    /// Returns an error if the journal cannot be read, or `before` names no change.
    pub async fn list(&self, filter: ChangeFilter) -> Result<ChangePage, JournalError> {
        self.run(|reply| Request::List(Box::new(filter), reply))
            .await
    }

    /// Returns a change with its documents, if it is within the scope.
    ///
    /// # Errors
    /// Returns an error if the journal cannot be read.
    pub async fn get(&self, id: &str, scope: ChangeScope) -> Result<Option<Change>, JournalError> {
        let id = id.to_owned();
        self.run(|reply| Request::Get(id, scope, reply)).await
    }

    async fn run<T>(&self, ask: impl FnOnce(Reply<T>) -> Request) -> Result<T, JournalError> {
        let (reply, done) = oneshot::channel();
        self.submit(ask(reply))?;
        let done = timeout(TIMEOUT, done).await;
        done.map_err(|_| JournalError::TimedOut)?
            .unwrap_or(Err(JournalError::TimedOut))
    }

    fn submit(&self, request: Request) -> Result<(), JournalError> {
        let requests = self.0.requests.as_ref();
        match requests.map(|requests| requests.try_send(request)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(JournalError::Busy),
            Some(Err(TrySendError::Closed(_))) | None => {
                Err(JournalError::Database("its thread has ended".to_owned()))
            }
        }
    }

    fn report_failure(&self, step: &'static str, reason: &JournalError) {
        error!(%reason, step, "the journal of changes cannot be written");
        if let Some(on_failure) = self.0.on_failure.get() {
            on_failure(step);
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.0.place).finish()
    }
}

impl Drop for JournalHandle {
    /// Waits until everything that was submitted is written.
    fn drop(&mut self) {
        self.requests = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The last handle may be dropped by the thread itself, within a request.
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread has been reported.
            _ = thread.join();
        }
    }
}

/// The entry of a write that is being sent. Dropping it unfinished says that the write is in doubt.
#[derive(Debug)]
pub struct PendingChange {
    journal: Journal,
    id: String,
    is_finished: bool,
}

impl PendingChange {
    /// Returns the id of the entry.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Stores the end of the change. A failure is logged and counted, and changes no answer.
    pub async fn finish(
        mut self,
        outcome: ChangeOutcome,
        result: ChangeResult,
        answer: Option<Value>,
    ) {
        self.is_finished = true;
        let end = EntryEnd {
            id: self.id.clone(),
            outcome,
            result,
            answer,
        };
        let stored = self
            .journal
            .run(|reply| Request::Finish(Box::new(end), Some(reply)))
            .await;
        if let Err(error) = stored {
            self.journal.report_failure("finish", &error);
        }
    }
}

impl Drop for PendingChange {
    /// Stores the end of a call whose future was dropped, or that panicked.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let end = EntryEnd {
            id: self.id.clone(),
            outcome: ChangeOutcome::InDoubt,
            result: ChangeResult::default(),
            answer: None,
        };
        if let Err(error) = self.journal.submit(Request::Finish(Box::new(end), None)) {
            self.journal.report_failure("finish", &error);
        }
    }
}
