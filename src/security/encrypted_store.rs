//! A key-value store that encrypts its values, for stores that other programs can read.
//! Only holders of the state keys can decrypt the values.

use std::sync::Arc;

use bytes::Bytes;
use std::time::Duration;

use portkey_file_watch::WatchedValue;
use portkey_store::{EnqueueOutcome, MAX_VALUE_BYTES, Queue, Store, StoreError, StoreKey};

use crate::security::signed_state::{Keyring, MAX_ENCRYPTION_OVERHEAD_BYTES};

/// A store with encrypted values. A value that none of the keys can decrypt counts as absent.
///
/// Names are not encrypted. A name tells for which caller a value is kept, and nothing of its
/// content.
#[derive(Clone, Debug)]
pub(crate) struct EncryptedStore {
    store: Store,
    /// `None` if the store is not shared, so that values need no encryption.
    keys: Option<Arc<WatchedValue<Keyring>>>,
}

impl EncryptedStore {
    /// Maximum size of one value, in bytes.
    pub(crate) const MAX_VALUE_BYTES: usize = MAX_VALUE_BYTES - MAX_ENCRYPTION_OVERHEAD_BYTES;

    /// Wraps a store. Values are encrypted only in Redis, because no other process shares this
    /// one's memory.
    pub(crate) fn new(store: Store, keys: Arc<WatchedValue<Keyring>>) -> Self {
        let keys = matches!(store, Store::Redis(_)).then_some(keys);
        Self { store, keys }
    }

    /// Creates an unencrypted store in memory.
    pub(crate) fn in_memory() -> Self {
        Self {
            store: Store::in_memory(),
            keys: None,
        }
    }

    /// The underlying store, for operations without a value.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Encrypts and stores a value; see [`Store::put`].
    pub(crate) async fn put(
        &self,
        key: &StoreKey,
        value: Bytes,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let value = self.encrypt(&key.to_string(), value)?;
        self.store.put(key, value, ttl).await
    }

    /// Reads and decrypts a value; see [`Store::get`].
    pub(crate) async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let found = self.store.get(key).await?;
        Ok(found.and_then(|value| self.decrypt(&key.to_string(), value)))
    }

    /// Removes a value; see [`Store::remove`].
    pub(crate) async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.store.remove(key).await
    }

    /// Encrypts and queues a value; see [`Store::enqueue`].
    pub(crate) async fn enqueue(
        &self,
        queue: &Queue,
        id: &str,
        owner: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<EnqueueOutcome, StoreError> {
        let value = self.encrypt(&queued_value_place(queue, id), value)?;
        self.store.enqueue(queue, id, owner, value, ttl).await
    }

    /// Reads and decrypts queued values; see [`Store::queued_values`].
    pub(crate) async fn queued_values(
        &self,
        queue: &Queue,
        ids: &[&str],
    ) -> Result<Vec<Bytes>, StoreError> {
        let found = self.store.queued_values(queue, ids).await?;
        let open = |(id, value): (&&str, Option<Bytes>)| {
            self.decrypt(&queued_value_place(queue, id), value?)
        };
        Ok(ids.iter().zip(found).filter_map(open).collect())
    }

    /// Replaces a queued value with an encrypted one; see [`Store::replace_queued`].
    pub(crate) async fn replace_queued(
        &self,
        queue: &Queue,
        id: &str,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        let value = self.encrypt(&queued_value_place(queue, id), value)?;
        self.store.replace_queued(queue, id, value).await
    }

    fn encrypt(&self, place: &str, value: Bytes) -> Result<Bytes, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(value);
        };
        let encrypted = keys.get().encrypt(place, &value);
        let why = "a value for Redis cannot be encrypted: the system gives no random numbers";
        encrypted
            .map(Bytes::from)
            .map_err(|_| StoreError::InvalidSettings(why))
    }

    fn decrypt(&self, place: &str, value: Bytes) -> Option<Bytes> {
        match &self.keys {
            Some(keys) => keys.get().decrypt(place, &value).ok().map(Bytes::from),
            None => Some(value),
        }
    }
}

/// Builds the associated data of a queued value, so that no value can be moved to the place of
/// another.
fn queued_value_place(queue: &Queue, id: &str) -> String {
    format!("{}:{id}", queue.name)
}
