//! `--config`: a file of options, under the names that they have on the command line.
//!
//! Which options there are, and what they take, is read from the definition of the command line. A value of the file
//! is given to clap as if it were on the command line, so that it is checked in the same way.

mod error;
mod example;
mod read;
mod show;

use std::{
    any::TypeId,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use portkey_bounded_file::{MAX_CONFIG_BYTES, decode_utf8, open, read_open_file};

pub(super) use self::show::{ConfigCommand, EXAMPLES};
use self::{
    error::{ConfigError, Place},
    read::SettingReader,
};
use super::effect;
use crate::security::secrets::{FileProtection, check_permissions};

/// Id of the option that names the file. The file itself cannot have it.
pub(super) const CONFIG_ID: &str = "config";

/// Variable of this option.
pub(super) const CONFIG_VARIABLE: &str = "PORTKEY_MCP_CONFIG";

/// Table whose tables hold settings for one command each.
const COMMANDS_TABLE: &str = "commands";

/// Command whose options stand in the file beside those that every command takes.
const SERVER_COMMAND: &str = "http";

/// Command that runs without a name on the command line.
const DEFAULT_COMMAND: &str = "stdio";

/// Commands that show their options, or pass them on to another process that reads the file itself.
const COMMANDS_WITHOUT_FILE: &[&str] = &["config", "setup"];

/// Options of which only one can be used. One that is given with precedence replaces the others.
const ALTERNATIVES: &[&[&str]] = &[&["journal", "journal-url", "journal-url-file", "no-journal"]];

/// Suffix of the option for a file with the value of another option.
const FILE_SUFFIX: &str = "-file";

/// What a file says about an option.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SettingValue {
    /// An option without a value is set, or not.
    Flag(bool),
    /// Values of an option; several for a list.
    Values(Vec<String>),
}

/// A line of the file.
#[derive(Debug)]
struct Setting {
    /// Long name of the option.
    option: String,
    /// The command that it is for, or `None` for every command that has the option.
    command: Option<String>,
    line: usize,
    value: SettingValue,
}

/// A configuration file, with options that exist and values of the right type.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// Options whose values come from a file.
#[derive(Debug, Default)]
pub(super) struct FileSources {
    file: Option<PathBuf>,
    /// Long name of the option, and its line.
    lines: Vec<(String, usize)>,
}

impl FileSources {
    /// Returns the line of the file that sets an option, if one does.
    pub(super) fn place(&self, option: &str) -> Option<Place> {
        let (_, line) = self.lines.iter().find(|(name, _)| name == option)?;
        Some(Place {
            file: self.file.clone()?,
            line: *line,
        })
    }
}

/// Arguments for the command line, and where they come from.
#[derive(Debug, Default)]
pub(super) struct FileArguments {
    pub(super) arguments: Vec<OsString>,
    pub(super) sources: FileSources,
}

/// Returns true if the file may hold this option. Options without a variable belong to one run of a command.
pub(super) fn is_configurable(argument: &Arg) -> bool {
    argument.get_long().is_some() && argument.get_env().is_some() && argument.get_id() != CONFIG_ID
}

/// Returns true if the value is a secret.
pub(super) fn is_secret(argument: &Arg) -> bool {
    argument.is_hide_env_values_set()
}

/// Returns true if the option takes several values.
fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Returns true if the option takes no value.
fn is_flag(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::SetTrue)
}

/// Returns true if the value names a file or a folder.
fn is_path(argument: &Arg) -> bool {
    argument.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

/// Returns the options that a command takes and the file may hold: those of every command, and its own.
pub(super) fn configurable_options<'a>(
    definition: &'a Command,
    command: Option<&str>,
) -> impl Iterator<Item = &'a Arg> {
    let own = command.and_then(|name| definition.find_subcommand(name));
    let own = own.into_iter().flat_map(Command::get_arguments);
    // A definition that was used has handed them down.
    let own = own.filter(|argument| !argument.is_global_set());
    let all = definition.get_arguments().chain(own);
    all.filter(|argument| is_configurable(argument))
}

