//! `portkey-mcp health`: a health check for images that have no shell and no curl.

use std::time::Duration;

use anyhow::{anyhow, bail};
use reqwest::{ClientBuilder, Url};

use crate::http_client::{build_client, network_error};

/// Timeout of the request, longer than a running server ever takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks that the address answers with success. `builder` has the trusted authorities.
pub(super) async fn check(
    url: Url,
    builder: impl Fn() -> anyhow::Result<ClientBuilder>,
) -> anyhow::Result<()> {
    let client =
        build_client(|| Ok::<_, anyhow::Error>(builder()?.no_proxy().timeout(REQUEST_TIMEOUT)))?;
    let answer = client.get(url.clone()).send().await;
    let url = redact_credentials(url);
    let mut answer = answer
        .map_err(|error| anyhow!("{url} is down: {}", network_error::describe_cause(&error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    // The beginning of the answer tells a port that speaks TLS.
    let start = answer.chunk().await.ok().flatten().unwrap_or_default();
    match network_error::is_plain_http_answer(status, &start) {
        true => bail!(
            "{url} answered {status}: {}",
            network_error::PLAIN_HTTP_ON_TLS_PORT
        ),
        false => bail!("{url} answered {status}"),
    }
}

/// Removes user, password and query from an address that is printed.
fn redact_credentials(mut url: Url) -> Url {
    // Both fail for an address without a host, which has no credentials.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_query(None);
    url
}
