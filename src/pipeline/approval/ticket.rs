//! Approval requests that wait for a human elsewhere, in a store that all replicas share.
//!
//! A ticket has a random id, and only its decision ever changes. A human who has seen it therefore
//! knows what the decision is about. The store decides when a ticket expires, by its own clock.

use std::{
    num::NonZeroU32,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portkey_operation::JsonMap;
use portkey_store::{
    EnqueueOutcome, Queue, RateLimitOutcome, Stamp, StoreError, StoreKey, TokenBucket, UseOutcome,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use super::{
    ApprovalError, ApprovalMethod, ApprovalRecord, ApprovalRequest, ApprovalResponse, Approvals,
    Binding, CallDetails, FormAction, FormResponse,
};
use crate::{auth::principal::Principal, security::signed_state::random_bytes};

/// Maximum number of tickets per caller.
pub const MAX_TICKETS_OF_CALLER: usize = 30;
/// Maximum number of tickets of all callers.
pub const MAX_TICKETS: usize = 500;
/// Maximum number of tickets per page of a list.
pub const MAX_PAGE_TICKETS: usize = 200;
/// Minimum number of digits in an abbreviated ticket id.
pub const MIN_ID_DIGITS: usize = 6;

/// Time for which the id of a ticket stays known after the ticket is gone.
pub const TICKET_ID_RETENTION: Duration = Duration::from_secs(3600);

/// The queue that holds the tickets.
const QUEUE: Queue = Queue {
    name: "approval",
    max_per_owner: MAX_TICKETS_OF_CALLER,
    max: MAX_TICKETS,
    remember_for: TICKET_ID_RETENTION,
};
/// Length of a ticket id, in bytes.
const ID_BYTES: usize = 16;
/// The rate at which one caller can create tickets; low enough that a human can still read them.
const MAX_TICKET_RATE: TokenBucket = TokenBucket {
    burst: NonZeroU32::new(60).unwrap(),
    period: Duration::from_secs(3600),
};
/// Number of tickets read from the store at once.
const TICKETS_PER_READ: usize = 50;
/// Interval between checks for a decision.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The argument that may name a ticket; it is never sent to an upstream.
const TICKET_ARGUMENT: &str = "approval_ticket";

/// An approval request that waits for a decision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ticket {
    /// Id: random hexadecimal digits.
    pub id: String,
    /// Name of the tool.
    pub tool: String,
    /// Name of the caller.
    pub principal: String,
    /// Text for the human.
    pub text: String,
    /// Text that the human has to type to approve, if the rule requires it.
    pub confirm: Option<String>,
    /// Time of creation, in seconds since 1970. For display only.
    pub asked: u64,
    /// Time until which a decision can be made and used, in seconds since 1970. For display only.
    pub expires: u64,
    /// The decision, if there is one.
    pub state: TicketState,
    /// Number of people who have to approve, if the rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<u8>,
    /// Names of those who have approved, while others are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    binding: String,
    /// Time of creation by the store's clock, with the store's epoch.
    stamp: String,
    /// Random token that proves a submitted form came from the ticket's page.
    serial: String,
    /// SHA-256 of the key that opens the ticket's page.
    key: String,
    /// The text in parts; a ticket of an earlier version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Box<CallDetails>>,
}

/// Criteria for listing tickets.
#[derive(Clone, Debug, Default)]
pub struct TicketFilter {
    /// Only tickets of this caller.
    pub caller: Option<String>,
    /// Only tickets for this tool.
    pub tool: Option<String>,
    /// Only tickets in this state: `pending`, `approved` or `denied`.
    pub state: Option<String>,
}

/// A page of tickets, oldest first.
#[derive(Clone, Debug)]
pub struct TicketPage {
    /// The tickets of this page.
    pub tickets: Vec<Ticket>,
    /// Id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// The state of a ticket.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TicketState {
    /// Nobody has decided.
    Pending,
    /// Approved, with the name that the approver gave.
    Approved(String),
    /// Denied, with the name that the human gave.
    Denied(String),
}

impl TicketState {
    /// Returns the name of the state, and who decided.
    pub fn as_parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Pending => ("pending", None),
            Self::Approved(by) => ("approved", Some(by)),
            Self::Denied(by) => ("denied", Some(by)),
        }
    }
}

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

