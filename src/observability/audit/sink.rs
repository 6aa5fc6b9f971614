//! The destination of entries: a log file or a stream.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde_json::Value;

use super::{
    AuditSettings, AuditStartError, AuditTarget, LogEvent,
    chain::{Chain, ChainLink},
    file::{LogFile, build_event},
    intents::IntentFile,
};

/// The destination of entries.
pub(super) enum Sink {
    /// A stream, from which nothing can be read again.
    Stream(Box<dyn Write + Send>),
    /// A file that is continued, with the file of intents.
    File(Box<LogFile>, IntentFile),
}

/// Events found at start, which are written first: JSON objects.
pub(super) type StartEvents = Vec<Vec<u8>>;

impl Sink {
    /// Opens the destination. Returns also the link that the next entry continues, and the events
    /// to write first.
    pub(super) fn open(
        settings: &AuditSettings,
    ) -> Result<(Self, ChainLink, StartEvents), AuditStartError> {
        let path = match &settings.target {
            AuditTarget::Stderr => return Ok(Self::from_stream(io::stderr())),
            AuditTarget::File(path) => path,
        };
        let io_error = |source| AuditStartError::Io {
            path: path.clone(),
            source,
        };
        if is_stream(path) {
            return Ok(Self::from_stream(
                OpenOptions::new()
                    .write(true)
                    .open(path)
                    .map_err(io_error)?,
            ));
        }
        let (intents, interrupted) = IntentFile::open(path)?;
        let chain = Chain::new(settings.key.clone());
        let (mut file, link, mut found) = LogFile::open(path, settings, &chain)?;
        for (call, body) in interrupted {
            // The process may have ended after it wrote the entry and before it cleared the intent.
            if !file.contains_call(&call).map_err(io_error)? {
                found.push(body);
            }
        }
        Ok((Self::File(Box::new(file), intents), link, found))
    }

    /// Creates a stream and its first event, which shows before any call whether the stream can be
    /// written.
    fn from_stream(stream: impl Write + Send + 'static) -> (Self, ChainLink, StartEvents) {
        (
            Self::Stream(Box::new(stream)),
            ChainLink::genesis(),
            vec![build_event(LogEvent::Begin, &Value::Null)],
        )
    }

    /// Checks that the files are still found at their paths.
    pub(super) fn check_path(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file, _) => file.check_path(),
        }
    }

    /// Returns true if the destination is a file, which others could move or remove.
    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// Appends complete entries, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(lines).and_then(|()| stream.flush()),
            Self::File(file, _) => file.append(lines),
        }
    }

    /// Syncs the appended entries to disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file, _) => file.sync(),
        }
    }

    /// Returns the number of bytes that fit before the file is rotated; one entry always fits.
    pub(super) fn bytes_until_rotation(&self) -> u64 {
        match self {
            Self::Stream(_) => u64::MAX,
            Self::File(file, _) => file.bytes_until_rotation(),
        }
    }

    /// Returns the file of intents, if there is one.
    pub(super) fn intents(&mut self) -> Option<&mut IntentFile> {
        match self {
            Self::Stream(_) => None,
            Self::File(_, intents) => Some(intents),
        }
    }
}

/// Returns true if the path exists and is no regular file: a pipe, a device.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}
