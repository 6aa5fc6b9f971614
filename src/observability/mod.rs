//! Request information, call records and their observers: the log, the audit log, metrics and
//! traces.
//!
//! Knows neither upstreams nor rmcp.

pub mod audit;
pub mod call_record;
pub mod logging;
pub mod metrics;
pub mod observer;
pub mod request;
pub mod traces;
