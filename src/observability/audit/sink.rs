//! The destination of entries: a log file or a stream.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde_json::Value;

use super::{
    LogEvent, Settings, StartError, Target,
    chain::{Chain, Link},
    file::{LogFile, event},
    intents::Intents,
};

/// The destination of entries.
pub(super) enum Sink {
    /// A stream, from which nothing can be read again.
    Stream(Box<dyn Write + Send>),
    /// A file that is continued, with the file of intents.
    File(Box<LogFile>, Intents),
}

/// Events found at start, which are written first: JSON objects.
pub(super) type Found = Vec<Vec<u8>>;

impl Sink {
    /// Opens the destination. Returns also the link that the next entry continues, and the events
    /// to write first.
    pub(super) fn open(settings: &Settings) -> Result<(Self, Link, Found), StartError> {
        let path = match &settings.target {
            Target::Stderr => return Ok(Self::stream(io::stderr())),
            Target::File(path) => path,
        };
        let failed = |source| StartError::Io {
            path: path.clone(),
            source,
        };
        if is_stream(path) {
            return Ok(Self::stream(
                OpenOptions::new().write(true).open(path).map_err(failed)?,
            ));
        }
        let (intents, interrupted) = Intents::open(path)?;
        let chain = Chain::new(settings.key.clone());
        let (mut file, link, mut found) = LogFile::open(path, settings, &chain)?;
        for (call, body) in interrupted {
            // The process may have ended after it wrote the entry and before it cleared the intent.
            if !file.mentions(&call).map_err(failed)? {
                found.push(body);
            }
        }
        Ok((Self::File(Box::new(file), intents), link, found))
    }

    /// Creates a stream and its first event, which shows before any call whether the stream can be
    /// written.
    fn stream(stream: impl Write + Send + 'static) -> (Self, Link, Found) {
        (
            Self::Stream(Box::new(stream)),
            Link::first(),
            vec![event(LogEvent::Begin, &Value::Null)],
        )
    }

    /// Checks that the files are still found at their paths.
    pub(super) fn check_place(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file, _) => file.check_place(),
        }
    }

    /// Returns true if the destination is a file, which others could move or remove.
    pub(super) const fn has_place(&self) -> bool {
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
    pub(super) fn room(&self) -> u64 {
        match self {
            Self::Stream(_) => u64::MAX,
            Self::File(file, _) => file.room(),
        }
    }

    /// Returns the file of intents, if there is one.
    pub(super) fn intents(&mut self) -> Option<&mut Intents> {
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
