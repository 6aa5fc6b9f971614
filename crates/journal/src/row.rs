//! Columns of an entry, as all stores have them: documents are JSON texts, times milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use crate::{
    entry::{Change, ChangeHead, ChangeOutcome, ChangeResult},
    error::JournalError,
};

/// An entry without its documents, as it is stored.
pub(crate) struct HeadRow {
    pub(crate) id: String,
    pub(crate) time: i64,
    pub(crate) outcome: String,
    pub(crate) undoes: Option<String>,
    pub(crate) head: String,
    pub(crate) result: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) undone_by: Option<String>,
}

impl HeadRow {
    /// Parses the columns.
    ///
    /// # Errors
    /// Returns an error if a column has a value that this version does not know.
    pub(crate) fn into_change(self) -> Result<Change, JournalError> {
        let outcome = ChangeOutcome::from_value(&self.outcome);
        Ok(Change {
            id: self.id,
            time: from_millis(self.time),
            upstream: self.upstream,
            head: from_json(&self.head)?,
            detail: None,
            outcome: outcome.ok_or(JournalError::Unreadable)?,
            result: match self.result.as_deref() {
                Some(result) => from_json(result)?,
                None => ChangeResult::default(),
            },
            answer: None,
            undoes: self.undoes,
            undone_by: self.undone_by,
        })
    }
}

/// Returns what a filter by caller searches: the names of the caller and of its client.
pub(crate) fn caller_text(head: &ChangeHead) -> String {
    let client = head.caller.client.as_deref().unwrap_or_default();
    format!("{}\n{client}", head.caller.principal)
}

/// Joins values so that a whole one can be found.
pub(crate) fn join_values<'a>(values: impl Iterator<Item = &'a String>) -> String {
    let mut joined = String::from("\n");
    for value in values {
        joined.push_str(value);
        joined.push('\n');
    }
    joined
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    // The keys of all maps are strings, so this always serializes.
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|_| JournalError::Unreadable)
}

pub(crate) fn to_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn from_millis(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
