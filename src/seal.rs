//! What clients keep for us and bring back: sealed, so that it comes back as it was and from whom it
//! was given to. Signed, not encrypted: clients can read it.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rmcp::model::{RequestStateCodec, SealOptions};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    files::{MAX_KEY_BYTES, read_text},
    store::{Key, Store},
};

/// How long a key is at least, in bytes.
const KEY_BYTES: usize = RequestStateCodec::MIN_KEY_LENGTH;

/// What precedes each payload: which keyring sealed it, its number, and for how many milliseconds it
/// holds.
const HEAD_BYTES: usize = 24;

/// What is sealed. What was sealed as one does not open as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The id of a session of a client up to 2025-11-25: visible ASCII, as headers need it.
    Session,
    /// The state of a request that takes several rounds (SEP-2322).
    RequestState,
}

/// It does not open. Why is nobody's business: not ours, no longer valid, someone else's, used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was not issued by this server for this use, or is no longer valid")]
pub struct Broken;

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    /// The first line that does not hold; counted from one, and never shown, for it holds a key.
    #[error("line {line}: {problem}")]
    Line {
        /// Which.
        line: usize,
        /// And why.
        problem: &'static str,
    },
    /// Nothing but comments and blanks.
    #[error("it holds no key; make one with `portkey-mcp state-key new`")]
    Empty,
    /// A name for a key that a line could not hold.
    #[error("{ODD_ID}")]
    OddId,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

const ODD_ID: &str = "the id has to be 1 to 32 letters, digits, `-`, `_` or `.`";

/// The keys that seal: the first signs, each of them verifies.
///
/// To replace a key without breaking what is sealed: add the new one as the last line everywhere, move
/// it to the first everywhere, and remove the old one once what it sealed has expired.
#[derive(Debug)]
pub struct Keyring {
    codec: RequestStateCodec,
    /// Random; together with the count it makes each sealed text another one.
    origin: [u8; 8],
    sealed: AtomicU64,
}

impl Keyring {
    /// From a file with a line for each key, `id:base64`, of at least 32 bytes each; `#` begins a
    /// comment.
    ///
    /// # Errors
    /// The file cannot be read, or a line does not hold.
    pub fn read(file: &Path) -> Result<Self, KeyringError> {
        let text: SecretString = read_text(file, MAX_KEY_BYTES)?.into();
        Self::parse(text.expose_secret())
    }

    /// From the text of such a file.
    ///
    /// # Errors
    /// A line does not hold, or there is none.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(&str, Vec<u8>)> = Vec::new();
        // Some editors write a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, entry) in (1..).zip(text.lines().map(str::trim)) {
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let wrong = |problem| KeyringError::Line { line, problem };
            let (id, key) =
                entry.split_once(':').ok_or(wrong("expected `id:key`, the key in base64"))?;
            let key = STANDARD.decode(key.trim()).map_err(|_| wrong("the key is no base64"))?;
            let problem = match id.trim() {
                id if !is_id(id) => ODD_ID,
                id if keys.iter().any(|(known, _)| *known == id) => "this id was given before",
                _ if key.len() < KEY_BYTES => "the key is shorter than 32 bytes",
                id => {
                    keys.push((id, key));
                    continue;
                }
            };
            return Err(wrong(problem));
        }
        let first = keys.first().map(|(id, _)| *id).ok_or(KeyringError::Empty)?;
        Self::of(first, keys)
    }

    /// A key of its own, forgotten when the process ends: for a single replica.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, KeyringError> {
        Self::of("random", vec![("random", random::<KEY_BYTES>()?.to_vec())])
    }

    fn of(first: &str, keys: Vec<(&str, Vec<u8>)>) -> Result<Self, KeyringError> {
        let codec = RequestStateCodec::new_with_keyring(first, keys);
        // What it asks of ids and keys was checked, by line.
        let codec = codec.map_err(|_| KeyringError::Empty)?;
        Ok(Self { codec, origin: random()?, sealed: AtomicU64::default() })
    }

    /// A line with a new key for such a file.
    ///
    /// # Errors
    /// The id does not fit into a line, or the system has no random numbers.
    pub fn new_line(id: &str) -> Result<String, KeyringError> {
        if !is_id(id) {
            return Err(KeyringError::OddId);
        }
        Ok(format!("{id}:{}", STANDARD.encode(random::<KEY_BYTES>()?)))
    }

    /// Seals a payload for one principal and whatever else it is bound to, for a time.
    pub fn seal(
        &self,
        purpose: Purpose,
        principal: &str,
        binding: &[u8],
        payload: &[u8],
        ttl: Duration,
    ) -> String {
        let count = self.sealed.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let mut text = Vec::with_capacity(HEAD_BYTES + payload.len());
        text.extend(self.origin);
        text.extend(count.to_be_bytes());
        text.extend(millis.to_be_bytes());
        text.extend(payload);
        let bound = bound_to(purpose, principal, binding);
        self.codec.seal_with(&text, &SealOptions::new().associated_data(&bound).ttl(ttl))
    }

    /// The payload, if all is as it was sealed and in time.
    ///
    /// # Errors
    /// It is not.
    pub fn open(
        &self,
        purpose: Purpose,
        principal: &str,
        binding: &[u8],
        sealed: &str,
    ) -> Result<Vec<u8>, Broken> {
        let (_, payload) = self.open_with_ttl(purpose, principal, binding, sealed)?;
        Ok(payload)
    }

    /// The payload, if nobody opened it this way before, at any replica.
    ///
    /// # Errors
    /// It does not open, was used, or the store does not know.
    pub async fn open_once(
        &self,
        purpose: Purpose,
        principal: &str,
        binding: &[u8],
        sealed: &str,
        store: &Store,
    ) -> Result<Vec<u8>, Broken> {
        let (ttl, payload) = self.open_with_ttl(purpose, principal, binding, sealed)?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(sealed));
        match store.once(&Key::new("sealed", &[&digest]), ttl).await {
            Ok(true) => Ok(payload),
            Ok(false) | Err(_) => Err(Broken),
        }
    }

    fn open_with_ttl(
        &self,
        purpose: Purpose,
        principal: &str,
        binding: &[u8],
        sealed: &str,
    ) -> Result<(Duration, Vec<u8>), Broken> {
        let bound = bound_to(purpose, principal, binding);
        let mut text = self.codec.open_with(sealed, &bound).map_err(|_| Broken)?;
        let payload = text.split_off(HEAD_BYTES.min(text.len()));
        let (_, millis) = text.split_last_chunk().ok_or(Broken)?;
        Ok((Duration::from_millis(u64::from_be_bytes(*millis)), payload))
    }
}

/// A digest of what a seal is bound to, in which nothing can be taken for its neighbour.
fn bound_to(purpose: Purpose, principal: &str, binding: &[u8]) -> [u8; 32] {
    let purpose = match purpose {
        Purpose::Session => "session",
        Purpose::RequestState => "request-state",
    };
    let mut digest = Sha256::new();
    for part in [purpose.as_bytes(), principal.as_bytes(), binding] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn is_id(id: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=32).contains(&id.len()) && id.chars().all(usual)
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeyringError::NoRandomness)?;
    Ok(bytes)
}
