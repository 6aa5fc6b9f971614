//! Options of the journal of changes.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, builder::BoolishValueParser};
use etcetera::BaseStrategy;
use portkey_bounded_file::display_path;
use portkey_journal::{JournalPlace, JournalSettings, Retention};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::security::secrets::{self, FileProtection, read_protected_file};

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Journal")]
pub(crate) struct JournalOptions {
    /// File for the history of changes, with the state before each write; see docs/changes.md. By default
    /// journal.db in the user's state folder for stdio, call and changes, and none for http and with --sandbox.
    #[arg(long, global = true, env = "PORTKEY_MCP_JOURNAL", value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Address of a PostgreSQL database for the history, which all replicas share, such as
    /// postgres://user:password@host:5432/database?sslmode=verify-full. Prefer the variable or --journal-url-file.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_JOURNAL_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    journal_url: Option<SecretString>,
    /// File that contains the address of the PostgreSQL database for the history.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_JOURNAL_URL_FILE",
        value_name = "FILE"
    )]
    journal_url_file: Option<PathBuf>,
    /// Keep no history of changes.
    #[arg(long, global = true, env = "PORTKEY_MCP_NO_JOURNAL", value_parser = BoolishValueParser::new())]
    no_journal: bool,
    /// Age after which a change is removed from the history: a number with h, d or w.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_JOURNAL_MAX_AGE",
        value_name = "AGE",
        default_value = "90d",
        value_parser = parse_age
    )]
    journal_max_age: Duration,
    /// Size of the history above which the oldest changes are removed, in bytes.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_JOURNAL_MAX_BYTES",
        value_name = "BYTES",
        default_value = "268435456",
        value_parser = clap::value_parser!(u64).range(1_048_576..)
    )]
    journal_max_bytes: u64,
}

impl JournalOptions {
    /// Returns the settings of the journal, if a file or a database is named.
    ///
    /// # Errors
    /// Returns an error if the options contradict each other, or the file of the address cannot be read.
    pub(super) fn settings(&self) -> anyhow::Result<Option<JournalSettings>> {
        if self.no_journal && self.journal.is_some() {
            bail!("--journal names a file, and --no-journal wants none; give one of them");
        }
        let Some(address) = self.address()? else {
            return Ok(self.journal.clone().map(|path| self.with_file(path, false)));
        };
        if self.no_journal {
            bail!(
                "--journal-url names a database for the history, and --no-journal wants none; give one of them"
            );
        }
        if self.journal.is_some() {
            bail!(
                "--journal names a file for the history, and --journal-url a database; give one of them"
            );
        }
        Ok(Some(self.with_place(JournalPlace::Postgres { address })))
    }

    /// Returns the address of the database, and learns its password, so that nothing shows it.
    fn address(&self) -> anyhow::Result<Option<SecretString>> {
        let address = match (&self.journal_url, &self.journal_url_file) {
            (Some(_), Some(_)) => bail!(
                "both an address and a file with one are given; set only one of PORTKEY_MCP_JOURNAL_URL \
                 (--journal-url) and PORTKEY_MCP_JOURNAL_URL_FILE (--journal-url-file)"
            ),
            (Some(address), None) => address.clone(),
            (None, Some(file)) => {
                let context = || format!("cannot read {}", display_path(file));
                read_protected_file(file, FileProtection::Secret).with_context(context)?
            }
            (None, None) => return Ok(None),
        };
        if let Ok(url) = Url::parse(address.expose_secret().trim()) {
            url.password().into_iter().for_each(secrets::learn_key);
        }
        Ok(Some(address))
    }

    /// Returns the settings of the journal, in the user's state folder if no file is named.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub(super) fn settings_or_default(&self) -> anyhow::Result<Option<JournalSettings>> {
        let named = self.settings()?;
        if named.is_some() || self.no_journal {
            return Ok(named);
        }
        match state_folder() {
            Some(folder) => Ok(Some(self.with_file(folder.join("journal.db"), true))),
            None => {
                tracing::warn!(
                    "there is no home folder, so that no history of changes is kept; name a file with --journal"
                );
                Ok(None)
            }
        }
    }

    fn with_file(&self, path: PathBuf, is_default: bool) -> JournalSettings {
        self.with_place(JournalPlace::File { path, is_default })
    }

    /// Returns true if a file or a database is named, or a file in the user's state folder is not ruled
    /// out.
    pub(super) const fn is_kept(&self, by_default: bool) -> bool {
        let is_named =
            self.journal.is_some() || self.journal_url.is_some() || self.journal_url_file.is_some();
        !self.no_journal && (is_named || by_default)
    }

    fn with_place(&self, place: JournalPlace) -> JournalSettings {
        JournalSettings {
            place,
            retention: Retention {
                max_age: self.journal_max_age,
                max_bytes: self.journal_max_bytes,
            },
        }
    }
}

/// Returns the folder for this program's state: `$XDG_STATE_HOME/portkey-mcp` and its defaults, or the
/// platform's folder for data.
fn state_folder() -> Option<PathBuf> {
    let places = etcetera::choose_base_strategy().ok()?;
    let folder = places.state_dir().unwrap_or_else(|| places.data_dir());
    Some(folder.join(env!("CARGO_PKG_NAME")))
}

/// Parses an age such as `90d`.
fn parse_age(text: &str) -> anyhow::Result<Duration> {
    const EXPECTED: &str = "give a number with h, d or w, such as 90d";
    let (number, unit) = text
        .char_indices()
        .last()
        .map(|(at, _)| text.split_at(at))
        .context(EXPECTED)?;
    let hours: u64 = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 24 * 7,
        _ => bail!(EXPECTED),
    };
    let number: u32 = number.parse().context(EXPECTED)?;
    if number == 0 {
        bail!("{EXPECTED}; zero keeps nothing, as --no-journal does");
    }
    Ok(Duration::from_secs(u64::from(number) * hours * 3600))
}
