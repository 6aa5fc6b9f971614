//! Masks secrets in results, delivers one-time secrets and resolves `$env`/`$file` references. Keys
//! are also masked in every line of the log.

mod clean_json;
mod delivery;
mod folder;
mod heuristics;
mod mask;
mod names;
mod permissions;
mod redact;
mod references;
mod scan;
mod verbatim;

use std::{io, path::PathBuf};

use portkey_operation::{CompiledOperation, Effect, JsonMap, Operation, Reference};
use serde_json::Value;

use scan::KeyScanner;

pub use clean_json::{CleanField, CleanJson, CleanList};
pub use delivery::{DeliveryMode, SecretDelivery};
pub use mask::{find_masked_text, is_masked, mask_response, mask_undeclared};
pub use names::is_secret_name;
pub use permissions::{FileProtection, check_permissions, read_protected_file};
pub use redact::{BLANK, mask_arguments, redact_arguments};
pub use references::{AllowedReferences, ReferenceCaller, ReferenceError, SecretReferences};
pub use scan::{MASK, contains_own_key, learn_key, mask_line, mask_text};
pub(crate) use scan::{MAX_PASSED_SECRET_BYTES, MAX_PASSED_SECRETS};

/// The operator's settings for secrets.
///
/// By default, one-time secrets are delivered in the result, and no argument may refer to a secret.
#[derive(Debug, Default)]
pub struct Secrets {
    delivery: DeliveryMode,
    references: SecretReferences,
}

/// Reason to reject a call because of a secret. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// An argument holds a value that was masked, or redacted by a policy.
    #[error(
        "`{0}`: holds a masked value, which would overwrite the real one. Leave the field out to keep what \
         is stored, or give the real value"
    )]
    Masked(String),
    /// An argument holds a masked or redacted value where nothing is stored yet.
    #[error(
        "`{0}`: is a placeholder, and nothing is stored yet that it could stand for. Give the real value; \
         for a key, a reference such as `$env:NAME` will do"
    )]
    Placeholder(String),
    /// The call would return a secret, and the settings keep secrets from callers.
    #[error(
        "`{tool}` answers with a secret (`{field}`), and the setting --secrets deny of this server keeps \
         those from callers. Nothing was sent; ask the operator to do it"
    )]
    Denied {
        /// Name of the tool.
        tool: &'static str,
        /// First field of the response with a secret.
        field: &'static str,
    },
    /// No file can be created for the secret.
    #[error(
        "`{tool}` answers with a secret, and the file for it cannot be made in {}: {source}. Nothing was \
         sent; tell the operator",
        portkey_bounded_file::display_path(folder)
    )]
    NoFile {
        /// Name of the tool.
        tool: &'static str,
        /// Folder for files of secrets.
        folder: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// An argument refers to a secret that cannot be resolved.
    #[error("`{at}`: {why}")]
    Reference {
        /// Path of the argument.
        at: String,
        /// Cause of the failure.
        why: ReferenceError,
    },
}

/// Secrets of one call: those resolved for it, and the keys that came with its request. They are
/// recognized in this call only.
#[derive(Default)]
pub struct CallSecrets(Vec<String>);

impl CallSecrets {
    /// Adds keys that came with the request. No upstream has a reason to repeat them.
    #[must_use]
    pub fn with_request_keys<'a>(mut self, own: impl Iterator<Item = &'a str>) -> Self {
        own.for_each(|key| self.add(key));
        self
    }

    /// Masks these secrets and any other key in a text from an upstream.
    pub fn mask(&self, text: &str) -> String {
        let also: Vec<_> = self.texts().collect();
        KeyScanner::new(&also).mask(text).into_owned()
    }

    /// Returns `true` if a text holds neither one of these secrets nor any other key.
    pub fn has_no_secret(&self, text: &str) -> bool {
        !self.texts().any(|secret| text.contains(secret)) && mask_text(text) == text
    }

    /// Adds a secret with all its spellings.
    fn add(&mut self, secret: &str) {
        if secret.len() >= scan::MIN_KEY_BYTES {
            self.0.push(secret.to_owned());
            self.0.extend(scan::spellings(secret));
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl std::fmt::Debug for CallSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched({})", self.0.len())
    }
}

