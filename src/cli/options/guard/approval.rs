//! Options about approval and dry runs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use super::super::parse_seconds;
use crate::{app::ApprovalSettings, pipeline::approval::ApprovalDefaults};

#[derive(Args, Debug)]
#[command(next_help_heading = "Approval")]
pub(super) struct ApprovalOptions {
    /// Send no write: answer with the request it would be, and what it would change.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_DRY_RUN",
        value_parser = BoolishValueParser::new()
    )]
    pub(super) dry_run: bool,
    /// Carry out nothing that changes something before a human has approved it.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_WRITES",
        value_parser = BoolishValueParser::new()
    )]
    approve_writes: bool,
    /// The same for what removes something, or may overwrite it for good.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_DELETES",
        value_parser = BoolishValueParser::new()
    )]
    approve_deletes: bool,
    /// Have whoever approves such a call type the name of what it is about.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_BY_NAME",
        value_parser = BoolishValueParser::new()
    )]
    approve_by_name: bool,
    /// How long a call waits for approval, in seconds.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVAL_TIMEOUT",
        value_name = "SECONDS",
        default_value = "600",
        value_parser = parse_seconds
    )]
    approval_timeout: Duration,
    /// Loopback address where a human decides about calls that wait, by page or by
    /// `portkey-mcp approvals`; port 0 takes a free one.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_LISTEN",
        value_name = "ADDRESS"
    )]
    admin_listen: Option<SocketAddr>,
    /// File that the server writes that address and a token to, and `portkey-mcp approvals` reads.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_FILE",
        value_name = "FILE"
    )]
    pub(super) admin_file: Option<PathBuf>,
}

impl ApprovalOptions {
    pub(super) const fn defaults(&self) -> ApprovalDefaults {
        ApprovalDefaults {
            writes: self.approve_writes,
            deletes: self.approve_deletes,
            confirm: self.approve_by_name,
        }
    }

    pub(super) fn settings(&self) -> ApprovalSettings {
        ApprovalSettings {
            timeout: self.approval_timeout,
            listen: self.admin_listen,
            file: self.admin_file.clone(),
        }
    }
}
