//! Approval: some calls need a human's consent, which the model cannot give. Knows no protocol.
//!
//! A call that needs approval results in a [`ApprovalRequest`]. A layer that can reach a human presents
//! it and repeats the call with the [`ApprovalResponse`].
//!
//! The repeated call is validated and evaluated from scratch. A response is valid only for the
//! call it was requested for: same caller, tool, arguments and rule.

mod binding;
mod details;
mod escape;
mod notice;
mod request;
mod response;
mod ticket;
mod votes;

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

pub(crate) use self::request::{ApprovalSubject, describe_risks};
pub use self::{
    binding::Binding,
    details::{CallDetails, DetailChange, RiskLabel},
    escape::escape_untrusted,
    notice::{NoticeSender, TicketNotice},
    request::ApprovalRequest,
    response::{Approval, ApprovalError, ApprovalResponse, FormAction, FormResponse},
    ticket::{
        DecisionError, MAX_PAGE_TICKETS, MAX_TICKETS, MAX_TICKETS_OF_CALLER, MIN_ID_DIGITS,
        PendingApproval, TICKET_ID_RETENTION, Ticket, TicketFilter, TicketPage, TicketState,
        take_ticket,
    },
    votes::{MAX_VOTES, MAX_VOTES_OF_TICKET},
};
pub use crate::observability::call_record::{ApprovalMethod, ApprovalRecord};

/// The requirement that a human approve a call, as a rule states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequirement {
    /// Name of the rule or option that requires approval.
    pub rule: String,
    /// Message of the rule for the approver.
    pub message: Option<String>,
    /// True if the approver has to type the resource's name.
    pub confirm: bool,
    /// Revision of the policies; an approval is invalid once they change.
    pub revision: String,
    /// Number of people who have to approve at the approval server, none of them the caller. `None`
    /// if the user of the caller's client may approve as well.
    pub approvers: Option<u8>,
}

/// The option that requires approval of calls with a risk.
const SENSITIVE_RULE: &str = "--approve-sensitive";

/// Approval required by the effect or the risks of a call, regardless of policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApprovalDefaults {
    /// Require approval for every write.
    pub writes: bool,
    /// Require approval for operations that irrevocably remove or may overwrite something.
    pub deletes: bool,
    /// Require approval for calls with a declared [risk](portkey_operation::Risk).
    pub sensitive: bool,
    /// True if the approver has to type the resource's name for such destructive operations.
    pub confirm: bool,
}

impl ApprovalDefaults {
    /// Returns the requirement for all calls of an operation, if there is one.
    pub fn requirement_for(self, operation: &Operation) -> Option<ApprovalRequirement> {
        let destructive = operation.hints().destructive || operation.effect() == Effect::Delete;
        let rule = match () {
            () if self.deletes && destructive => "--approve-deletes",
            () if self.sensitive && destructive => SENSITIVE_RULE,
            () if self.writes && operation.effect() != Effect::Read => "--approve-writes",
            () => return None,
        };
        Some(ApprovalRequirement {
            rule: rule.to_owned(),
            message: None,
            confirm: self.confirm && destructive,
            revision: String::new(),
            approvers: None,
        })
    }

    /// Returns the requirement for a call with a risk, other than a deletion.
    pub fn requirement_for_risk(self) -> ApprovalRequirement {
        ApprovalRequirement {
            rule: SENSITIVE_RULE.to_owned(),
            message: None,
            confirm: false,
            approvers: None,
            revision: String::new(),
        }
    }
}

/// Issues approval requests, keeps tickets, and checks responses.
#[derive(Debug)]
pub struct Approvals {
    keys: Arc<WatchedValue<Keyring>>,
    store: EncryptedStore,
    ttl: Duration,
    admin_url: OnceLock<String>,
    notices: OnceLock<NoticeSender>,
}

/// State that a client keeps between an approval request and its response, apart from the binding.
#[derive(serde::Deserialize, serde::Serialize)]
struct ClientState {
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
            admin_url: OnceLock::new(),
            notices: OnceLock::new(),
        }
    }

    /// Returns the keys that sign what clients keep.
    pub(crate) fn shared_keys(&self) -> Arc<WatchedValue<Keyring>> {
        Arc::clone(&self.keys)
    }

    /// Returns the store that replicas share.
    pub(crate) const fn store(&self) -> &EncryptedStore {
        &self.store
    }

    /// Announces the approval server at this address, so that humans can decide there.
    pub fn set_admin_url(&self, url: String) {
        // Set twice, the first address stays.
        _ = self.admin_url.set(url);
    }

    /// Announces each new ticket through this queue.
    pub fn set_notices(&self, notices: NoticeSender) {
        // Set twice, the first queue stays.
        _ = self.notices.set(notices);
    }

    /// Returns the address of the approval server, if there is one.
    pub fn admin_url(&self) -> Option<&str> {
        self.admin_url.get().map(String::as_str)
    }

    /// Returns the time for which a request waits for its response.
    pub const fn timeout(&self) -> Duration {
        self.ttl
    }

    /// Signs a request, so that the client can return it with the response. Only the same caller
    /// can use it.
    ///
    /// # Errors
    /// Returns `StoreFailed` if the store that will record its use is unavailable.
    pub async fn sign_request(
        &self,
        principal: &Principal,
        request: &ApprovalRequest,
    ) -> Result<String, ApprovalError> {
        let stamp = self.store.store().stamp().await;
        let stamp = stamp.map_err(|error| ApprovalError::StoreFailed(error.to_string()))?;
        let kept = ClientState {
            confirm: request.confirm.clone(),
        };
        let kept = serde_json::to_vec(&kept).unwrap_or_default();
        let binding = request.binding().as_bytes();
        let once = (self.ttl, stamp);
        let keys = self.keys.get();
        Ok(keys.sign_once(
            StatePurpose::RequestState,
            &principal.name,
            binding,
            &kept,
            once,
        ))
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
        response: Option<ApprovalResponse>,
        approvers: Option<u8>,
    ) -> Result<Option<ApprovalRecord>, ApprovalError> {
        match response {
            // The user of the caller's own client is not one of the approvers.
            Some(ApprovalResponse::Signed { .. }) if approvers.is_some() => {
                Err(ApprovalError::InvalidResponse)
            }
            Some(ApprovalResponse::Resolved(Ok(approval))) if approval.approvers < approvers => {
                Err(ApprovalError::InvalidResponse)
            }
            Some(ApprovalResponse::Resolved(said)) => said?.verify(binding).map(Some),
            Some(ApprovalResponse::Signed { state, form }) => {
                let (keys, purpose, name) =
                    (self.keys.get(), StatePurpose::RequestState, &principal.name);
                let kept = keys.verify_once(
                    purpose,
                    name,
                    binding.as_bytes(),
                    &state,
                    self.store.store(),
                );
                let kept = kept.await.map_err(|_| ApprovalError::InvalidResponse)?;
                let kept: ClientState =
                    serde_json::from_slice(&kept).map_err(|_| ApprovalError::InvalidResponse)?;
                form.evaluate(kept.confirm.as_deref())?;
                Ok(Some(ApprovalRecord {
                    method: ApprovalMethod::Form,
                    by: principal.name.to_string(),
                }))
            }
            Some(ApprovalResponse::Ticket(id)) if self.admin_url().is_some() => {
                self.use_ticket(principal, binding, Some(&id)).await
            }
            None if self.admin_url().is_some() => self.use_ticket(principal, binding, None).await,
            Some(ApprovalResponse::Ticket(_)) | None => Ok(None),
        }
    }
}
