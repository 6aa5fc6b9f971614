//! `portkey-mcp changes`: the history of changes, and undo, on the same path as an agent's call.

use std::{io::Write, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand};
use portkey_operation::JsonMap;
use serde_json::Value;

use super::{call::request_approval, terminal};
use crate::{
    auth::principal::Principal,
    mcp::{reply, server::Server},
    pipeline::approval::ApprovalRequest,
    security::sanitize::escape_to_one_line,
};

/// Length of a whole id.
const ID_LENGTH: usize = 14;

/// Maximum number of pages in which an id is looked for.
const MAX_ID_PAGES: usize = 10;

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp changes list
  portkey-mcp changes list --tool update-config --since 7d
  portkey-mcp changes show c-4f1d9c2ab07e
  portkey-mcp changes undo c-4f1d9c2ab07e";

#[derive(Debug, Subcommand)]
pub(super) enum ChangesCommand {
    /// List changes, latest first.
    #[command(after_help = "\
Examples:
  portkey-mcp changes list
  portkey-mcp changes list --target pc-support-fallback --outcome done --limit 5
  portkey-mcp changes list --all --json")]
    List(ListArgs),
    /// Show one change, with its arguments and what it changed.
    #[command(after_help = "\
Example:
  portkey-mcp changes show c-4f1d9c2ab07e")]
    Show {
        /// Id of the change.
        id: String,
    },
    /// Undo one change.
    #[command(after_help = "\
Examples:
  portkey-mcp changes undo c-4f1d9c2ab07e
  portkey-mcp changes undo c-4f1d9c2ab07e --dry-run
  portkey-mcp changes undo c-4f1d9c2ab07e --force")]
    Undo {
        /// Id of the change.
        id: String,
        /// Restore the old values even if the resource has changed since.
        #[arg(long)]
        force: bool,
    },
}

// No rustdoc: clap would show it as the command's help.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// List only changes by this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// List only changes of the resource with this id or slug.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// List only changes from then on: RFC 3339, a date, or an age such as 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// List only changes until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// List only changes with this outcome: pending, done, rejected, in_doubt or failed.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// List the changes before this one.
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Maximum number of changes, up to 100.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// List also changes that were made with other Portkey keys, or at other addresses of Portkey.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    fn arguments(&self) -> JsonMap {
        let texts = [
            ("tool", &self.tool),
            ("target", &self.target),
            ("since", &self.since),
            ("until", &self.until),
            ("outcome", &self.outcome),
            ("before", &self.before),
        ];
        let given = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into())));
        given
            .chain([("limit".to_owned(), self.limit.into())])
            .collect()
    }
}

