//! The store that replicas share, in memory and in a real Redis.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use portkey_store::{Store, StoreError, StoreKey, TokenBucket, UseOutcome};

use crate::support::{programs::is_missing, redis::RedisServer};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(5);

/// Two replicas' handles of one store.
pub(crate) struct StorePair {
    pub(crate) kind: &'static str,
    pub(crate) one: Store,
    pub(crate) other: Store,
    _server: Option<RedisServer>,
}

pub(crate) async fn store_pairs() -> Vec<StorePair> {
    let memory = Store::in_memory();
    let mut pairs = vec![StorePair {
        kind: "memory",
        one: memory.clone(),
        other: memory,
        _server: None,
    }];
    if !is_missing("redis-server") {
        let server = RedisServer::start();
        let one = server.store().await;
        let other = server.store().await;
        pairs.push(StorePair {
            kind: "redis",
            one,
            other,
            _server: Some(server),
        });
    }
    pairs
}

pub(crate) fn test_key(name: &str) -> StoreKey {
    StoreKey::new("test", &[name])
}

pub(crate) fn rate_limit(burst: u32, period: Duration) -> TokenBucket {
    TokenBucket {
        burst: NonZeroU32::new(burst).unwrap(),
        period,
    }
}

/// Marks the use of something issued now; returns true for the first use.
pub(crate) async fn use_once(
    store: &Store,
    key: &StoreKey,
    ttl: Duration,
) -> Result<bool, StoreError> {
    let stamp = store.stamp().await?;
    Ok(store.use_once(&stamp, key, ttl).await? == UseOutcome::First)
}

/// Repeats a check until it succeeds, for as long as a slow machine may need.
pub(crate) async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: never");
        tokio::task::yield_now().await;
    }
}
