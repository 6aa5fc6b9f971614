//! Options about the policy.

use std::path::PathBuf;

use clap::Args;

use crate::pipeline::Dispatcher;

#[derive(Args, Debug)]
#[command(next_help_heading = "Guard")]
pub(super) struct Policy {
    /// Policy file: which calls are hidden, denied, limited, to be approved or only shown; takes effect
    /// whenever it changes.
    #[arg(long, global = true, env = "PORTKEY_MCP_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Policy {
    pub(super) fn over(&self, dispatcher: Dispatcher) -> anyhow::Result<Dispatcher> {
        match &self.policy {
            Some(file) => Ok(dispatcher.under(portkey_policy::Policy::watched(file)?)),
            None => Ok(dispatcher),
        }
    }

    pub(super) fn load(&self) -> anyhow::Result<Option<portkey_policy::Policy>> {
        self.policy
            .as_deref()
            .map(portkey_policy::Policy::quiet)
            .transpose()
    }
}
