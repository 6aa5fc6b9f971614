//! Reads a configuration file: its names and the types of its values.

use std::path::Path;

use clap::{Arg, Command};
use portkey_operation::did_you_mean;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    COMMANDS_TABLE, SERVER_COMMAND, Setting, SettingValue, configurable_options,
    error::{ConfigError, Place},
    is_flag, is_list, is_path, is_secret,
};
use crate::security::secrets::{FileProtection, check_permissions};

/// Reads the settings of a file.
pub(super) struct SettingReader<'a> {
    path: &'a Path,
    text: &'a str,
    definition: &'a Command,
    settings: Vec<Setting>,
}

impl<'a> SettingReader<'a> {
    pub(super) const fn new(path: &'a Path, text: &'a str, definition: &'a Command) -> Self {
        Self {
            path,
            text,
            definition,
            settings: Vec::new(),
        }
    }

    /// Returns the settings in the order of the file.
    ///
    /// # Errors
    /// Returns an error for the first mistake.
    pub(super) fn read(mut self) -> Result<Vec<Setting>, ConfigError> {
        let parsed = DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: self.place(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        for (key, value) in in_order(parsed.get_ref()) {
            match value.get_ref() {
                DeValue::Table(commands) if key.get_ref() == COMMANDS_TABLE => {
                    self.read_commands(commands)?;
                }
                _ => self.read_setting(None, key, value)?,
            }
        }
        Ok(self.settings)
    }

    fn read_commands(&mut self, commands: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, settings) in in_order(commands) {
            let place = self.place(name.span().start);
            let known = || {
                let visible = self.definition.get_subcommands();
                visible
                    .filter(|command| !command.is_hide_set())
                    .map(Command::get_name)
            };
            let given = name.get_ref().as_ref();
            if !known().any(|known| known == given) {
                return Err(ConfigError::UnknownCommand {
                    place,
                    near: did_you_mean(given, known()),
                    command: given.to_owned(),
                });
            }
            let DeValue::Table(settings) = settings.get_ref() else {
                return Err(ConfigError::WrongType {
                    place,
                    key: given.to_owned(),
                    expected: "a table of options",
                    found: settings.get_ref().type_str(),
                });
            };
            for (key, value) in in_order(settings) {
                self.read_setting(Some(given), key, value)?;
            }
        }
        Ok(())
    }

    fn read_setting(
        &mut self,
        command: Option<&str>,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let place = self.place(key.span().start);
        let name = key.get_ref().as_ref();
        let option = self.find_option(command, name, &place)?;
        if is_secret(option)
            && let Err(source) = check_permissions(self.path, FileProtection::Private)
        {
            return Err(ConfigError::ReadableSecret {
                place,
                key: name.to_owned(),
                source,
            });
        }
        let value = read_value(option, name, value.get_ref(), &place)?;
        self.settings.push(Setting {
            option: name.to_owned(),
            command: command.map(str::to_owned),
            line: place.line,
            value,
        });
        Ok(())
    }

    fn find_option(
        &self,
        command: Option<&str>,
        name: &str,
        place: &Place,
    ) -> Result<&Arg, ConfigError> {
        let known = || configurable_options(self.definition, command.or(Some(SERVER_COMMAND)));
        if let Some(option) = known().find(|option| option.get_long() == Some(name)) {
            return Ok(option);
        }
        let place = place.clone();
        let key = name.to_owned();
        if has_option(self.definition, name) {
            return Err(ConfigError::NotInFile { place, key });
        }
        let dashed = name.replace('_', "-");
        let is_known = |name: &str| known().any(|option| option.get_long() == Some(name));
        let near = match is_known(&dashed) {
            true => format!(", did you mean `{dashed}`?"),
            false => did_you_mean(name, known().filter_map(Arg::get_long)),
        };
        Err(ConfigError::UnknownOption { place, key, near })
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        Place {
            file: self.path.to_owned(),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        }
    }
}

/// Returns true if any command has an option with this name.
fn has_option(command: &Command, name: &str) -> bool {
    let mut own = command.get_arguments();
    own.any(|option| option.get_long() == Some(name))
        || command
            .get_subcommands()
            .any(|command| has_option(command, name))
}

/// Returns the entries of a table in the order of the file.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(
    &'a Spanned<toml::de::DeString<'i>>,
    &'a Spanned<DeValue<'i>>,
)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Reads a value in the type of the option.
fn read_value(
    option: &Arg,
    key: &str,
    value: &DeValue<'_>,
    place: &Place,
) -> Result<SettingValue, ConfigError> {
    let wrong_type = |expected, found: &DeValue<'_>| ConfigError::WrongType {
        place: place.clone(),
        key: key.to_owned(),
        expected,
        found: found.type_str(),
    };
    if is_flag(option) {
        return match value {
            DeValue::Boolean(is_set) => Ok(SettingValue::Flag(*is_set)),
            other => Err(wrong_type("true or false", other)),
        };
    }
    let text = |value: &DeValue<'_>, expected| {
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => {
                decimal(number).ok_or_else(|| wrong_type(expected, value))?
            }
            DeValue::Float(number) => number.as_str().replace('_', ""),
            DeValue::Datetime(time) => time.to_string(),
            other => return Err(wrong_type(expected, other)),
        };
        check_text(option, key, &text, place)?;
        Ok(text)
    };
    match value {
        // No value would mean the default, which is often everything.
        DeValue::Array(values) if is_list(option) && values.is_empty() => Err(ConfigError::Empty {
            place: place.clone(),
            key: key.to_owned(),
        }),
        DeValue::Array(values) if is_list(option) => {
            let values = values.iter().map(|value| {
                let text = text(value.get_ref(), "a list of texts")?;
                match option.get_value_delimiter() {
                    Some(delimiter) if text.contains(delimiter) => Err(ConfigError::Delimiter {
                        place: place.clone(),
                        key: key.to_owned(),
                        delimiter,
                    }),
                    _ => Ok(text),
                }
            });
            Ok(SettingValue::Values(values.collect::<Result<_, _>>()?))
        }
        one if is_list(option) => Ok(SettingValue::Values(vec![text(one, "a list of texts")?])),
        one => Ok(SettingValue::Values(vec![text(one, "a text or a number")?])),
    }
}

/// Returns a number as decimal digits, in which form the command line takes it.
fn decimal(number: &toml::de::DeInteger<'_>) -> Option<String> {
    let digits = number.as_str().replace('_', "");
    i128::from_str_radix(&digits, number.radix())
        .ok()
        .map(|number| number.to_string())
}

fn check_text(option: &Arg, key: &str, text: &str, place: &Place) -> Result<(), ConfigError> {
    let place = place.clone();
    let key = key.to_owned();
    let may_be_empty = option
        .get_default_values()
        .iter()
        .any(|value| value.is_empty());
    if text.trim().is_empty() && !may_be_empty {
        return Err(ConfigError::Empty { place, key });
    }
    // A shell replaces it, and nothing else does.
    if is_path(option) && (text == "~" || text.starts_with("~/")) {
        return Err(ConfigError::HomeFolder { place, key });
    }
    Ok(())
}
