//! Secrets on their way through: masked in answers, handed over where a call is there to reveal one,
//! fetched where an argument only says where it is, and kept out of every line of the log.

mod folder;
mod handover;
mod looks;
mod mask;
mod names;
mod permissions;
mod redact;
mod references;
mod scan;

use std::{io, path::PathBuf};

use portkey_operation::{Effect, JsonMap, Operation, Published, Reference};
use serde_json::Value;

use scan::Scanner;

pub use handover::{Delivery, Handover};
pub use mask::{is_masked, mask};
pub use names::is_secret_name;
pub use permissions::{Guarded, check_permissions, read_guarded};
pub use redact::{BLANK, mask_arguments, redacted};
pub use references::{Allowed, Caller, References, Unresolved};
pub use scan::{MASK, has_own, learn, mask as mask_text, mask_line};
pub(crate) use scan::{MOST_PASSED, MOST_PASSED_BYTES};

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
        portkey_bounded_file::shown(folder)
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

/// Secrets of one call: those that were fetched for it, and the keys that came with its request. They show up
/// nowhere else.
#[derive(Default)]
pub struct Fetched(Vec<String>);

impl Fetched {
    /// The same, with keys that came with the request, which no upstream has a reason to repeat.
    #[must_use]
    pub fn with_own<'a>(mut self, own: impl Iterator<Item = &'a str>) -> Self {
        own.for_each(|key| self.add(key));
        self
    }

    /// A text that an upstream wrote, without these secrets and without any other key.
    pub fn mask(&self, text: &str) -> String {
        let also: Vec<_> = self.texts().collect();
        Scanner::new(&also).mask(text).into_owned()
    }

    /// Whether a text has neither one of these secrets in it nor any other key.
    pub fn is_free(&self, text: &str) -> bool {
        !self.texts().any(|secret| text.contains(secret)) && mask_text(text) == text
    }

    /// A secret in all the ways in which it could be written.
    fn add(&mut self, secret: &str) {
        if secret.len() >= scan::SHORTEST {
            self.0.push(secret.to_owned());
            self.0.extend(scan::spellings(secret));
        }
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
        Self {
            delivery,
            references,
        }
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
        let masked = if creates {
            SecretError::Placeholder
        } else {
            SecretError::Masked
        };
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
        let mut found = Vec::new();
        published.secrets(args, |at, slot, value| {
            let secret = self.references.fetch(value, slot, caller);
            let secret = secret.map_err(|why| SecretError::Reference {
                at: at.to_string(),
                why,
            })?;
            found.extend(secret);
            Ok(())
        })?;
        let mut fetched = Fetched::default();
        if found.is_empty() {
            return Ok(fetched);
        }
        let mut is_shown = shown_places(published, args, &found).into_iter();
        let mut secrets = found.into_iter();
        published.secrets(args, |at, _, value| {
            if Reference::in_value(value).is_none() {
                return Ok(());
            }
            // What could be read back in clear is not put there.
            let (Some((real, texts)), Some(false)) = (secrets.next(), is_shown.next()) else {
                return Err(SecretError::Reference {
                    at: at.to_string(),
                    why: Unresolved::Open,
                });
            };
            *value = real;
            for text in texts {
                scan::learn_passed(&text);
                fetched.add(&text);
            }
            Ok(())
        })?;
        Ok(fetched)
    }
}

/// Of each reference, in their order: whether what is put in its place would be shown to whoever reads the
/// document back. The masking itself says so, of the same document with a mark in the place of each secret: no
/// second reading of names could differ from it.
fn shown_places(
    published: &Published,
    args: &JsonMap,
    found: &[(Value, Vec<String>)],
) -> Vec<bool> {
    let mut marked = args.clone();
    let mut next = 0;
    let outcome = published.secrets(&mut marked, |_, _, value| {
        if Reference::in_value(value).is_some() {
            if let Some((secret, _)) = found.get(next) {
                value.clone_from(secret);
                mark(value, next);
            }
            next += 1;
        }
        Ok::<_, std::convert::Infallible>(())
    });
    let mut marked = Value::Object(marked);
    let mut shown = vec![outcome.is_err(); found.len()];
    if published.operation().is_read_back_undeclared() {
        let mut answer = marked.clone();
        mask::mask_undeclared(&mut answer);
        find_marks(&answer, &mut shown);
    }
    mask::mask_document(&mut marked);
    find_marks(&marked, &mut shown);
    shown
}

/// Stands in the place of a secret; none looks like it.
const MARK: &str = "place of a secret ";

/// Puts marks in the place of every text and number, those within an object included.
fn mark(secret: &mut Value, index: usize) {
    match secret {
        Value::Array(list) => list.iter_mut().for_each(|item| mark(item, index)),
        Value::Object(map) => map.values_mut().for_each(|value| mark(value, index)),
        Value::Null | Value::Bool(_) => {}
        value => *value = format!("{MARK}{index}").into(),
    }
}

fn find_marks(value: &Value, shown: &mut [bool]) {
    match value {
        Value::String(text) => {
            let index = text
                .strip_prefix(MARK)
                .and_then(|index| index.parse::<usize>().ok());
            if let Some(shown) = index.and_then(|index| shown.get_mut(index)) {
                *shown = true;
            }
        }
        Value::Array(list) => list.iter().for_each(|item| find_marks(item, shown)),
        Value::Object(map) => map.values().for_each(|value| find_marks(value, shown)),
        _ => {}
    }
}

impl Handover {
    /// Masks an answer, and hands over what the call was there to reveal. `plain` is the answer as it came,
    /// where that is [plain](crate::security::sanitize::plain).
    pub fn complete(
        self,
        operation: &Operation,
        fetched: &Fetched,
        plain: Option<&str>,
        answer: &mut Value,
    ) {
        let also: Vec<_> = fetched.texts().collect();
        let is_keyless = |plain| also.is_empty() && !scan::may_have_key(plain);
        let scanner = (!plain.is_some_and(is_keyless)).then(|| Scanner::new(&also));
        let revealed = self.take(answer);
        mask::mask_also(operation, answer, scanner.as_ref());
        revealed.put_back(answer);
    }
}
