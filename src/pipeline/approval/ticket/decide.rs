//! Decides about tickets, waits for decisions, and uses them up.

use std::time::Duration;

use portkey_store::{StoreError, UseOutcome};
use subtle::ConstantTimeEq;

use super::{DecisionError, QUEUE, Ticket, TicketState, store_failed};
use crate::{
    auth::principal::Principal,
    pipeline::approval::{
        ApprovalError, ApprovalMethod, ApprovalRecord, Approvals, Binding, FormAction,
        FormResponse, escape_untrusted,
    },
};

/// Interval between checks for a decision.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

impl Approvals {
    /// Waits until somebody has decided about a ticket, or it has expired.
    pub async fn wait_for_decision(&self, id: &str) {
        while let Ok(Some(ticket)) = self.ticket(id).await
            && ticket.is_pending()
        {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Records the decision about a ticket as it was shown. If two decisions arrive at once, on any
    /// replicas, exactly one is recorded.
    ///
    /// # Errors
    /// Returns an error if the ticket does not exist, was decided, has another digest, or if the
    /// name that confirms it is missing.
    pub async fn decide(
        &self,
        id: &str,
        digest: &str,
        form: &FormResponse,
        by: &str,
    ) -> Result<Ticket, DecisionError> {
        let mut ticket = self.ticket(id).await?.ok_or(DecisionError::UnknownTicket)?;
        if !bool::from(ticket.digest().as_bytes().ct_eq(digest.as_bytes())) {
            return Err(DecisionError::DigestMismatch);
        }
        let yes = match form.evaluate(ticket.confirm.as_deref()) {
            Ok(()) => true,
            Err(ApprovalError::WrongName(name)) => return Err(DecisionError::WrongName(name)),
            Err(_) if form.action == FormAction::Cancel => return Ok(ticket),
            Err(_) => false,
        };
        if !ticket.is_pending() {
            return Err(DecisionError::AlreadyDecided);
        }
        let mut by = escape_untrusted(by);
        if let Some(needed) = ticket.approvers.filter(|_| yes) {
            self.add_vote(&ticket, &by).await?;
            ticket.approved_by = self.votes(&ticket).await?;
            if ticket.approved_by.len() < usize::from(needed) {
                return Ok(ticket);
            }
            by = ticket.approved_by.join(", ");
        }
        match self.mark_once(&ticket, "approval-decided").await? {
            UseOutcome::First => {}
            // Of several approvals at once, each is recorded, and one decides.
            UseOutcome::AlreadyUsed if ticket.approvers.is_some() && yes => {
                let decided = self.ticket(id).await?.ok_or(DecisionError::UnknownTicket)?;
                return match decided.state {
                    TicketState::Denied(_) => Err(DecisionError::AlreadyDecided),
                    TicketState::Pending | TicketState::Approved(_) => Ok(decided),
                };
            }
            UseOutcome::AlreadyUsed => return Err(DecisionError::AlreadyDecided),
            UseOutcome::Expired | UseOutcome::DataLost => return Err(DecisionError::UnknownTicket),
        }
        ticket.state = if yes {
            TicketState::Approved(by)
        } else {
            TicketState::Denied(by)
        };
        let value = serde_json::to_vec(&ticket).unwrap_or_default().into();
        match self.store.replace_queued(&QUEUE, id, value).await? {
            true => Ok(ticket),
            false => Err(DecisionError::UnknownTicket),
        }
    }

    /// Returns the approval in the caller's tickets for a call, and uses it up. If the call names a
    /// ticket, that ticket must be for this call.
    pub(in crate::pipeline::approval) async fn use_ticket(
        &self,
        principal: &Principal,
        binding: &Binding,
        named: Option<&str>,
    ) -> Result<Option<ApprovalRecord>, ApprovalError> {
        let stamp = self.store.store().stamp().await.map_err(store_failed)?;
        let binding = hex::encode(binding.as_bytes());
        let mut own = self
            .caller_tickets(principal, &stamp)
            .await
            .map_err(store_failed)?;
        own.retain(|ticket| ticket.binding == binding);
        if let Some(id) = named
            && !own.iter().any(|ticket| ticket.id == id)
        {
            return Err(ApprovalError::InvalidResponse);
        }
        if own
            .iter()
            .any(|ticket| matches!(ticket.state, TicketState::Denied(_)))
        {
            return Err(ApprovalError::Declined);
        }
        for ticket in &own {
            let TicketState::Approved(by) = &ticket.state else {
                continue;
            };
            if self
                .mark_once(ticket, "approval-used")
                .await
                .map_err(store_failed)?
                == UseOutcome::First
            {
                self.store
                    .store()
                    .dequeue(&QUEUE, &ticket.id)
                    .await
                    .map_err(store_failed)?;
                return Ok(Some(ApprovalRecord {
                    method: ApprovalMethod::Ticket,
                    by: by.clone(),
                }));
            }
        }
        Ok(None)
    }

    /// Marks something that can happen to a ticket only once.
    async fn mark_once(
        &self,
        ticket: &Ticket,
        what: &'static str,
    ) -> Result<UseOutcome, StoreError> {
        let Some(stamp) = ticket.stamp() else {
            return Ok(UseOutcome::DataLost);
        };
        self.store
            .store()
            .use_once(&stamp, &ticket.once_key(what), self.timeout())
            .await
    }
}
