//! The audit log: one line for each call, chained by hashes, so that what was done can be shown later and a
//! line that is missing or changed is found. `docs/audit.md` has the format and what it does not protect from.
//!
//! A thread of its own writes. A call hands its line over and goes on, except that a write waits until its
//! intent is on disk: what was sent is on record even if the process is killed in the middle.

mod chain;
mod file;
mod intents;
mod line;
mod lines;
mod sink;
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

use portkey_bounded_file::shown;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::{sink::Sink, writer::Writer};
pub use chain::{Key, KeyError};
pub use line::Line;
pub use verify::{Damage, Finding, Report, Verifier};

/// How long a write waits for its intent to be on disk, and the end of the process for the last lines.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bound on the lines that wait to be written, in bytes.
pub(crate) const MOST_WAITING: usize = 16 << 20;

/// Bound on a line, in bytes: more than one has that a server wrote.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error: a chain that begins anew with each start.
    Stderr,
    /// A file, continued from its last line. Where it is none that keeps what it is given (a pipe, a
    /// device), the chain begins anew with each start.
    File(PathBuf),
}

/// When what was written is forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// The intent of a write before it is sent, and lines as they are written.
    Always,
    /// The same, but lines once a second.
    Interval,
    /// When the system sees fit: a killed process loses nothing, a machine that loses power may.
    Never,
}

/// How the audit log is kept.
#[derive(Debug)]
pub struct Settings {
    /// Where it goes.
    pub target: Target,
    /// What the chain is keyed with; without it everyone can compute it.
    pub key: Option<Key>,
    /// When it is forced to disk.
    pub sync: SyncPolicy,
    /// Whether writes are sent although their intent could not be put on record.
    pub writes_go_unrecorded: bool,
    /// How large a file grows before the next one begins, in bytes; without it, without end.
    pub max_bytes: Option<u64>,
    /// How many full files stay beside the current one; without it, all.
    pub keep: Option<usize>,
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be opened, read or written.
    #[error("cannot use the audit log {}: {source}", shown(path))]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process writes it.
    #[error(
        "the audit log {} is in use by another process; each process and each replica needs a file of its own",
        shown(.0)
    )]
    InUse(PathBuf),
    /// Its last line is none that could be continued.
    #[error(
        "the last line of the audit log {} was changed or was written with another key (or without one). \
         Look with `portkey-mcp audit verify`, then move the file away to begin a new chain",
        shown(.0)
    )]
    Broken(PathBuf),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The system has no thread for it.
    #[error("no thread for the audit log: {0}")]
    NoThread(io::Error),
}

/// The intent of a write could not be put on record, so it was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing was sent: the audit log of this server cannot be written, and nothing is changed without it. \
     Reads still work; tell whoever runs the server, whose log says what is wrong"
)]
pub struct Unwritable;

/// Where calls are put on record; a copy writes to the same place. What was handed over is written when the
/// last copy goes.
#[derive(Clone)]
pub struct Audit(Arc<Handle>);

struct Handle {
    sender: Option<Sender<Message>>,
    /// Closed once the last line is written.
    done: Mutex<Receiver<()>>,
    queue: Arc<Queue>,
    digests: hmac::Key,
    writes_go_unrecorded: bool,
}

/// What both ends of the queue know of it.
#[derive(Debug, Default)]
struct Queue {
    /// How many bytes of lines wait to be written.
    waiting: AtomicUsize,
    /// How many lines found no room and are not told of yet.
    lost: AtomicU64,
    /// The last attempt to write has failed.
    is_failing: AtomicBool,
}

/// What the writer is told.
enum Message {
    /// A call ended.
    Line(Entry),
    /// A write is about to be sent.
    Intent(Entry, oneshot::Sender<Result<(), Unwritable>>),
}

/// What a line of the log's own tells.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEvent {
    /// A stream began.
    Begin,
    /// Half a line was found at the end of the file.
    Torn,
    /// Calls have no line.
    Gap,
}

impl LogEvent {
    /// All events.
    pub const ALL: [Self; 3] = [Self::Begin, Self::Torn, Self::Gap];
}

/// A line without its place in the chain: a JSON object, and the call it is about.
struct Entry {
    call: u64,
    body: Vec<u8>,
}

impl Audit {
    /// Opens the log and starts writing it.
    ///
    /// # Errors
    /// It cannot be used, or not be continued.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let digests = match &settings.key {
            Some(key) => key.for_digests(),
            None => chain::random()?,
        };
        let writes_go_unrecorded = settings.writes_go_unrecorded;
        let queue = Arc::<Queue>::default();
        let (sink, link, recovered) = Sink::open(&settings)?;
        let (sender, receiver) = mpsc::channel();
        let (ends, done) = mpsc::channel::<()>();
        let mut writer = Writer::new(sink, link, recovered, &settings, queue.clone());
        let run = move || {
            writer.run(&receiver);
            // Whoever waits for the end may open the log again.
            drop(writer);
            drop(ends);
        };
        let thread = thread::Builder::new().name("audit".to_owned());
        thread.spawn(run).map_err(StartError::NoThread)?;
        let done = Mutex::new(done);
        Ok(Self(Arc::new(Handle {
            sender: Some(sender),
            done,
            queue,
            digests,
            writes_go_unrecorded,
        })))
    }

    /// Asks whether the last attempt to write has failed, now and later.
    pub fn failure(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let queue = self.0.queue.clone();
        move || queue.is_failing.load(Ordering::Relaxed)
    }

    /// Hands a line over. A line whose intent is on record always finds room.
    fn write(&self, entry: Entry, intended: bool) {
        let (queue, bytes) = (&self.0.queue, entry.body.len());
        let waiting = queue.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting > MOST_WAITING && !intended || self.send(Message::Line(entry)).is_err() {
            queue.waiting.fetch_sub(bytes, Ordering::Relaxed);
            queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts the intent of a write on record, and waits for that.
    async fn intend(&self, entry: Entry) -> Result<(), Unwritable> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Intent(entry, reply))?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(recorded)) => recorded,
            // The thread is gone, or the disk does not answer.
            Ok(Err(_)) | Err(_) => Err(Unwritable),
        }
    }

    fn send(&self, message: Message) -> Result<(), Unwritable> {
        let sender = self.0.sender.as_ref().ok_or(Unwritable)?;
        sender.send(message).map_err(|_| Unwritable)
    }

    /// Tells equal texts from others, and nothing else to whoever has no key.
    fn digest(&self, text: &[u8]) -> String {
        hex::encode(hmac::sign(&self.0.digests, text))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Ok(done) = self.done.lock() {
            // A pipe that nobody reads, or a disk that does not answer, must not keep the process.
            _ = done.recv_timeout(PATIENCE);
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
