//! Entries of the journal: one for each write that was sent, with the state before it.

use std::{collections::BTreeMap, time::SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Maximum size of the arguments and of a state in an entry, as JSON in bytes. A larger one is left
/// out, and the entry says so.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Maximum size of an answer in an entry, as JSON in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Maximum length of a text from a caller or an upstream, in characters.
const MAX_TEXT_CHARS: usize = 512;

/// A change, as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Id of the entry, unique within a journal.
    pub id: String,
    /// Time at which the write was about to be sent.
    pub time: SystemTime,
    /// Base URL that the write was sent to, without credentials. `None` for entries of versions that did
    /// not keep it.
    pub upstream: Option<String>,
    /// The call, without documents.
    pub head: ChangeHead,
    /// Arguments and prior state. Lists leave it out.
    pub detail: Option<ChangeDetail>,
    /// Outcome of the call.
    pub outcome: ChangeOutcome,
    /// The end of the call, if it is known.
    pub result: ChangeResult,
    /// Answer of the upstream, with secrets masked. Lists leave it out.
    pub answer: Option<Value>,
    /// Id of the change that this one undoes.
    pub undoes: Option<String>,
    /// Id of the latest change that undoes this one.
    pub undone_by: Option<String>,
}

/// The caller and the target of a change.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeHead {
    /// The caller.
    pub caller: ChangeCaller,
    /// Name of the operation.
    pub operation: String,
    /// Effect of the operation.
    pub effect: String,
    /// Arguments that say which resource is meant, with their values.
    pub target: BTreeMap<String, String>,
    /// Names of the arguments that change something.
    pub fields: Vec<String>,
    /// Name of the operation that read the prior state.
    #[serde(default)]
    pub read: Option<String>,
    /// True if the prior state is untrusted content.
    #[serde(default)]
    pub is_untrusted: bool,
}

/// The caller of a change.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeCaller {
    /// Name of the caller.
    pub principal: String,
    /// Method of authentication.
    pub auth: String,
    /// Name and version that the client gives for itself.
    pub client: Option<String>,
    /// Transport of the request.
    pub transport: String,
    /// Digest of the session's id; over standard input and output the id itself.
    pub session: Option<String>,
    /// Id of the request.
    pub request_id: String,
}

/// The documents of a change before it was sent. Secrets are left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeDetail {
    /// Arguments that were sent, with secrets blanked; `None` if they are too large.
    pub arguments: Option<Map<String, Value>>,
    /// Arguments of the read of the prior state.
    #[serde(default)]
    pub read_arguments: Map<String, Value>,
    /// State before the write, as its caller may see it.
    pub before: Option<Value>,
    /// Reason why the prior state is unknown.
    #[serde(default)]
    pub unknown_reason: Option<String>,
}

/// The end of a change.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeResult {
    /// HTTP status of the response.
    pub status: Option<u16>,
    /// Description of an error.
    pub error: Option<String>,
    /// Ids of the resource that was created.
    #[serde(default)]
    pub created: BTreeMap<String, String>,
    /// Version that the write made.
    pub version: Option<String>,
}

/// A change that is about to be sent.
#[derive(Clone, Debug, Default)]
pub struct NewChange {
    /// The key by which callers are kept apart.
    pub owner: String,
    /// Base URL that the write is sent to, without credentials.
    pub upstream: String,
    /// The call.
    pub head: ChangeHead,
    /// Documents of the call.
    pub detail: ChangeDetail,
    /// Id of the change that this one undoes.
    pub undoes: Option<String>,
    /// True if the change may be undone although another one undoes it already.
    pub is_forced: bool,
}

/// The outcome of a change.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The write was about to be sent, and no end of it is known: it is under way, or the process
    /// ended meanwhile.
    Pending,
    /// The upstream confirmed the write.
    Done,
    /// The upstream refused the write.
    Rejected,
    /// The write was sent and may have taken effect, but nothing confirms it.
    InDoubt,
    /// The write was not sent, or did not arrive.
    Failed,
}

impl ChangeOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Done,
        Self::Rejected,
        Self::InDoubt,
        Self::Failed,
    ];

    /// Returns the value in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::InDoubt => "in_doubt",
            Self::Failed => "failed",
        }
    }

    /// Returns the outcome with this value.
    pub fn from_value(value: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == value)
    }

    /// Returns true if the write may have changed something.
    pub const fn may_have_taken_effect(self) -> bool {
        match self {
            Self::Pending | Self::Done | Self::InDoubt => true,
            Self::Rejected | Self::Failed => false,
        }
    }
}

impl Change {
    /// Returns the time as RFC 3339 in UTC.
    pub fn time_text(&self) -> String {
        DateTime::<Utc>::from(self.time).to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Truncates a text from a caller or an upstream.
pub fn truncate(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

/// Returns the size of a document, as JSON in bytes.
pub fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}
