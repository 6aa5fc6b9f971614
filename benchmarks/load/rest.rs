//! The REST face: the request of a direct call, sent through the server.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    CONNECTIONS, Plan,
    line::HttpConnection,
    mcp::{self, SLUG},
    process::Process,
    stats::{Figures, Latencies, LoadResult, Target, Unit},
};

/// Name of the part in its figures.
pub(crate) const NAME: &str = "rest";

/// Size of a large body, just below the default limit of answers (10 MiB).
const LARGE_BODY_BYTES: usize = 10_000_000;

/// A connection to an endpoint of the API, with its prepared request.
struct Client {
    line: HttpConnection,
    request: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr, target: &str, headers: &str) -> anyhow::Result<Self> {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
        Ok(Self {
            line: HttpConnection::connect(address).await?,
            request: request.into_bytes(),
        })
    }

    async fn get(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.line.exchange(&self.request, "HTTP/1.1 200").await?;
        let took = started.elapsed();
        mcp::check(&self.line.body, SLUG.as_bytes())?;
        Ok(took)
    }
}

/// Starts a server whose upstream has this address.
fn serve(url: &str) -> anyhow::Result<(Process, SocketAddr)> {
    Process::listening(&[
        "http",
        "--listen",
        "127.0.0.1:0",
        "--base-url",
        url,
        "--api-key",
        "bench",
        "--rest",
    ])
}

/// Measures one round, on a new server. The same connections first call the sandbox directly.
pub(crate) async fn round(
    url: &str,
    sandbox: SocketAddr,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let target = format!("/v1/integrations/{SLUG}");
    let (process, address) = serve(url)?;
    let mut add = |what: &str, unit, target, value| {
        figures.add(&format!("{NAME}: {what}"), unit, target, value);
    };
    let key = "x-portkey-api-key: bench\r\n";
    let mut direct = Vec::new();
    let mut through = Vec::new();
    for _ in 0..CONNECTIONS {
        direct.push(Client::connect(sandbox, &target, key).await?);
        through.push(Client::connect(address, &target, "").await?);
    }
    let mut single = Client::connect(address, &target, "").await?;
    for _ in 0..plan.warm_up {
        single.get().await?;
    }
    let mut latencies = Latencies::default();
    for _ in 0..plan.sequential {
        latencies.add(single.get().await?);
    }
    let (p50, p99) = latencies.p50_p99();
    add(
        "latency p50, one at a time",
        Unit::Millis,
        Target::None,
        p50,
    );
    add(
        "latency p99, one at a time",
        Unit::Millis,
        Target::None,
        p99,
    );

    let (direct, _) = get_concurrently(direct, plan.warm_up).await?;
    let started = Instant::now();
    let (direct, _) = get_concurrently(direct, plan.load).await?;
    let direct_per_second = plan.load as f64 / started.elapsed().as_secs_f64();

    let (through, _) = get_concurrently(through, plan.warm_up).await?;
    let cpu = process.cpu()?;
    let started = Instant::now();
    let (through, latencies) = get_concurrently(through, plan.load).await?;
    let load = LoadResult::new(plan.load, started.elapsed(), process.cpu()? - cpu);
    let (loaded_p50, loaded_p99) = latencies.p50_p99();
    let with = |what: &str| format!("{what}, {CONNECTIONS} connections");
    add(
        &with("throughput of the sandbox"),
        Unit::PerSecond,
        Target::None,
        direct_per_second,
    );
    add(
        &with("throughput"),
        Unit::PerSecond,
        Target::None,
        load.per_second,
    );
    add(&with("latency p50"), Unit::Millis, Target::None, loaded_p50);
    add(&with("latency p99"), Unit::Millis, Target::None, loaded_p99);
    add(
        &with("CPU per GET"),
        Unit::Micros,
        Target::AtMost(45.0),
        load.cpu,
    );
    add(
        "throughput, share of the sandbox's",
        Unit::Percent,
        Target::AtLeast(60.0),
        100.0 * load.per_second / direct_per_second,
    );
    add(
        &with("peak RSS"),
        Unit::Megabytes,
        Target::AtMost(40.0),
        process.memory("VmHWM")?,
    );
    ensure!(
        direct.len() + through.len() == 2 * CONNECTIONS,
        "clients were lost"
    );
    measure_large_bodies(plan, figures).await
}

async fn get_concurrently(
    clients: Vec<Client>,
    calls: usize,
) -> anyhow::Result<(Vec<Client>, Latencies)> {
    let each = calls / clients.len();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                for _ in 0..each {
                    latencies.add(client.get().await?);
                }
                anyhow::Ok((client, latencies))
            })
        })
        .collect();
    let mut clients = Vec::new();
    let mut all = Latencies::default();
    for task in tasks {
        let (client, latencies) = task.await??;
        clients.push(client);
        all.extend(latencies);
    }
    Ok((clients, all))
}

/// Measures the memory of a server that forwards one large body after the other.
async fn measure_large_bodies(plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = listener.local_addr()?;
    let serving = tokio::spawn(serve_large_bodies(listener));
    let (process, address) = serve(&format!("http://{upstream}/v1"))?;
    let mut client = Client::connect(address, "/v1/configs", "").await?;
    let [first, more] = plan.large_bodies;
    for _ in 0..first {
        client.get().await?;
    }
    let settled = process.memory("VmHWM")?;
    for _ in 0..more {
        client.get().await?;
    }
    let peak = process.memory("VmHWM")?;
    serving.abort();
    figures.add(
        &format!("{NAME}: peak RSS, bodies of 10 MB"),
        Unit::Megabytes,
        Target::None,
        peak,
    );
    let growth = format!(
        "{NAME}: growth of the peak from {first} to {} bodies",
        first + more
    );
    figures.add(
        &growth,
        Unit::Percent,
        Target::AtMost(10.0),
        100.0 * (peak - settled) / settled,
    );
    Ok(())
}

/// Answers every request with a list of configs.
async fn serve_large_bodies(listener: TcpListener) -> anyhow::Result<()> {
    let item = format!(
        r#"{{"id":"{SLUG}","name":"A config","slug":"pc-a","status":"active","is_default":0,"object":"config"}}"#
    );
    let count = LARGE_BODY_BYTES / (item.len() + 1);
    let body = format!(
        r#"{{"total":{count},"data":[{}]}}"#,
        vec![item; count].join(",")
    );
    let length = body.len();
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let response: std::sync::Arc<[u8]> = response.into_bytes().into();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let response = response.clone();
        tokio::spawn(async move {
            let mut received = Vec::new();
            while stream.read_buf(&mut received).await? > 0 {
                // The requests have no body.
                if received.ends_with(b"\r\n\r\n") {
                    received.clear();
                    stream.write_all(&response).await?;
                }
            }
            anyhow::Ok(())
        });
    }
}
