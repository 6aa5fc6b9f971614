//! Clients that dribble, and bodies that are too large, while others work.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    guards::Tokens,
    http::{Client, Generation, post},
    line::Line,
    process::Process,
    stats::{Figures, Latencies, Target, Unit},
};

/// How long the server waits for a head, and for a body, in seconds.
const PATIENCE: u64 = 2;

/// How often a byte dribbles.
const DRIBBLE: Duration = Duration::from_millis(200);

/// Connections that work.
const WORKERS: usize = 8;

/// The working clients alone, then among the others.
pub(crate) async fn run(quick: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let (dribblers, seconds) = if quick { (60, 5) } else { (500, 30) };
    let (_sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let tokens = Tokens::make(&["worker", "mallory"])?;
    let [worker, mallory] = tokens.headers.as_slice() else { anyhow::bail!("no tokens") };
    let patience = PATIENCE.to_string();
    let (server, address) = Process::listening(&[
        "http",
        "--listen",
        "127.0.0.1:0",
        "--base-url",
        &format!("http://{upstream}/v1"),
        "--auth",
        "token",
        "--auth-file",
        &tokens.path(),
        "--rate-limit",
        "none",
        "--address-rate-limit",
        "none",
        "--idle-timeout",
        &patience,
        "--body-timeout",
        &patience,
        "--max-request-bytes",
        "65536",
    ])?;
    // Whatever happens in the first second happens to both.
    work(address, worker, Duration::from_secs(1)).await?;
    let time = Duration::from_secs(seconds);
    let alone = work(address, worker, time).await?;
    let before = server.memory("VmRSS")?;
    let until = Instant::now() + time;
    let attacks: Vec<_> = (0..dribblers)
        .map(|number| {
            let (head, rest) = match number % 2 {
                0 => ("POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-a: ".to_owned(), b'a'),
                // The body of somebody who may call, or it would not be waited for.
                _ => (declared(mallory, 1000), b' '),
            };
            tokio::spawn(dribble(address, head, rest, until))
        })
        .collect();
    let oversized = tokio::spawn(oversized(address, declared(mallory, 1 << 20), until));
    let among = work(address, worker, time).await?;
    let during = server.memory("VmRSS")?;
    let mut closed = 0;
    for attack in attacks {
        closed += attack.await??;
    }
    let refused = oversized.await??;
    ensure!(closed >= dribblers, "{closed} of {dribblers} connections were closed");
    ensure!(refused > 0, "no body was too large");

    let mut add = |what: &str, unit, target, value| figures.add(what, unit, target, value);
    for (when, latencies) in [("alone", alone), ("among dribblers", among)] {
        let calls = latencies.len() as f64 / seconds as f64;
        let (p50, p99) = latencies.p50_p99();
        add(&format!("{when}: calls"), Unit::PerSecond, Target::None, calls);
        add(&format!("{when}: latency p50"), Unit::Millis, Target::None, p50);
        add(&format!("{when}: latency p99"), Unit::Millis, Target::None, p99);
    }
    add("dribbling connections at once", Unit::Count, Target::None, dribblers as f64);
    add("of which closed by the server in all", Unit::Count, Target::None, closed as f64);
    add("bodies too large, refused with 413", Unit::Count, Target::None, refused as f64);
    add("RSS before", Unit::Megabytes, Target::None, before);
    add("RSS among dribblers", Unit::Megabytes, Target::None, during);
    Ok(())
}

/// The head of a request whose body has so many bytes.
fn declared(credential: &str, length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{credential}content-length: {length}\r\n\r\n"
    )
}

/// Calls one after the other on each of some connections, all of which have to succeed.
async fn work(address: SocketAddr, credential: &str, time: Duration) -> anyhow::Result<Latencies> {
    let until = Instant::now() + time;
    let mut tasks = Vec::new();
    for _ in 0..WORKERS {
        let mut client = Client::connect(address, Generation::Modern, credential).await?;
        tasks.push(tokio::spawn(async move {
            let mut latencies = Latencies::default();
            while Instant::now() < until {
                latencies.add(client.call().await?);
                // There is room on the machine, so that what is measured is not the queue for it.
                sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut all = Latencies::default();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

/// Sends a beginning, then byte by byte what never ends, again and again. How often the server ended it;
/// it has to each time.
async fn dribble(
    address: SocketAddr,
    head: String,
    byte: u8,
    until: Instant,
) -> anyhow::Result<usize> {
    let mut closed = 0;
    while Instant::now() < until {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let started = Instant::now();
        let ended = async {
            stream.write_all(head.as_bytes()).await?;
            let mut answer = [0; 1024];
            loop {
                match timeout(DRIBBLE, stream.read(&mut answer)).await {
                    // Some are told why, then the connection ends.
                    Ok(Ok(1..)) => {}
                    Ok(_) => return anyhow::Ok(()),
                    Err(_) => {
                        if stream.write_all(&[byte]).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        };
        let bound = Duration::from_secs(PATIENCE * 5);
        timeout(bound, ended).await.context("a dribbling connection was left open")??;
        ensure!(started.elapsed() < bound, "a dribbling connection was closed late");
        closed += 1;
    }
    Ok(closed)
}

/// Sends bodies that are too large, each of which has to be refused as such.
async fn oversized(address: SocketAddr, head: String, until: Instant) -> anyhow::Result<usize> {
    let request = [head.into_bytes(), vec![b' '; 1 << 20]].concat();
    let mut refused = 0;
    while Instant::now() < until {
        let mut line = Line::connect(address).await?;
        line.exchange(&request, "HTTP/1.1 413").await?;
        refused += 1;
        sleep(Duration::from_millis(50)).await;
    }
    // Whoever sends them can still do better.
    let mut line = Line::connect(address).await?;
    line.exchange(&post(address, "", "{}"), "HTTP/1.1 401").await?;
    Ok(refused)
}
