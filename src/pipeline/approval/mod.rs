//! Approval: some calls need a human's consent, which the model cannot give. Knows no protocol.
//!
//! A call that needs approval results in a [`Question`]. A layer that can reach a human presents
//! it and repeats the call with the [`Answer`].
//!
//! The repeated call is validated and evaluated from scratch. A response is valid only for the
//! call it was requested for: same caller, tool, arguments and rule.

mod answer;
mod binding;
mod plain;
mod question;
mod ticket;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use portkey_file_watch::WatchedValue;
use portkey_operation::{Effect, Operation};
use portkey_store::Store;

use crate::{
    auth::principal::Principal,
    security::{
        encrypted_store::EncryptedStore,
        signed_state::{Keyring, StatePurpose},
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

/// The requirement that a human approve a call, as a rule states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// Name of the rule or option that requires approval.
    pub rule: String,
    /// Message of the rule for the approver.
    pub words: Option<String>,
    /// True if the approver has to type the resource's name.
    pub confirm: bool,
    /// Revision of the policies; an approval is invalid once they change.
    pub revision: String,
}

/// Approval required by the effect of an operation, regardless of policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always {
    /// Require approval for every write.
    pub writes: bool,
    /// Require approval for operations that irrevocably remove or may overwrite something.
    pub deletes: bool,
    /// True if the approver has to type the resource's name for such destructive operations.
    pub confirm: bool,
}

impl Always {
    /// Returns the requirement for calls of an operation, if there is one.
    pub fn of(self, operation: &Operation) -> Option<Required> {
        let destructive = operation.hints().destructive || operation.effect() == Effect::Delete;
        let rule = match () {
            () if self.deletes && destructive => "--approve-deletes",
            () if self.writes && operation.effect() != Effect::Read => "--approve-writes",
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

/// Issues approval requests, keeps tickets, and checks responses.
#[derive(Debug)]
pub struct Approvals {
    keys: Arc<WatchedValue<Keyring>>,
    store: EncryptedStore,
    ttl: Duration,
    desk: OnceLock<String>,
}

/// State that a client keeps between an approval request and its response, apart from the binding.
#[derive(serde::Deserialize, serde::Serialize)]
struct Kept {
    confirm: Option<String>,
}

impl Approvals {
    /// Creates the service. The keys sign the state that clients keep, and encrypt what is kept in
    /// a shared store.
    ///
    /// A response is valid for `ttl`, and once among all replicas that share the store.
    pub fn new(keys: Arc<WatchedValue<Keyring>>, store: Store, ttl: Duration) -> Self {
        let store = EncryptedStore::new(store, keys.clone());
        Self {
            keys,
            store,
            ttl,
            desk: OnceLock::new(),
        }
    }

    /// Announces the approval server at this address, so that humans can decide there.
    pub fn open_desk(&self, url: String) {
        // Set twice, the first address stays.
        _ = self.desk.set(url);
    }

    /// Returns the address of the approval server, if there is one.
    pub fn desk(&self) -> Option<&str> {
        self.desk.get().map(String::as_str)
    }

    /// Returns the time for which a request waits for its response.
    pub const fn patience(&self) -> Duration {
        self.ttl
    }

    /// Signs a request, so that the client can return it with the response. Only the same caller
    /// can use it.
    ///
    /// # Errors
    /// Returns `StoreFailed` if the store that will record its use is unavailable.
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
        Ok(keys.sign_once(StatePurpose::RequestState, &principal.name, binding, &kept, once))
    }

    /// Returns the approval of the call identified by `binding`; `None` if no human has been asked.
    ///
    /// # Errors
    /// Returns an error if a human declined, or if the response is for another call, expired, or
    /// already used.
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
                    (self.keys.get(), StatePurpose::RequestState, &principal.name);
                let kept = keys.verify_once(
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
