//! The current file of the log. It continues after its last entry, takes whole entries or nothing,
//! and is rotated when full.
//!
//! Full files are named `FILE.1`, `FILE.2` and so on; the highest number is the latest.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use portkey_bounded_file::{FileIdentity, display_path, open_without_links};
use serde_json::json;
use tracing::{error, info};

use super::{
    AuditSettings, AuditStartError, LogEvent, MAX_LINE_BYTES,
    bounded_lines::{BoundedLine, read_line},
    chain::{Chain, ChainLink, ParsedLine},
    intents::sibling_path,
    pending_entry::format_time,
    sink::StartEvents,
};
/// The current log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Length of the complete entries, in bytes.
    length: u64,
    /// True if a failed write left a partial entry behind them.
    has_partial_write: bool,
    max_bytes: u64,
    max_full_files: Option<usize>,
}

impl LogFile {
    /// Opens the file. Returns the link that the next entry continues, and events to write first.
    ///
    /// A partial line at the end, as a crash leaves it, is quarantined.
    pub(super) fn open(
        path: &Path,
        settings: &AuditSettings,
        chain: &Chain,
    ) -> Result<(Self, ChainLink, StartEvents), AuditStartError> {
        let io_error = |source| AuditStartError::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = private_file_options();
        options.append(true).create(true);
        let mut file = open_without_links(path, options).map_err(io_error)?;
        lock_exclusively(&file, path)?;
        let (last, half) = read_tail(&mut file).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len() - half.len() as u64;
        let link = match last {
            Some(last) => continue_from(path, &last, chain)?,
            // The process may have ended between a rotation and the first entry of the new file.
            None => match full_files(path).map_err(io_error)?.last() {
                Some((_, full)) => {
                    let mut options = OpenOptions::new();
                    options.read(true);
                    let (last, _) = open_without_links(full, options)
                        .and_then(|mut file| read_tail(&mut file))
                        .map_err(io_error)?;
                    continue_from(full, &last.unwrap_or_default(), chain)?
                }
                None => ChainLink::genesis(),
            },
        };
        let max_bytes = settings.max_bytes.unwrap_or(u64::MAX);
        let path = path.to_owned();
        let keep = settings.max_full_files;
        let mut log = Self {
            path,
            file,
            length,
            has_partial_write: false,
            max_bytes,
            max_full_files: keep,
        };
        let found = log.quarantine_partial_line(&half, &link);
        let found = found.map_err(|source| AuditStartError::Io {
            path: log.path.clone(),
            source,
        })?;
        info!(file = %display_path(&log.path), seq = link.seq, hash = link.tag, "the audit log goes on");
        Ok((log, link, found))
    }

    /// Moves a partial line to a file of its own. Its name contains the number of the entry that
    /// will report it.
    fn quarantine_partial_line(
        &mut self,
        half: &[u8],
        link: &ChainLink,
    ) -> io::Result<StartEvents> {
        let aside = sibling_path(&self.path, format_args!("torn-{}", link.seq + 1));
        if !half.is_empty() {
            let mut options = private_file_options();
            options.create(true).truncate(true);
            let mut file = open_without_links(&aside, options)?;
            file.write_all(half)?;
            file.sync_all()?;
            self.file.set_len(self.length)?;
        }
        // The file also exists if an earlier process ended before it could report it.
        let Ok(bytes) = fs::symlink_metadata(&aside).map(|found| found.len()) else {
            return Ok(StartEvents::new());
        };
        error!(bytes, kept = %display_path(&aside), "the audit log ended in half a line");
        let name = aside
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(vec![build_event(
            LogEvent::Torn,
            &json!({ "bytes": bytes, "kept": name }),
        )])
    }

