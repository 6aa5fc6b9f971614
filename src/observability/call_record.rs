//! Call records: the facts about a tool call for the log, the audit log and the metrics, with the
//! values that they share. `docs/observability.md` lists the values.

use std::{sync::Arc, time::Instant};

use portkey_operation::{JsonMap, Operation};
use portkey_policy::{DecisionKind, RuleMatch};
use serde_json::Value;

/// The facts collected about a tool call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The operation that the tool's name resolved to.
    pub operation: Option<&'static Operation>,
    /// The prompt or resource that is read, in place of an operation.
    pub item: Option<RecordedItem>,
    /// Method, path and query, with secrets masked; set only if the call is audited.
    pub target: Option<String>,
    /// The validated arguments, with secrets masked; set only if the call is audited.
    pub arguments: Option<JsonMap>,
    /// The decision about the call.
    pub decision: DecisionKind,
    /// The rule or setting that made the decision; `None` if none applied.
    pub rule: Option<Arc<str>>,
    /// Shadow rules that matched: rules that are reported and not enforced.
    pub shadow_matches: Vec<RuleMatch>,
    /// The human's approval, with its method.
    pub approval: Option<ApprovalRecord>,
    /// HTTP status of the upstream's response.
    pub status: Option<u16>,
    /// Number of retries, if there was a response.
    pub retries: Option<usize>,
    /// The upstream's id of the request.
    pub upstream_request_id: Option<String>,
    /// True if the response contains untrusted content.
    pub untrusted: bool,
    /// True if a policy redacted values of the result.
    pub is_redacted: bool,
    /// Paths of arguments that this version does not know and passes on.
    pub unknown_fields: Vec<String>,
    /// Warnings that the caller gets with the result.
    pub warnings: Vec<String>,
    /// Times that were not written as RFC 3339, by argument, in the form that is sent.
    pub times: Vec<(String, String)>,
    /// The state that was read to compute the call, for the journal.
    pub prior_state: Option<Box<PriorState>>,
    /// Id of the change in the journal that the call undoes.
    pub undoes: Option<String>,
    /// True if the change may be undone although another one undoes it already.
    pub is_forced_undo: bool,
    /// Hidden texts that the call sends again, for the journal, which must not keep them.
    pub hidden_texts: Vec<String>,
    /// Id of the call's own change in the journal.
    pub change_id: Option<String>,
    /// True if a write was sent.
    pub is_sent: bool,
    /// The outcome of the call, as far as it is known: `Cancelled` until a write is sent, which makes
    /// it `Unknown`, or the call ends.
    pub outcome: CallOutcome,
}

/// A prompt or resource under the policies.
#[derive(Clone, Debug)]
pub struct RecordedItem {
    /// MCP method that reads it.
    pub method: &'static str,
    /// Name or URI, with keys masked.
    pub name: String,
}

impl Default for CallRecord {
    fn default() -> Self {
        Self {
            operation: None,
            item: None,
            target: None,
            arguments: None,
            decision: DecisionKind::Allow,
            rule: None,
            shadow_matches: Vec::new(),
            approval: None,
            status: None,
            retries: None,
            upstream_request_id: None,
            untrusted: false,
            is_redacted: false,
            unknown_fields: Vec::new(),
            warnings: Vec::new(),
            times: Vec::new(),
            prior_state: None,
            undoes: None,
            is_forced_undo: false,
            hidden_texts: Vec::new(),
            change_id: None,
            is_sent: false,
            outcome: CallOutcome::default(),
        }
    }
}

impl CallRecord {
    /// Sets the decision and the rule or setting that made it.
    pub fn set_decision(&mut self, decision: DecisionKind, rule: impl Into<Arc<str>>) {
        self.decision = decision;
        self.rule = Some(rule.into());
    }

    /// Marks a write as sent. The outcome is `Unknown` until a response tells otherwise.
    pub fn mark_write_sent(&mut self) {
        self.is_sent = true;
        self.outcome = OutcomeKind::Unknown.into();
    }

    /// Sets the decision to `Deny`, by a rule or check of this server.
    pub fn set_denied_by(&mut self, rule: impl Into<Arc<str>>) {
        self.set_decision(DecisionKind::Deny, rule);
    }
}

/// The state of a resource before a write, as its caller may see it.
#[derive(Clone, Debug)]
pub struct PriorState {
    /// Name of the operation that read it.
    pub read: &'static str,
    /// Arguments of the read.
    pub read_arguments: JsonMap,
    /// The answer of the read.
    pub state: Value,
    /// True if it is untrusted content.
    pub is_untrusted: bool,
    /// Time of the read.
    pub read_at: Instant,
}

/// The outcome of a call.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// Kind of the outcome; logs, audit entries and metrics share its values.
    pub kind: OutcomeKind,
    /// Reason why this server rejected the call, if it did.
    pub rejection: Option<RejectionReason>,
    /// The upstream's error code.
    pub code: Option<String>,
    /// Description of an error that the caller cannot correct.
    pub error: Option<String>,
}

/// A call counts as cancelled until another outcome is set.
impl Default for CallOutcome {
    fn default() -> Self {
        OutcomeKind::Cancelled.into()
    }
}

impl From<OutcomeKind> for CallOutcome {
    fn from(kind: OutcomeKind) -> Self {
        Self {
            kind,
            rejection: None,
            code: None,
            error: None,
        }
    }
}

