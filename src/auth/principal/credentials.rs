//! Upstream keys that act for a caller. They are displayed by their source, never by their value.

use std::{fmt, path::PathBuf};

use http::HeaderValue;
use portkey_bounded_file::display_path;
use portkey_operation::Upstream;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::security::secrets::{self, FileProtection, read_protected_file};

/// Source of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A variable in the server's environment.
    Env(String),
    /// A file of the operator.
    File(PathBuf),
    /// A command-line option.
    Option,
    /// The key that the command `login` stored.
    Login,
    /// The request itself.
    Request,
    /// The embedded sandbox, which accepts any key.
    Sandbox,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", display_path(path)),
            Self::Option => f.write_str("the option or its variable"),
            Self::Login => f.write_str("`portkey-mcp login`"),
            Self::Request => f.write_str("the request"),
            Self::Sandbox => f.write_str("the sandbox"),
        }
    }
}

/// Reason why a text is not a key, or a source contains none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is blank.
    #[error("the API key is empty ({0})")]
    Empty(KeySource),
    /// The text is malformed in a way that shows a wrong configuration.
    #[error("the API key in {0} {1}")]
    Malformed(KeySource, KeyDefect),
    /// The variable is not set.
    #[error("the variable {0} is not set")]
    VariableNotSet(String),
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}", display_path(path))]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// Reason of the failure.
        source: std::io::Error,
    },
    /// The reference is neither a variable nor a file.
    #[error("a key is named as env:VARIABLE or file:PATH, never written out")]
    InvalidReference,
}

/// Defect of a text that was configured as a key but cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDefect {
    /// The text begins with a byte order mark.
    ByteOrderMark,
    /// The text is in quotes.
    Quoted,
    /// The text is a placeholder that was not replaced.
    Placeholder,
    /// The text is that of an example, such as `YOUR_API_KEY`.
    Example,
    /// The text is a word for a missing value, such as `null`.
    Absent,
    /// The text has a comment at its end.
    Comment,
    /// The text is a reference to a key.
    Reference,
    /// The text begins with an authentication scheme.
    SchemePrefix,
    /// The text begins with the name of a variable.
    Assignment,
    /// The text contains blanks or line breaks.
    Whitespace,
    /// The text is masked.
    Masked,
    /// The text has zero bytes between its characters.
    Utf16,
    /// The text contains characters that a header cannot hold.
    InvalidCharacters,
}

impl fmt::Display for KeyDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByteOrderMark => {
                "begins with a byte order mark (BOM); save the file as UTF-8 without one"
            }
            Self::Quoted => "is in quotes; leave the quotes out",
            Self::Placeholder => {
                "is a placeholder such as `${NAME}` that nothing was put in the place of; most \
                 configuration files replace none, so write the key itself there, or set the variable"
            }
            Self::Example => {
                "is the text of an example, such as `YOUR_API_KEY` or `xxx`; give your own key in its place"
            }
            Self::Absent => {
                "is `null`, `undefined` or the like, as programs write it where they have no value; set the \
                 variable or the field that it was taken from"
            }
            Self::Comment => {
                "has a `#` in it, and what stands behind it is no part of a key; leave the comment out"
            }
            Self::Utf16 => "has zero bytes in it, as text in UTF-16 has; save the file as UTF-8",
            Self::Reference => {
                "is a reference or an address, such as `env:NAME`, `file:PATH` or `op://…`; give the key itself \
                 here, or its file where a file is asked for"
            }
            Self::SchemePrefix => "begins with `Bearer`; give the key alone",
            Self::Assignment => "begins with a name, as in `NAME=key`; give the key alone",
            Self::Whitespace => "has blanks or line breaks in it; give one key, on one line",
            Self::Masked => "is masked with asterisks; give the whole key",
            Self::InvalidCharacters => "has characters that no key has; copy it again",
        })
    }
}

