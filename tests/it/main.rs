//! Integration tests in one binary, which links once.
//!
//! `UPDATE=1 cargo test` rewrites the generated files: `tool-schemas/` and the expectations under
//! `tests/data/calls/`. Read the diff before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod access;
mod approval;
mod architecture;
mod arguments;
mod audit;
mod auth;
mod bounds;
mod budget;
mod call_log;
mod calls;
mod catalog;
mod cli;
mod client;
mod completion;
mod contract;
mod counters;
mod dashboard;
mod deploy;
mod doors;
mod dry_run;
mod enkrypt;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod followed;
mod gateway_patch;
mod guardrail_checks;
mod http;
mod http_limits;
mod http_unread;
mod hub;
mod in_session;
mod mcp;
mod metrics;
mod network;
mod not_shipped;
mod on_behalf;
mod open_arguments;
#[cfg(feature = "otel")]
mod otlp;
mod paths;
mod plain;
mod policy;
mod process;
mod profiles;
mod programs;
mod prompts;
mod readme;
mod records;
mod redis;
mod replicas;
mod requests;
mod resources;
mod results;
mod sandbox;
mod seal;
mod search;
mod secrets;
mod security;
mod sessions;
mod stdio;
mod stdio_bounds;
mod store;
mod store_epoch;
mod store_queue;
mod store_redis;
mod suggestions;
mod surface;
mod taint;
#[cfg(unix)]
mod terminal;
mod tool_schemas;
mod unproven;
mod untrusted;
mod upstream;
mod vocabulary;
mod whoami;

use std::{fs, path::Path};

/// Compares a generated file with the file on disk. With `UPDATE=1`, writes it instead.
fn check_generated_file(path: &Path, fresh: &str) {
    let stale = fs::read_to_string(path).unwrap_or_default();
    if stale == fresh {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fresh).unwrap();
        return;
    }
    panic!(
        "{} is out of date; run `UPDATE=1 cargo test` and read the diff",
        path.display()
    );
}
