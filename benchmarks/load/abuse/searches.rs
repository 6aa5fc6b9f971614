//! Searches of stored results, with long and with short texts.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    Schedule,
    report::TrialResult,
    setup::{ABUSERS, Attack, Setup},
};
use crate::{
    http::{Generation, tool_request},
    line::HttpConnection,
    mcp,
};

/// Number of values in one result, and size of the single value in the other.
const LABEL_COUNT: usize = 1000;
const TEXT_BYTES: usize = 7_900_000;

/// Number of concurrent searches.
const CONNECTIONS: usize = 32;

/// Delay of each connection before its next search.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let setup = Setup::with_tokens(&[])?;
    let text_bytes = TEXT_BYTES / schedule.divisor;
    let partial = seed_sandbox(setup.upstream, LABEL_COUNT / schedule.divisor, text_bytes).await?;
    let by_id = format!(r#"{{"prompt_partial_id":"{partial}"}}"#);
    let mut requests = Vec::new();
    for token in setup.abusers.iter().take(ABUSERS) {
        let headers =
            format!("{token}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n");
        let call = |name: &str, arguments: &str| {
            tool_request(
                (setup.address, Generation::Modern),
                &headers,
                1,
                name,
                arguments,
            )
        };
        let mut line = HttpConnection::connect(setup.address).await?;
        let long = "x".repeat(1_000_000 / schedule.divisor);
        let kept = [
            (call("get-prompt-partial", &by_id), "qq"),
            (call("list-labels", r#"{"all":true}"#), long.as_str()),
        ];
        for (request, words) in kept {
            line.exchange(&request, "HTTP/1.1 200").await?;
            let answer = String::from_utf8_lossy(&line.body);
            let handle = mcp::text_after(&answer, r#""handle":""#);
            let handle = handle.with_context(|| format!("no answer was kept: {answer:.2000}"))?;
            let search = format!(r#"{{"handle":"{handle}","search":"{words}"}}"#);
            requests.push(call("read-result", &search));
        }
    }
    let tasks = CONNECTIONS / schedule.divisor;
    let attack = move |attack: Attack| async move {
        attack
            .send(tasks, SEARCH_PAUSE, |task| {
                requests
                    .get(task % requests.len())
                    .cloned()
                    .unwrap_or_default()
            })
            .await;
    };
    setup
        .observe("searches", schedule, attack, async |_: Instant| Vec::new())
        .await
}

/// Creates items in the sandbox that give large results; returns the id of the large text.
async fn seed_sandbox(
    sandbox: SocketAddr,
    values: usize,
    text_bytes: usize,
) -> anyhow::Result<String> {
    let mut line = HttpConnection::connect(sandbox).await?;
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: {sandbox}\r\nx-portkey-api-key: bench\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    };
    for value in 0..values {
        let description = "v".repeat(1000);
        let body = format!(r#"{{"name":"label-{value}","description":"{description}"}}"#);
        line.exchange(&post("labels", &body), "HTTP/1.1 200")
            .await?;
    }
    let text = "x".repeat(text_bytes);
    let body = format!(r#"{{"name":"large","string":"{text}"}}"#);
    line.exchange(&post("prompts/partials", &body), "HTTP/1.1 200")
        .await?;
    let answer = String::from_utf8_lossy(&line.body);
    Ok(mcp::text_after(&answer, r#""slug":""#)
        .context("no partial was made")?
        .to_owned())
}
