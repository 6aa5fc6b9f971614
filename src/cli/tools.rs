//! `portkey-mcp tools`: what there is to call, and what listing it costs a client.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use crate::{
    catalog::{Catalog, Entry},
    server,
};

#[derive(Args, Debug)]
pub(super) struct Tools {
    /// How to print them; `json` is the array of tools/list, byte for byte.
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

impl Tools {
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let catalog = Catalog::full();
        match self.format {
            Format::Json => {
                let tools: Vec<_> = catalog.iter().map(server::tool).collect();
                serde_json::to_writer(&mut *out, &tools)?;
                writeln!(out)
            }
            Format::Table => table(&catalog, out),
            Format::Markdown => markdown(&catalog, out),
        }
    }
}

fn table(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let widest = catalog.iter().map(|e| e.published.operation().name().len()).max().unwrap_or(0);
    let line = |out: &mut _, cells: [&str; 5]| row(out, widest, cells);
    line(out, ["TOOL", "DOMAIN", "EFFECT", "HINTS", "BYTES"])?;
    let mut total = 0;
    for entry in catalog.iter() {
        let bytes = bytes(entry)?;
        total += bytes;
        let operation = entry.published.operation();
        let (effect, hints, bytes) = (operation.effects().word(), hints(entry), bytes.to_string());
        line(out, [operation.name(), entry.domain.name, effect, &hints, &bytes])?;
    }
    line(out, [&format!("{} tools", catalog.iter().count()), "", "", "", &total.to_string()])
}

fn row(out: &mut impl Write, widest: usize, cells: [&str; 5]) -> io::Result<()> {
    let [tool, domain, effect, hints, bytes] = cells;
    writeln!(out, "{tool:widest$}  {domain:16}  {effect:6}  {hints:36}  {bytes:>6}")
}

fn markdown(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "| Tool | Domain | Request | Hints | Bytes |\n| --- | --- | --- | --- | ---: |")?;
    for entry in catalog.iter() {
        let operation = entry.published.operation();
        let (domain, hints, bytes) = (entry.domain.name, hints(entry), bytes(entry)?);
        let (name, method, path) = (operation.name(), operation.method(), operation.path());
        writeln!(out, "| `{name}` | {domain} | `{method} {path}` | {hints} | {bytes} |")?;
    }
    Ok(())
}

/// What the tool adds to the answer of `tools/list`.
fn bytes(entry: &Entry) -> serde_json::Result<usize> {
    serde_json::to_vec(&server::tool(entry)).map(|json| json.len())
}

/// The hints that hold.
fn hints(entry: &Entry) -> String {
    let hints = entry.published.operation().hints();
    let all = [
        (hints.read_only, "read-only"),
        (hints.destructive, "destructive"),
        (hints.idempotent, "idempotent"),
        (hints.open_world, "open-world"),
    ];
    all.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}
