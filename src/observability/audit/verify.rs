//! Verifies a log: all entries are present, unchanged and in order.

use std::{
    fmt,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use portkey_bounded_file::{display_path, open};
use serde::Deserialize;

use super::{
    LogEvent,
    bounded_lines::{BoundedLine, read_line},
    chain::{AuditKey, Chain, ChainLink, ParsedLine},
};
/// Maximum number of reported findings; a file that is no audit log would have one for each line.
const MAX_FINDINGS: usize = 100;

/// Reads a log from its first entry on and collects findings.
#[derive(Debug)]
pub struct Verifier {
    chain: Chain,
    is_keyed: bool,
    expected_hash: Option<String>,
    /// Number of the previous entry, and its hash if known; `None` before the first.
    position: Option<(u64, Option<String>)>,
    report: Report,
}

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of lines read.
    pub lines: u64,
    /// Files without any line, as they were named.
    pub empty: Vec<String>,
    /// Number of lines that are unchanged.
    pub intact: u64,
    /// Number of the first entry.
    pub first: Option<u64>,
    /// Number and hash of the last unchanged entry. Noted elsewhere, they show later whether
    /// entries were cut off the end.
    pub last: Option<(u64, String)>,
    /// Number of calls without an entry, as the log itself reports: the queue was full.
    pub lost_calls: u64,
    /// Findings in the order of the lines; at most a hundred.
    pub findings: Vec<Finding>,
    /// Number of findings beyond those.
    pub more_findings: u64,
    /// True if the expected hash was found, or none was expected.
    pub contains: bool,
}

/// A defect in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the file.
    pub file: String,
    /// Number of the line in the file, from one.
    pub line: u64,
    /// The kind of defect.
    pub damage: Damage,
}

/// The kinds of defects of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The line is no entry of an audit log.
    Unreadable,
    /// The entry was changed after it was written.
    Changed,
    /// Entries before this one are missing.
    Missing {
        /// Number of the first missing entry.
        from: u64,
        /// Number of the last missing entry.
        to: u64,
    },
    /// The entry was moved or inserted: it follows one with a higher or equal number.
    Misplaced {
        /// Number of the entry.
        seq: u64,
        /// Number of the previous entry.
        after: u64,
    },
    /// The previous entry is not the one that preceded this entry when it was written.
    Unlinked,
    /// The line has no line break, so it was not written completely.
    Truncated,
    /// The entry has a plain hash where a keyed one is expected, so anyone could have written it.
    NotKeyed,
    /// The entry has a keyed hash, and no key was given to check it.
    Keyed,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("this is no line of an audit log"),
            Self::Changed => f.write_str("this line was changed after it was written"),
            Self::Missing { from, to } if from == to => {
                write!(f, "line {from} of the chain is missing before this one")
            }
            Self::Missing { from, to } => {
                write!(
                    f,
                    "lines {from} to {to} of the chain are missing before this one"
                )
            }
            Self::Misplaced { seq, after } => {
                write!(
                    f,
                    "line {seq} of the chain stands after line {after}: it was moved or put in"
                )
            }
            Self::Unlinked => {
                f.write_str("the line before this one is another than when it was written")
            }
            Self::Truncated => f.write_str("this line was cut off"),
            Self::NotKeyed => {
                f.write_str("this line has no keyed hash: it was not written with the key")
            }
            Self::Keyed => {
                f.write_str("this line has a keyed hash: give the key with --audit-key-file")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.damage)
    }
}

/// An entry about the log itself.
#[derive(Deserialize)]
struct EventLine {
    event: LogEvent,
    #[serde(default)]
    lost: u64,
}

impl Verifier {
    /// Creates a verifier for entries written with this key, or without one. `partial` accepts that
    /// the first files are missing.
    pub fn new(key: Option<AuditKey>, partial: bool) -> Self {
        let keyed = key.is_some();
        let at = (!partial).then(|| {
            let ChainLink { seq, tag } = ChainLink::genesis();
            (seq, Some(tag))
        });
        let report = Report {
            contains: true,
            ..Report::default()
        };
        Self {
            chain: Chain::new(key),
            is_keyed: keyed,
            expected_hash: None,
            position: at,
            report,
        }
    }

