//! Options of `portkey-mcp http`.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use ipnet::IpNet;
use portkey_store::TokenBucket;

use super::{
    Options, parse_duration, parse_seconds, rate::RateLimit, replicas::ReplicaOptions,
    rest::RestOptions,
};
use crate::{
    app::{AuthSettings, HttpServerSettings},
    transport::http::{ConnectionBounds, HttpSettings, Tls, UnreadResponses},
};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --sandbox
  portkey-mcp http --listen 127.0.0.1:9000 --api-key-file /run/secrets/portkey
  portkey-mcp http --sandbox --allowed-origin https://console.example.com    for a client on that page
  portkey-mcp http --auth key --listen 0.0.0.0:8787 --allowed-host mcp.example.com \\
    --tls-cert tls.crt --tls-key tls.key
  portkey-mcp http --auth token --auth-file tokens.toml
  portkey-mcp http --auth oauth --auth-file oauth.toml
  portkey-mcp http --auth token --auth-file tokens.toml --state-key-file state.keys \\
    --redis-url-file /run/secrets/redis                              one of several replicas
  portkey-mcp http --auth token --auth-file tokens.toml --metrics-listen 127.0.0.1:9090
  portkey-mcp http --sandbox --rest                                the API at /v1, for scripts and SDKs
  portkey-mcp http --auth key --rest-listen 127.0.0.1:8080";

/// Default rate limit of one caller, in requests per minute.
const DEFAULT_RATE_PER_MINUTE: NonZeroU32 = NonZeroU32::new(1200).unwrap();
/// Default rate limit of one address, in requests per minute.
const DEFAULT_ADDRESS_RATE_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6000).unwrap();

