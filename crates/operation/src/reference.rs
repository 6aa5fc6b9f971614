//! References: where a secret argument is to be found, in the place of the secret itself.

use std::fmt;

use serde_json::{Value, json};

/// Begin the two kinds of reference, as key of an object or as text before a colon.
const VARIABLE: &str = "$env";
const FILE: &str = "$file";

/// The longest name or path that is read as one, in bytes.
const LONGEST: usize = 1024;

/// Says where a secret is: `{"$env": "NAME"}` or `"$env:NAME"`, `{"$file": "path"}` or `"$file:path"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A variable of the server's environment.
    Variable(&'a str),
    /// A file on the server's disk.
    File(&'a str),
}

/// What belongs where a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A text.
    Text,
    /// An object, as the JSON that a file holds.
    Object,
    /// Whatever may stand in an object of free form: a secret only where its name says so.
    Free,
}

impl<'a> Reference<'a> {
    /// The reference that a value is, if it is one.
    pub fn in_value(value: &'a Value) -> Option<Self> {
        let (kind, place) = match value {
            Value::String(text) if text.starts_with('$') => text.split_once(':')?,
            Value::Object(map) if map.len() == 1 => {
                let (kind, place) = map.iter().next()?;
                (kind.as_str(), place.as_str()?)
            }
            _ => return None,
        };
        let is_line = (1..=LONGEST).contains(&place.len()) && !place.contains(char::is_control);
        let is_name = place
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match kind {
            VARIABLE if is_line && is_name => Some(Self::Variable(place)),
            FILE if is_line => Some(Self::File(place)),
            _ => None,
        }
    }

    /// The same as text.
    pub(super) fn to_text(self) -> Value {
        self.to_string().into()
    }

    /// The same as an object.
    pub(super) fn to_object(self) -> Value {
        match self {
            Self::Variable(name) => json!({ (VARIABLE): name }),
            Self::File(path) => json!({ (FILE): path }),
        }
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "{VARIABLE}:{name}"),
            Self::File(path) => write!(f, "{FILE}:{path}"),
        }
    }
}
