//! Errors of tool calls, and the outcome that each one has in call records.

use portkey_api::catalog::ToolLookupError;
use portkey_journal::JournalUnavailable;
use portkey_operation::{InputError, Operation};

use crate::{
    auth::principal::{AccessDenied, ProofError},
    observability::{
        audit::AuditUnavailable,
        call_record::{CallOutcome, OutcomeKind, RejectionReason},
    },
    pipeline::approval::{ApprovalError, ApprovalRequest, PendingApproval},
    security::secrets::SecretError,
    upstream::{SendError, UpstreamError},
};

/// An error of a call. The variants are split by who can do something about them.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The name is not that of a tool.
    #[error(transparent)]
    UnknownTool(#[from] ToolLookupError),
    /// The tool is not available to this caller.
    #[error(transparent)]
    AccessDenied(#[from] AccessDenied),
    /// State would be kept, or a human asked, in the name of a key that may be made up.
    #[error(transparent)]
    UnprovenKey(#[from] ProofError),
    /// A policy denies the call.
    #[error(transparent)]
    PolicyDenied(#[from] portkey_policy::PolicyDenial),
    /// The arguments are invalid; the caller can correct them.
    #[error(transparent)]
    InvalidArguments(#[from] InputError),
    /// The call needs the approval of a human, who can be asked.
    #[error("`{}` needs the approval of a human, and nothing was sent", .0.tool)]
    ApprovalRequired(Box<ApprovalRequest>),
    /// The call needs the approval of a human, who has been asked.
    #[error(transparent)]
    ApprovalPending(#[from] PendingApproval),
    /// No human approved the call.
    #[error(transparent)]
    ApprovalDenied(#[from] ApprovalError),
    /// The intent of the call could not be written to the audit log.
    #[error(transparent)]
    AuditUnavailable(#[from] AuditUnavailable),
    /// The change could not be written to the journal.
    #[error(transparent)]
    JournalUnavailable(#[from] JournalUnavailable),
    /// A secret in the arguments cannot be resolved or must not be sent.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No complete response came from the upstream.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A step of a workflow failed after others had taken effect.
    #[error("{}", .0.error)]
    StepFailed(Box<StepFailure>),
    /// The upstream responded with an error.
    #[error("`{}` was refused with {}: {}", .0.name(), .1.status.as_u16(), .1.message)]
    Upstream(&'static Operation, Box<UpstreamError>),
}

/// The error of a step, and what the workflow did before.
#[derive(Debug)]
pub struct StepFailure {
    /// Operations that wrote, in their order.
    pub done: Vec<&'static str>,
    /// The error of the step.
    pub error: CallError,
}

impl CallError {
    /// Returns true if the same read may succeed later: nobody has refused it.
    pub fn may_be_temporary(&self) -> bool {
        match self {
            Self::Upstream(_, refusal) => !refusal.is_definite(),
            Self::InvalidArguments(_) => false,
            error => !error.is_denial(),
        }
    }

    /// Returns true if this server, and not an upstream, denies the call to its caller.
    pub const fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::AccessDenied(_)
                | Self::UnprovenKey(_)
                | Self::PolicyDenied(_)
                | Self::ApprovalRequired(_)
                | Self::ApprovalPending(_)
                | Self::ApprovalDenied(_)
                | Self::UnknownTool(_)
        )
    }

    /// Returns true if the call was sent and no response rules out that it took effect.
    ///
    /// Limits keep such a call counted, and nothing treats it as a call that was never made.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Send(error) => error.may_have_taken_effect(),
            Self::Upstream(_, refusal) => refusal.may_have_taken_effect(),
            Self::StepFailed(failure) => failure.error.may_have_taken_effect(),
            Self::UnknownTool(_)
            | Self::AccessDenied(_)
            | Self::UnprovenKey(_)
            | Self::PolicyDenied(_)
            | Self::InvalidArguments(_)
            | Self::ApprovalRequired(_)
            | Self::ApprovalPending(_)
            | Self::ApprovalDenied(_)
            | Self::AuditUnavailable(_)
            | Self::JournalUnavailable(_)
            | Self::Secret(_) => false,
        }
    }

    /// Returns the outcome of the call for all observers. A write that was sent and may have taken
    /// effect is `Unknown`, whatever the response.
    pub fn outcome(&self, is_sent: bool) -> CallOutcome {
        let outcome = match self {
            Self::StepFailed(failure) => return failure.error.outcome(is_sent),
            Self::ApprovalRequired(_) => OutcomeKind::Asked.into(),
            Self::ApprovalPending(_) => OutcomeKind::Waiting.into(),
            Self::Upstream(_, refusal) => CallOutcome {
                code: refusal.code.clone(),
                ..OutcomeKind::Refused.into()
            },
            Self::Send(error) => CallOutcome::failed(error),
            Self::AccessDenied(_) => {
                CallOutcome::rejected(OutcomeKind::Withheld, RejectionReason::Withheld)
            }
            Self::PolicyDenied(_) => {
                CallOutcome::rejected(OutcomeKind::Forbidden, RejectionReason::Policy)
            }
            Self::ApprovalDenied(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Approval)
            }
            Self::UnprovenKey(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Access)
            }
            Self::AuditUnavailable(_) | Self::JournalUnavailable(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Unavailable)
            }
            Self::UnknownTool(_) => {
                CallOutcome::rejected(OutcomeKind::Rejected, RejectionReason::UnknownTool)
            }
            Self::InvalidArguments(_) => {
                CallOutcome::rejected(OutcomeKind::Rejected, RejectionReason::Arguments)
            }
            Self::Secret(error) => match error {
                SecretError::Denied { .. } => {
                    CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Secret)
                }
                SecretError::NoFile { .. } => {
                    CallOutcome::rejected(OutcomeKind::Failed, RejectionReason::Internal)
                }
                SecretError::Masked(_)
                | SecretError::Placeholder(_)
                | SecretError::Reference { .. } => {
                    CallOutcome::rejected(OutcomeKind::Rejected, RejectionReason::Arguments)
                }
            },
        };
        match is_sent && self.may_have_taken_effect() {
            true => CallOutcome {
                kind: OutcomeKind::Unknown,
                ..outcome
            },
            false => outcome,
        }
    }
}
