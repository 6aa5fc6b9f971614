//! `portkey-mcp http`: MCP over streamable HTTP.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use ipnet::IpNet;
use portkey_api::catalog::Catalog;
use portkey_sandbox::Sandbox;
use portkey_store::{Limit, RedisFault, Store};

use super::{followed, rate::Rate, replicas::Replicas};
use crate::{
    app::{Built, Options, pause, seconds},
    auth::{Auth, Changes, OnOffer, oauth, principal::Principal},
    http_client::network_error,
    mcp::server::Server,
    observability::{
        metrics::Metrics,
        readiness::{ComponentName, ComponentState, DegradedReason},
    },
    transport::{
        admin::Desk,
        http::{self, Connections, Settings, Tls, Unread},
    },
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --sandbox
  portkey-mcp http --listen 127.0.0.1:9000 --api-key-file /run/secrets/portkey
  portkey-mcp http --sandbox --allowed-origin https://console.example.com    a client on that page
  portkey-mcp http --auth key --listen 0.0.0.0:8787 --allowed-host mcp.example.com \\
    --tls-cert tls.crt --tls-key tls.key
  portkey-mcp http --auth token --auth-file tokens.toml
  portkey-mcp http --auth oauth --auth-file oauth.toml
  portkey-mcp http --auth token --auth-file tokens.toml --state-key-file state.keys \\
    --redis-url-file /run/secrets/redis                              one of several replicas
  portkey-mcp http --auth token --auth-file tokens.toml --metrics-listen 127.0.0.1:9090";

/// Requests a minute of one caller.
const USUAL_RATE: NonZeroU32 = NonZeroU32::new(1200).unwrap();
/// Requests a minute from one address.
const USUAL_ADDRESS_RATE: NonZeroU32 = NonZeroU32::new(6000).unwrap();

/// How callers are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Not at all: only for loopback.
    None,
    /// Each request brings its Portkey key in x-portkey-api-key.
    Key,
    /// By a bearer token that the operator gave it; see `portkey-mcp token new`.
    Token,
    /// By an access token of an OAuth authorization server.
    #[value(name = "oauth")]
    OAuth,
}

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
pub struct Http {
    /// Address to listen on.
    #[arg(long, env = "PORTKEY_MCP_LISTEN", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// Threads that serve clients.
    #[arg(
        long,
        env = "PORTKEY_MCP_THREADS",
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    pub(super) threads: u8,
    /// How callers are recognised.
    #[arg(
        long,
        env = "PORTKEY_MCP_AUTH",
        default_value = "none",
        help_heading = "Authentication"
    )]
    auth: Mode,
    /// File of tokens, or of OAuth settings, for the --auth of that name; takes effect whenever it changes.
    #[arg(
        long,
        env = "PORTKEY_MCP_AUTH_FILE",
        value_name = "FILE",
        help_heading = "Authentication"
    )]
    auth_file: Option<PathBuf>,
    /// Listen beyond loopback with --auth none, although whoever connects can then administer Portkey.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOW_UNAUTHENTICATED",
        value_parser = BoolishValueParser::new(),
        help_heading = "Authentication"
    )]
    allow_unauthenticated: bool,
    /// PEM file of the certificate, and those up to its authority; takes effect whenever it changes.
    #[arg(
        long,
        env = "PORTKEY_MCP_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Network"
    )]
    tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(
        long,
        env = "PORTKEY_MCP_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Network"
    )]
    tls_key: Option<PathBuf>,
    /// Host name that clients may use, beside localhost and the address itself; repeatable.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_name = "HOST",
        value_parser = host,
        help_heading = "Network"
    )]
    allowed_host: Vec<String>,
    /// Browser origin that may call, such as `https://console.example.com`, beside those of this machine where
    /// the server listens on loopback; repeatable.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN",
        value_parser = origin,
        help_heading = "Network"
    )]
    allowed_origin: Vec<String>,
    /// Path before all others, such as /portkey, for a proxy that passes paths on whole.
    #[arg(
        long,
        env = "PORTKEY_MCP_PATH_PREFIX",
        value_name = "PATH",
        default_value = "",
        hide_default_value = true,
        value_parser = prefix,
        help_heading = "Network"
    )]
    path_prefix: String,
    /// Proxy, or network of proxies, whose X-Forwarded-For is believed; repeatable.
    #[arg(
        long,
        env = "PORTKEY_MCP_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_name = "NET",
        value_parser = net,
        help_heading = "Network"
    )]
    trusted_proxies: Vec<IpNet>,
    /// Bound on a request body, in bytes.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_REQUEST_BYTES",
        value_name = "BYTES",
        default_value = "4194304",
        help_heading = "Limits"
    )]
    max_request_bytes: usize,
    /// Bound on the time a request body takes to arrive, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds,
        help_heading = "Limits"
    )]
    body_timeout: Duration,
    /// Bound on the time a request's head takes, and a connection waits for its next request, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_IDLE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "75",
        value_parser = seconds,
        help_heading = "Limits"
    )]
    idle_timeout: Duration,
    /// Bound on the time a client takes nothing of what is written to it, in seconds; a stream with nothing to
    /// say is not bound.
    #[arg(
        long,
        env = "PORTKEY_MCP_WRITE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds,
        help_heading = "Limits"
    )]
    write_timeout: Duration,
    /// Bound on the answers that are held because clients do not read them, in bytes; one caller has a quarter.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_UNREAD_BYTES",
        value_name = "BYTES",
        default_value = "67108864",
        value_parser = clap::value_parser!(u32).range(1048576..),
        help_heading = "Limits"
    )]
    max_unread_bytes: u32,
    /// Bound on a request's head, in bytes.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_HEAD_BYTES",
        value_name = "BYTES",
        default_value = "65536",
        value_parser = clap::value_parser!(u32).range(8192..),
        help_heading = "Limits"
    )]
    max_head_bytes: u32,
    /// Bound on open connections.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "4096",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    max_connections: u32,
    /// Bound on the requests of one caller that are under way at once.
    #[arg(
        long,
        env = "PORTKEY_MCP_CONCURRENCY",
        value_name = "N",
        default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    concurrency: u32,
    /// Bound on the requests from one address that are under way at once.
    #[arg(
        long,
        env = "PORTKEY_MCP_ADDRESS_CONCURRENCY",
        value_name = "N",
        default_value = "512",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    address_concurrency: u32,
    /// How many requests one caller may make, over all replicas: a number and s, m or h, such as 20/s,
    /// or none. Without it 1200/m, and none with --auth none.
    #[arg(
        long,
        env = "PORTKEY_MCP_RATE_LIMIT",
        value_name = "RATE",
        help_heading = "Limits"
    )]
    rate_limit: Option<Rate>,
    /// How many requests may come from one address, over all replicas. Without it 6000/m, and none with
    /// --auth none.
    #[arg(
        long,
        env = "PORTKEY_MCP_ADDRESS_RATE_LIMIT",
        value_name = "RATE",
        help_heading = "Limits"
    )]
    address_rate_limit: Option<Rate>,
    /// How much of an IPv6 address counts in limits on addresses, in bits: whoever has one address of a
    /// network has all of them.
    #[arg(
        long,
        env = "PORTKEY_MCP_IPV6_PREFIX",
        value_name = "BITS",
        default_value = "64",
        value_parser = clap::value_parser!(u8).range(1..=128),
        help_heading = "Limits"
    )]
    ipv6_prefix: u8,
    /// How long a server that is asked to stop serves on while /readyz says 503, in seconds: as long as
    /// proxies take to hear of it.
    #[arg(
        long,
        env = "PORTKEY_MCP_DRAIN_DELAY",
        value_name = "SECONDS",
        default_value = "0",
        value_parser = pause,
        help_heading = "Network"
    )]
    drain_delay: Duration,
    #[command(flatten)]
    replicas: Replicas,
    /// Address to serve Prometheus metrics at, under /metrics; anyone who can connect may read them.
    #[arg(
        long,
        env = "PORTKEY_MCP_METRICS_LISTEN",
        value_name = "ADDRESS",
        help_heading = "Observability"
    )]
    metrics_listen: Option<SocketAddr>,
}

