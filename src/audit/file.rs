//! The file of the log: continued from its last line, whole lines or nothing, and the next one when it is
//! full. Full files are `FILE.1`, `FILE.2` and so on, the highest being the latest.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::json;
use tracing::{error, info};

use super::{
    Settings, StartError,
    chain::{Chain, Link, Sealed},
    intents::beside,
    line::written,
    sink::Found,
};

/// How much of a file's end is read at first to find its last line, in bytes.
const TAIL: u64 = 256 << 10;

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
        let failed = |source| StartError::Io { path: path.to_owned(), source };
        let mut file = private().append(true).open(path).map_err(failed)?;
        let (last, half) = tail(&mut file).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len() - half.len() as u64;
        let link = match last {
            Some(last) => continued(path, &last, chain)?,
            // The process may have ended before the first line of a new file.
            None => match numbered(path).map_err(failed)?.last() {
                Some((_, full)) => {
                    let (last, _) =
                        File::open(full).and_then(|mut file| tail(&mut file)).map_err(failed)?;
                    continued(full, &last.unwrap_or_default(), chain)?
                }
                None => Link::first(),
            },
        };
        let max_bytes = settings.max_bytes.unwrap_or(u64::MAX);
        let (path, keep) = (path.to_owned(), settings.keep);
        let mut log = Self { path, file, length, ragged: false, max_bytes, keep };
        let found = log.put_aside(&half, &link);
        let found = found.map_err(|source| StartError::Io { path: log.path.clone(), source })?;
        info!(file = %log.path.display(), seq = link.seq, hash = link.tag, "the audit log goes on");
        Ok((log, link, found))
    }

    /// Moves half a line to a file of its own, named by the line that will tell of it.
    fn put_aside(&mut self, half: &[u8], link: &Link) -> io::Result<Found> {
        let aside = beside(&self.path, format_args!("torn-{}", link.seq + 1));
        if !half.is_empty() {
            let mut file = private().open(&aside)?;
            file.write_all(half)?;
            file.sync_all()?;
            self.file.set_len(self.length)?;
        }
        // It is there as well if the process ended before it could tell.
        let Ok(bytes) = fs::metadata(&aside).map(|found| found.len()) else {
            return Ok(Found::new());
        };
        error!(bytes, kept = %aside.display(), "the audit log ended in half a line");
        let name = aside.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(vec![event("torn", &json!({ "bytes": bytes, "kept": name }))])
    }

    /// Adds whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.trim()?;
        if !self.is_in_place() {
            error!(file = %self.path.display(), "somebody else moved or changed the audit log");
            self.file = private().append(true).open(&self.path)?;
            self.length = self.file.metadata()?.len();
        }
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
    pub(super) fn mentions(&self, call: &str) -> io::Result<bool> {
        let mark = format!("\"call\":\"{call}\"");
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            if String::from_utf8_lossy(&line?).contains(&mark) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the path still leads to the file, and the file is as it was left.
    fn is_in_place(&self) -> bool {
        let (there, ours) = (fs::metadata(&self.path), self.file.metadata());
        there.is_ok_and(|there| {
            there.len() == self.length && ours.is_ok_and(|ours| is_same(&there, &ours))
        })
    }

    /// Puts the full file aside and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let full = numbered(&self.path)?;
        let number = full.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.path, beside(&self.path, number))?;
        self.file = private().append(true).open(&self.path)?;
        self.length = 0;
        #[cfg(unix)]
        File::open(folder(&self.path))?.sync_all()?;
        let spare = self.keep.map_or(0, |keep| (full.len() + 1).saturating_sub(keep));
        for (_, old) in full.iter().take(spare) {
            info!(file = %old.display(), "removed by --audit-keep");
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// How files of the log are opened: read and added to, by their owner alone.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A line of the log's own.
pub(super) fn event(what: &str, more: &serde_json::Value) -> Vec<u8> {
    let mut line = json!({ "time": written(SystemTime::now()), "event": what });
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    line.to_string().into_bytes()
}

/// What follows from the last line, if it is as it was written.
fn continued(path: &Path, last: &[u8], chain: &Chain) -> Result<Link, StartError> {
    let line = Sealed::read(last).filter(|line| chain.vouches_for(line));
    line.map(|line| line.link()).ok_or_else(|| StartError::Broken(path.to_owned()))
}

/// The last whole line of a file, and what follows it.
fn tail(file: &mut File) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let length = file.metadata()?.len();
    let mut size = TAIL;
    loop {
        let from = length.saturating_sub(size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        let mut parts = bytes.rsplitn(3, |byte| *byte == b'\n');
        let (half, last, before) = (parts.next(), parts.next(), parts.next());
        if before.is_some() || from == 0 {
            return Ok((last.map(<[u8]>::to_vec), half.unwrap_or_default().to_vec()));
        }
        size = size.saturating_mul(4);
    }
}

/// The full files beside a log, oldest first.
fn numbered(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let Some(name) = log.file_name() else { return Ok(Vec::new()) };
    let start = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(log))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_string_lossy().strip_prefix(&start).and_then(|end| end.parse().ok());
        found.extend(number.map(|number: u64| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// There is no number to tell by, and nobody can move an open file.
#[cfg(not(unix))]
const fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