    /// Checks that the path still leads to the open file.
    ///
    /// If the file was moved away, or replaced by an empty one, a new file is started. Anything
    /// else in its place is an error.
    pub(super) fn check_path(&mut self) -> io::Result<()> {
        self.discard_partial_write()?;
        let there = match fs::symlink_metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.start_new_file(true);
            }
            Err(error) => return Err(error),
        };
        let ours = self.file.metadata()?;
        if FileIdentity::from_metadata(&there) != FileIdentity::from_metadata(&ours) {
            if there.is_file() && there.len() == 0 {
                return self.start_new_file(false);
            }
            let what = if there.is_file() {
                "another file that is not empty"
            } else {
                "no file"
            };
            let why = format!(
                "{what} is in the place of the audit log {}; move it away, and the log goes on",
                display_path(&self.path)
            );
            return Err(io::Error::other(why));
        }
        if ours.len() != self.length {
            error!(file = %display_path(&self.path), "somebody else changed the audit log");
            self.length = ours.len();
        }
        Ok(())
    }

    /// Continues in a new file; if `is_new` is false, an existing empty one is accepted.
    fn start_new_file(&mut self, is_new: bool) -> io::Result<()> {
        // The entries of the old file must be durable, too.
        self.file.sync_all()?;
        let mut options = private_file_options();
        options.append(true).create_new(is_new);
        let file = open_without_links(&self.path, options)?;
        let in_use_error = |error: AuditStartError| io::Error::other(error.to_string());
        lock_exclusively(&file, &self.path).map_err(in_use_error)?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::other(
                "somebody else writes to the new audit log",
            ));
        }
        #[cfg(unix)]
        File::open(parent_dir(&self.path))?.sync_all()?;
        error!(file = %display_path(&self.path), "somebody else moved the audit log; it goes on in a new file");
        self.file = file;
        self.length = 0;
        Ok(())
    }

    /// Appends complete entries, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.discard_partial_write()?;
        if self.length > 0 && self.length.saturating_add(lines.len() as u64) > self.max_bytes {
            self.rotate()?;
        }
        let written = self.file.write_all(lines);
        if let Err(error) = written {
            // Part of the entries may have been written. If they cannot be removed now, the next
            // write removes them first.
            self.has_partial_write = true;
            _ = self.discard_partial_write();
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Removes what a failed write left behind.
    fn discard_partial_write(&mut self) -> io::Result<()> {
        if self.has_partial_write {
            self.file.set_len(self.length)?;
            self.has_partial_write = false;
        }
        Ok(())
    }

    /// Syncs the appended entries to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns the number of bytes that fit before the file is rotated.
    pub(super) fn bytes_until_rotation(&self) -> u64 {
        self.max_bytes.saturating_sub(self.length)
    }

    /// Returns true if the file contains an entry about this call.
    pub(super) fn contains_call(&mut self, call: &str) -> io::Result<bool> {
        let mark = format!("\"call\":\"{call}\"");
        self.file.rewind()?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? != BoundedLine::End {
            if String::from_utf8_lossy(&line).contains(&mark) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renames the full file and starts the next one.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let full = full_files(&self.path)?;
        let number = full.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.path, sibling_path(&self.path, number))?;
        let mut options = private_file_options();
        options.append(true).create_new(true);
        let file = open_without_links(&self.path, options)?;
        lock_exclusively(&file, &self.path).map_err(|error| io::Error::other(error.to_string()))?;
        self.file = file;
        self.length = 0;
        #[cfg(unix)]
        File::open(parent_dir(&self.path))?.sync_all()?;
        let spare = self
            .max_full_files
            .map_or(0, |keep| (full.len() + 1).saturating_sub(keep));
        for (_, old) in full.iter().take(spare) {
            info!(file = %display_path(old), "removed by --audit-keep");
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// Returns the options for opening files of the log: read and write, by their owner only.
pub(super) fn private_file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Locks the file, by whatever name it was opened, for this process until it is closed.
pub(super) fn lock_exclusively(file: &File, log: &Path) -> Result<(), AuditStartError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(AuditStartError::InUse(log.to_owned())),
        Err(TryLockError::Error(source)) => Err(AuditStartError::Io {
            path: log.to_owned(),
            source,
        }),
    }
}

/// Builds an entry about the log itself.
pub(super) fn build_event(what: LogEvent, more: &serde_json::Value) -> Vec<u8> {
    let mut line = json!({ "time": format_time(SystemTime::now()), "event": what });
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    line.to_string().into_bytes()
}

/// Returns the link after the last entry, if that entry is unchanged.
fn continue_from(path: &Path, last: &[u8], chain: &Chain) -> Result<ChainLink, AuditStartError> {
    let line = ParsedLine::parse(last).filter(|line| chain.matches(line));
    line.map(|line| line.to_link())
        .ok_or_else(|| AuditStartError::InvalidLastLine(path.to_owned()))
}

/// Returns the last complete line of a file, and the partial line after it.
fn read_tail(file: &mut File) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let length = file.metadata()?.len();
    // Enough for a complete line and a partial one.
    let from = length.saturating_sub(2 * MAX_LINE_BYTES as u64);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(length - from).read_to_end(&mut bytes)?;
    let mut parts = bytes.rsplitn(3, |byte| *byte == b'\n');
    let half = parts.next();
    let last = parts.next();
    let before = parts.next();
    if before.is_none() && from > 0 {
        let why = "its end is no line of an audit log; look with `portkey-mcp audit verify`, and move it away";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok((last.map(<[u8]>::to_vec), half.unwrap_or_default().to_vec()))
}

/// Lists the full files of a log, oldest first.
pub(super) fn full_files(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let Some(name) = log.file_name() else {
        return Ok(Vec::new());
    };
    let start = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(parent_dir(log))? {
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

fn parent_dir(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
