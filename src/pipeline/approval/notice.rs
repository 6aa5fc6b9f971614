//! Notices of new tickets, for whatever tells a human about them elsewhere.

use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::warn;

use super::Ticket;

/// Maximum number of notices that wait to be passed on.
const MAX_WAITING_NOTICES: usize = 64;

/// A new ticket, without arguments and secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketNotice {
    /// Id of the ticket.
    pub id: String,
    /// Name of the tool.
    pub tool: String,
    /// Name of the caller.
    pub caller: String,
    /// Name or path of the target.
    pub target: String,
    /// Risks by name.
    pub risks: Vec<String>,
    /// Rule that requires the decision.
    pub rule: String,
    /// Time of creation, in seconds since 1970.
    pub asked: u64,
    /// Time until which a decision can be made, in seconds since 1970.
    pub expires: u64,
}

impl TicketNotice {
    pub(super) fn new(ticket: &Ticket) -> Self {
        let details = ticket.details();
        let path = || {
            details
                .target
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let risks = match details.risks.is_empty() {
            true => vec![details.effect.clone()],
            false => details.risks.iter().map(|risk| risk.kind.clone()).collect(),
        };
        Self {
            id: ticket.id.clone(),
            tool: ticket.tool.clone(),
            caller: ticket.principal.clone(),
            target: details.name.clone().unwrap_or_else(path),
            risks,
            rule: details.rule.clone(),
            asked: ticket.asked,
            expires: ticket.expires,
        }
    }
}

/// The end of a queue of notices that tickets are put into. Never waits.
#[derive(Clone, Debug)]
pub struct NoticeSender(Sender<TicketNotice>);

impl NoticeSender {
    /// Creates a queue.
    pub fn channel() -> (Self, Receiver<TicketNotice>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING_NOTICES);
        (Self(sender), receiver)
    }

    pub(super) fn send(&self, ticket: &Ticket) {
        if self.0.try_send(TicketNotice::new(ticket)).is_err() {
            warn!(
                ticket = ticket.id,
                "no notice of a waiting call: too many wait to be sent"
            );
        }
    }
}
