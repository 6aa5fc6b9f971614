//! Bounded background work, and work that several callers share.

mod boxed;
pub mod single_flight;
pub mod worker_pool;

pub use boxed::{MAX_FUTURE_BYTES, box_future};