impl KeyDefect {
    /// Returns the defect of a trimmed text, or `None` if it may be a key.
    pub fn detect(text: &str) -> Option<Self> {
        let begins = |with: &str| {
            text.get(..with.len())
                .is_some_and(|t| t.eq_ignore_ascii_case(with))
        };
        let between = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
        let quotes = [
            '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}',
        ];
        // Such as `{env:NAME}` of OpenCode, `${{ secrets.NAME }}` of GitHub and `#{NAME}#` of Azure.
        let placeholders = [
            ("{", "}"),
            ("${", "}"),
            ("$(", ")"),
            ("#{", "}"),
            ("#{", "}#"),
            ("[", "]"),
            ("<", ">"),
            ("%", "%"),
            ("@", "@"),
        ];
        let is_word = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if text.starts_with('\u{feff}') {
            Some(Self::ByteOrderMark)
        } else if text.starts_with(quotes) || text.ends_with(quotes) {
            Some(Self::Quoted)
        } else if ABSENT_WORDS
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
        {
            Some(Self::Absent)
        } else if placeholders
            .into_iter()
            .any(|(open, close)| between(open, close))
            || text
                .strip_prefix('$')
                .is_some_and(|name| !name.is_empty() && is_word(name))
        {
            Some(Self::Placeholder)
        } else if ["env:", "file:", "$env:", "$file:"].into_iter().any(begins)
            || text.contains("://")
        {
            Some(Self::Reference)
        } else if begins("bearer ") {
            Some(Self::SchemePrefix)
        } else if text.split_once('=').is_some_and(|(name, key)| {
            let name = name.strip_prefix("export ").unwrap_or(name);
            // Base64 keys may end with `=`.
            name.contains('_') && is_word(name) && !key.trim_start_matches('=').is_empty()
        }) {
            Some(Self::Assignment)
        } else if text.contains("***") {
            Some(Self::Masked)
        } else if text.contains('\0') {
            Some(Self::Utf16)
        } else if text.contains('#') {
            Some(Self::Comment)
        } else if is_example(text) {
            Some(Self::Example)
        } else if text.contains(char::is_whitespace) {
            Some(Self::Whitespace)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Some(Self::InvalidCharacters)
        } else {
            None
        }
    }
}

/// Texts that programs and templates write where a value is missing.
const ABSENT_WORDS: &[&str] = &[
    "null",
    "undefined",
    "none",
    "nil",
    "nan",
    "unset",
    "empty",
    "true",
    "false",
    "[object Object]",
];

/// Words of examples that stand for a key, without the signs between them.
const EXAMPLE_WORDS: &[&str] = &[
    "apikey",
    "apikeyhere",
    "changeme",
    "insertkeyhere",
    "keyhere",
    "placeholder",
    "portkeyapikey",
    "replaceme",
    "todo",
];

/// Returns true for the text that documents give in the place of a key.
fn is_example(text: &str) -> bool {
    let word: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let is_yours = word.starts_with("your") && (word.contains("key") || word.contains("token"));
    // After a prefix such as `pk-`. Keys have digits and other letters in them.
    let hidden = text.rsplit(['-', '_']).next().unwrap_or(text);
    let is_crossed_out =
        hidden.len() >= 3 && hidden.bytes().all(|byte| matches!(byte, b'x' | b'X'));
    let is_cut = text.ends_with("...") || text.ends_with('\u{2026}');
    is_yours || is_crossed_out || is_cut || EXAMPLE_WORDS.contains(&word.as_str())
}

/// An upstream key and its source.
#[derive(Clone)]
pub struct UpstreamKey {
    source: KeySource,
    header: HeaderValue,
}

impl UpstreamKey {
    /// Creates a key from a text, which is trimmed.
    ///
    /// # Errors
    /// Returns an error if the text is empty or malformed.
    pub fn new(source: KeySource, secret: &SecretString) -> Result<Self, KeyError> {
        let text = secret.expose_secret().trim();
        if text.is_empty() {
            return Err(KeyError::Empty(source));
        }
        if let Some(shape) = KeyDefect::detect(text) {
            return Err(KeyError::Malformed(source, shape));
        }
        let header = HeaderValue::from_str(text);
        let mut header = header
            .map_err(|_| KeyError::Malformed(source.clone(), KeyDefect::InvalidCharacters))?;
        header.set_sensitive(true);
        // Keys from requests are not registered for masking, because the process does not keep
        // them. The sandbox's key is public and needs no masking.
        if !matches!(source, KeySource::Request | KeySource::Sandbox) {
            secrets::learn_key(text);
        }
        Ok(Self { source, header })
    }

