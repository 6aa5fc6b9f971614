//! The approval server, where a human decides about calls that wait: a console for browsers, and an
//! API for `portkey-mcp approvals`.
//!
//! The server listens apart from MCP, so that callers cannot reach it: on loopback only, unless each
//! request needs the access token of a person who may decide.

mod access_tokens;
mod api;
mod assets;
mod audit;
mod call;
mod events;
mod guard;
mod history;
mod inbox;
mod pages;
mod sessions;
mod sign_in;
mod texts;

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router, middleware,
    routing::{get, post},
};
use http::StatusCode;
use portkey_bounded_file::{FileIdentity, display_path};
use portkey_file_watch::WatchedValue;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::guard::ProxyName;
use self::{
    access_tokens::AccessTokens,
    audit::AuditPages,
    events::Inbox,
    guard::{OwnSites, guard_request},
    history::History,
    sessions::Sessions,
};
use super::auxiliary::{self, ConnectionLimits};
use crate::{
    auth::{oauth::OAuth, principal::Principal},
    mcp::server::Server,
    observability::audit::AuditTrail,
    pipeline::approval::{Approvals, FormAction, FormResponse, Ticket},
    security::{secrets, signed_state::random_bytes},
};

/// Limits on connections. A stream of events takes one, and ends before the timeout.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    max_unauthenticated: 32,
    max_authenticated: 48,
    head_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
};

/// Maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Timeout for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the approval server.
#[derive(Clone, Debug)]
pub struct ApprovalServerSettings {
    /// Address to listen on: a loopback address, unless people need access tokens.
    pub listen: SocketAddr,
    /// File that gets the address and a token.
    pub file: Option<PathBuf>,
    /// Address of a proxy in front of the server, such as `https://approvals.example.com`.
    pub public_url: Option<String>,
    /// Header in which a trusted proxy names the person at the browser.
    pub proxy_name: Option<ProxyName>,
    /// Requires an access token for the console, whose bearer is named in it.
    pub requires_tokens: bool,
    /// Audit log of the process, if it is a file.
    pub audit: Option<AuditTrail>,
}

/// The running approval server, which stops when this is dropped.
#[derive(Debug)]
pub struct ApprovalServer {
    shutdown: CancellationToken,
    /// Address for links: that of the proxy, if there is one.
    url: String,
    history: Arc<OnceLock<History>>,
    access_tokens: Option<AccessTokens>,
    /// The file with address and token. Kept open, because a file created after its removal may get
    /// the same inode number.
    connection_file: Option<(PathBuf, fs::File)>,
}

/// State that request handlers share.
struct ServerState {
    approvals: Arc<Approvals>,
    sites: OwnSites,
    proxy_name: Option<ProxyName>,
    /// Set if the console needs an access token.
    access_tokens: Option<AccessTokens>,
    token: String,
    /// Key in the path of the page that signs in, which the log has.
    sign_in_key: String,
    sessions: Sessions,
    inbox: Inbox,
    audit: Option<AuditPages>,
    /// Set once the parts that make calls are built.
    history: Arc<OnceLock<History>>,
}

/// Message for an approval by a typed name, where the names of a proxy count.
const PROXY_NAMES_APPROVERS: &str =
    "several people have to approve it, and the proxy names them: approve it in the console";

impl ServerState {
    /// Returns true if only people whom the proxy or a token names can approve a ticket: with a typed
    /// name, one person could stand for several.
    fn takes_names_from_proxy(&self, ticket: Option<&Ticket>) -> bool {
        let is_named = self.proxy_name.is_some() || self.access_tokens.is_some();
        is_named && ticket.is_some_and(|ticket| ticket.approvers.is_some())
    }

    fn history(&self) -> Option<&History> {
        self.history.get()
    }
}

