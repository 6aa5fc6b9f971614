//! The options that are set, and where each of them was set.

use clap::{ArgMatches, Command, parser::ValueSource};
use reqwest::Url;

use crate::cli::config::FileSources;

/// An option that does not have its default value.
#[derive(Clone, Debug)]
pub(in crate::cli) struct ConfiguredOption {
    /// Name of the option, such as `--read-only`.
    pub(super) option: String,
    /// Name of the variable or place in the configuration file if the value came from there, or else the command
    /// line.
    pub(super) source: Option<String>,
    /// Value as it was given; `None` for secrets.
    pub(super) value: Option<String>,
}

impl ConfiguredOption {
    /// Returns the options of the definition and of `doctor` that are set in the parsed command line.
    pub(in crate::cli) fn all(
        definition: &Command,
        matches: &ArgMatches,
        sources: &FileSources,
    ) -> Vec<Self> {
        let own = definition.find_subcommand("doctor");
        let own = own.into_iter().flat_map(Command::get_arguments);
        // What it prints is no setting of a server.
        let own = own.filter(|argument| argument.get_env().is_some());
        let arguments = definition.get_arguments().chain(own);
        let configured = arguments.filter_map(|argument| {
            let name = argument.get_id().as_str();
            let option = format!("--{}", argument.get_long()?);
            let source = match matches.value_source(name)? {
                // What the file says is given to the parser in the same way.
                ValueSource::CommandLine => sources
                    .place(argument.get_long()?)
                    .map(|place| place.to_string()),
                ValueSource::EnvVariable => {
                    Some(argument.get_env()?.to_string_lossy().into_owned())
                }
                _ => return None,
            };
            let values: Vec<_> = matches
                .get_raw(name)
                .into_iter()
                .flatten()
                .map(|value| without_credentials(&value.to_string_lossy()))
                .collect();
            let value = (!argument.is_hide_env_values_set()).then(|| values.join(","));
            Some(Self {
                option,
                source,
                value,
            })
        });
        configured.collect()
    }
}

/// Removes the user, the password and the query of an address.
pub(in crate::cli) fn without_credentials(value: &str) -> String {
    let Ok(mut url) = value.parse::<Url>() else {
        return value.to_owned();
    };
    if url.cannot_be_a_base()
        || (url.username().is_empty() && url.password().is_none() && url.query().is_none())
    {
        return value.to_owned();
    }
    // Both fail for an address without a host, which has no credentials.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
