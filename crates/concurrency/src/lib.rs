//! Bounded background work, and work that several callers share.

pub mod single_flight;
pub mod worker_pool;
