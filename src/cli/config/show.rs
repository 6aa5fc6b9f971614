//! `portkey-mcp config`: the options in effect with their sources, and an example of a file.

use std::{io::Write, path::Path};

use anyhow::bail;
use clap::{Arg, ArgMatches, Args, Command, Subcommand, parser::ValueSource};
use portkey_operation::did_you_mean;
use serde::Serialize;

use super::{ConfigFile, configurable_options, error::Place, example, is_flag, is_list, is_secret};
use crate::{
    cli::{
        doctor::without_credentials,
        effect,
        parse::{ignore_empty_variables, name_the_file},
    },
    security::sanitize::escape_to_one_line,
};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  portkey-mcp config example > portkey-mcp.toml
  portkey-mcp config show --config portkey-mcp.toml
  portkey-mcp config show http --config portkey-mcp.toml --json";

/// What stands in the place of a secret.
const MASK: &str = "***";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Print the options in effect, and where each value comes from. Secrets are masked.
    #[command(after_help = "\
Examples:
  portkey-mcp config show --config portkey-mcp.toml
  portkey-mcp config show http --config portkey-mcp.toml --json")]
    Show(ShowArgs),
    /// Print a configuration file with every option, its default and its meaning.
    #[command(after_help = "\
Example:
  portkey-mcp config example > portkey-mcp.toml")]
    Example,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ShowArgs {
    /// Command whose options are printed.
    #[arg(value_name = "COMMAND", default_value = super::DEFAULT_COMMAND)]
    command: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The options in effect.
    #[arg(skip)]
    options: Vec<EffectiveOption>,
}

/// Origin of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Origin {
    CommandLine,
    Variable { name: String },
    File { file: String, line: usize },
    Default,
}

impl Origin {
    fn describe(&self) -> String {
        match self {
            Self::CommandLine => "command line".to_owned(),
            Self::Variable { name } => name.clone(),
            Self::File { file, line } => format!("{file}:{line}"),
            Self::Default => "default".to_owned(),
        }
    }
}

impl From<Place> for Origin {
    fn from(place: Place) -> Self {
        Self::File {
            file: portkey_bounded_file::display_path(&place.file).to_string(),
            line: place.line,
        }
    }
}

/// An option with a value.
#[derive(Clone, Debug, Serialize)]
struct EffectiveOption {
    option: String,
    /// Values as they were given; masked for secrets.
    values: Vec<String>,
    is_secret: bool,
    source: Origin,
}

impl ConfigCommand {
    /// Finds the options in effect for the command in question. `matches` are those of this command.
    ///
    /// # Errors
    /// Returns an error if there is no such command.
    pub(in crate::cli) fn find_options(
        &mut self,
        definition: &Command,
        matches: &ArgMatches,
        file: Option<&ConfigFile>,
    ) -> Result<(), clap::Error> {
        let Self::Show(show) = self else {
            return Ok(());
        };
        let name = show.command.as_str();
        if definition.find_subcommand(name).is_none() {
            let known = definition
                .get_subcommands()
                .filter(|command| !command.is_hide_set());
            let near = did_you_mean(name, known.map(Command::get_name));
            let message = format!("there is no command `{}`{near}", escape_to_one_line(name));
            let message = format!("{message}\n");
            return Err(clap::Error::raw(
                clap::error::ErrorKind::InvalidValue,
                message,
            ));
        }
        let in_file = file.map(|file| file.arguments(definition, &[name], matches));
        let in_file = in_file.unwrap_or_default();
        // The values of the file are checked as they are at the start of the command.
        let given = ["portkey-mcp", name]
            .map(Into::into)
            .into_iter()
            .chain(in_file.arguments);
        let checked = ignore_empty_variables(definition.clone()).try_get_matches_from(given);
        if let Err(error) = checked
            && matches!(
                error.kind(),
                clap::error::ErrorKind::InvalidValue | clap::error::ErrorKind::ValueValidation
            )
        {
            return Err(name_the_file(error, &in_file.sources));
        }
        let options = configurable_options(definition, Some(name));
        show.options = options
            .filter(|option| effect::is_used(&[name], option))
            .filter_map(|option| {
                let place = in_file.sources.place(option.get_long()?);
                let setting = file.and_then(|file| Some((file.values(name, option)?, place?)));
                effective_option(option, matches, setting)
            })
            .collect();
        Ok(())
    }

