//! `portkey-mcp approvals watch`: one line for each new call that waits.

use std::{collections::HashSet, io::Write, time::Duration};

use serde_json::Value;
use tokio::time::sleep;

use super::{
    ApprovalClient, ListArgs, TicketState, format_state, reason_text, single_line_field,
    target_text,
};
use crate::cli::options::Options;

/// Interval between two looks at the server.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of failures in a row. The last delay is half a minute, all together five minutes.
const MAX_FAILURES: u32 = 14;

/// Maximum delay after a failure.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Prints the calls that wait, and each new one, until the process is interrupted or the server
/// stays away.
pub(super) async fn follow(
    options: &Options,
    client: ApprovalClient,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = poll(options, client, out) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn poll(
    options: &Options,
    mut client: ApprovalClient,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let mut failures = 0;
    loop {
        match pending(&client).await {
            Ok(tickets) => {
                failures = 0;
                let now: HashSet<_> = tickets.iter().map(id).collect();
                for ticket in tickets.iter().filter(|ticket| !seen.contains(&id(ticket))) {
                    print_line(ticket, out)?;
                }
                out.flush()?;
                // A ticket that is gone never comes back, so only those that wait are kept.
                seen = now;
                sleep(WATCH_INTERVAL).await;
            }
            Err(error) => {
                failures += 1;
                if failures > MAX_FAILURES {
                    return Err(error);
                }
                sleep(retry_delay(failures)).await;
                // A server that was started anew has another address and another token.
                if let Ok(renewed) = ApprovalClient::from_options(options) {
                    client = renewed;
                }
            }
        }
    }
}

fn retry_delay(failures: u32) -> Duration {
    let seconds = 1u64 << failures.saturating_sub(1).min(5);
    Duration::from_secs(seconds).min(MAX_RETRY_DELAY)
}

/// Returns all calls that wait, the oldest first.
async fn pending(client: &ApprovalClient) -> anyhow::Result<Vec<Value>> {
    let mut filter = ListArgs {
        caller: None,
        tool: None,
        state: Some(TicketState::Pending),
        limit: 200,
        after: None,
    };
    let mut all = Vec::new();
    loop {
        let page = client.list_tickets(&filter).await?;
        let tickets = page.get("tickets").and_then(Value::as_array);
        let count = tickets.map_or(0, Vec::len);
        all.extend(tickets.into_iter().flatten().cloned());
        match &*single_line_field(&page, "next") {
            // A page without tickets would be followed by itself.
            "" => return Ok(all),
            _ if count == 0 => return Ok(all),
            next => filter.after = Some(next.to_owned()),
        }
    }
}

fn id(ticket: &Value) -> String {
    single_line_field(ticket, "id").into_owned()
}

fn print_line(ticket: &Value, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{}  {}  {}  asked by {}  {}  ({})",
        id(ticket),
        single_line_field(ticket, "tool"),
        target_text(ticket),
        single_line_field(ticket, "principal"),
        reason_text(ticket),
        format_state(ticket)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_are_bounded_to_some_minutes() {
        let total: Duration = (1..=MAX_FAILURES).map(retry_delay).sum();
        assert_eq!(retry_delay(1), Duration::from_secs(1));
        assert_eq!(retry_delay(MAX_FAILURES), MAX_RETRY_DELAY);
        assert!(total < Duration::from_secs(330), "{total:?}");
    }
}
