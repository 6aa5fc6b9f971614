//! Creates tickets: one for each call that waits, within the limits of its caller.

use std::{num::NonZeroU32, time::Duration};

use portkey_store::{EnqueueOutcome, RateLimitOutcome, StoreKey, TokenBucket};
use tracing::warn;

use super::{
    ID_BYTES, MAX_TICKETS_OF_CALLER, QUEUE, Ticket, TicketState, digest_hex, store_failed,
    unix_seconds,
};
use crate::{
    auth::principal::Principal,
    pipeline::approval::{ApprovalError, ApprovalRequest, Approvals},
    security::signed_state::random_bytes,
};

/// The rate at which one caller can create tickets; low enough that a human can still read them.
const MAX_TICKET_RATE: TokenBucket = TokenBucket {
    burst: NonZeroU32::new(60).unwrap(),
    period: Duration::from_secs(3600),
};

impl Approvals {
    /// Creates a ticket for a request, or returns the one that is already pending for the same
    /// call.
    ///
    /// The address of the ticket's page goes only to the log: the caller must not see it.
    ///
    /// # Errors
    /// Returns an error if there is no approval server, the caller has too many tickets, or the
    /// store fails.
    pub async fn create_ticket(
        &self,
        principal: &Principal,
        request: &ApprovalRequest,
    ) -> Result<Ticket, ApprovalError> {
        let Some(desk) = self.admin_url() else {
            return Err(ApprovalError::NoApprover {
                tool: request.tool,
                rule: request.rule.clone(),
            });
        };
        let stamp = self.store.store().stamp().await.map_err(store_failed)?;
        let own = self
            .caller_tickets(principal, &stamp)
            .await
            .map_err(store_failed)?;
        let binding = hex::encode(request.binding().as_bytes());
        let waits = |ticket: &&Ticket| ticket.binding == binding && ticket.is_pending();
        if let Some(ticket) = own.iter().find(waits) {
            return Ok(ticket.clone());
        }
        if own.len() >= MAX_TICKETS_OF_CALLER {
            return Err(ApprovalError::TooManyPending);
        }
        let of_caller = StoreKey::new("approval-asked", &[&principal.name]);
        match self
            .store
            .store()
            .take(&of_caller, &MAX_TICKET_RATE)
            .await
            .map_err(store_failed)?
        {
            RateLimitOutcome::Allowed => {}
            RateLimitOutcome::RetryAfter(_) => return Err(ApprovalError::TooManyPending),
        }
        let no_randomness =
            || ApprovalError::StoreFailed("the system gives no random numbers".to_owned());
        let id = random_bytes::<ID_BYTES>().map_err(|_| no_randomness())?;
        let key = random_bytes::<16>().map_err(|_| no_randomness())?;
        let serial = random_bytes::<16>().map_err(|_| no_randomness())?;
        let key = hex::encode(key);
        let asked = unix_seconds();
        let ticket = Ticket {
            id: hex::encode(id),
            tool: request.tool.to_owned(),
            principal: principal.name.to_string(),
            text: request.text.clone(),
            confirm: request.confirm.clone(),
            asked,
            expires: asked + self.timeout().as_secs().max(1),
            state: TicketState::Pending,
            approvers: request.approvers,
            approved_by: Vec::new(),
            binding,
            stamp: hex::encode(stamp.to_bytes()),
            serial: hex::encode(serial),
            key: digest_hex(&key),
            details: Some(Box::new(request.details.clone())),
        };
        let value = serde_json::to_vec(&ticket).unwrap_or_default().into();
        let id = &ticket.id;
        let owner = &principal.name;
        match self
            .store
            .enqueue(&QUEUE, id, owner, value, self.timeout())
            .await
            .map_err(store_failed)?
        {
            EnqueueOutcome::Appended => {}
            EnqueueOutcome::OwnerFull => return Err(ApprovalError::TooManyPending),
            EnqueueOutcome::QueueFull => return Err(ApprovalError::QueueFull),
        }
        let tool = request.tool;
        warn!(
            tool,
            ticket = id,
            page = format!("{desk}/decide/{id}/{key}"),
            "a call waits for approval"
        );
        if let Some(notices) = self.notices.get() {
            notices.send(&ticket);
        }
        Ok(ticket)
    }
}