impl ConfigFile {
    /// Reads a file, and checks names and types by the definition of the command line.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or has an unknown option or a value of the wrong type.
    pub(super) fn read(path: &Path, definition: &Command) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let handle = open(path).map_err(unreadable)?;
        // The file decides what callers may do.
        check_permissions(path, FileProtection::Trusted).map_err(unreadable)?;
        let bytes = read_open_file(&handle, MAX_CONFIG_BYTES).map_err(unreadable)?;
        let text = decode_utf8(bytes).map_err(unreadable)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let reader = SettingReader::new(path, text, definition);
        Ok(Self {
            path: path.to_owned(),
            settings: reader.read()?,
        })
    }

    /// Returns the setting of an option for a command.
    fn setting(&self, command: Option<&str>, option: &Arg) -> Option<&Setting> {
        let name = option.get_long()?;
        // The options of other commands may have the same name, as `--listen` of `sandbox`.
        let is_shared = option.is_global_set() || command == Some(SERVER_COMMAND);
        // Without a command, the server on standard input and output is started.
        let command = command.unwrap_or(DEFAULT_COMMAND);
        let settings = || {
            self.settings
                .iter()
                .filter(|setting| setting.option == name)
        };
        settings()
            .find(|setting| setting.command.as_deref() == Some(command))
            .or_else(|| settings().find(|setting| setting.command.is_none() && is_shared))
    }

    /// Returns the options that the file sets for a command, unless the command line or a variable sets them, or the
    /// command does not use them. `matches` are those of the innermost command.
    pub(super) fn arguments(
        &self,
        definition: &Command,
        path: &[&str],
        matches: &ArgMatches,
    ) -> FileArguments {
        let mut found = FileArguments::default();
        let command = path.first().copied();
        if command.is_some_and(|name| COMMANDS_WITHOUT_FILE.contains(&name)) {
            return found;
        }
        let options: Vec<_> = configurable_options(definition, command).collect();
        let given: Vec<&str> = options
            .iter()
            .filter(|option| is_given(option, matches))
            .filter_map(|option| option.get_long())
            .collect();
        for option in &options {
            let Some(name) = option.get_long() else {
                continue;
            };
            if !effect::is_used(path, option) {
                continue;
            }
            if given
                .iter()
                .any(|other| *other == name || are_alternatives(&options, name, other))
                || self.is_left_without_use(command, &options, matches, name)
            {
                continue;
            }
            let Some(setting) = self.setting(command, option) else {
                continue;
            };
            found.sources.lines.push((name.to_owned(), setting.line));
            match &setting.value {
                SettingValue::Flag(false) => {}
                SettingValue::Flag(true) => found.arguments.push(format!("--{name}").into()),
                SettingValue::Values(values) => {
                    let folder = self.path.parent().unwrap_or(Path::new(""));
                    for value in values {
                        let mut argument = OsString::from(format!("--{name}="));
                        argument.push(resolve(folder, option, value));
                        found.arguments.push(argument);
                    }
                }
            }
        }
        found.sources.file = Some(self.path.clone());
        found
    }

    /// Returns true if an option that is given with precedence rules out one of the file: `--auth none` a file of
    /// callers, and `--no-journal` an age of the history.
    fn is_left_without_use(
        &self,
        command: Option<&str>,
        options: &[&Arg],
        matches: &ArgMatches,
        name: &str,
    ) -> bool {
        let decisive = match name {
            "auth-file" | "allow-unauthenticated" => "auth",
            "journal-max-age" | "journal-max-bytes" => "no-journal",
            _ => return false,
        };
        let mut options = options.iter().copied();
        let Some(option) = options.find(|option| option.get_long() == Some(decisive)) else {
            return false;
        };
        let Some(given) = given_value(option, matches) else {
            return false;
        };
        let given = given.to_string_lossy().to_ascii_lowercase();
        match name {
            "auth-file" => {
                // A file of tokens is no file of authorization servers.
                let is_for_another = self.setting(command, option).is_some_and(|setting| {
                    matches!(&setting.value, SettingValue::Values(values) if !values.contains(&given))
                });
                is_for_another || !matches!(given.as_str(), "token" | "oauth")
            }
            "allow-unauthenticated" => given != "none",
            _ => !matches!(given.as_str(), "n" | "no" | "f" | "false" | "off" | "0"),
        }
    }
}

/// Returns a value as the command line takes it. A relative path begins at the folder of the file.
fn resolve(folder: &Path, option: &Arg, value: &str) -> OsString {
    // `-` stands for standard error.
    match is_path(option) && value != "-" {
        true => folder.join(value).into(),
        false => value.into(),
    }
}

/// Returns true if the command line or a variable sets an option.
fn is_given(option: &Arg, matches: &ArgMatches) -> bool {
    let id = option.get_id().as_str();
    let is_known = matches!(matches.try_contains_id(id), Ok(true));
    is_known && matches.value_source(id) == Some(ValueSource::CommandLine)
        || variable_of(option).is_some()
}

/// Returns the first value that the command line or a variable gives an option.
fn given_value(option: &Arg, matches: &ArgMatches) -> Option<OsString> {
    let id = option.get_id().as_str();
    let is_known = matches!(matches.try_contains_id(id), Ok(true));
    if is_known && matches.value_source(id) == Some(ValueSource::CommandLine) {
        return matches.get_raw(id)?.next().map(OsStr::to_owned);
    }
    variable_of(option).map(|(_, value)| value)
}

/// Returns the variable that sets an option, and its value. An empty one counts as unset.
fn variable_of(option: &Arg) -> Option<(&OsStr, OsString)> {
    let name = option.get_env()?;
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some((name, value))
}

/// Returns true if only one of two options can be used, such as a secret and the file that holds it.
fn are_alternatives(options: &[&Arg], one: &str, other: &str) -> bool {
    let is_file_of = |file: &str, secret: &str| {
        file.strip_suffix(FILE_SUFFIX) == Some(secret)
            && options
                .iter()
                .any(|option| option.get_long() == Some(secret) && is_secret(option))
    };
    is_file_of(one, other)
        || is_file_of(other, one)
        || ALTERNATIVES
            .iter()
            .any(|group| group.contains(&one) && group.contains(&other))
}
