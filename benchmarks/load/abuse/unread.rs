//! Responses that are requested and never read, over both versions of HTTP.

use std::{
    io::ErrorKind,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout_at},
};

use super::{
    Schedule,
    frames::{NoWindowConnection, StreamEvent, request_fields},
    report::TrialResult,
    setup::{ABUSERS, Attack, Setup, source_address},
};
use crate::{
    http::{Generation, stateless_request, tool_request},
    mcp,
};

/// Number of HTTP/1.1 connections that leave responses unread, lists per connection, and the period
/// of their starts. Linux buffers up to 4 MB per connection by default (`tcp_wmem`); a list has 160
/// kB.
const CONNECTIONS: usize = 64;
const LISTS_PER_CONNECTION: usize = 64;
const START_PERIOD: Duration = Duration::from_millis(2500);

/// Number of HTTP/2 connections, streams per connection, and interval between two streams. One
/// caller has as many requests as the default limit allows.
const HTTP2_CONNECTIONS: usize = 2 * ABUSERS;
const STREAMS: usize = 128;
const STREAM_INTERVAL: Duration = Duration::from_millis(40);

/// Number of bytes that an HTTP/1.1 client accepts before the server has to wait.
const RECEIVE_BUFFER: u32 = 4096;

pub(super) async fn http1(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let (schedule, write_timeout) = &with_write_timeout(schedule);
    let setup = Setup::with_tokens(&["--write-timeout", write_timeout])?;
    let abusers = setup.abusers.clone();
    let tasks = CONNECTIONS / schedule.divisor;
    let unknown = 20_000 / schedule.divisor;
    let beginning = START_PERIOD.min(schedule.abuse / 4);
    let attack = move |attack: Attack| async move {
        let unknown = unknown_arguments(unknown);
        attack
            .repeat(tasks, beginning, async |task| {
                let token = abusers
                    .get(task % ABUSERS)
                    .map(String::as_str)
                    .unwrap_or_default();
                let list = stateless_request(attack.address, token, "tools/list", "");
                let call = tool_request(
                    (attack.address, Generation::Modern),
                    &format!(
                        "{token}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n"
                    ),
                    1,
                    "list-labels",
                    &unknown,
                );
                let first = if task % 8 == 0 { call } else { Vec::new() };
                hold_unread(
                    &attack,
                    task,
                    &[first, list.repeat(LISTS_PER_CONNECTION)].concat(),
                )
                .await
            })
            .await;
        // Connections that read a little may stay open.
        check_closed(&attack, tasks / 2);
    };
    setup
        .observe("unread-http1", schedule, attack, async |_: Instant| {
            Vec::new()
        })
        .await
}

/// Sends requests, then waits until the server closes the connection. One in four reads a little
/// meanwhile.
async fn hold_unread(attack: &Attack, task: usize, requests: &[u8]) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind((source_address(task), 0).into())?;
    let stream = socket.connect(attack.address).await?;
    let mut left = requests;
    while !left.is_empty() {
        stream.writable().await?;
        left = left.get(try_write(&stream, left)?..).unwrap_or_default();
    }
    attack.counts.answered.fetch_add(1, Relaxed);
    loop {
        sleep(Duration::from_millis(200)).await;
        if task % 4 == 3 {
            let mut little = [0; 64];
            match stream.try_read(&mut little) {
                Ok(0) => bail!("the server closed the connection"),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => continue,
            }
        }
        // The start of another request; a closed connection answers it with a reset. While a
        // response waits, the server reads on only for a limited time.
        try_write(&stream, b"P")?;
    }
}

/// Returns the number of bytes that could be written without blocking.
fn try_write(stream: &TcpStream, bytes: &[u8]) -> anyhow::Result<usize> {
    match stream.try_write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => Ok(written?),
    }
}

pub(super) async fn http2(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let (schedule, write_timeout) = &with_write_timeout(schedule);
    let setup = Setup::with_tokens(&["--write-timeout", write_timeout])?;
    let abusers = setup.abusers.clone();
    let streams = STREAMS / schedule.divisor;
    let attack = move |attack: Attack| async move {
        let authority = attack.address.to_string();
        let body = mcp::stateless_request("tools/list", "");
        attack
            .repeat(HTTP2_CONNECTIONS, STREAM_INTERVAL, async |task| {
                let token = abusers
                    .get(task % ABUSERS)
                    .map(String::as_str)
                    .unwrap_or_default();
                let fields = request_fields(&authority, token, "tools/list")?;
                let mut connection =
                    NoWindowConnection::open(source_address(task), attack.address).await?;
                let mut open = 0;
                let mut next = Instant::now();
                loop {
                    let next_at = if open < streams { next } else { attack.until };
                    let count = match timeout_at(next_at.into(), connection.event()).await {
                        Ok(event) => match event? {
                            StreamEvent::Answered => &attack.counts.answered,
                            StreamEvent::Refused => &attack.counts.refused,
                            StreamEvent::Reset => {
                                open -= 1;
                                &attack.counts.closed
                            }
                        },
                        Err(_) => {
                            connection.post(&fields, body.as_bytes()).await?;
                            open += 1;
                            next = Instant::now() + STREAM_INTERVAL;
                            continue;
                        }
                    };
                    count.fetch_add(1, Relaxed);
                }
            })
            .await;
        check_closed(&attack, HTTP2_CONNECTIONS);
    };
    setup
        .observe("unread-http2", schedule, attack, async |_: Instant| {
            Vec::new()
        })
        .await
}

/// Returns a schedule that spans several write timeouts, and the write timeout in seconds.
fn with_write_timeout(schedule: &Schedule) -> (Schedule, String) {
    let seconds = if schedule.is_measured { 5 } else { 1 };
    let abuse = schedule.abuse.max(Duration::from_secs(4 * seconds));
    (Schedule { abuse, ..*schedule }, seconds.to_string())
}

/// Checks that the server gave up unread responses: each connection, or its streams, at least once.
fn check_closed(attack: &Attack, least: usize) {
    let closed = attack.counts.closed.load(Relaxed);
    let what = format!("{closed} unread answers were given up by the server");
    attack.counts.check(what, closed >= least as u64);
}

/// Returns arguments of `list-labels` that no version knows.
pub(super) fn unknown_arguments(count: usize) -> String {
    let fields: Vec<_> = (0..count)
        .map(|number| format!(r#""u{number}":1"#))
        .collect();
    format!("{{{}}}", fields.join(","))
}
