//! Data stored for callers: its limits per caller and in total, its lifetime, and what happens at the limit.
//! `docs/security.md` has it as a table; a test compares the two.

use std::time::Duration;

use portkey_concurrency::worker_pool;
use portkey_store::{
    MAX_BYTES_PER_OWNER, MAX_ENTRIES_PER_OWNER, MAX_MEMORY_BYTES, MAX_MEMORY_ENTRIES,
};

use crate::{
    auth::{
        oauth,
        principal::{KEY_PROOF_TTL, KNOWN_TTL, MAX_CONCURRENT_CHECKS, MAX_KEY_PROOFS},
    },
    changes::plan::PLAN_TTL,
    mcp::{
        completion,
        notifications::{MAX_FILTER_BYTES, MAX_WATCHED_RESOURCES},
        results::{DEFAULT_RESULT_TTL, MAX_BYTES_PER_CALLER},
    },
    observability::audit,
    pipeline::{
        CALL_HISTORY_DURATION, MAX_KEY_CHECKS,
        approval::{
            MAX_TICKETS, MAX_TICKETS_OF_CALLER, MAX_VOTES, MAX_VOTES_OF_TICKET, TICKET_ID_RETENTION,
        },
        taint,
    },
    security::secrets,
    transport::{
        self,
        http::{
            CROWDED_UNPROVEN_IDLE_TIMEOUT, CROWDED_UNPROVEN_SESSIONS, MAX_LARGE_BODY_BYTES,
            MAX_LARGE_BODY_BYTES_PER_CALLER, MAX_STREAMS, MAX_UNPROVEN_SESSIONS,
            MAX_UNPROVEN_SESSIONS_PER_NETWORK, STORED_SESSION_TTL, UNPROVEN_SESSION_TTL,
        },
    },
};

/// One kind of data stored for callers.
#[derive(Clone, Debug)]
pub struct RetentionRow {
    /// Kind of data.
    pub data: &'static str,
    /// Maximum for one caller.
    pub per_caller: String,
    /// Maximum in total, at one replica.
    pub in_total: String,
    /// Time after which it is removed.
    pub duration: String,
    /// Effect of a reached limit.
    pub at_limit: &'static str,
}

/// Returns all kinds of data stored for callers.
pub fn retention_rows() -> Vec<RetentionRow> {
    let mut rows = transport_rows();
    rows.extend(store_rows());
    rows.extend(call_rows());
    rows
}

/// Returns the rows as a Markdown table.
pub fn markdown_table() -> String {
    let mut table = "| Data | Per caller | In total | Lifetime | At the limit |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for RetentionRow {
        data,
        per_caller,
        in_total,
        duration,
        at_limit,
    } in retention_rows()
    {
        table += &format!("| {data} | {per_caller} | {in_total} | {duration} | {at_limit} |\n");
    }
    table
}

