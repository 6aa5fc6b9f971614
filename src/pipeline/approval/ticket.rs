//! Questions that wait for a human who is somewhere else, kept where all replicas find them.
//!
//! A ticket has a random name, and what is in it never changes but for the decision, so that who has seen it
//! knows what they decide about. How long it lasts is the store's to say, whose clock is not ours.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portkey_operation::JsonMap;
use portkey_store::{Key, Limit, Queue, Queued, Stamp, StoreError, Taken, Use};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use super::{
    Answer, ApprovalMethod, Approvals, Approved, Binding, Denied, Form, Question, Reaction,
};
use crate::{auth::principal::Principal, security::signed_state::random};

/// How many tickets one caller may have at once.
pub const MAX_TICKETS_OF_CALLER: usize = 30;
/// How many tickets there may be at once.
pub const MAX_TICKETS: usize = 500;
/// How many tickets one page of a list has at most.
pub const MAX_PAGE: usize = 200;
/// How many digits of a ticket's name have to be given at least.
pub const MIN_NAME_DIGITS: usize = 6;

/// How long the name of a ticket is known after the ticket is gone.
pub const NAME_REMEMBERED: Duration = Duration::from_secs(3600);

/// Where tickets are.
const QUEUE: Queue = Queue {
    name: "approval",
    max_of_owner: MAX_TICKETS_OF_CALLER,
    max: MAX_TICKETS,
    remembers: NAME_REMEMBERED,
};
/// How many bytes the name of a ticket has.
const NAME_BYTES: usize = 16;
/// How many tickets one caller may ask for, so that a human can still read them.
const MOST_TICKETS: Limit = Limit {
    burst: NonZeroU32::new(60).unwrap(),
    period: Duration::from_secs(3600),
};
/// How many tickets are read from the store at once.
const CHUNK: usize = 50;
/// How often a decision is looked for.
const POLL: Duration = Duration::from_millis(200);
/// The argument that may name a ticket; it is never sent.
const ARGUMENT: &str = "approval_ticket";

/// A question that waits for its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ticket {
    /// Its name: random hexadecimal digits.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Who made the call.
    pub principal: String,
    /// What the human reads.
    pub text: String,
    /// What the human has to type to approve, where that is asked for.
    pub confirm: Option<String>,
    /// When it was asked, in seconds since 1970: to be shown, and for nothing else.
    pub asked: u64,
    /// Until when the answer can be given and used, in seconds since 1970: to be shown, and for nothing
    /// else.
    pub expires: u64,
    /// How far it is.
    pub state: State,
    binding: String,
    /// When it was asked by the store's clock, and in which epoch.
    stamp: String,
    /// Random: tells a form of ours from a foreign one.
    serial: String,
    /// Digest of what opens its page.
    key: String,
}

/// Which tickets are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those about this tool.
    pub tool: Option<String>,
    /// Those that are `pending`, `approved` or `denied`.
    pub state: Option<String>,
}

/// A part of the tickets, the oldest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The tickets.
    pub tickets: Vec<Ticket>,
    /// The name after which the next page begins; none if there is no more.
    pub next: Option<String>,
}

/// How far a ticket is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody has decided.
    Pending,
    /// Someone said yes; who, by their own account.
    Approved(String),
    /// Someone said no; who, by their own account.
    Denied(String),
}

impl State {
    /// The value of the state, and who decided.
    pub fn as_parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Pending => ("pending", None),
            Self::Approved(by) => ("approved", Some(by)),
            Self::Denied(by) => ("denied", Some(by)),
        }
    }
}

/// A call that waits for somebody to decide elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{tool}` waits for the approval of a human, and nothing has happened yet. Its ticket is {id}: tell \
     your user, for whoever runs this server can decide about it. Once they have, make exactly the same \
     call again within {seconds} s; with other arguments it is another call. You cannot approve it yourself"
)]
pub struct Waiting {
    /// The tool.
    pub tool: &'static str,
    /// The name of the ticket.
    pub id: String,
    /// For how long it waits.
    pub seconds: u64,
}

