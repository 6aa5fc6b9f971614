//! The upstream keys that act for a caller: shown by where they come from, never by what they are.

use std::{fmt, path::PathBuf};

use http::HeaderValue;
use portkey_bounded_file::shown;
use portkey_operation::Upstream;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::security::secrets::{self, Guarded, read_guarded};

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A variable of the server's environment.
    Env(String),
    /// A file of the operator's.
    File(PathBuf),
    /// An option of the command line.
    Option,
    /// The request itself.
    Request,
    /// The embedded sandbox, which takes any.
    Sandbox,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", shown(path)),
            Self::Option => f.write_str("the option or its variable"),
            Self::Request => f.write_str("the request"),
            Self::Sandbox => f.write_str("the sandbox"),
        }
    }
}

/// Why a text is no key, or a source gives none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing but blanks.
    #[error("the API key is empty ({0})")]
    Empty(KeySource),
    /// A form that shows that something is wrong with how it was set.
    #[error("the API key in {0} {1}")]
    Misshapen(KeySource, Shape),
    /// The variable is not set.
    #[error("the variable {0} is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}", shown(path))]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The reference is neither a variable nor a file.
    #[error("a key is named as env:VARIABLE or file:PATH, never written out")]
    NoReference,
}

/// The form of a text that was set in the place of a key, and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A byte order mark comes before it.
    Marked,
    /// It is in quotes.
    Quoted,
    /// Nobody put a key in the place of this.
    Placeholder,
    /// It says where the key is.
    Reference,
    /// It begins with the scheme of a header.
    Scheme,
    /// It begins with the name of a variable.
    Assignment,
    /// It is several words, or lines.
    Spaced,
    /// It is shown in part only.
    Masked,
    /// It has something in it that no header can hold.
    Foreign,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marked => {
                "begins with a byte order mark (BOM); save the file as UTF-8 without one"
            }
            Self::Quoted => "is in quotes; leave the quotes out",
            Self::Placeholder => {
                "is a placeholder such as `${NAME}` that nothing was put in the place of; most \
                 configuration files replace none, so write the key itself there, or set the variable"
            }
            Self::Reference => {
                "is a reference such as `env:NAME` or `file:PATH`; give the key itself here, or its file \
                 where a file is asked for"
            }
            Self::Scheme => "begins with `Bearer`; give the key alone",
            Self::Assignment => "begins with a name, as in `NAME=key`; give the key alone",
            Self::Spaced => "has blanks or line breaks in it; give one key, on one line",
            Self::Masked => "is masked with asterisks; give the whole key",
            Self::Foreign => "has characters that no key has; copy it again",
        })
    }
}

impl Shape {
    /// The form of a text without blanks around it; none if it may be a key.
    pub fn of(text: &str) -> Option<Self> {
        let begins = |with: &str| {
            text.get(..with.len())
                .is_some_and(|t| t.eq_ignore_ascii_case(with))
        };
        let between = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
        let quotes = [
            '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}',
        ];
        let placeholders = [
            ("${", "}"),
            ("$(", ")"),
            ("{{", "}}"),
            ("<", ">"),
            ("%", "%"),
        ];
        let is_word = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if text.starts_with('\u{feff}') {
            Some(Self::Marked)
        } else if text.starts_with(quotes) || text.ends_with(quotes) {
            Some(Self::Quoted)
        } else if placeholders
            .into_iter()
            .any(|(open, close)| between(open, close))
            || text
                .strip_prefix('$')
                .is_some_and(|name| !name.is_empty() && is_word(name))
        {
            Some(Self::Placeholder)
        } else if ["env:", "file:", "op://", "$env:", "$file:"]
            .into_iter()
            .any(begins)
        {
            Some(Self::Reference)
        } else if begins("bearer ") {
            Some(Self::Scheme)
        } else if text.split_once('=').is_some_and(|(name, key)| {
            let name = name.strip_prefix("export ").unwrap_or(name);
            // Keys in Base64 may end with the sign.
            name.contains('_') && is_word(name) && !key.trim_start_matches('=').is_empty()
        }) {
            Some(Self::Assignment)
        } else if text.contains("***") {
            Some(Self::Masked)
        } else if text.contains(char::is_whitespace) {
            Some(Self::Spaced)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Some(Self::Foreign)
        } else {
            None
        }
    }
}

/// A key and where it comes from.
#[derive(Clone)]
pub struct Key {
    source: KeySource,
    header: HeaderValue,
}

impl Key {
    /// A key, without the blanks around it.
    ///
    /// # Errors
    /// It is empty, or its form is that of no key.
    pub fn new(source: KeySource, secret: &SecretString) -> Result<Self, KeyError> {
        let text = secret.expose_secret().trim();
        if text.is_empty() {
            return Err(KeyError::Empty(source));
        }
        if let Some(shape) = Shape::of(text) {
            return Err(KeyError::Misshapen(source, shape));
        }
        let header = HeaderValue::from_str(text);
        let mut header = header.map_err(|_| KeyError::Misshapen(source.clone(), Shape::Foreign))?;
        header.set_sensitive(true);
        // What comes and goes with requests is not kept; what anyone may know need not be masked.
        if !matches!(source, KeySource::Request | KeySource::Sandbox) {
            secrets::learn(text);
        }
        Ok(Self { source, header })
    }