fn transport_rows() -> Vec<RetentionRow> {
    vec![
        RetentionRow {
            data: "Connections",
            per_caller: "no separate limit".to_owned(),
            in_total: "`--max-connections`".to_owned(),
            duration: "idle: `--idle-timeout`".to_owned(),
            at_limit: "the new connection is closed",
        },
        RetentionRow {
            data: "Requests in flight",
            per_caller: "`--concurrency`; per network `--address-concurrency`".to_owned(),
            in_total: "limited by connections".to_owned(),
            duration: "until the response".to_owned(),
            at_limit: "429",
        },
        RetentionRow {
            data: "Request bodies of more than 64 KiB, in total; each body has at most `--max-request-bytes`",
            per_caller: format!(
                "{}; the same for all unproven callers of a network together",
                format_bytes(MAX_LARGE_BODY_BYTES_PER_CALLER)
            ),
            in_total: format_bytes(MAX_LARGE_BODY_BYTES),
            duration: "until the response; `--body-timeout` for the body".to_owned(),
            at_limit: "429",
        },
        RetentionRow {
            data: "Unread responses over HTTP",
            per_caller:
                "a quarter of `--max-unread-bytes`, plus the responses in flight when it is reached"
                    .to_owned(),
            in_total: "`--max-unread-bytes`, plus the responses in flight when it is reached"
                .to_owned(),
            duration: "`--write-timeout` without progress".to_owned(),
            at_limit: "429 per caller, 503 in total; in total, connections without progress for a second are closed",
        },
        RetentionRow {
            data: "Requests in flight and unread responses on a pipe",
            per_caller: format!(
                "{}, or {} of responses or of requests, plus one message",
                format_count(transport::MAX_OPEN_REQUESTS),
                format_bytes(transport::MAX_UNWRITTEN_BYTES)
            ),
            in_total: "the same: a pipe has one caller".to_owned(),
            duration: "until read".to_owned(),
            at_limit: "reading stops; while a request to the client is unanswered, new requests are rejected",
        },
        RetentionRow {
            data: "Sessions, with names and versions truncated to 100 characters, and only the capabilities in use",
            per_caller: "`--max-sessions-per-principal`".to_owned(),
            in_total: "`--max-sessions`".to_owned(),
            duration: "`--session-idle` without use; at most until the caller's authorisation ends"
                .to_owned(),
            at_limit: "the longest idle session is removed; 503 if all are in use",
        },
        RetentionRow {
            data: "Sessions of unproven callers",
            per_caller: format!("per network {MAX_UNPROVEN_SESSIONS_PER_NETWORK}"),
            in_total: format!("{MAX_UNPROVEN_SESSIONS}, in addition to proven sessions"),
            duration: format!(
                "{}; {} without use if more than {CROWDED_UNPROVEN_SESSIONS} were active since",
                format_seconds(UNPROVEN_SESSION_TTL),
                format_seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_limit: "the least recently used session is removed, even if it is in use",
        },
        RetentionRow {
            data: "Notification streams (GET, `subscriptions/listen`), of proven callers only",
            per_caller: "the larger of `--concurrency` and `--max-sessions-per-principal`"
                .to_owned(),
            in_total: format!(
                "the larger of {} and `--max-sessions`",
                format_count(MAX_STREAMS)
            ),
            duration: "at most until the caller's authorisation ends".to_owned(),
            at_limit: "429 per caller; 503 in total",
        },
        RetentionRow {
            data: "Subscriptions of one stream or session",
            per_caller: format!(
                "{} resources, {} of resource URIs",
                format_count(MAX_WATCHED_RESOURCES),
                format_bytes(MAX_FILTER_BYTES)
            ),
            in_total: "limited by streams and sessions".to_owned(),
            duration: "that of the stream or session".to_owned(),
            at_limit: "no resource is subscribed",
        },
        RetentionRow {
            data: "Check results of keys: accepted, rejected, and accepted within a day",
            per_caller: format!(
                "one entry; {} checks per minute and network",
                MAX_KEY_CHECKS.burst
            ),
            in_total: format!(
                "{} of each; {MAX_CONCURRENT_CHECKS} concurrent checks",
                format_count(MAX_KEY_PROOFS)
            ),
            duration: format!(
                "{}; accepted within a day {}",
                format_seconds(KEY_PROOF_TTL),
                format_seconds(KNOWN_TTL)
            ),
            at_limit: "the oldest is removed; 429 for too many checks",
        },
    ]
}

/// Returns the rows of the store in memory. In Redis, only lifetimes and rate limits bound the data.
fn store_rows() -> Vec<RetentionRow> {
    let entries = || format_count(MAX_MEMORY_ENTRIES);
    vec![
        RetentionRow {
            data: "Session data that replicas share",
            per_caller: format!(
                "{} sessions, {}",
                format_count(MAX_ENTRIES_PER_OWNER),
                format_bytes(MAX_BYTES_PER_OWNER)
            ),
            in_total: format!("{} values, {}", entries(), format_bytes(MAX_MEMORY_BYTES)),
            duration: format!(
                "{}; if unproven {}, or {} if there are more than {CROWDED_UNPROVEN_SESSIONS} unproven sessions",
                format_seconds(STORED_SESSION_TTL),
                format_seconds(UNPROVEN_SESSION_TTL),
                format_seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_limit: "the session that expires first is removed; per caller, one of that caller's",
        },
        RetentionRow {
            data: "Counters of rate limits on requests",
            per_caller: format!(
                "one; for keys of one network {}",
                format_count(MAX_ENTRIES_PER_OWNER)
            ),
            in_total: entries(),
            duration: "until the full limit is available again".to_owned(),
            at_limit: "429 for further keys of that network; 503 in total",
        },
        RetentionRow {
            data: "Counters of limits in policies",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: entries(),
            duration: "window of the limit".to_owned(),
            at_limit: "the call is denied",
        },
        RetentionRow {
            data: "Sessions that have read untrusted content",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: entries(),
            duration: format_seconds(taint::TAINT_DURATION),
            at_limit: "all sessions of the caller count as tainted; in total, all sessions do",
        },
        RetentionRow {
            data: "Calls of sessions that a rule names in `after` or `before`",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: entries(),
            duration: format_seconds(CALL_HISTORY_DURATION),
            at_limit: "no earlier call is known, and such rules deny",
        },
        RetentionRow {
            data: "Approvals of calls that several people approve",
            per_caller: format!("{MAX_VOTES_OF_TICKET} for each call"),
            in_total: format_count(MAX_VOTES),
            duration: "`--approval-timeout`".to_owned(),
            at_limit: "no further approval is accepted",
        },
    ]
}

fn call_rows() -> Vec<RetentionRow> {
    vec![
        RetentionRow {
            data: "Results that were shown in part",
            per_caller: format_bytes(MAX_BYTES_PER_CALLER),
            in_total: format_bytes(MAX_MEMORY_BYTES),
            duration: format!("`--result-ttl` ({})", format_seconds(DEFAULT_RESULT_TTL)),
            at_limit: "the oldest is removed",
        },
        RetentionRow {
            data: "Plans that are too long for a token, and the progress of plans",
            per_caller: format!(
                "{}, {}",
                format_count(MAX_ENTRIES_PER_OWNER),
                format_bytes(MAX_BYTES_PER_OWNER)
            ),
            in_total: format_bytes(MAX_MEMORY_BYTES),
            duration: format!("{}; progress twice that", format_seconds(PLAN_TTL)),
            at_limit: "what expires first is removed, of the same caller; a plan without its progress stops as drift",
        },
        RetentionRow {
            data: "Pending calls at the approval server (tickets)",
            per_caller: format_count(MAX_TICKETS_OF_CALLER),
            in_total: format_count(MAX_TICKETS),
            duration: format!(
                "`--approval-timeout`; their ids {} longer",
                format_seconds(TICKET_ID_RETENTION)
            ),
            at_limit: "the call is denied; in total, the oldest ticket of the caller with the most tickets is removed first",
        },
        RetentionRow {
            data: "Used approvals",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: format_count(MAX_MEMORY_ENTRIES),
            duration: "`--approval-timeout`".to_owned(),
            at_limit: "the approval is invalid",
        },
        RetentionRow {
            data: "Reads of large results in flight",
            per_caller: format_count(worker_pool::MAX_PER_CALLER),
            in_total: format_count(worker_pool::MAX_QUEUED),
            duration: "until the response".to_owned(),
            at_limit: "the read is rejected and can be retried",
        },
        RetentionRow {
            data: "Introspection results of tokens",
            per_caller: "one for each token".to_owned(),
            in_total: format!(
                "{}; {} pending introspections",
                format_bytes(usize::try_from(oauth::MAX_CACHE_BYTES).unwrap_or(usize::MAX)),
                format_count(oauth::MAX_PENDING)
            ),
            duration: "until the token expires or the next introspection is due".to_owned(),
            at_limit: "others are removed; 503 for too many pending introspections",
        },
        RetentionRow {
            data: "Secrets in arguments of calls, for masking at every place",
            per_caller: "no separate limit".to_owned(),
            in_total: format!(
                "{}, {}",
                format_count(secrets::MAX_PASSED_SECRETS),
                format_bytes(secrets::MAX_PASSED_SECRET_BYTES)
            ),
            duration: "until replaced by others".to_owned(),
            at_limit: "the oldest is masked only at its declared place",
        },
        RetentionRow {
            data: "Pending entries of the audit log",
            per_caller: "no separate limit".to_owned(),
            in_total: format_bytes(audit::MAX_WAITING_BYTES),
            duration: "until written".to_owned(),
            at_limit: "writes are denied; entries of reads are dropped, and the log records their number",
        },
        RetentionRow {
            data: "Changes of the journal (`--journal`, `--journal-url`): on disk, shared by the processes that use the file or the database",
            per_caller: format!(
                "no separate limit; a document {}, an answer {}",
                format_bytes(portkey_journal::MAX_DOCUMENT_BYTES),
                format_bytes(portkey_journal::MAX_ANSWER_BYTES)
            ),
            in_total: "`--journal-max-bytes` (256 MiB)".to_owned(),
            duration: "`--journal-max-age` (90d)".to_owned(),
            at_limit: "the oldest are removed",
        },
        RetentionRow {
            data: "Identifiers for completions",
            per_caller: "no separate limit".to_owned(),
            in_total: format_bytes(completion::MAX_CACHE_BYTES),
            duration: format_seconds(completion::CACHE_TTL),
            at_limit: "others are removed",
        },
    ]
}

fn format_seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn format_count(number: usize) -> String {
    let digits = number.to_string();
    match digits
        .len()
        .checked_sub(3)
        .and_then(|at| digits.split_at_checked(at))
    {
        Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}"),
        _ => digits,
    }
}

fn format_bytes(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        megabytes => format!("{megabytes} MiB"),
    }
}
