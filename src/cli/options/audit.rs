//! Options of the audit log.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use portkey_bounded_file::display_path;

use crate::observability::audit::{AuditKey, AuditSettings, AuditTarget, AuditTrail, SyncPolicy};

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Audit")]
pub(crate) struct AuditOptions {
    /// File for the audit log, with an entry for each call, or - for standard error; see docs/audit.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_LOG",
        value_name = "FILE | -"
    )]
    audit_log: Option<PathBuf>,
    /// File with a key of at least 32 characters. Without the key, a process that can write the log cannot
    /// forge its chain.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_KEY_FILE",
        value_name = "FILE"
    )]
    audit_key_file: Option<PathBuf>,
    /// Time at which entries are synchronized to disk.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_AUDIT_SYNC",
        default_value = "always"
    )]
    audit_sync: AuditSyncMode,
    /// Treatment of writes while the log is unavailable.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_AUDIT_FAILURE",
        default_value = "deny"
    )]
    audit_failure: AuditFailureMode,
    /// Maximum size of a file, in bytes, after which the next file begins; without it, there is one file.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_AUDIT_MAX_BYTES",
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    audit_max_bytes: Option<u64>,
    /// Maximum number of full files, after which the oldest is deleted; without it, all remain.
    #[arg(long, global = true, env = "PORTKEY_MCP_AUDIT_KEEP", value_name = "N")]
    audit_keep: Option<usize>,
}

/// Time at which entries are synchronized to disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuditSyncMode {
    /// Each entry immediately, and the intent of a write before it is sent.
    Always,
    /// Entries once a second, and the intent of a write before it is sent.
    Interval,
    /// Whenever the operating system chooses.
    Never,
}

/// Treatment of writes while the log is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditFailureMode {
    /// Deny writes.
    Deny,
    /// Send writes unrecorded.
    Allow,
}

impl AuditOptions {
    /// Returns the settings of the audit log, if there is one.
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
            AuditSyncMode::Always => SyncPolicy::Always,
            AuditSyncMode::Interval => SyncPolicy::Interval,
            AuditSyncMode::Never => SyncPolicy::Never,
        };
        Ok(Some(AuditSettings {
            target,
            key: self.key()?,
            sync,
            allow_unrecorded_writes: self.audit_failure == AuditFailureMode::Allow,
            max_bytes: self.audit_max_bytes,
            max_full_files: self.audit_keep,
        }))
    }

    /// Returns the log as the console reads it, if it is a file.
    ///
    /// # Errors
    /// Returns an error if the key cannot be read.
    pub(super) fn trail(&self) -> anyhow::Result<Option<AuditTrail>> {
        let trail = |path: &Path| Ok(AuditTrail::new(path.to_owned(), self.key()?));
        self.file().map(trail).transpose()
    }

    /// Returns the file of the audit log, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        let file = self.audit_log.as_deref();
        file.filter(|path| path.as_os_str() != "-")
    }

    /// Returns the key of the audit log's hash chain.
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
