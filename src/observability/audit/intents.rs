//! Writes in progress, in a file next to the log: they are reported even if the process is killed
//! while they run.
//!
//! The lock on this file also tells other processes that the log is in use.
//!
//! Each intent has a slot of fixed size, and slots are reused. The file therefore grows only to the
//! largest number of concurrent writes, and space once allocated remains available on a full disk.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use portkey_bounded_file::{FileIdentity, display_path, open_without_links};
use serde_json::Value;
use tracing::error;

use super::{
    AuditStartError,
    file::{lock_exclusively, private_file_options},
};
/// Size of a slot, in bytes.
const SLOT_BYTES: usize = 16 << 10;

/// Maximum number of slots and so of concurrent writes; the file is at most 256 MiB.
const MAX_SLOTS: u64 = 1 << 14;

/// The file of intents, locked while it is open.
#[derive(Debug)]
pub(super) struct IntentFile {
    path: PathBuf,
    file: File,
    /// Slot of each call in progress.
    slots_by_call: HashMap<u64, u64>,
    free_slots: Vec<u64>,
    slot_count: u64,
}

/// A write that the previous process left in progress: the id of the call, and the body of its
/// entry.
pub(super) type InterruptedWrite = (String, Vec<u8>);

impl IntentFile {
    /// Opens and locks the file next to a log, and reads the intents that the previous process
    /// left.
    pub(super) fn open(log: &Path) -> Result<(Self, Vec<InterruptedWrite>), AuditStartError> {
        let path = sibling_path(log, "intents");
        let io_error = |source| AuditStartError::Io {
            path: path.clone(),
            source,
        };
        let mut options = private_file_options();
        options.create(true);
        let file = open_without_links(&path, options).map_err(io_error)?;
        lock_exclusively(&file, log)?;
        let slots = file.metadata().map_err(io_error)?.len() / SLOT_BYTES as u64;
        if slots > MAX_SLOTS {
            let why = "it is larger than any that a server leaves; look at it, and move it away";
            return Err(io_error(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let mut reader = &file;
        let mut slot = vec![0; SLOT_BYTES];
        let mut left = Vec::new();
        for _ in 0..slots {
            reader.read_exact(&mut slot).map_err(io_error)?;
            left.extend(parse_slot(&slot));
        }
        let free = (0..slots).collect();
        Ok((
            Self {
                path,
                file,
                slots_by_call: HashMap::new(),
                free_slots: free,
                slot_count: slots,
            },
            left,
        ))
    }

    /// Checks that the path still leads to the open file.
    ///
    /// A removed file is recreated if no write is in progress. Anything else in its place is an
    /// error.
    pub(super) fn check_path(&mut self) -> io::Result<()> {
        let path = &self.path;
        match fs::symlink_metadata(path) {
            Ok(there)
                if FileIdentity::from_metadata(&there)
                    == FileIdentity::from_metadata(&self.file.metadata()?) =>
            {
                Ok(())
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.slots_by_call.is_empty() =>
            {
                let mut options = private_file_options();
                options.create_new(true);
                let file = open_without_links(path, options)?;
                lock_exclusively(&file, path)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                error!(file = %display_path(path), "somebody else removed the file; it is made anew");
                (self.file, self.slot_count) = (file, 0);
                self.free_slots.clear();
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                let why = format!(
                    "somebody else moved or replaced {}; remove what is there",
                    display_path(path)
                );
                Err(io::Error::other(why))
            }
        }
    }

    /// Writes the intent of a call into a free slot.
    pub(super) fn add(&mut self, call: u64, body: &[u8]) -> io::Result<()> {
        if body.len() >= SLOT_BYTES {
            return Err(io::Error::other(
                "the intent of a write is too long to be kept",
            ));
        }
        if self.free_slots.is_empty() && self.slot_count >= MAX_SLOTS {
            return Err(io::Error::other("too many writes are under way at once"));
        }
        let slot = self.free_slots.last().copied().unwrap_or(self.slot_count);
        let mut bytes = body.to_vec();
        bytes.resize(SLOT_BYTES, 0);
        self.file.seek(SeekFrom::Start(slot * SLOT_BYTES as u64))?;
        self.file.write_all(&bytes)?;
        if self.free_slots.pop().is_none() {
            self.slot_count += 1;
        }
        self.slots_by_call.insert(call, slot);
        Ok(())
    }

    /// Clears the intent of a call, if there is one: its entry is written, or none will be needed.
    pub(super) fn clear(&mut self, call: u64) -> io::Result<()> {
        if let Some(slot) = self.slots_by_call.get(&call).copied() {
            self.file.seek(SeekFrom::Start(slot * SLOT_BYTES as u64))?;
            self.file.write_all(&[0])?;
            self.slots_by_call.remove(&call);
            self.free_slots.push(slot);
        }
        Ok(())
    }

    /// Clears the intents of the previous process.
    pub(super) fn clear_previous(&mut self) -> io::Result<()> {
        for slot in self.free_slots.clone() {
            self.file.seek(SeekFrom::Start(slot * SLOT_BYTES as u64))?;
            self.file.write_all(&[0])?;
        }
        Ok(())
    }

    /// Syncs the intents to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Parses the intent in a slot. An incompletely written intent is ignored, because its request was
/// not sent.
fn parse_slot(slot: &[u8]) -> Option<InterruptedWrite> {
    let end = slot.iter().position(|byte| *byte == 0)?;
    let body = slot.get(..end)?;
    let json = serde_json::from_slice::<Value>(body).ok()?;
    Some((json.get("call")?.as_str()?.to_owned(), body.to_vec()))
}

/// Returns the path of a file that belongs to a log.
pub(super) fn sibling_path(log: &Path, what: impl std::fmt::Display) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(format!(".{what}"));
    name.into()
}
