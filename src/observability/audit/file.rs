//! The file of the log: continued from its last line, whole lines or nothing, and the next one when it is
//! full. Full files are `FILE.1`, `FILE.2` and so on, the highest being the latest.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use portkey_bounded_file::{Identity, open_without_links, shown};
use serde_json::json;
use tracing::{error, info};

use super::{
    LogEvent, MAX_LINE_BYTES, Settings, StartError,
    chain::{Chain, Link, Sealed},
    intents::beside,
    line::written,
    lines::{BoundedLine, read_line},
    sink::Found,
};
/// A file of the log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Up to where it holds whole lines.
    length: u64,
    /// Something follows them that is half a line.
    ragged: bool,
    max_bytes: u64,
    keep: Option<usize>,
}

impl LogFile {
    /// Opens the file, and says what the next line follows and what there is to tell first. Half a line at
    /// its end, as a crash leaves it, is put aside.
    pub(super) fn open(
        path: &Path,
        settings: &Settings,
        chain: &Chain,
    ) -> Result<(Self, Link, Found), StartError> {
        let failed = |source| StartError::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = private();
        options.append(true).create(true);
        let mut file = open_without_links(path, options).map_err(failed)?;
        lock(&file, path)?;
        let (last, half) = tail(&mut file).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len() - half.len() as u64;
        let link = match last {
            Some(last) => continued(path, &last, chain)?,
            // The process may have ended before the first line of a new file.
            None => match numbered(path).map_err(failed)?.last() {
                Some((_, full)) => {
                    let mut options = OpenOptions::new();
                    options.read(true);
                    let (last, _) = open_without_links(full, options)
                        .and_then(|mut file| tail(&mut file))
                        .map_err(failed)?;
                    continued(full, &last.unwrap_or_default(), chain)?
                }
                None => Link::first(),
            },
        };
        let max_bytes = settings.max_bytes.unwrap_or(u64::MAX);
        let (path, keep) = (path.to_owned(), settings.keep);
        let mut log = Self {
            path,
            file,
            length,
            ragged: false,
            max_bytes,
            keep,
        };
        let found = log.put_aside(&half, &link);
        let found = found.map_err(|source| StartError::Io {
            path: log.path.clone(),
            source,
        })?;
        info!(file = %shown(&log.path), seq = link.seq, hash = link.tag, "the audit log goes on");
        Ok((log, link, found))
    }

    /// Moves half a line to a file of its own, named by the line that will tell of it.
    fn put_aside(&mut self, half: &[u8], link: &Link) -> io::Result<Found> {
        let aside = beside(&self.path, format_args!("torn-{}", link.seq + 1));
        if !half.is_empty() {
            let mut options = private();
            options.create(true).truncate(true);
            let mut file = open_without_links(&aside, options)?;
            file.write_all(half)?;
            file.sync_all()?;
            self.file.set_len(self.length)?;
        }
        // It is there as well if the process ended before it could tell.
        let Ok(bytes) = fs::symlink_metadata(&aside).map(|found| found.len()) else {
            return Ok(Found::new());
        };
        error!(bytes, kept = %shown(&aside), "the audit log ended in half a line");
        let name = aside
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(vec![event(
            LogEvent::Torn,
            &json!({ "bytes": bytes, "kept": name }),
        )])
    }

