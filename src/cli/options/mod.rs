//! Options of the command line, and the settings that they select.

mod access;
mod arguments;
mod audit;
pub(super) mod descriptions;
mod guard;
pub(super) mod http;
mod journal;
mod rate;
mod replicas;
mod rest;
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
use portkey_journal::JournalPlace;
use portkey_operation::Upstream;
use portkey_readiness::Readiness;
use portkey_sandbox::{Faults, PinnedTime};
use reqwest::{Certificate, Url};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use self::{
    access::AccessOptions, arguments::ArgumentOptions, guard::GuardOptions,
    journal::JournalOptions, results::ResultOptions, secrets::SecretOptions,
};
pub(super) use self::{audit::AuditOptions, replicas::read_redis_url};
use crate::{
    app::{AppSettings, ApprovalSettings, Backend, McpSettings},
    auth::principal::{Credentials, KeySource, MissingKey, UpstreamKey},
    cli::login::{self, LoginOptions},
    http_client::{client_builder, decision_point::DecisionClient},
    mcp::prompts::PromptLibrary,
    observability::logging,
    upstream::Addresses,
};

/// Variable and option of each key. With the suffix `_FILE` or `-file`, they name a file.
const PORTKEY_KEY_SETTINGS: (&str, &str) = ("PORTKEY_API_KEY", "--api-key");
const ENKRYPT_KEY_SETTINGS: (&str, &str) = ("ENKRYPT_API_KEY", "--enkrypt-api-key");

