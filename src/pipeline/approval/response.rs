//! Responses to approval requests, and the approvals they result in.

use super::{ApprovalRecord, Binding, escape::escape_untrusted};

/// The action that a human took on a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormAction {
    /// Filled in and submitted.
    Accept,
    /// Declined.
    Decline,
    /// Dismissed without a decision.
    Cancel,
}

/// A completed approval form.
#[derive(Clone, Debug)]
pub struct FormResponse {
    /// The action taken on the form.
    pub action: FormAction,
    /// True if the call is to be carried out.
    pub approve: bool,
    /// The name that the human typed, if one was required.
    pub typed_name: Option<String>,
}

/// A response to an approval request that accompanies a call.
#[derive(Debug)]
pub enum ApprovalResponse {
    /// Collected by this process, which asked the human itself. A denial is recorded as the outcome
    /// of the call.
    Resolved(Result<Approval, ApprovalError>),
    /// The id of a ticket. The id alone approves nothing: a human must have decided about the
    /// ticket elsewhere.
    Ticket(String),
    /// Returned by the client together with the signed state that it kept.
    Signed {
        /// The signed state.
        state: String,
        /// The completed form.
        form: FormResponse,
    },
}

/// A human's approval of one call. Only an approval request can create one.
#[derive(Debug)]
pub struct Approval {
    pub(super) binding: Binding,
    pub(super) record: ApprovalRecord,
    /// Number of people who approved, if several had to.
    pub(super) approvers: Option<u8>,
}

/// A reason why a call that needs approval is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// A human declined.
    #[error(
        "a human declined the call, and nothing was sent. Do not make it again unless they ask for it"
    )]
    Declined,
    /// A human dismissed the form.
    #[error("the question whether to approve the call was cancelled, and nothing was sent")]
    Cancelled,
    /// Nobody responded in time.
    #[error("nobody approved the call in time, and nothing was sent")]
    TimedOut,
    /// The name typed to confirm is not the expected one.
    #[error("the name that was typed to confirm the call is not {0}, and nothing was sent")]
    WrongName(String),
    /// The response does not belong to this call, was used already, or has expired.
    #[error(
        "the approval that came with the call is not for this call, was used already or has expired. \
         Nothing was sent; make the call again without it, and it is asked for anew"
    )]
    InvalidResponse,
    /// The client cannot show forms, and there is no approval server.
    #[error(
        "`{tool}` needs the approval of a human (rule `{rule}`), and there is no way to ask for it here: \
         the client does not show forms (elicitation), and nobody decides elsewhere. Nothing was sent. Call it \
         at a terminal, from a client that shows forms, or by a server with --admin-listen, where a human \
         decides with `portkey-mcp approvals`"
    )]
    NoApprover {
        /// The tool.
        tool: &'static str,
        /// The rule that requires approval.
        rule: String,
    },
    /// The request or its response could not be stored.
    #[error("the approval of the call cannot be kept, and nothing was sent: {0}")]
    StoreFailed(String),
    /// The caller has too many pending requests, or created too many within the last hour.
    #[error(
        "too many calls of this caller wait for approval already, and nothing was sent. Wait until some \
         of them are decided or have expired"
    )]
    TooManyPending,
    /// All callers together have too many pending requests.
    #[error(
        "too many calls wait for approval at this server, and nothing was sent. Try again in a few minutes, \
         and tell the operator of the server: `portkey-mcp approvals list` shows them"
    )]
    QueueFull,
    /// The client failed to ask.
    #[error("the client could not ask for the approval, and nothing was sent: {0}")]
    RequestFailed(String),
}

impl FormResponse {
    /// Checks that the form approves the call.
    ///
    /// # Errors
    /// Returns an error if the form was declined or dismissed, or lacks the required name.
    pub(super) fn evaluate(&self, confirm: Option<&str>) -> Result<(), ApprovalError> {
        match (self.action, confirm) {
            (FormAction::Cancel, _) => Err(ApprovalError::Cancelled),
            (FormAction::Accept, None) if self.approve => Ok(()),
            (FormAction::Accept, Some(name)) if self.approve => {
                match self.typed_name.as_deref().map(str::trim) == Some(name) {
                    true => Ok(()),
                    false => Err(ApprovalError::WrongName(escape_untrusted(name))),
                }
            }
            (FormAction::Accept | FormAction::Decline, _) => Err(ApprovalError::Declined),
        }
    }
}

impl Approval {
    /// Returns the approval if it is bound to this call, else `InvalidResponse`.
    pub(super) fn verify(self, binding: &Binding) -> Result<ApprovalRecord, ApprovalError> {
        if self.binding == *binding {
            Ok(self.record)
        } else {
            Err(ApprovalError::InvalidResponse)
        }
    }
}