/// Authentication of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// No authentication, for loopback only.
    None,
    /// The caller's Portkey key, in the header x-portkey-api-key.
    Key,
    /// A bearer token issued by the operator; see `portkey-mcp token new`.
    Token,
    /// An access token of an OAuth authorization server.
    #[value(name = "oauth")]
    OAuth,
}

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
pub struct HttpOptions {
    /// Address to listen on.
    #[arg(
        long,
        env = "PORTKEY_MCP_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8787"
    )]
    listen: SocketAddr,
    /// Number of threads that serve clients.
    #[arg(
        long,
        env = "PORTKEY_MCP_THREADS",
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    pub(in crate::cli) threads: u8,
    /// Authentication of callers.
    #[arg(
        long,
        value_name = "MODE",
        env = "PORTKEY_MCP_AUTH",
        default_value = "none",
        help_heading = "Authentication"
    )]
    auth: AuthMode,
    /// File of tokens for --auth token, or of OAuth settings for --auth oauth. The server reloads it when it
    /// changes.
    #[arg(
        long,
        env = "PORTKEY_MCP_AUTH_FILE",
        value_name = "FILE",
        help_heading = "Authentication"
    )]
    auth_file: Option<PathBuf>,
    /// Allow --auth none on addresses beyond loopback. Anyone who can connect can then administer Portkey.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOW_UNAUTHENTICATED",
        value_parser = BoolishValueParser::new(),
        help_heading = "Authentication"
    )]
    allow_unauthenticated: bool,
    /// PEM file of the certificate and its chain up to the authority. The server reloads it when it changes.
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
    /// Host name that clients may use, in addition to localhost and the listen address; repeatable.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_name = "HOST",
        value_parser = parse_host,
        help_heading = "Network"
    )]
    allowed_host: Vec<String>,
    /// Browser origin that may call, such as `https://console.example.com`; repeatable. On loopback, origins of
    /// this machine may always call.
    #[arg(
        long,
        env = "PORTKEY_MCP_ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN",
        value_parser = parse_origin,
        help_heading = "Network"
    )]
    allowed_origin: Vec<String>,
    /// Prefix of all paths, such as /portkey, for a proxy that forwards paths unchanged.
    #[arg(
        long,
        env = "PORTKEY_MCP_PATH_PREFIX",
        value_name = "PATH",
        default_value = "",
        hide_default_value = true,
        value_parser = parse_path_prefix,
        help_heading = "Network"
    )]
    path_prefix: String,
    /// Proxy, or network of proxies, whose X-Forwarded-For is trusted; repeatable.
    #[arg(
        long,
        env = "PORTKEY_MCP_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_name = "NET",
        value_parser = parse_network,
        help_heading = "Network"
    )]
    trusted_proxies: Vec<IpNet>,
    /// Maximum size of a request body, in bytes.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_REQUEST_BYTES",
        value_name = "BYTES",
        default_value = "4194304",
        help_heading = "Limits"
    )]
    max_request_bytes: usize,
    /// Maximum time to receive a request body, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = parse_seconds,
        help_heading = "Limits"
    )]
    body_timeout: Duration,
    /// Maximum time to receive a request's head, and to wait for the next request of a connection, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_IDLE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "75",
        value_parser = parse_seconds,
        help_heading = "Limits"
    )]
    idle_timeout: Duration,
    /// Maximum time in which a client reads nothing of a response, in seconds. A stream with nothing to send is
    /// exempt.
    #[arg(
        long,
        env = "PORTKEY_MCP_WRITE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = parse_seconds,
        help_heading = "Limits"
    )]
    write_timeout: Duration,
    /// Maximum total size of responses that clients have not read, in bytes: at least 1048576. One caller may
    /// use a quarter.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_UNREAD_BYTES",
        value_name = "BYTES",
        default_value = "67108864",
        value_parser = clap::value_parser!(u32).range(1048576..),
        help_heading = "Limits"
    )]
    max_unread_bytes: u32,
    /// Maximum size of a request's head, in bytes: at least 8192.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_HEAD_BYTES",
        value_name = "BYTES",
        default_value = "65536",
        value_parser = clap::value_parser!(u32).range(8192..),
        help_heading = "Limits"
    )]
    max_head_bytes: u32,
    /// Maximum number of open connections.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "4096",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    max_connections: u32,
    /// Maximum number of concurrent requests of one caller.
    #[arg(
        long,
        env = "PORTKEY_MCP_CONCURRENCY",
        value_name = "N",
        default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    concurrency: u32,
    /// Maximum number of concurrent requests from one address.
    #[arg(
        long,
        env = "PORTKEY_MCP_ADDRESS_CONCURRENCY",
        value_name = "N",
        default_value = "512",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    address_concurrency: u32,
    /// Maximum rate of requests of one caller, over all replicas: a number per s, m or h, such as 20/s, or none.
    /// The default is 1200/m, or none with --auth none.
    #[arg(
        long,
        env = "PORTKEY_MCP_RATE_LIMIT",
        value_name = "RATE",
        help_heading = "Limits"
    )]
    rate_limit: Option<RateLimit>,
    /// Maximum rate of requests from one address, over all replicas. The default is 6000/m, or none with
    /// --auth none.
    #[arg(
        long,
        env = "PORTKEY_MCP_ADDRESS_RATE_LIMIT",
        value_name = "RATE",
        help_heading = "Limits"
    )]
    address_rate_limit: Option<RateLimit>,
    /// Length of the IPv6 network prefix that counts as one address in limits, in bits from 1 to 128. The owner
    /// of one address in a network has all of them.
    #[arg(
        long,
        env = "PORTKEY_MCP_IPV6_PREFIX",
        value_name = "BITS",
        default_value = "64",
        value_parser = clap::value_parser!(u8).range(1..=128),
        help_heading = "Limits"
    )]
    ipv6_prefix: u8,
    /// Time between a request to stop and the shutdown, in seconds. Meanwhile, /readyz returns 503, so that
    /// proxies can stop sending requests.
    #[arg(
        long,
        env = "PORTKEY_MCP_DRAIN_DELAY",
        value_name = "SECONDS",
        default_value = "0",
        value_parser = parse_duration,
        help_heading = "Network"
    )]
    drain_delay: Duration,
    #[command(flatten)]
    rest: RestOptions,
    #[command(flatten)]
    replicas: ReplicaOptions,
    /// Address of the Prometheus metrics, served at /metrics. Anyone who can connect can read them.
    #[arg(
        long,
        env = "PORTKEY_MCP_METRICS_LISTEN",
        value_name = "ADDRESS",
        help_heading = "Observability"
    )]
    metrics_listen: Option<SocketAddr>,
}

impl HttpOptions {
    /// Returns true if the server acts with its own key, and not with those of its callers.
    pub(in crate::cli) fn uses_own_key(&self) -> bool {
        self.auth == AuthMode::None
    }

    /// Returns the settings of the HTTP server. `exports_metrics` records metrics although no address serves
    /// them.
    ///
    /// # Errors
    /// Returns an error if options contradict each other, or a file that they name cannot be used.
    pub fn settings(
        self,
        options: &Options,
        exports_metrics: bool,
    ) -> anyhow::Result<HttpServerSettings> {
        if self.auth != AuthMode::None {
            options.require_no_keys()?;
        }
        Ok(HttpServerSettings {
            auth: self.auth(options)?,
            state_keys: self.replicas.state_keys()?,
            store: self.replicas.connect_store(options)?,
            approval: options.approval_settings()?,
            mcp: options.mcp_settings()?,
            exports_metrics,
            server: self.server(options)?,
        })
    }