impl TicketFilter {
    fn matches(&self, ticket: &Ticket) -> bool {
        let is =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        is(&self.caller, &ticket.principal)
            && is(&self.tool, &ticket.tool)
            && is(&self.state, ticket.state.as_parts().0)
    }
}

impl Ticket {
    /// Returns the token that a form has to return; only a viewer of the ticket's page knows it.
    pub fn form_token(&self) -> &str {
        &self.serial
    }

    /// Returns a digest of the ticket's text and of the call that it stands for. A decision must
    /// repeat the digest, which proves that it is about what was shown.
    pub fn digest(&self) -> String {
        let confirm = self.confirm.as_deref().unwrap_or_default();
        let parts = [
            &self.id,
            &self.tool,
            &self.principal,
            &self.text,
            confirm,
            &self.binding,
        ];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        if let Some(details) = &self.details {
            digest.update(serde_json::to_vec(details).unwrap_or_default());
        }
        hex::encode(digest.finalize().get(..ID_BYTES).unwrap_or_default())
    }

    /// Returns the text in parts.
    pub fn details(&self) -> &CallDetails {
        static NONE: LazyLock<CallDetails> = LazyLock::new(CallDetails::default);
        self.details.as_deref().unwrap_or(&NONE)
    }

    /// Returns true if nobody has decided.
    pub fn is_pending(&self) -> bool {
        self.state == TicketState::Pending
    }

    /// Returns true if the key opens the ticket's page. Compares in constant time.
    pub fn matches_page_key(&self, key: &str) -> bool {
        digest_hex(key).as_bytes().ct_eq(self.key.as_bytes()).into()
    }

    /// Serializes what may be shown: everything but the page key and the form token.
    pub fn to_public_json(&self) -> Value {
        json!({
            "id": self.id, "tool": self.tool, "principal": self.principal, "text": self.text,
            "confirm": self.confirm, "asked": self.asked, "expires": self.expires,
            "approvers": self.approvers.unwrap_or(1), "approved_by": self.approved_by,
            "seconds_left": self.time_left().as_secs(), "digest": self.digest(), "state": self.state,
            "details": self.details(),
        })
    }

    /// Returns the approximate time left. The store decides by its own clock.
    pub fn time_left(&self) -> Duration {
        let whole = self.expires.saturating_sub(self.asked);
        Duration::from_secs(self.expires.saturating_sub(unix_seconds()).min(whole))
    }

    /// Returns the error that the caller receives while the ticket is pending.
    pub fn to_pending(&self, tool: &'static str) -> PendingApproval {
        PendingApproval {
            tool,
            id: self.id.clone(),
            seconds: self.time_left().as_secs(),
        }
    }

    fn once_key(&self, what: &'static str) -> StoreKey {
        StoreKey::new(what, &[&self.id]).owned_by(&self.principal)
    }

    /// Returns how many of the approvers have approved, as in `1 of 2`. Returns `None` if one
    /// suffices, or if the ticket is decided.
    pub fn approval_count(&self) -> Option<String> {
        let needed = self.approvers.filter(|needed| *needed > 1)?;
        let given = self.approved_by.len();
        self.is_pending().then(|| format!("{given} of {needed}"))
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let bytes: Vec<u8> = hex::decode(&self.stamp).ok()?;
        Some(Stamp::from_bytes(bytes.try_into().ok()?))
    }

    /// Returns true if the store has lost no data since the ticket was created.
    fn is_in_epoch_of(&self, now: &Stamp) -> bool {
        self.stamp().is_some_and(|stamp| stamp.is_same_epoch(now))
    }
}

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
        let mut by = super::escape_untrusted(by);
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
    pub(super) async fn use_ticket(
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

    /// Returns the unexpired tickets of a caller.
    async fn caller_tickets(
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

/// Removes the ticket id from the arguments of a call, where a caller can put it.
pub fn take_ticket(args: &mut JsonMap) -> Option<ApprovalResponse> {
    match args.shift_remove(TICKET_ARGUMENT)? {
        Value::String(id) => Some(ApprovalResponse::Ticket(id)),
        // No ticket has such an id.
        other => Some(ApprovalResponse::Ticket(other.to_string())),
    }
}

fn is_ticket_id(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn store_failed(error: StoreError) -> ApprovalError {
    ApprovalError::StoreFailed(error.to_string())
}

fn digest_hex(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
