//! The list of stored keys: a file in the user's configuration folder that names the addresses with a key, and holds
//! the keys that are not in a keychain. A process without a stored key therefore never asks the keychain.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use portkey_bounded_file::{display_path, open_with};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::keychain::{self, KeychainError};
use crate::security::secrets::{FileProtection, read_protected_file};

const HEADER: &str =
    "# The keys that `portkey-mcp login` stored. `portkey-mcp logout` removes one.\n";

/// Error of the stored keys.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum StoreError {
    #[error("there is no home folder to store a key in; set HOME")]
    NoHome,
    #[error("cannot read the stored keys in {}: {source}", display_path(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{} is no list of stored keys: {message}. Remove it, and run `portkey-mcp login` again",
        display_path(path)
    )]
    Invalid { path: PathBuf, message: String },
    #[error("cannot write the stored keys to {}: {source}", display_path(path))]
    Unwritable { path: PathBuf, source: io::Error },
    #[error(
        "the key for {account} cannot be stored in the keychain: {source}. --in-file stores it in a file"
    )]
    NotStored {
        account: String,
        source: KeychainError,
    },
    #[error(
        "the key for {account} that `portkey-mcp login` stored cannot be read from the keychain: {source}. \
         Log in again, set PORTKEY_API_KEY, or give --no-login"
    )]
    NotRead {
        account: String,
        source: KeychainError,
    },
    #[error("the key for {account} cannot be removed from the keychain: {source}")]
    NotRemoved {
        account: String,
        source: KeychainError,
    },
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// In the system's keychain.
    Keychain,
    /// In this file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keychain => f.write_str("the keychain of this system"),
            Self::File(path) => write!(f, "{}", display_path(path)),
        }
    }
}

/// Where a key was stored, and why not in the keychain.
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) no_keychain: Option<KeychainError>,
    /// Why the key before is still in the keychain.
    pub(super) not_removed: Option<KeychainError>,
}

/// The file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Keys by address.
    #[serde(default)]
    login: BTreeMap<String, StoredKey>,
}

/// A stored key. Without a text, it is in the keychain.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// The stored keys of the user.
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    /// Returns the keys of the user. Returns `None` if the user has no home folder.
    pub(super) fn of_user() -> Option<Self> {
        let places = etcetera::choose_base_strategy().ok()?;
        let path = places.config_dir().join("portkey-mcp").join("login.toml");
        Some(Self { path })
    }

    /// Returns the keys of the user.
    ///
    /// # Errors
    /// Returns an error if the user has no home folder.
    pub(super) fn open() -> Result<Self, StoreError> {
        Self::of_user().ok_or(StoreError::NoHome)
    }

    /// Returns where the key for an address is.
    ///
    /// # Errors
    /// Returns an error if the list cannot be read.
    pub(super) fn find(&self, account: &str) -> Result<Option<Place>, StoreError> {
        let list = self.read()?;
        Ok(list.login.get(account).map(|key| self.place(key)))
    }

    /// Returns the key for an address.
    ///
    /// # Errors
    /// Returns an error if the list or the keychain cannot be read.
    pub(super) fn get(&self, account: &str) -> Result<Option<SecretString>, StoreError> {
        let mut list = self.read()?;
        let Some(key) = list.login.remove(account) else {
            return Ok(None);
        };
        if let Some(text) = key.key {
            return Ok(Some(text.into()));
        }
        let text = keychain::get(account).map_err(|source| StoreError::NotRead {
            account: account.to_owned(),
            source,
        })?;
        Ok(Some(text))
    }

    /// Stores a key: in the keychain, or in the file if that is wanted or there is no keychain.
    ///
    /// # Errors
    /// Returns an error if the keychain rejects the key, or the list cannot be written.
    pub(super) fn put(
        &self,
        account: &str,
        key: &str,
        in_file: bool,
    ) -> Result<Stored, StoreError> {
        let _lock = self.lock()?;
        let mut list = self.read()?;
        let mut no_keychain = None;
        let mut stored = StoredKey {
            key: Some(key.to_owned()),
        };
        if !in_file {
            match keychain::put(account, key) {
                Ok(()) => stored.key = None,
                Err(source @ KeychainError::Missing(_)) => no_keychain = Some(source),
                Err(source) => {
                    return Err(StoreError::NotStored {
                        account: account.to_owned(),
                        source,
                    });
                }
            }
        }
        let place = self.place(&stored);
        let before = list.login.insert(account.to_owned(), stored);
        self.write(&list)?;
        let was_in_keychain = before.is_some_and(|before| before.key.is_none());
        let mut not_removed = None;
        if was_in_keychain && place != Place::Keychain {
            not_removed = match keychain::remove(account) {
                Ok(()) | Err(KeychainError::NoEntry | KeychainError::Missing(_)) => None,
                // Not an error of the command, which may be given because the keychain does not answer.
                Err(cause) => Some(cause),
            };
        }
        Ok(Stored {
            place,
            no_keychain,
            not_removed,
        })
    }

    /// Removes a key, and returns where it was.
    ///
    /// # Errors
    /// Returns an error if the keychain keeps it, or the list cannot be written.
    pub(super) fn remove(&self, account: &str) -> Result<Option<Place>, StoreError> {
        // Without the key there is nothing to lock, and no folder is created.
        if self.find(account)?.is_none() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let mut list = self.read()?;
        let Some(key) = list.login.remove(account) else {
            return Ok(None);
        };
        let place = self.place(&key);
        if place == Place::Keychain {
            match keychain::remove(account) {
                Ok(()) | Err(KeychainError::NoEntry) => {}
                Err(source) => {
                    return Err(StoreError::NotRemoved {
                        account: account.to_owned(),
                        source,
                    });
                }
            }
        }
        self.write(&list)?;
        Ok(Some(place))
    }

    fn place(&self, key: &StoredKey) -> Place {
        match key.key {
            None => Place::Keychain,
            Some(_) => Place::File(self.path.clone()),
        }
    }

    /// Keeps other processes from changing the list until the file is dropped. The lock is a file of its own, because
    /// the list is replaced.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.path.with_extension("lock");
        let open = || -> io::Result<File> {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            let file = open_with(&path, options)?;
            match file.lock() {
                // Some network folders have no locks.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
                locked => locked.map(|()| file),
            }
        };
        open().map_err(|source| StoreError::Unwritable {
            path: path.clone(),
            source,
        })
    }

    fn read(&self) -> Result<List, StoreError> {
        let text = match read_protected_file(&self.path, FileProtection::Private) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(List::default()),
            Err(source) => {
                return Err(StoreError::Unreadable {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        toml::from_str(text.expose_secret()).map_err(|error| StoreError::Invalid {
            path: self.path.clone(),
            // The whole error quotes a line, which may hold a key.
            message: error.message().to_owned(),
        })
    }

    /// Replaces the file as a whole, or removes it with its last key. Only its owner can read it.
    fn write(&self, list: &List) -> Result<(), StoreError> {
        let written = match list.login.is_empty() {
            true => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            false => self.replace(list),
        };
        written.map_err(|source| StoreError::Unwritable {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, list: &List) -> io::Result<()> {
        let text = toml::to_string(list).map_err(io::Error::other)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(HEADER.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}
