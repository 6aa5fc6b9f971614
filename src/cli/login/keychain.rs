//! The system's keychain. It may ask its user, or hang, so every wait is bounded.

use std::{sync::mpsc, thread, time::Duration};

use keyring::{Entry, Error};
use portkey_bounded_file::with_causes;
use secrecy::SecretString;

/// Name of this program in the keychain.
const SERVICE: &str = env!("CARGO_PKG_NAME");

/// Maximum time for an answer, in which the user may have to unlock the keychain.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Error of the keychain.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum KeychainError {
    /// This system has no keychain, or it does not run.
    #[error("{0}")]
    Missing(String),
    /// The keychain does not have the key.
    #[error("it does not have it")]
    NoEntry,
    /// The keychain does not answer.
    #[error("it does not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The keychain is locked, or rejects the request.
    #[error("{0}")]
    Rejected(String),
}

impl From<Error> for KeychainError {
    fn from(error: Error) -> Self {
        // The debug form of some errors has the secret.
        let text = with_causes(&error);
        match error {
            Error::NoEntry => Self::NoEntry,
            Error::NoDefaultStore | Error::PlatformFailure(_) | Error::NotSupportedByStore(_) => {
                Self::Missing(text)
            }
            _ => Self::Rejected(text),
        }
    }
}

/// Returns the key for an address.
///
/// # Errors
/// Returns an error if there is none, or the keychain does not answer.
pub(super) fn get(account: &str) -> Result<SecretString, KeychainError> {
    ask(account, |entry| {
        entry.get_password().map(SecretString::from)
    })
}

/// Stores the key for an address.
///
/// # Errors
/// Returns an error if the keychain does not take it.
pub(super) fn put(account: &str, key: &str) -> Result<(), KeychainError> {
    let key = SecretString::from(key);
    ask(account, move |entry| {
        entry.set_password(secrecy::ExposeSecret::expose_secret(&key))
    })
}

/// Removes the key for an address.
///
/// # Errors
/// Returns an error if there is none, or the keychain does not remove it.
pub(super) fn remove(account: &str) -> Result<(), KeychainError> {
    ask(account, |entry| entry.delete_credential())
}

/// Asks the keychain in another thread, which is left behind if it does not answer.
fn ask<T: Send + 'static>(
    account: &str,
    question: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
) -> Result<T, KeychainError> {
    let account = account.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().spawn(move || {
        let answer = Entry::new(SERVICE, &account).and_then(|entry| question(&entry));
        // Nobody waits for it any more if it comes too late.
        _ = sender.send(answer);
    });
    thread.map_err(|error| KeychainError::Rejected(error.to_string()))?;
    let answer = receiver
        .recv_timeout(TIMEOUT)
        .map_err(|_| KeychainError::Timeout)?;
    Ok(answer?)
}
