//! Builds the running parts of the server from plain settings.

mod approval_webhook;
mod http;
pub mod retention;
mod watched_files;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_journal::{Journal, JournalSettings};
use portkey_operation::ValidationOptions;
use portkey_policy::Policy;
use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};
use portkey_sandbox::{Faults, PinnedTime, Sandbox};
use portkey_store::Store;
use reqwest::Certificate;

use crate::{
    auth::principal::{Credentials, MissingKey, Principal, ToolFilter, UpstreamKey},
    http_client::{decision_point::DecisionClient, network_error},
    mcp::{prompts::PromptLibrary, results::Results, server::Server, surface::Surface},
    observability::{
        audit::{self, AuditLog},
        metrics::Metrics,
    },
    pipeline::{
        Dispatcher,
        approval::{ApprovalDefaults, Approvals},
    },
    security::{secrets::Secrets, signed_state::Keyring},
    transport::admin::{ApprovalServer, ApprovalServerSettings},
    upstream::{self, Addresses, RetrySettings, UpstreamClient},
};

pub use self::approval_webhook::WebhookSettings;
pub use self::http::{AuthSettings, HttpServerParts, HttpServerSettings, StoreSettings};

/// Upstreams that calls go to, with the keys of the process.
#[allow(clippy::large_enum_variant, reason = "there is one per process")]
#[derive(Debug)]
pub enum Backend {
    /// Portkey and Enkrypt AI over the network.
    Live {
        /// Address of each host.
        addresses: Addresses,
        /// Keys of the process; none where callers bring theirs.
        credentials: Credentials,
    },
    /// The embedded sandbox.
    Sandbox {
        /// Faults to inject.
        faults: Faults,
        /// Pinned time of its clock; the machine's clock if none.
        now: Option<PinnedTime>,
        /// Key that acts on it, which selects the kind of key to simulate.
        key: UpstreamKey,
    },
}

/// Settings of everything that carries out calls, on any transport.
#[derive(Debug)]
pub struct AppSettings {
    /// Upstreams that calls go to.
    pub backend: Backend,
    /// Maximum time to open a connection to an upstream.
    pub connect_timeout: Duration,
    /// Maximum time of a call, retries included.
    pub timeout: Duration,
    /// Maximum size of an upstream response, in bytes.
    pub max_response_bytes: usize,
    /// Maximum number of retries of a request.
    pub max_retries: usize,
    /// Certificate authorities to trust beside the system's.
    pub extra_roots: Vec<Certificate>,
    /// Operations on offer.
    pub catalog: Catalog,
    /// Tools that the operator leaves on offer.
    pub tool_filter: ToolFilter,
    /// Rules for reading arguments.
    pub validation: ValidationOptions,
    /// Treatment of secrets in answers and arguments.
    pub secrets: Secrets,
    /// Answers writes with a preview instead of sending them.
    pub dry_run: bool,
    /// Kinds of calls that always need approval.
    pub approval_defaults: ApprovalDefaults,
    /// Policy file, if any.
    pub policy_file: Option<PathBuf>,
    /// Client for outside decision points.
    pub decisions: DecisionClient,
    /// Audit log, if any.
    pub audit: Option<audit::AuditSettings>,
    /// Journal of changes, if any.
    pub journal: Option<JournalSettings>,
    /// States of the components that the server depends on.
    pub readiness: Readiness,
}

/// Running parts that carry out calls.
#[derive(Debug)]
pub struct AppContext {
    /// Carries out calls.
    pub dispatcher: Dispatcher,
    /// Keys of the process itself.
    pub credentials: Credentials,
    /// The embedded sandbox, if it is in use; it stops when this is dropped.
    pub sandbox: Option<Sandbox>,
}

impl AppSettings {
    /// Starts the sandbox if it is in use, reads the policy, opens the audit log and the journal, and builds the
    /// dispatcher.
    ///
    /// # Errors
    /// Returns an error if the sandbox cannot listen, a proxy variable is invalid, or the policy file, the
    /// audit log or the journal cannot be used.
    pub async fn build(self) -> anyhow::Result<AppContext> {
        let (addresses, credentials, sandbox) = match self.backend {
            Backend::Live {
                addresses,
                credentials,
            } => (addresses, credentials, None),
            Backend::Sandbox { faults, now, key } => {
                let sandbox = Sandbox::start_with_clock(([127, 0, 0, 1], 0).into(), faults, now)
                    .await
                    .context("cannot start the sandbox")?;
                let addresses = Addresses::from_sandbox(&sandbox.base_url().parse()?);
                let credentials = Credentials {
                    portkey: Some(key.clone()),
                    enkrypt: Some(key),
                    missing_key: MissingKey::Server,
                };
                (addresses, credentials, Some(sandbox))
            }
        };
        if sandbox.is_none() {
            network_error::check_proxies()?;
        }
        let client = UpstreamClient::new(upstream::UpstreamSettings {
            addresses,
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            max_response_bytes: self.max_response_bytes,
            retries: RetrySettings {
                max_retries: self.max_retries,
                ..RetrySettings::default()
            },
            extra_roots: self.extra_roots,
            proxies: sandbox.is_none(),
        });
        let mut dispatcher = Dispatcher::new(self.catalog, client)
            .with_tool_filter(self.tool_filter)
            .with_validation(self.validation)
            .with_secrets(self.secrets)
            .with_dry_run(self.dry_run)
            .with_approval_defaults(self.approval_defaults)
            .with_decision_client(self.decisions);
        if let Some(file) = &self.policy_file {
            dispatcher = dispatcher.with_policy(Policy::watch(file)?);
        }
        if let Some(settings) = self.audit {
            let audit = AuditLog::start(settings)?;
            let is_failing = audit.failure_probe();
            let state = move || match is_failing() {
                true => ComponentState::degraded(DegradedReason::CannotBeWritten),
                false => ComponentState::OK,
            };
            self.readiness.watch(ComponentName::AuditLog, state);
            dispatcher = dispatcher.with_audit(audit);
        }
        if let Some(settings) = &self.journal
            && let Some(journal) = Journal::open_if_possible(settings).await?
        {
            dispatcher = dispatcher.with_journal(journal);
        }
        Ok(AppContext {
            dispatcher,
            credentials,
            sandbox,
        })
    }
}

