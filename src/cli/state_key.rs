//! `portkey-mcp state-key`: keys for `http --state-key-file`.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::security::signed_state::Keyring;

#[derive(Debug, Subcommand)]
pub(super) enum StateKeyCommand {
    /// Create a key, as a line for the file. The first key signs and encrypts; all keys verify and decrypt. To
    /// rotate keys, add the new one as the last line at every replica. Then move it to the first line at every
    /// replica. Remove the old key when all values signed or encrypted with it have expired.
    #[command(after_help = "\
Examples:
  portkey-mcp state-key new --id 2026-11 > state.keys
  portkey-mcp state-key new --id 2026-12 >> state.keys")]
    New(NewStateKeyArgs),
}

#[derive(Args, Debug)]
pub(super) struct NewStateKeyArgs {
    /// Id of the key, unique within the file; it is part of all values that the key signs or encrypts.
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
