//! The address of the journal's PostgreSQL, which may have a password in it.

use std::{path::Path, str::FromStr};

use portkey_bounded_file::display_path;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::error::JournalStartError;

/// Parameters of an address. Of others, `sqlx` would write the values into the log.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Parameters that name files in PEM.
const FILE_PARAMETERS: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Maximum size of a file in PEM, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Beginning of each item in PEM.
const PEM_MARK: &str = "-----BEGIN ";

/// Parses an address such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
///
/// # Errors
/// Returns an error without any part of the address but the paths of files, if it is invalid, names a
/// file that cannot be used, or a root certificate that would not be used.
pub(crate) fn parse_address(address: &SecretString) -> Result<PgConnectOptions, JournalStartError> {
    let invalid = || JournalStartError::InvalidAddress;
    let address = address.expose_secret().trim();
    let url = Url::parse(address).map_err(|_| invalid())?;
    let has_scheme = matches!(url.scheme(), "postgres" | "postgresql");
    let is_known = |name: &str| name.is_empty() || PARAMETERS.contains(&name);
    if !has_scheme || !url.query_pairs().all(|(name, _)| is_known(&name)) {
        return Err(invalid());
    }
    let options = PgConnectOptions::from_str(address).map_err(|_| invalid())?;
    let mode = options.get_ssl_mode();
    let is_checked = matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    for (name, value) in url.query_pairs() {
        if let Some(parameter) = FILE_PARAMETERS.into_iter().find(|known| *known == name) {
            check_file(parameter, Path::new(&*value))?;
        }
        // Other programs check the certificate then, so that one would rely on it.
        if name == "sslrootcert" && !is_checked {
            return Err(JournalStartError::UnusedRoot);
        }
    }
    // Who switches TLS off knows the network.
    let is_decided = matches!(mode, PgSslMode::VerifyFull | PgSslMode::Disable);
    if !is_decided && !is_local(&options) {
        tracing::warn!(
            "the connection to the journal's PostgreSQL is not protected against somebody in between: give its \
             address `sslmode=verify-full`"
        );
    }
    Ok(options)
}

/// Returns true if a connection stays on this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host == "localhost" || host.starts_with('/') || is_loopback
}

/// Checks that a file is one in PEM. It is read again for each connection, so that it can be renewed.
fn check_file(parameter: &'static str, path: &Path) -> Result<(), JournalStartError> {
    let error = |reason: String| JournalStartError::InvalidFile {
        parameter,
        path: display_path(path).to_string(),
        reason,
    };
    let text = portkey_bounded_file::read_to_string(path, MAX_PEM_BYTES);
    let text = text.map_err(|source| error(source.to_string()))?;
    match text.contains(PEM_MARK) {
        true => Ok(()),
        false => Err(error("it has nothing in PEM".to_owned())),
    }
}
