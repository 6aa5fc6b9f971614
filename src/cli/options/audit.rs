//! Options of the audit log.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use portkey_bounded_file::display_path;

use crate::observability::audit::{AuditKey, AuditSettings, AuditTarget, SyncPolicy};

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
    /// Settings of the audit log, if there is one.
    ///
    /// # Errors
    /// Returns an error if the key cannot be read.
    pub(super) fn settings(&self) -> anyhow::Result<Option<AuditSettings>> {
        let Some(path) = &self.audit_log else {
            return Ok(None);
        };
        let target = match path.to_str() {
            Some("-") => AuditTarget::Stderr,
            _ => AuditTarget::File(path.clone()),
        };
        let sync = match self.audit_sync {
            When::Always => SyncPolicy::Always,
            When::Interval => SyncPolicy::Interval,
            When::Never => SyncPolicy::Never,
        };
        Ok(Some(AuditSettings {
            target,
            key: self.key()?,
            sync,
            allow_unrecorded_writes: self.audit_failure == OnFailure::Allow,
            max_bytes: self.audit_max_bytes,
            max_full_files: self.audit_keep,
        }))
    }

    /// Key that the chain of the audit log is computed with.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is too short.
    pub(crate) fn key(&self) -> anyhow::Result<Option<AuditKey>> {
        let read = |file: &PathBuf| {
            AuditKey::from_file(file)
                .with_context(|| format!("cannot use the audit key {}", display_path(file)))
        };
        self.audit_key_file.as_ref().map(read).transpose()
    }
}
