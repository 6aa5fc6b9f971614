//! Options of the command line, and the settings that they select.

mod access;
mod arguments;
mod audit;
pub(super) mod descriptions;
mod guard;
pub(super) mod http;
mod rate;
mod replicas;
mod results;
mod secrets;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, MAX_KEY_BYTES, display_path, read_to_string};
use portkey_file_watch::WatchedValue;
use portkey_operation::Upstream;
use portkey_readiness::Readiness;
use portkey_sandbox::{Faults, PinnedTime};
use reqwest::{Certificate, Url};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

pub(super) use self::audit::AuditOptions;
use self::{
    access::AccessOptions, arguments::ArgumentOptions, guard::GuardOptions, results::ResultOptions,
    secrets::SecretOptions,
};
use crate::{
    app::{AppSettings, Backend, McpSettings},
    auth::principal::{Credentials, KeySource, MissingKey, UpstreamKey},
    http_client::client_builder,
    mcp::prompts::PromptLibrary,
    observability::logging,
    upstream::Addresses,
};

/// What each key is set with: a variable and an option, either of which a `_FILE` or `-file` follows.
const PORTKEY_KEY_SETTINGS: (&str, &str) = ("PORTKEY_API_KEY", "--api-key");
const ENKRYPT_KEY_SETTINGS: (&str, &str) = ("ENKRYPT_API_KEY", "--enkrypt-api-key");

/// Options that every subcommand takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Portkey")]
pub struct Options {
    /// Portkey API key. Prefer the variable or --api-key-file: other users can read command lines.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<SecretString>,
    /// File that holds the Portkey API key.
    #[arg(long, global = true, env = "PORTKEY_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Address of the Admin API; a self-hosted control plane has its own, ending in /v1.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_BASE_URL",
        value_name = "URL",
        default_value = "https://api.portkey.ai/v1",
        value_parser = parse_base_url
    )]
    base_url: Url,
    /// Address of the inference gateway, where it is not that of the Admin API.
    #[arg(long, global = true, env = "PORTKEY_GATEWAY_URL", value_name = "URL", value_parser = parse_base_url)]
    gateway_url: Option<Url>,
    /// Address of the MCP registry, where the Admin API is not Portkey's own.
    #[arg(long, global = true, env = "PORTKEY_REGISTRY_URL", value_name = "URL", value_parser = parse_base_url)]
    registry_url: Option<Url>,
    /// Enkrypt AI API key, for its MCP gateway; without it those tools are off. Prefer the variable or the
    /// file here, too.
    #[arg(
        long,
        global = true,
        env = "ENKRYPT_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Enkrypt AI"
    )]
    enkrypt_api_key: Option<SecretString>,
    /// File that holds the Enkrypt AI API key.
    #[arg(
        long,
        global = true,
        env = "ENKRYPT_API_KEY_FILE",
        value_name = "FILE",
        help_heading = "Enkrypt AI"
    )]
    enkrypt_api_key_file: Option<PathBuf>,
    /// Address of Enkrypt AI's API.
    #[arg(
        long,
        global = true,
        env = "ENKRYPT_BASE_URL",
        value_name = "URL",
        default_value = "https://api.enkryptai.com",
        value_parser = parse_base_url,
        help_heading = "Enkrypt AI"
    )]
    enkrypt_base_url: Url,
    /// Bound on a whole call, repetitions included, in seconds.
    #[arg(long, global = true, env = "PORTKEY_MCP_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    timeout: Duration,
    /// Bound on connecting, in seconds.
    #[arg(long, global = true, env = "PORTKEY_MCP_CONNECT_TIMEOUT", value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    connect_timeout: Duration,
    /// How often a call that may be repeated is, after 429, 502, 503, 504 or a lost connection.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_RETRIES",
        value_name = "N",
        default_value = "3"
    )]
    retries: usize,
    /// Bound on an answer, in bytes.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_MAX_RESPONSE_BYTES",
        value_name = "BYTES",
        default_value = "10485760"
    )]
    max_response_bytes: usize,
    /// PEM file of certificate authorities to trust beside the system's.
    #[arg(long, global = true, env = "PORTKEY_MCP_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Work on an embedded Portkey that lives in memory: no account, no network. A key such as
    /// sandbox-workspace-ws-research says which kind of key to play; see docs/sandbox.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SANDBOX",
        value_parser = BoolishValueParser::new(),
        help_heading = "Sandbox"
    )]
    sandbox: bool,
    /// Faults the sandbox injects, such as 429:0.2,503:0.1,latency:50ms,seed:7.
    #[arg(long, global = true, env = "PORTKEY_MCP_SANDBOX_FAULTS", value_name = "FAULTS", default_value = "", hide_default_value = true, value_parser = parse_faults, help_heading = "Sandbox")]
    pub(crate) sandbox_faults: Faults,
    /// Pins the sandbox's clock at a moment, such as 2026-05-31T12:00:00Z: it moves by one second with each
    /// write, and the same calls get the same answers. Otherwise the clock is the machine's.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SANDBOX_NOW",
        value_name = "RFC3339",
        help_heading = "Sandbox"
    )]
    pub(crate) sandbox_now: Option<PinnedTime>,
    /// What to log: error, warn, info, debug, trace, or targets such as warn,portkey_mcp=debug.
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logging"
    )]
    pub(crate) log_level: String,
    /// How to log; always to standard error.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_LOG_FORMAT",
        default_value = "text",
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    secrets: SecretOptions,
    /// Split the list of tools into pages of this many; one page when left out.
    #[arg(long, global = true, env = "PORTKEY_MCP_TOOLS_PAGE", value_name = "N", help_heading = "Tools", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) tools_page: Option<u16>,
    /// Folder of Markdown files with prompts of your own; takes effect whenever they change. docs/prompts.md
    /// says how to write one.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_PROMPTS",
        value_name = "DIR",
        help_heading = "Prompts"
    )]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) guard: GuardOptions,
    #[command(flatten)]
    pub(crate) access: AccessOptions,
    #[command(flatten)]
    pub(crate) arguments: ArgumentOptions,
    #[command(flatten)]
    pub(crate) audit: AuditOptions,
    #[command(flatten)]
    pub(crate) results: ResultOptions,
    /// The state of what the server depends on.
    #[arg(skip)]
    pub(crate) readiness: Readiness,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    Text,
    /// One JSON object per line.
    Json,
}

