//! Audit entries of calls: collected while the call runs, serialized when it ends.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use portkey_operation::{CompiledOperation, Effect, JsonMap};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AuditEntry, AuditLog, AuditUnavailable};
use crate::{
    auth::principal::Principal,
    observability::{
        call_record::{CallOutcome, CallRecord, OutcomeKind},
        request::{RequestInfo, Transport, UNKNOWN_NAME},
    },
    security::{
        sanitize::escape_invisible,
        secrets::{mask_text, redact_arguments},
    },
};

/// Maximum size of the arguments in an entry, as JSON in bytes.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;

/// Maximum size of the arguments in the intent of a write, as JSON in bytes.
const MAX_INTENT_ARGUMENT_BYTES: usize = 2 << 10;

/// Maximum length of texts from callers or upstreams, in characters.
const MAX_TEXT_CHARS: usize = 512;

/// The audit entry of a call in progress. [`Self::finish`] writes the entry; without an audit log,
/// nothing is written.
///
/// Dropping it unfinished writes the entry of a call that was cancelled or panicked.
#[derive(Debug)]
pub struct PendingEntry<'a> {
    /// The record that the entry is built from.
    pub record: &'a mut CallRecord,
    /// `None` without an audit log, and once the entry is written.
    context: Option<EntryContext<'a>>,
}

#[derive(Debug)]
struct EntryContext<'a> {
    audit: &'a AuditLog,
    principal: &'a Principal,
    request_info: &'a RequestInfo,
    call: u64,
    time: SystemTime,
    started: Instant,
    digest: String,
    has_intent: bool,
}

impl<'a> PendingEntry<'a> {
    /// Starts the entry of a call. The digest is computed over the arguments as received.
    pub fn begin(
        audit: Option<&'a AuditLog>,
        principal: &'a Principal,
        request_info: &'a RequestInfo,
        args: &JsonMap,
        record: &'a mut CallRecord,
    ) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        // A call that is repeated with an approval has the record of the first attempt.
        record.outcome = CallOutcome::default();
        let context = audit.map(|audit| EntryContext {
            audit,
            principal,
            request_info,
            call: COUNT.fetch_add(1, Ordering::Relaxed),
            time: SystemTime::now(),
            started: Instant::now(),
            digest: audit.digest(&to_canonical_json(args)),
            has_intent: false,
        });
        Self { record, context }
    }

    /// Records the target and the validated arguments, with secrets masked.
    pub fn record_arguments(&mut self, published: &CompiledOperation, args: &JsonMap) {
        if self.context.is_none() {
            return;
        }
        let masked = redact_arguments(published, args.clone());
        // If no request can be built, sending it reports the error.
        let request = published.build_request(masked.clone());
        self.record.target = request
            .ok()
            .map(|request| format!("{} {}", request.method, request.target));
        self.record.arguments = Some(masked);
    }

    /// Writes the intent of a write to the audit log before it is sent, and waits until it is
    /// recorded.
    ///
    /// # Errors
    /// Returns an error if the intent cannot be recorded and writes must not be sent without it.
    pub async fn record_intent(&mut self) -> Result<(), AuditUnavailable> {
        let writes = self
            .record
            .operation
            .is_some_and(|operation| operation.effect() != Effect::Read);
        let Some(context) = self.context.as_mut().filter(|_| writes) else {
            return Ok(());
        };
        let entry = context.build_entry(
            self.record,
            &OutcomeKind::Unknown.into(),
            MAX_INTENT_ARGUMENT_BYTES,
            None,
        );
        let recorded = context.audit.submit_intent(entry).await;
        context.has_intent = recorded.is_ok();
        if context.audit.0.allow_unrecorded_writes {
            Ok(())
        } else {
            recorded
        }
    }

    /// Sets the outcome of the call and writes the entry.
    pub fn finish(mut self, outcome: CallOutcome) {
        self.record.outcome = outcome;
        self.write();
    }

    /// Writes the entry, unless there is no audit log or the entry is written already.
    fn write(&mut self) {
        let Some(context) = self.context.take() else {
            return;
        };
        let took = Some(context.started.elapsed());
        let entry =
            context.build_entry(self.record, &self.record.outcome, MAX_ARGUMENT_BYTES, took);
        context.audit.submit(entry, context.has_intent);
    }
}

impl Drop for PendingEntry<'_> {
    /// Writes the entry of a call whose future was dropped, or that panicked.
    fn drop(&mut self) {
        if self.context.is_some() && thread::panicking() {
            self.record.outcome = CallOutcome::panicked(self.record.is_sent);
        }
        self.write();
    }
}

