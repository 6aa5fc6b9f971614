//! Errors of tool calls, and the outcome that each one has in call records.

use portkey_api::catalog::ToolLookupError;
use portkey_operation::{InputError, Operation};

use crate::{
    auth::principal::{ProofError, AccessDenied},
    observability::{
        audit::Unwritable,
        call_record::{CallOutcome, OutcomeKind, RejectionReason},
    },
    pipeline::approval::{Denied, Question, Waiting},
    security::secrets::SecretError,
    upstream::{Refusal, SendError},
};

/// An error of a call. The variants are split by who can do something about them.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The name is not that of a tool.
    #[error(transparent)]
    Unknown(#[from] ToolLookupError),
    /// The tool is not available to this caller.
    #[error(transparent)]
    Withheld(#[from] AccessDenied),
    /// State would be kept, or a human asked, in the name of a key that may be made up.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    /// A policy denies the call.
    #[error(transparent)]
    Forbidden(#[from] portkey_policy::PolicyDenial),
    /// The arguments are invalid; the caller can correct them.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The call needs the approval of a human, who can be asked.
    #[error("`{}` needs the approval of a human, and nothing was sent", .0.tool)]
    Ask(Box<Question>),
    /// The call needs the approval of a human, who has been asked.
    #[error(transparent)]
    Waiting(#[from] Waiting),
    /// No human approved the call.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The intent of the call could not be written to the audit log.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// A secret in the arguments cannot be resolved or must not be sent.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No complete response came from the upstream.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The upstream responded with an error.
    #[error("`{}` was refused with {}: {}", .0.name(), .1.status.as_u16(), .1.message)]
    Refused(&'static Operation, Box<Refusal>),
}

impl CallError {
    /// Returns true if this server, and not an upstream, denies the call to its caller.
    pub const fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Withheld(_)
                | Self::Unproven(_)
                | Self::Forbidden(_)
                | Self::Ask(_)
                | Self::Waiting(_)
                | Self::Denied(_)
                | Self::Unknown(_)
        )
    }

    /// Returns true if the call was sent and no response rules out that it took effect.
    ///
    /// Limits keep such a call counted, and nothing treats it as a call that was never made.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Send(error) => error.may_have_taken_effect(),
            Self::Refused(_, refusal) => refusal.may_have_taken_effect(),
            Self::Unknown(_)
            | Self::Withheld(_)
            | Self::Unproven(_)
            | Self::Forbidden(_)
            | Self::Input(_)
            | Self::Ask(_)
            | Self::Waiting(_)
            | Self::Denied(_)
            | Self::Unwritable(_)
            | Self::Secret(_) => false,
        }
    }

    /// Returns the outcome of the call for all observers. A write that was sent and may have taken
    /// effect is `Unknown`, whatever the response.
    pub fn outcome(&self, is_sent: bool) -> CallOutcome {
        let outcome = match self {
            Self::Ask(_) => OutcomeKind::Asked.into(),
            Self::Waiting(_) => OutcomeKind::Waiting.into(),
            Self::Refused(_, refusal) => CallOutcome {
                code: refusal.code.clone(),
                ..OutcomeKind::Refused.into()
            },
            Self::Send(error) => CallOutcome::failed(error),
            Self::Withheld(_) => {
                CallOutcome::rejected(OutcomeKind::Withheld, RejectionReason::Withheld)
            }
            Self::Forbidden(_) => {
                CallOutcome::rejected(OutcomeKind::Forbidden, RejectionReason::Policy)
            }
            Self::Denied(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Approval)
            }
            Self::Unproven(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Access)
            }
            Self::Unwritable(_) => {
                CallOutcome::rejected(OutcomeKind::Denied, RejectionReason::Unavailable)
            }
            Self::Unknown(_) => {
                CallOutcome::rejected(OutcomeKind::Rejected, RejectionReason::UnknownTool)
            }
            Self::Input(_) => {
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
