//! What clients are told about getting a token: the metadata document (RFC 9728) and the challenges
//! that lead to it (RFC 6750).

use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;

use crate::principal::{Access, Needed, Scope, Scopes};

use super::{address::Identifier, config::is_scope};

const NAME: &str = "oauth-protected-resource";

/// Why a request is challenged.
#[derive(Debug)]
pub enum Challenge<'a> {
    /// It had no token.
    NoToken,
    /// Its token was not accepted.
    InvalidToken,
    /// Its token permits less than it takes.
    InsufficientScope {
        /// What it permits.
        has: &'a Scopes,
        /// What it takes.
        needed: &'a Needed,
    },
}

/// The document and where it is.
#[derive(Debug)]
pub(super) struct Metadata {
    url: String,
    /// The path of the resource, which the longer form of the document's address ends in.
    path: String,
    document: Bytes,
    scopes_supported: Vec<String>,
}

impl Metadata {
    pub(super) fn new(
        resource: &Identifier,
        issuer: &Identifier,
        scopes_supported: Vec<String>,
    ) -> Self {
        let document = json!({
            "resource": resource.as_str(),
            "resource_name": "Portkey Admin",
            "authorization_servers": [issuer.as_str()],
            "scopes_supported": scopes_supported,
            "bearer_methods_supported": ["header"],
        });
        Self {
            url: resource.well_known(NAME),
            path: resource.path().to_owned(),
            document: document.to_string().into(),
            scopes_supported,
        }
    }

    /// The document, if it is what stands at this path.
    pub(super) fn at(&self, path: &str) -> Option<Bytes> {
        let rest = path.strip_prefix("/.well-known/")?.strip_prefix(NAME)?;
        (rest.is_empty() || rest == self.path).then(|| self.document.clone())
    }

    /// The value of `WWW-Authenticate`.
    pub(super) fn challenge(&self, challenge: &Challenge<'_>) -> HeaderValue {
        let mut text = format!("Bearer resource_metadata={}", quoted(&self.url));
        match challenge {
            Challenge::NoToken => {
                text += &format!(", scope={}", quoted(&Scope::wide(Access::Read).to_string()));
            }
            Challenge::InvalidToken => {
                text += ", error=\"invalid_token\", error_description=\"the access token is expired, \
                         revoked, malformed or not meant for this server\"";
            }
            Challenge::InsufficientScope { has, needed } => {
                // What it has comes along, because a new token replaces the old one.
                let mut scopes: Vec<_> = has.iter().map(ToString::to_string).collect();
                scopes.push(self.asked_for(needed));
                scopes.retain(|scope| is_scope(scope));
                text += ", error=\"insufficient_scope\", error_description=\"the access token does not \
                         permit this call\"";
                text += &format!(", scope={}", quoted(&scopes.join(" ")));
            }
        }
        // Nothing is left that a header cannot hold.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Of two scopes that would do, the one that permits less, if the issuer knows it.
    fn asked_for(&self, needed: &Needed) -> String {
        let narrow = needed.narrow.to_string();
        match self.scopes_supported.contains(&narrow) {
            true => narrow,
            false => needed.wide.to_string(),
        }
    }
}

/// A quoted string (RFC 9110 §5.6.4); characters that it cannot hold are left out.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars().filter(|letter| matches!(letter, ' '..='~')) {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}