/// Why a decision does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// There is no such ticket, or not any more.
    #[error("there is no such ticket; it may have expired")]
    Unknown,
    /// Too little of a name.
    #[error("give at least {MIN_NAME_DIGITS} digits of the ticket")]
    TooShort,
    /// The beginning of several names.
    #[error(
        "several tickets begin so, or did within the last hour; give more digits of the one that is meant"
    )]
    Ambiguous,
    /// Somebody was first.
    #[error("it was decided already")]
    Decided,
    /// The decision is about something else than what the ticket says.
    #[error("the digest is not that of the ticket: look at the ticket again before deciding")]
    NotShown,
    /// The name that was typed is another one.
    #[error("to approve it, type its name: {0}")]
    Mistyped(String),
    /// Nothing can be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Filter {
    fn admits(&self, ticket: &Ticket) -> bool {
        let is =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        is(&self.caller, &ticket.principal)
            && is(&self.tool, &ticket.tool)
            && is(&self.state, ticket.state.as_parts().0)
    }
}

impl Ticket {
    /// The text that a form has to bring back; only who sees its page knows it.
    pub fn form_token(&self) -> &str {
        &self.serial
    }

    /// A digest of what the ticket says, and of the call that it stands for. A decision has to bring it, so
    /// that it is about what was shown.
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
        hex::encode(digest.finalize().get(..NAME_BYTES).unwrap_or_default())
    }

    /// Whether nobody has decided.
    pub fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// Whether this opens its page.
    pub fn opens_with(&self, key: &str) -> bool {
        digest(key).as_bytes().ct_eq(self.key.as_bytes()).into()
    }

    /// What may be shown of it: all but what opens its page and proves its form.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "tool": self.tool, "principal": self.principal, "text": self.text,
            "confirm": self.confirm, "asked": self.asked, "expires": self.expires,
            "seconds_left": self.left().as_secs(), "digest": self.digest(), "state": self.state,
        })
    }

    /// For about how long it is good. The store decides, by a clock of its own.
    pub fn left(&self) -> Duration {
        let whole = self.expires.saturating_sub(self.asked);
        Duration::from_secs(self.expires.saturating_sub(now()).min(whole))
    }

    /// What its caller is told.
    pub fn waiting(&self, tool: &'static str) -> Waiting {
        Waiting {
            tool,
            id: self.id.clone(),
            seconds: self.left().as_secs(),
        }
    }

    fn mark(&self, what: &'static str) -> Key {
        Key::new(what, &[&self.id]).owned_by(&self.principal)
    }

    fn stamp(&self) -> Option<Stamp> {
        let bytes: Vec<u8> = hex::decode(&self.stamp).ok()?;
        Some(Stamp::from_bytes(bytes.try_into().ok()?))
    }

    /// Whether the store has not forgotten since it was asked.
    fn is_of_epoch_of(&self, now: &Stamp) -> bool {
        self.stamp().is_some_and(|stamp| stamp.is_of_epoch_of(now))
    }
}

impl Approvals {
    /// Keeps a question for somebody to decide elsewhere; one that waits already stays as it is. The
    /// address of its page goes to the log alone: whoever makes the call must not see it.
    ///
    /// # Errors
    /// Nobody decides elsewhere, the caller has too many tickets, or it cannot be kept.
    pub async fn file(&self, principal: &Principal, question: &Question) -> Result<Ticket, Denied> {
        let Some(desk) = self.desk() else {
            return Err(Denied::Nobody {
                tool: question.tool,
                rule: question.rule.clone(),
            });
        };
        let stamp = self.store.store().stamp().await.map_err(unkept)?;
        let own = self.tickets_of(principal, &stamp).await.map_err(unkept)?;
        let binding = hex::encode(question.binding().as_bytes());
        let waits = |ticket: &&Ticket| ticket.binding == binding && ticket.is_pending();
        if let Some(ticket) = own.iter().find(waits) {
            return Ok(ticket.clone());
        }
        if own.len() >= MAX_TICKETS_OF_CALLER {
            return Err(Denied::TooMany);
        }
        let of_caller = Key::new("approval-asked", &[&principal.name]);
        match self
            .store
            .store()
            .take(&of_caller, &MOST_TICKETS)
            .await
            .map_err(unkept)?
        {
            Taken::Yes => {}
            Taken::RetryAfter(_) => return Err(Denied::TooMany),
        }
        let randomness = || Denied::Unkept("the system gives no random numbers".to_owned());
        let id = random::<NAME_BYTES>().map_err(|_| randomness())?;
        let key = random::<16>().map_err(|_| randomness())?;
        let serial = random::<16>().map_err(|_| randomness())?;
        let (key, asked) = (hex::encode(key), now());
        let ticket = Ticket {
            id: hex::encode(id),
            tool: question.tool.to_owned(),
            principal: principal.name.to_string(),
            text: question.text.clone(),
            confirm: question.confirm.clone(),
            asked,
            expires: asked + self.patience().as_secs().max(1),
            state: State::Pending,
            binding,
            stamp: hex::encode(stamp.to_bytes()),
            serial: hex::encode(serial),
            key: digest(&key),
        };
        let value = serde_json::to_vec(&ticket).unwrap_or_default().into();
        let (id, owner) = (&ticket.id, &principal.name);
        match self
            .store
            .enqueue(&QUEUE, id, owner, value, self.patience())
            .await
            .map_err(unkept)?
        {
            Queued::Yes => {}
            Queued::TooManyOfOwner => return Err(Denied::TooMany),
            Queued::Full => return Err(Denied::QueueFull),
        }
        let tool = question.tool;
        warn!(
            tool,
            ticket = id,
            page = format!("{desk}/decide/{id}/{key}"),
            "a call waits for approval"
        );
        Ok(ticket)
    }

