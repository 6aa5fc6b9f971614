//! Secrets with real clients: masking, delivery, references, and logs without secrets.

mod delivery;
mod leaks;
mod masking;
mod permissions;
mod redaction;
mod references;
mod secret_fields;
mod server_keys;