/// Warns that a server has no key to call with, nor callers who bring theirs.
fn warn_without_key(credentials: &Credentials) {
    if credentials.portkey.is_none() {
        tracing::warn!(
            "there is no Portkey API key, so that every call of a tool of Portkey fails: run \
             `portkey-mcp login`, set PORTKEY_API_KEY or name a file with --api-key-file, and start again, or start \
             with --sandbox to try it out"
        );
    }
}

/// Settings of the MCP server.
#[derive(Debug)]
pub struct McpSettings {
    /// Number of tools on a page of the list; one page if none.
    pub tools_page: Option<usize>,
    /// Form in which operations are listed.
    pub surface: Surface,
    /// Form of results.
    pub results: Results,
    /// Prompts on offer beside those built in.
    pub prompts: Option<WatchedValue<PromptLibrary>>,
}

impl McpSettings {
    fn build(self, dispatcher: Arc<Dispatcher>, metrics: Metrics) -> Server {
        Server::new(dispatcher, self.tools_page)
            .with_metrics(metrics)
            .with_surface(self.surface)
            .with_results(self.results)
            .with_prompts(self.prompts)
    }
}

/// Settings of approvals by humans.
#[derive(Debug)]
pub struct ApprovalSettings {
    /// Maximum time that a call waits for approval.
    pub timeout: Duration,
    /// The approval server; it does not run without.
    pub server: Option<ApprovalServerSettings>,
    /// Receiver of notices about waiting calls.
    pub webhook: Option<WebhookSettings>,
}

impl ApprovalSettings {
    /// Builds what asks humans, and starts the approval server if it has an address. Replicas share keys and
    /// store.
    ///
    /// # Errors
    /// Returns an error if the address is not free or not loopback, or the file cannot be written.
    pub fn build(
        self,
        keys: Arc<WatchedValue<Keyring>>,
        store: Store,
    ) -> anyhow::Result<(Arc<Approvals>, Option<ApprovalServer>)> {
        let approvals = Arc::new(Approvals::new(keys, store, self.timeout));
        let server = self
            .server
            .map(|settings| ApprovalServer::start(settings, approvals.clone()))
            .transpose()?;
        if let Some(webhook) = self.webhook {
            let link = server.as_ref().map(|server| server.url().to_owned());
            approvals.set_notices(webhook.start(link)?);
        }
        Ok((approvals, server))
    }

    /// Builds the same for a process that shares nothing with others.
    ///
    /// # Errors
    /// As [`build`](Self::build), and if the system has no random numbers.
    pub fn build_alone(self) -> anyhow::Result<(Arc<Approvals>, Option<ApprovalServer>)> {
        self.build(
            Arc::new(WatchedValue::fixed(Keyring::random()?)),
            Store::in_memory(),
        )
    }
}

/// Running parts of a server for the one caller who started the process.
#[derive(Debug)]
pub struct LocalServerParts {
    /// Answers requests.
    pub server: Server,
    /// The embedded sandbox, if it is in use; it stops when this is dropped.
    pub sandbox: Option<Sandbox>,
    /// The approval server, if it has an address; it stops when this is dropped.
    pub approval_server: Option<ApprovalServer>,
}

impl LocalServerParts {
    /// Builds the parts. Metrics are recorded if they are exported.
    ///
    /// # Errors
    /// As [`AppSettings::build`] and [`ApprovalSettings::build`].
    pub async fn build(
        app: AppSettings,
        mcp: McpSettings,
        approval: ApprovalSettings,
        exports_metrics: bool,
    ) -> anyhow::Result<Self> {
        let readiness = app.readiness.clone();
        let context = app.build().await?;
        warn_without_key(&context.credentials);
        let metrics = Metrics::new(exports_metrics).with_readiness(&readiness);
        let (approvals, approval_server) = approval.build_alone()?;
        let dispatcher = context
            .dispatcher
            .with_metrics(metrics.clone())
            .with_approvals(approvals);
        let principal = Principal::local(context.credentials);
        let server = mcp
            .build(Arc::new(dispatcher), metrics)
            .with_local_principal(principal.clone());
        if let Some(approval_server) = &approval_server {
            approval_server.trust_issuer(None)?;
            approval_server.show_history(&server, Some(Arc::new(principal)));
        }
        watched_files::report(&readiness);
        Ok(Self {
            server,
            sandbox: context.sandbox,
            approval_server,
        })
    }
}
