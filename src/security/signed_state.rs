//! What clients keep for us and bring back: sealed, so that it comes back as it was and from whom it
//! was given to. Signed, not encrypted: clients can read it. What is kept in a shared store is encrypted.

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
use portkey_bounded_file::{MAX_KEY_BYTES, read_text};
use portkey_store::{Key, Stamp, Store, Use};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use rmcp::model::{RequestStateCodec, SealOptions};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::security::secrets;

/// How long a key is at least, in bytes.
const KEY_BYTES: usize = RequestStateCodec::MIN_KEY_LENGTH;

/// What precedes each payload: which process sealed it, its number, when by the clock of that process, and
/// for how many milliseconds it holds.
const HEAD_BYTES: usize = 32;

/// Which process this is, and since when it runs by a clock that is never set back.
static PROCESS: LazyLock<([u8; 8], Instant)> = LazyLock::new(|| {
    // Without random numbers no key is made or used either.
    (random().unwrap_or_default(), Instant::now())
});

/// What derives the key that encrypts from a state key, which itself only signs.
const ENCRYPTION: &[u8] = b"portkey-mcp: values in a shared store, AES-256-GCM";

/// The form of an encrypted value: this byte, the length of the key's id, the id, the nonce, the ciphertext
/// and its tag.
const FORM: u8 = 1;

/// How much longer an encrypted value is at most.
pub(crate) const MAX_ENCRYPTION_BYTES: usize = 2 + MAX_ID_BYTES + NONCE_LEN + 16;

/// Bound on the id of a key.
const MAX_ID_BYTES: usize = 32;

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
    /// The keys that encrypt, by the ids of those that they are derived from.
    encrypting: Vec<(String, LessSafeKey)>,
}

/// Counts what this process seals, so that each sealed text is another one.
static SEALED: AtomicU64 = AtomicU64::new(0);

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
            let (id, key) = entry
                .split_once(':')
                .ok_or(wrong("expected `id:key`, the key in base64"))?;
            secrets::learn(key.trim());
            let key = STANDARD
                .decode(key.trim())
                .map_err(|_| wrong("the key is no base64"))?;
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
        let derived = keys
            .iter()
            .map(|(id, key)| Some(((*id).to_owned(), encrypting(key)?)));
        let encrypting = derived.collect::<Option<_>>().ok_or(KeyringError::Empty)?;
        let codec = RequestStateCodec::new_with_keyring(first, keys);
        // What it asks of ids and keys was checked, by line.
        let codec = codec.map_err(|_| KeyringError::Empty)?;
        Ok(Self { codec, encrypting })
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
        let (process, started) = &*PROCESS;
        let mut text = Vec::with_capacity(HEAD_BYTES + payload.len());
        text.extend(process);
        text.extend(SEALED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        text.extend(millis(started.elapsed()).to_be_bytes());
        text.extend(millis(ttl).to_be_bytes());
        text.extend(payload);
        let bound = bound_to(purpose, principal, binding);
        self.codec
            .seal_with(&text, &SealOptions::new().associated_data(&bound).ttl(ttl))
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

    /// Seals a payload that can be opened once. The stamp is that of the store that will mark its use.
    pub fn seal_once(
        &self,
        purpose: Purpose,
        principal: &str,
        binding: &[u8],
        payload: &[u8],
        (ttl, stamp): (Duration, Stamp),
    ) -> String {
        let stamped = [&stamp.to_bytes()[..], payload].concat();
        self.seal(purpose, principal, binding, &stamped, ttl)
    }

    /// The payload, if nobody opened it this way before, at any replica. Its time is that of the store, which
    /// a clock that is set back does not lengthen; a store that has forgotten since opens nothing.
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
        let (ttl, stamped) = self.open_with_ttl(purpose, principal, binding, sealed)?;
        let (stamp, payload) = stamped.split_first_chunk().ok_or(Broken)?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(sealed));
        let key = Key::new("sealed", &[&digest]).owned_by(principal);
        match store.use_once(&Stamp::from_bytes(*stamp), &key, ttl).await {
            Ok(Use::First) => Ok(payload.to_vec()),
            Ok(Use::Again | Use::Expired | Use::Forgotten) | Err(_) => Err(Broken),
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
        let (rest, ttl) = text.split_last_chunk().ok_or(Broken)?;
        let (rest, sealed_at) = rest.split_last_chunk().ok_or(Broken)?;
        let ttl = Duration::from_millis(u64::from_be_bytes(*ttl));
        // The codec looks at the system's clock, which can be set back. What this process sealed it also
        // judges by a clock that cannot.
        let (process, started) = &*PROCESS;
        if rest.starts_with(process) {
            let sealed_at = Duration::from_millis(u64::from_be_bytes(*sealed_at));
            if started.elapsed().saturating_sub(sealed_at) > ttl {
                return Err(Broken);
            }
        }
        Ok((ttl, payload))
    }

    /// Encrypts a value for the place where it is kept.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn encrypt(&self, place: &str, value: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let (id, key) = self.encrypting.first().ok_or(KeyringError::Empty)?;
        let nonce = random::<NONCE_LEN>()?;
        let id_bytes = u8::try_from(id.len()).map_err(|_| KeyringError::OddId)?;
        let mut sealed = Vec::with_capacity(value.len() + MAX_ENCRYPTION_BYTES);
        sealed.extend([FORM, id_bytes]);
        sealed.extend(id.as_bytes());
        sealed.extend(nonce);
        let mut text = value.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(place.as_bytes()), &mut text)
            .map_err(|_| KeyringError::NoRandomness)?;
        sealed.extend(text);
        Ok(sealed)
    }

    /// Decrypts a value that one of the keys encrypted for this place.
    ///
    /// # Errors
    /// None of them did.
    pub fn decrypt(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let ([form, id_bytes], rest) = sealed.split_first_chunk().ok_or(Broken)?;
        let (id, rest) = rest
            .split_at_checked(usize::from(*id_bytes))
            .ok_or(Broken)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Broken)?;
        let mut keys = self
            .encrypting
            .iter()
            .filter(|(known, _)| known.as_bytes() == id);
        let (_, key) = keys.next().filter(|_| *form == FORM).ok_or(Broken)?;
        let (nonce, place) = (
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(place.as_bytes()),
        );
        let mut text = text.to_vec();
        let length = key
            .open_in_place(nonce, place, &mut text)
            .map_err(|_| Broken)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

/// The key that encrypts, by the state key that it is derived from (HMAC as a key derivation function,
/// NIST SP 800-108r1).
fn encrypting(key: &[u8]) -> Option<LessSafeKey> {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), ENCRYPTION);
    UnboundKey::new(&AES_256_GCM, derived.as_ref())
        .ok()
        .map(LessSafeKey::new)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.chars().all(usual)
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeyringError::NoRandomness)?;
    Ok(bytes)
}
