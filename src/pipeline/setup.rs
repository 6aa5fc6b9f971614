//! The builder methods and look-ups of a [`Dispatcher`].

use std::sync::Arc;

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_file_watch::WatchedValue;
use portkey_operation::{JsonMap, Operation, ValidationOptions};
use portkey_policy::Policy;
use portkey_store::Store;

use super::Dispatcher;
use crate::{
    auth::principal::{ToolFilter, Principal, KeyProofs},
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
    /// Creates a dispatcher that offers the operations of a catalog and sends calls to the
    /// upstreams.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self {
            catalog,
            portkey,
            policy: None,
            store: Store::in_memory(),
            modes: ToolFilter::default(),
            validation: ValidationOptions::default(),
            dry_run: false,
            always: Always::default(),
            approvals: None,
            taint: Taint::in_store(Store::in_memory()),
            audit: None,
            secrets: Secrets::default(),
            proofs: KeyProofs::default(),
            workers: WorkerPool::shared(),
        }
    }

    /// Sets the server policy. It is reloaded when its file changes.
    pub fn under(self, policy: WatchedValue<Policy>) -> Self {
        Self {
            policy: Some(policy),
            ..self
        }
    }

    /// Replaces the catalog of operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// Sets the server-wide tool filter, which applies to every caller.
    pub fn narrowed(self, modes: ToolFilter) -> Self {
        Self { modes, ..self }
    }

    /// Returns the arguments in the form in which they are sent, or unchanged if they are invalid.
    pub fn as_sent(&self, entry: &CatalogEntry, args: JsonMap) -> JsonMap {
        match entry.compiled().validate(args.clone(), &self.validation) {
            Ok(validated) => validated.args,
            Err(_) => args,
        }
    }

    /// Sets the options for validating arguments.
    pub fn with_validation(self, validation: ValidationOptions) -> Self {
        Self { validation, ..self }
    }

    /// Sets the store for counters and taint, which replicas can share.
    pub fn sharing(self, store: Store) -> Self {
        Self {
            taint: Taint::in_store(store.clone()),
            store,
            ..self
        }
    }

    /// Records upstream requests in these metrics.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self {
            portkey: self.portkey.measured(metrics),
            ..self
        }
    }

    /// Sets the worker threads that finish large responses.
    #[must_use]
    pub fn with_workers(self, workers: WorkerPool) -> Self {
        Self { workers, ..self }
    }

    /// Returns the server policy, which applies to all calls.
    pub const fn policy(&self) -> Option<&WatchedValue<Policy>> {
        self.policy.as_ref()
    }

    /// Returns true if the caller can see an operation.
    ///
    /// The server-wide filter must offer it, the caller's own access must include it, and all
    /// policies must be able to permit some call of it.
    pub fn shows(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        let offered = self.modes.check(entry.domain.name, entry.operation);
        let permits = |policy: &Policy| policy.can_permit(entry.operation);
        offered
            .and_then(|()| principal.check_visible(entry.domain.name, entry.operation))
            .is_ok()
            && server.is_none_or(|policy| permits(&policy))
            && principal.policy.as_deref().is_none_or(permits)
    }

    /// Returns true if the operation is in the caller's list of tools.
    pub fn is_listed(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let offered = self.modes.check(entry.domain.name, entry.operation).is_ok();
        offered && self.shows(principal, entry)
    }

    /// Returns true if only a rule about single calls can still deny the operation to the caller.
    pub fn is_open(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let may = principal.authorize(entry.domain.name, entry.operation).is_ok();
        may && self.is_listed(principal, entry)
    }

    /// Returns the tool with which the caller can verify that a write took effect, if there is one.
    pub fn way_to_look(&self, principal: &Principal, write: &Operation) -> Option<&'static str> {
        let read = dry_run::shows(&self.catalog, write)?;
        self.shows(principal, read).then(|| read.operation.name())
    }

    /// Returns true if a policy can require approval for calls of the operation.
    pub fn may_ask(&self, principal: &Principal, operation: &Operation) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        server.is_some_and(|policy| policy.can_require_approval(operation))
            || principal
                .policy
                .as_deref()
                .is_some_and(|policy| policy.can_require_approval(operation))
    }

    /// Returns the revisions of all policies that apply to a caller, joined by `+`.
    pub fn revisions(&self, principal: &Principal) -> String {
        let server = self.policy.as_ref().map(WatchedValue::get);
        let policies = server.as_deref().map(|policy| &**policy).into_iter();
        let policies = policies.chain(principal.policy.as_deref());
        policies.map(Policy::revision).collect::<Vec<_>>().join("+")
    }

    /// Enables or disables dry runs, in which writes are described and not sent.
    pub fn dry_run(self, on: bool) -> Self {
        Self {
            dry_run: on,
            ..self
        }
    }

    /// Sets which kinds of calls always need a human's approval.
    pub fn approving(self, always: Always) -> Self {
        Self { always, ..self }
    }

    /// Sets the store of approvals. Without one, calls that need approval are denied.
    pub fn asking(self, approvals: Arc<Approvals>) -> Self {
        Self {
            approvals: Some(approvals),
            ..self
        }
    }

    /// Sets the audit log, which gets an entry for every call.
    pub fn audited(self, audit: Audit) -> Self {
        Self {
            audit: Some(audit),
            ..self
        }
    }

    /// Sets how secrets are masked, delivered and resolved.
    pub fn guarding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Returns the store of approvals.
    pub fn approvals(&self) -> Option<&Approvals> {
        self.approvals.as_deref()
    }

    /// Returns the taint of the sessions.
    pub const fn taint(&self) -> &Taint {
        &self.taint
    }

    /// Returns the settings for secrets.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Returns the catalog that resolves tool names.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the entries that the server-wide filter offers, sorted by name. A caller may see
    /// fewer.
    pub fn offered(&self) -> impl Iterator<Item = &CatalogEntry> {
        let offered = |entry: &&CatalogEntry| self.modes.check(entry.domain.name, entry.operation).is_ok();
        self.catalog.iter().filter(offered)
    }
}
