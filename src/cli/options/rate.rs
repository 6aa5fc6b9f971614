//! Rate limits on the command line.

use std::{str::FromStr, time::Duration};

use anyhow::anyhow;
use portkey_store::TokenBucket;

/// A rate limit, or `none`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit(pub(super) Option<TokenBucket>);

impl FromStr for RateLimit {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let invalid_rate = || anyhow!("give a rate such as 20/s, 1200/m or 5000/h, or none");
        if text == "none" {
            return Ok(Self(None));
        }
        let (count, unit) = text.split_once('/').ok_or_else(invalid_rate)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(invalid_rate()),
        };
        let burst = count.parse().map_err(|_| invalid_rate())?;
        Ok(Self(Some(TokenBucket {
            burst,
            period: Duration::from_secs(seconds),
        })))
    }
}
