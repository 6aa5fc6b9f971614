//! Putting a dispatcher together: each step adds one thing that stands in the way of calls.

use std::sync::Arc;

use portkey_api::catalog::{Catalog, Entry};
use portkey_concurrency::worker_pool::Workers;
use portkey_file_watch::Watched;
use portkey_operation::{JsonMap, Operation, ValidationOptions};
use portkey_policy::Policy;
use portkey_store::Store;

use super::Dispatcher;
use crate::{
    auth::principal::{AccessModes, Principal, Proofs},
    observability::{audit::Audit, metrics::Metrics},
    pipeline::{
        approval::{Always, Approvals},
        dry_run,
        taint::Taint,
    },
    security::secrets::Secrets,
    upstream::Client,
};

impl Dispatcher {
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self {
            catalog,
            portkey,
            policy: None,
            store: Store::memory(),
            modes: AccessModes::default(),
            validation: ValidationOptions::default(),
            dry_run: false,
            always: Always::default(),
            approvals: None,
            taint: Taint::in_store(Store::memory()),
            audit: None,
            secrets: Secrets::default(),
            proofs: Proofs::default(),
            workers: Workers::shared(),
        }
    }

    /// The same under a policy, which takes effect when its file changes.
    pub fn under(self, policy: Watched<Policy>) -> Self {
        Self {
            policy: Some(policy),
            ..self
        }
    }

    /// The same for other operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The same, with only what these modes leave on offer, whoever calls.
    pub fn narrowed(self, modes: AccessModes) -> Self {
        Self { modes, ..self }
    }

    /// Arguments in the form in which they are sent, or as they are if they are not valid.
    pub fn as_sent(&self, entry: &Entry, args: JsonMap) -> JsonMap {
        match entry.published().validate(args.clone(), &self.validation) {
            Ok(validated) => validated.args,
            Err(_) => args,
        }
    }

    /// The same, with arguments validated so.
    pub fn with_validation(self, validation: ValidationOptions) -> Self {
        Self { validation, ..self }
    }

    /// The same, with what it has to remember in a store that others share.
    pub fn sharing(self, store: Store) -> Self {
        Self {
            taint: Taint::in_store(store.clone()),
            store,
            ..self
        }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self {
            portkey: self.portkey.measured(metrics),
            ..self
        }
    }

    /// The same, where large answers are worked on by these.
    #[must_use]
    pub fn with_workers(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// The policy that all calls are under.
    pub const fn policy(&self) -> Option<&Watched<Policy>> {
        self.policy.as_ref()
    }

    /// Whether a caller sees an operation: it is on offer, and the policies that the caller is under can
    /// permit some call of it.
    pub fn shows(&self, principal: &Principal, entry: &Entry) -> bool {
        let server = self.policy.as_ref().map(Watched::get);
        let offered = self.modes.admit(entry.domain.name, entry.operation);
        let permits = |policy: &Policy| policy.can_permit(entry.operation);
        offered
            .and_then(|()| principal.sees(entry.domain.name, entry.operation))
            .is_ok()
            && server.is_none_or(|policy| permits(&policy))
            && principal.policy.as_deref().is_none_or(permits)
    }

    /// Whether a caller finds it in the list of tools.
    pub fn is_listed(&self, principal: &Principal, entry: &Entry) -> bool {
        let offered = self.modes.admit(entry.domain.name, entry.operation).is_ok();
        offered && self.shows(principal, entry)
    }

    /// Whether nothing but a rule about single calls can stand between a caller and it.
    pub fn is_open(&self, principal: &Principal, entry: &Entry) -> bool {
        let may = principal.may(entry.domain.name, entry.operation).is_ok();
        may && self.is_listed(principal, entry)
    }

    /// The tool with which a caller sees whether a write took effect, if there is one.
    pub fn way_to_look(&self, principal: &Principal, write: &Operation) -> Option<&'static str> {
        let read = dry_run::shows(&self.catalog, write)?;
        self.shows(principal, read).then(|| read.operation.name())
    }

    /// Whether a policy may have a human asked about a call.
    pub fn may_ask(&self, principal: &Principal, operation: &Operation) -> bool {
        let server = self.policy.as_ref().map(Watched::get);
        server.is_some_and(|policy| policy.asks(operation))
            || principal
                .policy
                .as_deref()
                .is_some_and(|policy| policy.asks(operation))
    }

    /// Which versions of policies a caller is under.
    pub fn revisions(&self, principal: &Principal) -> String {
        let server = self.policy.as_ref().map(Watched::get);
        let policies = server.as_deref().map(|policy| &**policy).into_iter();
        let policies = policies.chain(principal.policy.as_deref());
        policies.map(Policy::revision).collect::<Vec<_>>().join("+")
    }

    /// The same, with writes told instead of sent if `on`.
    pub fn dry_run(self, on: bool) -> Self {
        Self {
            dry_run: on,
            ..self
        }
    }

    /// The same, where calls of these kinds need a human's approval.
    pub fn approving(self, always: Always) -> Self {
        Self { always, ..self }
    }

    /// The same, with humans to ask. Without, calls that need approval are denied.
    pub fn asking(self, approvals: Arc<Approvals>) -> Self {
        Self {
            approvals: Some(approvals),
            ..self
        }
    }

    /// The same, with every call put on record.
    pub fn audited(self, audit: Audit) -> Self {
        Self {
            audit: Some(audit),
            ..self
        }
    }

    /// The same, with secrets treated so.
    pub fn guarding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Where answers of humans are checked.
    pub fn approvals(&self) -> Option<&Approvals> {
        self.approvals.as_deref()
    }

    /// Who has read what strangers wrote.
    pub const fn taint(&self) -> &Taint {
        &self.taint
    }

    /// How secrets are treated.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What names lead to.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What is on offer here, in the order of names. Callers may see less.
    pub fn offered(&self) -> impl Iterator<Item = &Entry> {
        let offered = |entry: &&Entry| self.modes.admit(entry.domain.name, entry.operation).is_ok();
        self.catalog.iter().filter(offered)
    }
}
