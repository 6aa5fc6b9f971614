//! Drops the expired entries of caches that nobody uses.

use std::{
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use moka::sync::Cache;
use tokio::{runtime::Handle, time::sleep};

/// Interval at which expired entries are dropped.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

/// Drops the expired entries of a cache every few seconds, until the cache itself is dropped. The cache does so
/// only while it is used. Outside of a runtime this does nothing.
pub fn spawn_cache_expiry<K, V>(cache: &Arc<Cache<K, V>>)
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(run_expiry(Arc::downgrade(cache)));
    }
}

async fn run_expiry<K, V>(cache: Weak<Cache<K, V>>)
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    loop {
        sleep(CLEANUP_INTERVAL).await;
        let Some(cache) = cache.upgrade() else {
            return;
        };
        cache.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn expired_entries_of_an_unused_cache_are_dropped() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = dropped.clone();
        let cache = Cache::builder()
            .time_to_live(Duration::from_nanos(1))
            .eviction_listener(move |_, (), _| _ = count.fetch_add(1, Ordering::Relaxed))
            .build();
        let cache = Arc::new(cache);
        spawn_cache_expiry(&cache);
        for number in 0..10 {
            cache.insert(number, ());
        }
        // Paused time advances once there is nothing else to do. The cache itself has the clock of the system.
        sleep(2 * CLEANUP_INTERVAL).await;
        assert_eq!(dropped.load(Ordering::Relaxed), 10);
    }
}
