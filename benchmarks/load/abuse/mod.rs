//! Callers who abuse the server, each kind on a server of its own, while others make ordinary calls.
//!
//! A trial measures the other callers alone, then under the abuse, then waits for the memory to come back.

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

/// The trials, in the order in which they run.
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

/// How long the parts of a trial last, and what its figures may be.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    /// Calls before anything is measured.
    warm_up: Duration,
    /// The other callers alone.
    alone: Duration,
    /// The other callers under the abuse.
    abuse: Duration,
    /// How long the memory may take to come back.
    idle: Duration,
    /// Bound on the memory of the server at any time, in megabytes.
    max_megabytes: f64,
    /// Whether times and memory mean anything: not those of an unoptimised server that is watched for seconds.
    is_measured: bool,
    /// By how much the abuse is smaller than in a whole trial.
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

/// How much longer the 99th percentile of the other callers' calls may be under the abuse.
const MAX_SLOWDOWN: f64 = 5.0;

/// How much more memory than before the server may have once it has idled.
const MAX_GROWTH: f64 = 1.2;

/// Whether there is a trial of this name.
pub(crate) fn is_trial(name: &str) -> bool {
    TRIALS.contains(&name)
}

/// Runs all trials, or those named.
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
