//! `portkey-mcp audit`: verification of audit logs.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand};

use super::options::AuditOptions;
use crate::{observability::audit::Verifier, security::sanitize::escape_to_one_line};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no entry of an audit log was removed, changed, moved or inserted. The exit code is 1 if one
    /// was, or if the log has no entries.
    #[command(after_help = "\
Examples:
  portkey-mcp audit verify audit.jsonl
  portkey-mcp audit verify audit.jsonl audit.jsonl.[0-9]* --audit-key-file audit.key")]
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Files of one log, in any order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Accept a log without its first files: the chain may begin in the middle.
    #[arg(long)]
    partial: bool,
    /// Hash of an earlier verification, which the log still has to contain.
    #[arg(long, value_name = "HASH")]
    contains: Option<String>,
}

impl AuditCommand {
    pub(super) fn run(
        &self,
        options: &AuditOptions,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let Self::Verify(VerifyArgs {
            files,
            partial,
            contains,
        }) = self;
        let mut verifier = Verifier::new(options.key()?, *partial);
        if let Some(hash) = contains {
            verifier = verifier.with_expected_hash(hash);
        }
        let report = verifier.verify_files(files)?;
        for finding in &report.findings {
            writeln!(out, "{}", escape_to_one_line(&finding.to_string()))?;
        }
        if report.more_findings > 0 {
            writeln!(out, "and {} more", report.more_findings)?;
        }
        if report.lost_calls > 0 {
            writeln!(
                out,
                "{} calls have no entry: the log was unavailable for too long",
                report.lost_calls
            )?;
        }
        for file in &report.empty {
            writeln!(
                out,
                "{}: 0 entries: the file is empty",
                escape_to_one_line(file)
            )?;
        }
        match &report.last {
            Some((seq, hash)) => {
                let first = report.first.unwrap_or_default();
                let intact = report.intact;
                match intact == seq.saturating_sub(first).saturating_add(1) {
                    true => write!(out, "lines {first} to {seq} of the chain")?,
                    false => write!(
                        out,
                        "{intact} of the lines {first} to {seq} of the chain are intact"
                    )?,
                }
                writeln!(out, ", the last with the hash {hash}")?;
            }
            None => writeln!(out, "the log has no entries")?,
        }
        if !report.contains {
            bail!(
                "the log does not contain the expected hash: lines were removed, or the chain was rebuilt"
            );
        }
        // A log that was emptied cannot be distinguished from one that never had a line.
        let is_whole = report.findings.is_empty() && report.lines > 0;
        Ok(if is_whole {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
