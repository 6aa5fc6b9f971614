//! Policies in files, reloaded when the files change.

use std::path::Path;

use anyhow::Context;
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use portkey_file_watch::{FileKind, ParsedValue, WatchedValue};
use tracing::warn;

use super::Policy;
impl Policy {
    /// Reads a policy file and reloads it when it changes. An invalid version is logged, and the
    /// previous version stays in effect.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is invalid. The message names the file, the
    /// lines and the reasons.
    pub fn watch(file: &Path) -> anyhow::Result<WatchedValue<Self>> {
        let name = policy_name(file);
        WatchedValue::from_file(file, move |text| {
            let value = Self::parse_and_warn(&name, text)?;
            Ok(ParsedValue {
                value,
                files: Vec::new(),
            })
        })
        .map(|policy| policy.with_kind(FileKind::PolicyFile))
    }

    /// Reads a policy file once.
    ///
    /// # Errors
    /// Returns the errors of [`Policy::watch`].
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use {}", display_path(file));
        let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
        Self::parse_and_warn(&policy_name(file), &text).with_context(context)
    }

    /// Reads a policy file once, without logging its [warnings](Policy::warnings).
    ///
    /// # Errors
    /// Returns the errors of [`Policy::watch`].
    pub fn load_without_warnings(file: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use {}", display_path(file));
        let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
        Self::parse(&policy_name(file), &text, &Catalog::full()).with_context(context)
    }

    fn parse_and_warn(name: &str, text: &str) -> anyhow::Result<Self> {
        let policy = Self::parse(name, text, &Catalog::full())?;
        for note in &policy.notes {
            warn!(
                policy = name,
                note, "the policy closes prompts and resources"
            );
        }
        for warning in &policy.warnings {
            warn!(
                policy = name,
                warning, "the policy may not mean what it says"
            );
        }
        Ok(policy)
    }
}

fn policy_name(file: &Path) -> String {
    display_path(Path::new(file.file_name().unwrap_or(file.as_os_str()))).to_string()
}
