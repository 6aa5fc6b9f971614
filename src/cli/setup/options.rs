//! Options of the server that are given to `setup`, and that the client is to give the server.

use std::{
    ffi::OsStr,
    path::{PathBuf, absolute},
};

use clap::{ArgAction, ArgMatches, Command, parser::ValueSource};

/// Options of the command line, for the arguments of the server.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct ServerOptions {
    /// Arguments, such as `--toolsets` and `prompts`.
    pub(super) args: Vec<String>,
    /// Names of the options, such as `--toolsets`.
    pub(super) names: Vec<String>,
    /// Name of an option that holds a secret.
    pub(super) secret: Option<String>,
}

impl ServerOptions {
    /// Collects the options of every command that are given on the command line, in the order of their definition.
    /// Files are named from the root, because the client starts the server in another folder.
    pub(in crate::cli) fn new(definition: &Command, matches: &ArgMatches) -> Self {
        let mut options = Self::default();
        for argument in definition.get_arguments() {
            let id = argument.get_id().as_str();
            let Some(long) = argument.get_long() else {
                continue;
            };
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let name = format!("--{long}");
            options.names.push(name.clone());
            if argument.is_hide_env_values_set() {
                options.secret = Some(name);
                continue;
            }
            if !matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
                options.args.push(name);
                continue;
            }
            let is_path = matches!(matches.try_get_many::<PathBuf>(id), Ok(Some(_)));
            let given = matches.get_raw(id).into_iter().flatten();
            // `-` stands for standard error.
            let values = given.map(|value| match is_path && value != OsStr::new("-") {
                true => absolute(value).map_or_else(
                    |_| value.to_string_lossy().into_owned(),
                    |path| path.to_string_lossy().into_owned(),
                ),
                false => value.to_string_lossy().into_owned(),
            });
            match argument.get_value_delimiter() {
                Some(delimiter) => {
                    let values: Vec<_> = values.collect();
                    options.args.push(name);
                    options.args.push(values.join(&delimiter.to_string()));
                }
                None => {
                    for value in values {
                        options.args.push(name.clone());
                        options.args.push(value);
                    }
                }
            }
        }
        options
    }
}
