//! Large answers: a list of 100 integrations, over stdio and HTTP, whole and truncated.

use std::{io::Write, time::Instant};

use anyhow::ensure;
use portkey_mcp::http_client::client_builder;

use crate::{
    CONNECTIONS, Plan,
    http::{Client, Generation, call_concurrently},
    mcp::{self, SUCCESS_TEXT},
    process::Process,
    stats::{Figures, LoadResult, Target, Unit},
    stdio::StdioServer,
};

/// Number of integrations in the list.
const ITEMS: usize = 100;

pub(crate) const TOOL: &str = "list-all-integrations";
pub(crate) const ARGUMENTS: &str = r#"{"current_page":0,"page_size":100}"#;

/// Variants of the server: the name in the figures, and the options.
const VARIANTS: [(&str, &[&str]); 3] = [
    ("whole", &["--max-result-bytes", "0"]),
    (
        "whole, text only",
        &["--max-result-bytes", "0", "--results", "text"],
    ),
    ("truncated", &[]),
];

/// Creates integrations in the sandbox, so that the list has a full page.
pub(crate) async fn fill(url: &str) -> anyhow::Result<()> {
    let client = client_builder().no_proxy().build()?;
    for index in 0..ITEMS {
        let body = format!(
            r#"{{"name":"Team {index}","slug":"team-{index}","ai_provider_id":"openai","key":"k","description":"Models of team {index}"}}"#
        );
        let response = client
            .post(format!("{url}/integrations"))
            .header("x-portkey-api-key", "bench")
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        ensure!(
            response.status().is_success(),
            "the sandbox answered {}",
            response.status()
        );
    }
    Ok(())
}

/// Measures one round, on new servers.
pub(crate) async fn round(url: &str, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let common = ["--base-url", url, "--api-key", "bench"];
    let calls = plan.sequential / 2;
    for (variant, options) in VARIANTS {
        let mut pipe = StdioServer::start(&[&common, options].concat())?;
        pipe.ready()?;
        let request = mcp::tool_call(1, TOOL, ARGUMENTS, "");
        let mut call = |count: usize| {
            for _ in 0..count {
                writeln!(pipe.input, "{request}")?;
                pipe.receive(SUCCESS_TEXT)?;
            }
            pipe.process.cpu()
        };
        let before = call(calls / 4)?;
        let started = Instant::now();
        let used = call(calls)? - before;
        let result = LoadResult::new(calls, started.elapsed(), used);
        let target = match variant {
            "whole" => Target::AtMost(180.0),
            _ => Target::None,
        };
        let name = format!("stdio, list of 100, {variant}: CPU per call");
        figures.add(&name, Unit::Micros, target, result.cpu);
        let name = format!("stdio, list of 100, {variant}: size of an answer");
        figures.add(
            &name,
            Unit::Kilobytes,
            Target::None,
            pipe.line.len() as f64 / 1e3,
        );
    }
    let arguments = ["http", "--listen", "127.0.0.1:0", "--max-result-bytes", "0"];
    let (process, address) = Process::listening(&[&arguments[..], &common].concat())?;
    for count in [1, CONNECTIONS] {
        let mut clients = Vec::new();
        for _ in 0..count {
            let client = Client::connect(address, Generation::Modern, "").await?;
            clients.push(client.with_tool(address, Generation::Modern, TOOL, ARGUMENTS));
        }
        let (clients, _) = call_concurrently(clients, calls.div_ceil(count) * count).await?;
        let calls = plan.sequential / CONNECTIONS * CONNECTIONS;
        let before = process.cpu()?;
        let started = Instant::now();
        call_concurrently(clients, calls).await?;
        let result = LoadResult::new(calls, started.elapsed(), process.cpu()? - before);
        let name = format!("http 2026-07-28, list of 100, {count} connections: CPU per call");
        figures.add(&name, Unit::Micros, Target::None, result.cpu);
        let target = match count {
            1 => Target::None,
            _ => Target::AtLeast(5_500.0),
        };
        let name = format!("http 2026-07-28, list of 100, {count} connections: throughput");
        figures.add(&name, Unit::PerSecond, target, result.per_second);
    }
    Ok(())
}
