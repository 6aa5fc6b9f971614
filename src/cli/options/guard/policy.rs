//! Options about the policy.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
#[command(next_help_heading = "Guard")]
pub(super) struct PolicyOptions {
    /// Policy file: which calls are hidden, denied, limited, to be approved or only shown; takes effect
    /// whenever it changes.
    #[arg(long, global = true, env = "PORTKEY_MCP_POLICY", value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
}
