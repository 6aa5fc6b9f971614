//! Reads the log of this process while it is written: its last entries, and whether its chain is
//! intact.

use std::{
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use portkey_bounded_file::{FileIdentity, display_path, open};
use serde_json::Value;

use super::{
    MAX_LINE_BYTES,
    bounded_lines::{BoundedLine, read_line},
    chain::{AuditKey, ParsedLine},
    file::full_files,
    verify::{Report, Verifier},
};

/// Maximum size of the end of the log that is read for its last entries, in bytes.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// Maximum size of the files that are verified, in bytes. Older files are left out.
const MAX_VERIFIED_BYTES: u64 = 256 << 20;

/// Maximum number of files that are verified.
const MAX_VERIFIED_FILES: usize = 200;

/// The files of an audit log, with the key of its chain.
#[derive(Clone, Debug)]
pub struct AuditTrail {
    path: PathBuf,
    key: Option<AuditKey>,
}

/// The result of a verification.
#[derive(Debug)]
pub struct TrailReport {
    /// Findings, and the range of the entries.
    pub report: Report,
    /// Number of files that were read.
    pub files: usize,
    /// True if older files were left out for their size.
    pub is_partial: bool,
}

impl AuditTrail {
    /// Names the current file of a log, and the key of its chain.
    pub const fn new(path: PathBuf, key: Option<AuditKey>) -> Self {
        Self { path, key }
    }

    /// Returns the last entries of the current file that match, the newest first. Lines that are no
    /// JSON objects are left out.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn recent(&self, max: usize, matches: impl Fn(&Value) -> bool) -> io::Result<Vec<Value>> {
        let mut file = open(&self.path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(MAX_TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut text = BufReader::new(file.take(length - start));
        let mut bytes = Vec::new();
        let mut entries = Vec::new();
        if start > 0 {
            // The rest of a line whose beginning was not read.
            read_line(&mut text, &mut bytes)?;
        }
        loop {
            match read_line(&mut text, &mut bytes)? {
                BoundedLine::End => break,
                BoundedLine::Partial | BoundedLine::TooLong => {}
                BoundedLine::Complete => {
                    let entry = serde_json::from_slice(&bytes).ok();
                    entries.extend(entry.filter(Value::is_object).filter(&matches));
                }
            }
        }
        entries.reverse();
        entries.truncate(max);
        Ok(entries)
    }

    /// Verifies the chain up to the last complete entry. Reads at most 256 MiB, and so belongs on a
    /// thread that may block.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn verify(&self) -> io::Result<TrailReport> {
        // The current file first: it may become a full one while the others are listed.
        let current = open(&self.path)?;
        let length = complete_length(&current)?;
        let identity = FileIdentity::from_metadata(&current.metadata()?);
        let mut files = vec![(display_path(&self.path).to_string(), current, length)];
        let mut bytes = length;
        let mut is_partial = false;
        for (_, path) in full_files(&self.path)?.into_iter().rev() {
            let file = open(&path)?;
            let found = file.metadata()?;
            if FileIdentity::from_metadata(&found) == identity {
                continue;
            }
            bytes = bytes.saturating_add(found.len());
            if bytes > MAX_VERIFIED_BYTES || files.len() >= MAX_VERIFIED_FILES {
                is_partial = true;
                break;
            }
            files.push((display_path(&path).to_string(), file, found.len()));
        }
        if length > MAX_VERIFIED_BYTES {
            let why = "the file is too large to verify here: use `portkey-mcp audit verify`";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        // Files that `--audit-keep` has removed are missing at the beginning, which is no defect.
        let starts_late = match files.last_mut() {
            Some((_, file, _)) => first_number(file)?.is_some_and(|number| number > 1),
            None => false,
        };
        is_partial |= starts_late;
        let mut verifier = Verifier::new(self.key.clone(), is_partial);
        let count = files.len();
        for (name, file, length) in files.into_iter().rev() {
            verifier.verify_reader(&name, BufReader::new(file.take(length)))?;
        }
        Ok(TrailReport {
            report: verifier.into_report(),
            files: count,
            is_partial,
        })
    }
}

/// Returns the length of a file up to its last line break.
fn complete_length(mut file: &std::fs::File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAX_LINE_BYTES as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(length - start).read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let kept = end.iter().rposition(|byte| *byte == b'\n');
    Ok(start + kept.map_or(0, |at| at as u64 + 1))
}

/// Returns the number of the first entry of a file.
fn first_number(mut file: &std::fs::File) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    read_line(
        &mut BufReader::new(file.take(MAX_LINE_BYTES as u64)),
        &mut line,
    )?;
    file.seek(SeekFrom::Start(0))?;
    Ok(ParsedLine::parse(&line).map(|line| line.seq))
}