impl Secrets {
    /// Combines the settings for delivery and for references.
    pub const fn new(delivery: DeliveryMode, references: SecretReferences) -> Self {
        Self {
            delivery,
            references,
        }
    }

    /// Instructions for clients about references to secrets. `None` if no argument may use one.
    pub fn instructions(&self) -> Option<String> {
        self.references.instructions()
    }

    /// Rejects arguments that hold a masked value, or one that a policy redacted. Sent, the text in
    /// its place would overwrite what is stored.
    ///
    /// # Errors
    /// Returns [`SecretError::Masked`] or [`SecretError::Placeholder`] with the path of the first
    /// such value.
    pub fn reject_masked_values(
        &self,
        published: &CompiledOperation,
        args: &mut JsonMap,
    ) -> Result<(), SecretError> {
        if published.operation().hints().read_only {
            return Ok(());
        }
        // Creating cannot overwrite a stored value. Rotating acts on one that exists.
        let operation = published.operation();
        let creates = operation.effect() == Effect::Create && !operation.hints().destructive;
        let masked = if creates {
            SecretError::Placeholder
        } else {
            SecretError::Masked
        };
        if let Some(at) = mask::find_mask(args.iter()) {
            return Err(masked(at));
        }
        published.visit_secrets(args, |at, _, value| match value.as_str() {
            Some(text) if mask::is_masked(text) => Err(masked(at.to_string())),
            _ => Ok(()),
        })
    }

    /// Prepares the delivery of the secrets that a call will return. Called before the call is
    /// sent, because a secret that cannot reach the caller must not be created.
    ///
    /// # Errors
    /// Returns an error if the settings forbid delivery or no file can be created.
    pub fn prepare_delivery(
        &self,
        operation: &'static Operation,
        args: &JsonMap,
    ) -> Result<SecretDelivery, SecretError> {
        self.delivery.prepare(operation, args)
    }

    /// Replaces references in the arguments by the secrets. This is the last step before a call is
    /// sent.
    ///
    /// # Errors
    /// Returns [`SecretError::Reference`] if a secret cannot be resolved, or not by this caller.
    pub fn resolve_references(
        &self,
        published: &CompiledOperation,
        caller: ReferenceCaller<'_>,
        args: &mut JsonMap,
    ) -> Result<CallSecrets, SecretError> {
        let mut found = Vec::new();
        published.visit_secrets(args, |at, slot, value| {
            let secret = self.references.resolve(value, slot, caller);
            let secret = secret.map_err(|why| SecretError::Reference {
                at: at.to_string(),
                why,
            })?;
            found.extend(secret);
            Ok(())
        })?;
        let mut fetched = CallSecrets::default();
        if found.is_empty() {
            return Ok(fetched);
        }
        let mut is_shown = visible_places(published, args, &found).into_iter();
        let mut secrets = found.into_iter();
        published.visit_secrets(args, |at, _, value| {
            if Reference::from_value(value).is_none() {
                return Ok(());
            }
            // A secret is not put where it could be read back in clear.
            let (Some((real, texts)), Some(false)) = (secrets.next(), is_shown.next()) else {
                return Err(SecretError::Reference {
                    at: at.to_string(),
                    why: ReferenceError::NotMasked,
                });
            };
            *value = real;
            for text in texts {
                scan::learn_passed_secret(&text);
                fetched.add(&text);
            }
            Ok(())
        })?;
        Ok(fetched)
    }
}

