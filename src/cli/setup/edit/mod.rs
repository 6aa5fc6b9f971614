//! Changes of a configuration file. Comments, other servers and other fields stay as they are.

use std::ops::Range;

use serde_json::Value;
use similar::{
    DiffTag,
    algorithms::{Capture, Replace, myers},
};

use super::entry::{AUTHORIZATION, ENV, ENV_VARS, Entry, HEADERS, KEY_VARIABLE};
use crate::{
    cli::clients::{Client, Syntax},
    security::secrets::mask_line,
};

mod json;
mod toml;
mod toml_list;

/// Fields of an entry that this program sets, and removes where they do not apply. Others are the user's.
const MANAGED: [&str; 9] = [
    "type",
    "source",
    "command",
    "args",
    "url",
    "httpUrl",
    "serverUrl",
    "bearer_token_env_var",
    ENV_VARS,
];

/// Text that is shown in place of values that may be secret.
const HIDDEN: &str = "…";

/// Reason why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    #[error("line {line}, column {column}: {message}")]
    Invalid {
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{0} holds something else than servers by name")]
    NotAnObject(String),
    #[error("`{0}` is there twice, and clients differ in which of the two they read; remove one")]
    Duplicate(String),
}

/// Returns what is wrong with a file of this syntax, with line and column, or `None` if it is valid.
pub(in crate::cli) fn describe_syntax_error(syntax: Syntax, text: &str) -> Option<String> {
    let checked = match syntax {
        Syntax::Json => json::check(text),
        Syntax::Toml => toml::check(text),
    };
    checked.err().map(|error| error.to_string())
}

/// A place in the configuration of a client, and what it is to hold.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) client: &'a Client,
    /// Name of the server in the client.
    pub(super) name: &'a str,
    pub(super) entry: &'a Entry,
}

impl Change<'_> {
    /// Returns the text of the file after the change. An empty text is a file that does not exist yet.
    pub(super) fn apply(&self, text: &str) -> Result<String, EditError> {
        match self.client.syntax {
            Syntax::Json => json::apply(self, text),
            Syntax::Toml => toml::apply(self, text),
        }
    }

    /// Returns the text with every value hidden that may be secret: all texts outside of the entry, and within it
    /// what is neither a reference nor written by this program.
    pub(super) fn hide_values(&self, text: &str) -> Result<String, EditError> {
        match self.client.syntax {
            Syntax::Json => json::hide_values(self, text),
            Syntax::Toml => toml::hide_values(self, text),
        }
    }

    /// Returns true if a text is in a managed field of the new entry. Such texts come from the command line.
    fn sets(&self, text: &str) -> bool {
        let fields = MANAGED
            .iter()
            .filter_map(|field| self.entry.fields.get(*field));
        let mut texts = fields.flat_map(|value| match value {
            Value::Array(list) => list.as_slice(),
            value => std::slice::from_ref(value),
        });
        texts.any(|value| value.as_str() == Some(text))
    }
}

/// Place of a value, as far as it decides what may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// The file.
    File,
    /// The list of servers.
    Servers,
    /// The entry.
    Entry,
    /// A field that this program sets.
    Managed,
    /// Variables and headers.
    Credentials,
    /// What the client asks for.
    Inputs,
    /// Everything else.
    Other,
}

impl Area {
    /// Returns the area below a field.
    fn below(self, field: &str, change: &Change<'_>) -> Self {
        match self {
            Self::File if field == change.client.servers => Self::Servers,
            Self::File if field == "inputs" => Self::Inputs,
            Self::Servers if field == change.name => Self::Entry,
            Self::Entry if MANAGED.contains(&field) => Self::Managed,
            Self::Entry if field == ENV || HEADERS.contains(&field) => Self::Credentials,
            Self::Credentials => Self::Credentials,
            Self::Inputs if field != "default" => Self::Inputs,
            _ => Self::Other,
        }
    }

