//! Signed state: values that clients keep for the server and send back.
//!
//! A signature makes sure that a value comes back unchanged and from the caller it was issued to.
//! Values are signed, not encrypted, so clients can read them. Values in a shared store are
//! encrypted.

use std::{
    io,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use portkey_bounded_file::{MAX_KEY_BYTES, read_to_string};
use portkey_store::{Stamp, Store, StoreKey, UseOutcome};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use rmcp::model::{RequestStateCodec, SealOptions};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::security::secrets;

/// Minimum length of a key, in bytes.
const MIN_KEY_BYTES: usize = RequestStateCodec::MIN_KEY_LENGTH;

/// Length of the header before each payload, in bytes. The header holds the id of the signing
/// process, a serial number, the time by that process's clock, and the lifetime in milliseconds.
const HEADER_BYTES: usize = 32;

/// Random id of this process, and its start by a monotonic clock.
static PROCESS: LazyLock<([u8; 8], Instant)> = LazyLock::new(|| {
    // Without random numbers, no key is created or used either.
    (random_bytes().unwrap_or_default(), Instant::now())
});

/// Label for deriving the encryption key from a state key. The state key itself only signs.
const ENCRYPTION_KEY_LABEL: &[u8] = b"portkey-mcp: values in a shared store, AES-256-GCM";

/// Format of an encrypted value: this byte, the length of the key's id, the id, the nonce, the
/// ciphertext and its tag.
const ENCRYPTED_FORMAT: u8 = 1;

/// Maximum number of bytes that encryption adds to a value.
pub(crate) const MAX_ENCRYPTION_OVERHEAD_BYTES: usize = 2 + MAX_KEY_ID_BYTES + NONCE_LEN + 16;

/// Maximum length of a key's id, in bytes.
const MAX_KEY_ID_BYTES: usize = 32;

/// Use of a signed value. A value signed for one use is invalid for every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatePurpose {
    /// The session id of a client up to 2025-11-25. Visible ASCII, as headers require.
    Session,
    /// The state of a request that takes several rounds (SEP-2322).
    RequestState,
    /// A plan of changes.
    Plan,
}

/// A signed value is invalid. The reason is not disclosed: another issuer, expired, another
/// caller's, or already used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was not issued by this server for this use, or is no longer valid")]
pub struct InvalidState;

/// Reason why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    /// A line is invalid. Its text is never shown, because it holds a key.
    #[error("line {line}: {problem}")]
    Line {
        /// Number of the line, counted from one.
        line: usize,
        /// Description of the problem.
        problem: &'static str,
    },
    /// The file holds nothing but comments and blanks.
    #[error("it holds no key; make one with `portkey-mcp state-key new`")]
    Empty,
    /// The id of a key has characters or a length that a line cannot hold.
    #[error("{INVALID_ID}")]
    InvalidId,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

const INVALID_ID: &str = "the id has to be 1 to 32 letters, digits, `-`, `_` or `.`";

/// The keys for signing and encryption. The first key signs, and each of them verifies.
///
/// To replace a key without invalidating signed values: add the new key as the last line
/// everywhere. Then move it to the first line everywhere. Remove the old key once the values that
/// it signed have expired.
#[derive(Debug)]
pub struct Keyring {
    codec: RequestStateCodec,
    /// The encryption keys, by the ids of the state keys that they are derived from.
    encryption_keys: Vec<(String, LessSafeKey)>,
}

/// Serial number of the next signed value, so that no two signed values are equal.
static SIGNED_COUNT: AtomicU64 = AtomicU64::new(0);

impl Keyring {
    /// Reads a keyring from a file. The file has a line `id:base64` for each key, of at least 32
    /// bytes each. `#` begins a comment.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or a line is invalid.
    pub fn read(file: &Path) -> Result<Self, KeyringError> {
        let text: SecretString = read_to_string(file, MAX_KEY_BYTES)?.into();
        Self::parse(text.expose_secret())
    }

