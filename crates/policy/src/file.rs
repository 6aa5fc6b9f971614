//! Policies in files, reloaded when the files change.

use std::path::Path;

use anyhow::Context;
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, read_text, shown};
use portkey_file_watch::{FileKind, Parsed, Watched};
use tracing::warn;

use super::Policy;
impl Policy {
    /// Reads a policy file and reloads it when it changes. An invalid version is logged, and the
    /// previous version stays in effect.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is invalid. The message names the file, the
    /// lines and the reasons.
    pub fn watched(file: &Path) -> anyhow::Result<Watched<Self>> {
        let name = named(file);
        Watched::start(file, move |text| {
            let value = Self::of(&name, text)?;
            Ok(Parsed {
                value,
                files: Vec::new(),
            })
        })
        .map(|policy| policy.named(FileKind::PolicyFile))
    }

    /// Reads a policy file once.
    ///
    /// # Errors
    /// Returns the errors of [`Policy::watched`].
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let told = || format!("cannot use {}", shown(file));
        let text = read_text(file, MAX_CONFIG_BYTES).with_context(told)?;
        Self::of(&named(file), &text).with_context(told)
    }

    /// Reads a policy file once, without logging its [warnings](Policy::warnings).
    ///
    /// # Errors
    /// Returns the errors of [`Policy::watched`].
    pub fn quiet(file: &Path) -> anyhow::Result<Self> {
        let told = || format!("cannot use {}", shown(file));
        let text = read_text(file, MAX_CONFIG_BYTES).with_context(told)?;
        Self::parse(&named(file), &text, &Catalog::full()).with_context(told)
    }

    fn of(name: &str, text: &str) -> anyhow::Result<Self> {
        let policy = Self::parse(name, text, &Catalog::full())?;
        for warning in &policy.warnings {
            warn!(
                policy = name,
                warning, "the policy may not mean what it says"
            );
        }
        Ok(policy)
    }
}

fn named(file: &Path) -> String {
    shown(Path::new(file.file_name().unwrap_or(file.as_os_str()))).to_string()
}
