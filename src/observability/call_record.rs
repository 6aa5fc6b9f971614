//! What is found out about a call on its way, for whoever observes it: the log, the audit log, the metrics; and
//! the values that they share. `docs/observability.md` lists the values.

use std::sync::Arc;

use portkey_operation::{JsonMap, Operation};
use portkey_policy::{DecisionKind, Noted};

/// What is found out about a call on its way.
#[derive(Clone, Debug)]
pub struct Record {
    /// The operation that the name leads to.
    pub operation: Option<&'static Operation>,
    /// Method and path with its arguments, secrets masked; only where the call is audited.
    pub target: Option<String>,
    /// The arguments as admitted, secrets masked; only where the call is audited.
    pub arguments: Option<JsonMap>,
    /// What was decided about the call.
    pub decision: DecisionKind,
    /// The rule or setting that decided so; none where nothing had a say.
    pub rule: Option<Arc<str>>,
    /// What rules would have decided that only tell.
    pub shadows: Vec<Noted>,
    /// Who approved the call, and how.
    pub approval: Option<Approved>,
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
    pub outcome: CallOutcome,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            operation: None,
            target: None,
            arguments: None,
            decision: DecisionKind::Allow,
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
            outcome: CallOutcome::default(),
        }
    }
}

impl Record {
    /// A rule or setting had a say, and said this.
    pub fn decided(&mut self, decision: DecisionKind, rule: impl Into<Arc<str>>) {
        self.decision = decision;
        self.rule = Some(rule.into());
    }

    /// A write is about to be sent. If nothing else is ever known of it, its outcome is unknown.
    pub fn sends_write(&mut self) {
        self.is_sent = true;
        self.outcome = OutcomeKind::Unknown.into();
    }

    /// The call ended in a panic.
    pub fn panicked(&mut self) {
        self.outcome = CallOutcome::failed("a panic");
        if self.is_sent {
            self.outcome.kind = OutcomeKind::Unknown;
        }
    }

    /// Something of ours said no to the call.
    pub fn denied_by(&mut self, rule: impl Into<Arc<str>>) {
        self.decided(DecisionKind::Deny, rule);
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// The kind, which logs, audits and metrics share.
    pub kind: OutcomeKind,
    /// Why this server did not serve the call, where it did not.
    pub rejection: Option<RejectionReason>,
    /// The upstream's code for its refusal.
    pub code: Option<String>,
    /// What went wrong, where the caller cannot mend it.
    pub error: Option<String>,
}

/// Unless it is said to end otherwise, a call was cancelled.
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
    /// It came to nothing on the way, for a reason of ours or the network's.
    pub fn failed(error: impl ToString) -> Self {
        // It stands in logs, and an upstream or a caller may have had a say in it.
        const MAX_CHARS: usize = 500;
        let error = error.to_string().chars().take(MAX_CHARS).collect();
        Self {
            error: Some(error),
            ..Self::from(OutcomeKind::Failed)
        }
    }

    /// This server did not serve it, for this reason.
    pub fn rejected(kind: OutcomeKind, reason: RejectionReason) -> Self {
        Self {
            rejection: Some(reason),
            ..Self::from(kind)
        }
    }
}

/// The kinds of outcomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The upstream answered, or a built-in tool did.
    Answered,
    /// The upstream refused the call.
    Refused,
    /// The tool is not available to this caller.
    Withheld,
    /// A policy forbids the call.
    Forbidden,
    /// The arguments or the name are invalid.
    Rejected,
    /// The call was shown, and not sent.
    DryRun,
    /// The client is to ask its user for approval.
    Asked,
    /// A human elsewhere has been asked for approval.
    Waiting,
    /// No human approved the call, or something else that it needs was not given.
    Denied,
    /// The client cancelled the call or hung up.
    Cancelled,
    /// The call failed on the way.
    Failed,
    /// A write was sent and may have taken effect, although nothing says that it did.
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

    /// The value in logs, audits and metrics.
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

/// How a human approved a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalMethod {
    /// By a form in the client.
    Form,
    /// Elsewhere, on a ticket.
    Ticket,
    /// At the terminal that the call was made from.
    Terminal,
}

impl ApprovalMethod {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Form, Self::Ticket, Self::Terminal];

    /// The value in audits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Ticket => "ticket",
            Self::Terminal => "terminal",
        }
    }
}

/// An approval as it goes on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// How it was given.
    pub method: ApprovalMethod,
    /// Who gave it, as far as that is known: for a form, whose client it was.
    pub by: String,
}

/// Why this server did not serve a request, without asking an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// The caller has no credential that is good here, or a host or origin that is not allowed.
    Access,
    /// There are too many of something: requests at once or over time, connections.
    Limit,
    /// The request is too large.
    Size,
    /// The request took too long to arrive.
    Slow,
    /// The request is no request.
    Malformed,
    /// Something that the request needs is unavailable: the store that counts, an authorization server, room for
    /// a session, the audit log.
    Unavailable,
    /// Something of our own failed.
    Internal,
    /// There is no such tool.
    UnknownTool,
    /// The tool is not available to this caller.
    Withheld,
    /// The call would reveal a secret.
    Secret,
    /// A policy forbids the call.
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

    /// The value in metrics.
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

/// How a request failed, by the convention for `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The client cancelled it or hung up.
    Cancelled,
    /// The result of the tool is an error.
    ToolError,
    /// The parameters are invalid, or name nothing that there is.
    InvalidParams,
    /// There is no such method.
    MethodNotFound,
    /// Something of our own failed.
    InternalError,
    /// There is no such resource.
    ResourceNotFound,
    /// Anything else.
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

    /// The value in metrics and traces: a JSON-RPC code where there is one, and the convention's own values.
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
