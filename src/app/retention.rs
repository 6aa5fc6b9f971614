//! All that is kept because of a caller: how much of one caller and in all, for how long, and what happens at the
//! bound. `docs/security.md` has it as a table; a test compares the two.

use std::time::Duration;

use portkey_concurrency::worker_pool;
use portkey_store::{MAX_BYTES_PER_OWNER, MAX_ENTRIES_PER_OWNER, MAX_MEMORY_BYTES, MAX_MEMORY_ENTRIES};

use crate::{
    auth::{
        oauth,
        principal::{KNOWN_TTL, MAX_CONCURRENT_CHECKS, MAX_KEY_PROOFS, KEY_PROOF_TTL},
    },
    mcp::{
        completion,
        notifications::{MAX_FILTER_BYTES, MOST_RESOURCES},
        results::{MOST_OF_PRINCIPAL, USUAL_TTL},
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
            CROWDED_UNPROVEN_IDLE_TIMEOUT, CROWDED_UNPROVEN_SESSIONS, MAX_LARGE_BODY_BYTES, MAX_LARGE_BODY_BYTES_PER_CALLER,
            MAX_STREAMS, MAX_UNPROVEN_SESSIONS, MAX_UNPROVEN_SESSIONS_PER_NETWORK, STORED_SESSION_TTL,
            UNPROVEN_SESSION_TTL,
        },
    },
};

/// Something that is kept because of a caller.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What it is.
    pub what: &'static str,
    /// How much of it one caller may bring about.
    pub of_caller: String,
    /// How much there may be in all, at one replica.
    pub in_all: String,
    /// How long it is kept.
    pub time: String,
    /// What happens where there is no more room.
    pub at_bound: &'static str,
}

/// All that is kept.
pub fn kept() -> Vec<Kept> {
    let mut kept = of_transport();
    kept.extend(of_store());
    kept.extend(of_calls());
    kept
}

/// As Markdown.
pub fn table() -> String {
    let mut table = "| What | Of one caller | In all | How long | At the bound |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for Kept {
        what,
        of_caller,
        in_all,
        time,
        at_bound,
    } in kept()
    {
        table += &format!("| {what} | {of_caller} | {in_all} | {time} | {at_bound} |\n");
    }
    table
}