    /// Requires an entry with this hash, which was noted earlier.
    pub fn with_expected_hash(mut self, hash: &str) -> Self {
        self.expected_hash = Some(hash.to_owned());
        self.report.contains = false;
        self
    }

    /// Verifies files that form one chain, given in any order.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn verify_files(mut self, paths: &[PathBuf]) -> io::Result<Report> {
        let mut files = Vec::new();
        for path in paths {
            let context = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot read {}: {error}", display_path(path)),
                )
            };
            let file = open(path).map_err(context)?;
            let mut first = Vec::new();
            read_line(&mut BufReader::new(file), &mut first).map_err(context)?;
            let seq = ParsedLine::parse(&first).map(|line| line.seq);
            files.push((seq.unwrap_or(u64::MAX), path));
        }
        files.sort_by_key(|(seq, _)| *seq);
        for (_, path) in files {
            let name = display_path(path).to_string();
            let before = self.report.lines;
            self.verify_reader(&name, BufReader::new(open(path)?))?;
            if self.report.lines == before {
                self.report.empty.push(name);
            }
        }
        Ok(self.into_report())
    }

    /// Verifies the next part of the chain.
    ///
    /// # Errors
    /// Returns an error if the text cannot be read.
    pub fn verify_reader(&mut self, file: &str, mut text: impl BufRead) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in 1.. {
            let read = read_line(&mut text, &mut bytes)?;
            if read == BoundedLine::End {
                break;
            }
            self.report.lines += 1;
            let damage = match read {
                BoundedLine::Partial => Some(Damage::Truncated),
                BoundedLine::TooLong => self.check_line(None),
                BoundedLine::Complete | BoundedLine::End => self.check_line(Some(&bytes)),
            };
            let Some(damage) = damage else { continue };
            if self.report.findings.len() < MAX_FINDINGS {
                self.report.findings.push(Finding {
                    file: file.to_owned(),
                    line,
                    damage,
                });
            } else {
                self.report.more_findings += 1;
            }
        }
        Ok(())
    }

    /// Returns the findings.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Returns the defect of a line, if any. `bytes` is `None` for a line longer than any entry.
    fn check_line(&mut self, bytes: Option<&[u8]>) -> Option<Damage> {
        let next = self.position.as_ref().map(|(seq, _)| seq.saturating_add(1));
        let bytes = bytes.unwrap_or_default();
        let damage = match ParsedLine::parse(bytes) {
            None => Damage::Unreadable,
            Some(line) if line.is_keyed && !self.is_keyed => Damage::Keyed,
            Some(line) if self.is_keyed && !line.is_keyed => Damage::NotKeyed,
            Some(line) if !self.chain.matches(&line) => Damage::Changed,
            Some(line) => return self.check_position(&line, bytes),
        };
        // The number and hash of this entry are unknown, so the next one is not compared with them.
        self.position = next.map(|seq| (seq, None));
        Some(damage)
    }

    /// Checks that an unchanged entry is in the right position.
    fn check_position(&mut self, line: &ParsedLine<'_>, bytes: &[u8]) -> Option<Damage> {
        let seq = line.seq;
        let damage = match &self.position {
            Some((after, _)) if seq <= *after => {
                return Some(Damage::Misplaced { seq, after: *after });
            }
            Some((after, _)) if seq - 1 > *after => Some(Damage::Missing {
                from: after + 1,
                to: seq - 1,
            }),
            Some((_, Some(tag))) if tag != line.prev => Some(Damage::Unlinked),
            _ => None,
        };
        self.report.first.get_or_insert(seq);
        self.report.intact += 1;
        self.report.contains |= self.expected_hash.as_deref() == Some(line.tag);
        let ChainLink { seq, tag } = line.to_link();
        self.position = Some((seq, Some(tag.clone())));
        self.report.last = Some((seq, tag));
        if let Ok(EventLine { event, lost }) = serde_json::from_slice(bytes)
            && event == LogEvent::Gap
        {
            self.report.lost_calls = self.report.lost_calls.saturating_add(lost);
        }
        damage
    }
}