impl From<LogFormat> for logging::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl Options {
    /// The bound on a whole call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the settings of everything that carries out calls.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, a key cannot be used, or options contradict each other.
    pub fn app_settings(&self) -> anyhow::Result<AppSettings> {
        let backend = if self.sandbox {
            // Configured keys and addresses of the real upstreams are not used.
            Backend::Sandbox {
                faults: self.sandbox_faults.clone(),
                now: self.sandbox_now,
                key: self.sandbox_key()?,
            }
        } else {
            Backend::Live {
                credentials: self.credentials()?,
                addresses: self.addresses()?,
            }
        };
        let now = self
            .sandbox_now
            .filter(|_| self.sandbox)
            .map(PinnedTime::unix_seconds);
        Ok(AppSettings {
            backend,
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            max_response_bytes: self.max_response_bytes,
            max_retries: self.retries,
            extra_roots: self.extra_roots()?,
            catalog: self.catalog()?,
            tool_filter: self.access.tool_filter()?,
            validation: self.arguments.validation_options(now),
            secrets: self.secrets.build()?,
            dry_run: self.guard.dry_run(),
            approval_defaults: self.guard.approval_defaults(),
            policy_file: self.guard.policy_file(),
            audit: self.audit.settings()?,
            readiness: self.readiness.clone(),
        })
    }

