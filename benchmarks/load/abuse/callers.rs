//! The other callers: ordinary calls at a steady rate, and their latencies.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::{sleep_until, timeout};

use crate::{
    http::{Client, Generation},
    stats::Latencies,
};

/// Interval between two calls of each caller, within the default limits per caller.
const CALL_INTERVAL: Duration = Duration::from_millis(25);

/// Maximum time that a caller waits for a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Results of the calls.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) latencies: Latencies,
    pub(super) failures: Vec<String>,
}

/// Makes calls until `time` is over, on one connection per credential.
///
/// The latency of a delayed call counts from the time at which it was due. A server that stalls
/// thus delays all calls of that time, not one per connection.
pub(super) async fn make_calls(
    address: SocketAddr,
    credentials: &[String],
    time: Duration,
) -> anyhow::Result<Calls> {
    let until = Instant::now() + time;
    let tasks: Vec<_> = (1..)
        .zip(credentials)
        .map(|(number, credential)| {
            let source = IpAddr::from(Ipv4Addr::new(127, 0, 1, number));
            tokio::spawn(run_caller(source, address, credential.clone(), until))
        })
        .collect();
    let mut all = Calls::default();
    for task in tasks {
        let calls = task.await?;
        all.latencies.extend(calls.latencies);
        all.failures.extend(calls.failures);
    }
    ensure!(
        all.latencies.len() > 0,
        "no call succeeded: {:?}",
        all.failures.first()
    );
    Ok(all)
}

async fn run_caller(
    source: IpAddr,
    address: SocketAddr,
    credential: String,
    until: Instant,
) -> Calls {
    let mut calls = Calls::default();
    let mut client = None;
    let mut due = Instant::now();
    while due < until {
        let now = Instant::now();
        let started = if now < due {
            sleep_until(due.into()).await;
            Instant::now()
        } else {
            due
        };
        match timeout(TIMEOUT, call(source, address, &credential, &mut client)).await {
            Ok(Ok(())) => calls.latencies.add(started.elapsed()),
            Ok(Err(error)) => {
                calls.failures.push(format!("{error:#}"));
                client = None;
            }
            Err(_) => {
                calls
                    .failures
                    .push(format!("no answer within {} s", TIMEOUT.as_secs()));
                client = None;
            }
        }
        due += CALL_INTERVAL;
    }
    calls
}

async fn call(
    source: IpAddr,
    address: SocketAddr,
    credential: &str,
    client: &mut Option<Client>,
) -> anyhow::Result<()> {
    let client = match client {
        Some(client) => client,
        None => {
            let made = Client::connect_from(source, address, Generation::Modern, credential).await;
            client.insert(made.context("no connection")?)
        }
    };
    client.call().await?;
    Ok(())
}
