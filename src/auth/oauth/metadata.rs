//! What clients are told about getting a token: the metadata document (RFC 9728) and the challenges
//! that lead to it (RFC 6750).

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use portkey_api::catalog::Catalog;
use serde_json::json;

use crate::auth::principal::{Access, Needed, Scope, Scopes, Toolsets};

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

/// Where this server has its whole endpoint; others are below it.
pub(super) const ENDPOINT: &str = "/mcp";

/// The document of each endpoint, and where it is.
#[derive(Debug)]
pub(super) struct Metadata {
    resource: Identifier,
    /// What stands before the paths of this server.
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

    /// The same with this before the paths of the server.
    pub(super) fn with_prefix(self, prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..self
        }
    }

    /// The whole endpoint, as tokens name it.
    pub(super) fn resource(&self) -> &str {
        self.resource.as_str()
    }

    /// The endpoint at a path of this server, as tokens name it; the whole one where there is none.
    pub(super) fn resource_at(&self, path: &str) -> Cow<'_, str> {
        match path.strip_prefix(ENDPOINT).and_then(below) {
            None | Some("") => self.resource().into(),
            Some(below) => format!("{}{below}", self.whole()).into(),
        }
    }

    /// The document, if it is what stands at this path: that of an endpoint stands behind the path that
    /// clients call it by, which a proxy may have lengthened, or behind our own.
    pub(super) fn at(&self, path: &str) -> Option<Bytes> {
        let rest = path.strip_prefix("/.well-known/")?.strip_prefix(NAME)?;
        if rest.is_empty() || rest == "/" {
            return Some(self.document(self.resource()));
        }
        let prefixed = format!("{}{ENDPOINT}", self.prefix);
        let mut bases = [self.whole_path(), &prefixed, ENDPOINT].into_iter();
        let below = bases.find_map(|base| below(rest.strip_prefix(base)?))?;
        // Whoever ends the path with a slash has one in the name of the endpoint as well.
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

    /// The address that the addresses of the other endpoints begin with.
    fn whole(&self) -> String {
        let resource = self.resource().trim_end_matches('/');
        match self.resource.path() {
            "" => format!("{resource}{}{ENDPOINT}", self.prefix),
            _ => resource.to_owned(),
        }
    }

    /// Its path.
    fn whole_path(&self) -> &str {
        match self.resource.path() {
            "" => ENDPOINT,
            path => path,
        }
    }

    /// Where the document of the endpoint at a path of this server is.
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
        // A proxy that passes on what begins with the prefix passes this on.
        let origin = self.resource.origin();
        format!(
            "{origin}{}/.well-known/{NAME}{ENDPOINT}{below}",
            self.prefix
        )
    }

    /// The value of `WWW-Authenticate` for a request to the endpoint at this path.
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

/// What stands behind the path of the whole endpoint in that of one of this server, without a slash at its
/// end; none where there is no such endpoint.
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
