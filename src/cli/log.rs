//! The log: lines on standard error, which belong to no protocol.
//!
//! They are written by a thread of their own. Some clients never read what a server says there, and once
//! the pipe is full a write would wait for ever, and every call with it.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing::{Level, warn};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
};

use crate::config::{LogFormat, Options};

/// How many lines may wait to be written; those after are lost, and that is told.
const MOST_WAITING: usize = 4096;

/// How long to wait for whoever reads at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts logging.
///
/// # Errors
/// The level cannot be read, or the thread cannot be started.
pub(super) fn start(options: &Options) -> anyhow::Result<Log> {
    let chosen: Targets = options.log_level.parse()?;
    // Below warnings rmcp logs whole messages, and those hold secrets; no directive may ask for them.
    let discreet = filter_fn(|metadata| {
        *metadata.level() <= Level::WARN || !metadata.target().starts_with("rmcp")
    });
    let log = Log::start()?;
    let queue = log.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || queue.clone())
        .with_ansi(io::stderr().is_terminal());
    let lines = match options.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // One filter, so that what nobody wants to see costs nothing.
    let registry = tracing_subscriber::registry().with(lines.with_filter(chosen.and(discreet)));
    tracing::subscriber::set_global_default(registry)?;
    Ok(log)
}

/// The lines that wait to be written.
#[derive(Clone, Debug)]
pub(super) struct Log {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// What the thread is given.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Says when all before it is written.
    Flush(mpsc::Sender<()>),
}

impl Log {
    fn start() -> io::Result<Self> {
        let (queue, entries) = mpsc::sync_channel(MOST_WAITING);
        let lost = Arc::<AtomicU64>::default();
        let losses = lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&entries, &losses))?;
        Ok(Self { queue, lost })
    }

    /// Waits until everything is written, if somebody reads it.
    pub(super) fn flush(&self) {
        let (done, written) = mpsc::channel();
        let queue = self.queue.clone();
        // The queue may be full, and may stay so.
        thread::spawn(move || queue.send(Entry::Flush(done)));
        _ = written.recv_timeout(LAST_WORDS);
    }
}

impl Write for Log {
    /// Takes one line, as `tracing-subscriber` gives it: whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_owned())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(entries: &Receiver<Entry>, lost: &AtomicU64) {
    for entry in entries {
        match entry {
            // Standard error may be closed; there is nobody left to tell then.
            Entry::Line(line) => _ = io::stderr().write_all(&line),
            Entry::Flush(done) => _ = done.send(()),
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            warn!(lines, "lines of the log were lost, because nobody read them in time");
        }
    }
}
