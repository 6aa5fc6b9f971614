//! `portkey-mcp completions` and `portkey-mcp man`: the files that packages ship beside the binary.

use std::{io::Write, path::Path};

use anyhow::Context;
use clap_complete::Shell;
use portkey_bounded_file::display_path;

/// Writes the completions of all visible commands.
pub(super) fn print_completions(shell: Shell, out: &mut impl Write) -> anyhow::Result<()> {
    let mut command = super::described_command();
    let name = command.get_name().to_owned();
    // In memory first, because the generator panics if its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

/// Writes `portkey-mcp.1`, and a page for each visible command, such as `portkey-mcp-http.1`.
pub(super) fn write_man_pages(folder: &Path) -> anyhow::Result<()> {
    clap_mangen::generate_to(super::described_command(), folder)
        .with_context(|| format!("cannot write man pages to {}", display_path(folder)))
}
