//! A thousand concurrent sessions: their cost, that all work, and that all end.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::{
    http::{Client, Generation, call_concurrently, post_request},
    mcp,
    process::Process,
    stats::{Figures, Target, Unit},
};

/// Number of calls per session.
const CALLS_PER_SESSION: usize = 5;

/// Opens the maximum number of sessions, works with all of them, and ends all of them.
pub(crate) async fn run(quick: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let sessions = if quick { 100 } else { 1000 };
    let (_sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let most = sessions.to_string();
    let (server, address) = Process::listening(&[
        "http",
        "--listen",
        "127.0.0.1:0",
        "--base-url",
        &format!("http://{upstream}/v1"),
        "--api-key",
        "bench",
        "--concurrency",
        "2048",
        "--address-concurrency",
        "2048",
        "--max-sessions",
        &most,
        "--max-sessions-per-principal",
        &most,
    ])?;
    let mut add = |what: &str, unit, value| {
        figures.add(
            &format!("{sessions} sessions: {what}"),
            unit,
            Target::None,
            value,
        );
    };
    // One session before the measurement, so that the common state of a server is not counted.
    let mut first = Client::connect(address, Generation::Legacy, "").await?;
    first.call().await?;
    end_session(&mut first, address).await?;
    let before = server.memory("VmRSS")?;
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(Client::connect(address, Generation::Legacy, "").await?);
    }
    let opened = server.memory("VmRSS")?;
    // An idle session is evicted, and resumed below.
    let mut more = Client::connect(address, Generation::Legacy, "").await?;
    end_session(&mut more, address).await?;
    let (mut clients, latencies) = call_concurrently(clients, sessions * CALLS_PER_SESSION).await?;
    ensure!(
        latencies.len() == sessions * CALLS_PER_SESSION,
        "some sessions did not work"
    );
    let worked = server.memory("VmRSS")?;
    for client in &mut clients {
        end_session(client, address).await?;
    }
    // All of them ended; otherwise new sessions would be rejected.
    for _ in 0..sessions {
        let mut client = Client::connect(address, Generation::Legacy, "").await?;
        client.call().await?;
        end_session(&mut client, address).await?;
    }
    let (p50, p99) = latencies.p50_p99();
    add("RSS before", Unit::Megabytes, before);
    add("RSS with all open", Unit::Megabytes, opened);
    add(
        "memory of one",
        Unit::Kilobytes,
        (opened - before) * 1e3 / sessions as f64,
    );
    add("RSS after all have worked at once", Unit::Megabytes, worked);
    add(
        "RSS after all have ended, and as many more",
        Unit::Megabytes,
        server.memory("VmRSS")?,
    );
    add("latency p50, all at once", Unit::Millis, p50);
    add("latency p99, all at once", Unit::Millis, p99);
    Ok(())
}

/// Ends a session and checks that it is unknown afterwards.
async fn end_session(client: &mut Client, address: SocketAddr) -> anyhow::Result<()> {
    let head = format!(
        "DELETE /mcp HTTP/1.1\r\nhost: {address}\r\n{}\r\n",
        client.headers
    );
    client
        .line
        .exchange(head.as_bytes(), "HTTP/1.1 204")
        .await?;
    let late = post_request(address, &client.headers, &mcp::call(1, ""));
    client.line.exchange(&late, "HTTP/1.1 404").await
}
