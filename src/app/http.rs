//! Builds the parts of the HTTP server.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};
use portkey_sandbox::Sandbox;
use portkey_store::{RedisFault, Store};
use secrecy::SecretString;

use super::{AppContext, AppSettings, ApprovalSettings, McpSettings, watched_files};
use crate::{
    auth::{
        Auth, CallerChanges, OfferedTools, oauth,
        principal::{Credentials, Principal, ToolFilter},
    },
    http_client::network_error,
    mcp::server::Server,
    observability::metrics::Metrics,
    pipeline::Dispatcher,
    security::signed_state::Keyring,
    transport::{
        admin::ApprovalServer,
        http::{self, RestFace, SharedParts},
    },
};

/// Method by which callers are authenticated, with its settings.
#[allow(clippy::large_enum_variant, reason = "there is one per process")]
#[derive(Debug)]
pub enum AuthSettings {
    /// No authentication: every caller is the operator.
    None,
    /// By the Portkey key that each request brings.
    Key,
    /// By a bearer token from the file.
    Token {
        /// File of tokens.
        file: PathBuf,
    },
    /// By an access token of an authorization server.
    OAuth {
        /// File of OAuth settings.
        file: PathBuf,
        /// HTTP client for the authorization server.
        client: reqwest::ClientBuilder,
    },
}

impl AuthSettings {
    /// `stand_in` acts for all callers in place of the keys that the file names: the sandbox has keys of its
    /// own.
    fn build(
        self,
        dispatcher: &Arc<Dispatcher>,
        tool_filter: ToolFilter,
        credentials: Credentials,
        stand_in: bool,
        path_prefix: &str,
        readiness: &Readiness,
    ) -> anyhow::Result<Auth> {
        match self {
            Self::None => {
                super::warn_without_key(&credentials);
                Ok(Auth::None(Arc::new(Principal::local(credentials))))
            }
            Self::Key => Ok(Auth::Key(dispatcher.clone())),
            Self::Token { file } => {
                Auth::from_token_file(&file, Catalog::domains(), stand_in.then_some(credentials))
            }
            Self::OAuth { file, client } => {
                network_error::check_proxies()?;
                let client = oauth::IssuerClient::new(client)?.with_readiness(readiness.clone());
                let on_offer = OfferedTools {
                    catalog: Catalog::full(),
                    filter: tool_filter,
                };
                let stand_in = stand_in.then_some(credentials);
                Auth::from_oauth_file(&file, on_offer, stand_in, client, path_prefix.to_owned())
            }
        }
    }
}

/// The store that replicas share.
#[derive(Debug)]
pub struct StoreSettings {
    /// Address of Redis; memory of this process if none.
    pub redis_url: Option<SecretString>,
    /// Certificate authorities to trust beside the system's, in PEM.
    pub extra_roots: Vec<u8>,
    /// Maximum time to connect, and of each command.
    pub timeout: Duration,
}

impl StoreSettings {
    async fn connect(&self, readiness: &Readiness) -> anyhow::Result<Store> {
        let store = Store::connect(self.redis_url.as_ref(), &self.extra_roots, self.timeout)
            .await
            .context("cannot use --redis-url")?;
        if let Store::Redis(redis) = &store {
            let redis = redis.clone();
            let state = move || match redis.fault() {
                None => ComponentState::OK,
                Some(RedisFault::Unreachable) => {
                    ComponentState::degraded(DegradedReason::Unreachable)
                }
                Some(RedisFault::MissingRight) => {
                    ComponentState::degraded(DegradedReason::MissingRight)
                }
                Some(RedisFault::DataLost) => ComponentState::degraded(DegradedReason::Forgotten),
            };
            readiness.watch(ComponentName::Redis, state);
        }
        Ok(store)
    }
}

