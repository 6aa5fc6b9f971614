//! Returns freed memory to the operating system while a server idles.

use std::{hint::black_box, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Interval at which freed memory is returned.
const PURGE_INTERVAL: Duration = Duration::from_secs(5);

/// Size of an allocation that makes the allocator look for freed memory, in bytes. Smaller ones are served from
/// its own pages.
const LARGE_BLOCK_BYTES: usize = 1 << 20;

/// Size of an allocation that mimalloc counts towards its next collection, in bytes. Up to 1 KiB are not counted.
const COUNTED_BLOCK_BYTES: usize = 4096;

/// Number of counted allocations after which mimalloc has collected: its own number of 10,000, in steps of 1,000.
const COUNTED_BLOCKS: usize = 11_000;

/// Returns freed memory every few seconds, until the runtime ends.
///
/// mimalloc returns memory some milliseconds after it was freed, but looks for such memory only when a large
/// block is allocated or freed. It gives up its own empty pages only after some thousand allocations. A server that
/// idles after much work would retain all of it. `MIMALLOC_PURGE_DELAY=0` would return large blocks at once, at the
/// price of a system call for each. The work takes 0.2 ms; see the trial `sessions` in `benchmarks/README.md`.
pub(super) fn spawn_memory_purge() {
    tokio::spawn(async {
        let mut ticks = interval_at(Instant::now() + PURGE_INTERVAL, PURGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Nothing is written to the blocks, so that they use no memory themselves.
            for _ in 0..COUNTED_BLOCKS {
                drop(black_box(Vec::<u8>::with_capacity(COUNTED_BLOCK_BYTES)));
            }
            drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK_BYTES)));
        }
    });
}
