//! Invented Portkey keys, and the state that they may fill: sessions, tickets, streams and
//! counters.
//!
//! A probe does the same with new valid keys, and must succeed each time.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::{sleep, timeout, timeout_at};

use super::{
    Schedule,
    report::{Check, TrialResult},
    setup::{Attack, Setup, key_header, source_address, unknown_key_header},
};
use crate::{
    http::{Client, Generation, post_request, stateless_request, tool_request},
    line::HttpConnection,
    mcp,
    process::Process,
};

/// Number of connections that send invented keys, and the delay of each before the next.
const CONNECTIONS: usize = 8;
const REQUEST_PAUSE: Duration = Duration::from_millis(10);

/// Number of connections that send large requests, their delay and the size of a request.
const LARGE_CONNECTIONS: usize = 2;
const LARGE_PAUSE: Duration = Duration::from_millis(100);
const LARGE_BYTES: usize = 3_900_000;

/// Number of streams, and the period within which they are opened.
const STREAMS: usize = 256;
const STREAMS_START_PERIOD: Duration = Duration::from_secs(12);

/// Source address of the new valid callers.
const NEW_CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 100));

/// Interval between two new callers. A network has 60 key checks, and one more per second.
const NEW_CALLER_INTERVAL: Duration = Duration::from_millis(300);

/// Maximum time that a new caller waits.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn sessions(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let setup = Setup::with_keys(&[])?;
    let large = large_initialize(LARGE_BYTES / schedule.divisor);
    let attack = move |attack: Attack| async move {
        let small = attack.send(CONNECTIONS, REQUEST_PAUSE, |_| {
            post_request(attack.address, &unknown_key_header(), mcp::INITIALIZE)
        });
        let large = attack.send(LARGE_CONNECTIONS, LARGE_PAUSE, |_| {
            post_request(attack.address, &unknown_key_header(), &large)
        });
        tokio::join!(small, large);
    };
    let address = setup.address;
    let mut lasting = Client::connect_from(
        NEW_CALLER,
        address,
        Generation::Legacy,
        &key_header("bench-lasting"),
    )
    .await?;
    lasting.call().await?;
    let probe = async move |until| {
        let started =
            check_new_callers(until, "began a session, called and ended it", async |key| {
                let mut client =
                    Client::connect_from(NEW_CALLER, address, Generation::Legacy, &key).await?;
                client.call().await?;
                let end = format!(
                    "DELETE /mcp HTTP/1.1\r\nhost: {address}\r\n{}\r\n",
                    client.headers
                );
                client.line.exchange(end.as_bytes(), "HTTP/1.1 204").await
            });
        let started = started.await;
        let goes_on = lasting.call().await;
        let what = match &goes_on {
            Ok(_) => "a session from before the abuse goes on".to_owned(),
            Err(error) => format!("a session from before the abuse does not go on: {error:#}"),
        };
        vec![started, Check::new(what, goes_on.is_ok())]
    };
    setup.observe("sessions", schedule, attack, probe).await
}

/// Returns an `initialize` message whose client information has this size.
fn large_initialize(bytes: usize) -> String {
    let text = "c".repeat(bytes / 2);
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{"experimental":{{"a":{{"b":"{text}"}}}}}},"clientInfo":{{"name":"{text}","version":"1"}}}}}}"#
    )
}

