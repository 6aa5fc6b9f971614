//! Integration tests in one binary, which links once.
//!
//! `UPDATE=1 cargo test --test it up_to_date` rewrites the generated files: `tool-schemas/`, `docs/tools.md`,
//! tables and counts in README and docs, `tests/data/reads.txt`, and the expectations under
//! `tests/data/calls/`. Read the diff before committing it, as reviewers do.

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

use std::{collections::BTreeSet, fs, path::Path};

/// Command that writes all generated files: it runs the tests with `up_to_date` in their names.
const UPDATE_COMMAND: &str = "UPDATE=1 cargo test --test it up_to_date";

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
        "{} is out of date; run `{UPDATE_COMMAND}`, read the diff and commit it\n{}",
        path.display(),
        describe_difference(&stale, fresh)
    );
}

/// Returns the lines of two texts that differ, without their common beginning and end.
fn describe_difference(stale: &str, fresh: &str) -> String {
    const MAX_LINES: usize = 12;
    let (stale, fresh): (Vec<_>, Vec<_>) = (stale.lines().collect(), fresh.lines().collect());
    let pairs = stale.iter().zip(&fresh);
    let before = pairs.take_while(|(one, other)| one == other).count();
    let (stale, fresh) = (&stale[before..], &fresh[before..]);
    let pairs = stale.iter().rev().zip(fresh.iter().rev());
    let after = pairs.take_while(|(one, other)| one == other).count();
    let mut text = format!("from line {}:", before + 1);
    for (mark, lines) in [("-", stale), ("+", fresh)] {
        let lines = &lines[..lines.len() - after];
        for line in lines.iter().take(MAX_LINES) {
            text += &format!("\n{mark} {line}");
        }
        if lines.len() > MAX_LINES {
            text += &format!("\n{mark} and {} lines more", lines.len() - MAX_LINES);
        }
    }
    text
}

/// Asserts that two lists of names are equal, and shows only their difference.
fn assert_same_names(what: &str, got: &[impl AsRef<str>], expected: &[impl AsRef<str>]) {
    let got: Vec<_> = got.iter().map(AsRef::as_ref).collect();
    let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
    if got == expected {
        return;
    }
    let (given, wanted): (BTreeSet<_>, BTreeSet<_>) = (
        got.iter().copied().collect(),
        expected.iter().copied().collect(),
    );
    let missing: Vec<_> = wanted.difference(&given).collect();
    let unexpected: Vec<_> = given.difference(&wanted).collect();
    let order = got
        .iter()
        .zip(&expected)
        .position(|(one, other)| one != other);
    panic!(
        "{what}: missing {missing:?}, unexpected {unexpected:?}; the first difference is at {order:?} of {} and {}",
        got.len(),
        expected.len()
    );
}
