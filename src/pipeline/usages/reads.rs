//! Reads for a question about usages, bounded in number, time and concurrency.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use portkey_operation::JsonMap;
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::UsageBounds;
use crate::{
    pipeline::{
        CallError,
        redacted_fields::{find_redacted_fields, name_fields},
    },
    security::sanitize::first_chars,
};

/// Maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 160;
/// Maximum number of notes about what was not seen.
const MAX_NOTES: usize = 8;

/// A caller's way to operations that read.
pub trait UsageReads: Sync {
    /// Calls an operation that reads.
    fn read(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> impl Future<Output = Result<ReadAnswer, ReadFailure>> + Send;
}

/// The answer of a read.
#[derive(Clone, Debug)]
pub struct ReadAnswer {
    /// The answer, as the caller may see it.
    pub value: Value,
    /// True if a policy redacted values of it.
    pub is_redacted: bool,
}

/// The reason why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The upstream refused it.
    #[error("refused with {status} ({message})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Message of the upstream.
        message: String,
    },
    /// Its arguments are invalid.
    #[error("{0}")]
    Invalid(String),
    /// This server denies it, or it failed.
    #[error("{0}")]
    Failed(String),
    /// A setting or a policy wants a dry run of it.
    #[error("a policy wants a dry run of it")]
    DryRun,
    /// The bound of calls is reached.
    #[error("not read: the bound of {0} calls is reached")]
    CallBound(usize),
    /// The time is over.
    #[error("not read within {0} s")]
    Timeout(u64),
}

impl From<CallError> for ReadFailure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Upstream(_, refusal) => Self::Refused {
                status: refusal.status.as_u16(),
                message: refusal.message.clone(),
            },
            CallError::InvalidArguments(error) => Self::Invalid(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What was not seen: reasons by operation, with the number of reads, and other notes.
#[derive(Debug, Default)]
struct Unseen {
    reads: BTreeMap<(&'static str, String), usize>,
    notes: Vec<String>,
    /// Reasons why the key cannot reach everything, whatever it reads.
    beyond: Option<String>,
    facts: Vec<String>,
}

/// Reads with their bounds, and what they did not show.
pub(super) struct BoundedReads<'a, R> {
    reads: &'a R,
    bounds: UsageBounds,
    deadline: Instant,
    permits: Semaphore,
    calls: AtomicUsize,
    unseen: Mutex<Unseen>,
}

impl<'a, R: UsageReads> BoundedReads<'a, R> {
    pub(super) fn new(reads: &'a R, bounds: UsageBounds) -> Self {
        Self {
            reads,
            bounds,
            deadline: Instant::now() + bounds.timeout,
            permits: Semaphore::new(bounds.concurrency.max(1)),
            calls: AtomicUsize::new(0),
            unseen: Mutex::default(),
        }
    }

    /// Calls an operation that reads.
    pub(super) async fn read(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Value, ReadFailure> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.ok();
        let timeout = ReadFailure::Timeout(self.bounds.timeout.as_secs());
        if Instant::now() >= self.deadline {
            return Err(timeout);
        }
        let is_counted = self
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| {
                (calls < self.bounds.max_calls).then_some(calls + 1)
            });
        if is_counted.is_err() {
            return Err(ReadFailure::CallBound(self.bounds.max_calls));
        }
        let read = timeout_at(self.deadline, self.reads.read(operation, args));
        let answer = read.await.map_err(|_| timeout)??;
        if answer.is_redacted {
            let fields = name_fields(&find_redacted_fields(&answer.value));
            self.add_note(format!(
                "`{operation}`: a policy redacts {fields}, so that usages may be missing"
            ));
        }
        Ok(answer.value)
    }

    /// Returns the number of calls that were made.
    pub(super) fn count(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Unseen> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a read did not show what it should.
    pub(super) fn add_unseen(&self, operation: &'static str, failure: &ReadFailure) {
        let reason = first_chars(&failure.to_string(), MAX_REASON_CHARS).to_owned();
        *self.lock().reads.entry((operation, reason)).or_default() += 1;
    }

    /// Notes something else that was not seen.
    pub(super) fn add_note(&self, note: String) {
        let mut unseen = self.lock();
        if !unseen.notes.contains(&note) {
            unseen.notes.push(note);
        }
    }

    /// Notes what the key cannot reach.
    pub(super) fn set_beyond(&self, what: String) {
        self.lock().beyond = Some(what);
    }

    /// Notes a fact that no count shows.
    pub(super) fn add_fact(&self, fact: &str) {
        self.lock().facts.push(fact.to_owned());
    }

    /// Returns the facts that no count shows.
    pub(super) fn facts(&self) -> Vec<String> {
        self.lock().facts.clone()
    }

    pub(super) fn has_unseen(&self) -> bool {
        let unseen = self.lock();
        !unseen.reads.is_empty() || !unseen.notes.is_empty()
    }

    /// Returns what was not seen, in sentences.
    pub(super) fn into_unseen(self) -> Vec<String> {
        let Unseen {
            reads,
            notes,
            beyond,
            ..
        } = self
            .unseen
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let reads = reads
            .into_iter()
            .map(|((operation, reason), count)| match count {
                1 => format!("`{operation}`: {reason}"),
                _ => format!("`{operation}`, {count} times: {reason}"),
            });
        let mut all: Vec<String> = beyond.into_iter().chain(reads).chain(notes).collect();
        let more = all.len().saturating_sub(MAX_NOTES);
        if more > 0 {
            all.truncate(MAX_NOTES);
            all.push(format!("and {more} more"));
        }
        all
    }
}