impl CallOutcome {
    /// Creates the outcome of a call that failed inside this server or in the network.
    pub fn failed(error: impl ToString) -> Self {
        // The text is logged, and callers and upstreams can influence its length.
        const MAX_CHARS: usize = 500;
        let error = error.to_string().chars().take(MAX_CHARS).collect();
        Self {
            error: Some(error),
            ..Self::from(OutcomeKind::Failed)
        }
    }

    /// Creates the outcome of a call that panicked: failed, or unknown if a write was sent.
    pub fn panicked(is_sent: bool) -> Self {
        let outcome = Self::failed("a panic");
        match is_sent {
            true => Self {
                kind: OutcomeKind::Unknown,
                ..outcome
            },
            false => outcome,
        }
    }

    /// Creates the outcome of a call that this server rejected.
    pub fn rejected(kind: OutcomeKind, reason: RejectionReason) -> Self {
        Self {
            rejection: Some(reason),
            ..Self::from(kind)
        }
    }
}

/// The kinds of call outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The upstream returned a success, or a built-in tool a result.
    Answered,
    /// The upstream returned an error.
    Refused,
    /// The tool is not available to this caller.
    Withheld,
    /// A policy denies the call.
    Forbidden,
    /// The arguments or the tool's name are invalid.
    Rejected,
    /// A dry run: the request was described and not sent.
    DryRun,
    /// The client has to ask its user for approval.
    Asked,
    /// A human has been asked for approval elsewhere.
    Waiting,
    /// No human approved the call, or another precondition is not met: a proven key, the audit log,
    /// a permitted secret.
    Denied,
    /// The client cancelled the call or disconnected.
    Cancelled,
    /// The call failed inside this server or in the network.
    Failed,
    /// A write was sent and may have taken effect, but nothing confirms it.
    Unknown,
}

impl OutcomeKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Answered,
        Self::Refused,
        Self::Withheld,
        Self::Forbidden,
        Self::Rejected,
        Self::DryRun,
        Self::Asked,
        Self::Waiting,
        Self::Denied,
        Self::Cancelled,
        Self::Failed,
        Self::Unknown,
    ];

    /// Returns the value in logs, audit entries and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Withheld => "withheld",
            Self::Forbidden => "forbidden",
            Self::Rejected => "rejected",
            Self::DryRun => "dry_run",
            Self::Asked => "asked",
            Self::Waiting => "waiting",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The way in which a human approved a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalMethod {
    /// In a form shown by the client.
    Form,
    /// On a ticket, elsewhere.
    Ticket,
    /// At the terminal from which the call was made.
    Terminal,
}

impl ApprovalMethod {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Form, Self::Ticket, Self::Terminal];

    /// Returns the value in audit entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Ticket => "ticket",
            Self::Terminal => "terminal",
        }
    }
}

/// An approval, as audit entries record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// The way in which the human approved.
    pub method: ApprovalMethod,
    /// The approver, as far as known; for a form, the caller whose client showed it.
    pub by: String,
}

/// A reason why this server rejected a request without sending anything upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// The caller has no valid credential, or the host or origin is not allowed.
    Access,
    /// A limit is reached: concurrent requests, requests over time, or connections.
    Limit,
    /// The request is too large.
    Size,
    /// The request took too long to arrive.
    Slow,
    /// The request is malformed.
    Malformed,
    /// A dependency is unavailable: the store, an authorization server, memory for a session, or
    /// the audit log.
    Unavailable,
    /// An internal error.
    Internal,
    /// The tool does not exist.
    UnknownTool,
    /// The tool is not available to this caller.
    Withheld,
    /// The call would reveal a secret.
    Secret,
    /// A policy denies the call.
    Policy,
    /// The arguments are invalid.
    Arguments,
    /// No human approved the call.
    Approval,
}

impl RejectionReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::Access,
        Self::Limit,
        Self::Size,
        Self::Slow,
        Self::Malformed,
        Self::Unavailable,
        Self::Internal,
        Self::UnknownTool,
        Self::Withheld,
        Self::Secret,
        Self::Policy,
        Self::Arguments,
        Self::Approval,
    ];

    /// Returns the value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Limit => "limit",
            Self::Size => "size",
            Self::Slow => "slow",
            Self::Malformed => "malformed",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::UnknownTool => "unknown_tool",
            Self::Withheld => "withheld",
            Self::Secret => "secret",
            Self::Policy => "policy",
            Self::Arguments => "arguments",
            Self::Approval => "approval",
        }
    }
}

/// The kinds of failed requests, as the convention for `error.type` defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The client cancelled the request or disconnected.
    Cancelled,
    /// The tool's result is an error.
    ToolError,
    /// The parameters are invalid, or name something that does not exist.
    InvalidParams,
    /// The method does not exist.
    MethodNotFound,
    /// An internal error.
    InternalError,
    /// The resource does not exist.
    ResourceNotFound,
    /// Any other error.
    Other,
}

impl ErrorType {
    /// All types.
    pub const ALL: [Self; 7] = [
        Self::Cancelled,
        Self::ToolError,
        Self::InvalidParams,
        Self::MethodNotFound,
        Self::InternalError,
        Self::ResourceNotFound,
        Self::Other,
    ];

    /// Returns the value in metrics and traces: a JSON-RPC code where there is one, else a value of
    /// the convention.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::ToolError => "tool_error",
            Self::InvalidParams => "-32602",
            Self::MethodNotFound => "-32601",
            Self::InternalError => "-32603",
            Self::ResourceNotFound => "-32002",
            Self::Other => "_OTHER",
        }
    }
}