    pub(in crate::cli) fn run(
        self,
        definition: &Command,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        match self {
            Self::Show(show) => show.print(out),
            Self::Example => {
                write!(out, "{}", example::example_file(definition))?;
                Ok(())
            }
        }
    }
}

impl ShowArgs {
    fn print(&self, out: &mut impl Write) -> anyhow::Result<()> {
        if self.json {
            let report = serde_json::json!({ "command": self.command, "options": self.options });
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
            return Ok(());
        }
        if self.options.is_empty() {
            bail!("`{}` has no options that a file can hold", self.command);
        }
        let lines: Vec<_> = self
            .options
            .iter()
            .map(|option| {
                let values = option.values.join(",");
                let setting = format!("{} = {}", option.option, escape_to_one_line(&values));
                (setting, option.source.describe())
            })
            .collect();
        let width = lines.iter().map(|(setting, _)| setting.chars().count());
        // Long values would move all sources out of sight.
        let width = width.max().unwrap_or_default().min(60);
        for (setting, source) in lines {
            writeln!(out, "{setting:<width$}  ({source})")?;
        }
        Ok(())
    }
}

/// Returns the value of an option and its origin, or `None` if it has none. `in_file` has what the file says about it.
fn effective_option(
    option: &Arg,
    matches: &ArgMatches,
    in_file: Option<(Vec<String>, Place)>,
) -> Option<EffectiveOption> {
    let id = option.get_id().as_str();
    let is_known = matches!(matches.try_contains_id(id), Ok(true));
    let is_on_command_line = is_known && matches.value_source(id) == Some(ValueSource::CommandLine);
    let (values, source) = if let Some((values, place)) = in_file {
        (values, place.into())
    } else if is_on_command_line {
        let values = matches.get_raw(id).into_iter().flatten();
        let values = values.map(|value| value.to_string_lossy().into_owned());
        (values.collect(), Origin::CommandLine)
    } else if let Some((name, value)) = super::variable_of(option) {
        let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy());
        let values = match option.get_value_delimiter() {
            Some(delimiter) if is_list(option) => {
                value.split(delimiter).map(str::to_owned).collect()
            }
            _ => vec![value.into_owned()],
        };
        (values, Origin::Variable { name })
    } else {
        let values = option.get_default_values().iter();
        let mut values: Vec<_> = values
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        if is_flag(option) {
            values = vec![false.to_string()];
        }
        if values.iter().all(String::is_empty) {
            return None;
        }
        (values, Origin::Default)
    };
    let shown = |value: &String| match is_secret(option) {
        true => MASK.to_owned(),
        false => without_credentials(value),
    };
    Some(EffectiveOption {
        option: format!("--{}", option.get_long()?),
        values: values.iter().map(shown).collect(),
        is_secret: is_secret(option),
        source,
    })
}

impl ConfigFile {
    /// Returns the values of an option for a command, as they are given to it.
    fn values(&self, command: &str, option: &Arg) -> Option<Vec<String>> {
        match &self.setting(Some(command), option)?.value {
            super::SettingValue::Flag(is_set) => Some(vec![is_set.to_string()]),
            super::SettingValue::Values(values) => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                let values = values
                    .iter()
                    .map(|value| super::resolve(folder, option, value));
                Some(
                    values
                        .map(|value| value.to_string_lossy().into_owned())
                        .collect(),
                )
            }
        }
    }
}
