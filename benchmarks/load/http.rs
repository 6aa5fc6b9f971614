//! The server over HTTP, in both protocols.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    CONNECTIONS, Plan,
    line::HttpConnection,
    mcp::{self, INITIALIZE_RESPONSE_TEXT, SUCCESS_TEXT},
    process::Process,
    stats::{Figures, Latencies, LoadResult, RoundResult, Target, Unit},
};

/// Protocol of a client.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Generation {
    /// 2026-07-28: stateless requests with JSON responses.
    Modern,
    /// 2025-11-25: a session. Reads get JSON responses, all else an event stream.
    Legacy,
}

impl Generation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Modern => "http 2026-07-28",
            Self::Legacy => "http 2025-11-25",
        }
    }
}

/// A client: a connection and its prepared request.
pub(crate) struct Client {
    pub(crate) line: HttpConnection,
    request: Vec<u8>,
    /// Headers of each request.
    pub(crate) headers: String,
}

impl Client {
    /// Connects, and opens a session if the protocol has sessions. `more` are additional headers,
    /// such as a credential.
    pub(crate) async fn connect(
        address: SocketAddr,
        generation: Generation,
        more: &str,
    ) -> anyhow::Result<Self> {
        Self::open(
            HttpConnection::connect(address).await?,
            address,
            generation,
            more,
        )
        .await
    }

    /// Connects from one of this machine's loopback addresses.
    pub(crate) async fn connect_from(
        source: IpAddr,
        address: SocketAddr,
        generation: Generation,
        more: &str,
    ) -> anyhow::Result<Self> {
        let line = HttpConnection::connect_from(source, address).await?;
        Self::open(line, address, generation, more).await
    }

    async fn open(
        mut line: HttpConnection,
        address: SocketAddr,
        generation: Generation,
        more: &str,
    ) -> anyhow::Result<Self> {
        let headers = match generation {
            Generation::Modern => {
                format!("{more}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n")
            }
            Generation::Legacy => {
                line.exchange(
                    &post_request(address, more, mcp::INITIALIZE),
                    "HTTP/1.1 200",
                )
                .await?;
                mcp::check(&line.body, INITIALIZE_RESPONSE_TEXT)?;
                let session = line
                    .header("mcp-session-id")
                    .context("there is no session")?;
                let headers = format!(
                    "{more}mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n"
                );
                line.exchange(
                    &post_request(address, &headers, mcp::INITIALIZED_NOTIFICATION),
                    "HTTP/1.1 202",
                )
                .await?;
                headers
            }
        };
        let request = tool_request(
            (address, generation),
            &headers,
            1,
            "get-integration",
            mcp::GET_ARGUMENTS,
        );
        Ok(Self {
            line,
            request,
            headers,
        })
    }

    /// Replaces the call that the client makes.
    pub(crate) fn with_tool(
        self,
        address: SocketAddr,
        generation: Generation,
        name: &str,
        arguments: &str,
    ) -> Self {
        let request = tool_request((address, generation), &self.headers, 1, name, arguments);
        Self { request, ..self }
    }

    pub(crate) async fn call(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.line.exchange(&self.request, "HTTP/1.1 200").await?;
        let took = started.elapsed();
        mcp::check(&self.line.body, SUCCESS_TEXT)?;
        Ok(took)
    }
}

/// Returns the request that calls a tool. No other request in flight in the session may have its
/// id.
pub(crate) fn tool_request(
    (address, generation): (SocketAddr, Generation),
    headers: &str,
    id: usize,
    name: &str,
    arguments: &str,
) -> Vec<u8> {
    match generation {
        Generation::Modern => {
            let headers = format!("{headers}mcp-name: {name}\r\n");
            post_request(
                address,
                &headers,
                &mcp::tool_call(id, name, arguments, mcp::META_PARAM),
            )
        }
        Generation::Legacy => {
            post_request(address, headers, &mcp::tool_call(id, name, arguments, ""))
        }
    }
}

/// Returns a stateless request (2026-07-28) that calls no tool; `params` precede the metadata.
pub(crate) fn stateless_request(
    address: SocketAddr,
    headers: &str,
    method: &str,
    params: &str,
) -> Vec<u8> {
    let headers = format!("{headers}mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n");
    post_request(address, &headers, &mcp::stateless_request(method, params))
}

pub(crate) fn post_request(address: SocketAddr, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n\
         {headers}\r\n{body}"
    );
    request.into_bytes()
}

/// Measures one round in one protocol, on a new server.
pub(crate) async fn round(
    url: &str,
    generation: Generation,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<RoundResult> {
    let name = generation.name();
    let (process, address) = Process::listening(&[
        "http",
        "--listen",
        "127.0.0.1:0",
        "--base-url",
        url,
        "--api-key",
        "bench",
    ])?;
    let idle = Target::AtMost(15.0);
    let loaded = Target::AtMost(40.0);
    let mut add = |what: &str, unit, target, value| {
        figures.add(&format!("{name}: {what}"), unit, target, value);
    };

    add(
        "RSS before the first client",
        Unit::Megabytes,
        idle,
        process.memory("VmRSS")?,
    );
    let mut client = Client::connect(address, generation, "").await?;
    client.call().await?;
    add(
        "RSS after the first call",
        Unit::Megabytes,
        idle,
        process.memory("VmRSS")?,
    );

    for _ in 0..plan.warm_up {
        client.call().await?;
    }
    let mut latencies = Latencies::default();
    for _ in 0..plan.sequential {
        latencies.add(client.call().await?);
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

    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(address, generation, "").await?);
    }
    let (clients, _) = call_concurrently(clients, plan.warm_up).await?;
    let cpu = process.cpu()?;
    let started = Instant::now();
    let (clients, latencies) = call_concurrently(clients, plan.load).await?;
    let load = LoadResult::new(plan.load, started.elapsed(), process.cpu()? - cpu);
    let (loaded_p50, loaded_p99) = latencies.p50_p99();
    let with = |what: &str| format!("{what}, {CONNECTIONS} connections");
    add(
        &with("throughput"),
        Unit::PerSecond,
        Target::None,
        load.per_second,
    );
    add(&with("latency p50"), Unit::Millis, Target::None, loaded_p50);
    add(&with("latency p99"), Unit::Millis, Target::None, loaded_p99);
    add(
        &with("CPU per call"),
        Unit::Micros,
        Target::AtMost(80.0),
        load.cpu,
    );
    add(
        &with("peak RSS"),
        Unit::Megabytes,
        loaded,
        process.memory("VmHWM")?,
    );
    add(
        "RSS once the load is over",
        Unit::Megabytes,
        Target::None,
        process.memory("VmRSS")?,
    );
    ensure!(clients.len() == CONNECTIONS, "clients were lost");
    Ok(RoundResult {
        p50,
        per_second: load.per_second,
    })
}

/// Makes calls on all connections at once.
pub(crate) async fn call_concurrently(
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
                    latencies.add(client.call().await?);
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