    /// The key that `env:VARIABLE` or `file:PATH` names, read now.
    ///
    /// # Errors
    /// There is none there.
    pub fn named(reference: &str) -> Result<Self, KeyError> {
        if let Some(name) = reference.strip_prefix("env:") {
            let secret = std::env::var(name).map_err(|_| KeyError::Unset(name.to_owned()))?;
            return Self::new(KeySource::Env(name.to_owned()), &secret.into());
        }
        let path = reference
            .strip_prefix("file:")
            .ok_or(KeyError::NoReference)?;
        Self::in_file(path.into())
    }

    /// The key that a file holds, read now.
    ///
    /// # Errors
    /// The file cannot be read or holds none.
    pub fn in_file(path: PathBuf) -> Result<Self, KeyError> {
        match read_guarded(&path, Guarded::Secret) {
            Ok(secret) => Self::new(KeySource::File(path), &secret),
            Err(source) => Err(KeyError::Unread { path, source }),
        }
    }

    /// Where it comes from.
    pub const fn source(&self) -> &KeySource {
        &self.source
    }

    /// Tells keys apart: the first half of its SHA-256, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut digest = hex::encode(Sha256::digest(self.header.as_bytes()));
        digest.truncate(32);
        digest
    }

    /// What stands in the upstream's header.
    pub(crate) const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.source)
    }
}

/// There is no key to act with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The server has none, and it acts for whoever asks.
    #[error(
        "no {0} API key is configured, so nothing was sent. Two ways out: start the server with {key} \
         set, or with --sandbox to work on the embedded sandbox",
        key = .0.key_settings()
    )]
    Server(Upstream),
    /// This caller has none.
    #[error(
        "this caller has no {0} API key on this server, so nothing was sent. The operator of the server \
         decides which key acts for whom"
    )]
    Caller(Upstream),
    /// The request brought none.
    #[error("the request has no {0} API key, so nothing was sent. Send it as `{1}`")]
    Request(Upstream, &'static str),
}

/// A key for each upstream, as far as there is one.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The key that goes with requests to Portkey and nowhere else.
    pub portkey: Option<Key>,
    /// The key that goes with requests to Enkrypt AI and nowhere else.
    pub enkrypt: Option<Key>,
    /// What is said where one is missing.
    pub missing: fn(Upstream) -> NoKey,
}

impl Credentials {
    /// The keys that came with the request: those the process keeps are known to it.
    pub(crate) fn brought(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.portkey, &self.enkrypt].into_iter().flatten();
        let brought = keys.filter(|key| key.source == KeySource::Request);
        brought.filter_map(|key| key.header.to_str().ok())
    }

    /// The key for an upstream.
    ///
    /// # Errors
    /// There is none.
    pub fn key(&self, upstream: Upstream) -> Result<&Key, NoKey> {
        let key = match upstream {
            Upstream::Portkey => &self.portkey,
            Upstream::Enkrypt => &self.enkrypt,
        };
        key.as_ref().ok_or_else(|| (self.missing)(upstream))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn text_that_is_no_key_has_a_shape() {
        for (text, expected) in [
            ("\u{feff}pk-1", Some(Shape::Marked)),
            ("\"pk-1\"", Some(Shape::Quoted)),
            ("'pk-1", Some(Shape::Quoted)),
            ("\u{201c}pk-1\u{201d}", Some(Shape::Quoted)),
            ("${PORTKEY_API_KEY}", Some(Shape::Placeholder)),
            ("${env:PORTKEY_API_KEY}", Some(Shape::Placeholder)),
            ("${input:key}", Some(Shape::Placeholder)),
            ("$PORTKEY_API_KEY", Some(Shape::Placeholder)),
            ("$(cat key)", Some(Shape::Placeholder)),
            ("{{key}}", Some(Shape::Placeholder)),
            ("<your key>", Some(Shape::Placeholder)),
            ("%PORTKEY_API_KEY%", Some(Shape::Placeholder)),
            ("env:PORTKEY_API_KEY", Some(Shape::Reference)),
            ("file:/run/secrets/key", Some(Shape::Reference)),
            ("op://vault/portkey/key", Some(Shape::Reference)),
            ("Bearer pk-1", Some(Shape::Scheme)),
            ("bearer pk-1", Some(Shape::Scheme)),
            ("PORTKEY_API_KEY=pk-1", Some(Shape::Assignment)),
            ("export PORTKEY_API_KEY=pk-1", Some(Shape::Assignment)),
            ("pk-1\npk-2", Some(Shape::Spaced)),
            ("x-portkey-api-key: pk-1", Some(Shape::Spaced)),
            ("pk-***", Some(Shape::Masked)),
            ("pk-\u{200b}1", Some(Shape::Foreign)),
            ("pk-\u{7}1", Some(Shape::Foreign)),
            ("pk-1", None),
            ("k", None),
            ("AbC_d+/9==", None),
            ("A_B=", None),
            ("QUJD==", None),
            ("$2b$10$abc", None),
            ("a=b", None),
        ] {
            assert_eq!(Shape::of(text), expected, "{text}");
        }
    }
}