    /// Returns what is shown of a text, or `None` for all of it.
    fn hide(self, text: &str, before: Option<&str>, change: &Change<'_>) -> Option<String> {
        match self {
            Self::Inputs => None,
            Self::Managed if before.is_some_and(names_credential) => Some(HIDDEN.to_owned()),
            Self::Managed if is_option_name(text) || change.sets(text) => None,
            // What others wrote may be a secret: a value behind `-e`, `-k` or `--header`, or a part of an address.
            Self::Managed => match text.split_once('=') {
                Some((option, _)) if is_option_name(option) => Some(format!("{option}={HIDDEN}")),
                _ => Some(HIDDEN.to_owned()),
            },
            Self::Credentials if is_reference(text) => None,
            _ => Some(HIDDEN.to_owned()),
        }
    }
}

/// Returns true if a text is the name of an option, without a value.
fn is_option_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    match text.strip_prefix("--") {
        Some(name) => {
            name.bytes().next().is_some_and(is_letter)
                && name.bytes().all(|byte| is_letter(byte) || byte == b'-')
        }
        None => text.len() == 2 && text.starts_with('-'),
    }
}

/// Returns the text with keys masked in each line, such as those in comments.
fn mask_lines(text: &str) -> String {
    text.split_inclusive('\n').map(mask_line).collect()
}

/// Returns true if an option takes a key or a token.
fn names_credential(option: &str) -> bool {
    option.starts_with('-')
        && ["key", "token", "secret", "password", "url"]
            .iter()
            .any(|word| option.ends_with(word))
}

/// Returns true if a text is a reference to a value, such as `${env:NAME}`, and not the value. That of `${NAME:-value}`
/// has the value as well.
fn is_reference(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    let name = text
        .strip_prefix("${")
        .and_then(|text| text.strip_suffix('}'));
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    name.is_some_and(|name| name.bytes().all(is_part) && !name.contains(":-"))
}

/// Returns the names in a map of the entry that this program sets: one variable, one header.
fn own_name(field: &str) -> &'static str {
    match field {
        ENV => KEY_VARIABLE,
        _ => AUTHORIZATION,
    }
}

/// Returns true if the client starts the server.
fn is_stdio(entry: &Entry) -> bool {
    entry.fields.contains_key("command")
}

/// Returns the value for a list of variables that are handed on: the others of the user stay.
fn handed_on(before: Option<Value>, wanted: Option<&Value>) -> Option<Value> {
    let mut names: Vec<Value> = match before {
        Some(Value::Array(names)) => names,
        _ => Vec::new(),
    };
    names.retain(|name| name.as_str() != Some(KEY_VARIABLE));
    if let Some(Value::Array(wanted)) = wanted {
        names.extend(wanted.iter().cloned());
    }
    (!names.is_empty()).then_some(Value::Array(names))
}

/// Elements of a list that are replaced.
struct ListChange<'a> {
    /// Positions of the elements before.
    range: Range<usize>,
    /// Elements in their place.
    values: &'a [Value],
}

/// Returns the changes that make a list the wanted one, from its end to its start, so that positions stay valid. An
/// element without a value is one that JSON cannot express.
fn changes_of_list<'a>(before: &[Option<Value>], wanted: &'a [Value]) -> Vec<ListChange<'a>> {
    let before: Vec<_> = before.iter().map(Option::as_ref).collect();
    let wanted_values: Vec<_> = wanted.iter().map(Some).collect();
    let mut hook = Replace::new(Capture::new());
    // Called itself, because a choice of algorithms compiles all of them.
    let Ok(()) = myers::diff(
        &mut hook,
        &before,
        0..before.len(),
        &wanted_values,
        0..wanted_values.len(),
    );
    let steps = hook.into_inner().into_ops();
    let changes = steps.iter().map(|step| step.as_tag_tuple());
    changes
        .filter(|(tag, ..)| *tag != DiffTag::Equal)
        .map(|(_, range, values)| ListChange {
            range,
            values: wanted.get(values).unwrap_or_default(),
        })
        .rev()
        .collect()
}
