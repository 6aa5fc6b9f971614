//! Writes under faults: the outcomes that clients saw, compared with the state of the sandbox.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use portkey_mcp::http_client::client_builder;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    http::{Client, Generation, tool_request},
    line::HttpConnection,
    mcp::{self, SUCCESS_TEXT},
    process::Process,
    stats::{Figures, Latencies, Target, Unit, quantile},
};

const FAULTS: &str = "429:0.02,503:0.02,reset:0.01,lost:0.01,latency:20ms,seed:7";

/// One in this many calls is a write.
const WRITE_INTERVAL: u64 = 16;
/// Arguments of a read whose response is a stream in a session, because it can report progress.
/// Half of the reads are of this kind.
const STREAMED_ARGUMENTS: &str = r#"{"page_size":1,"all":false}"#;
/// One in this many calls is aborted by the client.
const HANG_UP_INTERVAL: u64 = 20;
/// Maximum wait of a client before it aborts a call, longer than most calls take.
const MAX_HANG_UP_DELAY_MS: u64 = 60;

/// Outcome of a write as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WriteOutcome {
    Success,
    Failure,
    /// The client did not wait.
    Nothing,
}

/// Results of a client.
#[derive(Default)]
struct ClientReport {
    writes: Vec<(String, WriteOutcome)>,
    latencies: Latencies,
    failures: usize,
    disconnects: usize,
}

/// Runs both protocols, one after the other.
pub(crate) async fn run(quick: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let (clients, time) = if quick { (32, 3) } else { (256, 60) };
    for generation in [Generation::Modern, Generation::Legacy] {
        let (_sandbox, upstream) = Process::listening(&[
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--sandbox-faults",
            FAULTS,
        ])?;
        let url = format!("http://{upstream}/v1");
        let (server, address) = Process::listening(&[
            "http",
            "--listen",
            "127.0.0.1:0",
            "--base-url",
            &url,
            "--api-key",
            "bench",
            "--concurrency",
            "2048",
            "--address-concurrency",
            "2048",
            "--max-sessions-per-principal",
            "1000",
        ])?;
        let until = Instant::now() + Duration::from_secs(time);
        let tasks: Vec<JoinHandle<anyhow::Result<ClientReport>>> = (0..clients)
            .map(|number| tokio::spawn(run_client(address, generation, number, until)))
            .collect();
        let memory = tokio::spawn(async move {
            let mut seen = Vec::new();
            while Instant::now() < until {
                seen.push(server.memory("VmRSS")?);
                sleep(Duration::from_millis(500)).await;
            }
            anyhow::Ok((server, seen))
        });
        let mut all = ClientReport::default();
        for task in tasks {
            let report = task.await??;
            all.writes.extend(report.writes);
            all.latencies.extend(report.latencies);
            all.failures += report.failures;
            all.disconnects += report.disconnects;
        }
        let (_server, memory) = memory.await??;
        // Aborted calls may still be in flight.
        sleep(Duration::from_secs(1)).await;
        check_writes(&url, &all.writes).await?;
        add_figures(generation, all, memory, time, figures);
    }
    Ok(())
}

fn add_figures(
    generation: Generation,
    all: ClientReport,
    memory: Vec<f64>,
    seconds: u64,
    figures: &mut Figures,
) {
    let mut add = |what: &str, unit, target, value| {
        let name = format!("{}: {what}", generation.name());
        figures.add(&name, unit, target, value);
    };
    let count = |outcome| all.writes.iter().filter(|(_, one)| *one == outcome).count() as f64;
    let answered = all.latencies.len() as f64;
    add(
        "answered calls",
        Unit::PerSecond,
        Target::None,
        answered / seconds as f64,
    );
    add(
        "writes reported as done",
        Unit::Count,
        Target::None,
        count(WriteOutcome::Success),
    );
    add(
        "writes reported as failed",
        Unit::Count,
        Target::None,
        count(WriteOutcome::Failure),
    );
    add(
        "writes aborted by the client",
        Unit::Count,
        Target::None,
        count(WriteOutcome::Nothing),
    );
    add(
        "calls reported as failed",
        Unit::Count,
        Target::None,
        all.failures as f64,
    );
    add(
        "calls aborted by the client",
        Unit::Count,
        Target::None,
        all.disconnects as f64,
    );
    let (p50, p99) = all.latencies.p50_p99();
    add("latency p50", Unit::Millis, Target::None, p50);
    add("latency p99", Unit::Millis, Target::None, p99);
    // Ten seconds to settle, if there are so many samples.
    let settled = memory
        .get(20)
        .or(memory.last())
        .copied()
        .unwrap_or(f64::NAN);
    let mut after: Vec<f64> = memory.into_iter().skip(20).collect();
    after.sort_by(f64::total_cmp);
    add("RSS after 10 s", Unit::Megabytes, Target::None, settled);
    if !after.is_empty() {
        let most = quantile(&after, 1.0);
        add(
            "highest RSS from then on",
            Unit::Megabytes,
            Target::None,
            most,
        );
        let growth = 100.0 * (most / settled - 1.0);
        add(
            "growth from then on",
            Unit::Percent,
            Target::AtMost(10.0),
            growth,
        );
    }
}