    /// Parses the text of a keyring file.
    ///
    /// # Errors
    /// Returns an error if a line is invalid or there is no key.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(&str, Vec<u8>)> = Vec::new();
        // Some editors write a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, entry) in (1..).zip(text.lines().map(str::trim)) {
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let line_error = |problem| KeyringError::Line { line, problem };
            let (id, key) = entry
                .split_once(':')
                .ok_or(line_error("expected `id:key`, the key in base64"))?;
            secrets::learn_key(key.trim());
            let key = STANDARD
                .decode(key.trim())
                .map_err(|_| line_error("the key is no base64"))?;
            let problem = match id.trim() {
                id if !is_key_id(id) => INVALID_ID,
                id if keys.iter().any(|(known, _)| *known == id) => "this id was given before",
                _ if key.len() < MIN_KEY_BYTES => "the key is shorter than 32 bytes",
                id => {
                    keys.push((id, key));
                    continue;
                }
            };
            return Err(line_error(problem));
        }
        let first = keys.first().map(|(id, _)| *id).ok_or(KeyringError::Empty)?;
        Self::from_keys(first, keys)
    }

    /// Creates a keyring with one random key, which is lost when the process ends. Suitable for a
    /// single replica.
    ///
    /// # Errors
    /// Returns [`KeyringError::NoRandomness`] if the system has no random numbers.
    pub fn random() -> Result<Self, KeyringError> {
        Self::from_keys(
            "random",
            vec![("random", random_bytes::<MIN_KEY_BYTES>()?.to_vec())],
        )
    }

    fn from_keys(first: &str, keys: Vec<(&str, Vec<u8>)>) -> Result<Self, KeyringError> {
        let derived = keys
            .iter()
            .map(|(id, key)| Some(((*id).to_owned(), derive_encryption_key(key)?)));
        let encrypting = derived.collect::<Option<_>>().ok_or(KeyringError::Empty)?;
        let codec = RequestStateCodec::new_with_keyring(first, keys);
        // The codec's conditions on ids and keys were checked line by line.
        let codec = codec.map_err(|_| KeyringError::Empty)?;
        Ok(Self {
            codec,
            encryption_keys: encrypting,
        })
    }

    /// Generates a line with a new key for a keyring file.
    ///
    /// # Errors
    /// Returns an error if the id is invalid or the system has no random numbers.
    pub fn generate_line(id: &str) -> Result<String, KeyringError> {
        if !is_key_id(id) {
            return Err(KeyringError::InvalidId);
        }
        Ok(format!(
            "{id}:{}",
            STANDARD.encode(random_bytes::<MIN_KEY_BYTES>()?)
        ))
    }

    /// Signs a payload for one principal, a binding and a lifetime.
    pub fn sign(
        &self,
        purpose: StatePurpose,
        principal: &str,
        binding: &[u8],
        payload: &[u8],
        ttl: Duration,
    ) -> String {
        let (process, started) = &*PROCESS;
        let mut text = Vec::with_capacity(HEADER_BYTES + payload.len());
        text.extend(process);
        text.extend(SIGNED_COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        text.extend(millis(started.elapsed()).to_be_bytes());
        text.extend(millis(ttl).to_be_bytes());
        text.extend(payload);
        let bound = binding_digest(purpose, principal, binding);
        self.codec
            .seal_with(&text, &SealOptions::new().associated_data(&bound).ttl(ttl))
    }

    /// Verifies a signed value and returns its payload.
    ///
    /// # Errors
    /// Returns [`InvalidState`] if the signature, the principal or the binding does not match, or if the
    /// lifetime is over.
    pub fn verify(
        &self,
        purpose: StatePurpose,
        principal: &str,
        binding: &[u8],
        signed: &str,
    ) -> Result<Vec<u8>, InvalidState> {
        let (_, payload) = self.verify_with_ttl(purpose, principal, binding, signed)?;
        Ok(payload)
    }

    /// Signs a payload that can be verified only once. The stamp comes from the store that will
    /// mark the use.
    pub fn sign_once(
        &self,
        purpose: StatePurpose,
        principal: &str,
        binding: &[u8],
        payload: &[u8],
        (ttl, stamp): (Duration, Stamp),
    ) -> String {
        let stamped = [&stamp.to_bytes()[..], payload].concat();
        self.sign(purpose, principal, binding, &stamped, ttl)
    }

    /// Verifies a signed value that no replica has verified this way before, and returns its
    /// payload.
    ///
    /// The lifetime is measured by the store, so that setting back a clock does not lengthen it. A
    /// store that has lost its data since then verifies nothing.
    ///
    /// # Errors
    /// Returns [`InvalidState`] if the value is invalid or was used, or if the store cannot tell.
    pub async fn verify_once(
        &self,
        purpose: StatePurpose,
        principal: &str,
        binding: &[u8],
        signed: &str,
        store: &Store,
    ) -> Result<Vec<u8>, InvalidState> {
        let (ttl, stamped) = self.verify_with_ttl(purpose, principal, binding, signed)?;
        let (stamp, payload) = stamped.split_first_chunk().ok_or(InvalidState)?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(signed));
        let key = StoreKey::new("sealed", &[&digest]).owned_by(principal);
        match store.use_once(&Stamp::from_bytes(*stamp), &key, ttl).await {
            Ok(UseOutcome::First) => Ok(payload.to_vec()),
            Ok(UseOutcome::AlreadyUsed | UseOutcome::Expired | UseOutcome::DataLost) | Err(_) => {
                Err(InvalidState)
            }
        }
    }

    fn verify_with_ttl(
        &self,
        purpose: StatePurpose,
        principal: &str,
        binding: &[u8],
        signed: &str,
    ) -> Result<(Duration, Vec<u8>), InvalidState> {
        let bound = binding_digest(purpose, principal, binding);
        let mut text = self
            .codec
            .open_with(signed, &bound)
            .map_err(|_| InvalidState)?;
        let payload = text.split_off(HEADER_BYTES.min(text.len()));
        let (rest, ttl) = text.split_last_chunk().ok_or(InvalidState)?;
        let (rest, signed_at) = rest.split_last_chunk().ok_or(InvalidState)?;
        let ttl = Duration::from_millis(u64::from_be_bytes(*ttl));
        // The codec uses the system's clock, which can be set back. Values signed by this process
        // are also checked by a monotonic clock.
        let (process, started) = &*PROCESS;
        if rest.starts_with(process) {
            let signed_at = Duration::from_millis(u64::from_be_bytes(*signed_at));
            if started.elapsed().saturating_sub(signed_at) > ttl {
                return Err(InvalidState);
            }
        }
        Ok((ttl, payload))
    }

    /// Encrypts a value for the place where it is stored.
    ///
    /// # Errors
    /// Returns [`KeyringError::NoRandomness`] if the system has no random numbers.
    pub fn encrypt(&self, place: &str, value: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let (id, key) = self.encryption_keys.first().ok_or(KeyringError::Empty)?;
        let nonce = random_bytes::<NONCE_LEN>()?;
        let id_bytes = u8::try_from(id.len()).map_err(|_| KeyringError::InvalidId)?;
        let mut encrypted = Vec::with_capacity(value.len() + MAX_ENCRYPTION_OVERHEAD_BYTES);
        encrypted.extend([ENCRYPTED_FORMAT, id_bytes]);
        encrypted.extend(id.as_bytes());
        encrypted.extend(nonce);
        let mut text = value.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(place.as_bytes()), &mut text)
            .map_err(|_| KeyringError::NoRandomness)?;
        encrypted.extend(text);
        Ok(encrypted)
    }

    /// Decrypts a value that one of the keys encrypted for this place.
    ///
    /// # Errors
    /// Returns [`InvalidState`] if none of the keys encrypted the value for this place.
    pub fn decrypt(&self, place: &str, encrypted: &[u8]) -> Result<Vec<u8>, InvalidState> {
        let ([form, id_bytes], rest) = encrypted.split_first_chunk().ok_or(InvalidState)?;
        let (id, rest) = rest
            .split_at_checked(usize::from(*id_bytes))
            .ok_or(InvalidState)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(InvalidState)?;
        let mut keys = self
            .encryption_keys
            .iter()
            .filter(|(known, _)| known.as_bytes() == id);
        let (_, key) = keys
            .next()
            .filter(|_| *form == ENCRYPTED_FORMAT)
            .ok_or(InvalidState)?;
        let (nonce, place) = (
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(place.as_bytes()),
        );
        let mut text = text.to_vec();
        let length = key
            .open_in_place(nonce, place, &mut text)
            .map_err(|_| InvalidState)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

/// Derives the encryption key from a state key (HMAC as a key derivation function, NIST SP
/// 800-108r1).
fn derive_encryption_key(key: &[u8]) -> Option<LessSafeKey> {
    let derived = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, key),
        ENCRYPTION_KEY_LABEL,
    );
    UnboundKey::new(&AES_256_GCM, derived.as_ref())
        .ok()
        .map(LessSafeKey::new)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Computes a digest of everything that a signature is bound to. Lengths are included, so that no
/// part can be mistaken for its neighbour.
fn binding_digest(purpose: StatePurpose, principal: &str, binding: &[u8]) -> [u8; 32] {
    let purpose = match purpose {
        StatePurpose::Session => "session",
        StatePurpose::RequestState => "request-state",
        StatePurpose::Plan => "plan",
    };
    let mut digest = Sha256::new();
    for part in [purpose.as_bytes(), principal.as_bytes(), binding] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn is_key_id(id: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=MAX_KEY_ID_BYTES).contains(&id.len()) && id.chars().all(is_allowed)
}

/// Returns random bytes from the system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeyringError::NoRandomness)?;
    Ok(bytes)
}