    /// Tickets that have not expired, the oldest first: those that come after the one of the name `after`,
    /// and at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// There is no ticket of that name, or Redis is away.
    pub async fn tickets(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Undecided> {
        let stamp = self.store.store().stamp().await?;
        let names = self.store.store().queued(&QUEUE, None).await?;
        let start = match after {
            None => 0,
            Some(after) => {
                let place = names.iter().position(|name| name.id == after);
                place.ok_or(Undecided::Unknown)? + 1
            }
        };
        let live: Vec<_> = names
            .iter()
            .skip(start)
            .filter(|name| name.is_live)
            .collect();
        let limit = limit.clamp(1, MAX_PAGE);
        let mut tickets: Vec<Ticket> = Vec::new();
        for chunk in live.chunks(CHUNK) {
            let ids: Vec<_> = chunk.iter().map(|name| &*name.id).collect();
            let found = self.load(&ids, &stamp).await?;
            tickets.extend(found.into_iter().filter(|ticket| filter.admits(ticket)));
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
        Ok(Page { tickets, next })
    }

    /// The ticket of that name.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn ticket(&self, id: &str) -> Result<Option<Ticket>, StoreError> {
        if !(id.len() == 2 * NAME_BYTES && is_name(id)) {
            return Ok(None);
        }
        let stamp = self.store.store().stamp().await?;
        Ok(self.load(&[id], &stamp).await?.pop())
    }

    /// The ticket whose name begins so, if no other one begins so or did of late.
    ///
    /// # Errors
    /// There is no such ticket, or more than one, or too little of a name was given.
    pub async fn find(&self, start: &str) -> Result<Ticket, Undecided> {
        let start = start.to_ascii_lowercase();
        if !is_name(&start) || start.len() > 2 * NAME_BYTES {
            return Err(Undecided::Unknown);
        }
        if start.len() < MIN_NAME_DIGITS {
            return Err(Undecided::TooShort);
        }
        let names = self.store.store().queued(&QUEUE, None).await?;
        let mut found = names.iter().filter(|name| name.id.starts_with(&start));
        let id = match (found.next(), found.next()) {
            (Some(only), None) => &only.id,
            (None, _) => return Err(Undecided::Unknown),
            (Some(_), Some(_)) => return Err(Undecided::Ambiguous),
        };
        self.ticket(id).await?.ok_or(Undecided::Unknown)
    }

    /// Waits until somebody has decided about a ticket, or it has expired.
    pub async fn decided(&self, id: &str) {
        while let Ok(Some(ticket)) = self.ticket(id).await
            && ticket.is_pending()
        {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Decides about a ticket as it was shown. Of two who do so at once, one is first, over all replicas.
    ///
    /// # Errors
    /// There is no such ticket, it says something else, it was decided, or the name that approves it is
    /// missing.
    pub async fn decide(
        &self,
        id: &str,
        digest: &str,
        form: &Form,
        by: &str,
    ) -> Result<Ticket, Undecided> {
        let mut ticket = self.ticket(id).await?.ok_or(Undecided::Unknown)?;
        if !bool::from(ticket.digest().as_bytes().ct_eq(digest.as_bytes())) {
            return Err(Undecided::NotShown);
        }
        let yes = match form.judge(ticket.confirm.as_deref()) {
            Ok(()) => true,
            Err(Denied::Mistyped(name)) => return Err(Undecided::Mistyped(name)),
            Err(_) if form.reaction == Reaction::Cancel => return Ok(ticket),
            Err(_) => false,
        };
        if !ticket.is_pending() {
            return Err(Undecided::Decided);
        }
        match self.use_once(&ticket, "approval-decided").await? {
            Use::First => {}
            Use::Again => return Err(Undecided::Decided),
            Use::Expired | Use::Forgotten => return Err(Undecided::Unknown),
        }
        let by = super::plain(by);
        ticket.state = if yes {
            State::Approved(by)
        } else {
            State::Denied(by)
        };
        let value = serde_json::to_vec(&ticket).unwrap_or_default().into();
        match self.store.replace_queued(&QUEUE, id, value).await? {
            true => Ok(ticket),
            false => Err(Undecided::Unknown),
        }
    }

    /// What became of the ticket of a call, which is used up if it was approved. Where the call names a
    /// ticket, it has to be that one.
    pub(super) async fn use_ticket(
        &self,
        principal: &Principal,
        binding: &Binding,
        named: Option<&str>,
    ) -> Result<Option<Approved>, Denied> {
        let stamp = self.store.store().stamp().await.map_err(unkept)?;
        let binding = hex::encode(binding.as_bytes());
        let mut own = self.tickets_of(principal, &stamp).await.map_err(unkept)?;
        own.retain(|ticket| ticket.binding == binding);
        if let Some(id) = named
            && !own.iter().any(|ticket| ticket.id == id)
        {
            return Err(Denied::Void);
        }
        if own
            .iter()
            .any(|ticket| matches!(ticket.state, State::Denied(_)))
        {
            return Err(Denied::Declined);
        }
        for ticket in &own {
            let State::Approved(by) = &ticket.state else {
                continue;
            };
            if self
                .use_once(ticket, "approval-used")
                .await
                .map_err(unkept)?
                == Use::First
            {
                self.store
                    .store()
                    .dequeue(&QUEUE, &ticket.id)
                    .await
                    .map_err(unkept)?;
                return Ok(Some(Approved {
                    method: ApprovalMethod::Ticket,
                    by: by.clone(),
                }));
            }
        }
        Ok(None)
    }

    /// The tickets of a caller that have not expired.
    async fn tickets_of(
        &self,
        principal: &Principal,
        stamp: &Stamp,
    ) -> Result<Vec<Ticket>, StoreError> {
        let names = self
            .store
            .store()
            .queued(&QUEUE, Some(&principal.name))
            .await?;
        let live = names
            .iter()
            .filter(|name| name.is_live)
            .map(|name| &*name.id);
        self.load(&live.collect::<Vec<_>>(), stamp).await
    }

    /// Those of these tickets that are there still. One of an earlier epoch counts for nothing, because what
    /// became of it is forgotten.
    async fn load(&self, ids: &[&str], stamp: &Stamp) -> Result<Vec<Ticket>, StoreError> {
        let values = self.store.queued_values(&QUEUE, ids).await?;
        let tickets = values
            .iter()
            .filter_map(|value| serde_json::from_slice(value).ok());
        Ok(tickets
            .filter(|ticket: &Ticket| ticket.is_of_epoch_of(stamp))
            .collect())
    }

    /// Marks what can happen to a ticket once.
    async fn use_once(&self, ticket: &Ticket, what: &'static str) -> Result<Use, StoreError> {
        let Some(stamp) = ticket.stamp() else {
            return Ok(Use::Forgotten);
        };
        self.store
            .store()
            .use_once(&stamp, &ticket.mark(what), self.patience())
            .await
    }
}

/// Takes the name of a ticket out of the arguments of a call, where a caller may put it.
pub fn take_ticket(args: &mut JsonMap) -> Option<Answer> {
    match args.shift_remove(ARGUMENT)? {
        Value::String(id) => Some(Answer::Ticket(id)),
        // No ticket is called so.
        other => Some(Answer::Ticket(other.to_string())),
    }
}

fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unkept(error: StoreError) -> Denied {
    Denied::Unkept(error.to_string())
}

fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
