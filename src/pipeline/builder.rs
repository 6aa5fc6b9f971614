//! The builder methods and look-ups of a [`Dispatcher`].

use std::sync::Arc;

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_file_watch::WatchedValue;
use portkey_journal::Journal;
use portkey_operation::{JsonMap, Operation, ValidationOptions};
use portkey_policy::Policy;
use portkey_store::Store;

use super::{Dispatcher, call_history::CallHistory, concurrency::CallSlots};
use crate::{
    auth::principal::{KeyProofs, Principal, ToolFilter},
    http_client::decision_point::DecisionClient,
    observability::{audit::AuditLog, metrics::Metrics},
    pipeline::{
        approval::{ApprovalDefaults, Approvals},
        dry_run,
        taint::Taint,
    },
    security::secrets::Secrets,
    upstream::UpstreamClient,
};

impl Dispatcher {
    /// Creates a dispatcher that offers the operations of a catalog and sends calls to the
    /// upstreams.
    pub fn new(catalog: Catalog, portkey: UpstreamClient) -> Self {
        Self {
            catalog,
            upstream: portkey,
            policy: None,
            store: Store::in_memory(),
            tool_filter: ToolFilter::default(),
            validation: ValidationOptions::default(),
            dry_run: false,
            approval_defaults: ApprovalDefaults::default(),
            approvals: None,
            taint: Taint::new(Store::in_memory()),
            history: CallHistory::new(Store::in_memory()),
            slots: CallSlots::default(),
            decisions: None,
            audit: None,
            journal: None,
            secrets: Secrets::default(),
            proofs: KeyProofs::default(),
            workers: WorkerPool::shared(),
        }
    }

    /// Sets the server policy. It is reloaded when its file changes.
    pub fn with_policy(self, policy: WatchedValue<Policy>) -> Self {
        Self {
            policy: Some(policy),
            ..self
        }
    }

    /// Replaces the catalog of operations.
    pub fn with_catalog(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// Sets the server-wide tool filter, which applies to every caller.
    pub fn with_tool_filter(self, modes: ToolFilter) -> Self {
        Self {
            tool_filter: modes,
            ..self
        }
    }

    /// Returns the arguments in the form in which they are sent, or unchanged if they are invalid.
    pub fn normalize_arguments(&self, entry: &CatalogEntry, args: JsonMap) -> JsonMap {
        match entry.compiled().validate(args.clone(), &self.validation) {
            Ok(validated) => validated.args,
            Err(_) => args,
        }
    }

    /// Sets the options for validating arguments.
    pub fn with_validation(self, validation: ValidationOptions) -> Self {
        Self { validation, ..self }
    }

    /// Sets the store for counters, taint and the order of calls, which replicas can share.
    pub fn with_store(self, store: Store) -> Self {
        Self {
            taint: Taint::new(store.clone()),
            history: CallHistory::new(store.clone()),
            store,
            ..self
        }
    }

    /// Sets the client for outside decision points. Without one, rules that ask them deny.
    pub fn with_decision_client(self, client: DecisionClient) -> Self {
        Self {
            decisions: Some(client),
            ..self
        }
    }

    /// Records upstream requests in these metrics.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        if let Some(journal) = &self.journal {
            let metrics = metrics.clone();
            journal.set_failure_listener(move |step| metrics.record_journal_failure(step));
        }
        Self {
            upstream: self.upstream.with_metrics(metrics),
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
    pub fn can_see(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        let offered = self.tool_filter.check(entry.domain.name, entry.operation);
        let permits = |policy: &Policy| policy.can_permit(entry.operation);
        offered
            .and_then(|()| principal.check_visible(entry.domain.name, entry.operation))
            .is_ok()
            && server.is_none_or(|policy| permits(&policy))
            && principal.policy.as_deref().is_none_or(permits)
    }

    /// Returns true if a policy hides a built-in tool from the caller.
    pub fn hides_tool(&self, principal: &Principal, name: &str) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        server.is_some_and(|policy| policy.hides_tool(name))
            || principal
                .policy
                .as_deref()
                .is_some_and(|policy| policy.hides_tool(name))
    }

