//! Why a call came to nothing, and what outcome that is.

use portkey_api::catalog::UnknownTool;
use portkey_operation::{InputError, Operation};

use crate::{
    auth::principal::{Unproven, Withheld},
    observability::{
        audit::Unwritable,
        call_record::{CallOutcome, OutcomeKind, RejectionReason},
    },
    pipeline::approval::{Denied, Question, Waiting},
    security::secrets::SecretError,
    upstream::{Refusal, SendError},
};

/// Why a call came to nothing, by who can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The caller named no tool of ours.
    #[error(transparent)]
    Unknown(#[from] UnknownTool),
    /// It is not for this caller.
    #[error(transparent)]
    Withheld(#[from] Withheld),
    /// Something would be kept, or a human asked, in the name of a key that may be made up.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// A policy forbids it.
    #[error(transparent)]
    Forbidden(#[from] portkey_policy::Denied),
    /// The caller can mend the arguments.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A human has to say yes first, and can be asked.
    #[error("`{}` needs the approval of a human, and nothing was sent", .0.tool)]
    Ask(Box<Question>),
    /// A human has to say yes first, and was asked.
    #[error(transparent)]
    Waiting(#[from] Waiting),
    /// No human said yes.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be put on record.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// A secret stands in the way.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The upstream gave no usable answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The upstream said no.
    #[error("`{}` was refused with {}: {}", .0.name(), .1.status.as_u16(), .1.message)]
    Refused(&'static Operation, Box<Refusal>),
}

impl CallError {
    /// Whether this server, and no upstream, keeps the caller from it.
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

    /// Whether the call may have taken effect all the same: it was sent, and there is no answer that rules it
    /// out. Limits keep such a call counted, and nothing treats it as one that never was.
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

    /// The outcome of the call, as every observer has it. A write that was sent and may have taken effect is
    /// unknown, whatever came back.
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
