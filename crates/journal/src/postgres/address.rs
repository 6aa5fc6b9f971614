//! The address of the journal's PostgreSQL, which may have a password in it.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

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

/// Parses an address such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
///
/// # Errors
/// Returns an error without any part of the address.
pub(crate) fn parse_address(address: &SecretString) -> Result<PgConnectOptions, JournalStartError> {
    let address = address.expose_secret().trim();
    let has_scheme = address.starts_with("postgres://") || address.starts_with("postgresql://");
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let is_known = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        name.is_empty() || PARAMETERS.contains(&name)
    };
    if !has_scheme || !query.split('&').all(is_known) {
        return Err(JournalStartError::InvalidAddress);
    }
    PgConnectOptions::from_str(address).map_err(|_| JournalStartError::InvalidAddress)
}
