//! Options for the policy.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
#[command(next_help_heading = "Guard")]
pub(super) struct PolicyOptions {
    /// Policy file with rules that hide, deny or limit calls, or require an approval or a dry run. The server
    /// reloads it when it changes.
    #[arg(long, global = true, env = "PORTKEY_MCP_POLICY", value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
}
