//! What a human said, and what that allows.

use super::{Approved, Binding, plain};

/// What a human did with a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Filled it in and sent it.
    Accept,
    /// Said no.
    Decline,
    /// Closed it without saying anything.
    Cancel,
}

/// A form as it came back.
#[derive(Clone, Debug)]
pub struct Form {
    /// What was done with it.
    pub reaction: Reaction,
    /// Whether the call is to be carried out.
    pub approve: bool,
    /// The name that was typed, where one was asked for.
    pub typed: Option<String>,
}

/// An answer that comes with a call.
#[derive(Debug)]
pub enum Answer {
    /// Given to this process, which asked by itself; a no is on record as the call's.
    Given(Result<Grant, Denied>),
    /// The name of a ticket, which is no answer by itself: somebody else has to have given one.
    Ticket(String),
    /// Brought by the client, with what it was given to keep.
    Sealed {
        /// What it kept.
        state: String,
        /// The form as filled in.
        form: Form,
    },
}

/// A human's yes to one call. Only a question makes one.
#[derive(Debug)]
pub struct Grant {
    pub(super) binding: Binding,
    pub(super) approved: Approved,
}

/// Why a call that needs approval is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Someone said no.
    #[error(
        "a human declined the call, and nothing was sent. Do not make it again unless they ask for it"
    )]
    Declined,
    /// Someone closed the form.
    #[error("the question whether to approve the call was cancelled, and nothing was sent")]
    Cancelled,
    /// Nobody answered in time.
    #[error("nobody approved the call in time, and nothing was sent")]
    TimedOut,
    /// The name that was typed is another one.
    #[error("the name that was typed to confirm the call is not {0}, and nothing was sent")]
    Mistyped(String),
    /// The answer cannot be taken for one to this call.
    #[error(
        "the approval that came with the call is not for this call, was used already or has expired. \
         Nothing was sent; make the call again without it, and it is asked for anew"
    )]
    Void,
    /// There is nobody to ask.
    #[error(
        "`{tool}` needs the approval of a human (rule `{rule}`), and there is no way to ask for it here: \
         the client does not show forms (elicitation), and nobody decides elsewhere. Nothing was sent"
    )]
    Nobody {
        /// The tool.
        tool: &'static str,
        /// Which rule wants it.
        rule: String,
    },
    /// The question or its answer cannot be kept.
    #[error("the approval of the call cannot be kept, and nothing was sent: {0}")]
    Unkept(String),
    /// The caller has asked for too much of late.
    #[error(
        "too many calls of this caller wait for approval already, and nothing was sent. Wait until some \
         of them are decided or have expired"
    )]
    TooMany,
    /// All callers together have asked for too much.
    #[error(
        "too many calls wait for approval at this server, and nothing was sent. Try again in a few minutes, \
         and tell whoever runs the server: `portkey-mcp approvals list` shows them"
    )]
    QueueFull,
    /// The client broke off.
    #[error("the client could not ask for the approval, and nothing was sent: {0}")]
    Unasked(String),
}

impl Form {
    /// Whether it says yes.
    ///
    /// # Errors
    /// It does not, or lacks the name that was to be typed.
    pub(super) fn judge(&self, confirm: Option<&str>) -> Result<(), Denied> {
        match (self.reaction, confirm) {
            (Reaction::Cancel, _) => Err(Denied::Cancelled),
            (Reaction::Accept, None) if self.approve => Ok(()),
            (Reaction::Accept, Some(name)) if self.approve => {
                match self.typed.as_deref().map(str::trim) == Some(name) {
                    true => Ok(()),
                    false => Err(Denied::Mistyped(plain(name))),
                }
            }
            (Reaction::Accept | Reaction::Decline, _) => Err(Denied::Declined),
        }
    }
}

impl Grant {
    /// The approval, if it is for that call.
    pub(super) fn of(self, binding: &Binding) -> Result<Approved, Denied> {
        if self.binding == *binding {
            Ok(self.approved)
        } else {
            Err(Denied::Void)
        }
    }
}
