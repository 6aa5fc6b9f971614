//! The hash chain: each entry ends with the hash of the previous entry, and with its own hash over
//! its exact bytes.

use std::{io, path::Path};

use ring::hmac::{self, HMAC_SHA256};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::AuditStartError;
use crate::security::secrets::{self, FileProtection, read_protected_file};

/// Minimum length of a key, in bytes.
const MIN_KEY_BYTES: usize = 32;

/// Length of a SHA-256 in hexadecimal digits.
const HASH_HEX_DIGITS: usize = 64;

const PREV_FIELD: &[u8] = b",\"prev\":\"";
const HASH_FIELD: &[u8] = b",\"hash\":\"";
const HMAC_FIELD: &[u8] = b",\"hmac\":\"";

/// The key of the chain, for HMAC-SHA256.
#[derive(Clone, Debug)]
pub struct AuditKey(hmac::Key);

/// A reason why a file contains no usable key.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    /// Other users can read or write the file.
    #[error("{0}")]
    Exposed(io::Error),
    /// The key is short enough to be guessed.
    #[error("a key has {MIN_KEY_BYTES} characters or more; make one with `openssl rand -hex 32`")]
    TooShort,
}

impl AuditKey {
    /// Reads a key from a file, without surrounding whitespace.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is readable by others, or its key is too short.
    pub fn from_file(file: &Path) -> Result<Self, AuditKeyError> {
        let text =
            read_protected_file(file, FileProtection::Private).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::PermissionDenied => AuditKeyError::Exposed(error),
                    _ => AuditKeyError::Unreadable(error),
                }
            })?;
        let text = text.expose_secret().trim();
        if text.len() < MIN_KEY_BYTES {
            return Err(AuditKeyError::TooShort);
        }
        secrets::learn_key(text);
        Ok(Self(hmac::Key::new(HMAC_SHA256, text.as_bytes())))
    }

    /// Derives the key for digests of arguments.
    pub(super) fn derive_digest_key(&self) -> hmac::Key {
        let derived = hmac::sign(&self.0, b"portkey-mcp audit: digests of arguments");
        hmac::Key::new(HMAC_SHA256, derived.as_ref())
    }
}

/// Generates a key that lives as long as the process and is stored nowhere.
pub(super) fn random_key() -> Result<hmac::Key, AuditStartError> {
    let mut bytes = [0; MIN_KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| AuditStartError::NoRandomness)?;
    Ok(hmac::Key::new(HMAC_SHA256, &bytes))
}

/// The end of the chain, which the next entry continues: number and hash of the last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainLink {
    pub(super) seq: u64,
    pub(super) tag: String,
}

impl ChainLink {
    /// Returns the link that the very first entry continues.
    pub(super) fn genesis() -> Self {
        Self {
            seq: 0,
            tag: "0".repeat(HASH_HEX_DIGITS),
        }
    }
}

/// Computes the hashes of a chain, with a key or without one.
#[derive(Clone, Debug)]
pub(super) struct Chain(Option<AuditKey>);

impl Chain {
    pub(super) fn new(key: Option<AuditKey>) -> Self {
        Self(key)
    }

    /// Appends the next entry to `out` and returns its link. `body` is a JSON object with at least
    /// one field.
    pub(super) fn append_line(
        &self,
        after: &ChainLink,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> ChainLink {
        let start = out.len();
        let seq = after.seq.saturating_add(1);
        out.extend_from_slice(format!("{{\"seq\":{seq},").as_bytes());
        let inner = body
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"));
        out.extend_from_slice(inner.unwrap_or_default());
        out.extend_from_slice(PREV_FIELD);
        out.extend_from_slice(after.tag.as_bytes());
        out.push(b'"');
        let tag = self.tag(out.get(start..).unwrap_or_default());
        out.extend_from_slice(if self.0.is_some() {
            HMAC_FIELD
        } else {
            HASH_FIELD
        });
        out.extend_from_slice(tag.as_bytes());
        out.extend_from_slice(b"\"}\n");
        ChainLink { seq, tag }
    }

    /// Returns true if the hash of the entry is right, so that the entry is unchanged.
    pub(super) fn matches(&self, line: &ParsedLine<'_>) -> bool {
        line.is_keyed == self.0.is_some() && self.tag(line.content) == line.tag
    }

    fn tag(&self, content: &[u8]) -> String {
        match &self.0 {
            Some(AuditKey(key)) => hex::encode(hmac::sign(key, content)),
            None => hex::encode(Sha256::digest(content)),
        }
    }
}

/// An entry of the log, split into its parts.
pub(super) struct ParsedLine<'a> {
    pub(super) seq: u64,
    pub(super) prev: &'a str,
    pub(super) tag: &'a str,
    /// True if the entry has a keyed hash (HMAC).
    pub(super) is_keyed: bool,
    content: &'a [u8],
}

impl<'a> ParsedLine<'a> {
    /// Parses an entry without its line break; `None` if the text is no entry of an audit log.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\"}")?;
        let (rest, tag) = split_trailing_hex(line)?;
        let keyed = rest.ends_with(HMAC_FIELD);
        let content = rest.strip_suffix(if keyed { HMAC_FIELD } else { HASH_FIELD })?;
        let (rest, prev) = split_trailing_hex(content.strip_suffix(b"\"")?)?;
        let rest = rest.strip_suffix(PREV_FIELD)?.strip_prefix(b"{\"seq\":")?;
        let digits = rest.split(|byte| *byte == b',').next()?;
        let seq = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self {
            seq,
            prev,
            tag,
            is_keyed: keyed,
            content,
        })
    }

    /// Returns the link for the next entry.
    pub(super) fn to_link(&self) -> ChainLink {
        ChainLink {
            seq: self.seq,
            tag: self.tag.to_owned(),
        }
    }
}

fn split_trailing_hex(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let (rest, hex) = bytes.split_at_checked(bytes.len().checked_sub(HASH_HEX_DIGITS)?)?;
    let lower = hex
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    Some((rest, std::str::from_utf8(hex).ok().filter(|_| lower)?))
}
