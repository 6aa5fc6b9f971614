//! Options of the console, and of notices about waiting calls.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use http::HeaderName;
use ipnet::IpNet;
use portkey_bounded_file::display_path;
use reqwest::{ClientBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::super::http::parse_network;
use crate::{
    app::WebhookSettings,
    security::secrets::{self, FileProtection, read_protected_file},
    transport::admin::ProxyName,
};

/// Minimum length of the key, in characters.
const MIN_KEY_CHARS: usize = 32;

/// Way to sign in to the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConsoleAuth {
    /// By the token in --admin-file, or the address in the log.
    Token,
    /// By an access token in each request, from the issuer of --auth oauth; a proxy that signs people in sends it.
    /// [console] of the --auth-file names the role.
    Oauth,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Approval")]
pub(super) struct ConsoleOptions {
    /// Way to sign in to the console. Addresses beyond loopback need oauth.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_AUTH",
        value_name = "METHOD",
        default_value = "token"
    )]
    admin_auth: ConsoleAuth,
    /// Address of a proxy in front of the approval server, such as `https://approvals.example.com`, for browsers
    /// and links.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_URL",
        value_name = "URL",
        value_parser = parse_console_url
    )]
    admin_url: Option<String>,
    /// Header in which a trusted proxy names the person who decides, such as X-Forwarded-User.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_NAME_HEADER",
        value_name = "HEADER",
        requires = "admin_trusted_proxies"
    )]
    admin_name_header: Option<HeaderName>,
    /// Proxy, or network of proxies, whose --admin-name-header is trusted; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_name = "NET",
        value_parser = parse_network
    )]
    admin_trusted_proxies: Vec<IpNet>,
    /// Address that gets a signed notice of each call that waits for approval, such as a webhook of Slack.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVAL_WEBHOOK",
        hide_env_values = true,
        value_name = "URL",
        value_parser = parse_webhook_url,
        requires = "approval_webhook_key_file"
    )]
    approval_webhook: Option<Url>,
    /// File with the key of at least 32 characters that signs these notices.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVAL_WEBHOOK_KEY_FILE",
        value_name = "FILE"
    )]
    approval_webhook_key_file: Option<PathBuf>,
}

impl ConsoleOptions {
    pub(super) fn public_url(&self) -> Option<String> {
        self.admin_url.clone()
    }

    /// Returns true if the console needs an access token in each request.
    pub(super) fn requires_tokens(&self) -> bool {
        self.admin_auth == ConsoleAuth::Oauth
    }

    pub(super) fn proxy_name(&self) -> Option<ProxyName> {
        self.admin_name_header.as_ref().map(|header| ProxyName {
            header: header.clone(),
            proxies: self.admin_trusted_proxies.clone(),
        })
    }

    /// Returns the settings of the webhook, if there is one.
    ///
    /// # Errors
    /// Returns an error if the key cannot be read or is too short.
    pub(super) fn webhook(
        &self,
        client: impl FnOnce() -> anyhow::Result<ClientBuilder>,
    ) -> anyhow::Result<Option<WebhookSettings>> {
        let (Some(url), Some(file)) = (&self.approval_webhook, &self.approval_webhook_key_file)
        else {
            return Ok(None);
        };
        let context = || format!("cannot use the key {}", display_path(file));
        let text = read_protected_file(file, FileProtection::Private).with_context(context)?;
        let key = text.expose_secret().trim();
        if key.chars().count() < MIN_KEY_CHARS {
            return Err(anyhow!(
                "a key has {MIN_KEY_CHARS} characters or more; make one with `openssl rand -hex 32`"
            )
            .context(context()));
        }
        secrets::learn_key(key);
        secrets::learn_key(url.as_str());
        Ok(Some(WebhookSettings {
            url: url.clone(),
            key: SecretString::from(key),
            client: client()?,
        }))
    }
}

/// Parses scheme and host of a proxy.
fn parse_console_url(text: &str) -> anyhow::Result<String> {
    let url: Url = text.parse()?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain || !url.username().is_empty() {
        bail!("give scheme and host, such as https://approvals.example.com");
    }
    Ok(url.origin().ascii_serialization())
}

/// Parses the address of a webhook, without repeating it: it may be a secret.
fn parse_webhook_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text
        .parse()
        .map_err(|_| anyhow!("it is no address; give one such as https://hooks.example.com/x"))?;
    let is_own = match url.host_str() {
        Some(host) => {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_own => Ok(url),
        _ => bail!("give an https:// address; http:// is for this machine only"),
    }
}
