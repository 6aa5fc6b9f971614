//! `portkey-mcp state-key`: keys for `http --state-key-file`.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::security::signed_state::Keyring;

#[derive(Debug, Subcommand)]
pub(super) enum StateKeyCommand {
    /// Make a key: a line for the file. The first line seals, all lines open; to change keys, add the new
    /// one last at every replica, then put it first at every replica, and take the old one away when what
    /// it has sealed is over.
    #[command(after_help = "\
Examples:
  portkey-mcp state-key new --id 2026-11 > state.keys
  portkey-mcp state-key new --id 2026-12 >> state.keys")]
    New(NewStateKeyArgs),
}

#[derive(Args, Debug)]
pub(super) struct NewStateKeyArgs {
    /// What the key is called in what it seals; each key of a file has its own.
    #[arg(long)]
    id: String,
}

impl StateKeyCommand {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let Self::New(NewStateKeyArgs { id }) = self;
        writeln!(out, "{}", Keyring::generate_line(&id)?)?;
        Ok(())
    }
}
