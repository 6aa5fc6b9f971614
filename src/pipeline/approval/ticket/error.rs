//! Calls that wait for a decision, and decisions that are rejected.

use portkey_store::StoreError;

use super::MIN_ID_DIGITS;

/// A call that waits for a decision elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{tool}` waits for the approval of a human, and nothing has happened yet. Its ticket is {id}: tell \
     your user, for the operator of this server can decide it. Once they have, make exactly the same \
     call again within {seconds} s; with other arguments it is another call. You cannot approve it yourself"
)]
pub struct PendingApproval {
    /// Name of the tool.
    pub tool: &'static str,
    /// Id of the ticket.
    pub id: String,
    /// Seconds until the ticket expires.
    pub seconds: u64,
}

/// A reason why a decision is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// The ticket does not exist, or not any more.
    #[error("there is no such ticket; it may have expired")]
    UnknownTicket,
    /// The abbreviated id is too short.
    #[error("give at least {MIN_ID_DIGITS} digits of the ticket")]
    IdTooShort,
    /// The abbreviated id matches several tickets.
    #[error(
        "several tickets begin so, or did within the last hour; give more digits of the one that is meant"
    )]
    AmbiguousId,
    /// Several people have to approve, and this one has.
    #[error("{0} has approved it already; somebody else has to approve it, too")]
    AlreadyApproved(String),
    /// Somebody other than the caller has to approve.
    #[error("the caller who asks for it cannot approve it")]
    AskerCannotApprove,
    /// Several people have to approve, so each has a name.
    #[error("give the name of the approver, with letters or digits")]
    NameRequired,
    /// The maximum number of approvals is stored already.
    #[error("no further approval can be kept; try again later")]
    TooManyApprovals,
    /// Somebody else decided first.
    #[error("it was decided already")]
    AlreadyDecided,
    /// The digest is not that of the ticket, so the decision is about something else.
    #[error("the digest is not that of the ticket: look at the ticket again before deciding")]
    DigestMismatch,
    /// The name typed to confirm is not the expected one.
    #[error("to approve it, type its name: {0}")]
    WrongName(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
