//! The chain: a line ends with the hash of the line before it and with its own, over its very bytes.

use std::{io, path::Path};

use ring::hmac::{self, HMAC_SHA256};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::StartError;
use crate::security::secrets::{self, Guarded, read_guarded};

/// The fewest bytes that a key has.
const SHORTEST_KEY: usize = 32;

/// A SHA-256 in hexadecimal.
const HEX: usize = 64;

const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";
const HMAC: &[u8] = b",\"hmac\":\"";

/// What the chain is keyed with (HMAC-SHA256).
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

/// Why a file holds no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    /// Others may read or write it.
    #[error("{0}")]
    Loose(io::Error),
    /// It can be guessed.
    #[error("a key has {SHORTEST_KEY} characters or more; make one with `openssl rand -hex 32`")]
    Short,
}

impl Key {
    /// The text of a file, without the blanks around it.
    ///
    /// # Errors
    /// It cannot be read, can be read by others, or is too short.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let text = read_guarded(file, Guarded::Private).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => KeyError::Loose(error),
            _ => KeyError::Unreadable(error),
        })?;
        let text = text.expose_secret().trim();
        if text.len() < SHORTEST_KEY {
            return Err(KeyError::Short);
        }
        secrets::learn(text);
        Ok(Self(hmac::Key::new(HMAC_SHA256, text.as_bytes())))
    }

    /// Another key that follows from this one.
    pub(super) fn for_digests(&self) -> hmac::Key {
        let derived = hmac::sign(&self.0, b"portkey-mcp audit: digests of arguments");
        hmac::Key::new(HMAC_SHA256, derived.as_ref())
    }
}

/// A key that nobody knows and that goes with the process.
pub(super) fn random() -> Result<hmac::Key, StartError> {
    let mut bytes = [0; SHORTEST_KEY];
    getrandom::fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(hmac::Key::new(HMAC_SHA256, &bytes))
}

/// What the next line has to follow: the number and the hash of the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) tag: String,
}

impl Link {
    /// What the first line of all follows.
    pub(super) fn first() -> Self {
        Self {
            seq: 0,
            tag: "0".repeat(HEX),
        }
    }
}

/// How lines are linked.
#[derive(Clone, Debug)]
pub(super) struct Chain(Option<Key>);

impl Chain {
    pub(super) fn new(key: Option<Key>) -> Self {
        Self(key)
    }

    /// Adds the line that follows: `body` is a JSON object that is not empty.
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

    /// Whether the line is as it was written.
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

/// A line, taken apart.
pub(super) struct Sealed<'a> {
    pub(super) seq: u64,
    pub(super) prev: &'a str,
    pub(super) tag: &'a str,
    /// Whether it says that its hash is keyed.
    pub(super) keyed: bool,
    content: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes a line apart, without its line break; none where it is no line of ours.
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

    /// What the next line has to follow.
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
