//! Options about what stands between a caller and the upstreams.

use std::path::PathBuf;

use clap::Args;

use crate::{dispatch::Dispatcher, policy::Policy};

/// What guards calls, on every transport.
#[derive(Args, Debug)]
#[command(next_help_heading = "Guard")]
pub(crate) struct Guard {
    /// Policy file: which calls are hidden, denied, limited, to be approved or only shown; takes effect
    /// whenever it changes.
    #[arg(long, global = true, env = "PORTKEY_MCP_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Guard {
    /// The dispatcher, guarded.
    ///
    /// # Errors
    /// A file cannot be read or does not hold.
    pub(crate) fn over(&self, dispatcher: Dispatcher) -> anyhow::Result<Dispatcher> {
        match &self.policy {
            Some(file) => Ok(dispatcher.under(Policy::watched(file)?)),
            None => Ok(dispatcher),
        }
    }
}
