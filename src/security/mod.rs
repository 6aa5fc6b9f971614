//! Secrets, sanitized text, and state that is signed or encrypted.

pub(crate) mod encrypted_store;
pub mod sanitize;
pub mod secrets;
pub mod signed_state;
