//! Options of the audit log, and `portkey-mcp audit`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use portkey_bounded_file::shown;

use crate::{
    observability::audit::{Audit, Key, Settings, SyncPolicy, Target, Verifier},
    security::sanitize::one_line,
};

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Audit")]
pub(crate) struct AuditOptions {
    /// File that gets a line for each call, or - for standard error; see docs/audit.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_LOG",
        value_name = "FILE | -"
    )]
    audit_log: Option<PathBuf>,
    /// File with a key of 32 characters or more, so that whoever can write the log cannot rebuild it.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_KEY_FILE",
        value_name = "FILE"
    )]
    audit_key_file: Option<PathBuf>,
    /// When lines are forced to disk.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_SYNC",
        default_value = "always"
    )]
    audit_sync: When,
    /// What happens to writes while the log cannot be written.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_FAILURE",
        default_value = "deny"
    )]
    audit_failure: OnFailure,
    /// Size at which the next file begins, in bytes; without it there is one file.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_MAX_BYTES",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    audit_max_bytes: Option<u64>,
    /// How many full files stay; without it, all.
    #[arg(long, global = true, env = "PORTKEY_MCP_AUDIT_KEEP", value_name = "N")]
    audit_keep: Option<usize>,
}

/// When lines are forced to disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// A write's intent before it is sent, and lines as they are written.
    Always,
    /// The same, but lines once a second.
    Interval,
    /// When the system sees fit.
    Never,
}

/// What happens to writes while the log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    /// They are not sent.
    Deny,
    /// They are sent.
    Allow,
}

impl AuditOptions {
    /// Starts the audit log, if one is wanted.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn start(&self) -> anyhow::Result<Option<Audit>> {
        let Some(path) = &self.audit_log else {
            return Ok(None);
        };
        let target = match path.to_str() {
            Some("-") => Target::Stderr,
            _ => Target::File(path.clone()),
        };
        let sync = match self.audit_sync {
            When::Always => SyncPolicy::Always,
            When::Interval => SyncPolicy::Interval,
            When::Never => SyncPolicy::Never,
        };
        let settings = Settings {
            target,
            key: self.key()?,
            sync,
            writes_go_unrecorded: self.audit_failure == OnFailure::Allow,
            max_bytes: self.audit_max_bytes,
            keep: self.audit_keep,
        };
        Ok(Some(Audit::start(settings)?))
    }

    fn key(&self) -> anyhow::Result<Option<Key>> {
        let read = |file: &PathBuf| {
            Key::read(file).with_context(|| format!("cannot use the audit key {}", shown(file)))
        };
        self.audit_key_file.as_ref().map(read).transpose()
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line of an audit log is missing, changed, moved or put in; exit with 1 if one is.
    #[command(after_help = "\
Examples:
  portkey-mcp audit verify audit.jsonl
  portkey-mcp audit verify audit.jsonl audit.jsonl.[0-9]* --audit-key-file audit.key")]
    Verify(Verify),
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The files of one log, in any order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The first files are elsewhere: the chain may begin in its middle.
    #[arg(long)]
    partial: bool,
    /// A hash that was noted before and has to be there still.
    #[arg(long, value_name = "HASH")]
    contains: Option<String>,
}

impl Command {
    pub(super) fn run(
        &self,
        options: &AuditOptions,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let Self::Verify(Verify {
            files,
            partial,
            contains,
        }) = self;
        let mut verifier = Verifier::new(options.key()?, *partial);
        if let Some(hash) = contains {
            verifier = verifier.expecting(hash);
        }
        let report = verifier.files(files)?;
        for finding in &report.findings {
            writeln!(out, "{}", one_line(&finding.to_string()))?;
        }
        if report.more > 0 {
            writeln!(out, "and {} more", report.more)?;
        }
        if report.lost > 0 {
            writeln!(
                out,
                "{} calls have no line: the log could not be written for too long",
                report.lost
            )?;
        }
        match &report.last {
            Some((seq, hash)) => {
                let first = report.first.unwrap_or_default();
                writeln!(
                    out,
                    "lines {first} to {seq} of the chain, the last with the hash {hash}"
                )?;
            }
            None => writeln!(out, "there is no line of the chain")?,
        }
        if !report.contains {
            bail!(
                "the hash that has to be there is not: lines were cut off, or the chain was built anew"
            );
        }
        Ok(if report.findings.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
