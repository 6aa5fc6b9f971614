//! The sandbox called without a server in between: the upper limit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use portkey_mcp::http_client::client_builder;
use reqwest::Client;

use crate::{
    CONNECTIONS, Plan,
    mcp::{self, SLUG},
    stats::{Figures, Latencies, RoundResult, Target, Unit},
};

async fn get(client: &Client, url: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let response = client
        .get(url)
        .header("x-portkey-api-key", "bench")
        .send()
        .await?;
    let status = response.status();
    let body = response.bytes().await?;
    let took = started.elapsed();
    ensure!(status.is_success(), "the sandbox answered {status}");
    mcp::check(&body, SLUG.as_bytes())?;
    Ok(took)
}

/// Sends the GET request of `get-integration` through the HTTP client that the server uses.
pub(crate) async fn round(
    url: &str,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<RoundResult> {
    let url: Arc<str> = format!("{url}/integrations/{SLUG}").into();
    let client = client_builder().no_proxy().tcp_nodelay(true).build()?;
    for _ in 0..plan.warm_up {
        get(&client, &url).await?;
    }
    let mut latencies = Latencies::default();
    for _ in 0..plan.sequential {
        latencies.add(get(&client, &url).await?);
    }
    let (p50, p99) = latencies.p50_p99();
    figures.add(
        "direct: latency p50, one at a time",
        Unit::Millis,
        Target::None,
        p50,
    );
    figures.add(
        "direct: latency p99, one at a time",
        Unit::Millis,
        Target::None,
        p99,
    );

    get_concurrently(&client, &url, plan.warm_up).await?;
    let started = Instant::now();
    let latencies = get_concurrently(&client, &url, plan.load).await?;
    let per_second = plan.load as f64 / started.elapsed().as_secs_f64();
    let name = format!("direct: throughput, {CONNECTIONS} connections");
    figures.add(&name, Unit::PerSecond, Target::None, per_second);
    let (loaded, _) = latencies.p50_p99();
    let name = format!("direct: latency p50, {CONNECTIONS} connections");
    figures.add(&name, Unit::Millis, Target::None, loaded);
    Ok(RoundResult { p50, per_second })
}

async fn get_concurrently(
    client: &Client,
    url: &Arc<str>,
    calls: usize,
) -> anyhow::Result<Latencies> {
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let client = client.clone();
            let url = url.clone();
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                for _ in 0..calls / CONNECTIONS {
                    latencies.add(get(&client, &url).await?);
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut all = Latencies::default();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}
