//! What a line says of a call, and the call's way to its line.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use portkey_operation::{Effect, JsonMap, Published};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Audit, Entry, Unwritable};
use crate::{
    auth::principal::Principal,
    observability::{
        call_record::{CallOutcome, OutcomeKind, Record},
        request::{Arrival, Transport, UNKNOWN},
    },
    security::{
        sanitize::escaped,
        secrets::{mask_text, redacted},
    },
};

/// The longest arguments that a line shows, as JSON, in bytes.
const LONGEST_ARGUMENTS: usize = 64 << 10;

/// The same for the intent of a write.
const LONGEST_INTENDED: usize = 2 << 10;

/// The longest text that callers or upstreams had a say in, in characters.
const LONGEST_TEXT: usize = 512;

/// A call on its way to its line, which is written when this is dropped. Does nothing where no audit log is
/// kept.
#[derive(Debug)]
pub struct Line<'a> {
    /// What is found out about the call.
    pub record: &'a mut Record,
    kept: Option<Kept<'a>>,
}

#[derive(Debug)]
struct Kept<'a> {
    audit: &'a Audit,
    principal: &'a Principal,
    arrival: &'a Arrival,
    call: u64,
    time: SystemTime,
    started: Instant,
    digest: String,
    intended: bool,
}

impl<'a> Line<'a> {
    /// A call arrives.
    pub fn begin(
        audit: Option<&'a Audit>,
        principal: &'a Principal,
        arrival: &'a Arrival,
        args: &JsonMap,
        record: &'a mut Record,
    ) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let kept = audit.map(|audit| Kept {
            audit,
            principal,
            arrival,
            call: COUNT.fetch_add(1, Ordering::Relaxed),
            time: SystemTime::now(),
            started: Instant::now(),
            digest: audit.digest(&sorted(args)),
            intended: false,
        });
        Self { record, kept }
    }

    /// Its arguments have passed the gate.
    pub fn admitted(&mut self, published: &Published, args: &JsonMap) {
        if self.kept.is_none() {
            return;
        }
        let masked = redacted(published, args.clone());
        // What cannot be laid out is told when it is to be sent.
        let request = published.lay_out(masked.clone());
        self.record.target = request
            .ok()
            .map(|request| format!("{} {}", request.method, request.target));
        self.record.arguments = Some(masked);
    }

    /// It is about to be sent. The intent of a write is on record when this returns.
    ///
    /// # Errors
    /// It could not be put there, and writes do not go without.
    pub async fn intend(&mut self) -> Result<(), Unwritable> {
        let writes = self
            .record
            .operation
            .is_some_and(|operation| operation.effects() != Effect::Read);
        let Some(kept) = self.kept.as_mut().filter(|_| writes) else {
            return Ok(());
        };
        let entry = kept.entry(
            self.record,
            &OutcomeKind::Unknown.into(),
            LONGEST_INTENDED,
            None,
        );
        let recorded = kept.audit.intend(entry).await;
        kept.intended = recorded.is_ok();
        if kept.audit.0.writes_go_unrecorded {
            Ok(())
        } else {
            recorded
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(kept) = &self.kept else { return };
        if thread::panicking() {
            self.record.panicked();
        }
        let took = Some(kept.started.elapsed());
        let entry = kept.entry(self.record, &self.record.outcome, LONGEST_ARGUMENTS, took);
        kept.audit.write(entry, kept.intended);
    }
}

impl Kept<'_> {
    fn entry(
        &self,
        record: &Record,
        outcome: &CallOutcome,
        longest: usize,
        took: Option<Duration>,
    ) -> Entry {
        let Self {
            arrival,
            principal,
            call,
            ..
        } = self;
        let size = record.arguments.as_ref().map(size).unwrap_or_default();
        let (client, error) = (
            arrival.client.as_deref().map(mask_text),
            outcome.error.as_deref().map(mask_text),
        );
        let approval = record.approval.as_ref();
        let approved_by = approval.map(|approved| mask_text(&approved.by));
        let line = Body {
            time: written(self.time),
            call: call_id(*call),
            principal: cut(&principal.name),
            auth: principal.method.word(),
            client: client.as_deref().map(cut),
            transport: arrival.transport.as_str(),
            protocol: Some(arrival.protocol).filter(|protocol| *protocol != UNKNOWN),
            session: arrival
                .session
                .as_deref()
                .map(|id| match arrival.transport {
                    Transport::Stdio => id.to_owned(),
                    Transport::Http => shortened(id),
                }),
            request_id: arrival.id.as_str(),
            tool: record
                .operation
                .map_or(UNKNOWN, |operation| operation.name()),
            effect: record.operation.map(|operation| operation.effects().word()),
            target: record.target.as_deref().map(cut),
            arguments: record.arguments.as_ref().filter(|_| size <= longest),
            arguments_omitted_bytes: Some(size).filter(|size| *size > longest),
            unknown_fields: shown_of(&record.unknown_fields),
            arguments_hmac: &self.digest,
            decision: record.decision.as_str(),
            rule: record.rule.as_deref().map(cut),
            approval_method: approval.map(|approved| approved.method.as_str()),
            approved_by: approved_by.as_deref().map(cut),
            outcome: outcome.kind.as_str(),
            status: record.status,
            code: outcome.code.as_deref().map(cut),
            error: error.as_deref().map(cut),
            upstream_request_id: record.upstream_request_id.as_deref().map(cut),
            retries: record.retries,
            duration_ms: took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3),
        };
        // It has text for keys, and no numbers that JSON does not have.
        let body = serde_json::to_string(&line).unwrap_or_default();
        // Logs are looked at in terminals. As JSON it is the same.
        let body = escaped(&body).unwrap_or(body).into_bytes();
        Entry { call: *call, body }
    }
}

/// The first of the arguments that are not known.
fn shown_of(unknown: &[String]) -> &[String] {
    const MAX_SHOWN: usize = 100;
    unknown.get(..MAX_SHOWN).unwrap_or(unknown)
}

/// A line as it is told; `docs/audit.md` has the fields.
#[derive(Serialize)]
struct Body<'a> {
    time: String,
    call: String,
    principal: &'a str,
    auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    request_id: &'a str,
    tool: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a JsonMap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_omitted_bytes: Option<usize>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unknown_fields: &'a [String],
    arguments_hmac: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
}

/// A moment as lines have it: RFC 3339 in UTC, to the millisecond.
pub(super) fn written(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Names a call for ever: a random part for the process, then a count.
fn call_id(count: u64) -> String {
    static PROCESS: LazyLock<[u8; 8]> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Started with random numbers; should they fail later, the time tells processes apart.
        if getrandom::fill(&mut bytes).is_err() {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            bytes = u64::try_from(now.as_nanos())
                .unwrap_or_default()
                .to_be_bytes();
        }
        bytes
    });
    format!("{}-{count:x}", hex::encode(*PROCESS))
}

/// The arguments as JSON, keys in order, so that the same ones have the same digest.
fn sorted(args: &JsonMap) -> Vec<u8> {
    let mut args = Value::Object(args.clone());
    args.sort_all_objects();
    serde_json::to_vec(&args).unwrap_or_default()
}

fn size(args: &JsonMap) -> usize {
    serde_json::to_vec(args).map_or(0, |json| json.len())
}

/// Tells sessions apart; their ids would let whoever reads the log join them.
fn shortened(session: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(session));
    digest.truncate(16);
    digest
}

fn cut(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(LONGEST_TEXT)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}