/// What the options make: all that serving takes.
#[derive(Debug)]
pub struct Prepared {
    /// Answers requests.
    pub server: Server,
    /// Recognises callers.
    pub auth: Auth,
    /// How to serve.
    pub settings: Settings,
    /// The sandbox, if one is wanted; it stops when it is dropped.
    pub sandbox: Option<Sandbox>,
    /// Where humans decide about calls that wait, if anywhere; it closes when it is dropped.
    pub desk: Option<Desk>,
}

impl Http {
    /// Serves until interrupted. Metrics are recorded if they are served or `exported`.
    pub(super) async fn serve(self, options: &Options, exported: bool) -> anyhow::Result<()> {
        let Prepared {
            server,
            auth,
            settings,
            sandbox: _running,
            desk: _open,
        } = self.prepare(options, exported).await?;
        http::serve(server, auth, settings).await
    }

    /// Makes what the options say. Metrics are recorded if they are served or `exported`.
    ///
    /// # Errors
    /// The options contradict each other, or something they name cannot be had.
    pub async fn prepare(self, options: &Options, exported: bool) -> anyhow::Result<Prepared> {
        options.warn();
        if self.auth != Mode::None {
            options.demand_keyless()?;
        }
        let Built {
            mut dispatcher,
            credentials,
            sandbox,
        } = options.build().await?;
        if self.auth != Mode::None {
            // What is off for want of a key is so for a caller, not for the server.
            dispatcher = dispatcher.offering(options.catalog()?.whole());
        }
        let (keys, store) = (self.replicas.keys()?, self.replicas.store(options).await?);
        let approvals = options.guard.approvals(keys.clone(), store.clone());
        let desk = options.guard.desk(&approvals)?;
        let results = options.results.build().sharing(&store, &keys);
        let metrics = Metrics::on_if(exported || self.metrics_listen.is_some())
            .with_readiness(&options.readiness);
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
                Some(RedisFault::Forgotten) => ComponentState::degraded(DegradedReason::Forgotten),
            };
            options.readiness.watch(ComponentName::Redis, state);
        }
        let dispatcher = Arc::new(
            dispatcher
                .sharing(store.clone())
                .asking(approvals)
                .measured(metrics.clone()),
        );
        let auth = match (self.auth, self.auth_file) {
            (Mode::None, None) => Auth::None(Arc::new(Principal::local(credentials))),
            (Mode::Key, None) => Auth::Key(dispatcher.clone()),
            (Mode::None | Mode::Key, Some(_)) => {
                bail!("--auth-file belongs to --auth token or oauth; leave one of the two out")
            }
            (Mode::Token, Some(file)) => {
                let instead = sandbox.is_some().then_some(credentials);
                Auth::token(&file, Catalog::domains(), instead)?
            }
            (Mode::OAuth, Some(file)) => {
                let instead = sandbox.is_some().then_some(credentials);
                network_error::check_proxies()?;
                let http =
                    oauth::Http::new(options.http()?)?.with_readiness(options.readiness.clone());
                let (catalog, modes) = (Catalog::full(), options.access.modes()?);
                let on_offer = OnOffer { catalog, modes };
                Auth::oauth(&file, on_offer, instead, http, self.path_prefix.clone())?
            }
            (Mode::OAuth, None) => bail!(
                "--auth oauth needs --auth-file, which says whose access tokens count and which keys \
                 act for whom; see docs/authentication.md"
            ),
            (Mode::Token, None) => bail!(
                "--auth token needs --auth-file; make the first entry with `portkey-mcp token new`"
            ),
        };
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::start(&certificate, key)?),
            _ => None,
        };
        // Whoever may connect to loopback unasked is the operator, who limits nobody but themselves.
        let usual = |burst| match self.auth {
            Mode::None => None,
            _ => Some(Limit {
                burst,
                period: Duration::from_secs(60),
            }),
        };
        let limit = |given: Option<Rate>, burst| given.map_or_else(|| usual(burst), |rate| rate.0);
        let callers = Changes::default();
        let settings = Settings {
            listen: self.listen,
            allowed_hosts: self.allowed_host,
            allowed_origins: self.allowed_origin,
            path_prefix: self.path_prefix,
            trusted_proxies: self.trusted_proxies,
            max_request_bytes: self.max_request_bytes,
            body_timeout: self.body_timeout,
            concurrency: self.concurrency as usize,
            address_concurrency: self.address_concurrency as usize,
            ipv6_prefix: self.ipv6_prefix,
            rate: limit(self.rate_limit, USUAL_RATE),
            address_rate: limit(self.address_rate_limit, USUAL_ADDRESS_RATE),
            connections: Connections {
                most: self.max_connections,
                head_timeout: self.idle_timeout,
                head_bytes: self.max_head_bytes as usize,
                write_timeout: self.write_timeout,
                unread: Unread::new(self.max_unread_bytes as usize),
                metrics: metrics.clone(),
            },
            sessions: self.replicas.sessions(),
            callers: callers.clone(),
            keys,
            store,
            tls,
            allow_unauthenticated: self.allow_unauthenticated,
            drain_delay: self.drain_delay,
            grace: options.timeout(),
            metrics: metrics.clone(),
            metrics_listen: self.metrics_listen,
            readiness: options.readiness.clone(),
        };
        let server = Server::new(dispatcher, options.tools_page.map(usize::from))
            .measured(metrics)
            .on_surface(options.access.surface())
            .showing(results)
            .prompting(options.prompts()?);
        // A file of callers says who sees what.
        let hub = server.hub().clone();
        let on_change = move || {
            hub.lists_changed();
            callers.announce();
        };
        let server = match auth.on_change(on_change) {
            true => server.with_callers_that_change(),
            false => server,
        };
        followed::tell(&options.readiness);
        Ok(Prepared {
            server,
            auth,
            settings,
            sandbox,
            desk,
        })
    }
}