/// Settings of the HTTP server.
#[derive(Debug)]
pub struct HttpServerSettings {
    /// Authentication of callers.
    pub auth: AuthSettings,
    /// Listener, limits and sessions.
    pub server: http::HttpSettings,
    /// Keys that sign what clients keep, the same at all replicas.
    pub state_keys: Arc<WatchedValue<Keyring>>,
    /// The store that replicas share.
    pub store: StoreSettings,
    /// Approvals by humans.
    pub approval: ApprovalSettings,
    /// The MCP server.
    pub mcp: McpSettings,
    /// Records metrics although no address serves them.
    pub exports_metrics: bool,
}

/// Running parts of the HTTP server.
#[derive(Debug)]
pub struct HttpServerParts {
    /// Answers requests.
    pub server: Server,
    /// Authenticates callers.
    pub auth: Auth,
    /// Listener, limits and sessions.
    pub settings: http::HttpSettings,
    /// Parts that the HTTP server shares with others.
    pub shared: SharedParts,
    /// The embedded sandbox, if it is in use; it stops when this is dropped.
    pub sandbox: Option<Sandbox>,
    /// The approval server, if it has an address; it stops when this is dropped.
    pub approval_server: Option<ApprovalServer>,
}

impl HttpServerParts {
    /// Builds the parts.
    ///
    /// # Errors
    /// Returns an error if a file, an address, the store or the sandbox cannot be used.
    pub async fn build(mut app: AppSettings, http: HttpServerSettings) -> anyhow::Result<Self> {
        let HttpServerSettings {
            auth,
            server: settings,
            state_keys: keys,
            store,
            approval,
            mut mcp,
            exports_metrics,
        } = http;
        if !matches!(auth, AuthSettings::None) {
            // A key that the server lacks may be one that a caller brings.
            app.catalog = app.catalog.with_all_upstreams();
        }
        let readiness = app.readiness.clone();
        let tool_filter = app.tool_filter.clone();
        let AppContext {
            dispatcher,
            credentials,
            sandbox,
        } = app.build().await?;
        let store = store.connect(&readiness).await?;
        let (approvals, approval_server) = approval.build(keys.clone(), store.clone())?;
        let metrics = Metrics::new(exports_metrics || settings.metrics_listen.is_some())
            .with_readiness(&readiness);
        let dispatcher = Arc::new(
            dispatcher
                .with_store(store.clone())
                .with_approvals(approvals)
                .with_metrics(metrics.clone()),
        );
        let auth = auth.build(
            &dispatcher,
            tool_filter,
            credentials,
            sandbox.is_some(),
            &settings.path_prefix,
            &readiness,
        )?;
        let rest = settings.rest.map(|rest| {
            let dispatcher = dispatcher.clone();
            let metrics = metrics.clone();
            RestFace::new(dispatcher, metrics, &rest, &settings.path_prefix)
        });
        mcp.results = mcp.results.with_shared_store(&store, &keys);
        let mut server = mcp.build(dispatcher, metrics.clone());
        if let Some(approval_server) = &approval_server {
            approval_server.trust_issuer(auth.token_issuer())?;
            let local = match &auth {
                Auth::None(principal) => Some(principal.clone()),
                // The process has no key of its own.
                Auth::Key(_) | Auth::Token(_) | Auth::OAuth(..) => None,
            };
            approval_server.show_history(&server, local);
        }
        let callers = CallerChanges::default();
        // The file of callers decides which tools each caller sees.
        let hub = server.notifier().clone();
        let changes = callers.clone();
        let on_change = move || {
            hub.notify_lists_changed();
            changes.notify();
        };
        if auth.on_change(on_change) {
            server = server.with_changing_access();
        }
        watched_files::report(&readiness);
        Ok(Self {
            server,
            auth,
            settings,
            shared: SharedParts {
                callers,
                keys,
                store,
                metrics,
                readiness,
                rest,
            },
            sandbox,
            approval_server,
        })
    }

    /// Serves until the process is interrupted, then lets calls in flight finish.
    ///
    /// # Errors
    /// Returns an error if the address is not allowed or not free, or if serving fails.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self {
            server,
            auth,
            settings,
            shared,
            sandbox: _sandbox,
            approval_server: _approval_server,
        } = self;
        http::serve(server, auth, settings, shared).await
    }
}
