//! Secrets with real clients: masking, delivery, references, and logs without secrets.

mod handover;
mod leaks;
mod masking;
mod own_keys;
mod permissions;
mod places;
mod redaction;
mod references;
