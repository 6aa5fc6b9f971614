//! All that is kept because of a caller: how much of one caller and in all, for how long, and what happens at the
//! bound. `docs/security.md` has it as a table; a test compares the two.

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
    mcp::{
        completion,
        notifications::{MAX_FILTER_BYTES, MAX_WATCHED_RESOURCES},
        results::{DEFAULT_RESULT_TTL, MAX_BYTES_PER_CALLER},
    },
    observability::audit,
    pipeline::{
        MAX_KEY_CHECKS,
        approval::{MAX_TICKETS, MAX_TICKETS_OF_CALLER, TICKET_ID_RETENTION},
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

/// Something that is kept because of a caller.
#[derive(Clone, Debug)]
pub struct RetentionRow {
    /// What it is.
    pub data: &'static str,
    /// How much of it one caller may bring about.
    pub per_caller: String,
    /// How much there may be in all, at one replica.
    pub in_total: String,
    /// How long it is kept.
    pub duration: String,
    /// What happens where there is no more room.
    pub at_limit: &'static str,
}

/// All that is kept.
pub fn retention_rows() -> Vec<RetentionRow> {
    let mut kept = transport_rows();
    kept.extend(store_rows());
    kept.extend(call_rows());
    kept
}

/// As Markdown.
pub fn markdown_table() -> String {
    let mut table = "| What | Of one caller | In all | How long | At the bound |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for RetentionRow {
        data: what,
        per_caller: of_caller,
        in_total: in_all,
        duration: time,
        at_limit: at_bound,
    } in retention_rows()
    {
        table += &format!("| {what} | {of_caller} | {in_all} | {time} | {at_bound} |\n");
    }
    table
}

