//! `portkey-mcp health`: a health check for images that have no shell and no curl.

use std::time::Duration;

use anyhow::{anyhow, bail};
use reqwest::{ClientBuilder, Url};

use crate::http_client::network_error;

/// Longer than a server that is up ever takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// `client` has the authorities to trust.
pub(super) async fn check(url: Url, client: ClientBuilder) -> anyhow::Result<()> {
    let client = client.no_proxy().timeout(REQUEST_TIMEOUT).build()?;
    let answer = client.get(url.clone()).send().await;
    let url = redact_credentials(url);
    let answer = answer
        .map_err(|error| anyhow!("{url} is down: {}", network_error::describe_cause(&error)))?;
    if !answer.status().is_success() {
        bail!("{url} answered {}", answer.status());
    }
    Ok(())
}

/// The address as it may be repeated: what authenticates in it is a secret.
fn redact_credentials(mut url: Url) -> Url {
    // Neither is possible in an address without a host, which has none of it.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_query(None);
    url
}
