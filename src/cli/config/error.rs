//! Errors of configuration files. None of them has a value of the file, which may be a secret.

use std::{fmt, io, path::PathBuf};

use portkey_bounded_file::display_path;

use crate::security::sanitize::escape_to_one_line;

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", display_path(&self.file), self.line)
    }
}

/// Reason why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", display_path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Reason of the failure.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: it is not valid TOML: {}", escape_to_one_line(message))]
    Syntax {
        /// Line of the mistake.
        place: Place,
        /// Message of the parser, without the line.
        message: String,
    },
    /// There is no such option.
    #[error(
        "{place}: there is no option `{}`{near} `portkey-mcp config example` prints all",
        escape_to_one_line(key), near = end_of_sentence(near)
    )]
    UnknownOption {
        /// Line of the option.
        place: Place,
        /// Name in the file.
        key: String,
        /// A suggestion, or nothing.
        near: String,
    },
    /// The option exists, and belongs to one run of a command.
    #[error("{place}: `{key}` can only be given on the command line; remove the line")]
    NotInFile {
        /// Line of the option.
        place: Place,
        /// Name in the file.
        key: String,
    },
    /// There is no such command.
    #[error(
        "{place}: there is no command `{}`{near} `portkey-mcp help` lists them",
        escape_to_one_line(command), near = end_of_sentence(near)
    )]
    UnknownCommand {
        /// Line of the table.
        place: Place,
        /// Name in the file.
        command: String,
        /// A suggestion, or nothing.
        near: String,
    },
    /// The value has another type than the option.
    #[error(
        "{place}: `{key}` takes {expected}, and the file has {}",
        type_name(found)
    )]
    WrongType {
        /// Line of the option.
        place: Place,
        /// Name of the option.
        key: String,
        /// Types that can be used.
        expected: &'static str,
        /// Type of the value.
        found: &'static str,
    },
    /// A text or a list is empty.
    #[error("{place}: `{key}` is empty; give a value, or remove the line")]
    Empty {
        /// Line of the option.
        place: Place,
        /// Name of the option.
        key: String,
    },
    /// A path begins with the sign for the home folder.
    #[error(
        "{place}: `{key}` begins with `~`, which only a shell replaces; write the whole path, or one relative to \
         the folder of this file"
    )]
    HomeFolder {
        /// Line of the option.
        place: Place,
        /// Name of the option.
        key: String,
    },
    /// An element of a list has the character that separates elements on the command line.
    #[error(
        "{place}: a value of `{key}` has a `{delimiter}` in it, which separates values; give each value alone"
    )]
    Delimiter {
        /// Line of the option.
        place: Place,
        /// Name of the option.
        key: String,
        /// The character.
        delimiter: char,
    },
    /// A secret stands in a file that others may read.
    #[error(
        "{place}: `{key}` is a secret, and {source}. Or keep the secret in a file of its own, and name that one as \
         `{key}-file` where there is such an option"
    )]
    ReadableSecret {
        /// Line of the option.
        place: Place,
        /// Name of the option.
        key: String,
        /// The cause, and the next step.
        source: io::Error,
    },
}

/// Ends a sentence that a suggestion may have ended.
fn end_of_sentence(near: &str) -> String {
    match near.is_empty() {
        true => ";".to_owned(),
        false => near.to_owned(),
    }
}

/// Returns a type of TOML in words.
fn type_name(name: &str) -> &str {
    match name {
        "string" => "a text",
        "integer" | "float" => "a number",
        "boolean" => "true or false",
        "datetime" => "a time",
        "array" => "a list",
        "table" => "a table",
        other => other,
    }
}