fn of_transport() -> Vec<Kept> {
    vec![
        Kept {
            what: "Connections",
            of_caller: "as all".to_owned(),
            in_all: "`--max-connections`".to_owned(),
            time: "idle: `--idle-timeout`".to_owned(),
            at_bound: "the new one is closed",
        },
        Kept {
            what: "Requests under way",
            of_caller: "`--concurrency`; of one network `--address-concurrency`".to_owned(),
            in_all: "by connections".to_owned(),
            time: "until answered".to_owned(),
            at_bound: "429",
        },
        Kept {
            what: "Their bodies, each of at most `--max-request-bytes`; those of more than 64 KiB together",
            of_caller: format!(
                "{}; the same for all callers of a network who are not proven",
                bytes(MAX_LARGE_BODY_BYTES_PER_CALLER)
            ),
            in_all: bytes(MAX_LARGE_BODY_BYTES),
            time: "until answered; `--body-timeout` for the body".to_owned(),
            at_bound: "429",
        },
        Kept {
            what: "Answers over HTTP that clients do not read",
            of_caller: "a quarter of `--max-unread-bytes`, and those under way when it is reached"
                .to_owned(),
            in_all: "`--max-unread-bytes`, likewise".to_owned(),
            time: "`--write-timeout` without progress".to_owned(),
            at_bound: "429, in all 503; in all, a connection that took nothing for a second is closed",
        },
        Kept {
            what: "Requests and answers on a pipe, under way or unread",
            of_caller: format!(
                "{}, or {} of answers or of requests, and one more",
                count(transport::MAX_OPEN_REQUESTS),
                bytes(transport::MAX_UNWRITTEN_BYTES)
            ),
            in_all: "as one caller's: there is one".to_owned(),
            time: "until read".to_owned(),
            at_bound: "no more is read; while the client has a question to answer, requests are refused",
        },
        Kept {
            what: "Sessions, with names and versions cut to 100 characters and no capability but those used",
            of_caller: "`--max-sessions-per-principal`".to_owned(),
            in_all: "`--max-sessions`".to_owned(),
            time: "`--session-idle` without use; not longer than the caller is let in".to_owned(),
            at_bound: "the one that has idled longest makes room; 503 where all are in use",
        },
        Kept {
            what: "Sessions of callers whose key is not proven",
            of_caller: format!("of one network {MAX_UNPROVEN_SESSIONS_PER_NETWORK}"),
            in_all: format!("{MAX_UNPROVEN_SESSIONS}, beside the others"),
            time: format!(
                "{}; {} without use while there are more than {CROWDED_UNPROVEN_SESSIONS}",
                seconds(UNPROVEN_SESSION_TTL),
                seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_bound: "the least recently used one makes room, in use or not",
        },
        Kept {
            what: "Streams that wait for news (GET, `subscriptions/listen`), of proven callers only",
            of_caller: "`--concurrency`, or `--max-sessions-per-principal` if that is more"
                .to_owned(),
            in_all: format!(
                "{}, or `--max-sessions` if that is more",
                count(MAX_STREAMS)
            ),
            time: "not longer than the caller is let in".to_owned(),
            at_bound: "429; 503 where there are too many in all",
        },
        Kept {
            what: "What one stream, or one session, listens for",
            of_caller: format!(
                "{} resources, {} of their addresses",
                count(MOST_RESOURCES),
                bytes(MAX_FILTER_BYTES)
            ),
            in_all: "by streams and sessions".to_owned(),
            time: "with its stream or session".to_owned(),
            at_bound: "no resource is watched",
        },
        Kept {
            what: "What is known of keys: accepted, refused, and accepted within a day",
            of_caller: format!(
                "one entry; {} checks a minute of one network",
                MAX_KEY_CHECKS.burst
            ),
            in_all: format!("{} of each; {MAX_CONCURRENT_CHECKS} checks at once", count(MAX_KEY_PROOFS)),
            time: format!(
                "{}; accepted within a day {}",
                seconds(KEY_PROOF_TTL),
                seconds(KNOWN_TTL)
            ),
            at_bound: "the oldest is forgotten; 429 where too many are to be checked",
        },
    ]
}

/// In memory. In Redis the time is the bound, and how often callers may call.
fn of_store() -> Vec<Kept> {
    let entries = || count(MAX_MEMORY_ENTRIES);
    vec![
        Kept {
            what: "What other replicas need of a session",
            of_caller: format!(
                "{} sessions, {}",
                count(MAX_ENTRIES_PER_OWNER),
                bytes(MAX_BYTES_PER_OWNER)
            ),
            in_all: format!("{} values, {}", entries(), bytes(MAX_MEMORY_BYTES)),
            time: format!(
                "{}; if not proven {}, or {} while more than {CROWDED_UNPROVEN_SESSIONS} of those are live",
                seconds(STORED_SESSION_TTL),
                seconds(UNPROVEN_SESSION_TTL),
                seconds(CROWDED_UNPROVEN_IDLE_TIMEOUT)
            ),
            at_bound: "the one that would be forgotten first is: the caller's own, if it has too many",
        },
        Kept {
            what: "Counters of limits on requests",
            of_caller: format!("one; keys of one network {}", count(MAX_ENTRIES_PER_OWNER)),
            in_all: entries(),
            time: "until the limit is whole again".to_owned(),
            at_bound: "429 for further keys of that network; 503 where there are too many in all",
        },
        Kept {
            what: "Counters of limits in policies",
            of_caller: count(MAX_ENTRIES_PER_OWNER),
            in_all: entries(),
            time: "their window".to_owned(),
            at_bound: "the call is denied",
        },
        Kept {
            what: "Which sessions read text that strangers wrote",
            of_caller: count(MAX_ENTRIES_PER_OWNER),
            in_all: entries(),
            time: seconds(taint::TAINT_DURATION),
            at_bound: "all sessions of the caller count as such; where there are too many in all, all do",
        },
    ]
}

fn of_calls() -> Vec<Kept> {
    vec![
        Kept {
            what: "Answers that were shown in part",
            of_caller: bytes(MOST_OF_PRINCIPAL),
            in_all: bytes(MAX_MEMORY_BYTES),
            time: format!("`--result-ttl` ({})", seconds(USUAL_TTL)),
            at_bound: "the oldest goes",
        },
        Kept {
            what: "Calls that wait for somebody to decide elsewhere (tickets)",
            of_caller: count(MAX_TICKETS_OF_CALLER),
            in_all: count(MAX_TICKETS),
            time: format!(
                "`--approval-timeout`; their names {} more",
                seconds(TICKET_ID_RETENTION)
            ),
            at_bound: "the call is denied; in all, the oldest of whoever has most makes room first",
        },
        Kept {
            what: "Which approvals were used",
            of_caller: count(MAX_ENTRIES_PER_OWNER),
            in_all: count(MAX_MEMORY_ENTRIES),
            time: "`--approval-timeout`".to_owned(),
            at_bound: "the approval does not count",
        },
        Kept {
            what: "Reads of large results that are under way",
            of_caller: count(worker_pool::MAX_PER_CALLER),
            in_all: count(worker_pool::MAX_QUEUED),
            time: "until answered".to_owned(),
            at_bound: "the read is refused, and may be made again",
        },
        Kept {
            what: "What an issuer said of tokens that it introspects",
            of_caller: "one for each token".to_owned(),
            in_all: format!(
                "{}; {} that it is asked about",
                bytes(usize::try_from(oauth::MAX_CACHE_BYTES).unwrap_or(usize::MAX)),
                count(oauth::MAX_PENDING)
            ),
            time: "until the token expires, or is to be asked about again".to_owned(),
            at_bound: "others go; 503 where too many are asked about",
        },
        Kept {
            what: "Secrets that calls brought, to mask them wherever they stand",
            of_caller: "as all".to_owned(),
            in_all: format!(
                "{}, {}",
                count(secrets::MAX_PASSED_SECRETS),
                bytes(secrets::MAX_PASSED_SECRET_BYTES)
            ),
            time: "until others take their place".to_owned(),
            at_bound: "the oldest is masked by its place alone",
        },
        Kept {
            what: "Lines that wait for the audit log",
            of_caller: "as all".to_owned(),
            in_all: bytes(audit::MAX_WAITING_BYTES),
            time: "until written".to_owned(),
            at_bound: "writes are denied; lines of reads are counted, and the log tells how many are missing",
        },
        Kept {
            what: "Identifiers for completions",
            of_caller: "as all".to_owned(),
            in_all: bytes(completion::MAX_BYTES),
            time: seconds(completion::KEPT),
            at_bound: "others go",
        },
    ]
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn count(number: usize) -> String {
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

fn bytes(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        megabytes => format!("{megabytes} MiB"),
    }
}
