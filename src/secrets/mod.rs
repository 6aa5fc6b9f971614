//! Secrets on their way through: masked in answers, handed over where a call is there to reveal one,
//! fetched where an argument only says where it is, and kept out of every line of the log.

mod folder;
mod handover;
mod mask;
mod names;
mod permissions;
mod redact;
mod references;
mod scan;

use std::{io, path::PathBuf};

use serde_json::Value;

use crate::operation::{Effect, JsonMap, Operation, Published, Slot};

use mask::Texts;

pub use handover::{Delivery, Handover};
pub use mask::{is_masked, mask};
pub use names::is_secret_name;
pub use permissions::{Guarded, check_permissions, read_guarded};
pub use redact::{BLANK, mask_arguments, redacted};
pub use references::{Allowed, Caller, References, Unresolved};
pub use scan::{MASK, has_own, learn, mask as mask_text, mask_line};

/// What the operator decided about secrets. By default those that calls reveal are handed to whoever
/// calls, and no argument may refer to one.
#[derive(Debug, Default)]
pub struct Secrets {
    delivery: Delivery,
    references: References,
}

/// Why a call goes no further for the sake of a secret. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A value that was masked comes back.
    #[error(
        "`{0}`: holds a masked value, which would overwrite the real one. Leave the field out to keep what \
         is stored, or give the real value"
    )]
    Masked(String),
    /// A masked value where nothing is stored yet.
    #[error(
        "`{0}`: is a placeholder, and nothing is stored yet that it could stand for. Give the key, or a \
         reference to it such as `$env:NAME`"
    )]
    Placeholder(String),
    /// The call would reveal a secret, and none may reach a caller.
    #[error(
        "`{tool}` answers with a secret (`{field}`), and the setting --secrets deny of this server keeps \
         those from callers. Nothing was sent; ask the operator to do it"
    )]
    Denied {
        /// The tool's name.
        tool: &'static str,
        /// The first field that has one.
        field: &'static str,
    },
    /// There is no file that the secret could be written to.
    #[error(
        "`{tool}` answers with a secret, and the file for it cannot be made in {}: {source}. Nothing was \
         sent; tell the operator",
        crate::files::shown(folder)
    )]
    NoFile {
        /// The tool's name.
        tool: &'static str,
        /// Where files of secrets go.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An argument refers to a secret that cannot be had.
    #[error("`{at}`: {why}")]
    Reference {
        /// Where in the arguments.
        at: String,
        /// Why not.
        why: Unresolved,
    },
}

/// Secrets that were fetched for one call. They show up nowhere else.
#[derive(Default)]
pub struct Fetched(Vec<String>);

impl Fetched {
    /// A text that an upstream wrote, without these secrets and without any other key.
    pub fn mask(&self, text: &str) -> String {
        let also: Vec<_> = self.texts().collect();
        mask_text(&mask::exact(text, &also).unwrap_or_else(|| text.to_owned())).into_owned()
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched({})", self.0.len())
    }
}

impl Secrets {
    /// What the operator decided.
    pub const fn new(delivery: Delivery, references: References) -> Self {
        Self { delivery, references }
    }

    /// What to tell clients about references to secrets, where any may be used.
    pub fn instructions(&self) -> Option<String> {
        self.references.instructions()
    }

    /// Turns arguments back that hold what was masked: it would take the place of the secret.
    ///
    /// # Errors
    /// Where the first such value is.
    pub fn refuse_masks(
        &self,
        published: &Published,
        args: &mut JsonMap,
    ) -> Result<(), SecretError> {
        if published.operation().hints().read_only {
            return Ok(());
        }
        // Of what is created nothing could be overwritten; rotating acts on what is there.
        let operation = published.operation();
        let creates = operation.effects() == Effect::Create && !operation.hints().destructive;
        let masked = if creates { SecretError::Placeholder } else { SecretError::Masked };
        if let Some(at) = mask::find_mask(args.iter()) {
            return Err(masked(at));
        }
        published.secrets(args, |at, _, value| match value.as_str() {
            Some(text) if mask::is_masked(text) => Err(masked(at.to_string())),
            _ => Ok(()),
        })
    }

    /// Makes ready to hand over what the call will reveal, before it is sent: what has no way to the
    /// caller must not be made.
    ///
    /// # Errors
    /// There is no way.
    pub fn make_ready(
        &self,
        operation: &'static Operation,
        args: &JsonMap,
    ) -> Result<Handover, SecretError> {
        self.delivery.make_ready(operation, args)
    }

    /// Puts the secrets that arguments refer to in their places, last of all before a call is sent.
    ///
    /// # Errors
    /// One cannot be had, or not by this caller.
    pub fn fetch(
        &self,
        published: &Published,
        caller: Caller<'_>,
        args: &mut JsonMap,
    ) -> Result<Fetched, SecretError> {
        let mut fetched = Fetched::default();
        published.secrets(args, |at, slot, value| {
            // What could be read back in clear is not put there.
            let is_open = || slot == Slot::Free && !names::guard(&at.to_string());
            let why = |why| SecretError::Reference { at: at.to_string(), why };
            let found = self.references.fetch(value, slot, caller, &is_open).map_err(why)?;
            if let Some((real, texts)) = found {
                *value = real;
                texts.iter().for_each(|text| scan::learn_passed(text));
                fetched.0.extend(texts);
            }
            Ok(())
        })?;
        Ok(fetched)
    }
}

impl Handover {
    /// Masks an answer, and hands over what the call was there to reveal. `own` are keys that came with
    /// the request, which answers have no reason to repeat. `plain` is the answer as it came, where that is
    /// [plain](crate::untrusted::plain).
    pub fn complete<'a>(
        self,
        operation: &Operation,
        fetched: &'a Fetched,
        own: impl Iterator<Item = &'a str>,
        plain: Option<&str>,
        answer: &mut Value,
    ) {
        let also: Vec<_> = fetched.texts().chain(own).collect();
        let is_keyless = |plain| also.is_empty() && !scan::may_have_key(plain);
        let texts = if plain.is_some_and(is_keyless) { Texts::Keyless } else { Texts::Any(&also) };
        let revealed = self.take(answer);
        mask::mask_also(operation, answer, texts);
        revealed.put_back(answer);
    }
}