impl ChangesCommand {
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        if let Self::List(list) = self
            && let Some(tool) = &list.tool
            && let Err(error) = server.dispatcher().catalog().find(tool)
        {
            bail!("--tool: {error}");
        }
        let answer = match self {
            Self::List(list) if list.all => server.list_all_changes(list.arguments()).await,
            Self::List(list) => call(server, local, "list-changes", list.arguments()).await,
            Self::Show { id } => {
                let id = find_id(server, local, id).await?;
                let args = [("id".to_owned(), id.into())];
                call(server, local, "get-change", args.into_iter().collect()).await
            }
            Self::Undo { id, force } => {
                let id = find_id(server, local, id).await?;
                let args = [
                    ("id".to_owned(), id.into()),
                    ("force".to_owned(), (*force).into()),
                ];
                call(server, local, "undo-change", args.into_iter().collect()).await
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => bail!(reply::error_message(&error)),
        };
        match self {
            Self::List(list) if !list.json => {
                let is_other = !list.all && is_empty(&answer) && {
                    let one = JsonMap::from_iter([("limit".to_owned(), 1.into())]);
                    let others = server.list_all_changes(one).await;
                    let own = call(
                        server,
                        local,
                        "list-changes",
                        JsonMap::from_iter([("limit".to_owned(), 1.into())]),
                    );
                    own.await.is_ok_and(|own| is_empty(&own))
                        && others.is_ok_and(|others| !is_empty(&others))
                };
                match is_other {
                    true => writeln!(
                        out,
                        "no changes of this key at this address; --all shows those of all keys and addresses"
                    )?,
                    false => print_list(&answer, out)?,
                }
            }
            _ => {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn call(
    server: &Server,
    local: &Principal,
    tool: &str,
    args: JsonMap,
) -> Result<Value, crate::pipeline::CallError> {
    let ask = async |question: &ApprovalRequest| {
        request_approval(server.dispatcher(), local, question).await
    };
    server.call_from_shell(local, tool, args, ask).await
}

fn is_empty(answer: &Value) -> bool {
    let changes = answer.get("changes").and_then(Value::as_array);
    changes.is_none_or(Vec::is_empty)
}

/// Returns the id that begins with these digits. Only the latest changes are looked through.
async fn find_id(server: &Server, local: &Principal, id: &str) -> anyhow::Result<String> {
    if id.len() >= ID_LENGTH {
        return Ok(id.to_owned());
    }
    let mut found = Vec::new();
    let mut args = JsonMap::from_iter([("limit".to_owned(), 100.into())]);
    for _ in 0..MAX_ID_PAGES {
        let answer = match call(server, local, "list-changes", args.clone()).await {
            Ok(answer) => answer,
            Err(error) => bail!(reply::error_message(&error)),
        };
        let changes = answer.get("changes").and_then(Value::as_array);
        let ids = changes.into_iter().flatten();
        let ids = ids.filter_map(|change| change.get("id").and_then(Value::as_str));
        let matching = ids.filter(|one| one.starts_with(id) || one.starts_with(&format!("c-{id}")));
        found.extend(matching.map(str::to_owned));
        match answer.pointer("/next/before") {
            Some(before) => _ = args.insert("before".to_owned(), before.clone()),
            None => break,
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        // The tool says that there is no such change.
        [] => Ok(id.to_owned()),
        several => bail!(
            "`{}` is the beginning of {} ids; give more digits",
            escape_to_one_line(id),
            several.len()
        ),
    }
}

/// Prints a line for each change.
fn print_list(answer: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    let text = |change: &Value, name: &str| {
        let value = change.get(name).and_then(Value::as_str);
        escape_to_one_line(value.unwrap_or_default()).into_owned()
    };
    let changes = answer.get("changes").and_then(Value::as_array);
    let changes = changes.map(Vec::as_slice).unwrap_or_default();
    for change in changes {
        let targets = ["target", "created"].into_iter();
        let targets = targets.filter_map(|name| change.get(name).and_then(Value::as_object));
        let targets = targets.flatten();
        let targets: Vec<_> = targets
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        let note = ["undone_by", "undoes"].into_iter().find_map(|name| {
            let id = change.get(name).and_then(Value::as_str)?;
            Some(format!("  {} {id}", name.replace('_', " ")))
        });
        let place = change.get("upstream").and_then(Value::as_str);
        let place = place.map(|place| format!("  at {}", escape_to_one_line(place)));
        writeln!(
            out,
            "{}  {}  {:<9}  {}  {}{}{}",
            text(change, "time"),
            text(change, "id"),
            text(change, "outcome"),
            text(change, "tool"),
            escape_to_one_line(&targets.join(" ")),
            note.unwrap_or_default(),
            place.unwrap_or_default(),
        )?;
    }
    let next = answer.pointer("/next/before").and_then(Value::as_str);
    match next {
        // Not a change, for a program that reads the lines.
        Some(next) => writeln!(
            terminal::stderr(),
            "older ones follow: --before {}",
            escape_to_one_line(next)
        )?,
        None if changes.is_empty() => writeln!(out, "no changes")?,
        None => {}
    }
    Ok(())
}
