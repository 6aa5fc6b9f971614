//! Options for approvals and dry runs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use super::super::parse_seconds;
use crate::pipeline::approval::ApprovalDefaults;

#[derive(Args, Debug)]
#[command(next_help_heading = "Approval")]
pub(super) struct ApprovalOptions {
    /// Send no writes: return the request that would be sent, and the changes that it would make.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_DRY_RUN",
        value_parser = BoolishValueParser::new()
    )]
    pub(super) dry_run: bool,
    /// Require human approval for every call that changes something.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_WRITES",
        value_parser = BoolishValueParser::new()
    )]
    approve_writes: bool,
    /// Require human approval for calls that delete something or may overwrite it permanently.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_DELETES",
        value_parser = BoolishValueParser::new()
    )]
    approve_deletes: bool,
    /// Require human approval for calls that delete, change privileges, create or reveal keys, raise limits, or
    /// change what production requests get.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_SENSITIVE",
        value_parser = BoolishValueParser::new()
    )]
    approve_sensitive: bool,
    /// Require the approver of a deletion or permanent overwrite to type the name of the resource.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVE_BY_NAME",
        value_parser = BoolishValueParser::new()
    )]
    approve_by_name: bool,
    /// Maximum time that a call waits for approval, in seconds.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_APPROVAL_TIMEOUT",
        value_name = "SECONDS",
        default_value = "600",
        value_parser = parse_seconds
    )]
    approval_timeout: Duration,
    /// Address of the approval server, for its web console and `portkey-mcp approvals`; port 0 selects a free port.
    /// Beyond loopback, it needs --admin-auth oauth.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_ADMIN_LISTEN",
        value_name = "ADDRESS"
    )]
    admin_listen: Option<SocketAddr>,
    /// File for the address and token of the approval server, written by the server and read by
    /// `portkey-mcp approvals`.
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
            sensitive: self.approve_sensitive,
            confirm: self.approve_by_name,
        }
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.approval_timeout
    }

    pub(super) const fn listen(&self) -> Option<SocketAddr> {
        self.admin_listen
    }
}
