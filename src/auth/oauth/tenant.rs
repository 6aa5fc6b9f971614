//! Maps token claims to the upstream keys of the operator.

use std::sync::Arc;

use portkey_policy::Policy;

use crate::auth::principal::{AuthMethod, Credentials, Grant, Principal, Scopes, Toolsets};

use super::claims::Claims;

/// One entry of the mapping from identities to keys.
#[derive(Debug)]
pub(super) struct Tenant {
    /// Path of the claim, with dots for nested objects.
    pub(super) claim: String,
    /// Required value of the claim, or of an element if the claim is a list.
    pub(super) value: String,
    /// Name prefix for callers of this tenant.
    pub(super) name: Option<String>,
    pub(super) credentials: Credentials,
    /// Toolsets that its callers see.
    pub(super) toolsets: Toolsets,
    /// Maximum scopes of its callers, whatever their tokens contain.
    pub(super) scopes: Scopes,
    /// Policy that applies besides the server's.
    pub(super) policy: Option<Arc<Policy>>,
}

impl Tenant {
    /// Returns true if these claims belong to the tenant.
    pub(super) fn matches(&self, claims: &Claims) -> bool {
        claims.has_value(&self.claim, &self.value)
    }

    /// Builds the caller with these claims.
    pub(super) fn to_principal(&self, claims: &Claims, grant: Grant) -> Principal {
        let name = self.name.as_deref().unwrap_or("oauth");
        Principal {
            // One tenant may have many callers, each with its own limits and sessions. Logs get a
            // fingerprint, because subjects are often e-mail addresses.
            name: format!("{name}/{}", claims.fingerprint()).into(),
            method: AuthMethod::OAuth,
            scopes: claims.scopes().intersect(&self.scopes),
            toolsets: self.toolsets.clone(),
            credentials: self.credentials.clone(),
            policy: self.policy.clone(),
            request_filter: None,
            grant,
            claims: claims.for_policies(),
            network: None,
        }
    }
}