/// Makes calls until `until`, and records their outcomes.
async fn run_client(
    address: SocketAddr,
    generation: Generation,
    number: u64,
    until: Instant,
) -> anyhow::Result<ClientReport> {
    let mut client = Client::connect(address, generation, "").await?;
    let at = (address, generation);
    let mut report = ClientReport::default();
    let mut random = number;
    for count in 1.. {
        if Instant::now() >= until {
            break;
        }
        let dice = next_random(&mut random);
        let name = dice
            .is_multiple_of(WRITE_INTERVAL)
            .then(|| format!("load-{number}-{count}"));
        let request = match &name {
            Some(name) => {
                let what = format!(r#"{{"name":"{name}","ai_provider_id":"openai","key":"k"}}"#);
                tool_request(at, &client.headers, count, "create-integration", &what)
            }
            None if dice & (1 << 63) == 0 => tool_request(
                at,
                &client.headers,
                count,
                "list-all-workspaces",
                STREAMED_ARGUMENTS,
            ),
            None => tool_request(
                at,
                &client.headers,
                count,
                "get-integration",
                mcp::GET_ARGUMENTS,
            ),
        };
        let started = Instant::now();
        client.line.send(&request).await?;
        let outcome = if (dice >> 16).is_multiple_of(HANG_UP_INTERVAL) {
            sleep(Duration::from_millis((dice >> 32) % MAX_HANG_UP_DELAY_MS)).await;
            client.line = HttpConnection::connect(address).await?;
            report.disconnects += 1;
            WriteOutcome::Nothing
        } else {
            client.line.answer().await?;
            report.latencies.add(started.elapsed());
            let success = mcp::contains(&client.line.body, SUCCESS_TEXT);
            report.failures += usize::from(!success);
            if success {
                WriteOutcome::Success
            } else {
                WriteOutcome::Failure
            }
        };
        report.writes.extend(name.map(|name| (name, outcome)));
    }
    Ok(report)
}

/// Returns the next pseudorandom number (splitmix64).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Checks that each write reported as successful happened exactly once, and no other more than
/// once. The sources are the state and the audit log of the sandbox.
async fn check_writes(url: &str, writes: &[(String, WriteOutcome)]) -> anyhow::Result<()> {
    ensure!(
        writes
            .iter()
            .any(|(_, outcome)| *outcome == WriteOutcome::Success),
        "there were no writes"
    );
    let present = count_names(
        url,
        "integrations?type=organisation&page_size=100",
        |item| item["name"].as_str().map(str::to_owned),
    );
    let span = "start_time=2000-01-01T00:00:00Z&end_time=2100-01-01T00:00:00Z";
    let query = format!("audit-logs?{span}&method=POST&response_status_code=200&page_size=100");
    let written = count_names(url, &query, |entry| {
        let body: Value = serde_json::from_str(entry["request_body"].as_str()?).ok()?;
        body.get("name")?.as_str().map(str::to_owned)
    });
    for (source, counts) in [("state", present.await?), ("audit log", written.await?)] {
        for (name, outcome) in writes {
            let times = counts.get(name).copied().unwrap_or(0);
            let right = times == 1 || (times == 0 && *outcome != WriteOutcome::Success);
            ensure!(
                right,
                "{name}: reported as {outcome:?}, {times} times in the sandbox's {source}"
            );
        }
    }
    Ok(())
}

/// Counts each name in a list of the sandbox, read page by page.
async fn count_names(
    url: &str,
    query: &str,
    name: impl Fn(&Value) -> Option<String>,
) -> anyhow::Result<HashMap<String, usize>> {
    let client = client_builder().no_proxy().build()?;
    let mut counts = HashMap::new();
    for page in 0.. {
        let address = format!("{url}/{query}&current_page={page}");
        let answer: Value = loop {
            // The faults continue.
            let request = client.get(&address).header("x-portkey-api-key", "bench");
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    break serde_json::from_slice(&answer.bytes().await?)?;
                }
                Ok(answer) if answer.status().as_u16() == 400 => {
                    anyhow::bail!("{query}: {}", answer.text().await?)
                }
                _ => {}
            }
        };
        let items = answer
            .get("data")
            .or(answer.get("records"))
            .and_then(Value::as_array);
        let items = items.with_context(|| format!("{query} is no list"))?;
        if items.is_empty() {
            break;
        }
        for name in items.iter().filter_map(&name) {
            *counts.entry(name).or_default() += 1;
        }
    }
    Ok(counts)
}
