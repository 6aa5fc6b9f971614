//! Returns freed memory to the operating system while a server idles.

use std::{hint::black_box, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Interval at which freed memory is returned.
const PURGE_INTERVAL: Duration = Duration::from_secs(5);

/// Size of an allocation that makes the allocator look for freed memory, in bytes. Smaller ones are served from
/// its own pages.
const BLOCK_BYTES: usize = 1 << 20;

/// Returns freed memory every few seconds, until the runtime ends.
///
/// mimalloc returns memory some milliseconds after it was freed, but looks for such memory only when a large
/// block is allocated or freed. A server that idles after much work would retain all of it.
/// `MIMALLOC_PURGE_DELAY=0` would return it at once, at the price of a system call for each large block.
pub(super) fn spawn_memory_purge() {
    tokio::spawn(async {
        let mut ticks = interval_at(Instant::now() + PURGE_INTERVAL, PURGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Nothing is written to the block, so that it uses no memory itself.
            drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
        }
    });
}
