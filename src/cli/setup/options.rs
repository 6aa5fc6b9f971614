//! Options of the server that are given to `setup`, and that the client is to give the server.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf, absolute},
};

use clap::{ArgAction, ArgMatches, Command, parser::ValueSource};

/// Options of the command line, for the arguments of the server.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct ServerOptions {
    /// Arguments, such as `--toolsets` and `prompts`.
    pub(super) args: Vec<String>,
    /// Arguments that are paths, by their position.
    paths: Vec<(usize, PathBuf)>,
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
            let from_root = |value: &OsStr| match is_path && value != OsStr::new("-") {
                true => absolute(value).ok(),
                false => None,
            };
            let text = |value: &OsStr| value.to_string_lossy().into_owned();
            match argument.get_value_delimiter().filter(|_| !is_path) {
                Some(delimiter) => {
                    let values: Vec<_> = given.map(text).collect();
                    options.args.push(name);
                    options.args.push(values.join(&delimiter.to_string()));
                }
                None => {
                    for value in given {
                        options.args.push(name.clone());
                        let path = from_root(value);
                        options
                            .args
                            .push(text(path.as_deref().map_or(value, Path::as_os_str)));
                        let at = options.args.len() - 1;
                        options.paths.extend(path.map(|path| (at, path)));
                    }
                }
            }
        }
        options
    }

    /// Returns the arguments for a file that others read as well: paths below the folder of the project are named
    /// from what the client replaces by that folder. Returns also the paths that are on this machine only.
    pub(super) fn args_of_project(
        &self,
        project: &Path,
        replaced: Option<&str>,
    ) -> (Vec<String>, Vec<&Path>) {
        let mut args = self.args.clone();
        let mut local = Vec::new();
        for (at, path) in &self.paths {
            let below = replaced.zip(path.strip_prefix(project).ok());
            let shared = below.and_then(|(replaced, path)| {
                let mut text = replaced.to_owned();
                for part in path.components() {
                    // `..` leaves the folder, and other clients have other separators.
                    let Component::Normal(part) = part else {
                        return None;
                    };
                    text = format!("{text}/{}", part.to_str()?);
                }
                Some(text)
            });
            match (shared, args.get_mut(*at)) {
                (Some(shared), Some(arg)) => *arg = shared,
                _ => local.push(path.as_path()),
            }
        }
        (args, local)
    }
}