/// A network, or a single address.
fn net(text: &str) -> anyhow::Result<IpNet> {
    let address = || text.parse().map(|address: std::net::IpAddr| address.into());
    text.parse()
        .or_else(|_| address())
        .map_err(|_| anyhow!("give an address or a network, such as 10.0.0.7 or 10.0.0.0/8"))
}

/// A host name, with or without a port.
fn host(text: &str) -> anyhow::Result<String> {
    match text.contains(['/', '*']) {
        true => Err(anyhow!(
            "give the name alone, such as mcp.example.com; there are no wildcards"
        )),
        false => Ok(text.trim().to_owned()),
    }
}

/// A browser origin; `null` is one, too.
fn origin(text: &str) -> anyhow::Result<String> {
    match text.contains("://") || text == "null" {
        true => Ok(text.trim().to_owned()),
        false => Err(anyhow!(
            "give scheme and host, such as https://console.example.com"
        )),
    }
}

/// A path that others can stand behind.
fn prefix(text: &str) -> anyhow::Result<String> {
    let path = text.trim().trim_end_matches('/');
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~');
    match path.is_empty() || path.starts_with('/') && !path.contains("//") && path.bytes().all(fits)
    {
        true => Ok(path.to_owned()),
        false => Err(anyhow!(
            "give a path such as /portkey, of letters, digits and any of - . _ ~ between slashes"
        )),
    }
}
