//! References to secrets: the location of a secret argument, in the place of the secret itself.

use std::fmt;

use serde_json::{Value, json};

/// Keys of the two kinds of reference: the key of an object, or the text before a colon.
const ENV_KEY: &str = "$env";
const FILE_KEY: &str = "$file";

/// The maximum length of a name or path in a reference, in bytes.
const MAX_REFERENCE_BYTES: usize = 1024;

/// The location of a secret: `{"$env": "NAME"}` or `"$env:NAME"`, `{"$file": "path"}` or
/// `"$file:path"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A variable of the server's environment.
    Variable(&'a str),
    /// A file on the server's disk.
    File(&'a str),
}

/// The kind of value that belongs in the place of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretSlot {
    /// A text.
    Text,
    /// An object, such as the JSON of a credentials file.
    Object,
    /// Any value of a free-form object, which is a secret only if its name says so.
    Free,
}

impl<'a> Reference<'a> {
    /// Reads a value as a reference, if it has the form of one.
    pub fn from_value(value: &'a Value) -> Option<Self> {
        let (kind, place) = match value {
            Value::String(text) if text.starts_with('$') => text.split_once(':')?,
            Value::Object(map) if map.len() == 1 => {
                let (kind, place) = map.iter().next()?;
                (kind.as_str(), place.as_str()?)
            }
            _ => return None,
        };
        let is_line =
            (1..=MAX_REFERENCE_BYTES).contains(&place.len()) && !place.contains(char::is_control);
        let is_name = place
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match kind {
            ENV_KEY if is_line && is_name => Some(Self::Variable(place)),
            FILE_KEY if is_line => Some(Self::File(place)),
            _ => None,
        }
    }

    /// Writes the reference as text.
    pub(super) fn to_text(self) -> Value {
        self.to_string().into()
    }

    /// Writes the reference as an object.
    pub(super) fn to_object(self) -> Value {
        match self {
            Self::Variable(name) => json!({ (ENV_KEY): name }),
            Self::File(path) => json!({ (FILE_KEY): path }),
        }
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "{ENV_KEY}:{name}"),
            Self::File(path) => write!(f, "{FILE_KEY}:{path}"),
        }
    }
}
