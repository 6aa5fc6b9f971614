//! Parses the command line, together with variables and the configuration file.

use std::{
    ffi::{OsStr, OsString},
    mem,
    path::PathBuf,
};

use clap::{
    ArgMatches, Args, Command, Subcommand,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Options, command,
    config::{CONFIG_ID, CONFIG_VARIABLE, ConfigFile, FileArguments, FileSources},
    effect, help,
};

/// A parsed command line.
#[derive(Debug)]
pub(super) struct ParsedLine {
    pub(super) matches: ArgMatches,
    /// Options whose values come from the file, although they look as if they were on the command line.
    pub(super) sources: FileSources,
    /// The configuration file, if there is one.
    pub(super) file: Option<ConfigFile>,
    /// What is said about options without effect.
    pub(super) unused: Vec<String>,
}

/// Parses arguments, of which the first is the program.
///
/// # Errors
/// Returns an error if the command line or the configuration file is invalid, if an option has no effect, or to print
/// help.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<ParsedLine, clap::Error> {
    let (definition, parsed) = try_parse(&arguments);
    let file = match &parsed {
        Err(error) if is_help(error) => return Err(help::rendered_help(&arguments)),
        Err(error) if !error.use_stderr() => None,
        _ => config_path(&arguments),
    };
    let file = file
        // Not the definition above, which lacks empty variables: their options can stand in the file.
        .map(|path| ConfigFile::read(&path, &command()))
        .transpose()
        .map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, format!("{error}\n")))?;
    let (matches, sources) = match &file {
        None => (parsed?, FileSources::default()),
        Some(file) => {
            // What is missing may stand in the file.
            let first = match parsed {
                Ok(matches) => matches,
                Err(_) => fresh_definition()
                    .ignore_errors(true)
                    .try_get_matches_from(&arguments)?,
            };
            let (path, innermost) = innermost(&first);
            let FileArguments {
                arguments: added,
                sources,
            } = file.arguments(&command(), &path, innermost);
            let all = insert(arguments, added);
            match try_parse(&all) {
                (_, Ok(matches)) => (matches, sources),
                (_, Err(error)) => return Err(name_the_file(error, &sources)),
            }
        }
    };
    let (path, options) = innermost(&matches);
    let unused = effect::find_unused(&definition, &path, options, &sources);
    effect::reject_unused(&path, &unused)?;
    Ok(ParsedLine {
        sources,
        file,
        unused: unused.into_iter().map(|option| option.message).collect(),
        matches,
    })
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp)
}

/// Parses arguments. Returns the definition that was used, too: it has the commands that the arguments name, or all if
/// there was an error.
fn try_parse(arguments: &[OsString]) -> (Command, Result<ArgMatches, clap::Error>) {
    let mut definition = ignore_empty_variables(definition_of_named(arguments));
    // Not a clone: definitions take hundreds of kilobytes.
    let mut parsed = definition.try_get_matches_from_mut(arguments);
    if parsed.is_err() {
        definition = fresh_definition();
        parsed = definition.try_get_matches_from_mut(arguments);
    }
    (definition, parsed)
}

/// Returns the definition of the command line, without empty variables.
fn fresh_definition() -> Command {
    ignore_empty_variables(command())
}

/// Returns the definition with those commands only that an argument may name. Its errors and its help are incomplete.
///
/// clap copies the options that all commands take into each command, which takes 2 MB for all of them.
fn definition_of_named(arguments: &[OsString]) -> Command {
    let definition = Options::augment_args(Command::new(env!("CARGO_PKG_NAME")));
    let mut definition = definition.disable_help_subcommand(true);
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let names: Vec<&str> = words
        .filter(|word| super::Command::has_subcommand(word))
        .collect();
    if !names.is_empty() {
        let mut all = super::Command::augment_subcommands(Command::default());
        for command in all.get_subcommands_mut() {
            if names.contains(&command.get_name()) {
                definition = definition.subcommand(mem::take(command));
            }
        }
    }
    definition
}

/// Returns the names of the command, and what was given to it.
pub(super) fn innermost(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let mut path = Vec::new();
    let mut innermost = matches;
    while let Some((name, below)) = innermost.subcommand() {
        path.push(name);
        innermost = below;
    }
    (path, innermost)
}

/// Returns the file that the command line or its variable names. Arguments are not parsed yet, because what they
/// lack may stand in the file.
fn config_path(arguments: &[OsString]) -> Option<PathBuf> {
    let option = format!("--{CONFIG_ID}");
    let mut options = arguments.iter().skip(1).take_while(|text| *text != "--");
    while let Some(text) = options.next() {
        if *text == *option {
            return options.next().map(PathBuf::from);
        }
        let assigned = text
            .to_str()
            .and_then(|text| text.strip_prefix(&option)?.strip_prefix('='));
        if let Some(path) = assigned {
            return Some(path.into());
        }
    }
    let variable = std::env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty());
    variable.map(PathBuf::from)
}

/// Adds options to the end of a command line, before arguments that follow `--`.
fn insert(mut arguments: Vec<OsString>, added: Vec<OsString>) -> Vec<OsString> {
    let end = arguments.iter().position(|text| text == "--");
    let rest = arguments.split_off(end.unwrap_or(arguments.len()));
    arguments.extend(added);
    arguments.extend(rest);
    arguments
}

/// Adds the line of the file to an error about a value that stands there.
pub(super) fn name_the_file(error: clap::Error, sources: &FileSources) -> clap::Error {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // Such as `--timeout <SECONDS>`.
    let name = usage.split([' ', '=']).next().unwrap_or_default();
    let Some(place) = name.strip_prefix("--").and_then(|name| sources.place(name)) else {
        return error;
    };
    let error = super::usage::sanitize(error);
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    clap::Error::raw(error.kind(), format!("{place}: {text}"))
}

/// Makes empty variables count as unset, because MCP clients pass unset variables as empty ones.
///
/// A command without such a variable is left unchanged: rebuilding the arguments of all commands takes 300 kB of
/// memory at each start.
pub(super) fn ignore_empty_variables(mut command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    if command
        .get_arguments()
        .any(|arg| arg.get_env().is_some_and(is_empty))
    {
        command = command.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
            true => arg.env(Resettable::Reset),
            false => arg,
        });
    }
    for subcommand in command.get_subcommands_mut() {
        *subcommand = ignore_empty_variables(mem::take(subcommand));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_has_the_commands_that_are_named() {
        for (line, expected) in [
            (vec!["portkey-mcp", "--log-level", "debug"], vec![]),
            (vec!["portkey-mcp", "http", "--sandbox"], vec!["http"]),
            (
                vec!["portkey-mcp", "--log-file", "call", "tools"],
                vec!["tools", "call"],
            ),
        ] {
            let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
            let definition = definition_of_named(&line);
            let names: Vec<_> = definition
                .get_subcommands()
                .map(Command::get_name)
                .collect();
            assert_eq!(names, expected, "{line:?}");
        }
    }
}
