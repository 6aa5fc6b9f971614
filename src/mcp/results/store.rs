//! Store of truncated results: whole, for a limited time, for the caller that received them.
//!
//! In memory the limit is that of every memory store ([`portkey_store::MAX_MEMORY_BYTES`]), and the
//! oldest results are removed first. One caller has at most [`MAX_BYTES_PER_CALLER`]. In Redis
//! results are encrypted.

use std::time::Duration;

use bytes::Bytes;
use portkey_concurrency::worker_pool::PoolBusy;
use portkey_store::{StoreError, StoreKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    auth::principal::Principal,
    security::{encrypted_store::EncryptedStore, signed_state::random_bytes},
};

/// Maximum size of the stored results of one caller, in bytes.
pub const MAX_BYTES_PER_CALLER: usize = 16 << 20;

/// Size of the chunks into which a result is divided, in bytes.
const CHUNK_BYTES: usize = EncryptedStore::MAX_VALUE_BYTES;

/// Reason for which a stored result cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The handle is unknown, expired or another caller's. Callers cannot tell these cases apart.
    #[error("there is no such handle; results are kept for a while only. Make the call again")]
    NoSuchHandle,
    /// The store is unavailable.
    #[error("kept results cannot be read now ({0}). Try again in a while, or make the call again")]
    Unavailable(#[from] StoreError),
    /// Too many large results are being read.
    #[error("this part of a large result was not read: {0}")]
    Busy(#[from] PoolBusy),
    /// The search exceeded its time limit.
    #[error(
        "the search takes too long; give the `pointer` of a part of the result, or page through it"
    )]
    SearchTimeout,
    /// The result has no such part.
    #[error("there is nothing at `{pointer}`; {near}")]
    NoSuchPart {
        /// Requested pointer, possibly truncated.
        pointer: String,
        /// Hint at the keys or items nearby.
        near: String,
    },
}

#[derive(Debug)]
pub(super) struct ResultStore {
    store: EncryptedStore,
    ttl: Duration,
}

/// Header of a stored result, beside its chunks.
#[derive(Deserialize, Serialize)]
struct StoredHeader {
    parts: usize,
    untrusted: bool,
}

/// Names, chunk counts and sizes of a caller's stored results, the oldest first.
type CallerIndex = Vec<(String, usize, usize)>;

impl ResultStore {
    pub(super) const fn new(store: EncryptedStore, ttl: Duration) -> Self {
        Self { store, ttl }
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Stores a result for its caller under an unguessable handle.
    ///
    /// # Errors
    /// Returns the reason as a text if the result is too large, or if no random numbers or no store
    /// are available.
    pub(super) async fn put(
        &self,
        principal: &Principal,
        whole: Bytes,
        untrusted: bool,
    ) -> Result<String, &'static str> {
        if whole.len() > MAX_BYTES_PER_CALLER {
            return Err("it is too large");
        }
        let handle = random_bytes::<16>().map_err(|_| "the system gives no random numbers")?;
        let handle = hex::encode(handle);
        let outcome = self
            .try_put(&principal.name, &hash_handle(&handle), whole, untrusted)
            .await;
        outcome
            .map(|()| handle)
            .map_err(|_| "the store cannot be reached")
    }

    async fn try_put(
        &self,
        principal: &str,
        name: &str,
        whole: Bytes,
        untrusted: bool,
    ) -> Result<(), StoreError> {
        let ledger = StoreKey::new("results-of", &[principal]);
        let mut index: CallerIndex = match self.store.get(&ledger).await? {
            Some(stored) => serde_json::from_slice(&stored).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut total = whole.len() + index.iter().map(|(.., bytes)| bytes).sum::<usize>();
        while total > MAX_BYTES_PER_CALLER && !index.is_empty() {
            let (oldest, parts, bytes) = index.remove(0);
            self.store.remove(&header_key(principal, &oldest)).await?;
            for i in 0..parts {
                self.store.remove(&chunk_key(principal, &oldest, i)).await?;
            }
            total -= bytes;
        }
        let parts = whole.len().div_ceil(CHUNK_BYTES);
        // Of two concurrent calls one may be missing from this index; its result expires all the
        // same.
        index.push((name.to_owned(), parts, whole.len()));
        self.store.put(&ledger, to_json(&index), self.ttl).await?;
        for i in 0..parts {
            let start = i * CHUNK_BYTES;
            let bytes = whole.slice(start..(start + CHUNK_BYTES).min(whole.len()));
            self.store
                .put(&chunk_key(principal, name, i), bytes, self.ttl)
                .await?;
        }
        // Written last: a result that has a header is complete.
        self.store
            .put(
                &header_key(principal, name),
                to_json(&StoredHeader { parts, untrusted }),
                self.ttl,
            )
            .await
    }

    /// Loads a stored result of this caller.
    ///
    /// # Errors
    /// Returns an error if there is no such result or the store is unavailable.
    pub(super) async fn get(
        &self,
        principal: &Principal,
        handle: &str,
    ) -> Result<StoredResult, ResultError> {
        let principal = &*principal.name;
        let name = hash_handle(handle);
        let header = self.store.get(&header_key(principal, &name)).await?;
        let header = header.and_then(|head| serde_json::from_slice::<StoredHeader>(&head).ok());
        let StoredHeader { parts, untrusted } = header.ok_or(ResultError::NoSuchHandle)?;
        let mut stored = StoredResult {
            chunks: Vec::new(),
            is_untrusted: untrusted,
        };
        for i in 0..parts {
            let bytes = self.store.get(&chunk_key(principal, &name, i)).await?;
            stored.chunks.push(bytes.ok_or(ResultError::NoSuchHandle)?);
        }
        Ok(stored)
    }
}

/// A stored result in its stored form.
pub(super) struct StoredResult {
    chunks: Vec<Bytes>,
    /// `true` if the result has untrusted content.
    pub(super) is_untrusted: bool,
}

impl StoredResult {
    pub(super) fn byte_len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Parses the whole result, which takes a while if it is large.
    ///
    /// # Errors
    /// Returns [`ResultError::NoSuchHandle`] if the stored bytes are no longer valid JSON.
    pub(super) fn parse(&self) -> Result<Value, ResultError> {
        let parsed = match &self.chunks[..] {
            [whole] => serde_json::from_slice(whole),
            parts => serde_json::from_slice(&parts.concat()),
        };
        parsed.map_err(|_| ResultError::NoSuchHandle)
    }
}

/// Hashes a handle for use in store keys, which are not secret.
fn hash_handle(handle: &str) -> String {
    hex::encode(Sha256::digest(handle.as_bytes()))
}

fn header_key(principal: &str, name: &str) -> StoreKey {
    StoreKey::new("result", &[principal, name])
}

fn chunk_key(principal: &str, name: &str, i: usize) -> StoreKey {
    StoreKey::new("result-part", &[principal, name, &i.to_string()])
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
