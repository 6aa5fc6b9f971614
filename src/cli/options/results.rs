//! Options for results: maximum size, form, and the lifetime of stored results.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::parse_seconds;
use crate::mcp::results::{MIN_RESULT_BYTES, ResultContent, Results};

/// Content of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ResultContentMode {
    /// Structured content and a short text for clients known to give that to the model, both for others.
    #[default]
    Auto,
    /// Structured content and the same content as text.
    Both,
    /// Text only.
    Text,
    /// Structured content only; clients that read only text show nothing.
    Structured,
}

#[allow(missing_docs, reason = "clap would show it as the command's help")]
#[derive(Args, Debug)]
#[command(next_help_heading = "Results")]
pub(crate) struct ResultOptions {
    /// Maximum size of a result, in bytes of JSON: at least 1024, or 0 for no limit. Larger results are shown in
    /// part.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_MAX_RESULT_BYTES",
        value_name = "BYTES",
        default_value = "24000",
        value_parser = parse_result_bytes
    )]
    max_result_bytes: usize,
    /// Content of a result.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_RESULTS",
        default_value = "auto"
    )]
    results: ResultContentMode,
    /// Time that the whole of a partly shown result is stored, in seconds.
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
    /// Builds the result settings.
    pub(crate) fn build(&self) -> Results {
        let max_bytes = (self.max_result_bytes > 0).then_some(self.max_result_bytes);
        let content = match self.results {
            ResultContentMode::Auto | ResultContentMode::Both => ResultContent::Both,
            ResultContentMode::Text => ResultContent::Text,
            ResultContentMode::Structured => ResultContent::Structured,
        };
        let results = Results::new(max_bytes, content, self.result_ttl);
        match self.results {
            ResultContentMode::Auto => results.with_brief_for_readers(),
            _ => results,
        }
    }
}

fn parse_result_bytes(text: &str) -> anyhow::Result<usize> {
    match text.parse()? {
        bytes if bytes == 0 || bytes >= MIN_RESULT_BYTES => Ok(bytes),
        _ => bail!("give 0, or at least {MIN_RESULT_BYTES}"),
    }
}
