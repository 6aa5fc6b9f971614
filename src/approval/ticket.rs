//! Questions that wait for a human who is somewhere else, kept where all replicas find them.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{Answer, Approvals, Approved, Binding, Denied, Form, How, Question, Reaction};
use crate::{
    operation::JsonMap,
    principal::Principal,
    seal::random,
    store::{Key, Limit, StoreError, Taken},
};

/// What tickets are called in the store.
const PURPOSE: &str = "approval";
/// How many bytes of a binding name a ticket. The whole is compared as well.
const NAME_BYTES: usize = 16;
/// How many tickets one caller may ask for, so that a human can still read them.
const MOST_TICKETS: Limit =
    Limit { burst: NonZeroU32::new(60).unwrap(), period: Duration::from_secs(3600) };
/// How often a decision is looked for.
const POLL: Duration = Duration::from_millis(200);
/// The argument that may name a ticket; it is never sent.
const ARGUMENT: &str = "approval_ticket";

/// A question that waits for its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ticket {
    /// Its name: hexadecimal digits.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Who made the call.
    pub principal: String,
    /// What the human reads.
    pub text: String,
    /// What the human has to type to approve, where that is asked for.
    pub confirm: Option<String>,
    /// When it was asked, in seconds since 1970.
    pub asked: u64,
    /// Until when the answer can be given and used, in seconds since 1970.
    pub expires: u64,
    /// How far it is.
    pub state: State,
    binding: String,
    /// Random: tells this ticket from others about the same call, and a form of ours from a foreign one.
    serial: String,
    /// Digest of what opens its page.
    key: String,
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
    /// The word for what was decided, and who decided.
    pub fn decision(&self) -> (&'static str, Option<&str>) {
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
    /// Somebody was first.
    #[error("it was decided already")]
    Decided,
    /// The name that was typed is another one.
    #[error("to approve it, type its name: {0}")]
    Mistyped(String),
    /// Nothing can be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ticket {
    /// The text that a form has to bring back; only who sees its page knows it.
    pub fn form_token(&self) -> &str {
        &self.serial
    }

    /// Whether nobody has decided.
    pub fn is_pending(&self) -> bool {
        self.state == State::Pending && !self.left().is_zero()
    }

    /// Whether this opens its page.
    pub fn opens_with(&self, key: &str) -> bool {
        digest(key) == self.key
    }

    /// What may be shown of it: all but what opens its page and proves its form.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "tool": self.tool, "principal": self.principal, "text": self.text,
            "confirm": self.confirm, "asked": self.asked, "expires": self.expires,
            "state": self.state,
        })
    }

    /// For how long it is good.
    pub fn left(&self) -> Duration {
        Duration::from_secs(self.expires.saturating_sub(now()))
    }

    /// What its caller is told.
    pub fn waiting(&self, tool: &'static str) -> Waiting {
        Waiting { tool, id: self.id.clone(), seconds: self.left().as_secs() }
    }

    fn mark(&self, what: &'static str) -> Key {
        Key::new(what, &[&self.id, &self.serial])
    }
}

impl Approvals {
    /// Keeps a question for somebody to decide elsewhere; one that waits already stays as it is. The
    /// address of its page goes to the log alone: whoever makes the call must not see it.
    ///
    /// # Errors
    /// Nobody decides elsewhere, or it cannot be kept.
    pub async fn file(&self, principal: &Principal, question: &Question) -> Result<Ticket, Denied> {
        let Some(desk) = self.desk() else {
            return Err(Denied::Nobody { tool: question.tool, rule: question.rule.clone() });
        };
        let kept = self.ticket(&name(question.binding())).await;
        let kept = kept.map_err(|error| Denied::Unkept(error.to_string()))?;
        if let Some(ticket) = kept.filter(|ticket| ticket.state == State::Pending) {
            // Nobody shall find another call under a name that they have looked at.
            if ticket.binding != hex::encode(question.binding().as_bytes()) {
                return Err(Denied::Unkept("its name is taken".to_owned()));
            }
            return Ok(ticket);
        }
        let of_caller = Key::new("approval-asked", &[&principal.name]);
        match self.store.take(&of_caller, &MOST_TICKETS).await {
            Ok(Taken::Yes) => {}
            Ok(Taken::RetryAfter(_)) => return Err(Denied::TooMany),
            Err(error) => return Err(Denied::Unkept(error.to_string())),
        }
        let (Ok(key), Ok(serial)) = (random::<16>(), random::<16>()) else {
            return Err(Denied::Unkept("the system gives no random numbers".to_owned()));
        };
        let (key, asked) = (hex::encode(key), now());
        let ticket = Ticket {
            id: name(question.binding()),
            tool: question.tool.to_owned(),
            principal: principal.name.to_string(),
            text: question.text.clone(),
            confirm: question.confirm.clone(),
            asked,
            expires: asked + self.patience().as_secs().max(1),
            state: State::Pending,
            binding: hex::encode(question.binding().as_bytes()),
            serial: hex::encode(serial),
            key: digest(&key),
        };
        self.keep(&ticket).await.map_err(|error| Denied::Unkept(error.to_string()))?;
        let (tool, id) = (question.tool, &ticket.id);
        warn!(
            tool,
            ticket = id,
            page = format!("{desk}/decide/{id}/{key}"),
            "a call waits for approval"
        );
        Ok(ticket)
    }

