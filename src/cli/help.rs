//! The help: a dozen options with `-h`, all options of a command with `--help`, and groups of options.

use std::{ffi::OsString, io::Write, mem};

use anyhow::bail;
use clap::{Arg, Args, Command};
use portkey_operation::did_you_mean;

use super::{command, effect, parse::ignore_empty_variables};
use crate::security::sanitize::escape_to_one_line;

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp help http
  portkey-mcp help options
  portkey-mcp help options approval";

/// First word of `help options`.
const OPTIONS_TOPIC: &str = "options";

/// Name of the group of options without a heading.
const DEFAULT_GROUP: &str = "Server";

/// Options that `-h` shows of those that every command takes.
const DAILY: &[&str] = &[
    "config",
    "api_key_file",
    "base_url",
    "sandbox",
    "policy",
    "dry_run",
    "approve_sensitive",
    "surface",
    "read_only",
    "toolsets",
    "journal",
    "log_level",
];

/// The same for `http`, which has some of its own.
const DAILY_OF_HTTP: &[&str] = &[
    "config",
    "api_key_file",
    "sandbox",
    "policy",
    "read_only",
    "toolsets",
    "listen",
    "auth",
    "auth_file",
    "tls_cert",
    "tls_key",
    "allowed_host",
];

/// The same for commands that do one thing.
const DAILY_OF_OTHERS: &[&str] = &[
    "config",
    "api_key_file",
    "base_url",
    "sandbox",
    "policy",
    "dry_run",
];

/// Maximum number of options of which `-h` shows all.
const MAX_FEW: usize = 6;

#[derive(Args, Debug)]
pub(super) struct HelpCommand {
    /// Command, such as `policy check`, or `options` and the name of a group.
    #[arg(value_name = "COMMAND")]
    topic: Vec<String>,
}

impl HelpCommand {
    /// Prints the help of a command, the groups of options, or one group.
    ///
    /// # Errors
    /// Returns an error if there is no such command or group, or the output is closed.
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let topic: Vec<_> = self.topic.iter().map(String::as_str).collect();
        match topic.as_slice() {
            [OPTIONS_TOPIC] => list_groups(out),
            [OPTIONS_TOPIC, group @ ..] => print_group(&group.join("-"), out),
            path => print_command(path, out),
        }
    }
}

/// Returns the definition of the command line for readers: each command with the options that it uses.
pub(super) fn described_command() -> Command {
    let mut command = ignore_empty_variables(command());
    // Hands the options that every command takes down to each of them.
    command.build();
    describe(command, &[])
}

fn describe(command: Command, path: &[&str]) -> Command {
    let daily = match path {
        [] | ["stdio" | "doctor"] => DAILY,
        ["http"] => DAILY_OF_HTTP,
        _ => DAILY_OF_OTHERS,
    };
    let is_http = path == ["http"];
    let shared = command
        .get_arguments()
        .filter(|option| option.is_global_set());
    let has_few = shared
        .filter(|option| effect::is_used(path, option))
        .count()
        <= MAX_FEW;
    let mut command = command.mut_args(|option| {
        let is_shared = option.is_global_set();
        let is_daily = daily.contains(&option.get_id().as_str())
            || has_few
            || !is_shared && !is_http
            || matches!(option.get_id().as_str(), "help" | "version");
        if is_shared && !effect::is_used(path, &option) {
            option.hide(true)
        } else {
            option.hide_short_help(!is_daily)
        }
    });
    for below in command.get_subcommands_mut() {
        let name = below.get_name().to_owned();
        let path = [path, &[name.as_str()]].concat();
        *below = describe(mem::take(below), &path);
    }
    command
}

/// Returns the help that a command line asks for, as the error that prints it.
pub(super) fn rendered_help(arguments: &[OsString]) -> clap::Error {
    match described_command().try_get_matches_from(arguments) {
        Err(error) => error,
        // The same arguments asked for help before.
        Ok(_) => command().error(clap::error::ErrorKind::DisplayHelp, ""),
    }
}

fn print_command(path: &[&str], out: &mut impl Write) -> anyhow::Result<()> {
    let mut command = described_command();
    for name in path {
        let known: Vec<_> = visible_names(&command);
        if !known.iter().any(|known| known == name) {
            let near = did_you_mean(name, known.iter().map(String::as_str));
            bail!(
                "there is no command `{}`{near} `portkey-mcp help` lists the commands, and \
                 `portkey-mcp help options` the groups of options",
                escape_to_one_line(&path.join(" ")),
                near = if near.is_empty() { ";" } else { near.as_str() },
            );
        }
        if let Some(below) = command.find_subcommand_mut(name) {
            command = mem::take(below);
        }
    }
    write!(out, "{}", command.render_long_help())?;
    Ok(())
}

fn visible_names(command: &Command) -> Vec<String> {
    let visible = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    visible.map(|below| below.get_name().to_owned()).collect()
}

/// A group of options, by the heading that they have in the help.
struct Group {
    name: String,
    options: Vec<Arg>,
}

/// Returns the groups of the options that every command takes, and of those of `http`.
fn groups() -> Vec<Group> {
    let definition = ignore_empty_variables(command());
    let mut groups: Vec<Group> = Vec::new();
    let http = definition.find_subcommand("http");
    let http = http.into_iter().flat_map(Command::get_arguments);
    for option in definition.get_arguments().chain(http) {
        let heading = option.get_help_heading().unwrap_or(DEFAULT_GROUP);
        let name = heading.to_lowercase().replace(' ', "-");
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.options.push(option.clone()),
            None => groups.push(Group {
                name,
                options: vec![option.clone()],
            }),
        }
    }
    groups
}

fn list_groups(out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "Groups of options; `portkey-mcp help options GROUP` describes one:\n"
    )?;
    for Group { name, options } in groups() {
        let names: Vec<_> = options
            .iter()
            .filter_map(Arg::get_long)
            .map(|name| format!("--{name}"))
            .collect();
        writeln!(out, "  {name:<15} {}", names.join(" "))?;
    }
    Ok(())
}

fn print_group(name: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let name = name.to_lowercase();
    let groups = groups();
    let known: Vec<_> = groups.iter().map(|group| group.name.clone()).collect();
    let Some(group) = groups.into_iter().find(|group| group.name == name) else {
        let near = did_you_mean(&name, known.iter().map(String::as_str));
        bail!(
            "there is no group `{}` of options{near} There are {}",
            escape_to_one_line(&name),
            known.join(", "),
            near = if near.is_empty() { "." } else { near.as_str() },
        );
    };
    let mut command = Command::new("portkey-mcp")
        .args(group.options)
        .disable_help_flag(true)
        .max_term_width(super::MAX_TERM_WIDTH)
        .help_template("{all-args}\n");
    write!(out, "{}", command.render_long_help())?;
    Ok(())
}
