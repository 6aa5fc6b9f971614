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
mod all_workspaces;
mod approval;
mod architecture;
mod argument_aliases;
mod arguments;
mod audit;
mod auth;
mod bounds;
mod budget;
mod call_log;
mod calls;
mod cards;
mod catalog;
mod changes;
mod cli;
mod client;
mod client_docs;
mod completion;
#[cfg(unix)]
mod config_file;
mod contract;
mod counters;
mod dashboard;
mod deploy;
mod diagnose_failures;
mod doctor;
mod documented_requests;
mod drop_in;
mod dry_run;
mod enkrypt;
mod excluded_endpoints;
mod fast_path;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod first_run;
mod gateway_patch;
mod generated_files;
mod guardrail_checks;
mod http;
mod http_conformance;
mod http_limits;
mod http_unread;
mod journal;
#[cfg(unix)]
mod login;
mod metrics;
mod network;
mod notifications;
mod onboard_team;
mod open_arguments;
mod option_effects;
#[cfg(feature = "otel")]
mod otlp;
mod paths;
mod plan_provider_migration;
mod plans;
mod policy;
mod previews;
mod profiles;
mod prompts;
mod read_log_export;
mod readme;
mod reads_for_writes;
mod records;
mod redacted_reads;
mod redirects;
#[cfg(unix)]
mod register_mcp_server;
mod reload;
mod replicas;
mod report_budgets;
mod report_costs;
mod resources;
mod rest;
mod results;
mod review_access;
mod revisions;
mod rotate_key_safely;
mod sandbox;
mod search;
mod search_everyday;
mod secrets;
mod security;
mod session_calls;
mod sessions;
#[cfg(unix)]
mod setup;
mod signed_state;
#[cfg(unix)]
mod skipped_tests;
mod snapshots;
mod stdio;
mod stdio_bounds;
mod store;
mod store_epoch;
mod store_queue;
mod store_redis;
mod suggestions;
mod support;
mod surface;
mod taint;
#[cfg(unix)]
mod terminal;
mod terraform;
mod tool_names;
mod tool_schemas;
mod untrusted;
mod unverified_keys;
mod update_semantics;
mod usages;
mod vocabulary;
mod whoami;
mod workflow_costs;
mod workflows;
mod workspace_keys;
