//! The hash chain: each entry ends with the hash of the previous entry, and with its own hash over
//! its exact bytes.

use std::{io, path::Path};

use ring::hmac::{self, HMAC_SHA256};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::StartError;
use crate::security::secrets::{self, FileProtection, read_protected_file};

/// Minimum length of a key, in bytes.
const SHORTEST_KEY: usize = 32;

/// Length of a SHA-256 in hexadecimal digits.
const HEX: usize = 64;

const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";
const HMAC: &[u8] = b",\"hmac\":\"";

/// The key of the chain, for HMAC-SHA256.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

/// A reason why a file contains no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    /// Other users can read or write the file.
    #[error("{0}")]
    Loose(io::Error),
    /// The key is short enough to be guessed.
    #[error("a key has {SHORTEST_KEY} characters or more; make one with `openssl rand -hex 32`")]
    Short,
}

impl Key {
    /// Reads a key from a file, without surrounding whitespace.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is readable by others, or its key is too short.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let text = read_protected_file(file, FileProtection::Private).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => KeyError::Loose(error),
            _ => KeyError::Unreadable(error),
        })?;
        let text = text.expose_secret().trim();
        if text.len() < SHORTEST_KEY {
            return Err(KeyError::Short);
        }
        secrets::learn_key(text);
        Ok(Self(hmac::Key::new(HMAC_SHA256, text.as_bytes())))
    }

    /// Derives the key for digests of arguments.
    pub(super) fn for_digests(&self) -> hmac::Key {
        let derived = hmac::sign(&self.0, b"portkey-mcp audit: digests of arguments");
        hmac::Key::new(HMAC_SHA256, derived.as_ref())
    }
}

/// Generates a key that lives as long as the process and is stored nowhere.
pub(super) fn random() -> Result<hmac::Key, StartError> {
    let mut bytes = [0; SHORTEST_KEY];
    getrandom::fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(hmac::Key::new(HMAC_SHA256, &bytes))
}

/// The end of the chain, which the next entry continues: number and hash of the last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) tag: String,
}

impl Link {
    /// Returns the link that the very first entry continues.
    pub(super) fn first() -> Self {
        Self {
            seq: 0,
            tag: "0".repeat(HEX),
        }
    }
}

/// Computes the hashes of a chain, with a key or without one.
#[derive(Clone, Debug)]
pub(super) struct Chain(Option<Key>);

impl Chain {
    pub(super) fn new(key: Option<Key>) -> Self {
        Self(key)
    }

    /// Appends the next entry to `out` and returns its link. `body` is a JSON object with at least
    /// one field.
    pub(super) fn seal(&self, after: &Link, body: &[u8], out: &mut Vec<u8>) -> Link {
        let (start, seq) = (out.len(), after.seq.saturating_add(1));
        out.extend_from_slice(format!("{{\"seq\":{seq},").as_bytes());
        let inner = body
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"));
        out.extend_from_slice(inner.unwrap_or_default());
        out.extend_from_slice(PREV);
        out.extend_from_slice(after.tag.as_bytes());
        out.push(b'"');
        let tag = self.tag(out.get(start..).unwrap_or_default());
        out.extend_from_slice(if self.0.is_some() { HMAC } else { HASH });
        out.extend_from_slice(tag.as_bytes());
        out.extend_from_slice(b"\"}\n");
        Link { seq, tag }
    }

    /// Returns true if the hash of the entry is right, so that the entry is unchanged.
    pub(super) fn vouches_for(&self, line: &Sealed<'_>) -> bool {
        line.keyed == self.0.is_some() && self.tag(line.content) == line.tag
    }

    fn tag(&self, content: &[u8]) -> String {
        match &self.0 {
            Some(Key(key)) => hex::encode(hmac::sign(key, content)),
            None => hex::encode(Sha256::digest(content)),
        }
    }
}

/// An entry of the log, split into its parts.
pub(super) struct Sealed<'a> {
    pub(super) seq: u64,
    pub(super) prev: &'a str,
    pub(super) tag: &'a str,
    /// True if the entry has a keyed hash (HMAC).
    pub(super) keyed: bool,
    content: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Parses an entry without its line break; `None` if the text is no entry of an audit log.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\"}")?;
        let (rest, tag) = hex_at_end(line)?;
        let keyed = rest.ends_with(HMAC);
        let content = rest.strip_suffix(if keyed { HMAC } else { HASH })?;
        let (rest, prev) = hex_at_end(content.strip_suffix(b"\"")?)?;
        let rest = rest.strip_suffix(PREV)?.strip_prefix(b"{\"seq\":")?;
        let digits = rest.split(|byte| *byte == b',').next()?;
        let seq = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self {
            seq,
            prev,
            tag,
            keyed,
            content,
        })
    }

    /// Returns the link for the next entry.
    pub(super) fn link(&self) -> Link {
        Link {
            seq: self.seq,
            tag: self.tag.to_owned(),
        }
    }
}

fn hex_at_end(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let (rest, hex) = bytes.split_at_checked(bytes.len().checked_sub(HEX)?)?;
    let lower = hex
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    Some((rest, std::str::from_utf8(hex).ok().filter(|_| lower)?))
}