    /// Reads the key that `env:VARIABLE` or `file:PATH` names.
    ///
    /// # Errors
    /// Returns an error if the reference is invalid, or there is no valid key at its target.
    pub fn from_reference(reference: &str) -> Result<Self, KeyError> {
        if let Some(name) = reference.strip_prefix("env:") {
            let secret =
                std::env::var(name).map_err(|_| KeyError::VariableNotSet(name.to_owned()))?;
            return Self::new(KeySource::Env(name.to_owned()), &secret.into());
        }
        let path = reference
            .strip_prefix("file:")
            .ok_or(KeyError::InvalidReference)?;
        Self::from_file(path.into())
    }

    /// Reads the key in a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or contains no valid key.
    pub fn from_file(path: PathBuf) -> Result<Self, KeyError> {
        match read_protected_file(&path, FileProtection::Secret) {
            Ok(secret) => Self::new(KeySource::File(path), &secret),
            Err(source) => Err(KeyError::UnreadableFile { path, source }),
        }
    }

    /// Returns the source of the key.
    pub const fn source(&self) -> &KeySource {
        &self.source
    }

    /// Returns the first half of the key's SHA-256 in hexadecimal, which distinguishes keys.
    pub fn fingerprint(&self) -> String {
        let mut digest = hex::encode(Sha256::digest(self.header.as_bytes()));
        digest.truncate(32);
        digest
    }

    /// Returns the value for the upstream's header.
    pub(crate) const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.source)
    }
}

/// Error for a missing upstream key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingKey {
    /// The server has no key and acts for all callers with its own.
    #[error(
        "no {0} API key is configured, so nothing was sent. Start the server with a key from {login}{settings}, or \
         with --sandbox to work on the embedded sandbox",
        login = login_source(*.0),
        settings = .0.key_settings()
    )]
    Server(Upstream),
    /// The caller has no key on this server.
    #[error(
        "this caller has no {0} API key on this server, so nothing was sent. The operator of the server \
         decides which key acts for whom"
    )]
    Caller(Upstream),
    /// The request has no key.
    #[error("the request has no {0} API key, so nothing was sent. Send it as `{1}`")]
    Request(Upstream, &'static str),
}

/// Returns the command that stores a key, for a list of sources. Keys of Enkrypt AI are not stored.
const fn login_source(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Portkey => "`portkey-mcp login` or ",
        Upstream::Enkrypt => "",
    }
}

/// The upstream keys of a caller, each optional.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Key for requests to Portkey; never sent elsewhere.
    pub portkey: Option<UpstreamKey>,
    /// Key for requests to Enkrypt AI; never sent elsewhere.
    pub enkrypt: Option<UpstreamKey>,
    /// Builds the error for a missing key.
    pub missing_key: fn(Upstream) -> MissingKey,
}

impl Credentials {
    /// Returns the keys that arrived with the request. Keys from other sources are registered for
    /// masking already.
    pub(crate) fn request_keys(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.portkey, &self.enkrypt].into_iter().flatten();
        let brought = keys.filter(|key| key.source == KeySource::Request);
        brought.filter_map(|key| key.header.to_str().ok())
    }

    /// Returns the key for an upstream.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub fn key(&self, upstream: Upstream) -> Result<&UpstreamKey, MissingKey> {
        let key = match upstream {
            Upstream::Portkey => &self.portkey,
            Upstream::Enkrypt => &self.enkrypt,
        };
        key.as_ref().ok_or_else(|| (self.missing_key)(upstream))
    }
}

#[cfg(test)]
mod tests {
    use super::KeyDefect;

