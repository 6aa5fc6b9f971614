//! Callers that abuse the server, each kind on its own server, while others make ordinary calls.
//!
//! A trial measures the other callers alone, then during the abuse, then waits until the memory is
//! released.

mod arguments;
mod callers;
mod dribble;
mod frames;
mod issuer;
mod keys;
mod pipe;
mod report;
mod searches;
mod setup;
mod unread;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use self::report::{TrialResult, to_markdown_table};

/// Names of the trials, in the order of their execution.
const TRIALS: [&str; 13] = [
    "dribble",
    "unread-http1",
    "unread-http2",
    "unread-stdio",
    "arguments",
    "arguments-stdio",
    "sessions",
    "tickets",
    "streams",
    "counters",
    "searches",
    "issuer",
    "introspection",
];

/// Durations of the phases of a trial, and the limits of its figures.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    /// Calls before the measurement.
    warm_up: Duration,
    /// Other callers alone.
    alone: Duration,
    /// Other callers during the abuse.
    abuse: Duration,
    /// Maximum time until the memory is released.
    idle: Duration,
    /// Maximum memory of the server at any time, in megabytes.
    max_megabytes: f64,
    /// True if times and memory are meaningful. They are not for an unoptimized server and a run of
    /// seconds.
    is_measured: bool,
    /// Factor by which the abuse is smaller than in a full trial.
    divisor: usize,
}

const FULL: Schedule = Schedule {
    warm_up: Duration::from_secs(1),
    alone: Duration::from_secs(10),
    abuse: Duration::from_secs(20),
    idle: Duration::from_secs(30),
    max_megabytes: 150.0,
    is_measured: true,
    divisor: 1,
};

const QUICK: Schedule = Schedule {
    warm_up: Duration::from_millis(100),
    alone: Duration::from_millis(300),
    abuse: Duration::from_millis(1200),
    idle: Duration::ZERO,
    max_megabytes: 400.0,
    is_measured: false,
    divisor: 8,
};

/// Maximum factor between the p99 of the other callers during the abuse and alone.
const MAX_SLOWDOWN: f64 = 5.0;

/// Maximum factor between the memory after idling and before the abuse.
const MAX_GROWTH: f64 = 1.2;

/// Returns true if a trial has this name.
pub(crate) fn is_trial(name: &str) -> bool {
    TRIALS.contains(&name)
}

/// Runs all trials, or the named ones.
pub(crate) async fn run(quick: bool, only: &[String]) -> anyhow::Result<()> {
    let schedule = if quick { QUICK } else { FULL };
    let chosen = TRIALS
        .iter()
        .filter(|name| only.is_empty() || only.iter().any(|o| o == **name));
    let mut rows = Vec::new();
    for name in chosen {
        let started = Instant::now();
        let row = run_trial(name, &schedule)
            .await
            .unwrap_or_else(|error| TrialResult::broken(name, &error));
        let verdict = if row.has_passed(&schedule) {
            "passed"
        } else {
            "failed"
        };
        writeln!(
            io::stderr(),
            "{name} {verdict} after {:.1} s",
            started.elapsed().as_secs_f64()
        )?;
        rows.push(row);
    }
    ensure!(
        !rows.is_empty(),
        "there is no such trial; there are {}",
        TRIALS.join(", ")
    );
    write!(io::stdout(), "\n{}", to_markdown_table(&rows, &schedule))?;
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| !row.has_passed(&schedule))
        .map(|row| row.trial)
        .collect();
    if !failed.is_empty() {
        bail!(
            "{} of {} trials failed: {}",
            failed.len(),
            rows.len(),
            failed.join(", ")
        );
    }
    Ok(())
}

async fn run_trial(name: &'static str, schedule: &Schedule) -> anyhow::Result<TrialResult> {
    match name {
        "dribble" => dribble::run(schedule).await,
        "unread-http1" => unread::http1(schedule).await,
        "unread-http2" => unread::http2(schedule).await,
        "unread-stdio" => pipe::unread(schedule),
        "arguments" => arguments::run(schedule).await,
        "arguments-stdio" => pipe::arguments(schedule),
        "sessions" => keys::sessions(schedule).await,
        "tickets" => keys::tickets(schedule).await,
        "streams" => keys::streams(schedule).await,
        "counters" => keys::counters(schedule).await,
        "searches" => searches::run(schedule).await,
        "issuer" => issuer::keys(schedule).await,
        "introspection" => issuer::introspection(schedule).await,
        other => bail!("there is no trial {other}"),
    }
}