impl EntryContext<'_> {
    fn build_entry(
        &self,
        record: &CallRecord,
        outcome: &CallOutcome,
        max_argument_bytes: usize,
        took: Option<Duration>,
    ) -> AuditEntry {
        let Self {
            request_info,
            principal,
            call,
            ..
        } = self;
        let size = record
            .arguments
            .as_ref()
            .map(json_bytes)
            .unwrap_or_default();
        let (client, error) = (
            request_info.client.as_deref().map(mask_text),
            outcome.error.as_deref().map(mask_text),
        );
        let approval = record.approval.as_ref();
        let approved_by = approval.map(|approved| mask_text(&approved.by));
        let line = EntryBody {
            time: format_time(self.time),
            call: call_id(*call),
            principal: truncate(&principal.name),
            auth: principal.method.as_str(),
            client: client.as_deref().map(truncate),
            transport: request_info.transport.as_str(),
            protocol: Some(request_info.protocol).filter(|protocol| *protocol != UNKNOWN_NAME),
            session: session_label(request_info),
            request_id: request_info.id.as_str(),
            tool: match (record.operation, &record.item) {
                (Some(operation), _) => operation.name(),
                (None, Some(item)) => item.method,
                (None, None) => UNKNOWN_NAME,
            },
            effect: record
                .operation
                .map(|operation| operation.effect().as_str()),
            target: record
                .target
                .as_deref()
                .or(record.item.as_ref().map(|item| item.name.as_str()))
                .map(truncate),
            arguments: record
                .arguments
                .as_ref()
                .filter(|_| size <= max_argument_bytes),
            arguments_omitted_bytes: Some(size).filter(|size| *size > max_argument_bytes),
            unknown_fields: first_unknown_fields(&record.unknown_fields),
            arguments_hmac: &self.digest,
            decision: record.decision.as_str(),
            rule: record.rule.as_deref().map(truncate),
            approval_method: approval.map(|approved| approved.method.as_str()),
            approved_by: approved_by.as_deref().map(truncate),
            outcome: outcome.kind.as_str(),
            status: record.status,
            code: outcome.code.as_deref().map(truncate),
            error: error.as_deref().map(truncate),
            upstream_request_id: record.upstream_request_id.as_deref().map(truncate),
            retries: record.retries,
            duration_ms: took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3),
        };
        // JSON keys are strings and all numbers are finite, so this always serializes.
        let body = serde_json::to_string(&line).unwrap_or_default();
        // Control characters are escaped, because logs are viewed in terminals. The JSON value
        // stays the same.
        let body = escape_invisible(&body).unwrap_or(body).into_bytes();
        AuditEntry { call: *call, body }
    }
}

/// Returns the first hundred unknown fields.
fn first_unknown_fields(unknown: &[String]) -> &[String] {
    const MAX_SHOWN: usize = 100;
    unknown.get(..MAX_SHOWN).unwrap_or(unknown)
}

/// The serialized form of an entry; `docs/audit.md` describes the fields.
#[derive(Serialize)]
struct EntryBody<'a> {
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

/// Formats a time as RFC 3339 in UTC, with milliseconds.
pub(super) fn format_time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns a globally unique call id: a random part per process, then the counter.
fn call_id(count: u64) -> String {
    static PROCESS: LazyLock<[u8; 8]> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Randomness was available at start. If it fails later, the time distinguishes processes.
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

/// Serializes arguments with sorted keys, so that equal arguments have equal digests.
fn to_canonical_json(args: &JsonMap) -> Vec<u8> {
    let mut args = Value::Object(args.clone());
    args.sort_all_objects();
    serde_json::to_vec(&args).unwrap_or_default()
}

fn json_bytes(args: &JsonMap) -> usize {
    serde_json::to_vec(args).map_or(0, |json| json.len())
}

/// Returns the name of a session in the log.
pub(crate) fn session_label(request_info: &RequestInfo) -> Option<String> {
    let id = request_info.session.as_deref()?;
    Some(match request_info.transport {
        Transport::Stdio => id.to_owned(),
        Transport::Http | Transport::Rest => digest_session(id),
    })
}

/// Returns a digest that distinguishes sessions. The id itself would let a reader of the log join
/// the session.
fn digest_session(session: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(session));
    digest.truncate(16);
    digest
}

fn truncate(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(MAX_TEXT_CHARS)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}