    #[test]
    fn malformed_key_has_a_defect() {
        for (text, expected) in [
            ("\u{feff}pk-1", Some(KeyDefect::ByteOrderMark)),
            ("\"pk-1\"", Some(KeyDefect::Quoted)),
            ("'pk-1", Some(KeyDefect::Quoted)),
            ("\u{201c}pk-1\u{201d}", Some(KeyDefect::Quoted)),
            ("${PORTKEY_API_KEY}", Some(KeyDefect::Placeholder)),
            ("${env:PORTKEY_API_KEY}", Some(KeyDefect::Placeholder)),
            ("${input:key}", Some(KeyDefect::Placeholder)),
            ("$PORTKEY_API_KEY", Some(KeyDefect::Placeholder)),
            ("$(cat key)", Some(KeyDefect::Placeholder)),
            ("{{key}}", Some(KeyDefect::Placeholder)),
            ("<your key>", Some(KeyDefect::Placeholder)),
            ("%PORTKEY_API_KEY%", Some(KeyDefect::Placeholder)),
            ("{env:PORTKEY_API_KEY}", Some(KeyDefect::Placeholder)),
            ("{PORTKEY_API_KEY}", Some(KeyDefect::Placeholder)),
            ("${{ secrets.KEY }}", Some(KeyDefect::Placeholder)),
            ("#{KEY}", Some(KeyDefect::Placeholder)),
            ("#{KEY}#", Some(KeyDefect::Placeholder)),
            ("[key]", Some(KeyDefect::Placeholder)),
            ("@KEY@", Some(KeyDefect::Placeholder)),
            ("null", Some(KeyDefect::Absent)),
            ("undefined", Some(KeyDefect::Absent)),
            ("None", Some(KeyDefect::Absent)),
            ("NIL", Some(KeyDefect::Absent)),
            ("true", Some(KeyDefect::Absent)),
            ("[object Object]", Some(KeyDefect::Absent)),
            ("abc#comment", Some(KeyDefect::Comment)),
            ("abc # comment", Some(KeyDefect::Comment)),
            ("https://api.portkey.ai/v1", Some(KeyDefect::Reference)),
            ("nullable-1", None),
            ("env:PORTKEY_API_KEY", Some(KeyDefect::Reference)),
            ("file:/run/secrets/key", Some(KeyDefect::Reference)),
            ("op://vault/portkey/key", Some(KeyDefect::Reference)),
            ("Bearer pk-1", Some(KeyDefect::SchemePrefix)),
            ("bearer pk-1", Some(KeyDefect::SchemePrefix)),
            ("PORTKEY_API_KEY=pk-1", Some(KeyDefect::Assignment)),
            ("export PORTKEY_API_KEY=pk-1", Some(KeyDefect::Assignment)),
            ("pk-1\npk-2", Some(KeyDefect::Whitespace)),
            ("x-portkey-api-key: pk-1", Some(KeyDefect::Whitespace)),
            ("pk-***", Some(KeyDefect::Masked)),
            ("p\0k\0", Some(KeyDefect::Utf16)),
            ("YOUR_API_KEY", Some(KeyDefect::Example)),
            ("your-portkey-api-key", Some(KeyDefect::Example)),
            ("your_key_here", Some(KeyDefect::Example)),
            ("YOUR API KEY", Some(KeyDefect::Example)),
            ("<YOUR_API_KEY>", Some(KeyDefect::Placeholder)),
            ("xxx", Some(KeyDefect::Example)),
            ("XXXXXXXX", Some(KeyDefect::Example)),
            ("pk-xxxx-xxxx", Some(KeyDefect::Example)),
            ("pk-...", Some(KeyDefect::Example)),
            ("pk-\u{2026}", Some(KeyDefect::Example)),
            ("changeme", Some(KeyDefect::Example)),
            ("API_KEY", Some(KeyDefect::Example)),
            ("pk-axxx", None),
            ("pk-yourself-1", None),
            ("key1", None),
            ("pk-\u{200b}1", Some(KeyDefect::InvalidCharacters)),
            ("pk-\u{7}1", Some(KeyDefect::InvalidCharacters)),
            ("pk-1", None),
            ("k", None),
            ("AbC_d+/9==", None),
            ("A_B=", None),
            ("QUJD==", None),
            ("$2b$10$abc", None),
            ("a=b", None),
        ] {
            assert_eq!(KeyDefect::detect(text), expected, "{text}");
        }
    }
}
