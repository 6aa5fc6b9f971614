//! The log: lines on standard error, which belong to no protocol.

use std::{
    borrow::Cow,
    io::{self, BufWriter, Stderr, Write},
    thread,
    time::Duration,
};

use tracing::{Level, error};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
};

use crate::{
    observability::metrics,
    security::{sanitize::escape_to_one_line, secrets::mask_line},
};

/// Form of the lines in the log.
#[derive(Clone, Copy, Debug)]
pub enum LogFormat {
    /// Text for humans.
    Text,
    /// One JSON object per line.
    Json,
}

/// Maximum number of lines that wait to be written.
const MAX_QUEUED_LINES: usize = 4096;

/// Interval between writes of buffered lines. A write for each line, and waking a thread for it, would cost a busy
/// server more than formatting the line.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);

/// Standard error, written to when what has gathered ends.
struct BatchedStderr(BufWriter<Stderr>);

impl BatchedStderr {
    fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1024, io::stderr()))
    }
}

impl Write for BatchedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    /// The thread that writes does this whenever no line is left, and then looks for more.
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(FLUSH_INTERVAL);
        flushed
    }
}

/// Starts logging. What is left to write is written when the guard goes.
///
/// A thread of its own writes: some clients never read what a server says there, and once the pipe is
/// full a write would wait for ever, and every call with it. Lines that find no place in the queue are
/// lost, and counted.
///
/// # Errors
/// The level cannot be read.
pub(crate) fn init_logging(level: &str, format: LogFormat) -> anyhow::Result<WorkerGuard> {
    let chosen: Targets = level.parse()?;
    // Below warnings rmcp logs whole messages, and those hold secrets; no directive may ask for them. The
    // warnings of its service are errors as Rust prints them, each of a call that has a line of its own.
    let discreet = filter_fn(|metadata| {
        let level = *metadata.level();
        let target = metadata.target();
        let mut path = target.split("::");
        match (path.next(), path.next()) {
            (Some("rmcp"), Some("service")) => level <= Level::ERROR,
            _ => level <= Level::WARN || !target.starts_with("rmcp"),
        }
    });
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_QUEUED_LINES)
        .finish(BatchedStderr::new());
    metrics::register_log_counter(queue.error_counter());
    let lines = tracing_subscriber::fmt::layer().with_writer(MaskingWriter(queue));
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // One filter, so that what nobody wants to see costs nothing.
    let registry = tracing_subscriber::registry().with(lines.with_filter(chosen.and(discreet)));
    tracing::subscriber::set_global_default(registry)?;
    // What a panic says may have anything in it, so it goes the way of all lines.
    std::panic::set_hook(Box::new(|panic| error!("{panic}")));
    Ok(guard)
}

/// Masks keys in each line before it is written, in case the modules that logged them did not.
#[derive(Clone, Debug)]
struct MaskingWriter<W>(W);

impl<W: Write> Write for MaskingWriter<W> {
    // A line comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Slow, and lines are text.
        let text = str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::from);
        let masked = mask_line(&text);
        let content = masked.strip_suffix('\n').unwrap_or(&masked);
        // In one write, because the queue keeps each apart.
        match escape_to_one_line(content) {
            Cow::Borrowed(_) => self.0.write_all(masked.as_bytes())?,
            // A value with a line break would pass for a line of ours.
            Cow::Owned(content) => self.0.write_all(format!("{content}\n").as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for MaskingWriter<W> {
    type Writer = MaskingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        MaskingWriter(self.0.make_writer())
    }
}
