//! The upstream keys that act for a caller: shown by where they come from, never by what they are.

use std::{fmt, path::PathBuf};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    operation::Upstream,
    secrets::{self, Guarded, check_permissions},
};

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
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Option => f.write_str("an option"),
            Self::Request => f.write_str("the request"),
            Self::Sandbox => f.write_str("the sandbox"),
        }
    }
}

/// Why a text is no key, or a source gives none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or something that cannot stand in a header.
    #[error("the API key is empty or has characters that no key has; look for line breaks in it")]
    Malformed,
    /// The variable is not set.
    #[error("the variable {0} is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
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
    /// It is empty or has characters that no header can hold.
    pub fn new(source: KeySource, secret: &SecretString) -> Result<Self, KeyError> {
        let text = secret.expose_secret().trim();
        let mut header = HeaderValue::from_str(text).map_err(|_| KeyError::Malformed)?;
        if text.is_empty() {
            return Err(KeyError::Malformed);
        }
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
        let path = reference.strip_prefix("file:").ok_or(KeyError::NoReference)?;
        Self::in_file(path.into())
    }

    /// The key that a file holds, read now.
    ///
    /// # Errors
    /// The file cannot be read or holds none.
    pub fn in_file(path: PathBuf) -> Result<Self, KeyError> {
        let checked = check_permissions(&path, Guarded::Secret);
        match checked.and_then(|()| std::fs::read_to_string(&path)) {
            Ok(secret) => Self::new(KeySource::File(path), &secret.into()),
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
