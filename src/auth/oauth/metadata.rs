//! Protected resource metadata (RFC 9728), and the challenges that refer to it (RFC 6750).

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use portkey_api::catalog::Catalog;
use serde_json::json;

use crate::auth::principal::{Access, Needed, Scope, Scopes, Toolsets};

use super::{address::Identifier, config::is_scope};

const NAME: &str = "oauth-protected-resource";

/// Reason for a challenge.
#[derive(Debug)]
pub enum Challenge<'a> {
    /// The request has no token.
    NoToken,
    /// The token was rejected.
    InvalidToken,
    /// The token lacks a scope.
    InsufficientScope {
        /// Scopes of the token.
        has: &'a Scopes,
        /// Scopes either of which the operation requires.
        needed: &'a Needed,
    },
}

/// Path of the endpoint with all tools. Paths of restricted endpoints begin with it.
pub(super) const ENDPOINT: &str = "/mcp";

/// Metadata documents of all endpoints, and their URLs.
#[derive(Debug)]
pub(super) struct Metadata {
    resource: Identifier,
    /// Prefix of all paths of this server.
    prefix: String,
    issuer: String,
    scopes_supported: Vec<String>,
}

impl Metadata {
    pub(super) fn new(
        resource: Identifier,
        issuer: &Identifier,
        scopes_supported: Vec<String>,
    ) -> Self {
        let (prefix, issuer) = (String::new(), issuer.as_str().to_owned());
        Self {
            resource,
            prefix,
            issuer,
            scopes_supported,
        }
    }

    /// Sets the prefix of all paths of the server.
    pub(super) fn with_prefix(self, prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..self
        }
    }

    /// Returns the resource identifier of the endpoint with all tools.
    pub(super) fn resource(&self) -> &str {
        self.resource.as_str()
    }

    /// Returns the resource identifier of the endpoint at `path`; that of the endpoint with all
    /// tools if there is no other.
    pub(super) fn resource_at(&self, path: &str) -> Cow<'_, str> {
        match path.strip_prefix(ENDPOINT).and_then(below) {
            None | Some("") => self.resource().into(),
            Some(below) => format!("{}{below}", self.whole()).into(),
        }
    }

    /// Returns the metadata document at `path`. Its path ends with the path of an endpoint: either
    /// the public one, which a proxy may have prefixed, or the local one.
    pub(super) fn at(&self, path: &str) -> Option<Bytes> {
        let rest = path.strip_prefix("/.well-known/")?.strip_prefix(NAME)?;
        if rest.is_empty() || rest == "/" {
            return Some(self.document(self.resource()));
        }
        let prefixed = format!("{}{ENDPOINT}", self.prefix);
        let mut bases = [self.whole_path(), &prefixed, ENDPOINT].into_iter();
        let below = bases.find_map(|base| below(rest.strip_prefix(base)?))?;
        // A trailing slash in the path is also part of the resource identifier.
        let slash = if rest.ends_with('/') { "/" } else { "" };
        Some(match (below, slash) {
            ("", "") => self.document(self.resource()),
            ("", _) => self.document(&format!("{}/", self.resource().trim_end_matches('/'))),
            (below, slash) => self.document(&format!("{}{below}{slash}", self.whole())),
        })
    }

    fn document(&self, resource: &str) -> Bytes {
        let document = json!({
            "resource": resource,
            "resource_name": "Portkey Admin",
            "authorization_servers": [self.issuer],
            "scopes_supported": self.scopes_supported,
            "bearer_methods_supported": ["header"],
        });
        document.to_string().into()
    }

    /// Returns the public URL that the URLs of all other endpoints begin with.
    fn whole(&self) -> String {
        let resource = self.resource().trim_end_matches('/');
        match self.resource.path() {
            "" => format!("{resource}{}{ENDPOINT}", self.prefix),
            _ => resource.to_owned(),
        }
    }

    /// Returns the path of the public URL.
    fn whole_path(&self) -> &str {
        match self.resource.path() {
            "" => ENDPOINT,
            path => path,
        }
    }

    /// Returns the URL of the metadata document for the endpoint at `path`.
    fn url(&self, path: &str) -> String {
        let below = path
            .strip_prefix(ENDPOINT)
            .and_then(below)
            .unwrap_or_default();
        if self.prefix.is_empty() {
            let base = match (self.resource.path(), below) {
                ("", "") => "",
                _ => self.whole_path(),
            };
            return self.resource.well_known_at(NAME, &format!("{base}{below}"));
        }
        // A proxy that forwards all paths with the prefix forwards this path as well.
        let origin = self.resource.origin();
        format!(
            "{origin}{}/.well-known/{NAME}{ENDPOINT}{below}",
            self.prefix
        )
    }

    /// Returns the value of `WWW-Authenticate` for a request to the endpoint at `path`.
    pub(super) fn challenge(&self, challenge: &Challenge<'_>, path: &str) -> HeaderValue {
        let mut text = format!("Bearer resource_metadata={}", quoted(&self.url(path)));
        match challenge {
            Challenge::NoToken => {
                text += &format!(", scope={}", quoted(&Scope::wide(Access::Read).to_string()));
            }
            Challenge::InvalidToken => {
                text += ", error=\"invalid_token\", error_description=\"the access token is expired, \
                         revoked, malformed or not meant for this server\"";
            }
            Challenge::InsufficientScope { has, needed } => {
                // The existing scopes are included, because a new token replaces the old one.
                let mut scopes: Vec<_> = has.iter().map(ToString::to_string).collect();
                scopes.push(self.asked_for(needed));
                scopes.retain(|scope| is_scope(scope));
                text += ", error=\"insufficient_scope\", error_description=\"the access token does not \
                         permit this call\"";
                text += &format!(", scope={}", quoted(&scopes.join(" ")));
            }
        }
        // All characters that a header cannot hold have been removed.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Returns the narrower of two sufficient scopes if the issuer supports it, else the wider one.
    fn asked_for(&self, needed: &Needed) -> String {
        let narrow = needed.narrow.to_string();
        match self.scopes_supported.contains(&narrow) {
            true => narrow,
            false => needed.wide.to_string(),
        }
    }
}

/// Returns the part of an endpoint's path after `/mcp`, without a trailing slash. Returns `None` if
/// there is no such endpoint.
fn below(rest: &str) -> Option<&str> {
    let below = rest.strip_suffix('/').unwrap_or(rest);
    let narrowed = below.strip_suffix("/readonly").unwrap_or(below);
    let is_endpoint = match narrowed.strip_prefix("/x/") {
        Some(names) => {
            let names = percent_decode_str(names).decode_utf8_lossy();
            Toolsets::named(names.split(','), &Catalog::domains()).is_ok()
        }
        None => narrowed.is_empty(),
    };
    is_endpoint.then_some(below)
}

/// Formats a quoted string (RFC 9110 §5.6.4). Characters that it cannot hold are removed.
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
