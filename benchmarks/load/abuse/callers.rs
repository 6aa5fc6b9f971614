//! The other callers: ordinary calls at a steady pace, and how long they take.

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

/// How often each of them makes a call: within the limits of callers that a server has by itself.
const CALL_INTERVAL: Duration = Duration::from_millis(25);

/// How long they wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came of their calls.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) latencies: Latencies,
    pub(super) failures: Vec<String>,
}

/// Makes calls for a while, on a connection for each credential.
///
/// A call that is late because the one before it was is measured from the moment at which it was due, so that
/// a server that stands still delays all calls of that time, not one for each connection.
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
