//! URLs of trusted services: HTTPS, or HTTP on this machine's loopback.

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

/// Reason why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecureUrlError {
    #[error("this is no address; give one such as https://login.example.com")]
    InvalidUrl,
    #[error("only https addresses can be used here, and http on this machine's loopback")]
    Unencrypted,
    #[error("the address may not hold a user name, a password or a fragment")]
    UserInfoOrFragment,
    #[error("the address may not have a query, because it identifies its owner")]
    HasQuery,
}

/// URL of a trusted service.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SecureUrl(Url);

impl SecureUrl {
    pub(super) const fn url(&self) -> &Url {
        &self.0
    }

    /// Returns true if the URL uses HTTP, which is allowed on loopback only.
    pub(super) fn is_unencrypted(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl TryFrom<String> for SecureUrl {
    type Error = SecureUrlError;

    fn try_from(text: String) -> Result<Self, SecureUrlError> {
        let url: Url = text.parse().map_err(|_| SecureUrlError::InvalidUrl)?;
        let host = url
            .host_str()
            .ok_or(SecureUrlError::InvalidUrl)?
            .trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(SecureUrlError::Unencrypted);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(SecureUrlError::UserInfoOrFragment);
        }
        Ok(Self(url))
    }
}

/// URL that also identifies its owner. Identifiers are compared character by character, so the
/// original text is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct IdentifierUrl {
    text: String,
    address: SecureUrl,
}

impl IdentifierUrl {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) const fn secure_url(&self) -> &SecureUrl {
        &self.address
    }

    /// Returns the path without a trailing slash; empty if there is none.
    pub(super) fn path(&self) -> &str {
        self.address.0.path().trim_end_matches('/')
    }

    /// Returns the URL of a well-known document, whose name stands between host and path (RFC 8414
    /// §3, RFC 9728 §3.1).
    pub(super) fn well_known_url(&self, name: &str) -> String {
        self.well_known_url_for_path(name, self.path())
    }

    /// Returns the URL of a well-known document for another path at the same host.
    pub(super) fn well_known_url_for_path(&self, name: &str, path: &str) -> String {
        format!("{}/.well-known/{name}{path}", self.origin())
    }

    /// Returns scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.address.0.origin().ascii_serialization()
    }
}

impl TryFrom<String> for IdentifierUrl {
    type Error = SecureUrlError;

    fn try_from(text: String) -> Result<Self, SecureUrlError> {
        let address = SecureUrl::try_from(text.clone())?;
        if address.0.query().is_some() {
            return Err(SecureUrlError::HasQuery);
        }
        Ok(Self { text, address })
    }
}
