//! Shows entries and changes, and asks about them.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
};

use anyhow::bail;
use portkey_bounded_file::display_path;
use portkey_merge_patch::unified_diff;
use serde_json::{Map, Value};

use super::{edit::Change, entry::Entry};
use crate::cli::clients::{Client, Syntax};

/// Maximum size of an answer on the terminal.
const MAX_ANSWER_BYTES: u64 = 64;

/// Prints the entry within what holds it in the file.
pub(super) fn print(
    client: &Client,
    name: &str,
    entry: &Entry,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match client.syntax {
        Syntax::Json => {
            let server = Map::from_iter([(name.to_owned(), Value::Object(entry.fields.clone()))]);
            let mut file = Map::new();
            if !entry.inputs.is_empty() {
                file.insert("inputs".to_owned(), entry.inputs.clone().into());
            }
            file.insert(client.servers.to_owned(), server.into());
            writeln!(out, "{}", serde_json::to_string_pretty(&file)?)?;
        }
        Syntax::Toml => {
            let change = Change {
                client,
                name,
                entry,
            };
            write!(out, "{}", change.apply("")?)?;
        }
    }
    Ok(())
}

/// Shows the change, without values that may be secret.
pub(super) fn show(
    change: &Change<'_>,
    file: &Path,
    old: &str,
    new: &str,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    // A terminal shows the other line breaks as escapes.
    let shown = |text| Ok::<_, anyhow::Error>(change.hide_values(text)?.replace("\r\n", "\n"));
    let old = shown(old)?;
    let new = shown(new)?;
    let name = display_path(file).to_string();
    if old == new {
        writeln!(out, "{name}: a value that is not shown changes")?;
        return Ok(());
    }
    let diff = unified_diff(&old, &new);
    write!(out, "--- {name}\n+++ {name}\n{diff}")?;
    Ok(())
}

/// Asks on the terminal whether to write.
pub(super) fn ask(file: &Path, err: &mut impl Write) -> anyhow::Result<bool> {
    let input = io::stdin();
    if !input.is_terminal() {
        bail!(
            "nothing was written to {}, because there is no terminal to ask on. Add --yes to write without a question",
            display_path(file)
        );
    }
    write!(err, "write this to {}? [y/N] ", display_path(file))?;
    err.flush()?;
    let mut answer = String::new();
    input.lock().take(MAX_ANSWER_BYTES).read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}
