//! Tells a web address about calls that wait for approval. Knows no arguments and no secrets.
//!
//! A call is never delayed: notices wait in a bounded queue, and are dropped if it is full.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use reqwest::{Client, ClientBuilder, StatusCode, Url, redirect};
use ring::hmac::{self, HMAC_SHA256};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::{sync::mpsc::Receiver, time::sleep};
use tracing::{debug, warn};

use crate::{
    http_client::network_error,
    pipeline::approval::{NoticeSender, TicketNotice},
};

/// Header with the time and the signature: `t=SECONDS,v1=HEX`.
const SIGNATURE_HEADER: &str = "x-portkey-mcp-signature";

/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays before the retries of a notice.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// Receiver of notices, and how they are signed.
#[derive(Debug)]
pub struct WebhookSettings {
    /// Address that notices are sent to. It may be a secret itself.
    pub url: Url,
    /// Key of the signatures.
    pub key: SecretString,
    /// HTTP client that sends them.
    pub client: ClientBuilder,
}

/// Sends the notices of one process.
struct Webhook {
    url: Url,
    key: hmac::Key,
    client: Client,
    /// Address of the console, without a trailing slash.
    console: Option<String>,
}

impl WebhookSettings {
    /// Starts to send what the returned end of the queue accepts. `console` is the address for
    /// links.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be built.
    pub(super) fn start(self, console: Option<String>) -> anyhow::Result<NoticeSender> {
        let client = self
            .client
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| anyhow!(network_error::describe_cause(&error)))
            .context("cannot use --approval-webhook")?;
        let webhook = Webhook {
            url: self.url,
            key: hmac::Key::new(HMAC_SHA256, self.key.expose_secret().as_bytes()),
            client,
            console,
        };
        let (sender, receiver) = NoticeSender::channel();
        tokio::spawn(webhook.run(receiver));
        Ok(sender)
    }
}

impl Webhook {
    async fn run(self, mut notices: Receiver<TicketNotice>) {
        while let Some(notice) = notices.recv().await {
            self.deliver(&notice).await;
        }
    }

    /// Sends a notice, and tries again while that may help.
    async fn deliver(&self, notice: &TicketNotice) {
        let body = self.body(notice);
        let mut delays = RETRY_DELAYS.iter();
        loop {
            if notice.expires <= unix_seconds() {
                return;
            }
            let failure = match self.send(&body).await {
                Ok(status) if status.is_success() => {
                    debug!(ticket = notice.id, "a notice was accepted");
                    return;
                }
                Ok(status) => {
                    let is_temporary = status.is_server_error()
                        || status == StatusCode::TOO_MANY_REQUESTS
                        || status == StatusCode::REQUEST_TIMEOUT;
                    let failure = format!("it answered {}", status.as_u16());
                    if !is_temporary {
                        return warn_undelivered(notice, &failure);
                    }
                    failure
                }
                // The address may be a secret.
                Err(error) => network_error::describe_request_error(error),
            };
            match delays.next() {
                Some(delay) => sleep(*delay).await,
                None => return warn_undelivered(notice, &failure),
            }
        }
    }

    async fn send(&self, body: &str) -> Result<StatusCode, reqwest::Error> {
        let time = unix_seconds();
        let signature = hmac::sign(&self.key, format!("{time}.{body}").as_bytes());
        let signature = format!("t={time},v1={}", hex::encode(signature));
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(SIGNATURE_HEADER, signature)
            .body(body.to_owned());
        Ok(request.send().await?.status())
    }

    /// Returns the notice as JSON. `text` is what Slack shows.
    fn body(&self, notice: &TicketNotice) -> String {
        let link = self
            .console
            .as_ref()
            .map(|console| format!("{console}/calls/{}", notice.id));
        let risks = notice.risks.join(", ");
        let mut text = format!(
            "{} on {} waits for approval ({risks})",
            escape_markup(&notice.tool),
            escape_markup(&notice.target)
        );
        if let Some(link) = &link {
            text.push_str(&format!(": {link}"));
        }
        json!({
            "text": text,
            "event": "approval_waiting",
            "ticket": notice.id,
            "tool": notice.tool,
            "target": notice.target,
            "risks": notice.risks,
            "link": link,
            "expires": notice.expires,
        })
        .to_string()
    }
}

fn warn_undelivered(notice: &TicketNotice, failure: &str) {
    warn!(
        ticket = notice.id,
        failure, "a notice of a waiting call was not accepted"
    );
}

/// Escapes what Slack reads as markup.
fn escape_markup(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
