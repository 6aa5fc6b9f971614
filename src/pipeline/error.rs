//! Why a call came to nothing, and in which word that ends up on record.

use portkey_api::catalog::UnknownTool;
use portkey_operation::{InputError, Operation};
use serde_json::Value;

use crate::{
    auth::principal::{Unproven, Withheld},
    observability::{
        audit::Unwritable,
        call_record::{End, UNKNOWN_OUTCOME},
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
}

impl End {
    /// What became of a call. A write that was sent and may have taken effect is unknown, whatever came back.
    pub fn of(outcome: &Result<Value, CallError>, is_sent: bool) -> Self {
        let end = Self::from(outcome);
        match outcome {
            Err(error) if is_sent && error.may_have_taken_effect() => Self {
                outcome: UNKNOWN_OUTCOME,
                ..end
            },
            _ => end,
        }
    }
}

/// What became of a call, as every observer has it.
impl From<&Result<Value, CallError>> for End {
    fn from(outcome: &Result<Value, CallError>) -> Self {
        match outcome {
            Ok(_) => "answered".into(),
            Err(CallError::Ask(_)) => "asked".into(),
            Err(CallError::Waiting(_)) => "waiting".into(),
            Err(CallError::Refused(_, refusal)) => Self {
                code: refusal.code.clone(),
                ..Self::from("refused")
            },
            Err(CallError::Withheld(_)) => "withheld".into(),
            Err(CallError::Forbidden(_)) => "forbidden".into(),
            Err(CallError::Input(_) | CallError::Unknown(_)) => "turned back".into(),
            Err(CallError::Denied(_) | CallError::Unwritable(_) | CallError::Unproven(_)) => {
                "denied".into()
            }
            Err(CallError::Secret(SecretError::Denied { .. })) => "denied".into(),
            Err(CallError::Secret(SecretError::NoFile { .. })) => "failed".into(),
            Err(CallError::Secret(_)) => "turned back".into(),
            Err(CallError::Send(error)) => Self::failed(error),
        }
    }
}
