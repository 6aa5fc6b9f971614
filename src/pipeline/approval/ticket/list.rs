//! Finds and lists tickets.

use portkey_store::{Stamp, StoreError};

use super::{
    DecisionError, ID_BYTES, MAX_PAGE_TICKETS, MIN_ID_DIGITS, QUEUE, Ticket, TicketFilter,
    TicketPage,
};
use crate::{auth::principal::Principal, pipeline::approval::Approvals};

/// Number of tickets read from the store at once.
const TICKETS_PER_READ: usize = 50;

impl Approvals {
    /// Returns all unexpired tickets, the newest first.
    ///
    /// # Errors
    /// Returns an error if the store is unavailable.
    pub async fn recent_tickets(&self) -> Result<Vec<Ticket>, DecisionError> {
        let stamp = self.store.store().stamp().await?;
        let names = self.store.store().queued_ids(&QUEUE, None).await?;
        let live: Vec<_> = names
            .iter()
            .filter(|name| name.is_live)
            .map(|name| &*name.id)
            .collect();
        let mut tickets = Vec::new();
        for ids in live.chunks(TICKETS_PER_READ) {
            tickets.extend(self.load_tickets(ids, &stamp).await?);
        }
        tickets.reverse();
        Ok(tickets)
    }

    /// Lists unexpired tickets, oldest first, beginning after the ticket `after`. Returns at most
    /// `limit` and at most [`MAX_PAGE_TICKETS`] tickets.
    ///
    /// # Errors
    /// Returns an error if the ticket `after` does not exist, or if the store is unavailable.
    pub async fn list_tickets(
        &self,
        filter: &TicketFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TicketPage, DecisionError> {
        let stamp = self.store.store().stamp().await?;
        let names = self.store.store().queued_ids(&QUEUE, None).await?;
        let start = match after {
            None => 0,
            Some(after) => {
                let place = names.iter().position(|name| name.id == after);
                place.ok_or(DecisionError::UnknownTicket)? + 1
            }
        };
        let live: Vec<_> = names
            .iter()
            .skip(start)
            .filter(|name| name.is_live)
            .collect();
        let limit = limit.clamp(1, MAX_PAGE_TICKETS);
        let mut tickets: Vec<Ticket> = Vec::new();
        for chunk in live.chunks(TICKETS_PER_READ) {
            let ids: Vec<_> = chunk.iter().map(|name| &*name.id).collect();
            let found = self.load_tickets(&ids, &stamp).await?;
            tickets.extend(found.into_iter().filter(|ticket| filter.matches(ticket)));
            if tickets.len() > limit {
                break;
            }
        }
        let is_all = tickets.len() <= limit;
        tickets.truncate(limit);
        let next = tickets
            .last()
            .filter(|_| !is_all)
            .map(|ticket| ticket.id.clone());
        Ok(TicketPage { tickets, next })
    }

    /// Returns the ticket with this id.
    ///
    /// # Errors
    /// Returns an error if the store is unavailable.
    pub async fn ticket(&self, id: &str) -> Result<Option<Ticket>, StoreError> {
        if !(id.len() == 2 * ID_BYTES && is_ticket_id(id)) {
            return Ok(None);
        }
        let stamp = self.store.store().stamp().await?;
        Ok(self.load_tickets(&[id], &stamp).await?.pop())
    }

    /// Returns the ticket whose id begins with `start`. The prefix must be unique among all ids of
    /// the last hour.
    ///
    /// # Errors
    /// Returns an error if no ticket matches, several do, or the prefix is too short.
    pub async fn find_ticket(&self, start: &str) -> Result<Ticket, DecisionError> {
        let start = start.to_ascii_lowercase();
        if !is_ticket_id(&start) || start.len() > 2 * ID_BYTES {
            return Err(DecisionError::UnknownTicket);
        }
        if start.len() < MIN_ID_DIGITS {
            return Err(DecisionError::IdTooShort);
        }
        let names = self.store.store().queued_ids(&QUEUE, None).await?;
        let mut found = names.iter().filter(|name| name.id.starts_with(&start));
        let id = match (found.next(), found.next()) {
            (Some(only), None) => &only.id,
            (None, _) => return Err(DecisionError::UnknownTicket),
            (Some(_), Some(_)) => return Err(DecisionError::AmbiguousId),
        };
        self.ticket(id).await?.ok_or(DecisionError::UnknownTicket)
    }

    /// Returns the unexpired tickets of a caller.
    pub(super) async fn caller_tickets(
        &self,
        principal: &Principal,
        stamp: &Stamp,
    ) -> Result<Vec<Ticket>, StoreError> {
        let names = self
            .store
            .store()
            .queued_ids(&QUEUE, Some(&principal.name))
            .await?;
        let live = names
            .iter()
            .filter(|name| name.is_live)
            .map(|name| &*name.id);
        self.load_tickets(&live.collect::<Vec<_>>(), stamp).await
    }

    /// Loads the tickets that still exist. A ticket of an earlier epoch is dropped, because the
    /// store has lost the record of its decision.
    async fn load_tickets(&self, ids: &[&str], stamp: &Stamp) -> Result<Vec<Ticket>, StoreError> {
        let values = self.store.queued_values(&QUEUE, ids).await?;
        let tickets = values
            .iter()
            .filter_map(|value| serde_json::from_slice(value).ok());
        let mut tickets: Vec<Ticket> = tickets
            .filter(|ticket: &Ticket| ticket.is_in_epoch_of(stamp))
            .collect();
        let waiting = tickets
            .iter_mut()
            .filter(|ticket| ticket.approvers.is_some() && ticket.is_pending());
        for ticket in waiting {
            ticket.approved_by = self.votes(ticket).await?;
        }
        Ok(tickets)
    }
}

fn is_ticket_id(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
