//! Addresses that trust hangs on: encrypted, unless they are on this very machine.

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("this is no address; give one such as https://login.example.com")]
    NoAddress,
    #[error("only https addresses can be used here, and http on this machine's loopback")]
    Unencrypted,
    #[error("the address may not hold a user name, a password or a fragment")]
    Extras,
    #[error("the address may not have a query, because it identifies its owner")]
    Query,
}

/// The address of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(Url);

impl Address {
    pub(super) const fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is on this machine and may do without encryption.
    pub(super) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        let url: Url = text.parse().map_err(|_| AddressError::NoAddress)?;
        let host = url
            .host_str()
            .ok_or(AddressError::NoAddress)?
            .trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(AddressError::Unencrypted);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(AddressError::Extras);
        }
        Ok(Self(url))
    }
}

/// An address that is also a name: compared letter by letter, so kept as it was written.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Identifier {
    text: String,
    address: Address,
}

impl Identifier {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// The path without a slash at its end; empty if there is none.
    pub(super) fn path(&self) -> &str {
        self.address.0.path().trim_end_matches('/')
    }

    /// Where a document about it is, with its name between host and path (RFC 8414 §3, RFC 9728 §3.1).
    pub(super) fn well_known(&self, name: &str) -> String {
        self.well_known_at(name, self.path())
    }

    /// Where one is about something else at the same host.
    pub(super) fn well_known_at(&self, name: &str, path: &str) -> String {
        format!("{}/.well-known/{name}{path}", self.origin())
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.address.0.origin().ascii_serialization()
    }
}

impl TryFrom<String> for Identifier {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        let address = Address::try_from(text.clone())?;
        if address.0.query().is_some() {
            return Err(AddressError::Query);
        }
        Ok(Self { text, address })
    }
}
