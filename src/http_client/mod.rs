//! The HTTP client of the process, and the causes of failed connections.

pub(crate) mod network_error;
