//! Whether a log is as it was written: every line there, unchanged, in its place.

use std::{
    fmt,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use portkey_bounded_file::{open, shown};
use serde::Deserialize;

use super::{
    LogEvent,
    chain::{Chain, Key, Link, Sealed},
    lines::{BoundedLine, read_line},
};
/// How many findings are kept; a file that is none of ours would have one for each line.
const MOST_FINDINGS: usize = 100;

/// Reads a log from its first line on and notes what is wrong with it.
#[derive(Debug)]
pub struct Verifier {
    chain: Chain,
    keyed: bool,
    expected: Option<String>,
    /// The number of the line before, and its hash if that is known; none before the first.
    at: Option<(u64, Option<String>)>,
    report: Report,
}

/// What there is to say of a log.
#[derive(Debug, Default)]
pub struct Report {
    /// How many lines were read.
    pub lines: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The number of the last line that is as it was written, and its hash. Noted elsewhere, they show
    /// later whether lines were cut off the end.
    pub last: Option<(u64, String)>,
    /// How many calls have no line, by the log's own account: there was no room left to keep them in.
    pub lost: u64,
    /// What is wrong, in the order of the lines; at most a hundred.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub more: u64,
    /// Whether the hash that was asked for is there.
    pub contains: bool,
}

/// Something wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file it was found in.
    pub file: String,
    /// The line there, counted from one.
    pub line: u64,
    /// What it is.
    pub damage: Damage,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is no line of an audit log.
    Unreadable,
    /// It is not as it was written.
    Changed,
    /// Lines before it are missing.
    Missing {
        /// The number of the first of them.
        from: u64,
        /// And of the last.
        to: u64,
    },
    /// It stands after a line that it precedes, or was put in.
    Misplaced {
        /// Its number.
        seq: u64,
        /// The number of the line before it.
        after: u64,
    },
    /// The line before it is not the one that was there when it was written.
    Unlinked,
    /// It ends without a line break, as nothing does that was written to its end.
    Torn,
    /// It has a plain hash where a keyed one is expected, so anyone could have written it.
    NotKeyed,
    /// It has a keyed hash, and there is no key to check it with.
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
            Self::Torn => f.write_str("this line was cut off"),
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

/// A line of the log's own.
#[derive(Deserialize)]
struct Event {
    event: LogEvent,
    #[serde(default)]
    lost: u64,
}

impl Verifier {
    /// Expects lines written with this key, or without any. `partial` allows for the first files to be
    /// elsewhere.
    pub fn new(key: Option<Key>, partial: bool) -> Self {
        let keyed = key.is_some();
        let at = (!partial).then(|| {
            let Link { seq, tag } = Link::first();
            (seq, Some(tag))
        });
        let report = Report {
            contains: true,
            ..Report::default()
        };
        Self {
            chain: Chain::new(key),
            keyed,
            expected: None,
            at,
            report,
        }
    }

    /// The same, and looks for a line with this hash, which was noted before.
    pub fn expecting(mut self, hash: &str) -> Self {
        self.expected = Some(hash.to_owned());
        self.report.contains = false;
        self
    }

    /// Reads files that are one chain, in the chain's order, whatever the order given.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn files(mut self, paths: &[PathBuf]) -> io::Result<Report> {
        let mut files = Vec::new();
        for path in paths {
            let told = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot read {}: {error}", shown(path)),
                )
            };
            let (file, mut first) = (open(path).map_err(told)?, Vec::new());
            read_line(&mut BufReader::new(file), &mut first).map_err(told)?;
            let seq = Sealed::read(&first).map(|line| line.seq);
            files.push((seq.unwrap_or(u64::MAX), path));
        }
        files.sort_by_key(|(seq, _)| *seq);
        for (_, path) in files {
            self.read(&shown(path).to_string(), BufReader::new(open(path)?))?;
        }
        Ok(self.report())
    }

    /// Reads what comes next in the chain.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, file: &str, mut text: impl BufRead) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in 1.. {
            let read = read_line(&mut text, &mut bytes)?;
            if read == BoundedLine::End {
                break;
            }
            self.report.lines += 1;
            let damage = match read {
                BoundedLine::Torn => Some(Damage::Torn),
                BoundedLine::TooLong => self.line(None),
                BoundedLine::Whole | BoundedLine::End => self.line(Some(&bytes)),
            };
            let Some(damage) = damage else { continue };
            if self.report.findings.len() < MOST_FINDINGS {
                self.report.findings.push(Finding {
                    file: file.to_owned(),
                    line,
                    damage,
                });
            } else {
                self.report.more += 1;
            }
        }
        Ok(())
    }

    /// What was found.
    pub fn report(self) -> Report {
        self.report
    }

    /// What is wrong with a line; there are no bytes of one that is longer than any of a log.
    fn line(&mut self, bytes: Option<&[u8]>) -> Option<Damage> {
        let next = self.at.as_ref().map(|(seq, _)| seq.saturating_add(1));
        let bytes = bytes.unwrap_or_default();
        let damage = match Sealed::read(bytes) {
            None => Damage::Unreadable,
            Some(line) if line.keyed && !self.keyed => Damage::Keyed,
            Some(line) if self.keyed && !line.keyed => Damage::NotKeyed,
            Some(line) if !self.chain.vouches_for(&line) => Damage::Changed,
            Some(line) => return self.place(&line, bytes),
        };
        // Which number and hash it had is not known; the next line tells.
        self.at = next.map(|seq| (seq, None));
        Some(damage)
    }

    /// Whether an unchanged line is where it belongs.
    fn place(&mut self, line: &Sealed<'_>, bytes: &[u8]) -> Option<Damage> {
        let seq = line.seq;
        let damage = match &self.at {
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
        self.report.contains |= self.expected.as_deref() == Some(line.tag);
        let Link { seq, tag } = line.link();
        self.at = Some((seq, Some(tag.clone())));
        self.report.last = Some((seq, tag));
        if let Ok(Event { event, lost }) = serde_json::from_slice(bytes)
            && event == LogEvent::Gap
        {
            self.report.lost = self.report.lost.saturating_add(lost);
        }
        damage
    }
}