/// Options that every subcommand takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Portkey")]
pub struct Options {
    /// TOML file with options under the names that they have here; see docs/options.md. Options and variables take
    /// precedence over it.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_CONFIG",
        value_name = "FILE",
        help_heading = "Configuration"
    )]
    config: Option<PathBuf>,
    /// What is said about variables and entries of the file that have no effect.
    #[arg(skip)]
    unused: Vec<String>,
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
    #[command(flatten)]
    pub(super) login: LoginOptions,
    /// Address of the Admin API. A self-hosted control plane has its own address, which ends in /v1.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_BASE_URL",
        value_name = "URL",
        default_value = "https://api.portkey.ai/v1",
        value_parser = parse_base_url
    )]
    base_url: Url,
    /// Address of the inference gateway, if it differs from that of the Admin API.
    #[arg(long, global = true, env = "PORTKEY_GATEWAY_URL", value_name = "URL", value_parser = parse_base_url)]
    gateway_url: Option<Url>,
    /// Address of the MCP registry, if the Admin API is not Portkey's.
    #[arg(long, global = true, env = "PORTKEY_REGISTRY_URL", value_name = "URL", value_parser = parse_base_url)]
    registry_url: Option<Url>,
    /// Enkrypt AI API key, for its MCP gateway; without it, these tools are not available. Prefer the variable or
    /// --enkrypt-api-key-file.
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
    /// Maximum time for a whole call, including retries, in seconds.
    #[arg(long, global = true, env = "PORTKEY_MCP_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    timeout: Duration,
    /// Maximum time to connect, in seconds.
    #[arg(long, global = true, env = "PORTKEY_MCP_CONNECT_TIMEOUT", value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    connect_timeout: Duration,
    /// Maximum number of retries of a repeatable call, after 429, 502, 503, 504 or a lost connection.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_RETRIES",
        value_name = "N",
        default_value = "3"
    )]
    retries: usize,
    /// Maximum size of an upstream response, in bytes.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_MAX_RESPONSE_BYTES",
        value_name = "BYTES",
        default_value = "10485760"
    )]
    max_response_bytes: usize,
    /// PEM file of trusted certificate authorities, in addition to those of the system.
    #[arg(long, global = true, env = "PORTKEY_MCP_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Use an embedded Portkey in memory, without an account or a network. A key such as
    /// sandbox-workspace-ws-research selects the kind of key to simulate; see docs/sandbox.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SANDBOX",
        value_parser = BoolishValueParser::new(),
        help_heading = "Sandbox"
    )]
    sandbox: bool,
    /// Faults that the sandbox injects, such as 429:0.2,503:0.1,latency:50ms,seed:7.
    #[arg(long, global = true, env = "PORTKEY_MCP_SANDBOX_FAULTS", value_name = "FAULTS", default_value = "", hide_default_value = true, value_parser = parse_faults, help_heading = "Sandbox")]
    pub(crate) sandbox_faults: Faults,
    /// Start time of a simulated sandbox clock, such as 2026-05-31T12:00:00Z. It advances by one second with each
    /// write, so the same calls get the same results. By default, the sandbox uses the machine's clock.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SANDBOX_NOW",
        value_name = "RFC3339",
        help_heading = "Sandbox"
    )]
    pub(crate) sandbox_now: Option<PinnedTime>,
    /// Log level: error, warn, info, debug, trace, or targets such as warn,portkey_mcp=debug.
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logging"
    )]
    pub(crate) log_level: String,
    /// Format of the log, which is written to standard error.
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        env = "PORTKEY_MCP_LOG_FORMAT",
        default_value = "text",
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    secrets: SecretOptions,
    /// Number of tools on each page of the tool list; without it, there is one page.
    #[arg(long, global = true, env = "PORTKEY_MCP_TOOLS_PAGE", value_name = "N", help_heading = "Tools", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) tools_page: Option<u16>,
    /// Folder of Markdown files with your own prompts; see docs/prompts.md. The server reloads them when they
    /// change.
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
    journal: JournalOptions,
    #[command(flatten)]
    pub(crate) results: ResultOptions,
    /// State of the server's dependencies.
    #[arg(skip)]
    pub(crate) readiness: Readiness,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Text for humans.
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
    /// Returns the maximum time for a whole call.
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
            decisions: DecisionClient::new(
                self.http_client_builder()?,
                self.http_client_builder()?,
            ),
            audit: self.audit.settings()?,
            journal: self.journal.settings()?,
            readiness: self.readiness.clone(),
        })
    }

    /// Returns the same settings for the user who runs the process. Without other options, changes are kept in
    /// a journal in the user's state folder.
    ///
    /// # Errors
    /// As [`Self::app_settings`].
    pub(crate) fn local_app_settings(&self) -> anyhow::Result<AppSettings> {
        let mut settings = self.app_settings()?;
        login::add_stored_key(&mut settings, self)?;
        if !self.sandbox {
            settings.journal = self.journal.settings_or_default()?;
        }
        Ok(settings)
    }

    /// Returns true if the embedded sandbox is used instead of Portkey.
    pub(crate) fn uses_sandbox(&self) -> bool {
        self.sandbox
    }

    /// Returns the address of the Admin API.
    pub(crate) fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Returns true if writes are previewed instead of sent.
    pub(crate) const fn is_dry_run(&self) -> bool {
        self.guard.dry_run()
    }

    /// Returns the setting that gives the Portkey key, if one does.
    pub(crate) fn key_setting(&self) -> Option<&'static str> {
        match (&self.api_key, &self.api_key_file) {
            (Some(_), _) => Some("PORTKEY_API_KEY (--api-key)"),
            (None, Some(_)) => Some("PORTKEY_API_KEY_FILE (--api-key-file)"),
            (None, None) => None,
        }
    }

    /// Returns true if the Admin API is on this machine.
    pub(crate) fn is_base_url_loopback(&self) -> bool {
        is_loopback(&self.base_url)
    }

    /// Returns where a local process keeps its history.
    ///
    /// # Errors
    /// Returns an error if the options contradict each other.
    pub(crate) fn journal_place(&self) -> anyhow::Result<Option<JournalPlace>> {
        let settings = match self.sandbox {
            true => self.journal.settings()?,
            false => self.journal.settings_or_default()?,
        };
        Ok(settings.map(|settings| settings.place))
    }

    /// Returns true if a server with these options, on standard input and output, keeps a history of
    /// changes.
    pub(crate) const fn keeps_history(&self) -> bool {
        self.journal.is_kept(!self.sandbox)
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

    /// Returns the key for the embedded sandbox: the configured key if it is a sandbox key, otherwise the
    /// default. A real key is never used.
    ///
    /// # Errors
    /// Returns an error if a sandbox key is malformed, or the key file cannot be read.
    fn sandbox_key(&self) -> anyhow::Result<UpstreamKey> {
        let given = match (&self.api_key, &self.api_key_file) {
            (Some(key), _) => key.expose_secret().to_owned(),
            (None, Some(file)) => read_to_string(file, MAX_KEY_BYTES)
                .with_context(|| format!("cannot read the key file {}", display_path(file)))?,
            (None, None) => String::new(),
        };
        // A sandbox key in quotes or after `Bearer` is still recognised, and then rejected as malformed.
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

    /// Returns a builder for clients of servers other than the upstreams, with the same authorities and proxies.
    ///
    /// # Errors
    /// Returns an error if the file of authorities cannot be read.
    pub fn http_client_builder(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        let user_agent = concat!("portkey-mcp/", env!("CARGO_PKG_VERSION"));
        Ok(client_builder()
            .user_agent(user_agent)
            .tls_certs_merge(self.extra_roots()?))
    }

    /// Returns the settings of approvals by humans.
    ///
    /// # Errors
    /// Returns an error if a key of the audit log or of the webhook cannot be used.
    pub(crate) fn approval_settings(&self) -> anyhow::Result<ApprovalSettings> {
        let client = || self.http_client_builder();
        self.guard.approval(self.audit.trail()?, client)
    }

    /// Checks that this process has no key of its own, so that only its clients' keys are used.
    ///
    /// # Errors
    /// Returns an error if a key is set.
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

    /// Returns the prompts, if the operator adds some to the built-in ones.
    ///
    /// # Errors
    /// Returns an error if a prompt of the operator is invalid.
    pub fn load_prompts(&self) -> anyhow::Result<Option<WatchedValue<PromptLibrary>>> {
        self.prompts
            .as_deref()
            .map(PromptLibrary::watch_folder)
            .transpose()
    }

    /// Returns the available operations. Those of Enkrypt AI need its key or the sandbox.
    ///
    /// # Errors
    /// Returns an error if the descriptions file cannot be read or is invalid.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        let enkrypt = self.enkrypt_api_key.is_some() || self.enkrypt_api_key_file.is_some();
        let whole = Catalog::with_presentation(self.access.presentation()?);
        let whole = self.access.without_unwanted_previews(whole);
        Ok(if enkrypt || self.sandbox {
            whole
        } else {
            whole.without_upstream(Upstream::Enkrypt)
        })
    }

    /// Checks that no address holds a user or a password.
    ///
    /// # Errors
    /// Returns an error if one does.
    pub(crate) fn check_addresses(&self) -> anyhow::Result<()> {
        // Not left to the parsers above, because clap repeats what it does not accept.
        if self
            .urls()
            .any(|url| !url.username().is_empty() || url.password().is_some())
        {
            bail!(
                "an address may not hold credentials; set PORTKEY_API_KEY or ENKRYPT_API_KEY instead"
            );
        }
        Ok(())
    }

    /// Checks what can be checked without reading a file: addresses, names of tools, and the delivery of secrets.
    ///
    /// # Errors
    /// Returns an error if an option is invalid, or options contradict each other.
    pub(crate) fn check_without_files(&self) -> anyhow::Result<()> {
        self.check_addresses()?;
        self.access.tool_filter()?;
        self.secrets.check()
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        self.check_addresses()?;
        Ok(Addresses::new(
            self.base_url.clone(),
            self.gateway_url.clone(),
            self.registry_url.clone(),
            self.enkrypt_base_url.clone(),
        )?)
    }

    /// Returns every address that a key is sent to.
    fn urls(&self) -> impl Iterator<Item = &Url> {
        let named = [self.gateway_url.as_ref(), self.registry_url.as_ref()];
        [&self.base_url, &self.enkrypt_base_url]
            .into_iter()
            .chain(named.into_iter().flatten())
    }

    /// Returns the trusted certificate authorities beside the system's, in PEM. The result is empty if there are none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
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

    /// Sets the messages about options without effect, which a server logs.
    pub(in crate::cli) fn set_unused(&mut self, unused: Vec<String>) {
        self.unused = unused;
    }

    /// Says what is worth a word before the start.
    pub fn log_warnings(&self) {
        for message in &self.unused {
            warn!("{message}");
        }
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

/// Reads a key from its value or its file. `variable` and `option` name its settings in errors.
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

/// Parses an HTTP or HTTPS address.
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

/// Parses a duration above zero, in seconds.
pub(crate) fn parse_seconds(text: &str) -> anyhow::Result<Duration> {
    match parse_duration(text)? {
        Duration::ZERO => bail!("give a number of seconds above zero"),
        duration => Ok(duration),
    }
}

/// Units of durations beside seconds, each with its length in seconds.
const DURATION_UNITS: &[(&str, f64)] = &[
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
];

/// Parses a duration, which may be zero: a number of seconds, or of another unit that it names.
pub(crate) fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = DURATION_UNITS
        .iter()
        .find(|(unit, _)| text.strip_prefix(digits) == Some(unit));
    let (number, length) = match unit {
        Some((_, length)) => (digits, *length),
        None => (text, 1.0),
    };
    let number: f64 = number.parse().context(
        "give a number of seconds, such as 30 or 0.5, or one with a unit, such as 500ms, 5m or 1h",
    )?;
    Duration::try_from_secs_f64(number * length)
        .context("give a number of seconds that is not negative")
}

/// Parses the faults of the sandbox. An empty text means no faults.
fn parse_faults(text: &str) -> anyhow::Result<Faults> {
    if text.trim().is_empty() {
        Ok(Faults::default())
    } else {
        Ok(text.parse()?)
    }
}