fn transport_rows() -> Vec<RetentionRow> {
    vec![
        RetentionRow {
            data: "Connections",
            per_caller: "as all".to_owned(),
            in_total: "`--max-connections`".to_owned(),
            duration: "idle: `--idle-timeout`".to_owned(),
            at_limit: "the new one is closed",
        },
        RetentionRow {
            data: "Requests under way",
            per_caller: "`--concurrency`; of one network `--address-concurrency`".to_owned(),
            in_total: "by connections".to_owned(),
            duration: "until answered".to_owned(),
            at_limit: "429",
        },
        RetentionRow {
            data: "Their bodies, each of at most `--max-request-bytes`; those of more than 64 KiB together",
            per_caller: format!(
                "{}; the same for all callers of a network who are not proven",
                format_bytes(MAX_LARGE_BODY_BYTES_PER_CALLER)
            ),
            in_total: format_bytes(MAX_LARGE_BODY_BYTES),
            duration: "until answered; `--body-timeout` for the body".to_owned(),
            at_limit: "429",
        },
        RetentionRow {
            data: "Answers over HTTP that clients do not read",
            per_caller: "a quarter of `--max-unread-bytes`, and those under way when it is reached"
                .to_owned(),
            in_total: "`--max-unread-bytes`, likewise".to_owned(),
            duration: "`--write-timeout` without progress".to_owned(),
            at_limit: "429, in all 503; in all, a connection that took nothing for a second is closed",
        },
        RetentionRow {
            data: "Requests and answers on a pipe, under way or unread",
            per_caller: format!(
                "{}, or {} of answers or of requests, and one more",
                format_count(transport::MAX_OPEN_REQUESTS),
                format_bytes(transport::MAX_UNWRITTEN_BYTES)
            ),
            in_total: "as one caller's: there is one".to_owned(),
            duration: "until read".to_owned(),
            at_limit: "no more is read; while the client has a question to answer, requests are refused",
        },
        RetentionRow {
            data: "Sessions, with names and versions cut to 100 characters and no capability but those used",
            per_caller: "`--max-sessions-per-principal`".to_owned(),
            in_total: "`--max-sessions`".to_owned(),
            duration: "`--session-idle` without use; not longer than the caller is let in"
                .to_owned(),
            at_limit: "the one that has idled longest makes room; 503 where all are in use",
        },
        RetentionRow {
            data: "Sessions of callers whose key is not proven",
            per_caller: format!("of one network {MAX_UNPROVEN_SESSIONS_PER_NETWORK}"),
            in_total: format!("{MAX_UNPROVEN_SESSIONS}, beside the others"),
            duration: format!(
                "{}; {} without use while there are more than {CROWDED_UNPROVEN_SESSIONS}",
                format_seconds(UNPROVEN_SESSION_TTL),
                format_seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_limit: "the least recently used one makes room, in use or not",
        },
        RetentionRow {
            data: "Streams that wait for news (GET, `subscriptions/listen`), of proven callers only",
            per_caller: "`--concurrency`, or `--max-sessions-per-principal` if that is more"
                .to_owned(),
            in_total: format!(
                "{}, or `--max-sessions` if that is more",
                format_count(MAX_STREAMS)
            ),
            duration: "not longer than the caller is let in".to_owned(),
            at_limit: "429; 503 where there are too many in all",
        },
        RetentionRow {
            data: "What one stream, or one session, listens for",
            per_caller: format!(
                "{} resources, {} of their addresses",
                format_count(MAX_WATCHED_RESOURCES),
                format_bytes(MAX_FILTER_BYTES)
            ),
            in_total: "by streams and sessions".to_owned(),
            duration: "with its stream or session".to_owned(),
            at_limit: "no resource is watched",
        },
        RetentionRow {
            data: "What is known of keys: accepted, refused, and accepted within a day",
            per_caller: format!(
                "one entry; {} checks a minute of one network",
                MAX_KEY_CHECKS.burst
            ),
            in_total: format!(
                "{} of each; {MAX_CONCURRENT_CHECKS} checks at once",
                format_count(MAX_KEY_PROOFS)
            ),
            duration: format!(
                "{}; accepted within a day {}",
                format_seconds(KEY_PROOF_TTL),
                format_seconds(KNOWN_TTL)
            ),
            at_limit: "the oldest is forgotten; 429 where too many are to be checked",
        },
    ]
}

/// In memory. In Redis the time is the bound, and how often callers may call.
fn store_rows() -> Vec<RetentionRow> {
    let entries = || format_count(MAX_MEMORY_ENTRIES);
    vec![
        RetentionRow {
            data: "What other replicas need of a session",
            per_caller: format!(
                "{} sessions, {}",
                format_count(MAX_ENTRIES_PER_OWNER),
                format_bytes(MAX_BYTES_PER_OWNER)
            ),
            in_total: format!("{} values, {}", entries(), format_bytes(MAX_MEMORY_BYTES)),
            duration: format!(
                "{}; if not proven {}, or {} while more than {CROWDED_UNPROVEN_SESSIONS} of those are live",
                format_seconds(STORED_SESSION_TTL),
                format_seconds(UNPROVEN_SESSION_TTL),
                format_seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_limit: "the one that would be forgotten first is: the caller's own, if it has too many",
        },
        RetentionRow {
            data: "Counters of limits on requests",
            per_caller: format!(
                "one; keys of one network {}",
                format_count(MAX_ENTRIES_PER_OWNER)
            ),
            in_total: entries(),
            duration: "until the limit is whole again".to_owned(),
            at_limit: "429 for further keys of that network; 503 where there are too many in all",
        },
        RetentionRow {
            data: "Counters of limits in policies",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: entries(),
            duration: "their window".to_owned(),
            at_limit: "the call is denied",
        },
        RetentionRow {
            data: "Which sessions read text that strangers wrote",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: entries(),
            duration: format_seconds(taint::TAINT_DURATION),
            at_limit: "all sessions of the caller count as such; where there are too many in all, all do",
        },
    ]
}

fn call_rows() -> Vec<RetentionRow> {
    vec![
        RetentionRow {
            data: "Answers that were shown in part",
            per_caller: format_bytes(MAX_BYTES_PER_CALLER),
            in_total: format_bytes(MAX_MEMORY_BYTES),
            duration: format!("`--result-ttl` ({})", format_seconds(DEFAULT_RESULT_TTL)),
            at_limit: "the oldest goes",
        },
        RetentionRow {
            data: "Calls that wait for somebody to decide elsewhere (tickets)",
            per_caller: format_count(MAX_TICKETS_OF_CALLER),
            in_total: format_count(MAX_TICKETS),
            duration: format!(
                "`--approval-timeout`; their names {} more",
                format_seconds(TICKET_ID_RETENTION)
            ),
            at_limit: "the call is denied; in all, the oldest of whoever has most makes room first",
        },
        RetentionRow {
            data: "Which approvals were used",
            per_caller: format_count(MAX_ENTRIES_PER_OWNER),
            in_total: format_count(MAX_MEMORY_ENTRIES),
            duration: "`--approval-timeout`".to_owned(),
            at_limit: "the approval does not count",
        },
        RetentionRow {
            data: "Reads of large results that are under way",
            per_caller: format_count(worker_pool::MAX_PER_CALLER),
            in_total: format_count(worker_pool::MAX_QUEUED),
            duration: "until answered".to_owned(),
            at_limit: "the read is refused, and may be made again",
        },
        RetentionRow {
            data: "What an issuer said of tokens that it introspects",
            per_caller: "one for each token".to_owned(),
            in_total: format!(
                "{}; {} that it is asked about",
                format_bytes(usize::try_from(oauth::MAX_CACHE_BYTES).unwrap_or(usize::MAX)),
                format_count(oauth::MAX_PENDING)
            ),
            duration: "until the token expires, or is to be asked about again".to_owned(),
            at_limit: "others go; 503 where too many are asked about",
        },
        RetentionRow {
            data: "Secrets that calls brought, to mask them wherever they stand",
            per_caller: "as all".to_owned(),
            in_total: format!(
                "{}, {}",
                format_count(secrets::MAX_PASSED_SECRETS),
                format_bytes(secrets::MAX_PASSED_SECRET_BYTES)
            ),
            duration: "until others take their place".to_owned(),
            at_limit: "the oldest is masked by its place alone",
        },
        RetentionRow {
            data: "Lines that wait for the audit log",
            per_caller: "as all".to_owned(),
            in_total: format_bytes(audit::MAX_WAITING_BYTES),
            duration: "until written".to_owned(),
            at_limit: "writes are denied; lines of reads are counted, and the log tells how many are missing",
        },
        RetentionRow {
            data: "Identifiers for completions",
            per_caller: "as all".to_owned(),
            in_total: format_bytes(completion::MAX_CACHE_BYTES),
            duration: format_seconds(completion::CACHE_TTL),
            at_limit: "others go",
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