    /// Returns the settings of the MCP server.
    ///
    /// # Errors
    /// Returns an error if a prompt of the operator is invalid.
    pub(crate) fn mcp_settings(&self) -> anyhow::Result<McpSettings> {
        Ok(McpSettings {
            tools_page: self.tools_page.map(usize::from),
            surface: self.access.surface(),
            results: self.results.build(),
            prompts: self.load_prompts()?,
        })
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        Ok(Credentials {
            portkey: read_key(
                PORTKEY_KEY_SETTINGS,
                self.api_key.as_ref(),
                self.api_key_file.as_deref(),
            )?,
            enkrypt: read_key(
                ENKRYPT_KEY_SETTINGS,
                self.enkrypt_api_key.as_ref(),
                self.enkrypt_api_key_file.as_deref(),
            )?,
            missing_key: MissingKey::Server,
        })
    }

    /// The key that acts on the embedded sandbox: the one that is set if it is one of the sandbox's, which
    /// says what kind of key to play. A real one stays out of it.
    ///
    /// # Errors
    /// A key of the sandbox's has another form than a key, or the file that may hold one cannot be read.
    fn sandbox_key(&self) -> anyhow::Result<UpstreamKey> {
        let given = match (&self.api_key, &self.api_key_file) {
            (Some(key), _) => key.expose_secret().to_owned(),
            (None, Some(file)) => read_to_string(file, MAX_KEY_BYTES)
                .with_context(|| format!("cannot read the key file {}", display_path(file)))?,
            (None, None) => String::new(),
        };
        // In quotes, or with a word before it, it is one of the sandbox's all the same.
        match given.contains(portkey_sandbox::KEY_PREFIX) {
            true => read_key(
                PORTKEY_KEY_SETTINGS,
                self.api_key.as_ref(),
                self.api_key_file.as_deref(),
            )?
            .context("there is no key"),
            false => Ok(UpstreamKey::new(
                KeySource::Sandbox,
                &portkey_sandbox::DEFAULT_API_KEY.into(),
            )?),
        }
    }

    /// What a client of other servers than the upstreams is built from: same authorities, same proxies.
    ///
    /// # Errors
    /// The file of authorities cannot be read.
    pub fn http_client_builder(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        let us = concat!("portkey-mcp/", env!("CARGO_PKG_VERSION"));
        Ok(client_builder()
            .user_agent(us)
            .tls_certs_merge(self.extra_roots()?))
    }

    /// Makes sure that this process has no key of its own: its clients' keys act, and none else.
    ///
    /// # Errors
    /// One is set.
    pub fn require_no_keys(&self) -> anyhow::Result<()> {
        let set = [
            (self.api_key.is_some(), PORTKEY_KEY_SETTINGS.0),
            (self.api_key_file.is_some(), "PORTKEY_API_KEY_FILE"),
            (self.enkrypt_api_key.is_some(), ENKRYPT_KEY_SETTINGS.0),
            (self.enkrypt_api_key_file.is_some(), "ENKRYPT_API_KEY_FILE"),
        ];
        match set.into_iter().find(|(set, _)| *set) {
            Some((_, name)) => bail!(
                "{name} (or its option) is set, but with this --auth the server acts with its clients' \
                 keys alone. Unset it, so that no request can ever use it by mistake"
            ),
            None => Ok(()),
        }
    }

    /// The prompts on offer where there are others than those built in.
    ///
    /// # Errors
    /// An own one does not hold.
    pub fn load_prompts(&self) -> anyhow::Result<Option<WatchedValue<PromptLibrary>>> {
        self.prompts
            .as_deref()
            .map(PromptLibrary::watch_folder)
            .transpose()
    }

