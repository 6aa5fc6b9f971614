//! What is set about results: how much of one is shown at once, in which form, and how long the rest is
//! kept.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::parse_seconds;
use crate::mcp::results::{MIN_RESULT_BYTES, ResultContent, Results};

/// What an answer carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ResultContentMode {
    /// Structured content, and the same as text.
    #[default]
    Both,
    /// Text alone.
    Text,
    /// Structured content alone; clients that read text only show nothing.
    Structured,
}

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Results")]
pub(crate) struct ResultOptions {
    /// Size beyond which a result is shown in part, in bytes of JSON: at least 1024, or 0 for never.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_MAX_RESULT_BYTES",
        value_name = "BYTES",
        default_value = "24000",
        value_parser = parse_result_bytes
    )]
    max_result_bytes: usize,
    /// What a result carries.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_RESULTS",
        default_value = "both"
    )]
    results: ResultContentMode,
    /// How long a result that was shown in part is kept whole, in seconds.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_RESULT_TTL",
        value_name = "SECONDS",
        default_value = "900",
        value_parser = parse_seconds
    )]
    result_ttl: Duration,
}

impl ResultOptions {
    /// Shows results as it is set.
    pub(crate) fn build(&self) -> Results {
        let most = (self.max_result_bytes > 0).then_some(self.max_result_bytes);
        let content = match self.results {
            ResultContentMode::Both => ResultContent::Both,
            ResultContentMode::Text => ResultContent::Text,
            ResultContentMode::Structured => ResultContent::Structured,
        };
        Results::new(most, content, self.result_ttl)
    }
}

fn parse_result_bytes(text: &str) -> anyhow::Result<usize> {
    match text.parse()? {
        bytes if bytes == 0 || bytes >= MIN_RESULT_BYTES => Ok(bytes),
        _ => bail!("give 0, or {MIN_RESULT_BYTES} at least"),
    }
}
