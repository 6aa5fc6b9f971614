//! The log: lines on standard error, which belong to no protocol.

use std::{
    io::{self, BufWriter, IsTerminal, Stderr, Write},
    thread,
    time::Duration,
};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
};

use crate::config::{LogFormat, Options};

/// How many lines may wait to be written.
const QUEUE: usize = 4096;

/// How long lines gather before they are written, after others were. A write for each, and a thread woken
/// for it, would cost a busy server more than making the line.
const GATHER: Duration = Duration::from_millis(10);

/// Standard error, written to when what has gathered ends.
struct Gathered(BufWriter<Stderr>);

impl Gathered {
    fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1024, io::stderr()))
    }
}

impl Write for Gathered {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    /// The thread that writes does this whenever no line is left, and then looks for more.
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(GATHER);
        flushed
    }
}

/// Starts logging. What is left to write is written when the guard goes.
///
/// A thread of its own writes: some clients never read what a server says there, and once the pipe is
/// full a write would wait for ever, and every call with it. Lines that find no place in the queue are
/// lost.
///
/// # Errors
/// The level cannot be read.
pub(super) fn start(options: &Options) -> anyhow::Result<WorkerGuard> {
    let chosen: Targets = options.log_level.parse()?;
    // Below warnings rmcp logs whole messages, and those hold secrets; no directive may ask for them.
    let discreet = filter_fn(|metadata| {
        *metadata.level() <= Level::WARN || !metadata.target().starts_with("rmcp")
    });
    let (queue, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).finish(Gathered::new());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(queue).with_ansi(io::stderr().is_terminal());
    let lines = match options.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // One filter, so that what nobody wants to see costs nothing.
    let registry = tracing_subscriber::registry().with(lines.with_filter(chosen.and(discreet)));
    tracing::subscriber::set_global_default(registry)?;
    Ok(guard)
}
