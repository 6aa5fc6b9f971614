//! Gives memory that was freed back to the system, once a server has less to do.

use std::{hint::black_box, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often freed memory is given back.
const PURGE_INTERVAL: Duration = Duration::from_secs(5);

/// What has to be taken for the allocator to look for freed memory: it serves smaller pieces from what it holds.
const BLOCK_BYTES: usize = 1 << 20;

/// Gives freed memory back every few seconds, for as long as the runtime lasts.
///
/// mimalloc gives memory back some milliseconds after it was freed, but looks for such memory only when a large
/// piece is taken or freed. A server that idles after much work would keep all of it. `MIMALLOC_PURGE_DELAY=0`
/// would give it back at once, at the price of a system call for each large piece.
pub(super) fn spawn_memory_purge() {
    tokio::spawn(async {
        let mut ticks = interval_at(Instant::now() + PURGE_INTERVAL, PURGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Nothing is written to it, so that it takes no memory itself.
            drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
        }
    });
}