pub(super) async fn tickets(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("admin.json").display().to_string();
    let setup = Setup::with_keys(&[
        "--approve-writes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        &file,
    ])?;
    let text = "d".repeat(LARGE_BYTES / 4 / schedule.divisor);
    let attack = move |attack: Attack| async move {
        let count = Cell::new(0);
        let label = |description: &str| {
            count.set(count.get() + 1);
            let name = count.get();
            let label = format!(r#"{{"name":"made-up-{name}","description":"{description}"}}"#);
            stateless_call(
                attack.address,
                &unknown_key_header(),
                "create-label",
                &label,
            )
        };
        let small = attack.send(CONNECTIONS, REQUEST_PAUSE, |_| label("small"));
        let large = attack.send(LARGE_CONNECTIONS, LARGE_PAUSE, |_| label(&text));
        tokio::join!(small, large);
    };
    let address = setup.address;
    let probe = async move |until| {
        let approved = check_new_callers(until, "had a call approved by its ticket", async |key| {
            let label = format!(
                r#"{{"name":"{}"}}"#,
                key.trim_end().replace("x-portkey-api-key: ", "")
            );
            let request = stateless_call(address, &key, "create-label", &label);
            let mut line = HttpConnection::connect_from(NEW_CALLER, address).await?;
            line.exchange(&request, "HTTP/1.1 200").await?;
            let answer = String::from_utf8_lossy(&line.body).into_owned();
            let id = mcp::text_after(&answer, "ticket is ");
            let id = id
                .with_context(|| format!("no ticket was made: {answer}"))?
                .to_owned();
            let file = file.clone();
            let decided = tokio::task::spawn_blocking(move || approve(&id, &file));
            decided.await??;
            line.exchange(&request, "HTTP/1.1 200").await?;
            mcp::check(&line.body, mcp::SUCCESS_TEXT)
        });
        vec![approved.await]
    };
    setup.observe("tickets", schedule, attack, probe).await
}

/// Approves a ticket like a human: shows it first, then decides.
fn approve(id: &str, file: &str) -> anyhow::Result<()> {
    for command in [&["show", id][..], &["approve", id, "--by", "bench"]] {
        let run = Process::run(&[&["approvals", "--admin-file", file], command].concat())?;
        let stderr = String::from_utf8_lossy(&run.stderr);
        ensure!(
            run.status.success(),
            "`approvals {}` failed: {stderr}",
            command.join(" ")
        );
    }
    Ok(())
}

pub(super) async fn streams(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let setup = Setup::with_keys(&[])?;
    let tasks = STREAMS / schedule.divisor;
    let bytes = LARGE_BYTES / schedule.divisor;
    let pause = STREAMS_START_PERIOD.min(schedule.abuse / 2);
    let attack = move |attack: Attack| async move {
        // The maximum number of resources, each with a name of the maximum length.
        let resources: Vec<_> = (0..900)
            .map(|number| format!(r#""portkey://{number}/{}""#, "r".repeat(bytes / 900)))
            .collect();
        let wanted = format!(
            r#""notifications":{{"toolsListChanged":true,"resourceSubscriptions":[{}]}}"#,
            resources.join(",")
        );
        attack
            .repeat(tasks, pause, async |task| {
                let key = unknown_key_header();
                let mut line =
                    HttpConnection::connect_from(source_address(task), attack.address).await?;
                line.send(&stateless_request(
                    attack.address,
                    &key,
                    "subscriptions/listen",
                    &wanted,
                ))
                .await?;
                line.head().await?;
                attack.counts.count(&line.head);
                ensure!(line.head.starts_with("HTTP/1.1 200"), "refused");
                loop {
                    line.read().await?;
                }
            })
            .await;
    };
    let address = setup.address;
    let probe = async move |until| {
        let listened = check_new_callers(until, "opened a stream", async |key| {
            let wanted = r#""notifications":{"toolsListChanged":true}"#;
            let mut line = HttpConnection::connect_from(NEW_CALLER, address).await?;
            line.send(&stateless_request(
                address,
                &key,
                "subscriptions/listen",
                wanted,
            ))
            .await?;
            line.head().await?;
            ensure!(line.head.starts_with("HTTP/1.1 200"), "{}", line.head);
            line.read_until(b"acknowledged").await
        });
        vec![listened.await]
    };
    setup.observe("streams", schedule, attack, probe).await
}

pub(super) async fn counters(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("policy.yaml").display().to_string();
    let limits: Vec<_> = (1..=20)
        .map(|hours| format!("      - {{ max: 1000000, sliding: {hours}h, scope: principal }}\n"))
        .collect();
    let policy = format!(
        "version: \"1\"\nrules:\n  - name: calls of one caller\n    limits:\n{}",
        limits.concat()
    );
    std::fs::write(&file, policy)?;
    let setup = Setup::with_keys(&["--policy", &file])?;
    let attack = move |attack: Attack| async move {
        attack
            .send(CONNECTIONS, REQUEST_PAUSE, |_| {
                stateless_call(
                    attack.address,
                    &unknown_key_header(),
                    "get-integration",
                    mcp::GET_ARGUMENTS,
                )
            })
            .await;
    };
    let address = setup.address;
    let probe = async move |until| {
        let counted = check_new_callers(until, "made a call that is counted", async |key| {
            let mut client =
                Client::connect_from(NEW_CALLER, address, Generation::Modern, &key).await?;
            client.call().await.map(drop)
        });
        vec![counted.await]
    };
    setup.observe("counters", schedule, attack, probe).await
}

/// Returns a stateless tool call (2026-07-28).
fn stateless_call(address: SocketAddr, credential: &str, name: &str, arguments: &str) -> Vec<u8> {
    let headers =
        format!("{credential}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n");
    tool_request((address, Generation::Modern), &headers, 1, name, arguments)
}

/// Runs a step for new valid callers, one after the other. Each must succeed.
async fn check_new_callers(
    until: Instant,
    what: &str,
    step: impl AsyncFn(String) -> anyhow::Result<()>,
) -> Check {
    let mut tried = 0;
    let mut failures = Vec::new();
    while Instant::now() < until {
        let key = key_header(&format!("bench-new-{tried}"));
        tried += 1;
        match timeout(TIMEOUT, step(key)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{error:#}")),
            Err(_) => failures.push(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
        _ = timeout_at(until.into(), sleep(NEW_CALLER_INTERVAL)).await;
    }
    let succeeded = tried - failures.len();
    let first = failures
        .first()
        .map(|first| format!("; the first that did not: {first}"));
    let detail = format!(
        "{succeeded} of {tried} new callers {what}{}",
        first.unwrap_or_default()
    );
    Check::new(detail, failures.is_empty() && tried > 0)
}
