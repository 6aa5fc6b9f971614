//! Protected resource metadata (RFC 9728), and the challenges that refer to it (RFC 6750).

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use portkey_api::catalog::Catalog;
use serde_json::json;

use crate::auth::principal::{RequiredScope, Scope, ScopeAccess, Scopes, Toolsets};

use super::{config::is_scope, secure_url::IdentifierUrl};

const WELL_KNOWN_NAME: &str = "oauth-protected-resource";

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
        needed: &'a RequiredScope,
    },
}

/// Path of the endpoint with all tools. Paths of restricted endpoints begin with it.
pub(super) const ENDPOINT_PATH: &str = "/mcp";

/// Metadata documents of all endpoints, and their URLs.
#[derive(Debug)]
pub(super) struct ResourceMetadata {
    resource: IdentifierUrl,
    /// Prefix of all paths of this server.
    prefix: String,
    issuer: String,
    scopes_supported: Vec<String>,
}

impl ResourceMetadata {
    pub(super) fn new(
        resource: IdentifierUrl,
        issuer: &IdentifierUrl,
        scopes_supported: Vec<String>,
    ) -> Self {
        let prefix = String::new();
        let issuer = issuer.as_str().to_owned();
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
        match path.strip_prefix(ENDPOINT_PATH).and_then(endpoint_suffix) {
            None | Some("") => self.resource().into(),
            Some(below) => format!("{}{below}", self.base_url()).into(),
        }
    }

    /// Returns the metadata document at `path`. Its path ends with the path of an endpoint: either
    /// the public one, which a proxy may have prefixed, or the local one.
    pub(super) fn document_at(&self, path: &str) -> Option<Bytes> {
        let rest = path
            .strip_prefix("/.well-known/")?
            .strip_prefix(WELL_KNOWN_NAME)?;
        if rest.is_empty() || rest == "/" {
            return Some(self.document(self.resource()));
        }
        let prefixed = format!("{}{ENDPOINT_PATH}", self.prefix);
        let mut bases = [self.base_path(), &prefixed, ENDPOINT_PATH].into_iter();
        let below = bases.find_map(|base| endpoint_suffix(rest.strip_prefix(base)?))?;
        // A trailing slash in the path is also part of the resource identifier.
        let slash = if rest.ends_with('/') { "/" } else { "" };
        Some(match (below, slash) {
            ("", "") => self.document(self.resource()),
            ("", _) => self.document(&format!("{}/", self.resource().trim_end_matches('/'))),
            (below, slash) => self.document(&format!("{}{below}{slash}", self.base_url())),
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
    fn base_url(&self) -> String {
        let resource = self.resource().trim_end_matches('/');
        match self.resource.path() {
            "" => format!("{resource}{}{ENDPOINT_PATH}", self.prefix),
            _ => resource.to_owned(),
        }
    }

    /// Returns the path of the public URL.
    fn base_path(&self) -> &str {
        match self.resource.path() {
            "" => ENDPOINT_PATH,
            path => path,
        }
    }

    /// Returns the URL of the metadata document for the endpoint at `path`.
    fn document_url(&self, path: &str) -> String {
        let below = path
            .strip_prefix(ENDPOINT_PATH)
            .and_then(endpoint_suffix)
            .unwrap_or_default();
        if self.prefix.is_empty() {
            let base = match (self.resource.path(), below) {
                ("", "") => "",
                _ => self.base_path(),
            };
            return self
                .resource
                .well_known_url_for_path(WELL_KNOWN_NAME, &format!("{base}{below}"));
        }
        // A proxy that forwards all paths with the prefix forwards this path as well.
        let origin = self.resource.origin();
        format!(
            "{origin}{}/.well-known/{WELL_KNOWN_NAME}{ENDPOINT_PATH}{below}",
            self.prefix
        )
    }

    /// Returns the value of `WWW-Authenticate` for a request to the endpoint at `path`.
    pub(super) fn challenge(&self, challenge: &Challenge<'_>, path: &str) -> HeaderValue {
        let mut text = format!(
            "Bearer resource_metadata={}",
            quote(&self.document_url(path))
        );
        match challenge {
            Challenge::NoToken => {
                text += &format!(
                    ", scope={}",
                    quote(&Scope::for_all_domains(ScopeAccess::Read).to_string())
                );
            }
            Challenge::InvalidToken => {
                text += ", error=\"invalid_token\", error_description=\"the access token is expired, \
                         revoked, malformed or not meant for this server\"";
            }
            Challenge::InsufficientScope { has, needed } => {
                // The existing scopes are included, because a new token replaces the old one.
                let mut scopes: Vec<_> = has.iter().map(ToString::to_string).collect();
                scopes.push(self.scope_to_request(needed));
                scopes.retain(|scope| is_scope(scope));
                text += ", error=\"insufficient_scope\", error_description=\"the access token does not \
                         permit this call\"";
                text += &format!(", scope={}", quote(&scopes.join(" ")));
            }
        }
        // All characters that a header cannot hold have been removed.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Returns the narrower of two sufficient scopes if the issuer supports it, else the wider one.
    fn scope_to_request(&self, needed: &RequiredScope) -> String {
        let narrow = needed.for_domain.to_string();
        match self.scopes_supported.contains(&narrow) {
            true => narrow,
            false => needed.for_all_domains.to_string(),
        }
    }
}

/// Returns the part of an endpoint's path after `/mcp`, without a trailing slash. Returns `None` if
/// there is no such endpoint.
fn endpoint_suffix(rest: &str) -> Option<&str> {
    let below = rest.strip_suffix('/').unwrap_or(rest);
    let narrowed = below.strip_suffix("/readonly").unwrap_or(below);
    let is_endpoint = match narrowed.strip_prefix("/x/") {
        Some(names) => {
            let names = percent_decode_str(names).decode_utf8_lossy();
            Toolsets::from_names(names.split(','), &Catalog::domains()).is_ok()
        }
        None => narrowed.is_empty(),
    };
    is_endpoint.then_some(below)
}

/// Formats a quoted string (RFC 9110 §5.6.4). Characters that it cannot hold are removed.
fn quote(text: &str) -> String {
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