    /// All tickets that have not expired, the newest first.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn tickets(&self) -> Result<Vec<Ticket>, StoreError> {
        let kept = self.store.values(PURPOSE).await?;
        let mut tickets: Vec<Ticket> =
            kept.iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
        tickets.sort_by(|a, b| (b.asked, &a.id).cmp(&(a.asked, &b.id)));
        Ok(tickets)
    }

    /// The ticket of that name.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn ticket(&self, id: &str) -> Result<Option<Ticket>, StoreError> {
        let kept = self.store.get(&Key::new(PURPOSE, &[id])).await?;
        Ok(kept.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// Waits until somebody has decided about a ticket, or it has expired.
    pub async fn decided(&self, id: &str) {
        while let Ok(Some(ticket)) = self.ticket(id).await
            && ticket.is_pending()
        {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Decides about a ticket. Of two who do so at once, one is first, over all replicas.
    ///
    /// # Errors
    /// There is no such ticket, it was decided, or the name that approves it is missing.
    pub async fn decide(&self, id: &str, form: &Form, by: &str) -> Result<Ticket, Undecided> {
        let mut ticket = self.ticket(id).await?.ok_or(Undecided::Unknown)?;
        let yes = match form.judge(ticket.confirm.as_deref()) {
            Ok(()) => true,
            Err(Denied::Mistyped(name)) => return Err(Undecided::Mistyped(name)),
            Err(_) if form.reaction == Reaction::Cancel => return Ok(ticket),
            Err(_) => false,
        };
        let (pending, left) = (ticket.state == State::Pending, ticket.left());
        if left.is_zero() {
            return Err(Undecided::Unknown);
        }
        if !pending || !self.store.once(&ticket.mark("approval-decided"), left).await? {
            return Err(Undecided::Decided);
        }
        let by = super::plain(by);
        ticket.state = if yes { State::Approved(by) } else { State::Denied(by) };
        self.keep(&ticket).await?;
        Ok(ticket)
    }

    /// What became of the ticket of a call, which is used up if it was approved.
    pub(super) async fn use_ticket(&self, binding: &Binding) -> Result<Option<Approved>, Denied> {
        let Some(ticket) = self.of_call(binding).await? else { return Ok(None) };
        let unkept = |error: StoreError| Denied::Unkept(error.to_string());
        match &ticket.state {
            State::Pending => Ok(None),
            State::Denied(_) => Err(Denied::Declined),
            State::Approved(by) => {
                let left = ticket.left() + Duration::from_secs(60);
                if !self.store.once(&ticket.mark("approval-used"), left).await.map_err(unkept)? {
                    return Ok(None);
                }
                self.store.remove(&Key::new(PURPOSE, &[&ticket.id])).await.map_err(unkept)?;
                Ok(Some(Approved { how: How::Ticket, by: by.clone() }))
            }
        }
    }

    /// The ticket of a call that has not expired.
    async fn of_call(&self, binding: &Binding) -> Result<Option<Ticket>, Denied> {
        let ticket = self.ticket(&name(binding)).await;
        let ticket = ticket.map_err(|error| Denied::Unkept(error.to_string()))?;
        let whole = hex::encode(binding.as_bytes());
        Ok(ticket.filter(|ticket| ticket.binding == whole && !ticket.left().is_zero()))
    }

    async fn keep(&self, ticket: &Ticket) -> Result<(), StoreError> {
        let value = serde_json::to_vec(ticket).unwrap_or_default();
        self.store.put(&Key::new(PURPOSE, &[&ticket.id]), value.into(), ticket.left()).await
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

pub(super) fn name(binding: &Binding) -> String {
    hex::encode(binding.as_bytes().get(..NAME_BYTES).unwrap_or_default())
}

fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
