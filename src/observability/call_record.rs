//! What is found out about a call on its way, for whoever observes it: the log, the audit log, the metrics.

use std::sync::Arc;

use portkey_operation::{JsonMap, Operation};
use portkey_policy::Noted;

/// The outcome of a write that was sent and may have taken effect, although nothing says that it did.
pub const UNKNOWN_OUTCOME: &str = "unknown";

/// What is found out about a call on its way.
#[derive(Clone, Debug)]
pub struct Record {
    /// The operation that the name leads to.
    pub operation: Option<&'static Operation>,
    /// Method and path with its arguments, secrets masked; only where the call is audited.
    pub target: Option<String>,
    /// The arguments as admitted, secrets masked; only where the call is audited.
    pub arguments: Option<JsonMap>,
    /// What was decided about the call: `allow`, `deny` or another verb of the policy.
    pub decision: &'static str,
    /// The rule or setting that decided so; none where nothing had a say.
    pub rule: Option<Arc<str>>,
    /// What rules would have decided that only tell.
    pub shadows: Vec<Noted>,
    /// Who approved the call, and how.
    pub approval: Option<Arc<str>>,
    /// The HTTP status of the upstream's answer.
    pub status: Option<u16>,
    /// How often the request went out once more, where there was an answer.
    pub retries: Option<usize>,
    /// What the upstream calls the request.
    pub upstream_request_id: Option<String>,
    /// Whether strangers wrote what the answer holds.
    pub untrusted: bool,
    /// Paths of arguments that this version does not know and passes on.
    pub unknown_fields: Vec<String>,
    /// What the caller is told beside the answer.
    pub warnings: Vec<String>,
    /// Times that the caller did not write as RFC 3339, by argument, as they are sent.
    pub times: Vec<(String, String)>,
    /// Whether a write was sent.
    pub is_sent: bool,
    /// What became of the call.
    pub end: End,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            operation: None,
            target: None,
            arguments: None,
            decision: "allow",
            rule: None,
            shadows: Vec::new(),
            approval: None,
            status: None,
            retries: None,
            upstream_request_id: None,
            untrusted: false,
            unknown_fields: Vec::new(),
            warnings: Vec::new(),
            times: Vec::new(),
            is_sent: false,
            end: End::default(),
        }
    }
}

impl Record {
    /// A rule or setting had a say, and said this.
    pub fn decided(&mut self, decision: &'static str, rule: impl Into<Arc<str>>) {
        self.decision = decision;
        self.rule = Some(rule.into());
    }

    /// A write is about to be sent. If nothing else is ever known of it, its outcome is unknown.
    pub fn sends_write(&mut self) {
        self.is_sent = true;
        self.end = UNKNOWN_OUTCOME.into();
    }

    /// The call ended in a panic.
    pub fn panicked(&mut self) {
        self.end = End::failed("a panic");
        if self.is_sent {
            self.end.outcome = UNKNOWN_OUTCOME;
        }
    }

    /// Something of ours said no to the call.
    pub fn denied_by(&mut self, rule: impl Into<Arc<str>>) {
        self.decided("deny", rule);
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct End {
    /// In a word, which logs and metrics share.
    pub outcome: &'static str,
    /// The upstream's code for its refusal.
    pub code: Option<String>,
    /// What went wrong, where it is not the caller's to mend.
    pub error: Option<String>,
}

/// Unless it is said to end otherwise, a call was cancelled.
impl Default for End {
    fn default() -> Self {
        "cancelled".into()
    }
}

impl From<&'static str> for End {
    fn from(outcome: &'static str) -> Self {
        Self {
            outcome,
            code: None,
            error: None,
        }
    }
}

impl End {
    /// It came to nothing on the way, for a reason of ours or the network's.
    pub fn failed(error: impl ToString) -> Self {
        // It stands in logs, and an upstream or a caller may have had a say in it.
        const MAX_CHARS: usize = 500;
        let error = error.to_string().chars().take(MAX_CHARS).collect();
        Self {
            error: Some(error),
            ..Self::from("failed")
        }
    }
}