impl ApprovalServer {
    /// Starts the server, and writes its address and a token for the API to the file, readable by
    /// its owner only.
    ///
    /// # Errors
    /// Returns an error if the address is not loopback or not free, or the file cannot be written.
    pub fn start(
        settings: ApprovalServerSettings,
        approvals: Arc<Approvals>,
    ) -> anyhow::Result<Self> {
        let listen = settings.listen;
        let public_url = settings.public_url.as_deref();
        let is_secure = public_url.is_some_and(|url| url.starts_with("https://"));
        if !listen.ip().is_loopback() {
            if !settings.requires_tokens {
                bail!(
                    "--admin-listen {listen} can be reached from other machines; give a loopback address, and reach \
                     it through a port forward or a proxy, or give --admin-auth oauth (docs/deployment.md)"
                );
            }
            if !is_secure {
                bail!(
                    "--admin-listen {listen} can be reached from other machines; give --admin-url, the https:// \
                     address of the proxy in front of it, because tokens and cookies must not travel in the clear"
                );
            }
        }
        let listener = super::listen(listen, "--admin-listen")?;
        let address = listener.local_addr()?;
        let url = format!("http://{}", own_address(address));
        let token = hex::encode(random_bytes::<32>()?);
        secrets::learn_key(&token);
        let key = hex::encode(random_bytes::<16>()?);
        let mut connection_file = None;
        if let Some(file) = &settings.file {
            let context = || format!("cannot write {}", display_path(file));
            let written = write_connection_file(file, &json!({ "url": url, "token": token }))
                .with_context(context)?;
            connection_file = Some((file.clone(), written));
        }
        let access_tokens = settings.requires_tokens.then(AccessTokens::default);
        let page = match &access_tokens {
            // The key signs in people without a token.
            None => format!("/waiting/{key}"),
            Some(_) => "/".to_owned(),
        };
        info!(%address, page, "calls that wait for approval are decided about here");
        approvals.set_admin_url(url.clone());
        let shutdown = CancellationToken::new();
        let history = Arc::<OnceLock<History>>::default();
        let state = ServerState {
            history: history.clone(),
            inbox: Inbox::new(approvals.clone(), shutdown.clone()),
            approvals,
            sites: OwnSites::new(address, public_url),
            proxy_name: settings.proxy_name,
            access_tokens: access_tokens.clone(),
            token,
            sign_in_key: key,
            sessions: Sessions::new(address.port(), is_secure),
            audit: settings.audit.map(AuditPages::new),
        };
        tokio::spawn(serve(listener, state, shutdown.clone()));
        Ok(Self {
            shutdown,
            url: settings.public_url.unwrap_or(url),
            history,
            access_tokens,
            connection_file,
        })
    }

    /// Trusts the issuer of the server's callers, if the console needs access tokens.
    ///
    /// # Errors
    /// Returns an error if the server has no such issuer, or its file does not say who may decide.
    pub fn trust_issuer(&self, issuer: Option<Arc<WatchedValue<OAuth>>>) -> anyhow::Result<()> {
        let issuer = issuer.filter(|issuer| issuer.get().has_approvers());
        match (&self.access_tokens, issuer) {
            (None, None) => {}
            (None, Some(_)) => {
                warn!("[console] of the OAuth file has no effect without --admin-auth oauth");
            }
            (Some(_), None) => bail!(
                "--admin-auth oauth needs --auth oauth, and the table [console] in the file of --auth-file, which \
                 says who may decide about calls (docs/approval.md)"
            ),
            (Some(tokens), Some(issuer)) => tokens.trust(issuer),
        }
        Ok(())
    }

    /// Shows the journal of this server, if it has one. Changes are undone as the principal, if
    /// there is one that the process has a key for.
    pub fn show_history(&self, server: &Server, principal: Option<Arc<Principal>>) {
        if let Some(history) = History::new(server, principal) {
            _ = self.history.set(history);
        }
    }

    /// Returns the address for links to the console.
    pub fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }
}

/// Returns the address under which programs on the same machine reach a listener.
fn own_address(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

impl Drop for ApprovalServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some((file, written)) = &self.connection_file
            && let (Ok(found), Ok(ours)) = (fs::symlink_metadata(file), written.metadata())
            && FileIdentity::from_metadata(&found) == FileIdentity::from_metadata(&ours)
        {
            // Its address is no longer valid. A file that another server has written in its place
            // is left alone.
            _ = fs::remove_file(file);
        }
    }
}

/// Writes a file that only its owner may read, replacing an earlier one.
fn write_connection_file(file: &Path, what: &Value) -> std::io::Result<fs::File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut created = options.open(file)?;
    writeln!(created, "{what}")?;
    Ok(created)
}

async fn serve(listener: TcpListener, server: ServerState, ended: CancellationToken) {
    let server = Arc::new(server);
    let router = Router::new()
        .route("/approvals", get(api::list_tickets))
        .route(
            "/approvals/{id}",
            get(api::show_ticket).post(api::decide_ticket),
        )
        .route(
            "/decide/{id}/{key}",
            get(call::show_ticket_page).post(call::submit_ticket_page),
        )
        .route("/waiting/{key}", get(sign_in::show_by_key))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/", get(inbox::show))
        .route("/deny", post(inbox::deny_selected))
        .route("/calls/{id}", get(call::show).post(call::submit))
        .route("/changes", get(history::list))
        .route("/changes/{id}", get(history::show).post(history::undo))
        .route("/audit", get(audit::show))
        .route("/audit/verify", post(audit::start_verification))
        .route("/events", get(events::stream))
        .route("/console.css", get(assets::style))
        .route("/console.js", get(assets::script))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .layer(middleware::from_fn_with_state(
            server.clone(),
            guard_request,
        ))
        .with_state(server);
    if let Err(error) = auxiliary::serve(listener, router, CONNECTION_LIMITS, ended).await {
        error!(%error, "nobody can decide about calls any more");
    }
}

fn build_form(approve: bool, typed_name: Option<String>) -> FormResponse {
    let action = if approve {
        FormAction::Accept
    } else {
        FormAction::Decline
    };
    FormResponse {
        action,
        approve,
        typed_name,
    }
}

fn log_decision(ticket: &Ticket) {
    let (state, by) = ticket.state.as_parts();
    warn!(
        tool = ticket.tool,
        ticket = ticket.id,
        state,
        by,
        "a human decided"
    );
}
