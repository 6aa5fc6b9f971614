//! Bounded background work, work that several callers share, and maps and caches that shrink.

mod boxed;
mod cache_expiry;
pub mod single_flight;
mod sparse;
pub mod worker_pool;

pub use boxed::{MAX_FUTURE_BYTES, box_future};
pub use cache_expiry::spawn_cache_expiry;
pub use sparse::{MAX_UNUSED_CAPACITY, is_sparse, shrink_sparse};