    /// Returns true if the operation is in the caller's list of tools.
    pub fn is_listed(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let offered = self
            .tool_filter
            .check(entry.domain.name, entry.operation)
            .is_ok();
        offered && self.can_see(principal, entry)
    }

    /// Returns true if only a rule about single calls can still deny the operation to the caller.
    pub fn is_authorized(&self, principal: &Principal, entry: &CatalogEntry) -> bool {
        let may = principal
            .authorize(entry.domain.name, entry.operation)
            .is_ok();
        may && self.is_listed(principal, entry)
    }

    /// Returns the tool with which the caller can verify that a write took effect, if there is one.
    pub fn find_verification_tool(
        &self,
        principal: &Principal,
        write: &Operation,
    ) -> Option<&'static str> {
        let read = dry_run::find_verification_read(&self.catalog, write)?;
        self.can_see(principal, read).then(|| read.operation.name())
    }

    /// Returns true if a policy can require approval for calls of the operation.
    pub fn can_require_approval(&self, principal: &Principal, operation: &Operation) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        server.is_some_and(|policy| policy.can_require_approval(operation))
            || principal
                .policy
                .as_deref()
                .is_some_and(|policy| policy.can_require_approval(operation))
    }

    /// Returns true if a policy can redact values of the operation's results.
    pub fn can_redact(&self, principal: &Principal, operation: &Operation) -> bool {
        let server = self.policy.as_ref().map(WatchedValue::get);
        server.is_some_and(|policy| policy.can_redact(operation))
            || principal
                .policy
                .as_deref()
                .is_some_and(|policy| policy.can_redact(operation))
    }

    /// Returns the revisions of all policies that apply to a caller, joined by `+`.
    pub fn policy_revisions(&self, principal: &Principal) -> String {
        let server = self.policy.as_ref().map(WatchedValue::get);
        let policies = server.as_deref().map(|policy| &**policy).into_iter();
        let policies = policies.chain(principal.policy.as_deref());
        policies.map(Policy::revision).collect::<Vec<_>>().join("+")
    }

    /// Enables or disables dry runs, in which writes are described and not sent.
    pub fn with_dry_run(self, on: bool) -> Self {
        Self {
            dry_run: on,
            ..self
        }
    }

    /// Sets which kinds of calls always need a human's approval.
    pub fn with_approval_defaults(self, always: ApprovalDefaults) -> Self {
        Self {
            approval_defaults: always,
            ..self
        }
    }

    /// Sets the store of approvals. Without one, calls that need approval are denied.
    pub fn with_approvals(self, approvals: Arc<Approvals>) -> Self {
        Self {
            approvals: Some(approvals),
            ..self
        }
    }

    /// Sets the audit log, which gets an entry for every call.
    pub fn with_audit(self, audit: AuditLog) -> Self {
        Self {
            audit: Some(audit),
            ..self
        }
    }

    /// Sets the journal, which gets an entry for every write.
    pub fn with_journal(self, journal: Journal) -> Self {
        Self {
            journal: Some(journal),
            ..self
        }
    }

    /// Returns the base URL that an operation is sent to, as the journal has it. `None` for an unknown
    /// registry.
    pub fn upstream_of(&self, operation: &Operation) -> Option<String> {
        self.upstream.host_name(operation.base())
    }

    /// Returns the base URLs that operations are sent to, as the journal has them.
    pub fn upstreams(&self) -> Vec<String> {
        self.upstream.host_names()
    }

    /// Returns the journal of changes.
    pub const fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Sets how secrets are masked, delivered and resolved.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Returns the clock and time zone that relative times in arguments refer to.
    pub fn clock(&self) -> portkey_operation::Clock {
        self.validation.clock.clone()
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
    pub fn available_entries(&self) -> impl Iterator<Item = &CatalogEntry> {
        let offered = |entry: &&CatalogEntry| {
            self.tool_filter
                .check(entry.domain.name, entry.operation)
                .is_ok()
        };
        self.catalog.iter().filter(offered)
    }
}
