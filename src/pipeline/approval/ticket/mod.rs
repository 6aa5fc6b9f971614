//! Approval requests that wait for a human elsewhere, in a store that all replicas share.
//!
//! A ticket has a random id, and only its decision ever changes. A human who has seen it therefore
//! knows what the decision is about. The store decides when a ticket expires, by its own clock.

mod create;
mod decide;
mod error;
mod list;

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portkey_operation::JsonMap;
use portkey_store::{Queue, Stamp, StoreError, StoreKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ApprovalError, ApprovalResponse, CallDetails};

pub use self::error::{DecisionError, PendingApproval};

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

/// Removes the ticket id from the arguments of a call, where a caller can put it.
pub fn take_ticket(args: &mut JsonMap) -> Option<ApprovalResponse> {
    match args.shift_remove(TICKET_ARGUMENT)? {
        Value::String(id) => Some(ApprovalResponse::Ticket(id)),
        // No ticket has such an id.
        other => Some(ApprovalResponse::Ticket(other.to_string())),
    }
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
