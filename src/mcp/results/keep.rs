//! Answers that were shown in part, kept whole for a while for whoever got them.
//!
//! Memory holds what any store in memory does ([`portkey_store::MOST_BYTES`]), the oldest going first;
//! of one caller no more than [`MOST_OF_PRINCIPAL`]. In Redis they are encrypted.

use std::time::Duration;

use bytes::Bytes;
use portkey_concurrency::worker_pool::Busy;
use portkey_store::{Key, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    auth::principal::Principal,
    security::{encrypted_store::SealedStore, signed_state::random},
};

/// Bound on what is kept of one caller, in bytes.
pub const MOST_OF_PRINCIPAL: usize = 16 << 20;

/// Into parts of which size an answer is divided.
const PART_BYTES: usize = SealedStore::MAX_VALUE_BYTES;

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// There is none, it has expired, or it is somebody else's: all the same to whoever asks.
    #[error("there is no such handle; results are kept for a while only. Make the call again")]
    NoSuchHandle,
    /// What is kept cannot be reached now.
    #[error("kept results cannot be read now ({0}). Try again in a while, or make the call again")]
    Away(#[from] StoreError),
    /// Too much is read at once.
    #[error("this part of a large result was not read: {0}")]
    Busy(#[from] Busy),
    /// The search was given up.
    #[error(
        "the search takes too long; give the `pointer` of a part of the result, or page through it"
    )]
    TooLong,
    /// The answer has no such part.
    #[error("there is nothing at `{pointer}`; {near}")]
    NoSuchPart {
        /// What was asked for, or its beginning.
        pointer: String,
        /// What there is nearby.
        near: String,
    },
}

#[derive(Debug)]
pub(super) struct Keep {
    store: SealedStore,
    ttl: Duration,
}

/// What is kept of an answer beside its parts.
#[derive(Deserialize, Serialize)]
struct Head {
    parts: usize,
    untrusted: bool,
}

/// What is kept of a caller, the oldest first: names, parts and sizes.
type Ledger = Vec<(String, usize, usize)>;

impl Keep {
    pub(super) const fn new(store: SealedStore, ttl: Duration) -> Self {
        Self { store, ttl }
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Keeps an answer for its caller under a handle that nobody can guess.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) async fn put(
        &self,
        principal: &Principal,
        whole: Bytes,
        untrusted: bool,
    ) -> Result<String, &'static str> {
        if whole.len() > MOST_OF_PRINCIPAL {
            return Err("it is too large");
        }
        let handle = random::<16>().map_err(|_| "the system gives no random numbers")?;
        let handle = hex::encode(handle);
        let kept = self
            .try_put(&principal.name, &name(&handle), whole, untrusted)
            .await;
        kept.map(|()| handle)
            .map_err(|_| "the store cannot be reached")
    }

    async fn try_put(
        &self,
        principal: &str,
        name: &str,
        whole: Bytes,
        untrusted: bool,
    ) -> Result<(), StoreError> {
        let ledger = Key::new("results-of", &[principal]);
        let mut kept: Ledger = match self.store.get(&ledger).await? {
            Some(kept) => serde_json::from_slice(&kept).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut total = whole.len() + kept.iter().map(|(.., bytes)| bytes).sum::<usize>();
        while total > MOST_OF_PRINCIPAL && !kept.is_empty() {
            let (oldest, parts, bytes) = kept.remove(0);
            self.store.remove(&head(principal, &oldest)).await?;
            for i in 0..parts {
                self.store.remove(&part(principal, &oldest, i)).await?;
            }
            total -= bytes;
        }
        let parts = whole.len().div_ceil(PART_BYTES);
        // Of two calls at once one may not be counted here: it expires all the same.
        kept.push((name.to_owned(), parts, whole.len()));
        self.store.put(&ledger, json(&kept), self.ttl).await?;
        for i in 0..parts {
            let start = i * PART_BYTES;
            let bytes = whole.slice(start..(start + PART_BYTES).min(whole.len()));
            self.store
                .put(&part(principal, name, i), bytes, self.ttl)
                .await?;
        }
        // Last: what has a head is whole.
        self.store
            .put(
                &head(principal, name),
                json(&Head { parts, untrusted }),
                self.ttl,
            )
            .await
    }

    /// An answer that is kept for this caller.
    ///
    /// # Errors
    /// There is none, or it cannot be reached.
    pub(super) async fn get(
        &self,
        principal: &Principal,
        handle: &str,
    ) -> Result<Kept, ResultError> {
        let (principal, name) = (&*principal.name, name(handle));
        let kept = self.store.get(&head(principal, &name)).await?;
        let kept = kept.and_then(|head| serde_json::from_slice::<Head>(&head).ok());
        let Head { parts, untrusted } = kept.ok_or(ResultError::NoSuchHandle)?;
        let mut kept = Kept {
            parts: Vec::new(),
            untrusted,
        };
        for i in 0..parts {
            let bytes = self.store.get(&part(principal, &name, i)).await?;
            kept.parts.push(bytes.ok_or(ResultError::NoSuchHandle)?);
        }
        Ok(kept)
    }
}

/// An answer that was kept, as it is stored.
pub(super) struct Kept {
    parts: Vec<Bytes>,
    /// Whether strangers wrote some of it.
    pub(super) untrusted: bool,
}

impl Kept {
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The whole, which takes a while where it is large.
    ///
    /// # Errors
    /// It is not whole any more.
    pub(super) fn parse(&self) -> Result<Value, ResultError> {
        let parsed = match &self.parts[..] {
            [whole] => serde_json::from_slice(whole),
            parts => serde_json::from_slice(&parts.concat()),
        };
        parsed.map_err(|_| ResultError::NoSuchHandle)
    }
}

/// What a handle is called in the store, where names are not secret.
fn name(handle: &str) -> String {
    hex::encode(Sha256::digest(handle.as_bytes()))
}

fn head(principal: &str, name: &str) -> Key {
    Key::new("result", &[principal, name])
}

fn part(principal: &str, name: &str, i: usize) -> Key {
    Key::new("result-part", &[principal, name, &i.to_string()])
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