    fn auth(&self, options: &Options) -> anyhow::Result<AuthSettings> {
        match (self.auth, self.auth_file.clone()) {
            (AuthMode::None, None) => Ok(AuthSettings::None),
            (AuthMode::Key, None) => Ok(AuthSettings::Key),
            (AuthMode::Token, Some(file)) => Ok(AuthSettings::Token { file }),
            (AuthMode::OAuth, Some(file)) => Ok(AuthSettings::OAuth {
                file,
                client: options.http_client_builder()?,
            }),
            (AuthMode::None | AuthMode::Key, Some(_)) => {
                bail!("--auth-file belongs to --auth token or oauth; leave one of the two out")
            }
            (AuthMode::OAuth, None) => bail!(
                "--auth oauth needs --auth-file, which names the trusted issuers and the Portkey key of each \
                 caller; see docs/authentication.md"
            ),
            (AuthMode::Token, None) => bail!(
                "--auth token needs --auth-file; create the first entry with `portkey-mcp token new`"
            ),
        }
    }

    /// Returns the configured limit, or the default. Without authentication the default is no limit, because the
    /// only caller on loopback is the operator.
    fn limit(
        &self,
        rate: Option<RateLimit>,
        default_per_minute: NonZeroU32,
    ) -> Option<TokenBucket> {
        match (rate, self.auth) {
            (Some(rate), _) => rate.0,
            (None, AuthMode::None) => None,
            (None, _) => Some(TokenBucket {
                burst: default_per_minute,
                period: Duration::from_secs(60),
            }),
        }
    }

    fn connections(&self) -> ConnectionBounds {
        ConnectionBounds {
            max: self.max_connections,
            head_timeout: self.idle_timeout,
            head_bytes: self.max_head_bytes as usize,
            write_timeout: self.write_timeout,
            unread: UnreadResponses::new(self.max_unread_bytes as usize),
        }
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Tls::start(certificate, key.clone()).map(Some),
            _ => Ok(None),
        }
    }

    fn server(self, options: &Options) -> anyhow::Result<HttpSettings> {
        Ok(HttpSettings {
            rate: self.limit(self.rate_limit, DEFAULT_RATE_PER_MINUTE),
            address_rate: self.limit(self.address_rate_limit, DEFAULT_ADDRESS_RATE_PER_MINUTE),
            connections: self.connections(),
            tls: self.tls()?,
            sessions: self.replicas.session_bounds(),
            grace: options.timeout(),
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
            allow_unauthenticated: self.allow_unauthenticated,
            drain_delay: self.drain_delay,
            metrics_listen: self.metrics_listen,
            rest: self.rest.settings(),
        })
    }
}

/// Parses a network, or a single address.
pub(in crate::cli) fn parse_network(text: &str) -> anyhow::Result<IpNet> {
    let address = || text.parse().map(|address: std::net::IpAddr| address.into());
    text.parse()
        .or_else(|_| address())
        .map_err(|_| anyhow!("give an address or a network, such as 10.0.0.7 or 10.0.0.0/8"))
}

/// Parses a host name, with or without a port.
fn parse_host(text: &str) -> anyhow::Result<String> {
    match text.contains(['/', '*']) {
        true => Err(anyhow!(
            "give the name alone, such as mcp.example.com; there are no wildcards"
        )),
        false => Ok(text.trim().to_owned()),
    }
}

/// Parses a browser origin; `null` is valid, too.
fn parse_origin(text: &str) -> anyhow::Result<String> {
    match text.contains("://") || text == "null" {
        true => Ok(text.trim().to_owned()),
        false => Err(anyhow!(
            "give scheme and host, such as https://console.example.com"
        )),
    }
}

/// Parses a path prefix.
fn parse_path_prefix(text: &str) -> anyhow::Result<String> {
    let path = text.trim().trim_end_matches('/');
    let is_allowed =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~');
    match path.is_empty()
        || path.starts_with('/') && !path.contains("//") && path.bytes().all(is_allowed)
    {
        true => Ok(path.to_owned()),
        false => Err(anyhow!(
            "give a path such as /portkey, of letters, digits and any of - . _ ~ between slashes"
        )),
    }
}