    /// Makes sure that the path still leads to the file that is written. One that was moved away is begun anew,
    /// as is an empty one that was put in its place; anything else in its place is an error.
    pub(super) fn check_place(&mut self) -> io::Result<()> {
        self.trim()?;
        let there = match fs::symlink_metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.begin_anew(true),
            Err(error) => return Err(error),
        };
        let ours = self.file.metadata()?;
        if Identity::of(&there) != Identity::of(&ours) {
            if there.is_file() && there.len() == 0 {
                return self.begin_anew(false);
            }
            let what = if there.is_file() {
                "another file that is not empty"
            } else {
                "no file"
            };
            let why = format!(
                "{what} is in the place of the audit log {}; move it away, and the log goes on",
                shown(&self.path)
            );
            return Err(io::Error::other(why));
        }
        if ours.len() != self.length {
            error!(file = %shown(&self.path), "somebody else changed the audit log");
            self.length = ours.len();
        }
        Ok(())
    }

    /// Goes on in a file that has to be new, or else empty.
    fn begin_anew(&mut self, is_new: bool) -> io::Result<()> {
        // What is in the old one has to last as well.
        self.file.sync_all()?;
        let mut options = private();
        options.append(true).create_new(is_new);
        let file = open_without_links(&self.path, options)?;
        let is_taken = |error: StartError| io::Error::other(error.to_string());
        lock(&file, &self.path).map_err(is_taken)?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::other(
                "somebody else writes to the new audit log",
            ));
        }
        #[cfg(unix)]
        File::open(folder(&self.path))?.sync_all()?;
        error!(file = %shown(&self.path), "somebody else moved the audit log; it goes on in a new file");
        self.file = file;
        self.length = 0;
        Ok(())
    }

    /// Adds whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.trim()?;
        if self.length > 0 && self.length.saturating_add(lines.len() as u64) > self.max_bytes {
            self.rotate()?;
        }
        let written = self.file.write_all(lines);
        if let Err(error) = written {
            // It may have written something. If that cannot be taken back now, it is before the next try.
            self.ragged = true;
            _ = self.trim();
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Takes back what a failed write has left.
    fn trim(&mut self) -> io::Result<()> {
        if self.ragged {
            self.file.set_len(self.length)?;
            self.ragged = false;
        }
        Ok(())
    }

    /// Forces what was added to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How many bytes fit before the next file begins.
    pub(super) fn room(&self) -> u64 {
        self.max_bytes.saturating_sub(self.length)
    }

    /// Whether a line of the file is about this call.
    pub(super) fn mentions(&mut self, call: &str) -> io::Result<bool> {
        let mark = format!("\"call\":\"{call}\"");
        self.file.rewind()?;
        let (mut reader, mut line) = (BufReader::new(&self.file), Vec::new());
        while read_line(&mut reader, &mut line)? != BoundedLine::End {
            if String::from_utf8_lossy(&line).contains(&mark) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the full file aside and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let full = numbered(&self.path)?;
        let number = full.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.path, beside(&self.path, number))?;
        let mut options = private();
        options.append(true).create_new(true);
        let file = open_without_links(&self.path, options)?;
        lock(&file, &self.path).map_err(|error| io::Error::other(error.to_string()))?;
        self.file = file;
        self.length = 0;
        #[cfg(unix)]
        File::open(folder(&self.path))?.sync_all()?;
        let spare = self
            .keep
            .map_or(0, |keep| (full.len() + 1).saturating_sub(keep));
        for (_, old) in full.iter().take(spare) {
            info!(file = %shown(old), "removed by --audit-keep");
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// How files of the log are opened: read and added to, by their owner alone.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Has the very file, by whatever name, for this process alone, until it is closed.
pub(super) fn lock(file: &File, log: &Path) -> Result<(), StartError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(log.to_owned())),
        Err(TryLockError::Error(source)) => Err(StartError::Io {
            path: log.to_owned(),
            source,
        }),
    }
}

/// A line of the log's own.
pub(super) fn event(what: LogEvent, more: &serde_json::Value) -> Vec<u8> {
    let mut line = json!({ "time": written(SystemTime::now()), "event": what });
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    line.to_string().into_bytes()
}

/// What follows from the last line, if it is as it was written.
fn continued(path: &Path, last: &[u8], chain: &Chain) -> Result<Link, StartError> {
    let line = Sealed::read(last).filter(|line| chain.vouches_for(line));
    line.map(|line| line.link())
        .ok_or_else(|| StartError::Broken(path.to_owned()))
}

/// The last whole line of a file, and what follows it.
fn tail(file: &mut File) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let length = file.metadata()?.len();
    // A whole line, and half of the next.
    let from = length.saturating_sub(2 * MAX_LINE_BYTES as u64);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(length - from).read_to_end(&mut bytes)?;
    let mut parts = bytes.rsplitn(3, |byte| *byte == b'\n');
    let (half, last, before) = (parts.next(), parts.next(), parts.next());
    if before.is_none() && from > 0 {
        let why = "its end is no line of an audit log; look with `portkey-mcp audit verify`, and move it away";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok((last.map(<[u8]>::to_vec), half.unwrap_or_default().to_vec()))
}

/// The full files beside a log, oldest first.
fn numbered(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let Some(name) = log.file_name() else {
        return Ok(Vec::new());
    };
    let start = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(log))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_string_lossy()
            .strip_prefix(&start)
            .and_then(|end| end.parse().ok());
        found.extend(number.map(|number: u64| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
