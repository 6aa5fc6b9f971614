//! Options for secrets: the delivery of revealed ones, and the references that arguments may use.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use portkey_bounded_file::display_path;

use crate::security::secrets::{AllowedReferences, DeliveryMode, SecretReferences, Secrets};

/// Delivery of secrets that a call reveals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SecretDeliveryMode {
    /// In the result.
    #[default]
    Inline,
    /// In a file of --secrets-dir, on the server's machine; the result has its path.
    File,
    /// No delivery: calls that reveal a secret are denied.
    Deny,
}

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct SecretOptions {
    /// Delivery of new keys, invite links and signed addresses to the caller.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_SECRETS",
        default_value = "inline"
    )]
    secrets: SecretDeliveryMode,
    /// Folder for --secrets file; created if missing, without access for other users.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SECRETS_DIR",
        value_name = "DIR"
    )]
    secrets_dir: Option<PathBuf>,
    /// Variable that secret arguments may reference as $env:NAME, with * for any characters; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SECRET_ENV",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    secret_env: Vec<String>,
    /// Folder of files that secret arguments may reference as $file:PATH; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SECRET_DIRS",
        value_delimiter = ',',
        value_name = "DIR"
    )]
    secret_dir: Vec<PathBuf>,
    /// Caller that may use such references, in addition to the local one, with * for any characters; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SECRET_CALLERS",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    secret_caller: Vec<String>,
}

impl SecretOptions {
    /// Checks that the options fit each other, without a look at their folders.
    ///
    /// # Errors
    /// Returns an error if they contradict each other.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match (self.secrets, &self.secrets_dir) {
            (SecretDeliveryMode::File, None) => bail!("--secrets file needs --secrets-dir"),
            (SecretDeliveryMode::Inline | SecretDeliveryMode::Deny, Some(_)) => {
                bail!("--secrets-dir belongs to --secrets file; leave one of the two out")
            }
            _ => Ok(()),
        }
    }

    /// Builds the settings for secrets.
    ///
    /// # Errors
    /// Returns an error if options contradict each other, or a folder cannot be used.
    pub(crate) fn build(&self) -> anyhow::Result<Secrets> {
        self.check()?;
        let delivery = match (self.secrets, &self.secrets_dir) {
            (SecretDeliveryMode::Inline, _) => DeliveryMode::Inline,
            (SecretDeliveryMode::File, Some(folder)) => DeliveryMode::in_folder(folder)
                .with_context(|| {
                    format!("--secrets-dir {} cannot be used", display_path(folder))
                })?,
            // `check` rejects `file` without a folder.
            (SecretDeliveryMode::Deny | SecretDeliveryMode::File, _) => DeliveryMode::Deny,
        };
        let references = SecretReferences::open(&AllowedReferences {
            variables: self.secret_env.clone(),
            folders: self.secret_dir.clone(),
            callers: self.secret_caller.clone(),
        })
        .context("--secret-env, --secret-dir or --secret-caller cannot be used")?;
        Ok(Secrets::new(delivery, references))
    }
}
