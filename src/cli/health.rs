//! `portkey-mcp health`: a health check for images that have no shell and no curl.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;

use crate::portkey::http_client;

/// Longer than a server that is up ever takes.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn check(url: Url) -> anyhow::Result<()> {
    let client = http_client().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(url.clone()).send().await.with_context(|| format!("{url} is down"))?;
    if !answer.status().is_success() {
        bail!("{url} answered {}", answer.status());
    }
    Ok(())
}
