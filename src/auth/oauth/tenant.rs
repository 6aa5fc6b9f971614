//! Which of the operator's keys act for whom.

use std::sync::Arc;

use portkey_policy::Policy;

use crate::auth::principal::{Credentials, Grant, Method, Principal, Scopes, Toolsets};

use super::claims::Claims;

/// One line of the mapping from identities to keys.
#[derive(Debug)]
pub(super) struct Tenant {
    /// Where in a token to look, with dots into objects.
    pub(super) claim: String,
    /// What has to stand there, or be among what stands there.
    pub(super) value: String,
    /// How callers of it are called.
    pub(super) name: Option<String>,
    pub(super) credentials: Credentials,
    /// What its callers see.
    pub(super) toolsets: Toolsets,
    /// What its callers may have at most, whatever their token says.
    pub(super) scopes: Scopes,
    /// What they are under, beside the server's policy.
    pub(super) policy: Option<Arc<Policy>>,
}

impl Tenant {
    /// Whether the bearer of these claims belongs to it.
    pub(super) fn has(&self, claims: &Claims) -> bool {
        claims.say(&self.claim, &self.value)
    }

    /// The caller with these claims, whom this lets in.
    pub(super) fn principal(&self, claims: &Claims, grant: Grant) -> Principal {
        let name = self.name.as_deref().unwrap_or("oauth");
        Principal {
            // One tenant may have many callers: each has its own limits and sessions. Logs get a
            // fingerprint, because subjects are often addresses of people.
            name: format!("{name}/{}", claims.fingerprint()).into(),
            method: Method::OAuth,
            scopes: claims.scopes().and(&self.scopes),
            toolsets: self.toolsets.clone(),
            credentials: self.credentials.clone(),
            policy: self.policy.clone(),
            narrowing: None,
            grant,
            network: None,
        }
    }
}
