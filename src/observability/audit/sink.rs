//! What lines are written to: a file that is continued, or a stream.

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

/// What lines are written to.
pub(super) enum Sink {
    /// Keeps nothing that could be read again.
    Stream(Box<dyn Write + Send>),
    /// Is continued from its last line.
    File(Box<LogFile>, Intents),
}

/// What the start found and the first lines have to tell: JSON objects.
pub(super) type Found = Vec<Vec<u8>>;

impl Sink {
    /// Opens it. Returns what the next line follows as well.
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
            // The process may have ended between the line and the end of its intent.
            if !file.mentions(&call).map_err(failed)? {
                found.push(body);
            }
        }
        Ok((Self::File(Box::new(file), intents), link, found))
    }

    /// A stream and its first line, which shows before any call whether it can be written.
    fn stream(stream: impl Write + Send + 'static) -> (Self, Link, Found) {
        (
            Self::Stream(Box::new(stream)),
            Link::first(),
            vec![event(LogEvent::Begin, &Value::Null)],
        )
    }

    /// Makes sure that what is written can be found where it belongs.
    pub(super) fn check_place(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file, _) => file.check_place(),
        }
    }

    /// Whether somebody else could take away what is written to.
    pub(super) const fn has_place(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// Adds whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(lines).and_then(|()| stream.flush()),
            Self::File(file, _) => file.append(lines),
        }
    }

    /// Forces what was added to disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file, _) => file.sync(),
        }
    }

    /// How many bytes fit before the next file begins; at least one line always does.
    pub(super) fn room(&self) -> u64 {
        match self {
            Self::Stream(_) => u64::MAX,
            Self::File(file, _) => file.room(),
        }
    }

    /// The intents that are on record, where they are kept.
    pub(super) fn intents(&mut self) -> Option<&mut Intents> {
        match self {
            Self::Stream(_) => None,
            Self::File(_, intents) => Some(intents),
        }
    }
}

/// Whether it is there and no regular file: a pipe, a device.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}
