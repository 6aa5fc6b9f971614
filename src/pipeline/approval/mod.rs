//! Approval: calls that a human has to say yes to, never the model. Knows no protocol.
//!
//! A call that needs it is turned into a [`Question`]. Whoever can reach a human puts it to them and
//! makes the same call again with the [`Answer`]. The gate then decides anew, and an answer counts for
//! nothing but the call that was asked about: same caller, same tool, same arguments, same rule.

mod answer;
mod binding;
mod plain;
mod question;
mod ticket;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use portkey_file_watch::Watched;
use portkey_operation::{Effect, Operation};
use portkey_store::Store;

use crate::{
    auth::principal::Principal,
    security::{
        encrypted_store::SealedStore,
        signed_state::{Keyring, Purpose},
    },
};

pub(crate) use self::question::About;
pub use self::{
    answer::{Answer, Denied, Form, Grant, Reaction},
    binding::Binding,
    plain::plain,
    question::Question,
    ticket::{
        Filter, MAX_PAGE, MAX_TICKETS, MAX_TICKETS_OF_CALLER, MIN_NAME_DIGITS, NAME_REMEMBERED,
        Page, State, Ticket, Undecided, Waiting, take_ticket,
    },
};
pub use crate::observability::call_record::{ApprovalMethod, Approved};

/// Why a call needs a human's approval, as a rule has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// Which rule says so.
    pub rule: String,
    /// What the rule tells whoever decides.
    pub words: Option<String>,
    /// Whether the resource's name has to be typed.
    pub confirm: bool,
    /// Which version of the rules it is: an approval does not outlive it.
    pub revision: String,
}

/// Approval by effect alone, whatever other rules say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always {
    /// For everything that changes something.
    pub writes: bool,
    /// For what removes or may overwrite something for good.
    pub deletes: bool,
    /// Whether the name of what such a call is about has to be typed.
    pub confirm: bool,
}

impl Always {
    /// Whether a call of the operation needs approval.
    pub fn of(self, operation: &Operation) -> Option<Required> {
        let destructive = operation.hints().destructive || operation.effects() == Effect::Delete;
        let rule = match () {
            () if self.deletes && destructive => "--approve-deletes",
            () if self.writes && operation.effects() != Effect::Read => "--approve-writes",
            () => return None,
        };
        Some(Required {
            rule: rule.to_owned(),
            words: None,
            confirm: self.confirm && destructive,
            revision: String::new(),
        })
    }
}

/// Where answers are checked.
#[derive(Debug)]
pub struct Approvals {
    keys: Arc<Watched<Keyring>>,
    store: SealedStore,
    ttl: Duration,
    desk: OnceLock<String>,
}

/// What a client keeps between the question and its answer.
#[derive(serde::Deserialize, serde::Serialize)]
struct Kept {
    confirm: Option<String>,
}

impl Approvals {
    /// What a client keeps is sealed with the keys, and so is what is kept where others have the store, too;
    /// an answer is good for the time `ttl`, and once among all who have the store.
    pub fn new(keys: Arc<Watched<Keyring>>, store: Store, ttl: Duration) -> Self {
        let store = SealedStore::new(store, keys.clone());
        Self {
            keys,
            store,
            ttl,
            desk: OnceLock::new(),
        }
    }

    /// Somebody can decide elsewhere from now on, at this address.
    pub fn open_desk(&self, url: String) {
        // Opened twice, the first one counts.
        _ = self.desk.set(url);
    }

    /// Where somebody can decide elsewhere; none if nobody can.
    pub fn desk(&self) -> Option<&str> {
        self.desk.get().map(String::as_str)
    }

    /// How long a question waits for its answer.
    pub const fn patience(&self) -> Duration {
        self.ttl
    }

    /// The question as a client can bring it back with the answer, for this caller only.
    ///
    /// # Errors
    /// The store that will mark its use is away.
    pub async fn sealed(
        &self,
        principal: &Principal,
        question: &Question,
    ) -> Result<String, Denied> {
        let stamp = self.store.store().stamp().await;
        let stamp = stamp.map_err(|error| Denied::Unkept(error.to_string()))?;
        let kept = Kept {
            confirm: question.confirm.clone(),
        };
        let kept = serde_json::to_vec(&kept).unwrap_or_default();
        let (binding, once) = (question.binding().as_bytes(), (self.ttl, stamp));
        let keys = self.keys.get();
        Ok(keys.seal_once(Purpose::RequestState, &principal.name, binding, &kept, once))
    }

    /// Whether a human approved the very call that the binding stands for; none if nobody was asked yet.
    ///
    /// # Errors
    /// The human said no, or the answer is not for this call, too late, or used.
    pub async fn check(
        &self,
        principal: &Principal,
        binding: &Binding,
        answer: Option<Answer>,
    ) -> Result<Option<Approved>, Denied> {
        match answer {
            Some(Answer::Given(said)) => said?.of(binding).map(Some),
            Some(Answer::Sealed { state, form }) => {
                let (keys, purpose, name) =
                    (self.keys.get(), Purpose::RequestState, &principal.name);
                let kept = keys.open_once(
                    purpose,
                    name,
                    binding.as_bytes(),
                    &state,
                    self.store.store(),
                );
                let kept = kept.await.map_err(|_| Denied::Void)?;
                let kept: Kept = serde_json::from_slice(&kept).map_err(|_| Denied::Void)?;
                form.judge(kept.confirm.as_deref())?;
                Ok(Some(Approved {
                    method: ApprovalMethod::Form,
                    by: principal.name.to_string(),
                }))
            }
            Some(Answer::Ticket(id)) if self.desk().is_some() => {
                self.use_ticket(principal, binding, Some(&id)).await
            }
            None if self.desk().is_some() => self.use_ticket(principal, binding, None).await,
            Some(Answer::Ticket(_)) | None => Ok(None),
        }
    }
}
