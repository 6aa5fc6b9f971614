//! Calls with as many invalid arguments as fit into a request.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    Schedule,
    report::TrialResult,
    setup::{ABUSERS, Attack, Setup},
    unread::unknown_arguments,
};
use crate::http::{Generation, tool_request};

/// Maximum size of the error response to a call with invalid arguments, in bytes.
pub(super) const MAX_ERROR_BYTES: u64 = 16 * 1024;

/// Number of connections that make such calls.
const CONNECTIONS: usize = 4;

/// Delay of each connection before its next call.
const CALL_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(schedule: &Schedule) -> anyhow::Result<TrialResult> {
    let setup = Setup::with_tokens(&[])?;
    let abusers = setup.abusers.clone();
    let percent = 100 / schedule.divisor;
    let attack = move |attack: Attack| async move {
        let kinds = wrong_arguments(percent);
        let requests: Vec<_> = (0..CONNECTIONS)
            .map(|task| {
                let token = abusers
                    .get(task % ABUSERS)
                    .map(String::as_str)
                    .unwrap_or_default();
                let headers = format!(
                    "{token}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n"
                );
                let of = (attack.address, Generation::Modern);
                let call = |(name, arguments): &(&str, String)| {
                    tool_request(of, &headers, 1, name, arguments)
                };
                kinds.iter().map(call).collect::<Vec<_>>()
            })
            .collect();
        let count = std::cell::Cell::new(0);
        let next = |task: usize| {
            count.set(count.get() + 1);
            let of_task = requests.get(task).map(Vec::as_slice).unwrap_or_default();
            of_task
                .get(count.get() % kinds.len())
                .cloned()
                .unwrap_or_default()
        };
        attack.send(CONNECTIONS, CALL_PAUSE, next).await;
        let largest = attack.counts.largest.load(Relaxed);
        let what = format!("the largest answer to wrong arguments has {largest} bytes");
        attack.counts.check(what, largest <= MAX_ERROR_BYTES);
    };
    setup
        .observe("arguments", schedule, attack, async |_: Instant| Vec::new())
        .await
}

/// Returns tools and arguments with many errors. `percent` is the share of the maximum request
/// size.
pub(super) fn wrong_arguments(percent: usize) -> Vec<(&'static str, String)> {
    let list = |item: &str, count: usize| vec![item; count * percent / 100].join(",");
    let values = format!(r#"{{"slug":"a","scopes":[{}]}}"#, list("1", 1_900_000));
    let nested = list(r#"{"a":[{"a":[{}]}]}"#, 100_000);
    let document =
        format!(r#"{{"name":1,"config":{{"targets":[{nested}],"provider":[{nested}]}}}}"#);
    let depth = 50;
    let deep = format!("{}{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
    let deep = format!(
        r#"{{"name":1,"config":{{"targets":[{}]}}}}"#,
        list(&deep, 9_000)
    );
    let long = format!(r#"{{"{}":1}}"#, "n".repeat(3_900_000 * percent / 100));
    vec![
        ("list-labels", unknown_arguments(280_000 * percent / 100)),
        ("create-api-key", values),
        ("create-config", document),
        ("create-config", deep),
        ("list-labels", long),
    ]
}
