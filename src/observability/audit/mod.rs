//! The audit log: one entry per call, chained by hashes, so that missing or changed entries are
//! detected.
//!
//! `docs/audit.md` describes the format and its limits.
//!
//! A thread of its own writes the log. A call submits its entry and continues. Only a write waits
//! until its intent is on disk, so it is recorded even if the process is killed before the
//! response.

mod bounded_lines;
mod chain;
mod file;
mod intents;
mod pending_entry;
mod sink;
mod trail;
mod verify;
mod writer;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use portkey_bounded_file::display_path;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::{sink::Sink, writer::Writer};
pub use chain::{AuditKey, AuditKeyError};
pub use pending_entry::PendingEntry;
pub(crate) use pending_entry::session_label;
pub use trail::{AuditTrail, TrailReport};
pub use verify::{Damage, Finding, Report, Verifier};

/// Maximum time that a write waits for its intent, and that the process waits for the last entries
/// when it exits.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of the entries that wait to be written, in bytes.
pub(crate) const MAX_WAITING_BYTES: usize = 16 << 20;

/// Maximum size of an entry, in bytes. The server itself writes no larger ones.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The destination of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard error; every start begins a new chain.
    Stderr,
    /// A file, which is continued after its last entry. If the path is a pipe or a device, every
    /// start begins a new chain.
    File(PathBuf),
}

/// The points at which the log is synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Intents before a write is sent, and entries as they are written.
    Always,
    /// Intents before a write is sent, and entries once a second.
    Interval,
    /// Left to the operating system. A killed process loses nothing; a power failure may lose
    /// entries.
    Never,
}

/// Settings of the audit log.
#[derive(Debug)]
pub struct AuditSettings {
    /// Destination of the log.
    pub target: AuditTarget,
    /// Key of the chain. Without a key, anyone can compute a valid chain.
    pub key: Option<AuditKey>,
    /// Points at which the log is synced to disk.
    pub sync: SyncPolicy,
    /// True if writes are sent even when their intent could not be recorded.
    pub allow_unrecorded_writes: bool,
    /// Size at which a file is rotated, in bytes; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Number of full files that are kept; `None` keeps all.
    pub max_full_files: Option<usize>,
}

/// A reason why the audit log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum AuditStartError {
    /// A file cannot be opened, read or written.
    #[error("cannot use the audit log {}: {source}", display_path(path))]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// Another process writes to the file.
    #[error(
        "the audit log {} is in use by another process; each process and each replica needs a file of its own",
        display_path(.0)
    )]
    InUse(PathBuf),
    /// The last entry was changed, or was written with another key.
    #[error(
        "the last line of the audit log {} was changed or was written with another key (or without one). \
         Look with `portkey-mcp audit verify`, then move the file away to begin a new chain",
        display_path(.0)
    )]
    InvalidLastLine(PathBuf),
    /// The system provides no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The writer's thread cannot be started.
    #[error("no thread for the audit log: {0}")]
    NoThread(io::Error),
}

/// The intent of a write could not be recorded, so the write was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing was sent: the audit log of this server cannot be written, and nothing is changed without it. \
     Reads still work; tell the operator of the server, whose log has the cause"
)]
pub struct AuditUnavailable;

/// A handle to the audit log; clones share it. Dropping the last one writes the submitted entries.
#[derive(Clone)]
pub struct AuditLog(Arc<AuditHandle>);

struct AuditHandle {
    sender: Option<Sender<WriterMessage>>,
    /// Closed once the last entry is written.
    done: Mutex<Receiver<()>>,
    queue: Arc<QueueState>,
    digests: hmac::Key,
    allow_unrecorded_writes: bool,
}

/// State that both ends of the queue share.
#[derive(Debug, Default)]
struct QueueState {
    /// Size of the entries waiting to be written, in bytes.
    waiting_bytes: AtomicUsize,
    /// Number of entries that were dropped and not reported yet.
    lost_lines: AtomicU64,
    /// True if the last attempt to write failed.
    is_failing: AtomicBool,
}

/// A message to the writer.
enum WriterMessage {
    /// The entry of a finished call.
    Entry(AuditEntry),
    /// The intent of a write that is about to be sent, and the channel for the reply.
    Intent(AuditEntry, oneshot::Sender<Result<(), AuditUnavailable>>),
}

/// An event of the log itself.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEvent {
    /// A stream began.
    Begin,
    /// The file ended in a partial line.
    Torn,
    /// Entries of calls were dropped.
    Gap,
}

impl LogEvent {
    /// All events.
    pub const ALL: [Self; 3] = [Self::Begin, Self::Torn, Self::Gap];
}

/// An entry before it is chained: a JSON object, and the number of its call.
struct AuditEntry {
    call: u64,
    body: Vec<u8>,
}

impl AuditLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// Returns an error if the log cannot be opened or continued.
    pub fn start(settings: AuditSettings) -> Result<Self, AuditStartError> {
        let digests = match &settings.key {
            Some(key) => key.derive_digest_key(),
            None => chain::random_key()?,
        };
        let writes_go_unrecorded = settings.allow_unrecorded_writes;
        let queue = Arc::<QueueState>::default();
        let (sink, link, recovered) = Sink::open(&settings)?;
        let (sender, receiver) = mpsc::channel();
        let (ends, done) = mpsc::channel::<()>();
        let mut writer = Writer::new(sink, link, recovered, &settings, queue.clone());
        let run = move || {
            writer.run(&receiver);
            // After this the log can be opened again.
            drop(writer);
            drop(ends);
        };
        let thread = thread::Builder::new().name("audit".to_owned());
        thread.spawn(run).map_err(AuditStartError::NoThread)?;
        let done = Mutex::new(done);
        Ok(Self(Arc::new(AuditHandle {
            sender: Some(sender),
            done,
            queue,
            digests,
            allow_unrecorded_writes: writes_go_unrecorded,
        })))
    }

    /// Returns a function that reports whether the last attempt to write failed.
    pub fn failure_probe(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let queue = self.0.queue.clone();
        move || queue.is_failing.load(Ordering::Relaxed)
    }

    /// Submits an entry. If the queue is full, only an entry with a recorded intent is accepted.
    fn submit(&self, entry: AuditEntry, intended: bool) {
        let queue = &self.0.queue;
        let bytes = entry.body.len();
        let waiting = queue.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting > MAX_WAITING_BYTES && !intended
            || self.send(WriterMessage::Entry(entry)).is_err()
        {
            queue.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            queue.lost_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Submits the intent of a write, and waits until it is recorded.
    async fn submit_intent(&self, entry: AuditEntry) -> Result<(), AuditUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(WriterMessage::Intent(entry, reply))?;
        match tokio::time::timeout(WRITE_TIMEOUT, answer).await {
            Ok(Ok(recorded)) => recorded,
            // The writer has ended, or the disk does not respond.
            Ok(Err(_)) | Err(_) => Err(AuditUnavailable),
        }
    }

    fn send(&self, message: WriterMessage) -> Result<(), AuditUnavailable> {
        let sender = self.0.sender.as_ref().ok_or(AuditUnavailable)?;
        sender.send(message).map_err(|_| AuditUnavailable)
    }

    /// Returns a keyed digest. It shows which texts are equal, and reveals nothing else without the
    /// key.
    fn digest(&self, text: &[u8]) -> String {
        hex::encode(hmac::sign(&self.0.digests, text))
    }
}

impl Drop for AuditHandle {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Ok(done) = self.done.lock() {
            // An unread pipe or an unresponsive disk must not keep the process alive.
            _ = done.recv_timeout(WRITE_TIMEOUT);
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