    /// The operations on offer: Enkrypt AI's only where they can be called.
    ///
    /// # Errors
    /// The words to show them with cannot be read, or used.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        let enkrypt = self.enkrypt_api_key.is_some() || self.enkrypt_api_key_file.is_some();
        let whole = Catalog::with_presentation(self.access.presentation()?);
        Ok(if enkrypt || self.sandbox {
            whole
        } else {
            whole.without_upstream(Upstream::Enkrypt)
        })
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        // Not left to the parsers above, because clap repeats what it does not accept.
        if self
            .urls()
            .any(|url| !url.username().is_empty() || url.password().is_some())
        {
            bail!(
                "an address may not hold credentials; set PORTKEY_API_KEY or ENKRYPT_API_KEY instead"
            );
        }
        Ok(Addresses::new(
            self.base_url.clone(),
            self.gateway_url.clone(),
            self.registry_url.clone(),
            self.enkrypt_base_url.clone(),
        )?)
    }

    /// Every address that a key goes to.
    fn urls(&self) -> impl Iterator<Item = &Url> {
        let named = [self.gateway_url.as_ref(), self.registry_url.as_ref()];
        [&self.base_url, &self.enkrypt_base_url]
            .into_iter()
            .chain(named.into_iter().flatten())
    }

    /// The certificate authorities to trust beside the system's, in PEM; empty without any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn extra_roots_pem(&self) -> anyhow::Result<Vec<u8>> {
        let Some(file) = &self.ca_file else {
            return Ok(Vec::new());
        };
        portkey_bounded_file::read(file, MAX_CONFIG_BYTES)
            .with_context(|| format!("cannot read the CA file {}", display_path(file)))
    }

    fn extra_roots(&self) -> anyhow::Result<Vec<Certificate>> {
        let Some(file) = &self.ca_file else {
            return Ok(Vec::new());
        };
        let roots = Certificate::from_pem_bundle(&self.extra_roots_pem()?)
            .with_context(|| format!("{} holds no PEM certificates", display_path(file)))?;
        if roots.is_empty() {
            bail!("{} holds no PEM certificates", display_path(file));
        }
        Ok(roots)
    }

    /// Says what is worth a word before the start.
    pub fn log_warnings(&self) {
        for url in self.urls() {
            if !self.sandbox && url.scheme() == "http" && !is_loopback(url) {
                let host = url.host_str();
                warn!(
                    host,
                    "the address is plain http: the API key travels unencrypted"
                );
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    })
}

/// A key from wherever it is set; `variable` and `option` are what it is
/// set with.
fn read_key(
    (variable, option): (&str, &str),
    given: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<Option<UpstreamKey>> {
    let (key, place) = match (given, file) {
        (Some(_), Some(_)) => bail!(
            "both an API key and a key file are given; set only one of {variable} ({option}) and \
             {variable}_FILE ({option}-file)"
        ),
        (Some(key), None) => (
            UpstreamKey::new(KeySource::Option, key),
            format!("{variable} ({option})"),
        ),
        (None, Some(file)) => (
            UpstreamKey::from_file(file.to_owned()),
            format!("{variable}_FILE ({option}-file)"),
        ),
        (None, None) => return Ok(None),
    };
    Ok(Some(
        key.with_context(|| format!("{place} cannot be used"))?,
    ))
}

/// An address of HTTP.
pub(crate) fn parse_http_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text
        .parse()
        .map_err(|error| anyhow!("{error}; give an address such as https://api.portkey.ai/v1"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        bail!("only http and https addresses can be used");
    }
    Ok(url)
}

fn parse_base_url(text: &str) -> anyhow::Result<Url> {
    let url = parse_http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        bail!("the address may not have a query or a fragment");
    }
    Ok(url)
}

/// A length of time, given in seconds.
pub(crate) fn parse_seconds(text: &str) -> anyhow::Result<Duration> {
    match parse_duration(text)? {
        Duration::ZERO => bail!("give a number of seconds above zero"),
        duration => Ok(duration),
    }
}

/// A time that may be none at all.
pub(crate) fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let seconds: f64 = text
        .parse()
        .context("give a number of seconds, such as 30 or 0.5")?;
    Duration::try_from_secs_f64(seconds).context("give a number of seconds that is not negative")
}

/// Like the other parsers, but an empty text stands for no faults.
fn parse_faults(text: &str) -> anyhow::Result<Faults> {
    if text.trim().is_empty() {
        Ok(Faults::default())
    } else {
        Ok(text.parse()?)
    }
}
