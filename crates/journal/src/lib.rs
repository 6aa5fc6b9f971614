//! The journal: a history of the writes that were sent, each with the state before it.
//!
//! An entry is stored before its write is sent, and completed after it, so that a killed process
//! leaves an entry that says `pending`. A thread of its own does the work of the database. Knows
//! neither how a call is made nor how one is undone.

mod entry;
mod error;
mod filter;
mod sqlite;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};
use tracing::error;

use self::sqlite::SqliteJournal;

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
    /// Size of the file above which the oldest entries are removed, in bytes.
    pub max_bytes: u64,
}

/// Settings of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Path of the file.
    pub file: PathBuf,
    /// Limits on what is kept.
    pub retention: Retention,
    /// True if the file was chosen by default, so that a machine without a place for it is no error.
    pub is_default: bool,
}

/// A handle to the journal; clones share it. Dropping the last one writes what waits.
#[derive(Clone)]
pub struct Journal(Arc<JournalHandle>);

type FailureListener = Box<dyn Fn(&'static str) + Send + Sync>;
type Job = Box<dyn FnOnce(&mut SqliteJournal) + Send>;

struct JournalHandle {
    file: PathBuf,
    jobs: Option<SyncSender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    on_failure: OnceLock<FailureListener>,
}

impl Journal {
    /// Opens or creates the file, and starts the thread.
    ///
    /// # Errors
    /// Returns an error if the file cannot be used, or is none of this version.
    pub fn open(settings: &JournalSettings) -> Result<Self, JournalStartError> {
        let mut database = SqliteJournal::open(&settings.file, settings.retention)?;
        let (jobs, waiting) = sync_channel::<Job>(MAX_WAITING);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || waiting.iter().for_each(|job| job(&mut database)))
            .map_err(JournalStartError::NoThread)?;
        Ok(Self(Arc::new(JournalHandle {
            file: settings.file.clone(),
            jobs: Some(jobs),
            thread: Mutex::new(Some(thread)),
            on_failure: OnceLock::new(),
        })))
    }

    /// Opens the journal that settings ask for. Without a place for the default file, there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_if_possible(settings: &JournalSettings) -> Result<Option<Self>, JournalStartError> {
        match Self::open(settings) {
            Err(error @ JournalStartError::Io { .. }) if settings.is_default => {
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
        let time = SystemTime::now();
        let (reply, stored) = oneshot::channel();
        let begun_id = id.clone();
        self.submit(Box::new(move |database| {
            // Nobody waits any more, so that nothing is sent either.
            if reply.is_closed() {
                return;
            }
            let begun = database.begin(&begun_id, time, &change);
            let is_begun = begun.is_ok();
            if reply.send(begun).is_err() && is_begun {
                // Best effort: what stays says `pending`.
                _ = database.remove(&begun_id);
            }
        }))?;
        let stored = timeout(TIMEOUT, stored).await;
        let stored = stored.map_err(|_| JournalError::TimedOut)?;
        stored.unwrap_or(Err(JournalError::TimedOut))?;
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
        self.run(move |database| database.list(&filter)).await
    }

    /// Returns a change with its documents, if it is within the scope.
    ///
    /// # Errors
    /// Returns an error if the journal cannot be read.
    pub async fn get(&self, id: &str, scope: ChangeScope) -> Result<Option<Change>, JournalError> {
        let id = id.to_owned();
        self.run(move |database| database.get(&id, &scope)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteJournal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, done) = oneshot::channel();
        self.submit(Box::new(move |database| {
            // The call that asked may have ended.
            _ = reply.send(work(database));
        }))?;
        let done = timeout(TIMEOUT, done).await;
        done.map_err(|_| JournalError::TimedOut)?
            .unwrap_or(Err(JournalError::TimedOut))
    }

    fn submit(&self, job: Job) -> Result<(), JournalError> {
        let sent = self.0.jobs.as_ref().map(|jobs| jobs.try_send(job));
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(JournalError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => {
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
        f.debug_tuple("Journal").field(&self.0.file).finish()
    }
}

impl Drop for JournalHandle {
    /// Waits until everything that was submitted is written.
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The last handle may be dropped by the thread itself, within a job.
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
        let id = self.id.clone();
        let stored = self
            .journal
            .run(move |database| database.finish(&id, outcome, &result, answer.as_ref()))
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
        let id = self.id.clone();
        let journal = self.journal.clone();
        let job: Job = Box::new(move |database| {
            let ended =
                database.finish(&id, ChangeOutcome::InDoubt, &ChangeResult::default(), None);
            if let Err(reason) = ended {
                error!(%reason, "the end of a cancelled write is missing in the journal");
            }
        });
        if let Err(error) = journal.submit(job) {
            journal.report_failure("finish", &error);
        }
    }
}