/// Tells for each reference, in order, whether a reader of the document would see the secret that
/// replaces it.
///
/// The masking itself decides, on a copy of the document with a mark in the place of each secret. A
/// second classification of names could differ from the masking.
fn visible_places(
    published: &CompiledOperation,
    args: &JsonMap,
    found: &[(Value, Vec<String>)],
) -> Vec<bool> {
    let mut marked = args.clone();
    let mut next = 0;
    let outcome = published.visit_secrets(&mut marked, |_, _, value| {
        if Reference::from_value(value).is_some() {
            if let Some((secret, _)) = found.get(next) {
                value.clone_from(secret);
                put_marks(value, next);
            }
            next += 1;
        }
        Ok::<_, std::convert::Infallible>(())
    });
    let mut marked = Value::Object(marked);
    let mut shown = vec![outcome.is_err(); found.len()];
    if published.operation().has_unmasked_reads() {
        let mut answer = marked.clone();
        mask::mask_undeclared(&mut answer);
        find_marks(&answer, &mut shown);
    }
    mask::mask_document(&mut marked);
    find_marks(&marked, &mut shown);
    shown
}

/// Prefix of the marks that stand for secrets; no secret looks like it.
const PLACE_MARK: &str = "place of a secret ";

/// Mark of a secret that is a number, or a number written as text. A field that counts tokens is
/// shown if it is a number.
const NUMBER_MARK: u64 = 6_174_310_597_823_000_000;

/// Replaces every text and number by a mark, including those in lists and objects.
fn put_marks(secret: &mut Value, index: usize) {
    match secret {
        Value::Array(list) => list.iter_mut().for_each(|item| put_marks(item, index)),
        Value::Object(map) => map.values_mut().for_each(|value| put_marks(value, index)),
        Value::Null | Value::Bool(_) => {}
        value @ Value::Number(_) => *value = (NUMBER_MARK + index as u64).into(),
        Value::String(text) if names::is_number(text) => {
            *text = (NUMBER_MARK + index as u64).to_string();
        }
        value => *value = format!("{PLACE_MARK}{index}").into(),
    }
}

/// Returns the index of the secret that a number replaces, if it replaces one.
fn marked_number(number: u64) -> Option<usize> {
    number
        .checked_sub(NUMBER_MARK)
        .and_then(|index| usize::try_from(index).ok())
}

fn find_marks(value: &Value, shown: &mut [bool]) {
    let index = match value {
        Value::String(text) => match text.strip_prefix(PLACE_MARK) {
            Some(index) => index.parse().ok(),
            None => text.parse().ok().and_then(marked_number),
        },
        Value::Number(number) => number.as_u64().and_then(marked_number),
        _ => None,
    };
    if let Some(shown) = index.and_then(|index| shown.get_mut(index)) {
        *shown = true;
    }
    match value {
        Value::Array(list) => list.iter().for_each(|item| find_marks(item, shown)),
        Value::Object(map) => map.values().for_each(|value| find_marks(value, shown)),
        _ => {}
    }
}

/// Returns true if a response to an operation can be shown as it came: it holds nothing to mask and
/// no secret to deliver. `plain` is the response, which is
/// [clean ASCII](crate::security::sanitize::as_clean_ascii).
///
/// Takes less time and memory than to mask it as a document. May be false for such a response, too.
pub fn is_shown_verbatim(operation: &Operation, fetched: &CallSecrets, plain: &str) -> bool {
    // The first is faster, and accepts fewer.
    clean_json::scan(operation, fetched, plain).is_some()
        || verbatim::is_free_of_secrets(operation, fetched, plain)
}

impl SecretDelivery {
    /// Masks a response and delivers the secrets that the call returns.
    ///
    /// `plain` is the original response if it is [clean ASCII](crate::security::sanitize::as_clean_ascii).
    pub fn mask_and_deliver(
        self,
        operation: &Operation,
        fetched: &CallSecrets,
        plain: Option<&str>,
        answer: &mut Value,
    ) {
        let also: Vec<_> = fetched.texts().collect();
        let is_keyless = |plain| also.is_empty() && !scan::may_have_key(plain);
        let scanner = (!plain.is_some_and(is_keyless)).then(|| KeyScanner::new(&also));
        let revealed = self.take_secrets(answer);
        mask::mask_with(operation, answer, scanner.as_ref());
        revealed.put_back(answer);
    }
}
