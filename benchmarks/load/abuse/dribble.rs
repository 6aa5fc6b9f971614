//! Connections that send headers or a body byte by byte, and too large bodies.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::timeout;

use super::{
    Schedule,
    report::{Check, TrialResult},
    setup::{Attack, Setup, source_address},
};
use crate::{http::post_request, line::HttpConnection};

/// Time for which the server waits for the headers, and for the body, in seconds.
const TIMEOUT_SECONDS: u64 = 1;

/// Interval between two bytes.
const BYTE_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn run(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    // Longer than the timeout of the server; otherwise a quick run would close none.
    let abuse = schedule.abuse.max(Duration::from_secs(3 * TIMEOUT_SECONDS));
    let schedule = &Schedule { abuse, ..*schedule };
    let timeout = TIMEOUT_SECONDS.to_string();
    let setup = Setup::with_tokens(&[
        "--rate-limit",
        "none",
        "--address-rate-limit",
        "none",
        "--idle-timeout",
        &timeout,
        "--body-timeout",
        &timeout,
        "--max-request-bytes",
        "65536",
    ])?;
    let abuser = setup.abusers.first().cloned().context("no abuser")?;
    let dribblers = 500 / schedule.divisor;
    let attack = move |attack: Attack| async move {
        let declared = |length| request_head(&abuser, length);
        let too_large = [declared(1 << 20).into_bytes(), vec![b' '; 1 << 20]].concat();
        let dribbling = attack.repeat(dribblers, Duration::from_millis(1), async |task| {
            let (head, rest) = match task % 2 {
                0 => (
                    "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-a: ".to_owned(),
                    b'a',
                ),
                // The body of an authorized caller; the server would not wait for another one.
                _ => (declared(1000), b' '),
            };
            let ended = send_slowly(attack.address, task, &head, rest).await;
            if let Err(error) = &ended {
                attack.counts.check(format!("{error:#}"), false);
            }
            ended?;
            attack.counts.closed.fetch_add(1, Relaxed);
            Ok(())
        });
        let oversized = attack.send(1, Duration::from_millis(50), |_| too_large.clone());
        tokio::join!(dribbling, oversized);
        let refused = attack.counts.refused.load(Relaxed);
        attack.counts.check(
            format!("{refused} bodies that are too large were refused"),
            refused > 0,
        );
        let closed = attack.counts.closed.load(Relaxed);
        let enough = closed >= dribblers as u64;
        attack.counts.check(
            format!("{closed} slow connections were closed in time"),
            enough,
        );
    };
    let address = setup.address;
    let probe = async |_: Instant| {
        let refused = async {
            let mut line = HttpConnection::connect(address).await?;
            line.exchange(&post_request(address, "", "{}"), "HTTP/1.1 401")
                .await
        };
        let refused: anyhow::Result<()> = refused.await;
        vec![Check::new(
            "a request without a token is refused",
            refused.is_ok(),
        )]
    };
    setup.observe("dribble", schedule, attack, probe).await
}

/// Returns the headers of a request with a body of this length.
fn request_head(credential: &str, length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{credential}content-length: {length}\r\n\r\n"
    )
}

/// Sends `head`, then one byte at a time without end, until the server closes the connection.
async fn send_slowly(address: SocketAddr, task: usize, head: &str, byte: u8) -> anyhow::Result<()> {
    let mut line = HttpConnection::connect_from(source_address(task), address).await?;
    let started = Instant::now();
    let ended = async {
        line.send(head.as_bytes()).await?;
        loop {
            match timeout(BYTE_INTERVAL, line.read()).await {
                // Some get an error response before the connection is closed.
                Ok(Ok(())) => {}
                Ok(Err(_)) => return anyhow::Ok(()),
                Err(_) => {
                    if line.send(&[byte]).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    };
    let bound = Duration::from_secs(TIMEOUT_SECONDS * 5);
    timeout(bound, ended)
        .await
        .context("a dribbling connection was left open")??;
    ensure!(
        started.elapsed() < bound,
        "a dribbling connection was closed late"
    );
    Ok(())
}
