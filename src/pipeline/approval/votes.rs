//! Approvals of a ticket that several people have to approve.
//!
//! Each approval is a value of its own in the store, so that two that arrive at once, at any
//! replicas, are both kept. The ticket is decided once there are enough.

use portkey_store::{EnqueueOutcome, Queue, StoreError, StoreKey, UseOutcome};

use super::{Approvals, DecisionError, Ticket, escape_untrusted, ticket::MAX_TICKETS};
use crate::security::signed_state::random_bytes;

/// Maximum number of approvals of one ticket.
pub const MAX_VOTES_OF_TICKET: usize = 10;
/// Maximum number of approvals of all tickets.
pub const MAX_VOTES: usize = MAX_TICKETS * 2;

/// The queue that holds the approvals. Their owner is the ticket.
const VOTES: Queue = Queue {
    name: "approval-vote",
    max_per_owner: MAX_VOTES_OF_TICKET,
    max: MAX_VOTES,
    remember_for: std::time::Duration::from_secs(1),
};

impl Approvals {
    /// Records that somebody approves a ticket which several people have to approve.
    ///
    /// # Errors
    /// Returns an error if the name is empty, is that of the caller, or has approved already.
    pub(super) async fn add_vote(&self, ticket: &Ticket, by: &str) -> Result<(), DecisionError> {
        let name = normalize_name(by);
        if name.is_empty() {
            return Err(DecisionError::NameRequired);
        }
        if name == normalize_name(&ticket.principal) {
            return Err(DecisionError::AskerCannotApprove);
        }
        let stamp = ticket.stamp().ok_or(DecisionError::UnknownTicket)?;
        let once =
            StoreKey::new("approval-voted", &[&ticket.id, &name]).owned_by(&ticket.principal);
        let store = self.store.store();
        match store.use_once(&stamp, &once, self.timeout()).await? {
            UseOutcome::First => {}
            UseOutcome::AlreadyUsed => {
                return Err(DecisionError::AlreadyApproved(escape_untrusted(by)));
            }
            UseOutcome::Expired | UseOutcome::DataLost => return Err(DecisionError::UnknownTicket),
        }
        let no_randomness = StoreError::InvalidSettings("the system gives no random numbers");
        let id = random_bytes::<16>().map_err(|_| no_randomness)?;
        let value = escape_untrusted(by).into_bytes().into();
        let id = hex::encode(id);
        let queued = self
            .store
            .enqueue(&VOTES, &id, &ticket.id, value, self.timeout());
        match queued.await? {
            EnqueueOutcome::Appended => Ok(()),
            EnqueueOutcome::OwnerFull | EnqueueOutcome::QueueFull => {
                Err(DecisionError::TooManyApprovals)
            }
        }
    }

    /// Returns the names of those who have approved a ticket, in their order.
    pub(super) async fn votes(&self, ticket: &Ticket) -> Result<Vec<String>, StoreError> {
        let ids = self
            .store
            .store()
            .queued_ids(&VOTES, Some(&ticket.id))
            .await?;
        let live: Vec<_> = ids
            .iter()
            .filter(|id| id.is_live)
            .map(|id| &*id.id)
            .collect();
        let values = self.store.queued_values(&VOTES, &live).await?;
        let names = values
            .iter()
            .filter_map(|value| std::str::from_utf8(value).ok());
        Ok(names.map(str::to_owned).collect())
    }
}

/// Returns the form in which names are compared: their letters and digits, in lower case.
fn normalize_name(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_spaces() {
        assert_eq!(
            normalize_name(" Ann  Lee\u{200b}"),
            normalize_name("ann lee")
        );
        assert_ne!(normalize_name("ann"), normalize_name("anna"));
        assert_eq!(normalize_name(" \u{200b}-"), "");
    }
}
